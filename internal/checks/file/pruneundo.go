package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// Probe tells how much of the list is still there.
func (p *prune) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	w, err := p.open(env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	m, digest, err := w.recall()
	if p.Unseen && errors.Is(err, fs.ErrNotExist) {
		return check.NotDone, check.Passf("nothing was listed yet"), ctx.Err()
	}
	if err != nil {
		return "", check.Outcome{}, err
	}
	if over, err := w.reached(digest, ended); err != nil || over {
		return check.Done, check.Passf("all %d listed paths were removed", len(m.Entries)), errors.Join(err, ctx.Err())
	}
	left, err := w.left(ctx, m)
	if err != nil {
		return "", check.Outcome{}, err
	}
	outcome := check.Passf("%d of %d listed paths are still there", len(left), len(m.Entries))
	switch len(left) {
	case 0:
		return check.Done, outcome, ctx.Err()
	case len(m.Entries):
		return check.NotDone, outcome, nil
	}
	return check.Partly, outcome, nil
}

// Undo puts back what the archive holds and is not there.
func (p *prune) Undo(ctx context.Context, env *check.Env, done check.Outcome) (check.Outcome, error) {
	if p.ArchiveTo == "" {
		return check.Outcome{}, errors.New("what was removed without an archive cannot be put back")
	}
	w, err := p.open(env)
	if err != nil {
		return check.Outcome{}, err
	}
	return settle(w.restore(ctx, done))
}

func (w *pruning) restore(ctx context.Context, done check.Outcome) (check.Outcome, error) {
	m, digest, err := w.recall()
	if w.Unseen && errors.Is(err, fs.ErrNotExist) {
		return check.Passf("nothing was removed"), ctx.Err()
	}
	if err != nil {
		return check.Outcome{}, err
	}
	touched, err := w.reached(digest, begun)
	if err != nil || !touched || len(m.Entries) == 0 {
		return check.Passf("nothing was removed"), err
	}
	file := w.archiveFile(digest)
	sum, err := w.sum(ctx, file)
	if err != nil {
		return check.Outcome{}, err
	}
	if want := done.Facts["archive_sha256"]; want != "" && want != sum {
		return check.Outcome{}, refuse("%s has sha256 %s, but was made with %s", file, sum, want)
	}
	if _, err := w.tool(ctx, append(w.tar("--extract", file), "--skip-old-files", "--preserve-permissions")...); err != nil {
		return check.Outcome{}, err
	}
	if err := w.same(ctx, file); err != nil {
		return check.Outcome{}, err
	}
	left, err := w.left(ctx, m)
	if err != nil {
		return check.Outcome{}, err
	}
	if len(left) < len(m.Entries) {
		return check.Outcome{}, refuse("%d of %d paths were not in %s", len(m.Entries)-len(left), len(m.Entries), file)
	}
	return check.Passf("%s put back from %s", count(len(m.Entries), "path"), file).With("archive_sha256", sum), w.again(digest)
}

// same holds that everything is as in the archive. Only a folder that was removed
// in part was written to since.
func (w *pruning) same(ctx context.Context, file string) error {
	result, err := w.host.Exec(ctx, check.Command{Argv: w.tar("--compare", file), Dir: "/", Env: []string{"LC_ALL=C"}})
	if err != nil {
		return fmt.Errorf("tar: %w", err)
	}
	var other []string
	for line := range strings.Lines(string(result.Stdout) + string(result.Stderr)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasSuffix(line, ": Mod time differs") {
			other = append(other, line)
		}
	}
	if len(other) > 0 || result.Code > 1 || result.Signal != "" {
		return refuse("what was put back is not as in %s: exit %d: %s", file, result.Code, firstOf(other))
	}
	return nil
}

// Examine says whether the folders are there and the archive's may be written to.
func (p *prune) Examine(ctx context.Context, env *check.Env) (string, error) {
	w, err := p.open(env)
	if err != nil {
		return "", err
	}
	found, err := w.survey(ctx, env.Now().Add(-p.Older))
	if err != nil {
		return "", err
	}
	if p.ArchiveTo != "" {
		if _, err := w.tool(ctx, "test", "-d", p.ArchiveTo, "-a", "-w", p.ArchiveTo); err != nil {
			return "", fmt.Errorf("%s is no folder that may be written to: %w", p.ArchiveTo, err)
		}
	}
	return fmt.Sprintf("%s of %s would go now", count(len(found.remove), "path"), bytesText(found.bytes())), nil
}
