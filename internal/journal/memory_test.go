package journal_test

import (
	"testing"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/journaltest"
)

func TestMemory(t *testing.T) {
	journaltest.Run(t, func(*testing.T) journaltest.Open {
		log := journal.NewMemory()
		return func() (journal.Log, error) { return log, nil }
	})
}
