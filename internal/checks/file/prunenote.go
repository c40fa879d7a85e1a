package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"allclear.dev/allclear/internal/check"
)

// memo is a list that somebody may look at before it is carried out.
type memo struct {
	// Cutoff is when something must have been written last, seconds since 1970: a
	// list does not grow because time goes by.
	Cutoff int64 `json:"cutoff"`
	// Run and Made, in nanoseconds, tell lists of the same content apart.
	Run     string  `json:"run"`
	Made    int64   `json:"made"`
	Entries []entry `json:"entries"`
}

// memo makes a list of what was found.
func (w *pruning) memo(cutoff time.Time, found listing) memo {
	return memo{Cutoff: cutoff.Unix(), Run: w.env.Run.ID, Made: w.env.Now().UnixNano(), Entries: found.remove}
}

// note keeps a list under its own digest.
func (w *pruning) note(m memo) (string, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	return digest, w.keepNote(digest, text)
}

func (w *pruning) noteFile(name string) string {
	return filepath.Join(w.env.DataDir, "prune", name+".json")
}

// keepNote writes a file whole or not at all.
func (w *pruning) keepNote(name string, text []byte) error {
	file := w.noteFile(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("remember the list: %w", err)
	}
	part, err := os.CreateTemp(filepath.Dir(file), "."+name[:8]+"-*")
	if err != nil {
		return fmt.Errorf("remember the list: %w", err)
	}
	_, err = part.Write(text)
	if err = errors.Join(err, part.Sync(), part.Close()); err == nil {
		err = os.Rename(part.Name(), file)
	}
	if err != nil {
		_ = os.Remove(part.Name())
		return fmt.Errorf("remember the list: %w", err)
	}
	return nil
}

// unseenName is where a list is kept that nobody looked at: by the attempt, so that
// its repetition after a crash carries out the same one.
func (w *pruning) unseenName() string {
	sum := sha256.Sum256([]byte(w.env.Key + "\x00" + w.Name))
	return "attempt-" + hex.EncodeToString(sum[:])
}

// recall gives the list that is to be carried out, and its digest. There is none
// yet when an unseen one has not been made.
func (w *pruning) recall() (memo, string, error) {
	name, want := w.unseenName(), ""
	if !w.Unseen {
		digest, ok := w.env.Ledger.Fact(w.fact())
		if !ok {
			return memo{}, "", &check.NotSupplied{What: fmt.Sprintf("a list called %s: an item without do: remove makes it", w.Name)}
		}
		if !isSHA256(digest) {
			return memo{}, "", fmt.Errorf("the fact %s holds %.80q, which is no digest", w.fact(), digest)
		}
		name, want = digest, digest
	}
	text, err := os.ReadFile(w.noteFile(name))
	if err != nil {
		return memo{}, "", fmt.Errorf("recall the list: %w", err)
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	if want != "" && digest != want {
		return memo{}, "", fmt.Errorf("the list in %s is not the one that was looked at", w.noteFile(name))
	}
	var m memo
	if err := json.Unmarshal(text, &m); err != nil {
		return memo{}, "", fmt.Errorf("recall the list: %w", err)
	}
	return m, digest, nil
}

// order gives the list to carry out, making an unseen one now.
func (w *pruning) order(ctx context.Context) (memo, string, error) {
	m, digest, err := w.recall()
	if !w.Unseen || !errors.Is(err, fs.ErrNotExist) {
		return m, digest, err
	}
	cutoff := w.env.Now().Add(-w.Older)
	found, err := w.survey(ctx, cutoff)
	if err != nil {
		return memo{}, "", err
	}
	text, err := json.Marshal(w.memo(cutoff, found))
	if err == nil {
		err = w.keepNote(w.unseenName(), text)
	}
	if err != nil {
		return memo{}, "", err
	}
	return w.recall()
}

// stage is how far a list was carried out. What is begun may be half removed and
// look younger than it was; what is ended is not carried out once more.
type stage string

const (
	begun stage = "begun"
	ended stage = "ended"
)

func (w *pruning) reach(digest string, s stage) error { return w.keepNote(string(s)+"-"+digest, nil) }

// reached reports whether an attempt at this list got to a stage.
func (w *pruning) reached(digest string, s stage) (bool, error) {
	_, err := os.Lstat(w.noteFile(string(s) + "-" + digest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// again forgets how far the list was carried out, once everything is back.
func (w *pruning) again(digest string) error {
	for _, s := range []stage{ended, begun} {
		if err := os.Remove(w.noteFile(string(s) + "-" + digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
