package check_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
)

func TestExpression(t *testing.T) {
	vars := map[string]any{"value": 3.0, "estimate": 2.0, "list": []any{1, 2}, "empty": []any{}, "nan": math.NaN(), "text": "abc", "json": decoded(t, `{"ok": true, "big": 9007199254740993}`)}
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
		{"json.gone", `error: evaluate json.gone: there is no field "gone"`},
		{"json.gone != 5", `error: evaluate json.gone != 5: there is no field "gone"`},
		{"list[-1] == 2", "true"},
		{"list[7] != 5", "error: evaluate list[7] != 5: there is no entry 7 in a list of 2"},
		{`json["gone"] != 5`, "error: "},
		{`"gone" in json`, "false"},
		{`json.big == 9007199254740993`, "true"},
		{`json.big == 9007199254740992`, "false"},
		{"!(value / 0 > 1)", "error: evaluate !(value / 0 > 1): a number is not finite"},
		{"!((value - value) / (estimate - 2) > 1)", "error: "},
		{`!(float("NaN") > 1)`, "error: "},
		{"list[0] % 0 == 1", "error: "},
		{"all(empty, # > 3)", "error: evaluate all(empty, # > 3): an empty list decides nothing"},
		{"empty | all(# > 3)", "error: "},
		{"mean(empty) < 100", "error: evaluate mean(empty) < 100: an empty list decides nothing"},
		{"median(empty) < 100", "error: "},
		{"first(empty) != 5", "error: "},
		{"last(empty) != 5", "error: "},
		{"len(empty) == 0 || all(empty, # > 3)", "true"},
		{"mean(list) == 1.5 && median(list) == 1.5 && first(list) == 1 && last(list) == 2", "true"},
		{"mean(1, 2) == 1.5", "true"},
		{"status ==", "problem: unexpected token EOF"},
		{"", "problem: the expression is empty"},
		{"foo(1) == 2", "problem: unknown function (at character 1)"},
		{"text.b() == 1", "problem: unknown function"},
		{"$env.x == 1", "problem: $env cannot be used"},
		{strings.Repeat("(", 4000), "problem: "},
		{"json?.gone == nil", "true"},
		{"text.gone", "error: evaluate text.gone: there is no gone in a value without fields"},
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

func decoded(t *testing.T, text string) any {
	t.Helper()
	v, err := check.FromJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFromJSONRefuses(t *testing.T) {
	for _, text := range []string{"", "{", `{"a":1} x`, "1e999", "nan", "[1,"} {
		if v, err := check.FromJSON([]byte(text)); err == nil {
			t.Errorf("%q gives %v", text, v)
		}
	}
}

type conditional struct {
	Expect check.Expression `param:"expect,short" doc:"condition"`
}

func (c *conditional) Run(ctx context.Context, _ *check.Env) (check.Outcome, error) {
	return check.Passf("%s", c.Expect), ctx.Err()
}

func TestExpressionParameter(t *testing.T) {
	typ := check.Define[conditional](check.Desc{Name: "conditional", Summary: "s"})
	checktest.Run(t, typ, []checktest.Case{
		{Name: "fine", Params: "expect: a > 1", Want: "pass: a > 1"},
		{Name: "place", Params: "expect: a > ) 1", Want: `problem: list.md:1:13: expect: want an expression, got "a > ) 1": ...`},
	})
}
