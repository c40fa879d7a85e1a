package tracker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/tracker"
	"allclear.dev/allclear/internal/rest/resttest"
)

const linearDocs = "https://linear.app/developers/graphql"

// onLinear is the team ENG, whose issues come in these pages. filters keeps the
// filters that were asked with.
func onLinear(t *testing.T, filters *[]string, pages ...string) *desk {
	d := &desk{}
	own := func() string {
		kind := "unstarted"
		if d.closed {
			kind = "canceled"
		}
		return linearIssue(12, kind, `"assignee":{"displayName":"eve"}`)
	}
	answer := func(query string, vars map[string]json.RawMessage) string {
		_, field, _ := strings.Cut(query, "{ ")
		field, _, _ = strings.Cut(field, "(")
		switch field {
		case "teams":
			if string(vars["key"]) != `"ENG"` {
				return `{"teams":{"nodes":[]}}`
			}
			return `{"teams":{"nodes":[{"id":"team-1","key":"ENG"}]}}`
		case "issues":
			filter := string(vars["filter"])
			*filters = append(*filters, filter)
			if strings.Contains(filter, `"id":`) {
				var input struct{ ID string }
				_ = json.Unmarshal([]byte(d.body), &input)
				if d.made > 0 && strings.Contains(filter, input.ID) {
					return `{"issues":{"nodes":[` + own() + `],"pageInfo":{"hasNextPage":false}}}`
				}
				return `{"issues":{"nodes":[],"pageInfo":{"hasNextPage":false}}}`
			}
			n := 0
			_, _ = fmt.Sscanf(string(vars["after"]), `"c%d"`, &n)
			return fmt.Sprintf(`{"issues":{"nodes":[%s],"pageInfo":{"hasNextPage":%t,"endCursor":"c%d"}}}`, pages[n], n+1 < len(pages), n+1)
		case "issue":
			return `{"issue":{"parent":null,"children":{"nodes":[]},"relations":{"nodes":[{"relatedIssue":{"identifier":"ENG-1"}}]},"inverseRelations":{"nodes":[]}}}`
		case "issueLabels":
			return `{"issueLabels":{"nodes":[{"id":"label-1","name":"rca"}]}}`
		case "users":
			if string(vars["email"]) != `"eve@example.com"` {
				return `{"users":{"nodes":[]}}`
			}
			return `{"users":{"nodes":[{"id":"user-1","name":"Eve"}]}}`
		case "issueCreate":
			d.body = string(vars["input"])
			d.made++
			return `{"issueCreate":{"success":true,"issue":` + own() + `}}`
		case "workflowStates":
			return `{"workflowStates":{"nodes":[{"id":"state-1","name":"Canceled"}]}}`
		case "issueUpdate":
			d.closed = string(vars["state"]) == `"state-1"`
			return `{"issueUpdate":{"success":true}}`
		}
		t.Errorf("%s is not in the documentation", query)
		return "{}"
	}
	d.Fake = resttest.New(t, http.Header{"Authorization": {"Bearer " + token}}, resttest.Route{
		Method: "POST", Path: "/graphql", Docs: linearDocs, Body: []string{"query", "variables"}, Needs: []string{"query"},
		Answer: func(w http.ResponseWriter, r *http.Request) {
			var asked struct {
				Query     string
				Variables map[string]json.RawMessage
			}
			body, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(body, &asked); err != nil {
				t.Error(err)
			}
			resttest.JSON(200, `{"data":`+answer(asked.Query, asked.Variables)+`}`)(w, r)
		}})
	d.params = "{provider: linear, project: ENG, url: '" + d.URL + "'}"
	return d
}

func linearIssue(n int, kind, more string) string {
	return fmt.Sprintf(`{"id":"u%d","identifier":"ENG-%d","url":"https://linear.example/ENG-%d","title":"It is slow","createdAt":"%s","state":{"name":"Todo","type":"%s"},%s}`, n, n, n, created, kind, more)
}

func TestLinear(t *testing.T) {
	var filters, unused []string
	none := onLinear(t, &filters, "")
	two := onLinear(t, &unused, linearIssue(1, "started", `"assignee":{"displayName":"eve"},"cycle":{"name":"9"},"priority":1,"labels":{"nodes":[{"name":"bug"}]}`), linearIssue(2, "started", `"assignee":null`))
	checktest.Run(t, tracker.Issues, []checktest.Case{
		{Name: "none", Params: none.want(`query: '{"priority": {"eq": 1}}', since: run.started_at, max: 0`), Env: atNow, Want: "pass: 0 issues found", Check: func(t *testing.T, _ check.Outcome) {
			if want := `{"and":[{"team":{"key":{"eq":"ENG"}}},{"priority":{"eq":1}},{"createdAt":{"gte":"2026-03-01T14:00:00Z"}}]}`; filters[0] != want {
				t.Errorf("filter %s, want %s", filters[0], want)
			}
		}},
		{Name: "each", Params: two.want("query: '{}', min: 1, each: [assignee, due or milestone, priority, labels]"), Env: atNow, Want: "fail: 2 issues found: without assignee: ENG-2; without due or milestone: ENG-2; without priority: ENG-2; without labels: ENG-2"},
		{Name: "linked", Params: two.want("query: '{}', min: 1, linked_to: ENG-7"), Env: atNow, Want: "fail: 2 issues found: not linked to ENG-7: ENG-2"},
		{Name: "a team not seen", Params: strings.Replace(none.want("query: '{}', max: 0"), "ENG", "OPS", 1), Env: atNow, Want: "error: Linear shows this token no team OPS"},
		{Name: "nobody with that address", Params: none.want("do: create, title: x, body: y, assignee: mallory@example.com"), Env: atNow, Want: "fail: Linear has no user with the address mallory@example.com", Once: true},
	})
	faulty(t, none.Fake, none.want("query: '{}', max: 0"))
}

func TestLinearAnswersWithErrors(t *testing.T) {
	var unused []string
	d := onLinear(t, &unused, "")
	inst := instance(t, d.want("query: '{}', max: 0"))
	for answer, want := range map[string]string{
		`200 {"data":{"teams":{"nodes":[{"id":"1","key":"ENG"}]}},"errors":[{"message":"Entity not found"}]}`: "error: Linear answered: Entity not found",
		`400 {"errors":[{"message":"Rate limit exceeded","extensions":{"code":"RATELIMITED"}}]}`:              "error: Linear answered: Rate limit exceeded (try again in 1m0s)",
		`401 {"errors":[{"message":"Authentication required"}]}`:                                              "error: Linear answered: Authentication required",
		`200 {"data":null}`: "error: Linear answered without data",
	} {
		status := 0
		_, _ = fmt.Sscan(answer, &status)
		d.Fail(resttest.JSON(status, answer[4:]))
		o, err := inst.Runner.Run(t.Context(), environment(t))
		checktest.Match(t, want, said(o, err))
		if later, ok := errors.AsType[*check.RetryLater](err); ok && later.After != time.Minute {
			t.Error(later)
		}
	}
}

func TestLinearCreatesOnce(t *testing.T) {
	var unused []string
	d := onLinear(t, &unused, "")
	once(t, d, ", assignee: eve@example.com, labels: [rca]")
	var input struct {
		ID, TeamID, AssigneeID string
		LabelIDs               []string
	}
	if err := json.Unmarshal([]byte(d.body), &input); err != nil {
		t.Fatal(err)
	}
	if len(input.ID) != 36 || input.ID[14] != '4' || input.TeamID != "team-1" || input.AssigneeID != "user-1" || len(input.LabelIDs) != 1 {
		t.Errorf("%+v", input)
	}
}
