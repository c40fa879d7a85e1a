package document

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

// changes looks at what differs between the two revisions. When a file of
// when_changed does, a document must too. It says that nothing had to change.
func (r *reading) changes(ctx context.Context) (quiet string, err error) {
	base, head, err := r.revisions(ctx)
	if err != nil {
		return "", err
	}
	if err := r.patterns(ctx, base, head); err != nil {
		return "", err
	}
	out, err := r.repo.run(ctx, "diff", "--name-status", "-z", "--relative", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none", base, head, "--")
	if err != nil {
		return "", err
	}
	fields := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	if out == "" {
		fields = nil
	}
	if len(fields)%2 != 0 {
		return "", fmt.Errorf("git diff: its list is malformed")
	}
	var triggers, written []string
	for i := 0; i < len(fields); i += 2 {
		status, file := fields[i], fields[i+1]
		switch {
		case r.document(file):
			if status != "D" {
				written = append(written, file)
			}
		case matchesAny(r.WhenChanged, file):
			triggers = append(triggers, file)
		}
	}
	r.facts["base"], r.facts["head"] = base, head
	r.facts["changed"], r.facts["triggers"] = strconv.Itoa(len(fields)/2), first(triggers)
	r.facts["documents_changed"] = first(written)
	between := fmt.Sprintf("between %s and %s", base[:12], head[:12])
	if len(triggers) == 0 {
		return fmt.Sprintf("none of the %d files that changed %s matches %s", len(fields)/2, between, strings.Join(r.WhenChanged, ", ")), nil
	}
	want := r.File
	if len(r.Paths) > 0 {
		want = strings.Join(r.Paths, ", ")
	}
	switch {
	case len(r.Paths) > 0 && len(written) == 0:
		r.miss("%s changed %s, and no document of %s did", first(triggers), between, want)
	case len(r.Paths) == 0:
		for _, file := range r.files {
			if !slices.Contains(written, file) {
				r.miss("%s changed %s, and %s did not", first(triggers), between, file)
			}
		}
	}
	return "", nil
}

// document tells whether a changed file is one of the documents.
func (r *reading) document(file string) bool {
	return slices.Contains(r.files, file) || matchesAny(r.Paths, file)
}

func matchesAny(patterns []string, file string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, err := doublestar.Match(p, file); return err == nil && ok })
}

// revisions gives the two commits. Equal ones are an error: nothing would be
// compared.
func (r *reading) revisions(ctx context.Context) (base, head string, err error) {
	name := r.Base
	if name == "" {
		if name = r.env.Run.PreviousRev; name == "" {
			return "", "", &check.NotSupplied{What: "the revision that is live (say base)"}
		}
	}
	if base, err = r.repo.commit(ctx, name); err != nil {
		return "", "", err
	}
	if head, err = r.repo.commit(ctx, r.Head); err != nil {
		return "", "", err
	}
	if base == head {
		return "", "", fmt.Errorf("base and head are the same commit, %s: nothing is compared", base[:12])
	}
	return base, head, nil
}

// patterns is an error when one of when_changed matches no file of either
// revision: it would never ask for anything.
func (r *reading) patterns(ctx context.Context, base, head string) error {
	left := slices.Clone(r.WhenChanged)
	for _, revision := range []string{head, base} {
		out, err := r.repo.run(ctx, "ls-tree", "-r", "--name-only", "-z", revision)
		if err != nil {
			return err
		}
		for file := range strings.SplitSeq(out, "\x00") {
			left = slices.DeleteFunc(left, func(p string) bool { return matchesAny([]string{p}, file) })
			if len(left) == 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("when_changed: %s matches no file of either revision", strings.Join(left, ", "))
}
