// Package postgres holds the types about a PostgreSQL database as a whole:
// postgres.backup makes, verifies and finds archives of it, postgres.restore
// proves that one can be restored, or restores it.
package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

const (
	// maxSidecar bounds a sidecar, in bytes.
	maxSidecar = 64 << 20
	// clockSkew is how far in the future a backup's time may lie.
	clockSkew = 5 * time.Minute
)

// place is what both types are told: the database, and where its archives are.
type place struct {
	DB       secret.Ref `param:"db" doc:"the database's address" default:"${env.database}"`
	Dest     string     `param:"dest" doc:"folder of the backups" default:"backups"`
	On       string     `param:"on" doc:"host that has the folder and PostgreSQL's programs" default:""`
	Bin      string     `param:"bin" doc:"folder of pg_dump and pg_restore; left out, the usual places" default:""`
	Identity secret.Ref `param:"identity" doc:"the private key of an encrypted backup: age's, or OpenSSH's without a passphrase" default:""`
	From     string     `param:"from" doc:"the archive: a path or latest; left out, this run's (fact backup.path), else the latest" default:""`
}

func (p *place) validate() error {
	for name, value := range map[string]string{"dest": p.Dest, "from": p.From, "bin": p.Bin} {
		if strings.HasPrefix(value, "-") || strings.ContainsAny(value, "\x00\n") {
			return fmt.Errorf("%s: %q is not a path", name, value)
		}
	}
	return nil
}

func (p *place) server(ctx context.Context, env *check.Env, ref secret.Ref) (*pg.Server, error) {
	if ref.IsZero() {
		return nil, &check.NotSupplied{What: "the database's address (db)"}
	}
	address, err := env.Secret(ctx, ref)
	if err != nil {
		return nil, err
	}
	return pg.Parse(address, env.Dial)
}

// sidecar is what was known about an archive when it was made; it lies beside it,
// and its presence says that the archive is complete.
type sidecar struct {
	// Path is where the archive was put. Key is the attempt that made it.
	Path     string    `json:"path"`
	Key      string    `json:"key"`
	Run      string    `json:"run"`
	Release  string    `json:"release"`
	Database string    `json:"database"` // host:port/name
	Format   string    `json:"format"`
	At       time.Time `json:"at"` // the snapshot's instant
	Seconds  float64   `json:"seconds"`
	Bytes    int64     `json:"bytes"`
	SHA256   string    `json:"sha256"`
	Server   int       `json:"server_major"`
	Tool     int       `json:"tool_major"`
	Entries  int       `json:"entries"`
	Schema   string    `json:"schema_sha256"`
	Shape    string    `json:"schema_shape_sha256"`
	// Tables are the rows and digests at the snapshot's instant.
	Tables []pg.TableDigest `json:"tables"`
	// Roles are those that own something in the database or were granted it.
	Roles []string `json:"roles,omitempty"`
	// Globals is the file with all roles and tablespaces of the server, with its
	// SHA-256.
	Globals       string `json:"globals,omitempty"`
	GlobalsSHA256 string `json:"globals_sha256,omitempty"`
	// SealedTo are the keys that the archive is encrypted to; Plain is the SHA-256 of
	// what is in it. Path, Bytes and SHA256 are the encrypted file's.
	SealedTo []string `json:"sealed_to,omitempty"`
	Plain    string   `json:"plain_sha256,omitempty"`
}

// records match what lies beside archives, plain and encrypted.
const records = "*.dump*.json"

// sidecarOf is the sidecar's path.
func sidecarOf(archive string) string { return archive + ".json" }

// readSidecar reads what lies beside an archive.
func readSidecar(ctx context.Context, host check.Host, file string) (sidecar, error) {
	data, err := host.ReadFile(ctx, file, maxSidecar)
	if err != nil {
		return sidecar{}, fmt.Errorf("read backup's record: %w", err)
	}
	var s sidecar
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&s); err != nil {
		return sidecar{}, fmt.Errorf("read backup's record %s: %w", file, err)
	}
	if len(s.SHA256) != 64 || s.At.IsZero() || s.Bytes <= 0 {
		return sidecar{}, fmt.Errorf("read backup's record %s: it says no digest, time or size", file)
	}
	s.Path = strings.TrimSuffix(file, ".json") // the folder may have been moved since
	return s, nil
}

// list gives the complete backups of a database in the folder, newest first.
func (p *place) list(ctx context.Context, host check.Host, database string) ([]sidecar, error) {
	files, err := host.Glob(ctx, path.Join(p.Dest, records))
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	var out []sidecar
	for _, file := range files {
		s, err := readSidecar(ctx, host, file)
		if err != nil {
			return nil, err
		}
		if s.Database == database {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b sidecar) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.Path, a.Path))
	})
	return out, nil
}

// errNoBackup says that there is no such archive: a fail, not an error.
var errNoBackup = errors.New("there is no backup")

// find gives the archive that From means. One that is for certain not there is
// errNoBackup.
func (p *place) find(ctx context.Context, env *check.Env, host check.Host, database string) (sidecar, error) {
	file := p.From
	if fact, ok := env.Ledger.Fact("backup.path"); file == "" && ok {
		// A run may back up several databases: what stands for one is not the other's.
		if s, err := p.at(ctx, host, fact); err != nil || s.Database == database {
			return s, err
		}
	}
	if file == "" || file == "latest" {
		all, err := p.list(ctx, host, database)
		if err != nil {
			return sidecar{}, err
		}
		if len(all) == 0 {
			return sidecar{}, fmt.Errorf("%w of %s in %s", errNoBackup, database, p.Dest)
		}
		return all[0], nil
	}
	return p.at(ctx, host, file)
}

// at reads the record of the archive at a path.
func (p *place) at(ctx context.Context, host check.Host, file string) (sidecar, error) {
	if !strings.Contains(file, "/") {
		file = path.Join(p.Dest, file)
	}
	if _, err := host.Lstat(ctx, file); errors.Is(err, fs.ErrNotExist) {
		return sidecar{}, fmt.Errorf("%w at %s", errNoBackup, file)
	}
	return readSidecar(ctx, host, sidecarOf(file))
}

// measure gives an archive's size and digest. A folder's digest is that of the
// lines "digest  name" of its files, sorted by name. No such archive is
// errNoBackup.
func measure(ctx context.Context, host check.Host, file string) (size int64, sum string, err error) {
	info, err := host.Lstat(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", fmt.Errorf("%w at %s", errNoBackup, file)
	}
	if err != nil {
		return 0, "", fmt.Errorf("look at backup: %w", err)
	}
	files := []string{file}
	if info.Mode.IsDir() {
		if files, err = host.Glob(ctx, path.Join(file, "*")); err != nil {
			return 0, "", fmt.Errorf("list backup: %w", err)
		}
	}
	if len(files) == 0 {
		return 0, "", nil
	}
	slices.Sort(files)
	var lines strings.Builder
	for _, f := range files {
		info, err := host.Lstat(ctx, f)
		if err != nil {
			return 0, "", fmt.Errorf("look at backup: %w", err)
		}
		one, err := sumOf(ctx, host, f)
		if err != nil {
			return 0, "", err
		}
		size, sum = size+info.Size, one
		fmt.Fprintf(&lines, "%s  %s\n", one, path.Base(f))
	}
	if info.Mode.IsDir() {
		whole := sha256.Sum256([]byte(lines.String()))
		sum = hex.EncodeToString(whole[:])
	}
	return size, sum, nil
}

func sumOf(ctx context.Context, host check.Host, file string) (string, error) {
	r, err := host.Exec(ctx, check.Command{Argv: []string{"sha256sum", "--", file}})
	if err != nil {
		return "", fmt.Errorf("digest backup: %w", err)
	}
	sum, _, _ := strings.Cut(strings.TrimPrefix(string(r.Stdout), `\`), " ")
	if _, bad := hex.DecodeString(sum); r.Code != 0 || len(sum) != 64 || bad != nil {
		return "", fmt.Errorf("digest backup: sha256sum ended with %d: %.200s", r.Code, r.Stderr)
	}
	return sum, nil
}

// intact compares an archive with its record; the text says what is wrong.
func intact(ctx context.Context, host check.Host, s sidecar) (string, error) {
	size, sum, err := measure(ctx, host, s.Path)
	switch {
	case errors.Is(err, errNoBackup):
		return err.Error(), nil
	case err != nil:
		return "", err
	case size != s.Bytes:
		return fmt.Sprintf("%s has %d bytes, was made with %d", s.Path, size, s.Bytes), nil
	case sum != s.SHA256:
		return fmt.Sprintf("%s has been changed since it was made: SHA-256 %.12s, was %.12s", s.Path, sum, s.SHA256), nil
	case s.Globals == "":
		return "", nil
	}
	_, sum, err = measure(ctx, host, globalsOf(s.Path))
	switch {
	case errors.Is(err, errNoBackup):
		return "the roles kept beside it are gone: " + err.Error(), nil
	case err == nil && sum != s.GlobalsSHA256:
		return fmt.Sprintf("%s has been changed since it was made: SHA-256 %.12s, was %.12s", globalsOf(s.Path), sum, s.GlobalsSHA256), nil
	}
	return "", err
}

// run runs a small program that must end well.
func run(ctx context.Context, host check.Host, stdin []byte, argv ...string) error {
	r, err := host.Exec(ctx, check.Command{Argv: argv, Stdin: stdin})
	if err != nil {
		return err
	}
	if failure, err := pg.Failure(r); failure != "" || err != nil {
		return errors.Join(err, fmt.Errorf("%s: %s", argv[0], failure))
	}
	return nil
}
