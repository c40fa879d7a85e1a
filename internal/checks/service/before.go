package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// before is how the units stood before an attempt touched any of them. It is
// written down first, so that afterwards, even after a crash, what this attempt
// started can be told from what ran already.
type before map[string]standing

// standing is how one unit stood.
type standing struct {
	Up        bool       `json:"up"`
	Mark      string     `json:"mark,omitempty"`
	Instances []instance `json:"instances,omitempty"`
	// Asked says that this attempt was about to restart it.
	Asked bool `json:"asked,omitempty"`
}

// begun reports that a restart since then has at least begun: it is marked as
// asked for, or something runs that did not.
func (b standing) begun(st status) bool {
	if st.mark != "" || b.Mark != "" {
		return st.mark != b.Mark
	}
	return b.shared(st) < len(st.instances)
}

// renewed reports that nothing of what ran then runs any more.
func (b standing) renewed(st status) bool { return b.shared(st) == 0 }

// shared counts the instances that ran then and still do.
func (b standing) shared(st status) int {
	var both int
	for _, i := range st.instances {
		if slices.ContainsFunc(b.Instances, func(was instance) bool { return was.Life == i.Life }) {
			both++
		}
	}
	return both
}

// remember gives how the units stood before this attempt, and writes down what is
// not yet known of it.
func (w *work) remember(ctx context.Context, units []unit) (before, error) {
	known, err := w.recall()
	if err != nil {
		return nil, err
	}
	all := maps.Clone(known)
	if all == nil {
		all = before{}
	}
	for i := range units {
		u := &units[i]
		if _, ok := all[u.Name]; ok {
			continue
		}
		st, err := w.driver.look(ctx, u)
		if err != nil {
			return nil, err
		}
		all[u.Name] = standing{Up: !st.stopped() && st.phase != missing, Mark: st.mark, Instances: st.instances}
	}
	if len(all) == len(known) {
		return all, nil
	}
	return all, w.note(all)
}

// note writes down how the units stood.
func (w *work) note(all before) error {
	text, err := json.Marshal(all)
	if err == nil {
		err = writeNew(w.notes(), text)
	}
	if err != nil {
		return fmt.Errorf("write down how the units stood: %w", err)
	}
	return nil
}

// ask writes down that a unit is about to be restarted. Without it, a unit that
// crashed and came back would look as if it had been.
func (w *work) ask(u *unit, all before) error {
	was := all[u.Name]
	was.Asked = true
	all[u.Name] = was
	return w.note(all)
}

// recall gives what was written down, nil when nothing was.
func (w *work) recall() (before, error) {
	text, err := os.ReadFile(w.notes())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all before
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("read how the units stood: %w", err)
	}
	return all, nil
}

// notes is the attempt's file. Taking an action back has its own key, made from
// the action's.
func (w *work) notes() string {
	key := strings.TrimSuffix(w.env.Key, "/undo")
	sum := sha256.Sum256([]byte(strings.Join([]string{key, w.Do, w.On, w.Driver, w.Project, w.Context, w.Namespace}, "\x00")))
	return filepath.Join(w.env.DataDir, "service", hex.EncodeToString(sum[:16])+".json")
}

// writeNew writes a file that is either there as a whole or not at all.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
