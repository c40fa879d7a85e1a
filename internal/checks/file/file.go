// Package file holds the type that looks at files on a host.
package file

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed file.md
var fileDoc string

// File is the type file.
var File = check.Define[file](check.Desc{
	Name: "file", Summary: "files are there, with the owner, mode and content wanted", Doc: fileDoc,
})

// file looks at one path or at several, each with its own rules.
type file struct {
	Path string `param:"path,short" doc:"the file, or a pattern (** crosses folders)" default:""`
	rules
	Paths map[string]rules `param:"paths" doc:"several paths or patterns, each with rules of its own" default:""`
	On    string           `param:"on" doc:"host to look on; this machine when left out" default:""`
	Limit check.Size       `param:"limit" doc:"largest file that is read" default:"16MiB"`
}

// Validate holds the rules between parameters.
func (f *file) Validate() error {
	if (f.Path == "") == (len(f.Paths) == 0) {
		return errors.New("needs either path or paths")
	}
	if len(f.Paths) > 0 && f.any() {
		return errors.New("with paths, the rules stand under each path")
	}
	for path, r := range f.all() {
		if err := r.validate(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Traits says that programs may be run on the host.
func (f *file) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "looks at " + strings.Join(slices.Sorted(maps.Keys(f.all())), ", "), Target: f.target(),
	}
}

func (f *file) target() string {
	if f.On == "" {
		return "local"
	}
	return f.On
}

func (f *file) all() map[string]rules {
	if len(f.Paths) > 0 {
		return f.Paths
	}
	return map[string]rules{f.Path: f.rules}
}

// Run looks at every path and lists everything that is not as wanted.
func (f *file) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host(f.On)
	if err != nil {
		return check.Outcome{}, err
	}
	l := &look{host: host, now: env.Now(), limit: int64(f.Limit)}
	all := f.all()
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if err := l.path(ctx, path, all[path]); err != nil {
			return check.Outcome{}, err
		}
	}
	outcome := check.Passf("%s as wanted", count(l.seen, "file"))
	if l.seen == 0 {
		outcome = check.Passf("%s absent, as wanted", count(len(all), "path"))
	}
	if len(l.wrong) > 0 {
		outcome = check.Failf("%s", firstOf(l.wrong))
	}
	outcome.Facts = l.facts
	return outcome.With("files", fmt.Sprint(l.seen)).With("violations", fmt.Sprint(len(l.wrong))), nil
}

// maxNamed bounds how many violations a reason names.
const maxNamed = 10

func firstOf(wrong []string) string {
	text := strings.Join(wrong[:min(len(wrong), maxNamed)], "; ")
	if len(wrong) > maxNamed {
		text += fmt.Sprintf("; and %d more", len(wrong)-maxNamed)
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// isPattern reports whether a path stands for whatever matches it.
func isPattern(path string) bool { return strings.ContainsAny(path, "*?[{") }

// missing reports whether an error means that there is no such file; anything
// else (no permission, no answer) means that it is not known.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
