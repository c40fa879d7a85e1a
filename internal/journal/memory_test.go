package journal_test

import (
	"context"
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

// noContext is a context that never ends; tests of properties have no other.
type noContext struct{ context.Context }

func (noContext) Err() error { return nil }
