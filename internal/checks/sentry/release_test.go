package sentry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/sentry"
	"allclear.dev/allclear/internal/rest/resttest"
)

// releases is a Sentry that remembers one release, api@1, and its deploys.
type releases struct {
	*resttest.Fake
	there, live bool
	deploys     []string
	// bodies are the requests that changed something.
	bodies []string
	// refuse answers the creation of a deploy instead.
	refuse http.HandlerFunc
}

func newReleases(t *testing.T) *releases {
	s := &releases{}
	const path = "/api/0/organizations/example/releases/"
	note := func(r *http.Request) map[string]json.RawMessage {
		var fields map[string]json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
			t.Error(err)
		}
		text, _ := json.Marshal(fields)
		s.bodies = append(s.bodies, r.Method+" "+string(text))
		return fields
	}
	show := func(status int) http.HandlerFunc {
		date := "null"
		if s.live {
			date = `"2026-03-01T14:30:00Z"`
		}
		return resttest.JSON(status, `{"version":"api@1","dateReleased":`+date+`,"commitCount":3,"lastEvent":null,"projects":[{"id":42,"slug":"api"}]}`)
	}
	s.Fake = resttest.New(t, http.Header{"Authorization": {authed}},
		resttest.Route{Method: "GET", Path: "/api/0/projects/example/api/", Docs: apiDocs + "projects/retrieve-a-project/", Answer: resttest.JSON(200, `{"id":"42","slug":"api"}`)},
		resttest.Route{Method: "GET", Path: path + "api@1/", Docs: apiDocs + "releases/retrieve-an-organizations-release/", Answer: func(w http.ResponseWriter, r *http.Request) {
			if !s.there {
				resttest.JSON(404, `{"detail":"The requested resource does not exist"}`)(w, r)
				return
			}
			show(200)(w, r)
		}},
		resttest.Route{Method: "POST", Path: path, Docs: apiDocs + "releases/create-a-new-release-for-an-organization/",
			Body: []string{"version", "ref", "url", "projects", "dateReleased", "commits", "refs"}, Needs: []string{"version", "projects"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				note(r)
				status := 208
				if !s.there {
					s.there, s.live, status = true, true, 201
				}
				show(status)(w, r)
			}},
		resttest.Route{Method: "PUT", Path: path + "api@1/", Docs: apiDocs + "releases/update-an-organizations-release/",
			Body: []string{"ref", "url", "dateReleased", "commits", "refs"}, Answer: func(w http.ResponseWriter, r *http.Request) {
				note(r)
				s.live = true
				show(200)(w, r)
			}},
		resttest.Route{Method: "GET", Path: path + "api@1/deploys/", Docs: apiDocs + "releases/list-a-releases-deploys/", Query: []string{"cursor"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				// One on a page, so that nobody stops at the first.
				n := 0
				_, _ = fmt.Sscanf(r.URL.Query().Get("cursor"), "0:%d:0", &n)
				w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?cursor=0:%d:0>; rel="next"; results="%t"; cursor="0:%d:0"`, r.Host, r.URL.Path, n+1, n+1 < len(s.deploys), n+1))
				resttest.JSON(200, "["+strings.Join(s.deploys[n:min(n+1, len(s.deploys))], "")+"]")(w, r)
			}},
		resttest.Route{Method: "POST", Path: path + "api@1/deploys/", Docs: apiDocs + "releases/create-a-deploy/",
			Body: []string{"environment", "name", "url", "dateStarted", "dateFinished", "projects"}, Needs: []string{"environment"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				if s.refuse != nil {
					s.refuse(w, r)
					return
				}
				fields := note(r)
				one := `{"id":"9","environment":` + string(fields["environment"]) + `,"name":` + string(fields["name"]) + `,"dateFinished":` + string(fields["dateFinished"]) + `}`
				s.deploys = append(s.deploys, one)
				resttest.JSON(201, one)(w, r)
			}})
	return s
}

func (s *releases) params(more string) string {
	return "{org: example, project: api, version: api@1, deploy: production, url: '" + s.URL + "'" + more + "}"
}

// probe asks how far the action has come.
func probe(t *testing.T, params string, want check.Progress) {
	t.Helper()
	env := checktest.NewEnv(t)
	atNow(env)
	got, o, err := instance(t, sentry.Release, params).Prober().Probe(t.Context(), env)
	if got != want || err != nil {
		t.Errorf("%s (%s), %v; want %s", got, o.Reason, err, want)
	}
}

func TestReleaseIsToldOnce(t *testing.T) {
	s := newReleases(t)
	params := s.params(", refs: [{repository: example/api, commit: a1b2c3d4, previous: 99}]")
	probe(t, params, check.NotDone)
	for range 2 {
		_ = checkRun(t, sentry.Release, params, atNow, "pass: Sentry knows the release api@1 in api, live in production")
		probe(t, params, check.Done)
	}
	if len(s.bodies) != 2 || len(s.deploys) != 1 {
		t.Fatalf("changes %q", s.bodies)
	}
	for i, want := range []string{
		`POST {"dateReleased":"2026-03-01T14:30:00Z","projects":["api"],"refs":[{"repository":"example/api","commit":"a1b2c3d4","previousCommit":"99"}],"version":"api@1"}`,
		`POST {"dateFinished":"2026-03-01T14:30:00Z","dateStarted":"2026-03-01T14:00:00Z","environment":"production","name":"allclear-...","projects":["api"]}`,
	} {
		checktest.Match(t, want, s.bodies[i])
	}
}

func TestReleaseThatTheApplicationMade(t *testing.T) {
	s := newReleases(t)
	s.there = true
	s.deploys = []string{`{"id":"1","environment":"production","name":null,"dateFinished":"2026-03-01T10:00:00Z"}`, `{"id":"2","environment":"production","name":"by hand","dateFinished":"2026-03-01T10:00:00Z"}`}
	probe(t, s.params(""), check.Partly)
	_ = checkRun(t, sentry.Release, s.params(""), atNow, "pass: Sentry knows the release api@1 in api, live in production")
	if len(s.bodies) != 3 || !strings.HasPrefix(s.bodies[1], "PUT ") || len(s.deploys) != 3 {
		t.Errorf("changes %q", s.bodies)
	}
	probe(t, s.params(""), check.Done)
}

func TestReleaseAfterACrashBetweenItsSteps(t *testing.T) {
	s := newReleases(t)
	s.there, s.live = true, true
	probe(t, s.params(""), check.Partly)
	_ = checkRun(t, sentry.Release, s.params(""), atNow, "pass: ...")
	probe(t, s.params(""), check.Done)
	if len(s.deploys) != 1 {
		t.Errorf("deploys %q", s.deploys)
	}
}

func TestReleaseOutcomes(t *testing.T) {
	refused, lost, empty := newReleases(t), newReleases(t), newReleases(t)
	refused.refuse = resttest.JSON(403, `{"detail":"You do not have permission to perform this action."}`)
	lost.refuse = resttest.JSON(200, `{}`)
	checktest.Run(t, sentry.Release, []checktest.Case{
		{Name: "without a deploy", Params: strings.Replace(empty.params(""), "production", "''", 1), Env: atNow, Want: "pass: Sentry knows the release api@1 in api", Once: true, Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["commits"] != "3" || o.Facts["last_event"] != "none yet" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "the deploy is refused", Params: refused.params(""), Env: atNow, Want: "fail: Sentry answered 403 to POST ...You do not have permission...", Once: true},
		{Name: "the deploy is not there afterwards", Params: lost.params(""), Env: atNow, Want: "error: Sentry took everything, but it was not told that the release api@1 is live in production", Once: true},
		{Name: "a slash", Params: strings.Replace(empty.params(""), "api@1", "api/1", 1), Want: "problem: ...version: want up to 200 characters without slash..."},
		{Name: "no project", Params: "{org: example, project: [], version: '1', deploy: ''}", Want: "problem: ...project: name at least one..."},
		{Name: "no token", Params: empty.params(""), Want: "error: ...not set"},
	})
	s := newReleases(t)
	s.there, s.live = true, true
	faulty(t, s.Fake, sentry.Release, s.params(""), atNow)
	traits := instance(t, sentry.Release, s.params("")).Traits
	if traits.Kind != check.Action || traits.Class != check.Probed || traits.Effect != check.Changes || traits.Irreversible == "" {
		t.Errorf("%+v", traits)
	}
	examine(t, sentry.Release, s.params(""), atNow, "the token sees api of example")
}

func TestReleasePage(t *testing.T) { checktest.Page(t, sentry.Release) }
