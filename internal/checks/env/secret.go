package env

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dotenv"
	"allclear.dev/allclear/internal/secret"
)

//go:embed secret.md
var secretDoc string

// Secret is the type env.secret.
var Secret = check.Define[secretCheck](check.Desc{
	Name:    "env.secret",
	Summary: "the secrets of the deployed system are strong, its own, and not too old",
	Doc:     secretDoc,
})

type secretCheck struct {
	Vars []string `param:"var,short" doc:"variables to look at"`
	source
	MinLen       int           `param:"min_len" doc:"least number of characters" default:"1"`
	MinUnique    int           `param:"min_unique" doc:"least number of different characters" default:"1"`
	MinEntropy   float64       `param:"min_entropy" doc:"least entropy in bits (Shannon's, over its characters)" default:"0"`
	Decode       string        `param:"decode" doc:"encoding that the value must have" default:"" enum:"base64,base64url,hex"`
	Bytes        int           `param:"bytes" doc:"exact number of bytes after decoding" default:"0"`
	NotPrefix    []string      `param:"not_prefix" doc:"beginnings that give away a value made for development" default:"django-insecure-"`
	Placeholders []pattern     `param:"placeholders" doc:"regular expressions of values that nobody replaced, beside the usual ones" default:""`
	DiffersFrom  []other       `param:"differs_from" doc:"variables whose values must be different" default:""`
	StoredIn     secret.Ref    `param:"stored_in" doc:"where the same value must be kept" default:""`
	FileMode     mode          `param:"file_mode" doc:"widest permissions of the file (0600)" default:""`
	FileOwner    string        `param:"file_owner" doc:"owner of the file" default:""`
	MaxAge       time.Duration `param:"max_age" doc:"longest acceptable age" default:""`
	Since        date          `param:"since" doc:"day (2026-11-23) of the last change, where it is known" default:""`
	OldKeys      string        `param:"old_keys" doc:"variable with the values before, separated by commas, which must hold the last one after a change" default:""`
	NotInGit     string        `param:"not_in_git" doc:"checkout whose whole history must not hold the value (. is this one)" default:""`
}

// other names a variable to compare with; without a file, one of the same source.
type other struct {
	Var  string `param:"var,short" doc:"variable to compare with"`
	File string `param:"file" doc:"dotenv file, if it is another one" default:""`
	On   string `param:"on" doc:"host of that file" default:""`
}

// Validate holds the rules between the parameters.
func (p *secretCheck) Validate() error {
	if err := p.source.validate(); err != nil {
		return err
	}
	if len(p.Vars) == 0 {
		return errors.New("var: name at least one")
	}
	for _, name := range p.Vars {
		if !dotenv.ValidName(name) {
			return fmt.Errorf("var: %q is not a variable's name", name)
		}
	}
	switch {
	case (p.FileMode != 0 || p.FileOwner != "") && p.File == "":
		return errors.New("file_mode and file_owner need file")
	case len(p.Command) > 0 && len(p.Vars) > 1:
		return errors.New("var: the output of a command is one value; name one variable")
	case p.Bytes > 0 && p.Decode == "":
		return errors.New("bytes counts after decoding: set decode")
	case len(p.Command) > 0 && p.OldKeys != "":
		return errors.New("old_keys needs file, process or pid_file")
	case !p.StoredIn.IsZero() && len(p.Vars) > 1:
		return errors.New("stored_in: name one variable")
	case !time.Time(p.Since).IsZero() && len(p.Vars) > 1:
		return errors.New("since: name one variable")
	}
	for _, o := range p.DiffersFrom {
		if o.File == "" && len(p.Vars) == 1 && o.Var == p.Vars[0] {
			return fmt.Errorf("differs_from: %s is the variable itself", o.Var)
		}
		if o.File == "" && len(p.Command) > 0 {
			return errors.New("differs_from: with command, name the file of the other variable")
		}
	}
	return nil
}

// Traits says what is read.
func (p *secretCheck) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "measures " + strings.Join(p.Vars, ", ") + " and keeps fingerprints", Target: strings.Join(p.Vars, ", "),
	}
}

// examined is one secret under examination.
type examined struct {
	*secretCheck
	env         *check.Env
	key         []byte
	name, value string
	facts, sets map[string]string
	misses      []string
}

func (s *examined) miss(format string, args ...any) {
	s.misses = append(s.misses, s.name+" "+fmt.Sprintf(format, args...))
}

func (s *examined) fact(name, value string) { s.facts[s.name+"."+name] = value }

// fingerprint is the start of a keyed digest: equal values show as equal, and
// without the key, which never leaves the data directory, nothing can be tried.
func (s *examined) fingerprint(value string) string {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(value))
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Run measures every secret. No message, fact or error holds a value.
func (p *secretCheck) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	key, err := fingerprintKey(env.DataDir)
	if err != nil {
		return check.Outcome{}, err
	}
	facts, sets := map[string]string{"source": p.where()}, map[string]string{}
	var misses []string
	for _, name := range p.Vars {
		value, found, err := p.read(ctx, env, name)
		if err != nil {
			return check.Outcome{}, err
		}
		s := &examined{secretCheck: p, env: env, key: key, name: name, value: value, facts: facts, sets: sets}
		if !found || strings.TrimSpace(value) == "" {
			s.miss("is not set in %s", p.where())
		} else if err := s.examine(ctx); err != nil {
			return check.Outcome{}, fmt.Errorf("%s: %w", name, err)
		}
		misses = append(misses, s.misses...)
	}
	miss, err := p.fileRules(ctx, env, facts)
	if err != nil {
		return check.Outcome{}, err
	}
	misses = append(misses, miss...)
	o := check.Passf("%s in %s: all rules hold", strings.Join(p.Vars, ", "), p.where())
	if len(misses) > 0 {
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts, o.Sets = facts, sets
	return o, ctx.Err()
}

// examine applies every rule to one secret.
func (s *examined) examine(ctx context.Context) error {
	s.measure()
	for _, rule := range []func(context.Context) error{s.differs, s.stored, s.age, s.git} {
		if err := rule(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fileRules judges the permissions and owner of the file.
func (p *secretCheck) fileRules(ctx context.Context, env *check.Env, facts map[string]string) ([]string, error) {
	if p.FileMode == 0 && p.FileOwner == "" {
		return nil, nil
	}
	host, err := env.Host(p.On)
	if err != nil {
		return nil, err
	}
	info, err := host.Lstat(ctx, p.File)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", p.where(), err)
	}
	facts["file.mode"], facts["file.owner"] = fmt.Sprintf("%04o", info.Mode.Perm()), info.Owner
	var misses []string
	if info.Mode&fs.ModeSymlink != 0 {
		misses = append(misses, p.where()+" is a link, whose own permissions say nothing")
	} else if over := info.Mode.Perm() &^ fs.FileMode(p.FileMode); p.FileMode != 0 && over != 0 {
		misses = append(misses, fmt.Sprintf("%s has mode %04o, want at most %04o", p.where(), info.Mode.Perm(), uint32(p.FileMode)))
	}
	if p.FileOwner != "" && info.Owner != p.FileOwner {
		misses = append(misses, fmt.Sprintf("%s belongs to %s, want %s", p.where(), info.Owner, p.FileOwner))
	}
	return misses, nil
}
