package prometheus_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/prometheus"
	"allclear.dev/allclear/internal/rest/resttest"
)

const routesOf = `
global: {resolve_timeout: 5m}
route:
  receiver: "null"
  group_wait: 10ms
  routes:
    - {matchers: ['severity="page"'], receiver: oncall}
    - {match_re: {team: "back.*"}, receiver: backend}
receivers:
  - name: "null"
  - name: oncall
    webhook_configs: [{url: "http://127.0.0.1:9/"}]
  - name: backend
    webhook_configs: [{url: "http://127.0.0.1:9/"}]
`

const rulesOf = `
groups:
  - name: api
    interval: 200ms
    rules:
      - {alert: HighErrorRate, expr: "vector(0) > 1", for: 5m, labels: {severity: page}, annotations: {runbook_url: "https://docs.example.com/high-error-rate"}}
      - {alert: HighErrorRate, expr: "vector(0) > 2", labels: {severity: ticket}}
      - {alert: QueueStuck, expr: "vector(0) > 1", labels: {severity: ticket}}
      - {alert: Watchdog, expr: "vector(1)", labels: {severity: none}}
  - name: broken
    interval: 200ms
    rules:
      - {alert: TwoOfOne, expr: 'vector(1) or label_replace(vector(1), "a", "b", "", "")', labels: {severity: page, a: x}}
`

// monitoring starts a real Prometheus that scrapes itself and evaluates rules, and
// a real Alertmanager that it sends to.
func monitoring(t *testing.T) (prom, am string) {
	dir := t.TempDir()
	address := "127.0.0.1:" + port(t)
	am = start(t, address, "prometheus-alertmanager", "--config.file="+write(t, dir, "alertmanager.yml", routesOf),
		"--storage.path="+dir+"/am", "--web.listen-address="+address, "--cluster.listen-address=")
	write(t, dir, "rules.yml", rulesOf)
	own := "127.0.0.1:" + port(t)
	config := `
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["` + address + `"]}]}]}
scrape_configs: [{job_name: prometheus, static_configs: [{targets: ["` + own + `"]}]}]
`
	prom = start(t, own, "prometheus", "--config.file="+write(t, dir, "prometheus.yml", config), "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+own)
	// Until the rules have been evaluated, with series, and the Alertmanager is known.
	inst := instance(t, prometheus.Rules, "{url: '"+prom+"'}")
	eventually(t, "the rules are evaluated", func() bool {
		o, err := inst.Runner.Run(t.Context(), checktest.NewEnv(t))
		return err == nil && o.Verdict == check.Fail && strings.HasPrefix(o.Reason, "TwoOfOne cannot be evaluated: ") && !strings.Contains(o.Reason, ";")
	})
	eventually(t, "the watchdog fires", func() bool {
		o, err := instance(t, prometheus.Rules, "{url: '"+prom+"', require: [Watchdog], firing: none}").Runner.Run(t.Context(), checktest.NewEnv(t))
		return err == nil && o.Verdict == check.Fail
	})
	return prom, am
}

func TestRules(t *testing.T) {
	t.Parallel()
	prom, am := monitoring(t)
	p := func(more string) string { return "{url: '" + prom + "', " + more + "}" }
	routed := ", alertmanager: '" + am + "'"
	checktest.Run(t, prometheus.Rules, []checktest.Case{
		{Name: "as required", Params: p("require: [{name: HighErrorRate, for: 5m, severity: page}, Watchdog]"), Want: "pass: 5 alerting rules are loaded, 2 looked at", Check: facts("runbook.HighErrorRate", "https://docs.example.com/high-error-rate", "without_runbook", "1", "rule.01", "HighErrorRate (api) for 5m0s severity page: inactive")},
		{Name: "the rule of a name that fits", Params: p("require: [{name: HighErrorRate, severity: ticket, for: 0s}]"), Want: "pass: 5 alerting rules are loaded, 1 looked at"},
		{Name: "not loaded", Params: p("require: [DiskFull, HighErrorRate]"), Want: "fail: the rule DiskFull is not loaded"},
		{Name: "it waits longer", Params: p("require: [{name: HighErrorRate, for: 1m, severity: page}]"), Want: "fail: HighErrorRate waits for 5m0s, want 1m0s"},
		{Name: "another severity", Params: p("require: [{name: QueueStuck, severity: page, labels: {team: backend}}]"), Want: "fail: QueueStuck has the label severity=\"ticket\", want \"page\"; QueueStuck has the label team=\"\", want \"backend\""},
		{Name: "a rule that fails", Params: p("require: [TwoOfOne]"), Want: "fail: TwoOfOne cannot be evaluated: vector contains metrics with the same labelset..."},
		{Name: "every rule", Params: p("runbook: true"), Want: "fail: HighErrorRate has no runbook_url; QueueStuck has no runbook_url; Watchdog has no runbook_url; TwoOfOne cannot be evaluated..."},
		{Name: "more Alertmanagers", Params: p("require: [Watchdog], alertmanagers: 2"), Want: "fail: Prometheus knows 1 Alertmanagers, at least 2 wanted"},
		{Name: "to somebody", Params: p("require: [{name: HighErrorRate, severity: page}]" + routed), Want: "pass: 5 alerting rules are loaded, 1 looked at, each reaches a receiver", Check: facts("receivers.HighErrorRate", "oncall")},
		{Name: "to nobody", Params: p("require: [{name: HighErrorRate, severity: page}, QueueStuck]" + routed), Want: "fail: alerts of QueueStuck go to the receiver null, which notifies nobody"},
		{Name: "with what its series bring", Params: p("require: [{name: QueueStuck, with: {team: backend}}]" + routed), Want: "pass: ...", Check: facts("receivers.QueueStuck", "backend")},
		{Name: "firing", Params: p("require: [HighErrorRate], firing: none"), Want: "fail: firing: Watchdog"},
		{Name: "firing as it should", Params: p("require: [HighErrorRate], firing: none, ignore: [Watchdog]"), Want: "pass: ..."},
		{Name: "a test that arrives", Params: p("require: [{name: HighErrorRate, severity: page}], test: true" + routed), Want: "pass: ...; the test alert is on its way to oncall", Check: facts("test.receivers", "oncall", "test.state", "active")},
		{Name: "no test while something is wrong", Params: p("require: [QueueStuck], test: true" + routed), Want: "fail: alerts of QueueStuck go to the receiver null..."},
		{Name: "no Alertmanager there", Params: p("require: [Watchdog], alertmanager: 'http://127.0.0.1:1'"), Want: "error: ask Alertmanager: ..."},
		{Name: "test without a rule", Params: p("test: true" + routed), Want: "problem: ...test goes with alertmanager and require..."},
		{Name: "ignore alone", Params: p("ignore: [a]"), Want: "problem: ...ignore goes with firing: none..."},
	})
	testOnce(t, p("require: [{name: HighErrorRate, severity: page}], test: true"+routed))
}

// testOnce holds that an attempt's alert is seen as done, and sending it again
// makes no second one.
func testOnce(t *testing.T, params string) {
	inst, env := instance(t, prometheus.Rules, params), checktest.NewEnv(t)
	env.Key = "allclear/r-2/once/1"
	if tr := inst.Traits; tr.Kind != check.Action || tr.Class != check.Keyed || tr.Effect != check.Message {
		t.Errorf("%+v", tr)
	}
	probe := func(want check.Progress) {
		t.Helper()
		if got, _, err := inst.Prober().Probe(t.Context(), env); got != want || err != nil {
			t.Errorf("probe gives %s %v, want %s", got, err, want)
		}
	}
	if said, err := inst.Runner.(check.Examiner).Examine(t.Context(), env); err != nil || !strings.Contains(said, "each reaches a receiver") {
		t.Errorf("%s %v", said, err)
	}
	probe(check.NotDone)
	for range 2 {
		if o, err := inst.Runner.Run(t.Context(), env); err != nil || o.Verdict != check.Pass {
			t.Errorf("%v %v", o, err)
		}
	}
	probe(check.Done)
}

const amDocs = "https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml"

// ruler is a stand-in with one group and one Alertmanager, and a state of the test
// alert.
func ruler(t *testing.T, groups, active, config, alerts string) *resttest.Fake {
	return resttest.New(t, nil,
		resttest.Route{Method: "GET", Path: "/api/v1/rules", Docs: queryDocs + "#rules", Query: []string{"type", "rule_name[]", "rule_group[]", "file[]", "exclude_alerts", "match[]", "group_limit", "group_next_token"}, Answer: resttest.JSON(200, `{"status":"success","data":`+groups+`}`)},
		resttest.Route{Method: "GET", Path: "/api/v1/alertmanagers", Docs: queryDocs + "#alertmanagers", Answer: resttest.JSON(200, `{"status":"success","data":`+active+`}`)},
		resttest.Route{Method: "GET", Path: "/api/v2/status", Docs: amDocs, Answer: resttest.JSON(200, config)},
		resttest.Route{Method: "POST", Path: "/api/v2/alerts", Docs: amDocs, Lines: true, Answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }},
		resttest.Route{Method: "GET", Path: "/api/v2/alerts", Docs: amDocs, Query: []string{"active", "silenced", "inhibited", "unprocessed", "filter", "receiver"}, Answer: resttest.JSON(200, alerts)})
}

func TestRulesAnswers(t *testing.T) {
	t.Parallel()
	one := func(health, evaluated, state string) string {
		return `{"groups":[{"name":"g","file":"f","interval":60,"rules":[{"type":"alerting","name":"A","state":"` + state + `","health":"` + health + `","duration":0,"labels":{"severity":"page","team":"{{ $labels.team }}"},"annotations":{},"lastEvaluation":"` + evaluated + `"}]}]}`
	}
	const known, config = `{"activeAlertmanagers":[{"url":"http://am"}],"droppedAlertmanagers":[]}`, `{"config":{"original":"route:\n  receiver: ops\nreceivers:\n- name: ops\n  webhook_configs:\n  - url: x\n"}}`
	good := one("ok", "2026-03-01T14:29:30Z", "inactive")
	suppressed := `[{"labels":{"allclear_test":"%s"},"receivers":[{"name":"ops"}],"status":{"state":"suppressed"}}]`
	var cases []checktest.Case
	for name, c := range map[string][5]string{
		"good":                    {good, known, config, `[]`, "pass: 1 alerting rules are loaded, 1 looked at, each reaches a receiver"},
		"never evaluated":         {one("unknown", "0001-01-01T00:00:00Z", "inactive"), known, config, `[]`, "error: the rule A was not evaluated yet (health \"unknown\")"},
		"no longer evaluated":     {one("ok", "2026-03-01T14:00:00Z", "inactive"), known, config, `[]`, "fail: A was last evaluated 30m0s ago, although its group g is every 1m0s"},
		"no rule":                 {`{"groups":[]}`, known, config, `[]`, "fail: no alerting rule is loaded"},
		"no groups":               {`{}`, known, config, `[]`, "error: Prometheus answered without the groups of rules"},
		"no health":               {one("", "2026-03-01T14:29:30Z", "inactive"), known, config, `[]`, "error: Prometheus answered with a rule of the group \"g\" without..."},
		"no Alertmanager":         {good, `{"activeAlertmanagers":[]}`, config, `[]`, "fail: Prometheus knows 0 Alertmanagers, at least 1 wanted"},
		"no list of them":         {good, `{}`, config, `[]`, "error: Prometheus answered without its Alertmanagers"},
		"no configuration":        {good, known, `{"config":{}}`, `[]`, "error: Alertmanager answered without its configuration"},
		"a broken configuration":  {good, known, `{"config":{"original":"route: ["}}`, `[]`, "error: read Alertmanager's configuration: ..."},
		"configuration of nobody": {good, known, `{"config":{"original":"route: {receiver: a}"}}`, `[]`, "error: Alertmanager's configuration has no route or no receivers"},
		"a matcher nobody knows":  {good, known, `{"config":{"original":"route: {receiver: a, routes: [{receiver: a, matchers: [what]}]}\nreceivers: [{name: a}]"}}`, `[]`, "error: Alertmanager's configuration: the matcher \"what\" cannot be read"},
	} {
		f := ruler(t, c[0], c[1], c[2], c[3])
		cases = append(cases, checktest.Case{Name: name, Params: "{url: '" + f.URL + "', alertmanager: '" + f.URL + "'}", Env: atNow, Want: c[4]})
	}
	params := func(f *resttest.Fake) string {
		return "{url: '" + f.URL + "', alertmanager: '" + f.URL + "', require: [A], test: true}"
	}
	const mark = "1a0d60f96a4ceebb" // of the key of checktest.NewEnv
	silenced, another := ruler(t, good, known, config, fmt.Sprintf(suppressed, mark)), ruler(t, good, known, config, fmt.Sprintf(suppressed, "other"))
	never := ruler(t, good, known, config, `[]`)
	cases = append(cases,
		checktest.Case{Name: "a test that is silenced", Params: params(silenced), Env: atNow, Want: "fail: the test alert is at Alertmanager, but suppressed: is there a silence or an inhibition?"},
		checktest.Case{Name: "another alert", Params: params(another), Env: atNow, Want: "error: Alertmanager answered with another alert..."},
		checktest.Case{Name: "a test that never appears", Params: params(never), Env: atNow, Timeout: 300 * time.Millisecond, Want: "error: wait for the test alert to appear at Alertmanager: ..."})
	checktest.Run(t, prometheus.Rules, cases)
	whole := ruler(t, good, known, config, `[]`)
	faulty(t, whole, prometheus.Rules, "{url: '"+whole.URL+"'}", atNow)
	faulty(t, whole, prometheus.Rules, "{url: '"+whole.URL+"', alertmanagers: 0, alertmanager: '"+whole.URL+"'}", atNow)
}

func TestRulesPage(t *testing.T) { checktest.Page(t, prometheus.Rules) }
