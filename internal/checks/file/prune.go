package file

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

//go:embed files.prune.md
var pruneDoc string

// Prune is the type files.prune.
var Prune = check.Define[prune](check.Desc{
	Name: "files.prune", Summary: "what is old is listed, or archived and removed as it was listed", Doc: pruneDoc,
})

// prune lists old files and folders, or removes exactly what was listed. What is
// live and what a rollback needs stay, whatever the patterns say.
type prune struct {
	Paths     []string      `param:"paths" doc:"patterns of whole paths (** crosses folders)"`
	Older     time.Duration `param:"older" doc:"only what was last written longer ago" default:"0s"`
	Keep      int           `param:"keep" doc:"how many of the newest of each pattern stay" default:"0"`
	Exclude   []string      `param:"exclude" doc:"patterns of whole paths that stay" default:""`
	Protect   []string      `param:"protect" doc:"links or paths; they and what they lead to stay" default:""`
	Do        string        `param:"do" doc:"what to do; nothing but listing when left out" default:"" enum:"remove"`
	Name      string        `param:"name" doc:"what the list is called, to find it again when it is to be removed" default:"files"`
	Unseen    bool          `param:"unseen" doc:"with do: remove, no list was made before" default:"false"`
	AtMost    int           `param:"at_most" doc:"more than so many are not removed" default:"1000"`
	ArchiveTo string        `param:"archive_to" doc:"with do: remove, folder that receives an archive first" default:""`
	Compress  string        `param:"compress" doc:"how the archive is compressed" default:"gzip" enum:"gzip,zstd,none"`
	On        string        `param:"on" doc:"host; this machine when left out" default:""`
}

// Validate holds the rules between parameters.
func (p *prune) Validate() error {
	switch {
	case len(p.Paths) == 0:
		return errors.New("paths lists nothing")
	case p.Older <= 0 && p.Keep <= 0:
		return errors.New("needs older or keep: otherwise everything would go")
	case p.Older < 0 || p.Keep < 0 || p.AtMost < 1:
		return errors.New("older and keep are not negative, at_most is at least 1")
	case p.Do == "" && (p.ArchiveTo != "" || p.Unseen):
		return errors.New("archive_to and unseen are for do: remove")
	case !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(p.Name):
		return fmt.Errorf("name: %.60q: want small letters, digits and _", p.Name)
	}
	for _, pattern := range p.Paths {
		if err := prunable(pattern); err != nil {
			return fmt.Errorf("paths: %w", err)
		}
	}
	for _, one := range slices.Concat(p.Exclude, p.Protect) {
		if err := wholePath(one); err != nil {
			return err
		}
	}
	if p.ArchiveTo == "" {
		return nil
	}
	return wholePath(p.ArchiveTo)
}

func wholePath(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || strings.ContainsAny(name, "\x00\r\n") || !doublestar.ValidatePattern(name) {
		return fmt.Errorf("%.200q is not a whole path such as /srv/app/releases/*", name)
	}
	return nil
}

// prunable accepts a pattern that cannot reach a system's own files.
func prunable(pattern string) error {
	if err := wholePath(pattern); err != nil {
		return err
	}
	base, rest := doublestar.SplitPattern(pattern)
	for _, tree := range []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/run"} {
		if base == tree || strings.HasPrefix(base, tree+"/") {
			return fmt.Errorf("%s belongs to the system: nothing is removed there", pattern)
		}
	}
	literal := rest != "" && !strings.ContainsRune("*?[{", rune(rest[0]))
	switch {
	case base == "/var/lib" && !literal, strings.Count(base, "/") < 2 && (base != "/tmp" || !literal):
		return fmt.Errorf("%s reaches too much: begin with a folder of the application's own, such as /srv/app/releases/*", pattern)
	}
	return nil
}

// Traits tells listing from removing.
func (p *prune) Traits() check.Traits {
	what := strings.Join(p.Paths, ", ")
	t := check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "lists what of " + what + " may go", Target: what}
	if p.Do == "" {
		return t
	}
	t.Kind, t.Class, t.Effect, t.Does = check.Action, check.Probed, check.Changes, "removes what is old of "+what
	if p.ArchiveTo == "" {
		t.Irreversible = "removed files are gone: archive_to keeps them"
		return t
	}
	t.Does = "archives in " + p.ArchiveTo + " and removes what is old of " + what
	t.Undo = "puts back what the archive holds"
	return t
}

// refused is a failure that is certain.
type refused struct{ why string }

// Error says why.
func (r *refused) Error() string { return r.why }

func refuse(format string, args ...any) error { return &refused{fmt.Sprintf(format, args...)} }

// settle makes a certain failure a verdict; any other error stays one.
func settle(o check.Outcome, err error) (check.Outcome, error) {
	if _, certain := errors.AsType[*refused](err); certain {
		o.Verdict, o.Reason = check.Fail, err.Error()
		return o, nil
	}
	return o, err
}

// Run lists what may go, or removes what was listed.
func (p *prune) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	w, err := p.open(env)
	if err != nil {
		return check.Outcome{}, err
	}
	if p.Do == "" {
		return w.list(ctx) // looking, a failure of a program says nothing about the files
	}
	return settle(w.remove(ctx))
}

func (p *prune) open(env *check.Env) (*pruning, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return nil, err
	}
	return &pruning{prune: p, env: env, host: host}, nil
}

// fact is what the run remembers of the list.
func (p *prune) fact() string { return "prune." + p.Name }

// list finds what may go and remembers it.
func (w *pruning) list(ctx context.Context) (check.Outcome, error) {
	cutoff := w.env.Now().Add(-w.Older)
	found, err := w.survey(ctx, cutoff)
	if err != nil {
		return check.Outcome{}, err
	}
	digest, err := w.note(w.memo(cutoff, found))
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Passf("%s of %s may go, %d stay", count(len(found.remove), "path"), bytesText(found.bytes()), len(found.kept))
	if len(found.remove) > w.AtMost {
		outcome = check.Failf("%d paths match, more than %d: look at the list and at the patterns", len(found.remove), w.AtMost)
	}
	outcome.Facts = map[string]string{
		"digest": digest, "may_go": strconv.Itoa(len(found.remove)), "stay": strconv.Itoa(len(found.kept)), "bytes": strconv.FormatInt(found.bytes(), 10),
	}
	if outcome.Verdict == check.Pass {
		outcome.Sets = map[string]string{w.fact(): digest}
	}
	return w.evidence(outcome, "may_go.txt", found)
}

// evidence keeps both lists.
func (w *pruning) evidence(o check.Outcome, name string, found listing) (check.Outcome, error) {
	var gone, kept strings.Builder
	for _, e := range found.remove {
		fmt.Fprintf(&gone, "%s\t%d\t%s\t%q\n", e.Kind, e.Size, time.Unix(e.Time, 0).UTC().Format(time.RFC3339), e.Path)
	}
	for _, k := range found.kept {
		fmt.Fprintf(&kept, "%q\t%s\n", k.path, k.why)
	}
	for _, list := range []struct{ name, text string }{{name, gone.String()}, {"stays.txt", kept.String()}} {
		a, err := w.env.Store(list.name, strings.NewReader(list.text))
		if err != nil {
			return o, fmt.Errorf("keep %s: %w", list.name, err)
		}
		o.Artefacts = append(o.Artefacts, a)
	}
	return o, nil
}

// bytesText shows bytes in the largest unit that keeps a whole part.
func bytesText(n int64) string {
	for _, u := range []struct {
		name   string
		factor float64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if float64(n) >= u.factor {
			return strconv.FormatFloat(float64(n)/u.factor, 'f', 1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
