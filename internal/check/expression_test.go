package check_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
)

func TestExpression(t *testing.T) {
	vars := map[string]any{"value": 3.0, "estimate": 2.0, "list": []any{1, 2}, "nan": math.NaN(), "text": "abc", "json": map[string]any{"ok": true}}
	for _, c := range []struct{ text, want string }{
		{"value <= 2 * estimate", "true"},
		{"value > 5", "false"},
		{"json.ok and len(list) == 2", "true"},
		{"all(list, # < 3)", "true"},
		{"let x = value; x == 3", "true"},
		{`text matches "^a"`, "true"},
		{"missing != 5", "error: missing (used in missing != 5) was not supplied"},
		{"!(nan > 5)", "error: evaluate !(nan > 5): nan is NaN"},
		{"text > 3", "error: evaluate text > 3:"},
		{"json.gone", "error: evaluate json.gone: gone is missing"},
		{"json.gone != 5", "error: evaluate json.gone != 5: gone is missing"},
		{"json?.gone == nil", "true"},
		{"text.gone", "error: evaluate text.gone: abc is not a mapping with gone"},
		{"len(map(1..10000000, #)) > 0", "error: evaluate len(map(1..10000000, #)) > 0: memory budget"},
		{"value", "error: evaluate value:"},
		{"1 +", "problem:"},
		{"now() > now()", "problem:"},
		{"1 + 2", "problem:"},
		{strings.Repeat("1+", 3000) + "1 > 0", "problem: longer than"},
	} {
		var e check.Expression
		got := ""
		if err := e.UnmarshalText([]byte(c.text)); err != nil {
			got = "problem: " + err.Error()
		} else if ok, err := e.Eval(vars); err != nil {
			got = "error: " + err.Error()
		} else if got = "false"; ok {
			got = "true"
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.text, got, c.want)
		}
	}
	var none check.Expression
	if _, err := none.Eval(vars); err == nil || !none.IsZero() {
		t.Error("an expression that was not given decides")
	}
	var e check.Expression
	if err := e.UnmarshalText([]byte("gone")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Eval(nil); !isNotSupplied(err) {
		t.Errorf("got %v, want not supplied", err)
	}
}

func isNotSupplied(err error) bool {
	_, ok := errors.AsType[*check.NotSupplied](err)
	return ok
}
