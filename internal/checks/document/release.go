package document

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"allclear.dev/allclear/internal/check"
)

// keyLine stands in the message of every commit that is made here.
const keyLine = "Allclear-Attempt: "

// work is one release of a changelog.
type work struct {
	*entry
	env  *check.Env
	text []byte
	log  *changelog
	// repo is used with commit only.
	repo git
}

func (p *entry) open(ctx context.Context, env *check.Env) (*work, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	w := &work{entry: p, env: env}
	var err error
	if w.text, err = readDocument(ctx, env, p.File); err != nil {
		return nil, err
	}
	if w.log, err = readChangelog(w.text); err != nil {
		return nil, fmt.Errorf("%s: %w", p.File, err)
	}
	if p.Commit {
		w.repo, err = repository(env)
	}
	return w, err
}

// path is the changelog for the file system.
func (w *work) path() string {
	if filepath.IsAbs(w.File) {
		return w.File
	}
	return filepath.Join(w.env.Dir, w.File)
}

// before is where the file as it was is kept until the run is over.
func (w *work) before() string {
	return filepath.Join(w.env.DataDir, "changelog-"+digest([]byte(w.env.Key + "\x00" + w.File))[:24]+".before")
}

// release edits the file, unless that has been done, and commits it.
func (p *entry) release(ctx context.Context, env *check.Env) (check.Outcome, error) {
	w, err := p.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	if len(w.log.find(p.Version)) == 0 {
		if o, err := w.edit(ctx); err != nil || o.Verdict == check.Fail {
			return o, err
		}
	}
	o, err := p.judge(w.log, env.Now())
	if err != nil || o.Verdict == check.Fail {
		return o, err
	}
	o.Facts["sha256"] = digest(w.text)
	if p.Commit {
		return w.commit(ctx, o)
	}
	return o, ctx.Err()
}

// edit puts the new text in place of the old one in one step. What it would be is
// judged first, so that no changelog becomes worse.
func (w *work) edit(ctx context.Context) (check.Outcome, error) {
	if w.Commit {
		dirty, err := w.repo.dirty(ctx, w.File)
		if err != nil {
			return check.Outcome{}, err
		}
		if dirty {
			return check.Failf("%s has changes that are not committed: commit them first", w.File), nil
		}
	}
	date := w.Date
	if date == "" {
		date = w.env.Now().UTC().Format(time.DateOnly)
	}
	text, miss := w.log.released(w.text, w.entry, date)
	if miss != "" {
		return check.Failf("%s: %s", w.File, miss), ctx.Err()
	}
	log, err := readChangelog(text)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("%s after the edit: %w", w.File, err)
	}
	o, err := w.judge(log, w.env.Now())
	if err != nil || o.Verdict == check.Fail {
		o.Reason = "nothing was written, because afterwards " + o.Reason
		return o, err
	}
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	info, err := os.Lstat(w.path())
	if err != nil {
		return check.Outcome{}, err
	}
	if !info.Mode().IsRegular() {
		return check.Failf("%s is a link or no file: name the file itself", w.File), nil
	}
	if err := write(w.before(), w.text, 0o600); err != nil {
		return check.Outcome{}, fmt.Errorf("keep the file as it was: %w", err)
	}
	if err := write(w.path(), text, info.Mode().Perm()); err != nil {
		return check.Outcome{}, fmt.Errorf("write %s: %w", w.File, err)
	}
	w.text, w.log = text, log
	return check.Outcome{Verdict: check.Pass}, nil
}

// commit commits what was written here. Changes that somebody else has made are
// not committed for them.
func (w *work) commit(ctx context.Context, o check.Outcome) (check.Outcome, error) {
	dirty, err := w.repo.dirty(ctx, w.File)
	if err != nil {
		return check.Outcome{}, err
	}
	if dirty {
		ours, err := w.ours()
		if err != nil {
			return check.Outcome{}, err
		}
		if !ours {
			return check.Failf("%s has the section %s, but with changes that are not committed and not of this item: commit them", w.File, w.Version), nil
		}
		if refused, err := w.repo.commitFile(ctx, w.File, w.message()+"\n\n"+keyLine+w.env.Key); err != nil || refused != "" {
			return check.Failf("%s", refused), err
		}
	}
	head, err := w.repo.head(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	o.Reason += ", committed"
	return o.With("commit", head), ctx.Err()
}

// ours tells whether the present text is what this item made of the one before.
func (w *work) ours() (bool, error) {
	old, err := os.ReadFile(w.before())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the file as it was: %w", err)
	}
	log, err := readChangelog(old)
	if err != nil {
		return false, fmt.Errorf("read the file as it was: %w", err)
	}
	found := w.log.find(w.Version)
	if len(found) != 1 {
		return false, nil
	}
	text, miss := log.released(old, w.entry, found[0].date.Format(time.DateOnly))
	return miss == "" && bytes.Equal(text, w.text), nil
}

// Probe tells whether the section is there, and committed if it is to be.
func (p *entry) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	w, err := p.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	o, err := p.judge(w.log, env.Now())
	switch {
	case err != nil:
		return "", o, err
	case len(w.log.find(p.Version)) == 0:
		return check.NotDone, o, ctx.Err()
	case o.Verdict == check.Fail:
		return "", o, fmt.Errorf("the section is there, but %s", o.Reason)
	case !p.Commit:
		return check.Done, o, ctx.Err()
	}
	dirty, err := w.repo.dirty(ctx, p.File)
	if err != nil {
		return "", o, err
	}
	if dirty {
		return check.Partly, o, nil
	}
	return check.Done, o, ctx.Err()
}

// Undo writes the file as it was, if this item changed it and nobody has since.
func (p *entry) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	w, err := p.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	old, err := os.ReadFile(w.before())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return check.Failf("%s was not changed by this item and stays", p.File), nil
	case err != nil:
		return check.Outcome{}, fmt.Errorf("read the file as it was: %w", err)
	}
	if !bytes.Equal(old, w.text) {
		ours, err := w.ours()
		if err != nil {
			return check.Outcome{}, err
		}
		if !ours {
			return check.Failf("%s was changed again since and stays; as it was it is kept in %s", p.File, w.before()), nil
		}
		info, err := os.Lstat(w.path())
		if err != nil {
			return check.Outcome{}, err
		}
		if err := write(w.path(), old, info.Mode().Perm()); err != nil {
			return check.Outcome{}, fmt.Errorf("write %s: %w", p.File, err)
		}
	}
	if p.Commit {
		dirty, err := w.repo.dirty(ctx, p.File)
		if err != nil {
			return check.Outcome{}, err
		}
		if dirty {
			if refused, err := w.repo.commitFile(ctx, p.File, "Revert: "+p.message()+"\n\n"+keyLine+env.Key); err != nil || refused != "" {
				return check.Failf("%s", refused), err
			}
		}
	}
	return check.Passf("%s is as it was", p.File), ctx.Err()
}

// Examine tells whether the release could be made now, and changes nothing.
func (p *entry) Examine(ctx context.Context, env *check.Env) (string, error) {
	w, err := p.open(ctx, env)
	if err != nil {
		return "", err
	}
	if p.Do != "release" {
		return "", nil
	}
	if f, err := os.OpenFile(w.path(), os.O_WRONLY, 0); err != nil {
		return "", err
	} else if err := f.Close(); err != nil {
		return "", err
	}
	if p.Commit {
		if _, err := w.repo.head(ctx); err != nil {
			return "", err
		}
	}
	if _, miss := w.log.released(w.text, p, w.env.Now().UTC().Format(time.DateOnly)); miss != "" && len(w.log.find(p.Version)) == 0 {
		return fmt.Sprintf("%s can be written; as it stands now, %s", p.File, miss), nil
	}
	return p.File + " can be written and has what to release", nil
}

// write puts a file in place in one step.
func write(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".changelog-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
