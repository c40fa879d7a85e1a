package cli

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"allclear.dev/allclear/internal/changes"
	"allclear.dev/allclear/internal/checks/report"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/run"
)

const (
	// historyTime bounds how long the history is asked.
	historyTime = 20 * time.Second
	// maxLockFile and maxReport bound what is read of one file, in bytes.
	maxLockFile = 32 << 20
	maxReport   = 64 << 20
)

// changed tells what a release changes: a fact changed.KIND for each kind of which
// it is known, changed.files, and for every kind why. Without both revisions, or
// without the history between them, nothing is known: a condition that asks is then
// undecided, which is not the same as not changed.
func (s *site) changed(ctx context.Context, release config.Release, previous run.Release) (facts map[string]any, why map[string]string) {
	ctx, cancel := context.WithTimeout(ctx, historyTime)
	defer cancel()
	patterns := changes.Merge(s.cfg.Changes.Kinds)
	h := history{dir: s.root, from: previous.Revision, to: release.Revision}
	facts, why = map[string]any{}, map[string]string{}
	files, err := h.files(ctx)
	var answers map[string]changes.Answer
	if err != nil {
		answers = changes.Unknown(patterns, err.Error())
	} else {
		answers = changes.Of(files, patterns, h.name(previous.Version, h.from)+" and "+h.name(release.Version, h.to))
		answers[changes.Advisories] = s.advisories(ctx, h, files)
		list := []any{}
		for _, file := range files {
			list = append(list, file)
		}
		facts["files"] = list
	}
	for kind, a := range answers {
		if a.Known {
			facts[kind] = a.Changed
		}
		why["changed."+kind] = a.Why
	}
	return facts, why
}

// advisories tells whether a dependency is replaced that a scanner has said
// something against.
func (s *site) advisories(ctx context.Context, h history, files []string) changes.Answer {
	gone, unread := changes.Gone(changes.Like(files, changes.LockFiles()),
		func(file string) ([]byte, error) { return h.content(ctx, h.from, file) },
		func(file string) ([]byte, error) { return h.content(ctx, h.to, file) })
	var known []changes.Advisory
	for _, name := range s.cfg.Changes.Advisories {
		text, err := readBounded(filepath.Join(s.root, filepath.FromSlash(name)), maxReport)
		if err == nil {
			var list []report.Advisory
			list, err = report.Advisories(text)
			for _, a := range list {
				known = append(known, changes.Advisory(a))
			}
		}
		if err != nil {
			return changes.Answer{Why: fmt.Sprintf("%s: %v", name, err)}
		}
	}
	return changes.Replaced(gone, unread, known, len(s.cfg.Changes.Advisories))
}

// history is what git knows between two revisions.
type history struct{ dir, from, to string }

func (h history) git(ctx context.Context, limit int64, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", h.dir}, args...)...)
	var problem strings.Builder
	cmd.Stderr = &problem
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	out, readErr := io.ReadAll(io.LimitReader(pipe, limit+1))
	if int64(len(out)) > limit {
		_ = cmd.Process.Kill() // it has more to say than is read
		_ = cmd.Wait()
		return nil, fmt.Errorf("git %s says more than %d MiB", args[0], limit>>20)
	}
	if err := cmd.Wait(); err != nil {
		text, _, _ := strings.Cut(strings.TrimSpace(problem.String()), "\n")
		return nil, fmt.Errorf("git %s: %s", args[0], orText(text, err.Error()))
	}
	return out, readErr
}

// files lists what differs between the revisions.
func (h history) files(ctx context.Context) ([]string, error) {
	for _, rev := range []string{h.from, h.to} {
		switch {
		case rev == "" && h.from == "":
			return nil, fmt.Errorf("the revision that is live is not known: allclear adopt records it")
		case rev == "" || strings.HasPrefix(rev, "-"):
			return nil, fmt.Errorf("the revision of this release is not known")
		}
	}
	out, err := h.git(ctx, maxLockFile, "diff", "--name-only", "-z", "--no-renames", h.from, h.to, "--")
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// content gives a file as it is in a revision; nothing where there is none.
func (h history) content(ctx context.Context, rev, file string) ([]byte, error) {
	listed, err := h.git(ctx, maxLockFile, "ls-tree", "--name-only", "-z", rev, "--", ":(literal)"+file)
	if err != nil || len(listed) == 0 {
		return nil, err
	}
	return h.git(ctx, maxLockFile, "cat-file", "blob", rev+":"+file)
}

// name is a release for people.
func (history) name(version, revision string) string {
	return orText(version, revision[:min(len(revision), 12)])
}

// nest puts a fact with a dotted name where an expression finds it.
func nest(facts map[string]any, name string, value any) {
	for {
		first, rest, dotted := strings.Cut(name, ".")
		if !dotted {
			facts[first] = value
			return
		}
		inner, ok := facts[first].(map[string]any)
		if !ok {
			inner = map[string]any{}
			facts[first] = inner
		}
		facts, name = inner, rest
	}
}
