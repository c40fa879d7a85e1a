package prometheus_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/prometheus"
	"allclear.dev/allclear/internal/rest/resttest"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	url := history(t)
	p := func(text string) string { return "{url: '" + url + "', " + text + "}" }
	const ratio = `expr: 'sum(rate(http_requests_total{status="500"}[5m])) / sum(rate(http_requests_total[5m]))'`
	checktest.Run(t, prometheus.Query, []checktest.Case{
		{Name: "one value", Params: p(ratio + ", max: 0.01"), Env: atNow, Want: "pass: 0.00199601 in 1 series, accepted is at most 0.01", Check: facts("series", "1", "highest", "0.00199601", "series.01", "{} 0.00199601 (0.00199601 to 0.00199601, 1 samples)")},
		{Name: "too much", Params: p(ratio + ", max: 0.001"), Env: atNow, Want: "fail: 0.00199601 in {}, accepted is at most 0.001; 1 of 1 values in 1 of 1 series are beyond"},
		{Name: "the window of a deployment", Params: p("expr: latency_seconds, since: deploy.started_at, max: 2, min: 0.1"), Env: atNow, Want: "pass: 0.9... in 1 series (31 samples), accepted is at most 2 and at least 0.1", Check: facts("since", "2026-03-01T14:15:00Z", "until", "2026-03-01T14:30:00Z", "samples", "31")},
		{Name: "once beyond in a window", Params: p("expr: slower_seconds, since: 90m, max: 1.2"), Env: atNow, Want: "fail: 1.4... in slower_seconds{job=\"api\"}, accepted is at most 1.2; 1... of 181 values in 1 of 1 series are beyond"},
		{Name: "just deployed", Params: p("expr: latency_seconds, since: deploy.ended_at, max: 2, step: 60s"), Env: func(e *check.Env) { atNow(e); e.Now = func() time.Time { return now().Add(-time.Second) } }, Want: "pass: ...in 1 series, accepted is at most 2"},
		{Name: "each series counts", Params: p("expr: replica_up, min: 1"), Env: atNow, Want: "fail: 0 in replica_up{instance=\"web-2\"}, accepted is at least 1; 1 of 2 values in 1 of 2 series are beyond"},
		{Name: "an expression over labels", Params: p(`expr: replica_up, expect: 'value == 1 || labels.instance == "web-2"'`), Env: atNow, Want: "pass: 0 to 1 in 2 series, accepted is value == 1 || ..."},
		{Name: "an expression over a label that is not there", Params: p(`expr: replica_up, expect: 'labels.pod == "web-2"'`), Env: atNow, Want: "error: ...there is no field \"pod\"..."},
		{Name: "each host", Params: p("expr: replica_up, each: {of: [web-1, web-2]}"), Env: atNow, Want: "pass: 0 to 1 in 2 series"},
		{Name: "a host that is not watched", Params: p("expr: replica_up, max: 1, each: {label: instance, of: [web-1, web-2, web-3]}"), Env: atNow, Want: "fail: no series with instance web-3 (2 of 3 have one)", Check: facts("missing", "web-3")},
		{Name: "a label that is not theirs", Params: p("expr: replica_up, each: {label: pod, of: [web-1]}"), Env: atNow, Want: "error: no series with pod web-1 (0 of 1 have one), although 2 series were found..."},
		{Name: "enough traffic", Params: p(ratio + ", max: 0.01, volume: 'sum(increase(http_requests_total[15m]))', min_requests: 200"), Env: atNow, Want: "pass: ...; volume 9018, at least 200 wanted"},
		{Name: "too little traffic", Params: p(ratio + ", max: 0.01, volume: 'sum(increase(http_requests_total[15m]))', min_requests: 20000"), Env: atNow, Want: "error: volume is 9018 at 2026-03-01T14:30:00Z, at least 20000 wanted: too little traffic to judge"},
		{Name: "traffic that is not there", Params: p(ratio + ", max: 0.01, volume: 'sum(increase(requests_total[15m]))', min_requests: 1"), Env: atNow, Want: "error: volume: sum(increase(requests_total[15m])) gives 0 series, want one..."},
		{Name: "traffic of many", Params: p(ratio + ", max: 0.01, volume: http_requests_total, min_requests: 1"), Env: atNow, Want: "error: volume: http_requests_total gives 2 series, want one..."},
		{Name: "no data", Params: p("expr: no_such_metric, max: 1"), Env: atNow, Want: "error: no_such_metric gives no series: nothing was measured"},
		{Name: "no data in a window", Params: p("expr: no_such_metric, max: 1, since: 15m"), Env: atNow, Want: "error: no_such_metric gives no series..."},
		{Name: "NaN", Params: p("expr: idle_ratio, max: 1"), Env: atNow, Want: "error: 1 of 1 samples of idle_ratio are no number..."},
		{Name: "a division by zero", Params: p("expr: 'latency_seconds / errors_per_second', max: 1, since: 90m"), Env: atNow, Want: "error: 6... of 181 samples of {job=\"api\"} are no number..."},
		{Name: "NaN now and then", Params: p("expr: rare_ratio, max: 1, since: 30m"), Env: atNow, Want: "pass: 0.1 in 1 series (58 samples)..."},
		{Name: "scalar", Params: p("expr: scalar(latency_seconds), max: 2"), Env: atNow, Want: "pass: ... in 1 series, accepted..."},
		{Name: "scalar of nothing", Params: p("expr: scalar(no_such_metric), max: 2"), Env: atNow, Want: "error: 1 of 1 samples of {} are no number..."},
		{Name: "a range", Params: p("expr: 'latency_seconds[5m]', max: 2"), Env: atNow, Want: "error: latency_seconds[5m] gives a range of samples..."},
		{Name: "a string", Params: p("expr: '\"a\"', max: 2"), Env: atNow, Want: "error: Prometheus answered \"a\" with a result of the type \"string\"..."},
		{Name: "no PromQL", Params: p("expr: 'sum(', max: 2"), Env: atNow, Want: "error: Prometheus answered 400 to GET /api/v1/query: ...parse error..."},
		{Name: "ended before the window did", Params: p("expr: gone_seconds, max: 2, since: 30m, at_least: {samples: 3}"), Env: atNow, Want: "error: the newest value in gone_seconds is 15m0s old..."},
		{Name: "a part of the window", Params: p("expr: gone_seconds, max: 2, since: 60m"), Env: func(e *check.Env) { atNow(e); e.Now = func() time.Time { return now().Add(20 * time.Minute) } }, Want: "error: 5... of 121 steps have a value in gone_seconds, at least 97 wanted"},
		{Name: "fewer series than wanted", Params: p("expr: replica_up, max: 1, at_least: {series: 3}"), Env: atNow, Want: "error: replica_up gives 2 series, at least 3 wanted"},
		{Name: "absent is zero", Params: p(`expr: 'sum(rate(http_requests_total{status="503"}[5m]))', max: 0, since: 15m, absent: zero, exists: 'sum(rate(http_requests_total[5m]))'`), Env: atNow, Want: "pass: 0 in 1 series (31 samples), accepted is at most 0"},
		{Name: "absent is zero only where it is proven", Params: p(`expr: 'sum(rate(http_requests_total{status="503"}[5m]))', max: 0, absent: zero, exists: 'sum(rate(requests_total[5m]))'`), Env: atNow, Want: "error: exists: sum(rate(requests_total[5m])) is nowhere greater than 0..."},
		{Name: "absent is zero now", Params: p(`expr: 'sum(rate(http_requests_total{status="503"}[5m]))', max: 0, absent: zero, exists: 'sum(rate(http_requests_total[5m]))'`), Env: atNow, Want: "pass: 0 in 1 series, accepted is at most 0"},
		{Name: "a zero is no proof", Params: p(`expr: 'no_such_metric', max: 0, absent: zero, exists: 'replica_up{instance="web-2"}'`), Env: atNow, Want: "error: exists: ...is nowhere greater than 0..."},
		{Name: "what is there counts beside zero", Params: p(`expr: 'errors_per_second', max: 0.1, since: 15m, absent: zero, exists: latency_seconds`), Env: atNow, Want: "fail: 0.5 in errors_per_second{job=\"api\"}..."},
		{Name: "a fact nobody supplied", Params: p("expr: latency_seconds, max: 2, since: rollback.started_at"), Env: atNow, Want: "error: rollback.started_at was not supplied"},
		{Name: "no limit", Params: p("expr: latency_seconds"), Want: "problem: ...say what is accepted: max, min, expect, each or compare..."},
		{Name: "a filter", Params: p("expr: 'replica_up == 1', min: 1"), Want: "problem: ...a comparison leaves out every series that does not fulfil it..."},
		{Name: "made up", Params: p("expr: 'sum(no_such_metric) or vector(0)', max: 0"), Want: "problem: ...or vector(…) makes a number out of nothing..."},
		{Name: "zero without proof", Params: p("expr: a, max: 0, absent: zero"), Want: "problem: ...absent: zero goes with exists..."},
		{Name: "volume alone", Params: p("expr: a, max: 0, volume: b"), Want: "problem: ...volume goes with min_requests..."},
		{Name: "a window shorter than a step", Params: p("expr: a, max: 0, since: 10s"), Want: "problem: ...since is shorter than step..."},
		{Name: "too many steps", Params: p("expr: a, max: 0, since: 2000h"), Want: "problem: ...more than 11000 steps..."},
		{Name: "a password in the address", Params: "{url: 'http://a:b@example.com', expr: a, max: 0}", Want: "problem: ...a password belongs..."},
		{Name: "a user without password", Params: p("expr: a, max: 0, user: eve"), Want: "problem: ...user goes with password..."},
		{Name: "an unknown variable", Params: p("expr: a, expect: 'rate < 1'"), Want: "problem: ...known here; known are value, labels..."},
	})
}

func TestCompare(t *testing.T) {
	t.Parallel()
	url := history(t)
	p := func(expr, compare string) string {
		return "{url: '" + url + "', expr: '" + expr + "', since: 1h, compare: {" + compare + "}}"
	}
	const before, lastWeek = "before: run.started_at, ", "offset: 168h, "
	checktest.Run(t, prometheus.Query, []checktest.Case{
		{Name: "as before", Params: p("latency_seconds", before+"min_effect: 10%, alpha: 0.01"), Env: atNow, Want: "pass: 1... on average, 1... before (-... %), p = ..., alpha 0.01; 0.8...", Check: facts("before.since", "2026-03-01T12:30:00Z", "before.until", "2026-03-01T13:30:00Z")},
		{Name: "as last week", Params: p("latency_seconds", lastWeek+"min_effect: 10%, worse: both, alpha: 0.01"), Env: atNow, Want: "pass: ...", Check: facts("before.since", "2026-02-22T13:30:00Z", "before.until", "2026-02-22T14:30:00Z")},
		{Name: "slower", Params: p("slower_seconds", before+"min_effect: 10%, alpha: 0.01"), Env: atNow, Want: "fail: 1.3... on average, 1.0... before (+2... %), p = ..., alpha 0.01"},
		{Name: "slower than last week", Params: p("slower_seconds", lastWeek+"ratio: 1.2"), Env: atNow, Want: "fail: 1.3... on average, ...(+...%)"},
		{Name: "not so much slower", Params: p("slower_seconds", before+"ratio: 2, alpha: 0.01"), Env: atNow, Want: "pass: ..."},
		{Name: "higher is not worse", Params: p("slower_seconds", before+"min_effect: 10%, alpha: 0.01, worse: lower"), Env: atNow, Want: "pass: ..."},
		{Name: "less", Params: p("less_per_second", lastWeek+"min_effect: 10%, alpha: 0.01, worse: lower"), Env: atNow, Want: "fail: 70... on average, 100... before (-...%)..."},
		{Name: "less is not worse", Params: p("less_per_second", lastWeek+"min_effect: 10%, alpha: 0.01"), Env: atNow, Want: "pass: ..."},
		{Name: "less or more", Params: p("less_per_second", lastWeek+"min_effect: 10%, alpha: 0.01, worse: both"), Env: atNow, Want: "fail: ..."},
		{Name: "from nothing to something", Params: p("errors_per_second", before+"ratio: 2, abs_floor: 0.01"), Env: atNow, Want: "fail: 0.49... on average, 0 before"},
		{Name: "from nothing to almost nothing", Params: p("small_per_second", before+"ratio: 2, abs_floor: 0.01"), Env: atNow, Want: "pass: 0.0009... on average, 0 before..."},
		{Name: "no ratio to nothing", Params: p("errors_per_second", before+"ratio: 2"), Env: atNow, Want: "error: ...no ratio to nothing can be told; write with abs_floor..."},
		{Name: "too little in it", Params: p("smooth_seconds", before+"ratio: 2, alpha: 0.01"), Env: atNow, Want: "error: smooth_seconds{job=\"api\"}: 121 and 121 samples are worth ... independent ones, at least 30 wanted..."},
		{Name: "another pod", Params: p("pod_seconds{pod=\"new\"}", before+"ratio: 2"), Env: atNow, Want: "error: before, until 2026-03-01T13:30:00Z: pod_seconds{pod=\"new\"} gives no series..."},
		{Name: "before there was data", Params: p("latency_seconds", "offset: 24h, ratio: 2"), Env: atNow, Want: "error: before, until 2026-02-28T14:30:00Z: latency_seconds gives no series: nothing was measured"},
		{Name: "the limit counts too", Params: "{url: '" + url + "', expr: latency_seconds, since: 1h, max: 1, compare: {offset: 168h, ratio: 2}}", Env: atNow, Want: "fail: 1.1... in latency_seconds{job=\"api\"}, accepted is at most 1; ...on average..."},
		{Name: "just deployed", Params: "{url: '" + url + "', expr: latency_seconds, since: deploy.ended_at, step: 1m, compare: {before: run.started_at, ratio: 2}}", Env: func(e *check.Env) { atNow(e); e.Now = func() time.Time { return now().Add(-time.Second) } }, Want: "pass: ..."},
		{Name: "both times in one", Params: "{url: '" + url + "', expr: latency_seconds, since: 90m, compare: {before: run.started_at, ratio: 2}}", Env: atNow, Want: "error: compare: the time before 2026-03-01T13:30:00Z overlaps..."},
		{Name: "an offset that is too short", Params: p("latency_seconds", "offset: 30m, ratio: 2"), Env: atNow, Want: "error: compare: the time 30m0s earlier overlaps..."},
		{Name: "too little traffic before", Params: "{url: '" + url + "', expr: latency_seconds, since: 1h, volume: 'sum(errors_per_second)', min_requests: 0.1, compare: {before: run.started_at, ratio: 2}}", Env: atNow, Want: "error: before: volume is 0 at 2026-03-01T13:30:00Z..."},
		{Name: "two times before", Params: p("a", "offset: 1h, before: 1h, ratio: 2"), Want: "problem: ...compare: give offset or before, one of them..."},
		{Name: "no time before", Params: p("a", "ratio: 2"), Want: "problem: ...give offset or before, one of them..."},
		{Name: "no size", Params: p("a", "offset: 1h, alpha: 0.01"), Want: "problem: ...give ratio or min_effect, one of them..."},
		{Name: "a ratio that is none", Params: p("a", "offset: 1h, ratio: 0.5"), Want: "problem: ...ratio: want a number above 1..."},
		{Name: "no window", Params: "{url: '" + url + "', expr: a, compare: {offset: 1h, ratio: 2}}", Want: "problem: ...compare goes with since..."},
	})
}

// live is a Prometheus that scrapes a target of the test.
func TestQueryOfATargetThatGoesAway(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "# TYPE queue_length gauge\nqueue_length{queue=\"mail\"} 3")
	}))
	defer target.Close()
	url := server(t, t.TempDir(), `
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs: [{job_name: api, static_configs: [{targets: ["`+strings.TrimPrefix(target.URL, "http://")+`"]}]}]
`)
	inst := instance(t, prometheus.Query, "{url: '"+url+"', expr: queue_length, max: 5}")
	env := checktest.NewEnv(t)
	run := func() string {
		o, err := inst.Runner.Run(t.Context(), env)
		if err != nil {
			return "error: " + err.Error()
		}
		return string(o.Verdict) + ": " + o.Reason
	}
	eventually(t, "the target is scraped", func() bool { return run() == "pass: 3 in 1 series, accepted is at most 5" })
	target.Close()
	eventually(t, "nothing is measured any more", func() bool { return run() == "error: queue_length gives no series: nothing was measured" })
}

const queryDocs = "https://prometheus.io/docs/prometheus/latest/querying/api/"

// fake answers both questions with the same text.
func fake(t *testing.T, require http.Header, prefix, text string) *resttest.Fake {
	return resttest.New(t, require,
		resttest.Route{Method: "GET", Path: prefix + "/api/v1/query", Docs: queryDocs + "#instant-queries", Query: []string{"query", "time", "timeout", "limit"}, Needs: []string{"query"}, Answer: resttest.JSON(200, text)},
		resttest.Route{Method: "GET", Path: prefix + "/api/v1/query_range", Docs: queryDocs + "#range-queries", Query: []string{"query", "start", "end", "step", "timeout", "limit"}, Needs: []string{"query", "start", "end", "step"}, Answer: resttest.JSON(200, text)})
}

func TestQueryAnswers(t *testing.T) {
	t.Parallel()
	one := func(result string) string {
		return `{"status":"success","data":{"resultType":"vector","result":` + result + `}}`
	}
	const good = `[{"metric":{"job":"api"},"value":[1772375400,"1"]}]`
	var cases []checktest.Case
	for name, c := range map[string][2]string{
		"good":              {one(good), "pass: 1 in 1 series, accepted is at most 2"},
		"warnings":          {`{"status":"success","warnings":["receive series from Addr: store-1: context deadline exceeded"],"data":{"resultType":"vector","result":` + good + `}}`, "error: Prometheus answered /api/v1/query with a warning, so that something may be missing: receive series..."},
		"partial":           {`{"status":"success","isPartial":true,"data":{"resultType":"vector","result":` + good + `}}`, "error: ...with a part of the data only..."},
		"infos":             {`{"status":"success","infos":["PromQL info: metric might not be a counter"],"data":{"resultType":"vector","result":` + good + `}}`, "pass: ..."},
		"error with 200":    {`{"status":"error","errorType":"execution","error":"too many samples"}`, "error: ...with status error: execution too many samples"},
		"no data":           {`{"status":"success"}`, "error: ...without data"},
		"no result":         {`{"status":"success","data":{"resultType":"vector"}}`, "error: ...a vector that is none..."},
		"null result":       {one("null"), "error: ...a vector that is none..."},
		"no value":          {one(`[{"metric":{}}]`), "error: ...without labels or without a value"},
		"no labels":         {one(`[{"value":[1772375400,"1"]}]`), "error: ...without labels or without a value"},
		"a number as value": {one(`[{"metric":{},"value":[1772375400,1]}]`), "error: ...a vector that is none..."},
		"a word as value":   {one(`[{"metric":{},"value":[1772375400,"many"]}]`), "error: ...a vector that is none..."},
		"half a sample":     {one(`[{"metric":{},"value":[1772375400]}]`), "error: ...a vector that is none..."},
		"infinite":          {one(`[{"metric":{},"value":[1772375400,"-Inf"]}]`), "error: 1 of 1 samples of {} are no number..."},
		"a histogram":       {one(`[{"metric":{},"histogram":[1772375400,{"count":"1"}]}]`), "error: the expression gives a native histogram..."},
		"a matrix":          {`{"status":"success","data":{"resultType":"matrix","result":[]}}`, "error: a gives a range of samples..."},
		"a broken scalar":   {`{"status":"success","data":{"resultType":"scalar","result":null}}`, "error: ...a scalar that is none..."},
	} {
		f := fake(t, nil, "", c[0])
		cases = append(cases, checktest.Case{Name: name, Params: "{url: '" + f.URL + "', expr: a, max: 2}", Env: atNow, Want: c[1]})
	}
	ranges := fake(t, nil, "", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[]}]}}`)
	cases = append(cases,
		checktest.Case{Name: "no values", Params: "{url: '" + ranges.URL + "', expr: a, max: 2, since: 15m}", Env: atNow, Want: "error: ...without labels or without values"},
		checktest.Case{Name: "a vector for a range", Params: "{url: '" + fake(t, nil, "", one(good)).URL + "', expr: a, max: 2, since: 15m}", Env: atNow, Want: "error: ...with a result of the type \"vector\"..."})
	mimir := fake(t, http.Header{"Authorization": {"Bearer prom-token-1"}, "X-Scope-Orgid": {"shop"}}, "/prometheus", one(good))
	cloud := fake(t, http.Header{"Authorization": {"Basic MTIzNDU2OnByb20tcGFzc3dvcmQtMQ=="}}, "/api/prom", one(good))
	cases = append(cases,
		checktest.Case{Name: "with prefix, token and tenant", Params: "{url: '" + mimir.URL + "/prometheus/', token: env:PROM_TOKEN, tenant: shop, expr: a, max: 2}", Env: atNow, Want: "pass: ..."},
		checktest.Case{Name: "with a password", Params: "{url: '" + cloud.URL + "/api/prom', user: '123456', password: env:PROM_PASSWORD, expr: a, max: 2}", Env: atNow, Want: "pass: ...", Check: func(t *testing.T, _ check.Outcome) {
			if got := cloud.Calls()[0].Query; got != "query=a&time=1772375400.000" {
				t.Errorf("asked %s", got)
			}
		}},
		checktest.Case{Name: "no token", Params: "{url: '" + mimir.URL + "/prometheus', token: env:NONE, expr: a, max: 2}", Env: atNow, Want: "error: ...not set"})
	checktest.Run(t, prometheus.Query, cases)
	whole := fake(t, nil, "", one(good))
	faulty(t, whole, prometheus.Query, "{url: '"+whole.URL+"', expr: a, max: 2}", atNow)
	faulty(t, whole, prometheus.Query, "{url: '"+whole.URL+"', expr: a, max: 2, since: 15m}", atNow)
}

func facts(pairs ...string) func(*testing.T, check.Outcome) {
	return func(t *testing.T, o check.Outcome) {
		for i := 0; i < len(pairs); i += 2 {
			if got := o.Facts[pairs[i]]; got != pairs[i+1] {
				t.Errorf("fact %s is %q, want %q", pairs[i], got, pairs[i+1])
			}
		}
	}
}

func TestQueryPage(t *testing.T) { checktest.Page(t, prometheus.Query) }
