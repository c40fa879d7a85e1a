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

const zendeskDocs = "https://developer.zendesk.com/api-reference/ticketing/"

// onZendesk is a help desk whose searches give these pages of count tickets.
func onZendesk(t *testing.T, count int, pages ...string) *desk {
	d := &desk{}
	own := func() string {
		status := "open"
		if d.closed {
			status = "solved"
		}
		return zendeskTicket(12, status, `"assignee_id":3`)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("me@example.com/token:"+token))
	d.Fake = resttest.New(t, http.Header{"Authorization": {basic}},
		resttest.Route{Method: "GET", Path: "/api/v2/search.json", Docs: zendeskDocs + "ticket-management/search/#list-search-results",
			Query: []string{"query", "sort_by", "sort_order", "per_page", "page"}, Needs: []string{"query"}, Answer: func(w http.ResponseWriter, r *http.Request) {
				n, next := 1, "null"
				_, _ = fmt.Sscan(r.URL.Query().Get("page"), &n)
				if n < len(pages) {
					next = `"https://example.zendesk.com/api/v2/search.json?page=2"`
				}
				resttest.JSON(200, fmt.Sprintf(`{"results":[%s],"count":%d,"next_page":%s}`, pages[n-1], count, next))(w, r)
			}},
		resttest.Route{Method: "GET", Path: "/api/v2/tickets/7/incidents.json", Docs: zendeskDocs + "tickets/tickets/#list-ticket-incidents",
			Answer: resttest.JSON(200, `{"tickets":[`+zendeskTicket(1, "open", `"assignee_id":3`)+`],"next_page":null}`)},
		resttest.Route{Method: "GET", Path: "/api/v2/tickets.json", Docs: zendeskDocs + "tickets/tickets/#list-tickets-by-external-id", Query: []string{"external_id"}, Needs: []string{"external_id"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				list := ""
				if d.made > 0 && strings.Contains(d.body, `"external_id":"`+r.URL.Query().Get("external_id")+`"`) {
					list = own()
				}
				resttest.JSON(200, `{"tickets":[`+list+`],"next_page":null}`)(w, r)
			}},
		resttest.Route{Method: "POST", Path: "/api/v2/tickets.json", Docs: zendeskDocs + "tickets/tickets/#create-ticket", Headers: []string{"Idempotency-Key"}, Body: []string{"ticket"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				d.body = string(body)
				if !strings.Contains(d.body, r.Header.Get("Idempotency-Key")) || r.Header.Get("Idempotency-Key") == "" {
					t.Errorf("the key is %q", r.Header.Get("Idempotency-Key"))
				}
				d.made++
				resttest.JSON(201, `{"ticket":`+own()+`}`)(w, r)
			}},
		resttest.Route{Method: "PUT", Path: "/api/v2/tickets/12.json", Docs: zendeskDocs + "tickets/tickets/#update-ticket", Body: []string{"ticket"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				d.closed = true
				resttest.JSON(200, `{"ticket":`+own()+`}`)(w, r)
			}},
		resttest.Route{Method: "GET", Path: "/api/v2/users/me.json", Docs: zendeskDocs + "users/users/#show-self", Answer: resttest.JSON(200, `{"user":{"id":3,"role":"agent"}}`)})
	d.params = "{provider: zendesk, user: me@example.com, url: '" + d.URL + "'}"
	return d
}

func zendeskTicket(n int, status, more string) string {
	return fmt.Sprintf(`{"id":%d,"url":"https://example.zendesk.com/api/v2/tickets/%d.json","subject":"It is slow","status":"%s","created_at":"%s",%s}`, n, n, status, created, more)
}

func TestZendesk(t *testing.T) {
	none := onZendesk(t, 0, "")
	first := strings.TrimSuffix(strings.Repeat(zendeskTicket(1, "open", `"assignee_id":3`)+",", 100), ",")
	two := onZendesk(t, 102, first, zendeskTicket(2, "new", `"assignee_id":3`)+","+zendeskTicket(3, "open", `"assignee_id":null`))
	checktest.Run(t, tracker.Issues, []checktest.Case{
		{Name: "none", Params: none.want("query: 'tags:support', since: run.started_at, max: 0"), Env: atNow, Want: "pass: 0 issues found", Check: func(t *testing.T, _ check.Outcome) {
			asked(t, none.Fake, "/search.json", url.Values{"query": {"type:ticket tags:support created>=2026-03-01T14:00:00Z"}, "per_page": {"100"}}.Encode())
		}},
		{Name: "nobody takes care", Params: two.want("query: 'tags:support', untriaged: 0"), Env: atNow, Want: "fail: 102 issues found: nobody takes care of #2, #3 (at most 0 accepted)", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["issue.01"] != "#1 It is slow (open, 3) https://example.zendesk.com/agent/tickets/1" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "incidents of a problem", Params: two.want("query: 'tags:support', min: 1, linked_to: 7"), Env: atNow, Want: "fail: 102 issues found: not linked to 7: #2, #3"},
		{Name: "more than can be read", Params: onZendesk(t, 5000, zendeskTicket(1, "open", `"assignee_id":3`)).want("query: x, untriaged: 0"), Env: atNow, Want: "error: only 1 of 5000 issues can be read: narrow the query"},
		{Name: "a project", Params: none.want("query: x, max: 0, project: OPS"), Want: "problem: ...project: Zendesk has none..."},
	})
	for text, want := range map[string]string{`{"results":[]}`: "error: Zendesk answered the search without results or a count", `{"count":0}`: "error: Zendesk answered the search without results or a count"} {
		f := resttest.New(t, nil, resttest.Route{Method: "GET", Path: "/api/v2/search.json", Docs: zendeskDocs, Headers: []string{"Authorization"}, Query: []string{"query", "per_page"}, Answer: cut(text)})
		o, err := instance(t, "{provider: zendesk, query: x, max: 0, url: '"+f.URL+"'}").Runner.Run(t.Context(), environment(t))
		checktest.Match(t, want, said(o, err))
	}
	faulty(t, none.Fake, none.want("query: x, max: 0"))
	faulty(t, two.Fake, two.want("query: x, min: 1, linked_to: 7"))
}

func TestZendeskCreatesOnce(t *testing.T) {
	d := onZendesk(t, 0, "")
	once(t, d, ", assignee: eve@example.com, labels: [rca]")
	if !strings.Contains(d.body, `"public":false`) || !strings.Contains(d.body, `"assignee_email":"eve@example.com"`) {
		t.Error(d.body)
	}
}
