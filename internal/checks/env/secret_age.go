package env

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxSeen bounds how many values of one variable are remembered.
const maxSeen = 50

// sighting tells when a value, by its fingerprint, was seen first and last.
type sighting struct {
	Fingerprint string    `json:"fingerprint"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
}

// fingerprintKey gives this environment's key, which is made on first use.
func fingerprintKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "fingerprint.key")
	for range 2 {
		key, err := os.ReadFile(path)
		if err == nil && len(key) == 32 {
			return key, nil
		}
		if err == nil {
			return nil, fmt.Errorf("%s is damaged: want 32 bytes, got %d", path, len(key))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read fingerprint key: %w", err)
		}
		// Before the first run of an environment, its folder is not there.
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make fingerprint key: %w", err)
		}
		fresh := make([]byte, 32)
		_, _ = rand.Read(fresh)
		// Two checks may make it at once: the link to the first one stays.
		if err := replace(path, fresh, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make fingerprint key: %w", err)
		}
	}
	return nil, errors.New("make fingerprint key: it is not there after it was made")
}

// replace writes a file beside path and then puts it there in one step.
func replace(path string, content []byte, put func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return put(f.Name(), path)
}

// age judges how old the value may be and is. What is known are bounds: the value
// is at least as old as it has been seen, and younger than the last sighting of
// the one before it. Where the bounds do not decide, the age is not known.
func (s *examined) age(ctx context.Context) error {
	seen, err := s.sightings(ctx)
	if err != nil {
		return err
	}
	now := s.env.Now()
	current := seen[len(seen)-1]
	// After a clock that was wrong, the newest sighting is not the present one.
	if current.Last.After(now.Add(time.Minute)) {
		return fmt.Errorf("a value was seen at %s, which is in the future: a clock is wrong", current.Last.UTC().Format(time.RFC3339))
	}
	least := now.Sub(current.First)
	s.fact("first_seen", current.First.UTC().Format(time.RFC3339))
	var most time.Duration
	known := len(seen) > 1
	if known {
		before := seen[len(seen)-2]
		most = now.Sub(before.Last)
		s.fact("changed_after", before.Last.UTC().Format(time.RFC3339))
		if err := s.oldKept(ctx, before); err != nil {
			return err
		}
	}
	if since := time.Time(s.Since); !since.IsZero() {
		if since.After(now) {
			return fmt.Errorf("since: %s is in the future", since.Format(time.DateOnly))
		}
		most, known = now.Sub(since), true
		if current.First.Before(since) {
			s.miss("is said to have changed on %s but was seen on %s", since.Format(time.DateOnly), current.First.UTC().Format(time.DateOnly))
		}
	}
	s.sets["secret."+s.name+".fingerprint"] = current.Fingerprint
	switch {
	case s.MaxAge == 0:
	case least > s.MaxAge:
		s.miss("is at least %s old, want at most %s", days(least), days(s.MaxAge))
	case known && most <= s.MaxAge:
	default:
		return fmt.Errorf("its age is not known: it was seen first %s ago, and no change was seen within %s (say the day of the last change in since)", days(least), days(s.MaxAge))
	}
	return nil
}

// oldKept checks that the value before a change can still be used to read what it
// encrypted.
func (s *examined) oldKept(ctx context.Context, before sighting) error {
	if s.OldKeys == "" {
		return nil
	}
	text, found, err := s.read(ctx, s.env, s.OldKeys)
	if err != nil {
		return err
	}
	for old := range strings.SplitSeq(text, ",") {
		if found && s.fingerprint(strings.TrimSpace(old)) == before.Fingerprint {
			s.fact("old_key", "kept in "+s.OldKeys)
			return nil
		}
	}
	s.miss("has changed, and %s does not hold the value before", s.OldKeys)
	return nil
}

// sightings gives all that is known of this variable's values, oldest first and
// the present one last, and remembers that one: what earlier runs recorded and
// what the data directory holds, which also knows of runs that never finished.
func (s *examined) sightings(ctx context.Context) ([]sighting, error) {
	path := filepath.Join(s.env.DataDir, "seen-"+s.name+".json")
	var seen []sighting
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &seen); err != nil {
			return nil, fmt.Errorf("%s is damaged: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read first-seen file: %w", err)
	}
	past, err := s.env.Ledger.History(ctx, "", "secret."+s.name+".fingerprint", maxSeen)
	if err != nil {
		return nil, fmt.Errorf("read earlier runs: %w", err)
	}
	for _, r := range past {
		seen = append(seen, sighting{r.Value, r.At, r.At})
	}
	if s.env.Now().IsZero() {
		return nil, errors.New("the time is not known")
	}
	seen = merged(append(seen, sighting{s.fingerprint(s.value), s.env.Now(), s.env.Now()}))
	seen = seen[max(len(seen)-maxSeen, 0):]
	text, err = json.Marshal(seen)
	if err != nil {
		return nil, err
	}
	if err := replace(path, text, os.Rename); err != nil {
		return nil, fmt.Errorf("write first-seen file: %w", err)
	}
	return seen, nil
}

// merged orders sightings by time and joins neighbours of one value.
func merged(seen []sighting) []sighting {
	slices.SortStableFunc(seen, func(a, b sighting) int { return a.Last.Compare(b.Last) })
	var out []sighting
	for _, x := range seen {
		if n := len(out); n > 0 && out[n-1].Fingerprint == x.Fingerprint {
			if x.First.Before(out[n-1].First) {
				out[n-1].First = x.First
			}
			out[n-1].Last = x.Last
			continue
		}
		out = append(out, x)
	}
	return out
}

// days gives a duration in days where it is that long.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}
