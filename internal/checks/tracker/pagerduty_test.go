package tracker_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/tracker"
	"allclear.dev/allclear/internal/rest/resttest"
)

// onPagerDuty gives these pages of incidents.
func onPagerDuty(t *testing.T, pages ...string) *resttest.Fake {
	return resttest.New(t, http.Header{"Authorization": {"Token token=" + token}, "Accept": {"application/vnd.pagerduty+json;version=2"}}, resttest.Route{
		Method: "GET", Path: "/incidents", Docs: "https://developer.pagerduty.com/api-reference/9d0b4b12e36f9-list-incidents",
		Query: []string{"since", "until", "statuses[]", "limit", "offset", "time_zone"}, Needs: []string{"since", "until"},
		Answer: func(w http.ResponseWriter, r *http.Request) {
			n := 0
			_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &n)
			resttest.JSON(200, fmt.Sprintf(`{"incidents":[%s],"more":%t}`, pages[n], n+1 < len(pages)))(w, r)
		}})
}

func TestAlsoIncidents(t *testing.T) {
	const one = `{"id":"P1","title":"Queue is full","status":"resolved","urgency":"high","html_url":"https://pd.example/P1","created_at":"2026-03-01T14:20:00Z"}`
	none := onGitHub(t, 0, "")
	params := func(f *resttest.Fake, most int) string {
		return none.want(fmt.Sprintf("query: 'label:critical', since: run.started_at, max: %d, also: pagerduty, also_url: '%s'", most, f.URL))
	}
	quiet, loud := onPagerDuty(t, ""), onPagerDuty(t, one, one)
	checktest.Run(t, tracker.Issues, []checktest.Case{
		{Name: "none", Params: params(quiet, 0), Env: atNow, Want: "pass: 0 issues and 0 incidents found", Check: func(t *testing.T, _ check.Outcome) {
			asked(t, quiet, "/incidents", url.Values{"since": {"2026-03-01T14:00:00Z"}, "until": {"2026-03-01T14:30:01Z"}, "statuses[]": {"triggered", "acknowledged", "resolved"}, "limit": {"100"}, "time_zone": {"UTC"}}.Encode())
		}},
		{Name: "all pages count", Params: params(loud, 1), Env: atNow, Want: "fail: 0 issues and 2 incidents found: at most 1 accepted (P1 Queue is full)", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["incidents"] != "2" || o.Facts["incident.01"] != "P1 Queue is full (resolved) https://pd.example/P1" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "as many as accepted", Params: params(loud, 2), Env: atNow, Want: "pass: 0 issues and 2 incidents found"},
		{Name: "no token", Params: params(quiet, 0), Env: func(e *check.Env) {
			atNow(e)
			checktest.SetSecrets(e, checktest.Secrets{"env:GITHUB_TOKEN": token})
		}, Want: "error: secret env:PAGERDUTY_TOKEN: not set"},
		{Name: "a token for nothing", Params: none.want("query: x, max: 0, also_token: env:X"), Want: "problem: ...also_token goes with also..."},
		{Name: "an incident that is none", Params: params(onPagerDuty(t, "{}"), 9), Env: atNow, Want: "error: PagerDuty lists an issue without an id..."},
	})
	faulty(t, quiet, params(quiet, 0))
}
