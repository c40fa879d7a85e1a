package dashboard_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/dashboard"
	"allclear.dev/allclear/internal/rest/resttest"
)

func atNow(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:GRAFANA_TOKEN": "glsa-token-1", "env:DD_API_KEY": "dd-api-key-1", "env:DD_APP_KEY": "dd-app-key-1"})
	e.Now = func() time.Time { return time.Date(2026, 3, 1, 14, 30, 0, 0, time.UTC) }
}

const grafanaDocs = "https://grafana.com/docs/grafana/latest/developers/http_api/"

const overview = `{"meta":{"url":"/d/api/api","updated":"2026-02-01T10:00:00Z"},"dashboard":{"title":"API","version":7,
 "templating":{"list":[{"name":"ds","current":{"value":"prom-1"}},{"name":"job","current":{"value":["api","worker"]}}]},
 "panels":[
  {"type":"text","title":"Read me"},
  {"type":"row","title":"Traffic","panels":[{"type":"timeseries","title":"Requests","datasource":{"type":"prometheus","uid":"${ds}"},"targets":[{"refId":"A","expr":"rate(requests{job=~\"$job\"}[1m])"}]}]},
  {"type":"timeseries","title":"Errors","datasource":{"type":"prometheus","uid":"prom-1"},"targets":[{"refId":"A","expr":"errors"},{"refId":"B","expr":"broken","hide":true}]},
  {"type":"stat","title":"Broken","datasource":{"type":"prometheus","uid":"prom-1"},"targets":[{"refId":"A","expr":"broken"}]},
  {"type":"stat","title":"Old","datasource":null,"targets":[{"refId":"A","expr":"old"}]}]}}`

func grafanaOf(t *testing.T, board, found string) *resttest.Fake {
	const frame = `{"results":{"A":{"status":200,"frames":[{"schema":{"fields":[{"name":"Time","type":"time"},{"name":"Value","type":"number"}]},"data":{"values":`
	return resttest.New(t, http.Header{"Authorization": {"Bearer glsa-token-1"}},
		resttest.Route{Method: "GET", Path: "/api/search", Docs: grafanaDocs + "folder_dashboard_search/", Query: []string{"query", "tag", "type", "limit", "page"}, Answer: resttest.JSON(200, found)},
		resttest.Route{Method: "GET", Path: "/api/dashboards/uid/{uid}", Docs: grafanaDocs + "dashboard/", Answer: func(w http.ResponseWriter, r *http.Request) {
			if r.PathValue("uid") != "api" {
				resttest.JSON(404, `{"message":"Dashboard not found"}`)(w, r)
				return
			}
			resttest.JSON(200, board)(w, r)
		}},
		resttest.Route{Method: "POST", Path: "/api/ds/query", Docs: grafanaDocs + "data_source/", Body: []string{"queries", "from", "to"}, Needs: []string{"queries", "from", "to"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch text := string(body); {
			case !strings.Contains(text, `"from":"1772374500000"`) || !strings.Contains(text, `"uid":"prom-1"`) || !strings.Contains(text, `"refId":"A"`):
				t.Errorf("asked %s", text)
			case strings.Contains(text, `rate(requests{job=~\"(api|worker)\"}[1m])`):
				resttest.JSON(200, frame+`[[1772374500000,1772374560000],[null,3.5]]}}]}}}`)(w, r)
			case strings.Contains(text, `"broken"`):
				resttest.JSON(400, `{"results":{"A":{"error":"parse error","status":400}}}`)(w, r)
			default:
				resttest.JSON(200, frame+`[[1772374500000],[null]]}}]}}}`)(w, r)
			}
		}})
}

func TestGrafana(t *testing.T) {
	whole := grafanaOf(t, overview, `[{"uid":"api","title":"API"},{"uid":"api2","title":"API 2"}]`)
	p := func(f *resttest.Fake, which, more string) string {
		return "{grafana: {url: '" + f.URL + "', " + which + "}" + more + "}"
	}
	const two, rest = `[{"uid":"a","title":"API"},{"uid":"b","title":"API"}]`, `{"meta":{"url":"/"},"dashboard":{"title":"API",`
	simple := strings.Replace(overview[:strings.Index(overview, `
  {"type":"stat","title":"Broken"`)-1], "\n", "", -1) + "]}}"
	quiet := grafanaOf(t, simple, two)
	checktest.Run(t, dashboard.Dashboard, []checktest.Case{
		{Name: "by uid", Params: p(whole, "uid: api", ""), Env: atNow, Want: "pass: 1 of 4 panels of API show data of the last 15m0s", Check: func(t *testing.T, o check.Outcome) {
			for name, want := range map[string]string{"version": "7", "with_data": "Requests", "without_data": "Errors", "not_asked": "Old", "url": whole.URL + "/d/api/api"} {
				if o.Facts[name] != want {
					t.Errorf("%s is %q", name, o.Facts[name])
				}
			}
		}},
		{Name: "by title", Params: p(whole, "title: API", ", panels: [Requests]"), Env: atNow, Want: "pass: 1 of 4 panels..."},
		{Name: "existence alone", Params: p(whole, "uid: api", ", panels_with_data: 0"), Env: atNow, Want: "pass: the dashboard API has 4 panels; their data was not asked for"},
		{Name: "not known to be too few", Params: p(whole, "uid: api", ", panels_with_data: 2"), Env: atNow, Want: "error: 1 panels of API show data, and of 2 it could not be found out: Broken: Grafana answered 400...; Old"},
		{Name: "too few", Params: p(quiet, "uid: api", ", panels_with_data: 2"), Env: atNow, Want: "fail: 1 of 2 panels of API show data of the last 15m0s, at least 2 wanted"},
		{Name: "a panel without data", Params: p(whole, "uid: api", ", panels: [Requests, Errors]"), Env: atNow, Want: "fail: panels of API without data in 15m0s: Errors"},
		{Name: "a panel that fails", Params: p(whole, "uid: api", ", panels: [Requests, Broken]"), Env: atNow, Want: "error: 1 panels of API show data, and of 1..."},
		{Name: "a panel that is not there", Params: p(whole, "uid: api", ", panels: [Latency]"), Env: atNow, Want: "fail: the dashboard API has no panel Latency"},
		{Name: "empty", Params: p(grafanaOf(t, rest+`"panels":[{"type":"text"}]}}`, `[]`), "uid: api", ""), Env: atNow, Want: "fail: the dashboard API has no panel that could show anything"},
		{Name: "no such uid", Params: p(whole, "uid: shop", ""), Env: atNow, Want: "fail: Grafana has no dashboard with the uid shop"},
		{Name: "no such title", Params: p(whole, "title: Shop", ""), Env: atNow, Want: "fail: Grafana shows this token no dashboard with the title Shop"},
		{Name: "two of the title", Params: p(quiet, "title: API", ""), Env: atNow, Want: "error: Grafana has 2 dashboards with the title API..."},
		{Name: "an answer without it", Params: p(grafanaOf(t, `{"meta":{}}`, `[]`), "uid: api", ""), Env: atNow, Want: "error: Grafana answered without the dashboard..."},
		{Name: "no token", Params: p(whole, "uid: api", ""), Want: "error: ...not set"},
		{Name: "no provider", Params: "{}", Want: "problem: ...name one provider..."},
		{Name: "uid and title", Params: p(whole, "uid: a, title: b", ""), Want: "problem: ...give uid or title..."},
		{Name: "no uid", Params: p(whole, "uid: ../x", ""), Want: "problem: ...is none..."},
	})
	faulty(t, whole, p(whole, "uid: api", ""))
	faulty(t, whole, p(whole, "title: API", ""))
}

func datadogOf(t *testing.T, series string) *resttest.Fake {
	return resttest.New(t, http.Header{"Dd-Api-Key": {"dd-api-key-1"}, "Dd-Application-Key": {"dd-app-key-1"}},
		resttest.Route{Method: "GET", Path: "/api/v1/dashboard/{id}", Docs: "https://docs.datadoghq.com/api/latest/dashboards/get-a-dashboard/", Answer: func(w http.ResponseWriter, r *http.Request) {
			switch r.PathValue("id") {
			case "abc-def-ghi":
				resttest.JSON(200, `{"id":"abc-def-ghi","title":"API","url":"/dashboard/abc-def-ghi","modified_at":"2026-02-01","template_variables":[{"name":"env","prefix":"env","defaults":["prod"]}],"widgets":[
					{"definition":{"type":"note","content":"x"}},
					{"definition":{"type":"group","widgets":[{"definition":{"type":"timeseries","title":"Requests","requests":[{"queries":[{"data_source":"metrics","name":"q","query":"sum:requests{$env}"}]}]}}]}}]}`)(w, r)
			case "nul-lnu-lln":
				resttest.JSON(200, `{"id":"nul-lnu-lln","title":"Empty","widgets":[]}`)(w, r)
			default:
				resttest.JSON(404, `{"errors":["not found"]}`)(w, r)
			}
		}},
		resttest.Route{Method: "GET", Path: "/api/v1/query", Docs: "https://docs.datadoghq.com/api/latest/metrics/query-timeseries-points/", Query: []string{"from", "to", "query"}, Needs: []string{"from", "to", "query"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Get("query") != "sum:requests{env:prod}" || q.Get("from") != "1772374500" {
				t.Errorf("asked %s", r.URL.RawQuery)
			}
			resttest.JSON(200, series)(w, r)
		}})
}

func TestDatadog(t *testing.T) {
	whole := datadogOf(t, `{"status":"ok","series":[{"pointlist":[[1772374500000,null],[1772374560000,3]]}]}`)
	p := func(f *resttest.Fake, id string) string { return "{datadog: {url: '" + f.URL + "', id: " + id + "}}" }
	checktest.Run(t, dashboard.Dashboard, []checktest.Case{
		{Name: "data", Params: p(whole, "abc-def-ghi"), Env: atNow, Want: "pass: 1 of 1 panels of API show data of the last 15m0s"},
		{Name: "no data", Params: p(datadogOf(t, `{"status":"ok","series":[]}`), "abc-def-ghi"), Env: atNow, Want: "fail: 0 of 1 panels of API show data..."},
		{Name: "an error", Params: p(datadogOf(t, `{"status":"error","error":"bad query"}`), "abc-def-ghi"), Env: atNow, Want: "error: 0 panels of API show data, and of 1 it could not be found out: Requests: Datadog answered with status \"error\": bad query"},
		{Name: "empty", Params: p(whole, "nul-lnu-lln"), Env: atNow, Want: "fail: the dashboard Empty has no panel..."},
		{Name: "not there", Params: p(whole, "xxx-xxx-xxx"), Env: atNow, Want: "fail: Datadog has no dashboard xxx-xxx-xxx"},
		{Name: "no id", Params: p(whole, "api"), Want: "problem: ...want one like abc-def-ghi..."},
	})
	faulty(t, whole, p(whole, "abc-def-ghi"))
}

// faulty holds that every answer that is none leads to an error.
func faulty(t *testing.T, f *resttest.Fake, params string) {
	t.Helper()
	inst, problems := checktest.Decode(dashboard.Dashboard, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	for _, fault := range resttest.Faults() {
		f.Fail(fault.Answer)
		env := checktest.NewEnv(t)
		atNow(env)
		ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if o, err := inst.Runner.Run(ctx, env); err == nil {
			t.Errorf("%s: got %s: %s, want an error", fault.Name, o.Verdict, o.Reason)
		}
		stop()
	}
	f.Fail(nil)
}

func TestPage(t *testing.T) { checktest.Page(t, dashboard.Dashboard) }
