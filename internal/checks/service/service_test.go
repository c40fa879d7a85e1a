package service_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/service"
)

func TestStartLookStop(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write("web.env", "# colours\nexport COLOUR='blue green'\nPASSWORD=from-the-file\n")
	checktest.SetSecrets(s.env, checktest.Secrets{"env:PW": "correct-horse"})
	web := s.unit("web", "serve", ", env_file: web.env, secret_env: {PASSWORD: 'env:PW'}, exactly: 1")
	beat := s.unit("beat", "idle", ", exactly: 1")
	s.do("fail: web does not run", "state: running", web, beat)
	s.do("pass: stopped: web, beat", "state: stopped", web, beat)

	_, start := s.do("pass: started: web, beat...", "do: start", web, beat)
	s.logged("web", "serving as blue green correct-horse")
	s.probe(start, check.Done)
	pid := s.pid("web")
	s.do("pass: started: web, beat...", "do: start", web, beat)
	if s.pid("web") != pid {
		t.Error("starting again restarted it")
	}
	s.do("pass: running for 80ms without a restart: web, beat; only seen to run, without a health check: beat", "state: running", web, beat)
	s.do("fail: web runs (pid ...); beat runs (pid ...)", "state: stopped", web, beat)

	stopped, stop := s.do("pass: stopped: beat, web", "do: stop, holds: workers", beat, web)
	s.probe(stop, check.Done)
	s.probe(start, check.NotDone)
	if stop.Traits.Holds != "workers" || stop.Traits.Class != check.Probed {
		t.Errorf("traits %+v", stop.Traits)
	}
	if o, err := stop.Undoer().Undo(t.Context(), s.env, stopped); err != nil || o.Verdict != check.Pass {
		t.Fatalf("undo of stop: %+v, %v", o, err)
	}
	s.probe(start, check.Done)
	if o, err := start.Undoer().Undo(t.Context(), s.env, check.Outcome{}); err != nil || o.Verdict != check.Pass {
		t.Fatalf("undo of start: %+v, %v", o, err)
	}
	s.probe(stop, check.Done)
	if left, err := filepath.Glob(filepath.Join(s.env.Dir, "*.pid")); err != nil || len(left) > 0 {
		t.Errorf("pid files left: %v, %v", left, err)
	}
}

func TestUndoStartsOnlyWhatRan(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	web, beat := s.unit("web", "idle", ""), s.unit("beat", "idle", "")
	s.do("pass: ...", "do: start", web)
	done, stop := s.do("pass: stopped: web, beat", "do: stop", web, beat)
	if _, err := stop.Undoer().Undo(t.Context(), s.env, done); err != nil {
		t.Fatal(err)
	}
	s.do("pass: ...", "state: running", web)
	s.do("fail: beat does not run", "state: running", beat)
}

func TestRestart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.unit("one", "serve", ""), s.unit("two", "serve", "")
	s.do("pass: ...", "do: start", one, two)
	s.env.Key = "another attempt"
	before := s.pid("one")
	restart := s.decode("{do: restart, rolling: true, every: 10ms, stable: 80ms, units: [" + one + ", " + two + "]}")
	s.probe(restart, check.NotDone)
	s.do("pass: restarted: one", "do: restart", one)
	s.probe(restart, check.Partly)
	o, _ := s.do("pass: restarted: one, two", "do: restart, rolling: true", one, two)
	checktest.Match(t, "stopped after ..., started again; running, pid ...", o.Facts["unit.two"])
	s.probe(restart, check.Done)
	if s.pid("one") == before {
		t.Error("the same process")
	}
	if _, err := restart.Undoer().Undo(t.Context(), s.env, o); err == nil {
		t.Error("a restart is taken back")
	}
}

func TestRollingStopsAtTheFirstThatIsNotHealthy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.unit("one", "serve", ""), s.unit("two", "serve", "")
	s.do("pass: ...", "do: start", one, two)
	pid := s.pid("two")
	s.write("status", "500")
	o, restart := s.do("fail: one is not healthy after 200ms: http://... answers 500; its log ends: ...; not touched: two", "do: restart, rolling: true, healthy_within: 200ms", one, two)
	if s.pid("two") != pid {
		t.Errorf("two was touched: %v", o.Facts)
	}
	s.probe(restart, check.Partly)
}

func TestCrashes(t *testing.T) {
	s := newSite(t)
	s.do("fail: web ...; its log ends: cannot connect to the database", "do: start", s.unit("web", "crash", ""))
	s.do("fail: gone could not be started: ...", "do: start", "{name: gone, run: [no-such-program-here], pid_file: gone.pid}")
}

// A crash loop: something else starts the unit again and again, and every look
// finds it running.
func TestCrashLoopIsFound(t *testing.T) {
	s := newSite(t)
	web := s.unit("web", "idle", "")
	s.do("pass: ...", "do: start", web)
	loop := s.decode("{stable: 10s, every: 10ms, units: [" + web + "]}")
	looks := 0
	s.env.Sleep = func(ctx context.Context, _ time.Duration) error {
		if looks++; looks == 2 {
			inst := s.decode("{do: restart, stable: 0s, every: 10ms, units: [" + web + "]}")
			env := *s.env
			env.Sleep = func(context.Context, time.Duration) error { time.Sleep(5 * time.Millisecond); return nil }
			if _, err := inst.Runner.Run(ctx, &env); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	o, err := loop.Runner.Run(t.Context(), s.env)
	if err != nil || o.Verdict != check.Fail || !strings.HasPrefix(o.Reason, "web was restarted 1 times while it was looked at") {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestStubborn(t *testing.T) {
	s := newSite(t)
	web := s.unit("web", "stubborn", "")
	s.do("pass: ...", "do: start", web)
	s.logged("web", "ready")
	pid := s.pid("web")
	o, _ := s.do("pass: stopped: web", "do: stop, stop_timeout: 100ms", web)
	if o.Facts["unit.web"] != "killed, because it did not end within 100ms" {
		t.Errorf("facts %v", o.Facts)
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if st, parseErr := check.ParseStat(text); err == nil && (parseErr != nil || !st.Ended()) {
		t.Errorf("pid %d is still there: %s", pid, text)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	web := s.unit("web", "reload", "")
	s.do("fail: web does not run: not running", "do: reload", web)
	s.do("pass: ...", "do: start", web)
	s.logged("web", "ready")
	pid := s.pid("web")
	_, inst := s.do("pass: reloaded: web...", "do: reload", web)
	s.logged("web", "reloaded")
	if s.pid("web") != pid || inst.Traits.Class != check.Idempotent {
		t.Errorf("another process, or %+v", inst.Traits)
	}
	idle := s.unit("idle", "idle", "")
	s.do("pass: ...", "do: start", idle)
	// SIGHUP ends it; a failure is found as soon as it shows.
	ended := s.decode("{do: reload, stable: 30s, every: 5ms, units: [" + idle + "]}")
	o, err := ended.Runner.Run(t.Context(), s.env)
	if err != nil || o.Verdict != check.Fail || !strings.HasPrefix(o.Reason, "idle ") {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestAnInstanceThatNobodyKnowsOf(t *testing.T) {
	s := newSite(t)
	beat := s.unit("beat", "idle", ", exactly: 1")
	s.do("pass: ...", "do: start", beat)
	pid := s.pid("beat")
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	if err := os.Rename(filepath.Join(s.env.Dir, "beat.pid"), filepath.Join(s.env.Dir, "lost")); err != nil {
		t.Fatal(err)
	}
	number := strconv.Itoa(pid)
	s.do("fail: beat runs already, but beat.pid does not know of it (pid "+number+")", "do: start", beat)
	s.do("fail: beat: an instance still runs (pid "+number+")", "do: stop, stop_timeout: 50ms", beat)
	s.do("fail: beat runs, but beat.pid does not know of it (pid "+number+")", "state: stopped", beat)
	stop := s.decode("{do: stop, units: [" + beat + "]}")
	s.probe(stop, check.Partly)
	// The program's own kind of pid file: only a number.
	s.write("beat.pid", number+"\n")
	s.do("pass: ...", "state: running", beat)
	second := strings.Replace(beat, "pid_file: beat.pid", "pid_file: second.pid", 1)
	s.do("fail: beat runs already, but second.pid does not know of it...", "do: start", second)
	s.do("pass: stopped: beat", "do: stop", beat)
}

func TestTwoInstances(t *testing.T) {
	s := newSite(t)
	beat := s.unit("beat", "idle", ", exactly: 1")
	s.do("pass: ...", "do: start", beat)
	two := strings.Replace(s.unit("two", "idle", ""), "two.pid", "two.pid", 1)
	s.do("pass: ...", "do: start", two)
	all := "{name: all, pid_file: beat.pid, exactly: 1, match: 'unit idle " + strings.Split(unique(), ".")[0] + "'}"
	s.do("fail: all has 2 instances (pid ...), want exactly 1", "state: running", all)
}

func TestPIDFileThatIsStale(t *testing.T) {
	s := newSite(t)
	web := s.unit("web", "idle", "")
	// The pid of this very test, as of another start and another boot.
	own := strconv.Itoa(os.Getpid())
	s.write("web.pid", `{"pid": `+own+`, "start_ticks": "1", "boot_id": "x", "key": "k"}`)
	s.do("fail: web does not run", "state: running", web)
	s.do("pass: stopped: web", "do: stop", web)
	// A pid file that a program wrote long before the process with its pid began.
	s.write("web.pid", own+"\n")
	old := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(filepath.Join(s.env.Dir, "web.pid"), old, old); err != nil {
		t.Fatal(err)
	}
	s.do("error: read the pid file of web: pid "+own+" was started after web.pid was written...", "state: running", web)
	for _, bad := range []string{"", "abc", "-1", "1", "0", `{"pid": 77}`, "1234 5678"} {
		s.write("web.pid", bad)
		s.do("error: read the pid file of web: ...", "state: running", web)
		s.do("error: read the pid file of web: ...", "do: stop", web)
		s.do("error: read the pid file of web: ...", "do: start", web)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	web := s.unit("web", "serve", "")
	s.do("pass: ...", "do: start", web)
	s.write("status", "503")
	s.do("fail: web is not healthy: http://... answers 503", "state: running", web)
	idle := s.unit("idle", "idle", "")
	s.do("pass: ...", "do: start", idle)
	probe := func(health string) string { return strings.TrimSuffix(idle, "}") + ", healthy: " + health + "}" }
	s.do("fail: idle is not healthy: nothing listens at http://...", "state: running", probe("'http://"+freeAddress(t)+"/'"))
	s.do("fail: idle is not healthy: sh ended with exit 3", "state: running", probe("{run: [sh, -c, exit 3]}"))
	s.do("pass: ...", "state: running", probe("{run: ['true']}"))
	s.write("idle.env", "PORT=8001\n")
	s.do("pass: ...", "state: running", probe("{run: [sh, -c, 'test $PORT$MODE = 8001live']}, env: {MODE: live}, env_file: idle.env"))
	s.do("error: idle: run no-such-program-here...", "state: running", probe("{run: [no-such-program-here]}"))
	s.do("error: idle: sh was ended by signal: killed", "state: running", probe("{run: [sh, -c, 'kill -9 $$']}"))
	s.do("error: idle is not known to be healthy after 50ms: ...", "do: restart, healthy_within: 50ms", probe("{run: [no-such-program-here]}"))
}

func TestLaws(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	web := s.unit("web", "serve", "")
	s.do("pass: ...", "do: start", web)
	here := func(env *check.Env) { *env = *s.env }
	list := "{every: 10ms, stable: 20ms, units: [" + web + "]}"
	checktest.Run(t, service.Service, []checktest.Case{
		{Name: "running", Params: list, Env: here, Want: "pass: ..."},
		{Name: "hang", Params: strings.Replace(list, "stable: 20ms", "stable: 1h", 1), Env: here, Timeout: 100 * time.Millisecond, Want: "error: context deadline exceeded"},
		{Name: "unknown host", Params: "{on: web-9, units: [" + web + "]}", Env: here, Want: `error: unknown host "web-9"`},
		{Name: "stopped, by its pid file alone", Params: "{state: stopped, units: [{name: a, pid_file: a.pid}]}", Want: "problem: ...unit a: state: stopped needs run or match: a pid file that is not there proves nothing"},
		{Name: "no secret", Params: "{do: start, units: [" + strings.Replace(s.unit("x", "idle", ", secret_env: {A: 'env:B'}"), "x.pid", "x.pid", 1) + "]}", Env: here, Want: "error: start x: secret env:B: not set"},
		{Name: "environment malformed", Params: "{do: start, units: [{name: e, run: [sleep, '77'], pid_file: e.pid, env_file: bad.env}]}", Env: func(e *check.Env) { here(e); s.write("bad.env", "A=1\nhunter2\n") }, Want: "error: start e: read the environment of e: bad.env: line 2 is not NAME=value"},
		{Name: "environment missing", Params: "{do: start, units: [{name: e, run: [sleep, '77'], pid_file: e.pid, env_file: no.env}]}", Env: here, Want: "error: start e: read the environment of e: ..."},
		{Name: "environment denied", Params: "{do: start, units: [{name: e, run: [sleep, '77'], pid_file: e.pid, env: {LD_PRELOAD: x}}]}", Env: here, Want: "error: start e: environment variable LD_PRELOAD may not be set..."},
		{Name: "problem: no units", Params: "{units: []}", Want: "problem: ...units lists nothing"},
		{Name: "problem: twice", Params: "{units: [{name: a, pid_file: p}, {name: a, pid_file: q}]}", Want: "problem: ...stands there twice"},
		{Name: "problem: nothing to start", Params: "{do: start, units: [{name: a, pid_file: p}]}", Want: "problem: ...unit a: needs run..."},
		{Name: "problem: driver", Params: "{driver: upstart, units: [{name: a, pid_file: p}]}", Want: "problem: ...driver: unknown value..."},
		{Name: "problem: rolling stop", Params: "{do: stop, rolling: true, units: [{name: a, pid_file: p, run: [b]}]}", Want: "problem: ...rolling is for do: restart"},
		{Name: "problem: holds", Params: "{do: start, holds: w, units: [{name: a, pid_file: p, run: [b]}]}", Want: "problem: ...holds is for do: stop"},
		{Name: "problem: exactly what", Params: "{units: [{name: a, pid_file: p, exactly: 1}]}", Want: "problem: ...needs run or match..."},
		{Name: "problem: two probes", Params: "{units: [{name: a, pid_file: p, healthy: {url: u, run: [b]}}]}", Want: "problem: ...url and run exclude each other"},
		{Name: "problem: zero probes", Params: "{consecutive: 0, units: [{name: a, pid_file: p}]}", Want: "problem: ...consecutive must be at least 1..."},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, service.Service) }
