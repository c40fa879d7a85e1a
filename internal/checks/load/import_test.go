package load_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/load"
)

// The results have the shapes of their tools' documentation.
const (
	// https://grafana.com/docs/k6/latest/results-output/end-of-test
	k6Export = `{"root_group":{"checks":{}},"metrics":{
		"http_reqs":{"count":1000,"rate":100.1},"http_req_failed":{"passes":5,"fails":995,"thresholds":{"rate<0.01":false},"value":0.005},
		"http_req_duration":{"avg":120.5,"min":80,"med":110.25,"max":1900,"p(90)":300,"p(95)":450.5,"p(99)":900},
		"http_req_duration{name:checkout}":{"avg":300,"min":80,"med":280,"max":1900,"p(90)":500,"p(95)":700},
		"http_reqs{name:checkout}":{"count":200,"rate":20},"http_req_failed{name:checkout}":{"passes":4,"fails":196,"value":0.02},
		"iterations":{"count":1000,"rate":100.1}}}`
	k6Handled = `{"metrics":{"http_reqs":{"type":"counter","contains":"default","values":{"count":1000,"rate":100}},
		"http_req_failed":{"type":"rate","contains":"default","values":{"rate":0,"passes":0,"fails":1000}},
		"dropped_iterations":{"type":"counter","contains":"default","values":{"count":30,"rate":3}},
		"http_req_duration":{"type":"trend","contains":"time","values":{"avg":120,"min":80,"med":110,"max":1900,"p(90)":300,"p(95)":450}}}}`
	// https://docs.locust.io/en/stable/retrieving-stats.html
	locustHead  = "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%\n"
	locustStats = locustHead +
		"GET,/orders,900,2,110,130.5,60,1900,512.0,15.0,0.03,110,140,160,180,300,450,700,900,1800,1900,1900\n" +
		"POST,/orders,100,0,300,310.2,200,800,64.0,1.6,0.0,300,320,330,340,500,600,700,750,800,800,800\n" +
		"GET,/unused,0,0,0,0,0,0,0,0.0,0.0,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A\n" +
		",Aggregated,1000,2,120,148.4,60,1900,467.2,16.6,0.03,120,150,180,200,320,480,700,890,1800,1900,1900\n"
	// https://github.com/tsenart/vegeta#report-command
	vegetaReport = `{"latencies":{"total":120000000000,"mean":120000000,"50th":110000000,"90th":300000000,"95th":450000000,"99th":900000000,"max":1900000000,"min":60000000},
		"bytes_in":{"total":1,"mean":1},"bytes_out":{"total":0,"mean":0},"earliest":"2026-03-01T14:00:00Z","latest":"2026-03-01T14:00:10Z","end":"2026-03-01T14:00:11Z",
		"duration":10000000000,"wait":1000000,"requests":1000,"rate":100,"throughput":99,"success":0.998,"status_codes":{"0":1,"200":998,"503":1},"errors":["503 Service Unavailable"]}`
)

// jmeter is a results file of n requests, of which each seventh is slower by extra;
// https://jmeter.apache.org/usermanual/listeners.html
func jmeter(n, extra int) string {
	var out strings.Builder
	out.WriteString("timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect\n")
	for i := range n {
		elapsed := 100 + extra + i%7
		fmt.Fprintf(&out, "%d,%d,checkout,200,OK,Users 1-%d,text,true,,2781,133,1,1,http://a.test/,%d,0,1\n", 1_772_000_000_000+i*50, elapsed, i%5, elapsed-1)
	}
	out.WriteString("1772000000000,250,buy,200,\"Number of samples in transaction : 2, number of failing samples : 0\",Users 1-1,,true,,5562,266,1,1,null,0,0,0\n")
	return out.String()
}

// vegetaHits is the output of vegeta encode -to json.
func vegetaHits(n int) string {
	var out strings.Builder
	for i := range n {
		code, failure := 200, ""
		if i%50 == 7 {
			code, failure = 503, "503 Service Unavailable"
		}
		at := time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC).Add(time.Duration(i) * 50 * time.Millisecond)
		fmt.Fprintf(&out, `{"attack":"","seq":%d,"code":%d,"timestamp":%q,"latency":%d,"bytes_out":0,"bytes_in":9,"error":%q,"body":"e30=","method":"GET","url":"http://a.test/","headers":{}}`+"\n",
			i, code, at.Format(time.RFC3339Nano), 100_000_000+i%7, failure)
	}
	return out.String()
}

func wrote(t *testing.T, text string) func(*check.Env) {
	return func(e *check.Env) {
		if err := os.WriteFile(filepath.Join(e.Dir, "r"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func from(format, more string) string {
	return "import: {format: " + format + ", file: r}\nprotected: true\n" + more
}

func TestImport(t *testing.T) {
	checktest.Run(t, load.Load, []checktest.Case{
		{Name: "k6", Params: from("k6", "p50: 120ms\np95: 451ms\np99: 1s"), Env: wrote(t, k6Export), Want: "pass: 1000 requests, p50 110.25ms, p95 450.5ms, p99 900ms, 0.50% failed", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["target.checkout"] != "200 requests, 4 failed, p50 280ms, p95 700ms" || len(o.Facts["sha256"]) != 64 || len(o.Artefacts) != 1 {
				t.Errorf("%v %v", o.Facts, o.Artefacts)
			}
		}},
		{Name: "k6 is too slow", Params: from("k6", "p95: 450ms"), Env: wrote(t, k6Export), Want: "fail: p95 is 450.5ms, at most 450ms is accepted"},
		{Name: "k6 has too many errors", Params: from("k6", "errors: 0.4%"), Env: wrote(t, k6Export), Want: "fail: 0.50% of 1000 requests failed, at most 0.40% is accepted"},
		{Name: "k6, one name", Params: from("k6", "targets: [{name: checkout, p95: 1s, errors: 1%}]"), Env: wrote(t, k6Export), Want: "fail: checkout: 2.00% of 200 requests failed, at most 1.00% is accepted"},
		{Name: "k6, no such name", Params: from("k6", "targets: [{name: pay, p95: 1s}]"), Env: wrote(t, k6Export), Want: `error: the result holds nothing called "pay"`},
		{Name: "k6 does not say p99", Params: from("k6", "p99: 1s\nerrors: 5%"), Env: wrote(t, k6Handled), Want: "error: the result does not say the 99th percentile"},
		{Name: "k6 could not start some", Params: from("k6", "p95: 1s"), Env: wrote(t, k6Handled), Want: "fail: 2.91% of 1030 requests failed (not sent: 30), at most 1.00% is accepted"},
		{Name: "locust", Params: from("locust", "p50: 120ms\np99: 1s\ntargets: [{name: POST /orders, p95: 600ms}]"), Env: wrote(t, locustStats), Want: "pass: 1000 requests, p50 120ms, p95 480ms, p99 890ms, 0.20% failed"},
		{Name: "locust is too slow", Params: from("locust", "targets: [{name: POST /orders, p95: 599ms}]"), Env: wrote(t, locustStats), Want: "fail: POST /orders: p95 is 600ms, at most 599ms is accepted"},
		{Name: "locust, a name without a request", Params: from("locust", "targets: [{name: GET /unused, p95: 1s}]"), Env: wrote(t, locustStats), Want: "error: GET /unused: the result does not say the 95th percentile"},
		{Name: "locust, an exclusion", Params: from("locust", "exclude: [/unused]"), Env: wrote(t, locustStats), Want: "error: r: exclude: GET /unused cannot be taken out..."},
		{Name: "vegeta", Params: from("vegeta", "p99: 900ms"), Env: wrote(t, vegetaReport), Want: "pass: 1000 requests, p50 110ms, p95 450ms, p99 900ms, 0.20% failed"},
		{Name: "vegeta is too slow", Params: from("vegeta", "p99: 899ms"), Env: wrote(t, vegetaReport), Want: "fail: p99 is 900ms..."},
		{Name: "vegeta, each request", Params: from("vegeta", "p99: 110ms\nerrors: 2%"), Env: wrote(t, vegetaHits(200)), Want: "pass: 200 requests, p50 100...ms, ...2.00% failed"},
		{Name: "vegeta, each request, errors", Params: from("vegeta", "errors: 1%"), Env: wrote(t, vegetaHits(200)), Want: "fail: 2.00% of 200 requests failed (status 200: 196, 503: 4)..."},
		{Name: "jmeter", Params: from("jmeter", "p99: 107ms\ntargets: [{name: checkout, p95: 107ms}]"), Env: wrote(t, jmeter(200, 0)), Want: "pass: 200 requests, p50 103...ms, p95 106...ms, p99 106...ms, 0.00% failed", Check: func(t *testing.T, o check.Outcome) {
			if len(o.Artefacts) != 2 || o.Facts["target.buy"] != "" {
				t.Errorf("%v %v", o.Facts, o.Artefacts)
			}
		}},
		{Name: "jmeter is too slow", Params: from("jmeter", "p50: 102ms"), Env: wrote(t, jmeter(200, 0)), Want: "fail: p50 is 103...ms, at most 102ms is accepted"},
		{Name: "too few", Params: from("jmeter", "p50: 1s"), Env: wrote(t, jmeter(99, 0)), Want: "error: only 99 requests, at least 100 are needed to judge"},
		{Name: "everything excluded", Params: from("jmeter", "exclude: [checkout]"), Env: wrote(t, jmeter(200, 0)), Want: "error: the result holds no request that is judged"},
		{Name: "a rate", Params: from("jmeter", "rate: 5/s"), Want: "problem: ...belong to a load that is sent..."},
		{Name: "a target without a name", Params: from("jmeter", "targets: [http://a.test/]"), Want: "problem: ...needs the name that the result has..."},
	})
}

// What is no result, or none of now, is never a verdict.
func TestImportNothing(t *testing.T) {
	cases := []checktest.Case{
		{Name: "no file", Params: from("k6", ""), Want: "error: read r: ...no such file..."},
		{Name: "old", Params: from("vegeta", ""), Env: func(e *check.Env) {
			wrote(t, vegetaReport)(e)
			e.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
		}, Want: "error: r is 25h0m0s old, at most 24h0m0s is accepted: it may be of another release"},
		{Name: "of the future", Params: from("vegeta", ""), Env: func(e *check.Env) {
			wrote(t, vegetaReport)(e)
			e.Now = func() time.Time { return time.Now().Add(-time.Hour) }
		}, Want: "error: r was written 1h0m0s in the future: a clock is wrong"},
		{Name: "a link", Params: from("vegeta", ""), Env: func(e *check.Env) {
			if err := os.Symlink("/etc/hostname", filepath.Join(e.Dir, "r")); err != nil {
				t.Fatal(err)
			}
		}, Want: "error: read r: it is a link..."},
	}
	for _, c := range []struct{ format, text, want string }{
		{"k6", "", "error: r is empty"},
		{"k6", k6Export[:200], "error: r: not a summary of k6: unexpected end of JSON input"},
		{"k6", "{}", "error: r: the summary of k6 does not say http_reqs.count and http_req_failed"},
		{"k6", `{"metrics":{"http_reqs":{"count":0},"http_req_failed":{"value":0}}}`, "error: r: the summary of k6 does not say..."},
		{"k6", `{"metrics":{"http_reqs":{"count":500},"http_req_failed":{"value":0}}}`, "error: r: the summary of k6 holds no percentile..."},
		{"k6", strings.Replace(k6Export, `"p(95)":450.5`, `"p(95)":-1`, 1), "error: r: -1 is no latency..."},
		{"k6", strings.Replace(k6Export, `"value":0.005`, `"value":7`, 1), "error: r: the summary of k6 does not say..."},
		{"k6", strings.Replace(k6Export, `"p(95)":450.5`, `"p(95)":5`, 1), "error: r: total: the percentiles do not grow"},
		{"locust", "<html>", "error: r: the first row names no column \"Type\""},
		{"locust", locustHead, "error: r: the table has no row"},
		{"locust", locustStats[:len(locustStats)-130], "error: r: ..."},
		{"locust", strings.Replace(locustStats, ",Aggregated,1000,2,", ",Aggregated,1000,2000,", 1), "error: r: Aggregated: 2000 of 1000 requests failed, which cannot be"},
		{"locust", strings.Replace(locustStats, ",480,", ",NaN,", 1), "error: r: NaN is no latency..."},
		{"locust", strings.Replace(locustStats, "900,2,", "many,2,", 1), `error: r: the counts of "/orders" are no numbers`},
		{"vegeta", "Requests [total] 1000", "error: r: not a result of vegeta: ..."},
		{"vegeta", "{}", "error: r: a result of vegeta does not say code, latency, timestamp and url"},
		{"vegeta", `{"latencies":{"50th":1},"requests":10,"success":1}`, "error: r: the report of vegeta does not say the ...th percentile"},
		{"vegeta", `{"latencies":{"50th":1}}`, "error: r: the report of vegeta does not say requests and success"},
		{"vegeta", vegetaReport + vegetaReport, "error: r: there is more beside the report..."},
		{"vegeta", vegetaHits(200)[:5000], "error: r: not a result of vegeta: ..."},
		{"jmeter", "<?xml version=\"1.0\"?><testResults/>", "error: r: it is XML: ..."},
		{"jmeter", jmeter(0, 0), "error: r: the result holds no request"},
		{"jmeter", strings.Replace(jmeter(200, 0), "checkout,200,OK,Users 1-3,text,true", "checkout,200,OK,Users 1-3,text,", 1), `error: r: success is "", want true or false`},
		{"jmeter", strings.Replace(jmeter(200, 0), ",104,checkout", ",,checkout", 1), "error: r: malformed row of \"checkout\"..."},
		{"jmeter", jmeter(200, 0)[:8000], "error: r: malformed table: ..."},
	} {
		cases = append(cases, checktest.Case{Name: c.want, Params: from(c.format, ""), Env: wrote(t, c.text), Want: c.want})
	}
	checktest.Run(t, load.Load, cases)
}

// What holds each request is compared slice by slice, what holds percentiles as a
// whole.
func TestImportBaseline(t *testing.T) {
	kept := func(format, text string) string {
		env := checktest.NewEnv(t)
		wrote(t, text)(env)
		inst, problems := checktest.Decode(load.Load, from(format, "p95: 10s"), nil)
		if inst == nil {
			t.Fatal(problems)
		}
		o, err := inst.Runner.Run(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		return o.Sets["load.an.item"]
	}
	after := func(before, text string) func(*check.Env) {
		return func(e *check.Env) {
			wrote(t, text)(e)
			e.Ledger = &checktest.Ledger{Past: map[string][]check.Recorded{"load.an.item": {{Release: "1.2.2", Value: before}}}}
		}
	}
	slower := strings.NewReplacer("450000000", "600000000").Replace(vegetaReport)
	checktest.Run(t, load.Load, []checktest.Case{
		{Name: "jmeter, the same", Params: from("jmeter", "baseline: last release"), Env: after(kept("jmeter", jmeter(200, 0)), jmeter(200, 0)), Want: "pass: ...; p50 +0.0% since 1.2.2 (...p=...), p95 +0.0% since 1.2.2 (...)"},
		{Name: "jmeter, slower", Params: from("jmeter", "baseline: last release"), Env: after(kept("jmeter", jmeter(200, 0)), jmeter(200, 20)), Want: "fail: slower than the last release: p50 +19...% since 1.2.2 (...p=...), p95 +18...%..."},
		{Name: "vegeta, slower", Params: from("vegeta", "baseline: last release"), Env: after(kept("vegeta", vegetaReport), slower), Want: "fail: slower than the last release: p95 +33.3% since 1.2.2 (600ms, was 450ms, without a test of chance)"},
		{Name: "vegeta, accepted", Params: from("vegeta", "baseline: last release\nmin_effect: 40%"), Env: after(kept("vegeta", vegetaReport), slower), Want: "pass: ...p95 +33.3% since 1.2.2..."},
	})
}
