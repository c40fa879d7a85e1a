package engine_test

import (
	"context"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/run"
)

// A pattern of checks to run again that matches none of them must not hide behind
// one that does.
func TestRerunOfNothing(t *testing.T) {
	asked := 0
	l := engine.Ledger{
		State: &run.State{Plan: &run.Plan{Items: []run.Item{{ID: "smoke.health", Kind: run.Check}}}, Items: []*run.ItemState{{Status: run.Pass}}},
		Again: func(context.Context, *run.Item) (check.Outcome, error) { asked++; return check.Passf("again"), nil },
	}
	if _, err := l.Rerun(t.Context(), []string{"smoke.*", "smoek.*"}); err == nil || !strings.Contains(err.Error(), "no item matches smoek.*") || asked != 0 {
		t.Errorf("got %v after %d answers", err, asked)
	}
}
