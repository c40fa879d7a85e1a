package tracker_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/tracker"
	"allclear.dev/allclear/internal/rest/resttest"
)

const gitlabDocs = "https://docs.gitlab.com/api/"

// onGitLab is the project example/api with these issues.
func onGitLab(t *testing.T, issues string) *desk {
	d := &desk{}
	own := func() string {
		state := "opened"
		if d.closed {
			state = "closed"
		}
		return gitlabIssue(12, state, `"assignees":[{"username":"eve"}],"description":`+quote(d.body))
	}
	const project = "/api/v4/projects/example%2Fapi"
	d.Fake = resttest.New(t, http.Header{"Private-Token": {token}},
		resttest.Route{Method: "GET", Path: project + "/issues", Docs: gitlabDocs + "issues/#list-project-issues",
			Query: []string{"state", "labels", "created_after", "per_page", "page"}, Answer: func(w http.ResponseWriter, r *http.Request) {
				list := issues
				if d.made > 0 {
					list = own()
				}
				resttest.JSON(200, "["+list+"]")(w, r)
			}},
		resttest.Route{Method: "GET", Path: "/api/v4/projects/example%2Fsecret/issues", Docs: gitlabDocs + "issues/#list-project-issues",
			Query: []string{"state", "per_page"}, Answer: resttest.JSON(404, `{"message":"404 Project Not Found"}`)},
		resttest.Route{Method: "GET", Path: project + "/issues/7/links", Docs: gitlabDocs + "issue_links/#list-issue-relations",
			Answer: resttest.JSON(200, "["+gitlabIssue(1, "opened", `"link_type":"relates_to"`)+"]")},
		resttest.Route{Method: "GET", Path: "/api/v4/users", Docs: gitlabDocs + "users/#list-users", Query: []string{"username"}, Needs: []string{"username"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("username") != "eve" {
					resttest.JSON(200, "[]")(w, r)
					return
				}
				resttest.JSON(200, `[{"id":3,"username":"eve"}]`)(w, r)
			}},
		resttest.Route{Method: "POST", Path: project + "/issues", Docs: gitlabDocs + "issues/#new-issue",
			Body: []string{"title", "description", "labels", "assignee_ids"}, Needs: []string{"title"}, Answer: func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				d.body = string(body)
				d.made++
				resttest.JSON(201, own())(w, r)
			}},
		resttest.Route{Method: "PUT", Path: project + "/issues/12", Docs: gitlabDocs + "issues/#edit-an-issue", Body: []string{"state_event"}, Needs: []string{"state_event"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				d.closed = true
				resttest.JSON(200, own())(w, r)
			}})
	d.params = "{provider: gitlab, project: example/api, url: '" + d.URL + "'}"
	return d
}

func gitlabIssue(n int, state, more string) string {
	return fmt.Sprintf(`{"iid":%d,"web_url":"http://gitlab.example/example/api/-/issues/%d","title":"It is slow","state":"%s","created_at":"%s",%s}`, n, n, state, created, more)
}

func TestGitLab(t *testing.T) {
	none := onGitLab(t, "")
	two := onGitLab(t, gitlabIssue(1, "opened", `"assignees":[{"username":"eve"}],"due_date":"2026-03-09","severity":"HIGH"`)+","+gitlabIssue(2, "closed", `"milestone":{"title":"1.3"},"severity":"UNKNOWN"`))
	checktest.Run(t, tracker.Issues, []checktest.Case{
		{Name: "none", Params: none.want("query: 'state=opened&labels=uat', since: run.started_at, max: 0"), Env: atNow, Want: "pass: 0 issues found", Check: func(t *testing.T, _ check.Outcome) {
			asked(t, none.Fake, "/issues", "created_after=2026-03-01T14%3A00%3A00Z&labels=uat&per_page=100&state=opened")
		}},
		{Name: "each", Params: two.want("min: 1, each: [due or milestone, priority]"), Env: atNow, Want: "fail: 2 issues found: without priority: #2"},
		{Name: "a closed one needs nobody", Params: two.want("untriaged: 0"), Env: atNow, Want: "pass: 2 issues found"},
		{Name: "linked", Params: two.want("min: 1, linked_to: 7"), Env: atNow, Want: "fail: 2 issues found: not linked to 7: #2"},
		{Name: "a project not seen", Params: "{provider: gitlab, project: example/secret, query: state=opened, max: 0, url: '" + none.URL + "'}", Env: atNow, Want: "error: GitLab answered 404..."},
		{Name: "an issue that is none", Params: onGitLab(t, `{"iid":4}`).want("max: 3"), Env: atNow, Want: "error: GitLab lists an issue without an id..."},
		{Name: "nobody of that name", Params: none.want("do: create, title: x, body: y, assignee: mallory"), Env: atNow, Want: "fail: GitLab knows no user mallory", Once: true},
	})
	faulty(t, none.Fake, none.want("max: 0"))
	faulty(t, two.Fake, two.want("min: 1, linked_to: 7"))
}

func TestGitLabCreatesOnce(t *testing.T) {
	once(t, onGitLab(t, ""), ", assignee: eve, labels: [rca, rollback]")
}
