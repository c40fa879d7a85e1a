package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
)

// copyFile copies a file over another one.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestOlderDatabaseIsFound puts back an older copy of the database: a valid chain, a
// valid database, and ten acknowledged events short.
func TestOlderDatabaseIsFound(t *testing.T) {
	dir, old := t.TempDir(), filepath.Join(t.TempDir(), "old.db")
	log := open(t, dir)
	fillRun(t, log, 0, 10)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(dir, "journal.db"), old)
	log = open(t, dir)
	fillRun(t, log, 10, 20)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, old, filepath.Join(dir, "journal.db"))

	_, err := sqlite.Open(t.Context(), dir, noBallast)
	var truncated *journal.TruncatedError
	if !errors.Is(err, journal.ErrTruncated) || !errors.As(err, &truncated) || truncated.Stored != 10 || truncated.Anchored != 20 {
		t.Errorf("open: %v", err)
	}
	if _, err := sqlite.OpenReadOnly(t.Context(), dir); !errors.Is(err, journal.ErrTruncated) {
		t.Errorf("open to read: %v", err)
	}
	if got := findings(t, dir); !slices.Equal(got, []string{"cut off /0"}) {
		t.Errorf("found %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "journal.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.OpenReadOnly(t.Context(), dir); !errors.As(err, &truncated) || truncated.Stored != 0 || truncated.Anchored != 20 {
		t.Errorf("open without a database to read: %v", err)
	}
	if _, err := sqlite.OpenReadOnly(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open to read where there never was a journal: %v", err)
	}
	if _, err := sqlite.Open(t.Context(), dir, noBallast); !errors.As(err, &truncated) || truncated.Stored != 0 || truncated.Anchored != 20 {
		t.Errorf("open without a database: %v", err)
	}
}

// TestAnchors damages the anchors of a journal of ten events in ten commits.
func TestAnchors(t *testing.T) {
	flip := func(t *testing.T, name string) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		content[20] ^= 1
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		do   func(t *testing.T, dir string)
		want error
	}{
		{"one is unreadable", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "anchor.a")) }, nil},
		{"the other is unreadable", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "anchor.b")) }, nil},
		{"one is cut", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "anchor.a"), 40); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"both are unreadable", func(t *testing.T, dir string) {
			flip(t, filepath.Join(dir, "anchor.a"))
			flip(t, filepath.Join(dir, "anchor.b"))
		}, journal.ErrCorrupt},
		{"both are gone", func(t *testing.T, dir string) {
			if err := errors.Join(os.Remove(filepath.Join(dir, "anchor.a")), os.Remove(filepath.Join(dir, "anchor.b"))); err != nil {
				t.Fatal(err)
			}
		}, journal.ErrCorrupt},
		{"of another journal", func(t *testing.T, dir string) {
			other := t.TempDir()
			log := open(t, other)
			for n := range uint64(10) {
				if _, err := log.Append(t.Context(), "r1", n, 1, []byte(`{}`)); err != nil {
					t.Fatal(err)
				}
			}
			copyFile(t, filepath.Join(other, "anchor.a"), filepath.Join(dir, "anchor.a"))
			copyFile(t, filepath.Join(other, "anchor.b"), filepath.Join(dir, "anchor.b"))
		}, journal.ErrCorrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := memoryDir(t)
			log := open(t, dir)
			fillRun(t, log, 0, 10)
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			test.do(t, dir)
			view, err := sqlite.OpenReadOnly(t.Context(), dir)
			if !errors.Is(err, test.want) {
				t.Errorf("open to read: %v", err)
			}
			if err == nil {
				view.Close()
			}
			log, err = sqlite.Open(t.Context(), dir, noBallast)
			if !errors.Is(err, test.want) {
				t.Fatalf("open: %v", err)
			}
			if err != nil {
				return
			}
			fillRun(t, log, 10, 12)
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestOldAnchors puts back anchors of an earlier time: one commit behind is what a
// crash leaves, more is not.
func TestOldAnchors(t *testing.T) {
	for _, behind := range []uint64{1, 2} {
		dir := t.TempDir()
		log := open(t, dir)
		fillRun(t, log, 0, 10-behind)
		a, b := filepath.Join(dir, "anchor.a"), filepath.Join(dir, "anchor.b")
		copyFile(t, a, a+".old")
		copyFile(t, b, b+".old")
		fillRun(t, log, 10-behind, 10)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		copyFile(t, a+".old", a)
		copyFile(t, b+".old", b)
		again, err := sqlite.Open(t.Context(), dir, noBallast)
		if behind > 1 {
			if !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), "more than one commit") {
				t.Errorf("%d commits behind: %v", behind, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d commits behind: %v", behind, err)
		}
		heads, err := again.Anchors()
		if err != nil || heads[0].Size != 10 {
			t.Errorf("opening did not anchor the last commit: %v, %v", heads, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
