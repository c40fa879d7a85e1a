package prometheus_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/rest/resttest"
)

// port gives a free port of this machine.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs a real server of Debian's packages until the test ends, and waits
// until it is ready.
func start(t *testing.T, address, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is not installed: apt-get install %s", program, program)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	eventually(t, program+" is ready", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, log.String())
		default:
		}
		response, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return "http://" + address
}

// eventually waits for another process.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for end := time.Now().Add(30 * time.Second); !done(); <-ticks.C {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// server starts Prometheus with a configuration, over data that is in dir.
func server(t *testing.T, dir, config string, args ...string) string {
	t.Helper()
	address := "127.0.0.1:" + port(t)
	return start(t, address, "prometheus", append([]string{"--config.file=" + write(t, dir, "prometheus.yml", config),
		"--storage.tsdb.path=" + filepath.Join(dir, "data"), "--storage.tsdb.retention.time=10y", "--web.listen-address=" + address}, args...)...)
}

// now is the time in these tests, at which what history measured ends.
func now() time.Time { return time.Date(2026, 3, 1, 14, 30, 0, 0, time.UTC) }

// history is a real Prometheus that has measured, every 30 seconds for the last
// two hours and for the same two hours of the week before:
//
//	http_requests_total   10/s with status 200, and 0.02/s with 500
//	latency_seconds       about 1, always
//	slower_seconds        about 1, and 1.3 in the last hour
//	less_per_second       about 100, and 70 in the last hour
//	errors_per_second     0, and 0.5 in the last hour
//	small_per_second      0, and 0.001 in the last hour
//	smooth_seconds        1 or 2, each value for half an hour
//	replica_up            1 at web-1, 0 at web-2
//	idle_ratio            NaN
//	rare_ratio            NaN now and then
//	gone_seconds          1, until 20 minutes ago
//	pod_seconds           of the pod new in the last hour, of the pod old before
func history(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := write(t, dir, "history.txt", openMetrics())
	if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", file, filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("promtool (apt-get install prometheus): %v: %s", err, out)
	}
	return server(t, dir, "global: {}\n")
}

func openMetrics() string {
	noise := rand.New(rand.NewPCG(1, 2))
	var out strings.Builder
	each := func(name, kind string, value func(at time.Time, i int) []string) {
		fmt.Fprintf(&out, "# TYPE %s %s\n", strings.TrimSuffix(name, "_total"), kind)
		i := 0
		for _, end := range []time.Time{now().Add(-168 * time.Hour), now()} {
			for at := end.Add(-2 * time.Hour); !at.After(end); at = at.Add(30 * time.Second) {
				for _, v := range value(at, i) {
					fmt.Fprintf(&out, "%s%s %d\n", name, v, at.Unix())
				}
				i++
			}
		}
	}
	lately := func(at time.Time, v, before float64) float64 {
		if at.After(now().Add(-time.Hour)) {
			return v
		}
		return before
	}
	gauge := func(name string, value func(at time.Time, i int) float64) {
		each(name, "gauge", func(at time.Time, i int) []string { return []string{fmt.Sprintf(`{job="api"} %g`, value(at, i))} })
	}
	around := func(v float64) float64 { return v * (1 + 0.05*noise.NormFloat64()) }
	each("http_requests_total", "counter", func(_ time.Time, i int) []string {
		return []string{fmt.Sprintf(`{status="200"} %d`, 300*i), fmt.Sprintf(`{status="500"} %g`, 0.6*float64(i))}
	})
	gauge("latency_seconds", func(time.Time, int) float64 { return around(1) })
	gauge("slower_seconds", func(at time.Time, _ int) float64 { return around(lately(at, 1.3, 1)) })
	gauge("less_per_second", func(at time.Time, _ int) float64 { return around(lately(at, 70, 100)) })
	gauge("errors_per_second", func(at time.Time, _ int) float64 { return lately(at, 0.5, 0) })
	gauge("small_per_second", func(at time.Time, _ int) float64 { return lately(at, 0.001, 0) })
	gauge("smooth_seconds", func(_ time.Time, i int) float64 { return float64(1 + i/60%2) })
	each("replica_up", "gauge", func(time.Time, int) []string { return []string{`{instance="web-1"} 1`, `{instance="web-2"} 0`} })
	each("idle_ratio", "gauge", func(time.Time, int) []string { return []string{" NaN"} })
	each("rare_ratio", "gauge", func(_ time.Time, i int) []string {
		if i%20 == 7 {
			return []string{" NaN"}
		}
		return []string{" 0.1"}
	})
	each("gone_seconds", "gauge", func(at time.Time, _ int) []string {
		if at.After(now().Add(-20 * time.Minute)) {
			return nil
		}
		return []string{" 1"}
	})
	each("pod_seconds", "gauge", func(at time.Time, _ int) []string {
		if at.After(now().Add(-time.Hour)) {
			return []string{`{pod="new"} 1`}
		}
		return []string{`{pod="old"} 1`}
	})
	out.WriteString("# EOF\n")
	return out.String()
}

func atNow(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:PROM_TOKEN": "prom-token-1", "env:PROM_PASSWORD": "prom-password-1"})
	e.Now, e.Run.StartedAt = now, now().Add(-time.Hour)
	e.Ledger = &checktest.Ledger{Facts: map[string]string{
		"deploy.started_at": now().Add(-15 * time.Minute).Format(time.RFC3339), "deploy.ended_at": now().Add(-10 * time.Second).Format(time.RFC3339)}}
}

func instance(t *testing.T, typ *check.Type, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(typ, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	return inst
}

// faulty holds that every answer that is none leads to an error.
func faulty(t *testing.T, f *resttest.Fake, typ *check.Type, params string, set func(*check.Env)) {
	t.Helper()
	for _, fault := range resttest.Faults() {
		f.Fail(fault.Answer)
		env := checktest.NewEnv(t)
		set(env)
		ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if o, err := instance(t, typ, params).Runner.Run(ctx, env); err == nil {
			t.Errorf("%s: got %s: %s, want an error", fault.Name, o.Verdict, o.Reason)
		}
		stop()
	}
	f.Fail(nil)
}
