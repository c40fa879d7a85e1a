package tracker_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/tracker"
	"allclear.dev/allclear/internal/rest/resttest"
)

const jiraDocs = "https://developer.atlassian.com/cloud/jira/platform/rest/v3/"

// onJira is the project OPS, whose searches give these pages; more tells that the
// last page leads to another one, again and again.
func onJira(t *testing.T, count string, more bool, pages ...string) *desk {
	d := &desk{}
	own := func() string {
		status := "new"
		if d.closed {
			status = "done"
		}
		return jiraIssue(12, status, `,"assignee":{"accountId":"5b10","displayName":"Eve"}`)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("me@example.com:"+token))
	d.Fake = resttest.New(t, http.Header{"Authorization": {basic}},
		resttest.Route{Method: "GET", Path: "/rest/api/3/search/jql", Docs: jiraDocs + "api-group-issue-search/#api-rest-api-3-search-jql-get",
			Query: []string{"jql", "nextPageToken", "maxResults", "fields", "expand", "properties", "fieldsByKeys", "failFast", "reconcileIssues"}, Needs: []string{"jql"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				if strings.Contains(q.Get("jql"), "labels = ") {
					list := ""
					if at := strings.Index(d.body, `"allclear`); at > 0 && strings.Contains(q.Get("jql"), d.body[at:at+34]) {
						list = own()
					}
					resttest.JSON(200, `{"issues":[`+list+`],"isLast":true}`)(w, r)
					return
				}
				n := 0
				_, _ = fmt.Sscanf(q.Get("nextPageToken"), "t%d", &n)
				next := ""
				if n+1 < len(pages) {
					next = fmt.Sprintf(`,"nextPageToken":"t%d"`, n+1)
				} else if more {
					next = `,"nextPageToken":"t0"`
				}
				resttest.JSON(200, fmt.Sprintf(`{"issues":[%s],"isLast":%t%s}`, pages[n], next == "", next))(w, r)
			}},
		resttest.Route{Method: "POST", Path: "/rest/api/3/search/approximate-count", Docs: jiraDocs + "api-group-issue-search/#api-rest-api-3-search-approximate-count-post",
			Body: []string{"jql"}, Needs: []string{"jql"}, Answer: resttest.JSON(200, count)},
		resttest.Route{Method: "GET", Path: "/rest/api/3/issue/OPS-7", Docs: jiraDocs + "api-group-issues/#api-rest-api-3-issue-issueidorkey-get", Query: []string{"fields"},
			Answer: resttest.JSON(200, `{"key":"OPS-7","fields":{"issuelinks":[{"outwardIssue":{"key":"OPS-1"}},{"inwardIssue":{"key":"OPS-3"}}],"subtasks":[]}}`)},
		resttest.Route{Method: "POST", Path: "/rest/api/3/issue", Docs: jiraDocs + "api-group-issues/#api-rest-api-3-issue-post", Body: []string{"fields", "update", "properties"}, Needs: []string{"fields"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				d.body = string(body)
				d.made++
				resttest.JSON(201, `{"id":"10012","key":"OPS-12","self":"http://jira.example/rest/api/3/issue/10012"}`)(w, r)
			}},
		resttest.Route{Method: "GET", Path: "/rest/api/3/issue/OPS-12/transitions", Docs: jiraDocs + "api-group-issues/#api-rest-api-3-issue-issueidorkey-transitions-get",
			Answer: resttest.JSON(200, `{"transitions":[{"id":"11","to":{"statusCategory":{"key":"indeterminate"}}},{"id":"31","to":{"statusCategory":{"key":"done"}}}]}`)},
		resttest.Route{Method: "POST", Path: "/rest/api/3/issue/OPS-12/transitions", Docs: jiraDocs + "api-group-issues/#api-rest-api-3-issue-issueidorkey-transitions-post", Body: []string{"transition"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				d.closed = string(body) == `{"transition":{"id":"31"}}`
				w.WriteHeader(http.StatusNoContent)
			}},
		resttest.Route{Method: "GET", Path: "/rest/api/3/mypermissions", Docs: jiraDocs + "api-group-permissions/#api-rest-api-3-mypermissions-get", Query: []string{"projectKey", "permissions"},
			Answer: resttest.JSON(200, `{"permissions":{"BROWSE_PROJECTS":{"havePermission":true},"CREATE_ISSUES":{"havePermission":true}}}`)})
	d.params = "{provider: jira, user: me@example.com, project: OPS, url: '" + d.URL + "'}"
	return d
}

func jiraIssue(n int, status, more string) string {
	return fmt.Sprintf(`{"key":"OPS-%d","self":"http://jira.example/rest/api/3/issue/%d","fields":{"summary":"It is slow","status":{"name":"Open","statusCategory":{"key":"%s"}},"created":"2026-03-01T14:10:00.000+0000"%s}}`, n, n, status, more)
}

func TestJira(t *testing.T) {
	care := `,"assignee":{"displayName":"Eve"},"duedate":"2026-03-09","priority":{"name":"Highest"},"fixVersions":[{"name":"1.3"}]`
	before := strings.Replace(jiraIssue(9, "new", ""), "14:10:00.000", "13:59:30.000", 1)
	none, two := onJira(t, "{}", false, ""), onJira(t, "{}", false, jiraIssue(1, "new", care), jiraIssue(2, "new", ""))
	page := strings.TrimSuffix(strings.Repeat(jiraIssue(1, "new", care)+",", 100), ",")
	many := onJira(t, `{"count":1234}`, true, page)
	checktest.Run(t, tracker.Issues, []checktest.Case{
		{Name: "none", Params: none.want("query: priority = Highest OR labels = x, since: run.started_at, max: 0"), Env: atNow, Want: "pass: 0 issues found", Check: func(t *testing.T, _ check.Outcome) {
			asked(t, none.Fake, "/search/jql", url.Values{"jql": {`project = "OPS" AND (priority = Highest OR labels = x) AND created >= "-31m"`}, "maxResults": {"100"}, "fields": {"summary,status,assignee,duedate,fixVersions,labels,priority,created"}}.Encode())
		}},
		{Name: "the minute that JQL cannot cut", Params: onJira(t, "{}", false, before).want("since: run.started_at, max: 0"), Env: atNow, Want: "pass: 0 issues found"},
		{Name: "all pages", Params: two.want("query: x = 1, max: 1"), Env: atNow, Want: "fail: 2 issues found: at most 1 accepted (OPS-1 It is slow)"},
		{Name: "each", Params: two.want("query: x = 1, min: 1, each: [assignee, due or milestone, priority]"), Env: atNow, Want: "fail: 2 issues found: without assignee: OPS-2; without due or milestone: OPS-2; without priority: OPS-2"},
		{Name: "linked", Params: two.want("query: x = 1, min: 1, linked_to: OPS-7"), Env: atNow, Want: "fail: 2 issues found: not linked to OPS-7: OPS-2"},
		{Name: "about as many, certainly too many", Params: many.want("query: x = 1, max: 999"), Env: atNow, Want: "fail: about 1234 issues found: at most 999 accepted...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["issues"] != "about 1234" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "about as many, not exact enough", Params: many.want("query: x = 1, max: 2000"), Env: atNow, Want: "error: there are about 1234 issues, which is not exact enough: narrow the query"},
		{Name: "about as many, certainly enough", Params: many.want("query: x = 1, min: 500"), Env: atNow, Want: "pass: about 1234 issues found"},
		{Name: "no count", Params: onJira(t, "{}", true, page).want("query: x = 1, max: 2000"), Env: atNow, Want: "error: Jira answered without a count"},
		{Name: "an issue that is none", Params: onJira(t, "{}", false, `{"key":"OPS-1","fields":{}}`).want("query: x = 1, max: 9"), Env: atNow, Want: "error: Jira lists an issue without an id..."},
	})
	faulty(t, none.Fake, none.want("query: x = 1, max: 0"))
	faulty(t, two.Fake, two.want("query: x = 1, min: 1, linked_to: OPS-7"))
}

func TestJiraSaysThereIsMoreButNotWhich(t *testing.T) {
	f := resttest.New(t, nil, resttest.Route{Method: "GET", Path: "/rest/api/3/search/jql", Docs: jiraDocs, Headers: []string{"Authorization"},
		Query: []string{"jql", "maxResults", "fields"}, Answer: cut(`{"issues":[],"isLast":false}`)})
	o, err := instance(t, "{provider: jira, project: OPS, query: x = 1, max: 0, url: '"+f.URL+"'}").Runner.Run(t.Context(), environment(t))
	checktest.Match(t, "error: Jira says that there is another page, but not which", said(o, err))
	if got := f.Calls()[0].Header.Get("Authorization"); got != "Bearer "+token {
		t.Errorf("without a user the token goes as %q", got)
	}
}

func TestJiraCreatesOnce(t *testing.T) {
	d := onJira(t, "{}", false, "")
	once(t, d, ", assignee: 5b10, labels: [rca]")
	if !strings.Contains(d.body, `"issuetype":{"name":"Task"}`) || !strings.Contains(d.body, `"description":{"type":"doc","version":1,"content":[{"type":"paragraph","content":[{"type":"text","text":"What happened?"}]}`) || !strings.Contains(d.body, `"assignee":{"accountId":"5b10"}`) {
		t.Error(d.body)
	}
}

// What was just created may not be found at once: it is looked for twice.
func TestJiraLooksTwice(t *testing.T) {
	d := onJira(t, "{}", false, "")
	if _, _, err := instance(t, d.want("do: create, title: x, body: y")).Prober().Probe(t.Context(), environment(t)); err != nil {
		t.Error(err)
	}
	if n := len(d.Calls()); n != 2 {
		t.Errorf("%d searches", n)
	}
}
