package person_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/person"
)

// record has two facts and three results.
func record(env *check.Env) {
	env.Ledger = &checktest.Ledger{
		Facts: map[string]string{"uat.open": "0", "rollback.trigger": "errors at 12%", "bad": "many"},
		Runs: []check.Results{{Items: []check.ItemResult{
			{ID: "a.b", Verdict: "pass"}, {ID: "a.c", Verdict: "fail", Reason: "5 errors"}, {ID: "an.item", Verdict: "pending"},
		}}},
	}
}

// facts looks at what stands beside the question, and that nothing was decided.
func facts(want map[string]string) func(*testing.T, check.Outcome) {
	return func(t *testing.T, o check.Outcome) {
		t.Helper()
		if o.Verdict != "" {
			t.Errorf("verdict %q without a person", o.Verdict)
		}
		for name, text := range want {
			if o.Facts[name] != text {
				t.Errorf("%s: got %q, want %q", name, o.Facts[name], text)
			}
		}
		if len(o.Facts) != len(want) {
			t.Errorf("got %v, want %v", o.Facts, want)
		}
	}
}

func TestAttest(t *testing.T) {
	checktest.Run(t, person.Attest, []checktest.Case{
		{Name: "nothing given", Params: "{}", Want: ": waits for a person", Check: facts(nil)},
		{Name: "question", Params: "Why?", Want: ": Why?"},
		{Name: "facts", Params: "attach: [rollback.trigger, gone]", Env: record, Want: ": ...", Check: facts(map[string]string{"rollback.trigger": "errors at 12%", "gone": "not supplied"})},
		{Name: "items", Params: "attach_items: ['a.*']", Env: record, Want: ": ...", Check: facts(map[string]string{"a.b": "pass", "a.c": "fail: 5 errors"})},
		{Name: "cross-check holds", Params: "{cross_check: n == 0, cross_facts: {n: uat.open}}", Env: record, Want: ": ...", Check: facts(map[string]string{"cross_check": "holds: n == 0"})},
		{Name: "cross-check does not hold", Params: "{cross_check: n > 0, cross_facts: {n: uat.open}}", Env: record, Want: ": ...", Check: facts(map[string]string{"cross_check": "does not hold: n > 0"})},
		{Name: "cross-check without data", Params: "{cross_check: n == 0, cross_facts: {n: gone}}", Env: record, Want: ": ...", Check: facts(map[string]string{"cross_check": "not known: gone was not supplied"})},
		{Name: "cross-check malformed", Params: "{cross_check: n > 0, cross_facts: {n: bad}}", Env: record, Want: ": ...", Check: func(t *testing.T, o check.Outcome) {
			checktest.Match(t, "not known: ...", o.Facts["cross_check"])
		}},
		{Name: "the record fails", Params: "attach_items: ['**']", Env: func(e *check.Env) { e.Ledger = &checktest.Ledger{Failure: errors.New("disk")} }, Want: "error: gather results: disk"},
		{Name: "file", Params: "attach_files: plan.md", Env: func(e *check.Env) { put(t, e, "plan.md", "go back") }, Want: ": ...", Check: func(t *testing.T, o check.Outcome) {
			if len(o.Artefacts) != 1 || o.Artefacts[0].Name != "plan.md" || o.Artefacts[0].Size != 7 {
				t.Errorf("kept %+v", o.Artefacts)
			}
		}},
		{Name: "file is missing", Params: "attach_files: plan.md", Want: "error: read what is to be shown: ..."},
		{Name: "problem: text of nothing", Params: "text_min: 0", Want: "problem: ...an empty text is no evidence"},
		{Name: "problem: text not accepted", Params: "{evidence: url, text_min: 40}", Want: "problem: ...text_min is for evidence: text"},
		{Name: "problem: evidence", Params: "evidence: [urls]", Want: "problem: ...evidence: unknown value \"urls\""},
		{Name: "problem: cross-check alone", Params: "cross_check: n == 0", Want: "problem: ...go together"},
		{Name: "problem: cross-check name", Params: "{cross_check: n == m, cross_facts: {n: a}}", Want: "problem: ...cross_check uses m, which cross_facts does not give"},
		{Name: "problem: twice", Params: "choices: [yes!, yes!]", Want: "problem: ...choices: yes! stands there twice"},
	})
}

func put(t *testing.T, env *check.Env, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(env.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSignoff(t *testing.T) {
	checktest.Run(t, person.Signoff, []checktest.Case{
		{Name: "role", Params: "Tech Lead", Want: ": waits for a person", Check: facts(nil)},
		{Name: "beside", Params: "{role: Tech Lead, attach: [uat.open], attach_items: ['**']}", Env: record, Want: ": ...", Check: facts(map[string]string{"uat.open": "0", "a.b": "pass", "a.c": "fail: 5 errors"})},
		{Name: "no data", Params: "{role: Tech Lead, attach_items: ['**']}", Want: "error: gather results: a finished run in  was not supplied"},
		{Name: "problem: nobody", Params: "{}", Want: "problem: ...signoff needs role: who decides..."},
		{Name: "problem: empty role", Params: "role: ['']", Want: "problem: ...role: an entry is empty"},
		{Name: "problem: no roles", Params: "role: []", Want: "problem: ...role names nobody"},
		{Name: "problem: not oneself", Params: "{role: A, not_same_as: [A]}", Want: "problem: ...names the only role that may decide"},
		{Name: "problem: one choice", Params: "{role: A, choice: [go]}", Want: "problem: ...offers only one decision"},
	})
}

func TestTraits(t *testing.T) {
	inst, problems := checktest.Decode(person.Attest, "{role: [A, B], evidence: [url, text], text_min: 40, expires: 24h, choices: [x, y]}", nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	tr := inst.Traits
	if tr.Kind != check.Attest || tr.Effect != check.Human || tr.Does != "asks A or B" || tr.Person.MinText != 40 || tr.Person.Expires != 24*time.Hour ||
		!slices.Equal(tr.Person.Roles, []string{"A", "B"}) || !slices.Equal(tr.Person.Evidence, []string{"url", "text"}) || !slices.Equal(tr.Person.Choice, []string{"x", "y"}) {
		t.Errorf("got %+v %+v", tr, tr.Person)
	}
	inst, problems = checktest.Decode(person.Signoff, "{role: A, not_same_as: [B, deploy.start]}", nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if tr = inst.Traits; tr.Kind != check.Signoff || !slices.Equal(tr.Person.NotSameAs, []string{"B", "deploy.start"}) {
		t.Errorf("got %+v %+v", tr, tr.Person)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, typ := range []*check.Type{person.Attest, person.Signoff} {
		inst, _ := checktest.Decode(typ, "role: A", nil)
		if _, err := inst.Runner.Run(ctx, checktest.NewEnv(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", typ.Name, err)
		}
	}
}

func TestPages(t *testing.T) {
	checktest.Page(t, person.Attest)
	checktest.Page(t, person.Signoff)
}
