package sqlite_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/journaltest"
	"allclear.dev/allclear/internal/journal/sqlite"
)

// noBallast keeps tests from writing 16 MiB each.
var noBallast = sqlite.Options{Ballast: -1}

func TestConformance(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journaltest.Open {
		dir := memoryDir(t)
		return func() (journal.Log, error) { return sqlite.Open(t.Context(), dir, noBallast) }
	})
}

// open opens a journal until the test ends.
func open(t *testing.T, dir string) *sqlite.Log {
	t.Helper()
	log, err := sqlite.Open(t.Context(), dir, noBallast)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return log
}

// fillRun appends events n+1 to last.
func fillRun(t *testing.T, log *sqlite.Log, n, last uint64) {
	t.Helper()
	for ; n < last; n++ {
		if _, err := log.Append(t.Context(), "r1", n, 1, body(n+1, 100)); err != nil {
			t.Fatalf("append %d: %v", n+1, err)
		}
	}
}

// body is the n-th event that a helper appends, with filler to make it larger.
func body(n uint64, filler int) []byte {
	return fmt.Appendf(nil, `{"filler":"%s","n":%d}`, strings.Repeat("x", filler), n)
}

// memoryDir is a directory on a disk in memory, where there is one: for tests that
// append a lot and cut no power.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "journal")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
