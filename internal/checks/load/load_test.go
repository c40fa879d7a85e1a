package load_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/load"
)

// inMemory is a server without a network, so that it lives in a bubble of
// testing/synctest, where time passes only while everybody waits: latencies are
// exact and take no time.
type inMemory struct {
	connections chan net.Conn
	done        chan struct{}
}

func (m *inMemory) Accept() (net.Conn, error) {
	select {
	case c := <-m.connections:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *inMemory) Close() error { return nil }

func (m *inMemory) Addr() net.Addr { return &net.TCPAddr{} }

func (m *inMemory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.connections <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble runs params once against a handler, in a world of its own time.
func bubble(t *testing.T, h http.HandlerFunc, params string, change func(*check.Env)) (string, check.Outcome) {
	t.Helper()
	var text string
	var outcome check.Outcome
	synctest.Test(t, func(t *testing.T) {
		m := &inMemory{connections: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: h}
		go func() { _ = server.Serve(m) }()
		env := checktest.NewEnv(t)
		env.Dial = m.dial
		if change != nil {
			change(env)
		}
		inst, problems := checktest.Decode(load.Load, params+"\nprotected: false", nil)
		if inst == nil {
			t.Fatal(problems)
		}
		var err error
		outcome, err = inst.Runner.Run(t.Context(), env)
		text = string(outcome.Verdict) + ": " + outcome.Reason
		if err != nil {
			text = "error: " + err.Error()
		}
		close(m.done)
		_ = server.Close()
	})
	return text, outcome
}

// after answers 200 after a time.
func after(d time.Duration) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { pause(r.Context(), d) }
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// every lets the n-th, 2n-th … request be answered in another way.
func every(n int64, usual, then http.HandlerFunc) http.HandlerFunc {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1)%n == 0 {
			then(w, r)
			return
		}
		usual(w, r)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const (
	one  = "targets: http://api.test/orders\nrate: 20/s\nfor: 10s\n"
	fine = 40 * time.Millisecond
)

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name, params string
		handler      http.HandlerFunc
		want         string
		look         func(*testing.T, check.Outcome)
	}{
		{"known latency", one + "p50: 50ms\np95: 50ms\np99: 50ms", after(fine), "pass: 200 requests at 20/s, p50 40...ms, p95 40...ms, p99 40...ms, 0.00% failed", func(t *testing.T, o check.Outcome) {
			if o.Facts["requests"] != "200" || o.Facts["statuses"] != "200: 200" || o.Facts["late.p99"] != "1µs" || len(o.Artefacts) != 2 || o.Sets["load.an.item"] == "" {
				t.Errorf("%v %v %v", o.Facts, o.Artefacts, o.Sets)
			}
		}},
		{"too slow", one + "p95: 30ms", after(fine), "fail: p95 is 40...ms, at most 30ms is accepted", nil},
		{"only the tail", one + "p50: 50ms\np99: 100ms", every(50, after(fine), after(time.Second)), "fail: p99 is 1...s, at most 100ms is accepted", nil},
		{"the median is not the tail", one + "p50: 50ms\np95: 100ms", every(50, after(fine), after(time.Second)), "pass: ...", nil},
		{"some errors", one + "errors: 2%", every(50, after(fine), status(500)), "pass: ...2.00% failed", nil},
		{"too many errors", one + "errors: 1%", every(50, after(fine), status(500)), "fail: 2.00% of 200 requests failed (status 200: 196, 500: 4), at most 1.00% is accepted", nil},
		{"every answer is wrong", one + "p95: 1s", status(503), "fail: 100.00% of 200 requests failed (status 503: 200), at most 1.00% is accepted", nil},
		{"a redirect is not followed", one, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "fail: 100.00% of 200 requests failed (status 302: 200)...", nil},
		{"a quick error does not help", one + "p50: 30ms\nerrors: 60%", every(2, after(fine), status(500)), "fail: p50 is 40...ms...", nil},
		{"a slow error counts", one + "p50: 60ms\nerrors: 60%", every(2, after(100*time.Millisecond), func(w http.ResponseWriter, r *http.Request) { pause(r.Context(), time.Second); w.WriteHeader(500) }), "fail: p50 is 1...s...", nil},
		{"resets", one + "errors: 10%", every(3, after(fine), reset), "fail: 33.00% of 200 requests failed (status 200: 134, connection closed: 66), at most...", nil},
		{"hang", one + "p95: 1s", hang, "error: none of 200 requests was answered: context deadline exceeded", nil},
		{"some hang", one + "p95: 1s", every(10, after(fine), hang), "fail: 10.00% of 200 requests failed (status 200: 180, no answer in time: 20), at most 1.00% is accepted; p95 is 10...s...", nil},
		{"a reset is not asked again unseen", one + "errors: 0%", every(200, after(fine), reset), "fail: 0.50% of 200 requests failed (status 200: 199, connection closed: 1)...", nil},
		{"all resets", one, reset, "error: none of 200 requests was answered: EOF", nil},
		{"429", one, every(3, after(fine), status(429)), "error: 66 of 200 requests were answered with 429: a rate limit was measured...", nil},
		{"429 is what is wanted", "targets: {url: 'http://api.test/', status: [200, 429]}\nrate: 20/s\nfor: 10s\n", every(3, after(fine), status(429)), "pass: ...", nil},
		{"401", one, status(401), "error: GET /orders: 200 of 200 requests were refused (401 or 403): give auth...", nil},
		{"403", one, status(403), "error: GET /orders: 200 of 200 requests were refused...", nil},
		{"an answer without an end", strings.Replace(one, "10s", "1s\nmin_requests: 20", 1), func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, "error: none of 20 requests was answered: the answer is longer than 16777216 bytes", nil},
		{"a cut answer", one, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{")
		}, "error: none of 200 requests was answered: unexpected EOF", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, o := bubble(t, c.handler, c.params, nil)
			checktest.Match(t, c.want, got)
			if c.look != nil {
				c.look(t, o)
			}
		})
	}
}

// A system that stops for two seconds is asked on, and each request that waits has
// waited since it was due.
func TestNothingIsLeftOutWhileTheSystemStalls(t *testing.T) {
	stalling := func() http.HandlerFunc {
		var start atomic.Int64
		return func(_ http.ResponseWriter, r *http.Request) {
			start.CompareAndSwap(0, time.Now().UnixNano())
			if at := time.Duration(time.Now().UnixNano() - start.Load()); at > 4*time.Second && at < 6*time.Second {
				pause(r.Context(), 6*time.Second-at)
			}
		}
	}
	got, o := bubble(t, stalling(), one+"p50: 1s\np95: 1s", nil)
	checktest.Match(t, "fail: p95 is 1.4...s, at most 1s is accepted", got)
	if o.Facts["requests"] != "200" || !strings.HasPrefix(o.Facts["p99"], "1.8") {
		t.Errorf("%v", o.Facts)
	}
	got, o = bubble(t, stalling(), one+"max_inflight: 10\nerrors: 0%", nil)
	checktest.Match(t, "fail: ...% of 200 requests failed (status 200: ..., not sent: ...), at most 0.00% is accepted", got)
	if o.Facts["errors.not_sent"] == "" || o.Facts["requests"] != "200" {
		t.Errorf("%v", o.Facts)
	}
}

// Requests keep to their schedule: the first second of a ramp of 4 s to 20/s has a
// sixteenth of its 40 requests.
func TestRamp(t *testing.T) {
	var early, all atomic.Int64
	var start atomic.Int64
	count := func(w http.ResponseWriter, r *http.Request) {
		start.CompareAndSwap(0, time.Now().UnixNano())
		if all.Add(1); time.Now().UnixNano()-start.Load() < int64(990*time.Millisecond) {
			early.Add(1)
		}
		if all.Load() <= 40 {
			pause(r.Context(), time.Second) // a cold start, in the ramp
		}
	}
	got, o := bubble(t, count, one+"ramp: 4s\np99: 100ms", nil)
	checktest.Match(t, "pass: 240 requests at 20/s, p50 ...", got)
	if early.Load() != 3 || all.Load() != 240 {
		t.Errorf("%d of %d in the first second", early.Load(), all.Load())
	}
	if o.Facts["broke_at"] != "not in the ramp" {
		t.Errorf("%v", o.Facts)
	}
	var busy atomic.Int64
	overloaded := func(w http.ResponseWriter, r *http.Request) {
		if busy.Add(1) > 30 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		pause(r.Context(), time.Second)
		busy.Add(-1)
	}
	got, o = bubble(t, overloaded, "targets: http://api.test/\nrate: 100/s\nfor: 5s\nramp: 20s\np95: 2s\nmax_inflight: 1000", nil)
	checktest.Match(t, "fail: ...% of 1500 requests failed (status 200: ..., 503: ...)...", got)
	if at := o.Facts["broke_at"]; at != "35/s, after 7s of the ramp" {
		t.Errorf("broke at %s", at)
	}
}

func TestTargets(t *testing.T) {
	var posts, wrong atomic.Int64
	shop := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer load-token-1" || r.Header.Get("X-Key") != "load-key-1" ||
			r.Method == http.MethodGet && (r.ContentLength != 0 || r.TransferEncoding != nil) {
			wrong.Add(1)
		}
		switch r.URL.Path {
		case "/health":
			pause(r.Context(), 2*time.Second)
		case "/orders":
			if body, _ := io.ReadAll(r.Body); r.Method == http.MethodPost && string(body) == `{"sku":1}` && r.Header.Get("Content-Type") == "application/json" {
				posts.Add(1)
				w.WriteHeader(http.StatusCreated)
			}
			pause(r.Context(), 300*time.Millisecond)
		}
	}
	params := `
targets:
  - {url: "http://api.test/list", weight: 3}
  - {name: create, url: "http://api.test/orders", method: POST, body: '{"sku":1}', headers: {Content-Type: application/json}, status: [201], p95: %s}
  - http://api.test/health
auth: {bearer: "env:TOKEN", headers: {X-Key: "env:KEY"}}
exclude: [/health]
rate: 20/s
for: 20s
p95: 1s`
	secrets := func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:TOKEN": "load-token-1", "env:KEY": "load-key-1"})
	}
	got, o := bubble(t, shop, fmt.Sprintf(params, "400ms"), secrets)
	checktest.Match(t, "pass: 320 requests...", got)
	if posts.Load() != 80 || wrong.Load() != 0 || !strings.HasPrefix(o.Facts["target.create"], "80 requests, 0 failed") || !strings.HasSuffix(o.Facts["target.GET /health"], "(excluded)") {
		t.Errorf("%d posts, %d without a key, %v", posts.Load(), wrong.Load(), o.Facts)
	}
	got, _ = bubble(t, shop, fmt.Sprintf(params, "200ms"), secrets)
	checktest.Match(t, "fail: create: p95 is 300...ms, at most 200ms is accepted", got)
	got, _ = bubble(t, shop, fmt.Sprintf(params, "200ms"), nil)
	checktest.Match(t, "error: secret env:TOKEN: not set", got)
}

// A machine that is too slow to send measures itself.
func TestALateGenerator(t *testing.T) {
	sleepy := func(e *check.Env) {
		sleep := e.Sleep
		e.Sleep = func(ctx context.Context, d time.Duration) error { return sleep(ctx, d+12*time.Millisecond) }
	}
	got, _ := bubble(t, after(fine), one+"p95: 60ms", sleepy)
	checktest.Match(t, "error: requests were sent late: the 99th percentile by 12ms, at most 10ms is accepted: this machine cannot send 20/s...", got)
	got, _ = bubble(t, after(fine), one+"p95: 220ms", sleepy)
	checktest.Match(t, "error: requests were sent late: the 99th percentile by 12ms, at most 11ms is accepted: this machine cannot send 20/s...", got)
	// A delay that is small beside the limit makes latency larger and changes nothing else.
	got, _ = bubble(t, after(fine), one+"p95: 1s", sleepy)
	checktest.Match(t, "pass: 200 requests at 20/s, p50 52...", got)
}

func TestTooFew(t *testing.T) {
	got, _ := bubble(t, after(fine), "targets: [{url: 'http://api.test/a', weight: 9}, {url: 'http://api.test/b', p99: 1s}]\nrate: 20/s\nfor: 10s", nil)
	checktest.Match(t, "error: GET /b: only 20 latencies were measured, and the 99th percentile needs 100", got)
}

func TestTheTimeoutMustReach(t *testing.T) {
	inst, _ := checktest.Decode(load.Load, one+"protected: false", nil)
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	if _, err := inst.Runner.Run(ctx, checktest.NewEnv(t)); err == nil || !strings.Contains(err.Error(), "set timeout to more than that") {
		t.Error(err)
	}
}

// slowly gives the world a clock of its own that goes 40 times slower, so that a
// busy machine is not taken for a late one.
func slowly(e *check.Env) {
	const factor = 40
	start, sleep := time.Now(), e.Sleep
	e.Now = func() time.Time { return start.Add(time.Since(start) / factor) }
	e.Sleep = func(ctx context.Context, d time.Duration) error { return sleep(ctx, d*factor) }
}

func TestLoadKeepsTheLaws(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer server.Close()
	short := "rate: 1000/s\nfor: 25ms\nmin_requests: 20\np95: 1s\n"
	checktest.Run(t, load.Load, []checktest.Case{
		{Name: "a real server", Params: "targets: " + server.URL + "/\n" + short + "protected: false", Env: slowly, Want: "pass: 25 requests at 1000/s...", Once: true},
		{Name: "nobody listens", Params: "targets: http://127.0.0.1:1/\n" + short + "protected: false", Env: slowly, Want: "error: none of 25 requests was answered: ...connection refused", Once: true},
		{Name: "protected", Params: "targets: http://a.test/\nrate: 6/s\nfor: 60s\nprotected: true", Want: "problem: ...6/s is more than prod_max, 5/s, in a protected environment..."},
		{Name: "protected and meant", Params: "targets: http://127.0.0.1:1/\n" + short + "protected: true\nprod_max: 1000/s", Env: slowly, Want: "error: none of 25 requests...", Once: true},
		{Name: "too much", Params: "targets: http://a.test/\nrate: 1001/s\nfor: 10s\nprotected: false", Want: "problem: ...more than 1000/s, which this one machine may send..."},
		{Name: "too long", Params: "targets: http://a.test/\nrate: 1/s\nfor: 2h\nprotected: false", Want: "problem: ...for and ramp: more than 1h0m0s..."},
		{Name: "too few", Params: "targets: http://a.test/\nrate: 60/m\nfor: 1m\nprotected: false", Want: "problem: ...1/s for 1m0s is 60 requests, fewer than min_requests, 100..."},
		{Name: "no rate", Params: "targets: http://a.test/\nprotected: false", Want: "problem: ...rate and for: say..."},
		{Name: "no number", Params: "targets: http://a.test/\nrate: 0/s\nfor: 1m\nprotected: false", Want: "problem: ...want requests per second or minute..."},
		{Name: "no unit", Params: "targets: http://a.test/\nrate: 5/fortnight\nfor: 1m\nprotected: false", Want: "problem: ...want requests per second or minute..."},
		{Name: "no target", Params: "rate: 5/s\nfor: 1m\nprotected: false", Want: "problem: ...name at least one..."},
		{Name: "no address", Params: "targets: ftp://a.test\nrate: 5/s\nfor: 1m\nprotected: false", Want: "problem: ...want http:// or https:// and a host..."},
		{Name: "twice", Params: "targets: [http://a.test/x, http://b.test/x]\nrate: 5/s\nfor: 1m\nprotected: false", Want: `problem: ...two are called "GET /x"...`},
		{Name: "a password in the address", Params: "targets: http://u:p@a.test/\nrate: 5/s\nfor: 1m\nprotected: false", Want: "problem: ...belongs in auth..."},
		{Name: "a secret for two hosts", Params: "targets: [http://a.test/x, http://b.test/y]\nauth: {bearer: 'env:T'}\nrate: 5/s\nfor: 1m\nprotected: false", Want: "problem: ...would both get the secret..."},
		{Name: "nothing is judged", Params: "targets: http://a.test/\nexclude: [GET]\nrate: 5/s\nfor: 1m\nprotected: false", Want: "problem: ...every target is excluded..."},
		{Name: "alpha", Params: "targets: http://a.test/\nrate: 5/s\nfor: 1m\nalpha: 0\nprotected: false", Want: "problem: ...alpha: ..."},
		{Name: "status", Params: "targets: {url: 'http://a.test/', status: [20]}\nrate: 5/s\nfor: 1m\nprotected: false", Want: "problem: ...20 is none..."},
		{Name: "header", Params: "targets: {url: 'http://a.test/', headers: {'a b': c}}\nrate: 5/s\nfor: 1m\nprotected: false", Want: "problem: ...is not a header..."},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, load.Load) }

func TestBaseline(t *testing.T) {
	params := one + "p95: 2s\nbaseline: last release"
	noisy := func(mean time.Duration) http.HandlerFunc {
		var n atomic.Int64
		return func(_ http.ResponseWriter, r *http.Request) {
			pause(r.Context(), mean+time.Duration(n.Add(1)%7)*mean/20)
		}
	}
	_, before := bubble(t, noisy(fine), params, nil)
	kept := before.Sets["load.an.item"]
	past := func(all ...check.Recorded) func(*check.Env) {
		return func(e *check.Env) {
			e.Ledger = &checktest.Ledger{Past: map[string][]check.Recorded{"load.an.item": all}}
		}
	}
	then := past(check.Recorded{Release: "1.2.2", Value: kept})
	checktest.Match(t, "pass: ...; no earlier release passed under the same load, so that there is nothing to compare with", "pass: "+before.Reason)
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		params  string
		env     func(*check.Env)
		want    string
	}{
		{"the same", noisy(fine), params, then, "pass: ...; p50 +0.0% since 1.2.2 (...), p95 +0.0% since 1.2.2 (...p=1)"},
		{"faster", noisy(fine / 2), params, then, "pass: ...; p50 -50.0% since 1.2.2 ..."},
		{"slower", noisy(fine * 3 / 2), params, then, "fail: slower than the last release: p50 +50.1% since 1.2.2 (69...ms, was 46...ms, p=...), p95 +49.9% since..."},
		{"a little slower", noisy(fine * 21 / 20), params, then, "pass: ..."},
		{"too slow anyway", noisy(fine * 3 / 2), one + "p95: 50ms\nbaseline: last release", then, "fail: p95 is ...; p50 +50.1% since..."},
		{"another load", noisy(fine * 2), strings.Replace(params, "20/s", "40/s", 1), then, "pass: ...no earlier release passed under the same load..."},
		{"a second run of this release", noisy(fine * 2), params, past(check.Recorded{Release: "1.2.3", Value: kept}), "pass: ...no earlier release passed..."},
		{"it cannot be read", noisy(fine), params, past(check.Recorded{Release: "1.2.2", Value: "NaN"}), "error: what 1.2.2 remembers as load.an.item cannot be read"},
		{"zeros", noisy(fine), params, past(check.Recorded{Release: "1.2.2", Value: "{}"}), "error: what 1.2.2 remembers..."},
		{"no history", noisy(fine), params, func(e *check.Env) { e.Ledger = &checktest.Ledger{Failure: errors.New("the journal is locked")} }, "error: read the last release's latencies: the journal is locked"},
		{"one outlier is chance", every(100, noisy(fine), after(time.Second)), params, then, "pass: ..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, o := bubble(t, c.handler, c.params, c.env)
			checktest.Match(t, c.want, got)
			if strings.HasPrefix(got, "fail") && o.Sets != nil {
				t.Errorf("a slow release is remembered as a measure: %v", o.Sets)
			}
		})
	}
}
