package tracker_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/tracker"
	"allclear.dev/allclear/internal/rest/resttest"
)

const token = "a-very-secret-token"

// created is when the issues of these tests were made; the run started at 14:00.
const created = "2026-03-01T14:10:00Z"

func now() time.Time { return time.Date(2026, 3, 1, 14, 30, 0, 0, time.UTC) }

func atNow(e *check.Env) {
	secrets := checktest.Secrets{}
	for _, name := range []string{"GITHUB_TOKEN", "GITLAB_TOKEN", "JIRA_API_TOKEN", "ZENDESK_API_TOKEN", "LINEAR_API_KEY", "PAGERDUTY_TOKEN"} {
		secrets["env:"+name] = token
	}
	checktest.SetSecrets(e, secrets)
	e.Now, e.Run.StartedAt = now, now().Add(-30*time.Minute)
	e.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
}

func instance(t *testing.T, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(tracker.Issues, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	return inst
}

func environment(t *testing.T) *check.Env {
	env := checktest.NewEnv(t)
	atNow(env)
	return env
}

// said gives an outcome as one text.
func said(o check.Outcome, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return string(o.Verdict) + ": " + o.Reason
}

// faulty holds that every answer that is none leads to an error.
func faulty(t *testing.T, f *resttest.Fake, params string) {
	t.Helper()
	inst := instance(t, params)
	for _, fault := range resttest.Faults() {
		f.Fail(fault.Answer)
		ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if o, err := inst.Runner.Run(ctx, environment(t)); err == nil {
			t.Errorf("%s: got %s: %s, want an error", fault.Name, o.Verdict, o.Reason)
		}
		stop()
	}
	f.Fail(nil)
}

// asked tells whether a question was asked with just this query.
func asked(t *testing.T, f *resttest.Fake, path, query string) {
	t.Helper()
	var got []string
	for _, call := range f.Calls() {
		if strings.HasSuffix(call.Path, path) {
			if got = append(got, call.Query); call.Query == query {
				return
			}
		}
	}
	t.Errorf("%s was not asked with\n%s but with\n%s", path, query, strings.Join(got, "\n"))
}

// desk is a provider's fake that remembers one issue.
type desk struct {
	*resttest.Fake
	// made counts the issues created, closed tells whether the last one is closed,
	// body is the request that created it.
	made   int
	closed bool
	body   string
	// params are those of find, without what is wanted.
	params string
}

// once holds for a provider that an issue is created once, is found again, and
// is closed when it is taken back.
func once(t *testing.T, d *desk, more string) {
	t.Helper()
	params := strings.TrimSuffix(d.params, "}") + ", do: create, title: Root cause, body: What happened?, fact: tracker.rca" + more + "}"
	inst := instance(t, params)
	env := environment(t)
	step := func(what, want, got string) {
		t.Helper()
		checktest.Match(t, want, got)
		if t.Failed() {
			t.Fatalf("at: %s", what)
		}
	}
	probe := func() string {
		progress, o, err := inst.Prober().Probe(t.Context(), env)
		if err != nil {
			return "error: " + err.Error()
		}
		return string(progress) + ": " + o.Reason
	}
	step("probe before", "not_done: ...", probe())
	for range 2 {
		o, err := inst.Runner.Run(t.Context(), env)
		step("run", "pass: ...is created: http...", said(o, err))
		if o.Sets["tracker.rca"] == "" || o.Facts["url"] == "" {
			t.Fatalf("%+v", o)
		}
		step("probe after", "done: ...", probe())
	}
	if d.made != 1 {
		t.Fatalf("%d issues were created", d.made)
	}
	if !strings.Contains(d.body, "What happened?") || !strings.Contains(d.body, "Reference: allclear") {
		t.Fatalf("the request is %s", d.body)
	}
	for range 2 {
		o, err := inst.Undoer().Undo(t.Context(), env, check.Outcome{})
		step("undo", "pass: ... is closed", said(o, err))
	}
	if !d.closed {
		t.Fatal("the issue is not closed")
	}
	other := environment(t)
	other.Key = "allclear/r-2/an.item/1"
	o, err := inst.Undoer().Undo(t.Context(), other, check.Outcome{})
	step("undo of another run", "pass: there is no issue of this item", said(o, err))
	traits := inst.Traits
	if traits.Kind != check.Action || traits.Class != check.Probed || traits.Effect != check.Changes || traits.Undo == "" {
		t.Errorf("%+v", traits)
	}
	found, err := inst.Runner.(check.Examiner).Examine(t.Context(), env)
	if err != nil || found == "" {
		t.Errorf("examine: %q, %v", found, err)
	}
	faulty(t, d.Fake, params)
}

// cut answers with a text whatever is asked, for answers that hold too little.
func cut(text string) http.HandlerFunc { return resttest.JSON(200, text) }

func TestPage(t *testing.T) { checktest.Page(t, tracker.Issues) }

func TestParameters(t *testing.T) {
	checktest.Run(t, tracker.Issues, []checktest.Case{
		{Name: "no provider", Params: "{query: x, max: 0}", Want: "problem: ...needs provider..."},
		{Name: "no site", Params: "{provider: jira, project: OPS, query: x, max: 0}", Want: "problem: ...url: say the address of your jira..."},
		{Name: "more than the address", Params: "{provider: gitlab, url: 'https://gitlab.example.com/api/v4/', project: a/b, max: 0}", Want: "problem: ...url: leave out /api/v4 at its end..."},
		{Name: "nothing wanted", Params: "{provider: github, project: a/b, query: x}", Want: "problem: ...say what should be..."},
		{Name: "nothing asked", Params: "{provider: github, project: a/b, max: 0}", Want: "problem: ...query: say what to look for..."},
		{Name: "true of nothing", Params: "{provider: github, project: a/b, query: x, each: assignee}", Want: "problem: ...of no issues everything is true..."},
		{Name: "less than least", Params: "{provider: github, project: a/b, query: x, min: 2, max: 1}", Want: "problem: ...max is less than min..."},
		{Name: "out of the path", Params: "{provider: github, project: ../b, query: x, max: 0}", Want: "problem: ...project: want it as github writes it..."},
		{Name: "an option", Params: "{provider: gitlab, project: a/-b, query: state=opened, max: 0}", Want: "problem: ...project: want it as gitlab writes it..."},
		{Name: "out of JQL", Params: `{provider: jira, url: "https://x.example.com", project: 'OPS" OR 1=1', query: x, max: 0}`, Want: "problem: ...project: ..."},
		{Name: "order in JQL", Params: `{provider: jira, url: "https://x.example.com", project: OPS, query: x = 1 Order  By y, max: 0}`, Want: "problem: ...leave out ORDER BY..."},
		{Name: "another repository", Params: "{provider: github, project: a/b, query: 'repo:c/d', max: 0}", Want: "problem: ...the repository stands in project..."},
		{Name: "no such filter", Params: "{provider: gitlab, project: a/b, query: label=x, max: 0}", Want: `problem: ...GitLab has no filter "label"...`},
		{Name: "no filter", Params: "{provider: linear, project: ENG, query: urgent, max: 0}", Want: "problem: ...want an IssueFilter as JSON..."},
		{Name: "no condition", Params: "{provider: github, project: a/b, query: x, min: 1, each: [due or owner]}", Want: "problem: ...each: want a condition..."},
		{Name: "create without text", Params: "{provider: github, project: a/b, do: create, title: x}", Want: "problem: ...give body or template..."},
		{Name: "create and look", Params: "{provider: github, project: a/b, do: create, title: x, body: y, max: 0}", Want: "problem: ...go with do: find..."},
		{Name: "look and create", Params: "{provider: github, project: a/b, query: x, max: 0, title: y}", Want: "problem: ...go with do: create..."},
		{Name: "incidents since ever", Params: "{provider: github, project: a/b, query: x, max: 0, also: pagerduty}", Want: "problem: ...also goes with since and max..."},
		{Name: "no token", Params: "{provider: github, project: a/b, query: x, max: 0}", Want: "error: ...not set"},
	})
}
