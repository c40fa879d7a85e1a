package tracker_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/tracker"
	"allclear.dev/allclear/internal/rest/resttest"
)

const githubDocs = "https://docs.github.com/en/rest/"

// onGitHub is the repository example/api. pages are the items of a search, of
// which GitHub says that there are total.
func onGitHub(t *testing.T, total int, pages ...string) *desk {
	d := &desk{}
	page := func(w http.ResponseWriter, r *http.Request) {
		n := 1
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &n)
		if n < len(pages) {
			next := *r.URL
			q := next.Query()
			q.Set("page", fmt.Sprint(n+1))
			next.RawQuery = q.Encode()
			w.Header().Set("Link", "<http://"+r.Host+next.String()+`>; rel="next"`)
		}
		resttest.JSON(200, fmt.Sprintf(`{"total_count":%d,"incomplete_results":false,"items":[%s]}`, total, pages[n-1]))(w, r)
	}
	own := func() string {
		state := "open"
		if d.closed {
			state = "closed"
		}
		return githubIssue(12, state, `"assignees":[{"login":"eve"}],"body":`+quote(d.body))
	}
	note := func(r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.body = string(body)
	}
	d.Fake = resttest.New(t, http.Header{"Authorization": {"Bearer " + token}, "X-Github-Api-Version": {"2022-11-28"}},
		resttest.Route{Method: "GET", Path: "/repos/example/api", Docs: githubDocs + "repos/repos#get-a-repository",
			Answer: resttest.JSON(200, `{"full_name":"example/api","has_issues":true,"permissions":{"triage":true}}`)},
		resttest.Route{Method: "GET", Path: "/repos/example/secret", Docs: githubDocs + "repos/repos#get-a-repository", Answer: resttest.JSON(404, `{"message":"Not Found"}`)},
		resttest.Route{Method: "GET", Path: "/repos/example/old", Docs: githubDocs + "repos/repos#get-a-repository", Answer: resttest.JSON(200, `{"full_name":"example/old","has_issues":false}`)},
		resttest.Route{Method: "GET", Path: "/search/issues", Docs: githubDocs + "search/search#search-issues-and-pull-requests",
			Query: []string{"q", "sort", "order", "per_page", "page", "advanced_search"}, Needs: []string{"q"}, Answer: page},
		resttest.Route{Method: "GET", Path: "/repos/example/api/issues/7/timeline", Docs: githubDocs + "issues/timeline#list-timeline-events-for-an-issue", Query: []string{"per_page", "page"},
			Answer: resttest.JSON(200, `[{"event":"labeled"},{"event":"cross-referenced","source":{"type":"issue","issue":`+githubIssue(1, "open", `"body":""`)+`}}]`)},
		resttest.Route{Method: "GET", Path: "/repos/example/api/issues", Docs: githubDocs + "issues/issues#list-repository-issues",
			Query: []string{"state", "since", "sort", "direction", "per_page", "page"}, Answer: func(w http.ResponseWriter, r *http.Request) {
				list := githubIssue(11, "open", `"body":"something else"`)
				if d.made > 0 {
					list += "," + own()
				}
				resttest.JSON(200, "["+list+"]")(w, r)
			}},
		resttest.Route{Method: "POST", Path: "/repos/example/api/issues", Docs: githubDocs + "issues/issues#create-an-issue",
			Body: []string{"title", "body", "labels", "assignees", "milestone"}, Needs: []string{"title"}, Answer: func(w http.ResponseWriter, r *http.Request) {
				note(r)
				d.made++
				resttest.JSON(201, own())(w, r)
			}},
		resttest.Route{Method: "PATCH", Path: "/repos/example/api/issues/12", Docs: githubDocs + "issues/issues#update-an-issue",
			Body: []string{"state", "state_reason"}, Answer: func(w http.ResponseWriter, r *http.Request) {
				d.closed = true
				resttest.JSON(200, own())(w, r)
			}})
	d.params = "{provider: github, project: example/api, url: '" + d.URL + "'}"
	return d
}

func githubIssue(n int, state, more string) string {
	return fmt.Sprintf(`{"number":%d,"html_url":"https://github.example/example/api/issues/%d","title":"It is slow","state":"%s","created_at":"%s",%s}`, n, n, state, created, more)
}

func quote(text string) string { return fmt.Sprintf("%q", text) }

func (d *desk) want(more string) string { return strings.TrimSuffix(d.params, "}") + ", " + more + "}" }

func TestGitHub(t *testing.T) {
	care := `"assignees":[{"login":"eve"}],"milestone":{"title":"1.3","due_on":null},"labels":[{"name":"bug"}]`
	none := onGitHub(t, 0, "")
	two := onGitHub(t, 2, githubIssue(1, "open", care), githubIssue(2, "open", `"assignees":[]`))
	many := onGitHub(t, 4000, githubIssue(1, "open", care))
	checktest.Run(t, tracker.Issues, []checktest.Case{
		{Name: "none", Params: none.want("query: 'is:open label:critical', since: run.started_at, max: 0"), Env: atNow, Want: "pass: 0 issues found", Check: func(t *testing.T, _ check.Outcome) {
			asked(t, none.Fake, "/search/issues", url.Values{"q": {"is:open label:critical repo:example/api is:issue created:>=2026-03-01T14:00:00Z"}, "per_page": {"100"}}.Encode())
		}},
		{Name: "all pages count", Params: two.want("query: 'is:open', max: 1"), Env: atNow, Want: "fail: 2 issues found: at most 1 accepted (#1 It is slow)", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["issue.01"] != "#1 It is slow (open, eve) https://github.example/example/api/issues/1" || o.Facts["untriaged"] != "1" || len(o.Artefacts) != 1 {
				t.Errorf("%+v", o)
			}
		}},
		{Name: "enough", Params: two.want("query: 'is:open', min: 2"), Env: atNow, Want: "pass: 2 issues found"},
		{Name: "too few", Params: two.want("query: 'is:open', min: 3"), Env: atNow, Want: "fail: 2 issues found: at least 3 wanted (#1 It is slow)"},
		{Name: "nobody takes care", Params: two.want("query: 'is:open', untriaged: 0"), Env: atNow, Want: "fail: 2 issues found: nobody takes care of #2 (at most 0 accepted)"},
		{Name: "nobody, accepted", Params: two.want("query: 'is:open', untriaged: 1"), Env: atNow, Want: "pass: 2 issues found"},
		{Name: "each", Params: two.want("query: 'is:open', min: 1, each: [assignee, due or milestone]"), Env: atNow, Want: "fail: 2 issues found: without assignee: #2; without due or milestone: #2"},
		{Name: "linked", Params: two.want("query: 'is:open', min: 1, linked_to: '#7'"), Env: atNow, Want: "fail: 2 issues found: not linked to #7: #2"},
		{Name: "linked, all of it", Params: onGitHub(t, 1, githubIssue(1, "open", care)).want("query: 'is:open', min: 1, linked_to: 7, each: [assignee, due or milestone]"), Env: atNow, Want: "pass: 1 issues found"},
		{Name: "too many to look at, fewer than accepted", Params: many.want("query: 'is:open', max: 5000"), Env: atNow, Want: "pass: 4000 issues found"},
		{Name: "too many to look at", Params: many.want("query: 'is:open', max: 10"), Env: atNow, Want: "fail: 4000 issues found: at most 10 accepted..."},
		{Name: "too many to look at each", Params: many.want("query: 'is:open', min: 1, each: assignee"), Env: atNow, Want: "error: only 1 of 4000 issues can be read: narrow the query"},
		{Name: "a repository not seen", Params: strings.Replace(none.want("query: x, max: 0"), "example/api", "example/secret", 1), Env: atNow, Want: "error: GitHub shows this token no repository example/secret"},
		{Name: "a repository without issues", Params: strings.Replace(none.want("query: x, max: 0"), "example/api", "example/old", 1), Env: atNow, Want: "error: example/old has no issues: they are switched off"},
		{Name: "an issue that is none", Params: onGitHub(t, 1, `{"number":0}`).want("query: x, max: 9"), Env: atNow, Want: "error: GitHub found an issue elsewhere..."},
		{Name: "an issue without a number", Params: onGitHub(t, 1, githubIssue(0, "open", care)).want("query: x, max: 9"), Env: atNow, Want: "error: GitHub lists an issue without an id..."},
		{Name: "one or the other", Params: none.want("query: 'label:a OR label:b', max: 0"), Env: atNow, Want: "pass: 0 issues found", Check: func(t *testing.T, _ check.Outcome) {
			asked(t, none.Fake, "/search/issues", url.Values{"q": {"(label:a OR label:b) repo:example/api is:issue"}, "per_page": {"100"}}.Encode())
		}},
		{Name: "an issue elsewhere", Params: onGitHub(t, 1, strings.Replace(githubIssue(1, "open", care), "/example/api/", "/example/shop/", 1)).want("query: x, max: 9"), Env: atNow, Want: "error: GitHub found an issue elsewhere (https://github.example/example/shop/issues/1)..."},
	})
	faulty(t, none.Fake, none.want("query: x, max: 0"))
	faulty(t, two.Fake, two.want("query: x, max: 1"))
}

func TestGitHubSearchThatWasBrokenOff(t *testing.T) {
	for text, want := range map[string]string{
		`{"total_count":0,"incomplete_results":true,"items":[]}`: "error: GitHub broke the search off...",
		`{"total_count":0,"items":[]}`:                           "error: GitHub answered the search without a count",
		`{"incomplete_results":false,"items":[]}`:                "error: GitHub answered the search without a count",
		`{"total_count":0,"incomplete_results":false}`:           "error: GitHub answered the search without a count",
	} {
		f := resttest.New(t, nil,
			resttest.Route{Method: "GET", Path: "/repos/a/b", Docs: githubDocs, Headers: []string{"Authorization", "X-Github-Api-Version"}, Answer: cut(`{"full_name":"a/b","has_issues":true}`)},
			resttest.Route{Method: "GET", Path: "/search/issues", Docs: githubDocs, Headers: []string{"Authorization", "X-Github-Api-Version"}, Query: []string{"q", "per_page"}, Answer: cut(text)})
		o, err := instance(t, "{provider: github, project: a/b, query: x, max: 0, url: '"+f.URL+"'}").Runner.Run(t.Context(), environment(t))
		checktest.Match(t, want, said(o, err))
	}
}

func TestExamineTriesASearch(t *testing.T) {
	for more, want := range map[string]string{
		"query: x, max: 0": "would pass now: 0 issues found", "query: x, min: 1": "answers; would fail now: 0 issues found: at least 1 wanted",
	} {
		got, err := instance(t, onGitHub(t, 0, "").want(more)).Runner.(check.Examiner).Examine(t.Context(), environment(t))
		if got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestGitHubCreatesOnce(t *testing.T) {
	d := onGitHub(t, 0, "")
	once(t, d, ", assignee: eve, labels: [rca]")
	asked(t, d.Fake, "/repos/example/api/issues", "direction=desc&per_page=100&since=2026-03-01T13%3A55%3A00Z&sort=created&state=all")
}

func TestGitHubTemplate(t *testing.T) {
	d := onGitHub(t, 0, "")
	env := environment(t)
	inst := instance(t, d.want("do: create, title: Root cause, template: rca.md, labels: [rca]"))
	o, err := inst.Runner.Run(t.Context(), env)
	checktest.Match(t, "error: read template: ...", said(o, err))
	if err := os.WriteFile(filepath.Join(env.Dir, "rca.md"), []byte("# What happened?\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err = inst.Runner.Run(t.Context(), env)
	checktest.Match(t, "pass: #12 is created: https://github.example/example/api/issues/12", said(o, err))
	if !strings.Contains(d.body, `# What happened?\n\nRun r-1 of tulia 1.2.3 in test, item an.item. Reference: allclear`) || !strings.Contains(d.body, `"labels":["rca"]`) {
		t.Error(d.body)
	}
}

// Each refuses, or takes the issue and drops the assignee.
func TestGitHubThatDoesNotCreate(t *testing.T) {
	for answer, want := range map[string]string{
		`410 {"message":"Issues are disabled for this repo"}`: "fail: GitHub answered 410 to POST /repos/a/b/issues: Issues are disabled...",
		`500 {"message":"oops"}`:                              "error: GitHub answered 500...",
		`429 {"message":"slow down"}`:                         "error: GitHub answered 429...",
		`201 {}`:                                              "error: GitHub took the issue, but did not say which one it is",
		`201 ` + githubIssue(3, "open", `"assignees":[]`):     "fail: #3 is created, but GitHub assigned it to nobody: may eve be assigned there?",
	} {
		status := 0
		_, _ = fmt.Sscan(answer, &status)
		headers := []string{"Authorization", "X-Github-Api-Version"}
		f := resttest.New(t, nil,
			resttest.Route{Method: "GET", Path: "/repos/a/b/issues", Docs: githubDocs, Headers: headers, Query: []string{"state", "since", "sort", "direction", "per_page"}, Answer: cut("[]")},
			resttest.Route{Method: "POST", Path: "/repos/a/b/issues", Docs: githubDocs, Headers: headers, Body: []string{"title", "body", "assignees"}, Answer: resttest.JSON(status, answer[4:])})
		o, err := instance(t, "{provider: github, project: a/b, do: create, title: x, body: y, assignee: eve, url: '"+f.URL+"'}").Runner.Run(t.Context(), environment(t))
		checktest.Match(t, want, said(o, err))
	}
}
