package sentry_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/sentry"
	"allclear.dev/allclear/internal/rest/resttest"
)

// now is the time in these tests; the run started half an hour before.
func now() time.Time { return time.Date(2026, 3, 1, 14, 30, 0, 0, time.UTC) }

func atNow(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:SENTRY_AUTH_TOKEN": token})
	e.Now, e.Run.StartedAt = now, now().Add(-30*time.Minute)
	e.Ledger = &checktest.Ledger{Facts: map[string]string{"deploy.started_at": "2026-03-01T14:10:00Z", "deploy.odd": "yesterday"}}
}

func anIssue(n int, first string) string {
	return fmt.Sprintf(`{"id":"%d","shortId":"API-%d","title":"TypeError: x is None","level":"error","count":"5","permalink":"https://sentry.example.com/issues/%d/","firstSeen":"%s","lastSeen":"2026-03-01T14:20:00Z"}`, n, n, n, first)
}

// sentryOf is a Sentry with the projects api (42) and worker (43), the release
// api@1 in api alone, and these pages of issues.
func sentryOf(t *testing.T, pages ...string) *resttest.Fake {
	return resttest.New(t, http.Header{"Authorization": {authed}},
		resttest.Route{Method: "GET", Path: "/api/0/projects/example/{project}/", Docs: apiDocs + "projects/retrieve-a-project/",
			Answer: func(w http.ResponseWriter, r *http.Request) {
				id, ok := map[string]string{"api": "42", "worker": "43"}[r.PathValue("project")]
				if !ok {
					resttest.JSON(404, `{"detail":"The requested resource does not exist"}`)(w, r)
					return
				}
				resttest.JSON(200, `{"id":"`+id+`","slug":"`+r.PathValue("project")+`"}`)(w, r)
			}},
		resttest.Route{Method: "GET", Path: "/api/0/organizations/example/releases/{version}/", Docs: apiDocs + "releases/retrieve-an-organizations-release/",
			Answer: func(w http.ResponseWriter, r *http.Request) {
				if r.PathValue("version") != "api@1" {
					resttest.JSON(404, `{"detail":"The requested resource does not exist"}`)(w, r)
					return
				}
				resttest.JSON(200, `{"version":"api@1","projects":[{"id":42,"slug":"api"}]}`)(w, r)
			}},
		resttest.Route{Method: "GET", Path: "/api/0/organizations/example/issues/", Docs: apiDocs + "events/list-an-organizations-issues/",
			Query: []string{"query", "project", "environment", "start", "end", "limit", "cursor"}, Needs: []string{"query", "project"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				if q.Get("environment") == "unknown" {
					resttest.JSON(404, `{"detail":"The requested resource does not exist"}`)(w, r)
					return
				}
				page := 0
				_, _ = fmt.Sscanf(q.Get("cursor"), "0:%d:0", &page)
				// A region's server stands in the link, as on sentry.io.
				w.Header().Set("Link", fmt.Sprintf(`<https://eu.sentry.example/issues/?cursor=0:0:1>; rel="previous"; results="false"; cursor="0:0:1", <https://eu.sentry.example/issues/?cursor=0:%d:0>; rel="next"; results="%t"; cursor="0:%d:0"`, page+1, page+1 < len(pages), page+1))
				resttest.JSON(200, "["+pages[page]+"]")(w, r)
			}})
}

func TestIssues(t *testing.T) {
	const old, recent = "2026-02-01T09:00:00Z", "2026-03-01T14:12:00.5Z"
	none, some := sentryOf(t, ""), sentryOf(t, anIssue(1, old)+","+anIssue(2, recent), anIssue(3, recent))
	params := func(f *resttest.Fake, more string) string {
		return "{org: example, project: api, environment: production, url: \"" + f.URL + "\"" + more + "}"
	}
	many := make([]string, 300)
	for i := range many {
		many[i] = anIssue(i, recent)
	}
	checktest.Run(t, sentry.Issues, []checktest.Case{
		{Name: "none", Params: params(none, ""), Env: atNow, Want: "pass: 0 issues in production, at most 0 accepted", Check: asked(none, url.Values{
			"query": {"is:unresolved"}, "project": {"42"}, "environment": {"production"}, "limit": {"100"}})},
		{Name: "all pages count", Params: params(some, ", max: 2"), Env: atNow, Want: "fail: 3 issues in production, at most 2 accepted: TypeError: x is None (API-1, 5 events)", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["issue.03"] != "API-3 error TypeError: x is None https://sentry.example.com/issues/3/" || len(o.Artefacts) != 1 {
				t.Errorf("%v", o)
			}
		}},
		{Name: "as many as accepted", Params: params(some, ", max: 3"), Env: atNow, Want: "pass: 3 issues in production, at most 3 accepted"},
		{Name: "new ones since a fact", Params: params(some, ", since: deploy.started_at, new: true, level: [fatal, error]"), Env: atNow, Want: "fail: 2 new issues in production since 2026-03-01T14:10:00Z, at most 0...", Check: asked(some, url.Values{
			"query": {"is:unresolved level:[fatal,error]"}, "project": {"42"}, "environment": {"production"}, "limit": {"100"}, "cursor": {"0:1:0"},
			"start": {"2026-03-01T14:10:00"}, "end": {"2026-03-01T14:30:01"}})},
		{Name: "new ones since the run", Params: params(sentryOf(t, anIssue(1, old)), ", since: run.started_at, new: true"), Env: atNow, Want: "pass: 0 new issues in production since 2026-03-01T14:00:00Z, at most 0 accepted"},
		{Name: "since a while", Params: params(none, ", since: 15m"), Env: atNow, Want: "pass: ...since 2026-03-01T14:15:00Z..."},
		{Name: "more than are read", Params: params(sentryOf(t, strings.Join(many[:100], ","), strings.Join(many[100:200], ","), strings.Join(many[200:], ","), "x"), ""), Env: atNow, Want: "fail: at least 300 issues...", Once: true},
		{Name: "everywhere, in a known release", Params: "{org: example, project: api, environment: '', release: api@1, query: '', url: '" + none.URL + "'}", Env: atNow, Want: "pass: 0 issues in any environment, at most 0 accepted", Check: asked(none, url.Values{
			"query": {`release:"api@1"`}, "project": {"42"}, "limit": {"100"}})},
		{Name: "a release nobody heard of", Params: params(none, ", release: api@2"), Env: atNow, Want: "error: Sentry knows no release api@2, so that finding nothing in it would mean nothing..."},
		{Name: "a release of another project", Params: "{org: example, project: [api, worker], environment: production, release: api@1, url: '" + none.URL + "'}", Env: atNow, Want: "error: Sentry knows no release api@1 in worker..."},
		{Name: "a project nobody heard of", Params: strings.Replace(params(none, ""), "project: api", "project: shop", 1), Env: atNow, Want: "error: Sentry shows this token no project shop..."},
		{Name: "an environment nobody heard of", Params: strings.Replace(params(none, ""), "production", "unknown", 1), Env: atNow, Want: "error: Sentry answered 404..."},
		{Name: "an issue without its time", Params: params(sentryOf(t, `{"id":"1"}`), ""), Env: atNow, Want: "error: Sentry lists an issue without an id or without the time..."},
		{Name: "a fact nobody supplied", Params: params(none, ", since: deploy.ended_at"), Env: atNow, Want: "error: deploy.ended_at was not supplied"},
		{Name: "a fact that is no time", Params: params(none, ", since: deploy.odd"), Env: atNow, Want: "error: the fact deploy.odd is no time (\"yesterday\")"},
		{Name: "the future", Params: params(none, `, since: "2026-03-02T00:00:00Z"`), Env: atNow, Want: "error: since: 2026-03-02T00:00:00Z is not in the past"},
		{Name: "no token", Params: params(none, ""), Want: "error: ...not set"},
		{Name: "no moment", Params: params(none, ", since: yesterday"), Want: "problem: ...since: want a moment..."},
		{Name: "new without since", Params: params(none, ", new: true"), Want: "problem: ...new goes with since..."},
		{Name: "no level", Params: params(none, ", level: [bad]"), Want: "problem: ...level: want fatal..."},
		{Name: "a release that ends the search", Params: params(none, `, release: 'a" is:resolved'`), Want: "problem: ...release: Sentry has no release..."},
		{Name: "no project", Params: "{org: example, project: [], environment: production}", Want: "problem: ...project: name at least one..."},
	})
	for _, f := range []string{"", ", release: api@1"} {
		faulty(t, none, sentry.Issues, params(none, f), atNow)
	}
}

// asked compares the last question for issues with what the documentation says
// that it should be.
func asked(f *resttest.Fake, want url.Values) func(*testing.T, check.Outcome) {
	return func(t *testing.T, _ check.Outcome) {
		for _, call := range f.Calls() {
			if strings.HasSuffix(call.Path, "/issues/") && call.Query == want.Encode() {
				return
			}
		}
		t.Errorf("nobody asked %s: %v", want.Encode(), f.Calls())
	}
}

// Each of these cuts only the list of issues, after everything before it was
// answered well.
func TestIssuesListThatIsNone(t *testing.T) {
	for name, page := range map[string]string{"null": "null", "object": `{}`, "an error with 200": `{"detail":"Internal Error"}`} {
		f := resttest.New(t, http.Header{"Authorization": {authed}},
			resttest.Route{Method: "GET", Path: "/api/0/projects/example/api/", Docs: apiDocs + "projects/retrieve-a-project/", Answer: resttest.JSON(200, `{"id":"42","slug":"api"}`)},
			resttest.Route{Method: "GET", Path: "/api/0/organizations/example/issues/", Docs: apiDocs + "events/list-an-organizations-issues/",
				Query: []string{"query", "project", "environment", "limit"}, Answer: resttest.JSON(200, page)})
		faultRun(t, name, sentry.Issues, "{org: example, project: api, environment: production, url: '"+f.URL+"'}", atNow)
	}
}

func TestIssuesPage(t *testing.T) { checktest.Page(t, sentry.Issues) }
