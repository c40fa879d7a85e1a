package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/ledger"
)

// noon is the time in all cases.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func facts(pairs map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		env.Now = noon
		env.Ledger = &checktest.Ledger{Facts: pairs}
	}
}

func TestFact(t *testing.T) {
	f := facts(map[string]string{
		"id": "9007199254740993", "other": "9007199254740992", "long": "12345678901234567890", "longer": "12345678901234567891", "m.seconds": "90", "m.estimate": "1m", "empty": " ", "nan": "NaN", "name": "blue", "ok": "true",
		"past": "2026-03-01T10:00:00Z", "future": "2026-03-02T10:00:00+02:00", "window": "2026-03-01T11:00:00Z/2026-03-01T13:00:00Z",
		"closed": "2026-03-01T11:00:00Z/2026-03-01T12:00:00Z", "tomorrow": "2026-03-02T11:00:00Z/2026-03-02T13:00:00Z", "turned": "2026-03-01T13:00:00Z/2026-03-01T11:00:00Z",
	})
	checktest.Run(t, ledger.Fact, []checktest.Case{
		{Name: "there", Params: "name", Env: f, Want: "pass: name = blue"},
		{Name: "no data", Params: "gone", Env: f, Want: "error: the fact gone was not supplied"},
		{Name: "empty", Params: "empty", Env: f, Want: "error: the fact empty was not supplied"},
		{Name: "expect", Params: "{fact: m.seconds, expect: value <= 2 * estimate, with: {estimate: m.estimate}}", Env: f, Want: "pass: m.seconds = 90, m.estimate = 1m"},
		{Name: "not expected", Params: "{fact: m.seconds, expect: value <= estimate, with: {estimate: m.estimate}}", Env: f, Want: "fail: m.seconds = 90, m.estimate = 1m: want value <= estimate"},
		{Name: "other is missing", Params: "{fact: m.seconds, expect: value != e, with: {e: gone}}", Env: f, Want: "error: the fact gone was not supplied"},
		{Name: "variable is missing", Params: "{fact: m.seconds, expect: value != e}", Env: f, Want: "error: ...e ...not supplied"},
		{Name: "not a number", Params: "{fact: name, expect: value > 3}", Env: f, Want: "error: ..."},
		{Name: "NaN", Params: "{fact: nan, expect: '!(value > 3)'}", Env: f, Want: "error: ..."},
		{Name: "long numbers", Params: "{fact: id, expect: value == o, with: {o: other}}", Env: f, Want: "fail: ..."},
		{Name: "longer numbers", Params: "{fact: long, expect: value == o, with: {o: longer}}", Env: f, Want: "fail: ..."},
		{Name: "true", Params: "{fact: ok, expect: value}", Env: f, Want: "pass: ok = true"},
		{Name: "future", Params: "{fact: future, in_future: true}", Env: f, Want: "pass: ..."},
		{Name: "future window", Params: "{fact: tomorrow, in_future: true}", Env: f, Want: "pass: ..."},
		{Name: "not future", Params: "{fact: past, in_future: true}", Env: f, Want: "fail: past = 2026-03-01T10:00:00Z: it is 2026-03-01T12:00:00Z, so that is not in the future"},
		{Name: "window", Params: "{fact: window, in_window: true}", Env: f, Want: "pass: ..."},
		{Name: "window just closed", Params: "{fact: closed, in_window: true}", Env: f, Want: "fail: ...outside of it"},
		{Name: "window not open yet", Params: "{fact: tomorrow, in_window: true}", Env: f, Want: "fail: ...outside of it"},
		{Name: "window turned round", Params: "{fact: turned, in_window: true}", Env: f, Want: "error: turned: ...ends before it begins"},
		{Name: "window without an end", Params: "{fact: past, in_window: true}", Env: f, Want: "error: past: ...is not an interval start/end"},
		{Name: "malformed time", Params: "{fact: name, in_future: true}", Env: f, Want: `error: name: "blue" is not a time...`},
		{Name: "age", Params: "{fact: past, max_age: 3h}", Env: f, Want: "pass: ..."},
		{Name: "too old", Params: "{fact: past, max_age: 1h}", Env: f, Want: "fail: ...that is 2h0m0s ago, want at most 1h0m0s"},
		{Name: "age of the future", Params: "{fact: future, max_age: 1h}", Env: f, Want: "fail: ...that is in the future"},
		{Name: "problem: nothing", Params: "{}", Want: "problem: ...needs either fact or set"},
		{Name: "problem: both", Params: "{fact: a, set: {b: c}}", Want: "problem: ...needs either fact or set"},
		{Name: "problem: set and expect", Params: "{set: {b: c}, expect: value}", Want: "problem: ...set goes with no condition"},
		{Name: "problem: empty value", Params: "{set: {b: ' '}}", Want: `problem: ...set: "b" has no value`},
		{Name: "problem: with", Params: "{fact: a, with: {b: c}}", Want: "problem: ...with is for expect"},
		{Name: "problem: value twice", Params: "{fact: a, expect: value, with: {value: c}}", Want: "problem: ...value is the fact itself"},
		{Name: "problem: past and future", Params: "{fact: a, in_future: true, max_age: 1h}", Want: "problem: ...in_future excludes..."},
	})
}

func TestSet(t *testing.T) {
	checktest.Run(t, ledger.Fact, []checktest.Case{
		{Name: "now", Params: "set: {at: now, by: eve}", Env: facts(nil), Want: "pass: noted at = 2026-03-01T12:00:00Z, by = eve", Check: func(t *testing.T, o check.Outcome) {
			if o.Sets["at"] != "2026-03-01T12:00:00Z" || o.Sets["by"] != "eve" {
				t.Errorf("sets %v", o.Sets)
			}
		}},
		{Name: "the first stays", Params: "set: {at: now}", Env: facts(map[string]string{"at": "2026-03-01T11:00:00Z"}), Want: "pass: noted at = 2026-03-01T11:00:00Z (noted before)", Check: func(t *testing.T, o check.Outcome) {
			if len(o.Sets) != 0 {
				t.Errorf("sets %v", o.Sets)
			}
		}},
	})
	inst, _ := checktest.Decode(ledger.Fact, "set: {at: now}", nil)
	if inst.Traits.Kind != check.Action || inst.Traits.Class != check.Idempotent || inst.Traits.Effect != check.Record {
		t.Errorf("traits %+v", inst.Traits)
	}
}

func runs(list ...check.Results) func(*check.Env) {
	return func(env *check.Env) {
		env.Now = noon
		env.Ledger = &checktest.Ledger{Runs: list}
	}
}

func results(environment string, verdicts ...string) check.Results {
	r := check.Results{Run: "r-9", Environment: environment, Release: "1.2.3", FinishedAt: noon().Add(-time.Hour)}
	for i, v := range verdicts {
		r.Items = append(r.Items, check.ItemResult{ID: "i" + string(rune('a'+i)), Verdict: v, Reason: "why"})
	}
	return r
}

func TestItems(t *testing.T) {
	old := results("staging", "pass")
	old.FinishedAt = noon().Add(-48 * time.Hour)
	future := results("staging", "pass")
	future.FinishedAt = noon().Add(time.Hour)
	endless := results("staging", "pass")
	endless.FinishedAt = time.Time{}
	ended := func(status string) check.Results {
		r := results("staging", "pass")
		r.Status = status
		return r
	}
	self := results("", "pass")
	self.Items = append(self.Items, check.ItemResult{ID: "an.item", Verdict: "pending"})
	alone := check.Results{Items: []check.ItemResult{{ID: "an.item", Verdict: "pending"}}}
	checktest.Run(t, ledger.Items, []checktest.Case{
		{Name: "green", Params: "{items: '**', env: staging, same_version: true, max_age: 2h}", Env: runs(results("staging", "pass", "done", "n/a")), Want: "pass: run r-9: 2 green, 1 n/a, 0 waived"},
		{Name: "red", Params: "{items: '**', env: staging}", Env: runs(results("staging", "pass", "fail", "failed", "inconclusive")), Want: "fail: run r-9: 2 of 4 items not green: ib fail (why); ic failed (why)"},
		{Name: "waived", Params: "{items: '**', env: staging}", Env: runs(results("staging", "pass", "waived")), Want: "fail: run r-9: 1 of 2 items not green: ib waived (why)"},
		{Name: "waived allowed", Params: "{items: '**', env: staging, allow_waived: true}", Env: runs(results("staging", "pass", "waived")), Want: "pass: run r-9: 1 green, 0 n/a, 1 waived", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["waived"] != "ib waived (why)" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "inconclusive", Params: "'**'", Env: runs(results("", "pass", "inconclusive")), Want: "error: run r-9: 1 of 2 items undecided: ib inconclusive (why)"},
		{Name: "in doubt", Params: "'**'", Env: runs(results("", "pass", "in doubt")), Want: "error: ...ib in doubt (why)"},
		{Name: "pending", Params: "'**'", Env: runs(results("", "pass", "pending")), Want: "error: ...ib pending (why)"},
		{Name: "unknown word", Params: "'**'", Env: runs(results("", "pass", "")), Want: "error: ...1 of 2 items undecided..."},
		{Name: "all n/a", Params: "'**'", Env: runs(results("", "n/a")), Want: "error: ...nothing was measured"},
		{Name: "all waived", Params: "{items: '**', allow_waived: true}", Env: runs(results("", "waived")), Want: "error: ...nothing was measured"},
		{Name: "no data", Params: "'x.*'", Env: runs(results("")), Want: "error: no item matches x.*"},
		{Name: "only itself", Params: "'**'", Env: runs(alone), Want: "error: no item matches **"},
		{Name: "itself does not count", Params: "'**'", Env: runs(self), Want: "pass: run r-9: 1 green, 0 n/a, 0 waived"},
		{Name: "found twice", Params: "['**', 'ia']", Env: runs(results("", "pass")), Want: "pass: run r-9: 1 green, 0 n/a, 0 waived"},
		{Name: "no run", Params: "{items: '**', env: staging}", Env: runs(), Want: "error: a finished run in staging was not supplied"},
		{Name: "too old", Params: "{items: '**', env: staging, max_age: 24h}", Env: runs(old), Want: "error: run r-9 ended 48h0m0s ago, want at most 24h0m0s"},
		{Name: "ended in the future", Params: "{items: '**', env: staging, max_age: 24h}", Env: runs(future), Want: "error: run r-9 ended in the future...a clock is wrong"},
		{Name: "rolled back", Params: "{items: '**', env: staging}", Env: runs(ended("rolled back")), Want: "fail: run r-9 in staging was rolled back..."},
		{Name: "aborted", Params: "{items: '**', env: staging}", Env: runs(ended("aborted")), Want: "error: run r-9 in staging was aborted..."},
		{Name: "done", Params: "{items: '**', env: staging}", Env: runs(ended("done")), Want: "pass: ..."},
		{Name: "no end", Params: "{items: '**', env: staging, max_age: 24h}", Env: runs(endless), Want: "error: run r-9 has no end"},
		{Name: "release not known", Params: "{items: '**', env: staging, same_version: true}", Env: func(e *check.Env) { runs(results("staging", "pass"))(e); e.Run.Release = "" }, Want: "error: the release of this run was not supplied"},
		{Name: "the record fails", Params: "'**'", Env: func(e *check.Env) { e.Ledger = &checktest.Ledger{Failure: errors.New("disk")} }, Want: "error: disk"},
		{Name: "rerun", Params: "rerun: '**'", Env: func(e *check.Env) { e.Ledger = &checktest.Ledger{Reruns: results("", "pass")} }, Want: "pass: run r-9: 1 green, 0 n/a, 0 waived"},
		{Name: "rerun of nothing", Params: "rerun: '**'", Want: "error: no item matches: nothing was measured"},
		{Name: "rerun fails", Params: "rerun: '**'", Env: func(e *check.Env) { e.Ledger = &checktest.Ledger{Reruns: results("", "fail")} }, Want: "fail: ..."},
		{Name: "problem: nothing", Params: "{}", Want: "problem: ...needs either items or rerun"},
		{Name: "problem: rerun elsewhere", Params: "{rerun: a, env: b}", Want: "problem: ...rerun is for this run..."},
		{Name: "problem: age of this run", Params: "{items: a, max_age: 1h}", Want: "problem: ...give env"},
		{Name: "problem: empty pattern", Params: "['']", Want: "problem: ...an empty pattern matches nothing"},
	})
}

// changing is a ledger whose newest run is another one at every question.
type changing struct {
	checktest.Ledger
	runs []check.Results
}

func (c *changing) Items(context.Context, check.Query) (check.Results, error) {
	next := c.runs[0]
	c.runs = c.runs[1:]
	return next, nil
}

func TestItemsOfTwoRunsAreNotMixed(t *testing.T) {
	env := checktest.NewEnv(t)
	first, second := results("staging", "pass"), results("staging", "pass")
	second.Run = "r-10"
	env.Ledger = &changing{runs: []check.Results{first, second}}
	inst, _ := checktest.Decode(ledger.Items, "{items: [a, b], env: staging}", nil)
	if o, err := inst.Runner.Run(t.Context(), env); err == nil {
		t.Errorf("got %+v", o)
	}
}

func TestPages(t *testing.T) {
	checktest.Page(t, ledger.Fact)
	checktest.Page(t, ledger.Items)
}
