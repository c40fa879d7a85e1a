package sqlite_test

import (
	"testing"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/journaltest"
	"allclear.dev/allclear/internal/journal/sqlite"
)

// noBallast keeps tests from writing 16 MiB each.
var noBallast = sqlite.Options{Ballast: -1}

func TestConformance(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journaltest.Open {
		dir := t.TempDir()
		return func() (journal.Log, error) { return sqlite.Open(t.Context(), dir, noBallast) }
	})
}
