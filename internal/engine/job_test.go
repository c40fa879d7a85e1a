package engine

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// marker is an action that tells by its key what it did.
type marker struct {
	Word string `param:"word,short" doc:"anything"`
}

func (m *marker) Run(_ context.Context, env *check.Env) (check.Outcome, error) {
	return check.Passf("ran with %s", env.Key), nil
}

func (m *marker) Undo(_ context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	return check.Passf("undone with %s", env.Key), nil
}

// What an action marked with its key is found again when it is taken back; an item
// that takes another one back acts under a key of its own.
func TestUndoFindsTheActionByItsKey(t *testing.T) {
	b := newBench(t)
	typ := check.Define[marker](check.Desc{Name: "marker", Summary: "it marks", Doc: "It marks."})
	world := &World{
		Types: map[string]*check.Type{"marker": typ}, Dir: b.dir, DataDir: b.dir,
		Redactor: new(secret.Redactor), Secrets: new(secret.Resolver),
	}
	for _, c := range []struct {
		undo      bool
		key, want string
	}{
		{false, "allclear/r-1/an.item/1", "ran with allclear/r-1/an.item/1"},
		{true, "allclear/r-1/an.item/1/undo", "undone with allclear/r-1/an.item/1"},
		{false, "allclear/r-1/an.item/1/undo", "ran with allclear/r-1/an.item/1/undo"},
	} {
		text, err := json.Marshal(Job{Type: "marker", Params: "word: x", Key: c.key, Undo: c.undo, Dir: b.dir, DataDir: b.dir})
		if err != nil {
			t.Fatal(err)
		}
		out, err := Execute(t.Context(), world, text, io.Discard, nil)
		if err != nil || !strings.Contains(string(out), `"`+c.want+`"`) {
			t.Errorf("undo %t with %s: %s, %v", c.undo, c.key, out, err)
		}
	}
}
