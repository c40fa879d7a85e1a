package postgres

import (
	"context"
	_ "embed" // for the type's page
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

//go:embed backup.md
var backupDoc string

// Backup is the type postgres.backup.
var Backup = check.Define[backup](check.Desc{
	Name:    "postgres.backup",
	Summary: "a complete backup of the database is there and readable",
	Doc:     backupDoc,
})

type backup struct {
	place
	Mode      string        `param:"mode" doc:"create one, verify one, or see that one exists" default:"create" enum:"create,verify,exists"`
	Name      string        `param:"name" doc:"the archive's name; the time is added" default:"predeploy-${release.version}"`
	Format    string        `param:"format" doc:"one file, or a folder that several jobs write" default:"custom" enum:"custom,directory"`
	Jobs      int           `param:"jobs" doc:"how many tables are dumped or restored at a time" default:"2"`
	Verify    string        `param:"verify" doc:"how far it is proven; each level has those before it" default:"decode" enum:"checksum,list,decode,load,schema,counts,restore,amcheck"`
	MadeBy    string        `param:"made_by" doc:"allclear, or other: a pg_dump archive or SQL dump without a record of ours (mode verify, with from)" default:"allclear" enum:"allclear,other"`
	SHA256    string        `param:"sha256" doc:"what its maker says of it (made_by: other)" default:""`
	Digests   bool          `param:"digests" doc:"sum up every table's content, beside counting its rows" default:"true"`
	MinSize   check.Size    `param:"min_size" doc:"least size" default:"1B"`
	Shrink    check.Share   `param:"min_of_last" doc:"least part of the last run's backup" default:"80%"`
	Keep      int           `param:"keep" doc:"how many backups of this database stay in the folder; 0: all" default:"0"`
	KeepFor   time.Duration `param:"keep_for" doc:"how long they stay, whatever keep says; 0s: keep alone decides" default:"0s"`
	EncryptTo []string      `param:"encrypt_to" doc:"public keys that the archive is encrypted to: age1… or ssh-ed25519 …" default:""`
	Globals   bool          `param:"globals" doc:"keep the server's roles and tablespaces in a file beside it (pg_dumpall --globals-only, without passwords)" default:"false"`
	MaxAge    time.Duration `param:"max_age" doc:"oldest that is good enough (verify, exists); 0s: any" default:"0s"`
	Scratch   secret.Ref    `param:"scratch" doc:"server for a trial restore; left out, the database's own" default:""`
}

// Validate holds the rules between parameters.
func (p *backup) Validate() error {
	if err := p.place.validate(); err != nil {
		return err
	}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`).MatchString(p.Name) {
		return fmt.Errorf("name: want letters, digits, . _ + -, got %q", p.Name)
	}
	if p.Jobs < 1 || p.Jobs > 64 {
		return fmt.Errorf("jobs: want 1 to 64, got %d", p.Jobs)
	}
	if p.Keep < 0 {
		return fmt.Errorf("keep: want 0 or more, got %d", p.Keep)
	}
	if err := p.validateMaker(); err != nil {
		return err
	}
	if err := p.validateSeal(); err != nil {
		return err
	}
	if p.Mode == "create" && p.MaxAge != 0 {
		return errors.New("max_age: goes with mode verify or exists")
	}
	return nil
}

// validateMaker holds what goes with an archive that something else made.
func (p *backup) validateMaker() error {
	switch {
	case p.MadeBy != "other" && p.SHA256 != "":
		return errors.New("sha256: goes with made_by: other")
	case p.MadeBy != "other":
		return nil
	case p.Mode != "verify" || p.From == "" || p.From == "latest":
		return errors.New("made_by: other goes with mode: verify and the archive's path in from")
	case reaches(p.Verify, levelSchema):
		return fmt.Errorf("verify: %s compares with what was recorded when the archive was made; of one made_by: other nothing was, so verify: load is the most", p.Verify)
	case p.SHA256 != "" && !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(p.SHA256):
		return errors.New("sha256: want 64 hexadecimal digits")
	}
	return nil
}

// Traits tells what is done.
func (p *backup) Traits() check.Traits {
	if p.Mode == "create" {
		return check.Traits{
			Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Exec, Target: p.Dest,
			Does: fmt.Sprintf("dumps the database to %s/%s and proves that it is readable (%s)", p.Dest, p.Name, p.Verify),
		}
	}
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Target: p.Dest,
		Does: "sees that a backup is there and unchanged",
	}
	if p.Mode == "verify" {
		t.Does = "reads the backup again (" + p.Verify + ")"
		if reaches(p.Verify, levelLoad) {
			t.Effect = check.Scratch
		}
	}
	return t
}

// Run makes or looks at a backup.
func (p *backup) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return check.Outcome{}, err
	}
	server, err := p.server(ctx, env, p.DB)
	if err != nil {
		return check.Outcome{}, err
	}
	if p.Mode == "create" {
		return p.create(ctx, env, host, server)
	}
	s, err := p.look(ctx, env, host, server)
	if errors.Is(err, errNoBackup) {
		return check.Failf("%v", err), ctx.Err()
	}
	if err != nil {
		return check.Outcome{}, err
	}
	if p.SHA256 != "" && s.SHA256 != p.SHA256 {
		return check.Failf("%s has SHA-256 %.12s, its maker says %.12s", s.Path, s.SHA256, p.SHA256), nil
	}
	o, err := p.judge(ctx, env, host, s)
	if err != nil {
		return check.Outcome{}, err
	}
	o.Facts, o.Target = s.facts(), s.Path
	if _, ours := env.Ledger.Fact("backup.path"); !ours && o.Verdict == check.Pass {
		o.Sets = s.sets()
	}
	return o, nil
}

// look finds the archive, with its record or without one.
func (p *backup) look(ctx context.Context, env *check.Env, host check.Host, server *pg.Server) (sidecar, error) {
	if p.MadeBy != "other" {
		return p.find(ctx, env, host, server.Name())
	}
	c, err := server.Open(ctx, pg.Options{ReadOnly: true})
	if err != nil {
		return sidecar{}, err
	}
	defer c.Close()
	major, err := c.Major(ctx)
	if err != nil {
		return sidecar{}, err
	}
	file := p.From
	if !strings.Contains(file, "/") {
		file = path.Join(p.Dest, file)
	}
	if _, err := host.Lstat(ctx, file); errors.Is(err, fs.ErrNotExist) {
		return sidecar{}, fmt.Errorf("%w at %s", errNoBackup, file)
	}
	return p.foreign(ctx, host, file, server.Name(), major)
}

// judge says whether an archive is as it was made, young enough and readable.
func (p *backup) judge(ctx context.Context, env *check.Env, host check.Host, s sidecar) (check.Outcome, error) {
	age := env.Now().Sub(s.At).Round(time.Second)
	if age < -clockSkew {
		return check.Outcome{}, fmt.Errorf("the backup's time is %s in the future: a clock is wrong", -age)
	}
	wrong, err := intact(ctx, host, s)
	if err != nil {
		return check.Outcome{}, err
	}
	if wrong != "" {
		return check.Failf("%s", wrong), nil
	}
	if p.MaxAge > 0 && age > p.MaxAge {
		return check.Failf("%s is %s old, want at most %s", s.Path, age, p.MaxAge), nil
	}
	if p.Mode == "verify" {
		if wrong, err = p.readable(ctx, env, host, &s); err != nil {
			return check.Outcome{}, err
		}
		if wrong != "" {
			return check.Failf("%s: %s", s.Path, wrong), nil
		}
	}
	if p.MadeBy == "other" {
		return check.Passf("%s: %d bytes, %s old, proven to level %s; its rows and content were not recorded and cannot be compared", s.Path, s.Bytes, age, p.Verify), nil
	}
	return check.Passf("%s is there and unchanged: %d bytes, %d rows, %s old", s.Path, s.Bytes, pg.TotalRows(s.Tables), age), nil
}

// readable reads an archive as far as Verify says; the text says what is wrong.
func (p *backup) readable(ctx context.Context, env *check.Env, host check.Host, s *sidecar) (string, error) {
	if !reaches(p.Verify, levelList) {
		return "", nil
	}
	opened, wrong, closeAgain, err := p.open(ctx, env, *s)
	if err != nil || wrong != "" {
		return wrong, err
	}
	defer closeAgain()
	wrong, err = p.plainlyReadable(ctx, env, host, &opened)
	s.Entries = opened.Entries
	return wrong, err
}

// plainlyReadable reads an archive that is not encrypted, or not any more.
func (p *backup) plainlyReadable(ctx context.Context, env *check.Env, host check.Host, s *sidecar) (string, error) {
	tools, err := pg.FindTools(ctx, host, p.Bin, s.Tool)
	if err != nil {
		return "", err
	}
	var wrong string
	if s.Format == formatPlain {
		wrong, err = plainReadable(ctx, host, s.Path, p.Verify)
	} else {
		wrong, err = p.archiveReadable(ctx, tools, s)
	}
	if err != nil || wrong != "" || !reaches(p.Verify, levelLoad) {
		return wrong, err
	}
	t := trial{place: p.place, scratch: p.Scratch, jobs: p.Jobs, level: p.Verify}
	wrong, _, err = t.run(ctx, env, tools, *s)
	return wrong, err
}

// archiveReadable reads an archive of pg_dump's own formats.
func (p *backup) archiveReadable(ctx context.Context, tools pg.Tools, s *sidecar) (string, error) {
	entries, r, err := tools.List(ctx, s.Path)
	if err != nil {
		return "", err
	}
	failure, err := pg.Failure(r)
	if err != nil || failure != "" {
		return "its contents cannot be listed: " + failure, err
	}
	if entries == 0 {
		return "its list of contents is empty", nil
	}
	s.Entries = entries
	if !reaches(p.Verify, levelDecode) {
		return "", nil
	}
	if r, err = tools.Decode(ctx, s.Path); err != nil {
		return "", err
	}
	if failure, err = pg.Failure(r); err != nil || failure != "" {
		return "it cannot be read to its end: " + failure, err
	}
	return "", nil
}

// facts are what is kept as evidence.
func (s sidecar) facts() map[string]string {
	return map[string]string{
		"path": s.Path, "bytes": strconv.FormatInt(s.Bytes, 10), "sha256": s.SHA256, "at": s.At.Format(time.RFC3339),
		"tables": strconv.Itoa(len(s.Tables)), "rows": strconv.FormatInt(pg.TotalRows(s.Tables), 10),
		"entries": strconv.Itoa(s.Entries), "server": strconv.Itoa(s.Server), "pg_dump": strconv.Itoa(s.Tool),
		"seconds": strconv.FormatFloat(s.Seconds, 'f', 3, 64), "schema_sha256": s.Schema,
	}
}

// sets are what later items of the run go by.
func (s sidecar) sets() map[string]string {
	return map[string]string{
		"backup.path": s.Path, "backup.sha256": s.SHA256, "backup.bytes": strconv.FormatInt(s.Bytes, 10),
		"backup.at": s.At.Format(time.RFC3339), "backup.bytes." + s.Database: strconv.FormatInt(s.Bytes, 10),
	}
}
