package celery_test

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/celery"
)

// waiting collects what an action logs and tells when a text has come.
type waiting struct {
	mu   sync.Mutex
	text string
	seen chan struct{}
	want string
}

func (w *waiting) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text += string(p); w.seen != nil && strings.Contains(w.text, w.want) {
		close(w.seen)
		w.seen = nil
	}
	return len(p), nil
}

func control(t *testing.T, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(celery.Control, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	return inst
}

func progress(t *testing.T, inst *check.Instance, env *check.Env, want check.Progress) {
	t.Helper()
	if got, o, err := inst.Prober().Probe(t.Context(), env); err != nil || got != want {
		t.Errorf("probe: %s %v %v, want %s", got, o, err, want)
	}
}

// TestControlDrain drains a worker while it executes a task, and lets it go on.
func TestControlDrain(t *testing.T) {
	if _, err := shared.worker(2, "calm@h", "json", "-Q", "default,analytics", "-c", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.worker(2, "other@h", "json", "-Q", "messaging", "-c", "1"); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("broker: %s/2\n", shared.broker)
	inst, env := control(t, at+"do: drain\nnodes: [calm@*]"), checktest.NewEnv(t)
	progress(t, inst, env, check.NotDone)
	file := t.TempDir() + "/done"
	shared.send(t, 2, "shop.wait", "default", "0", "0", "1", file)
	shared.send(t, 2, "shop.tick", "default", "0", "3600", "1")
	busy := &waiting{seen: make(chan struct{}), want: "1 tasks are still"}
	env.Log = busy
	go func(seen chan struct{}) { <-seen; progress(t, inst, env, check.Partly); touch(t, file) }(busy.seen)
	checktest.Run(t, celery.Workers, []checktest.Case{{Name: "begun", Params: at + "mode: progress\nover: 1s\nmin_tasks: 0\ntasks: {shop.none: 0}", Want: "pass: ...", Once: true, NetworkIsAnswer: true}})
	o, err := inst.Runner.Run(t.Context(), env)
	if err != nil || o.Verdict != check.Pass || o.Facts["consumed.calm@h"] != "default, analytics" && o.Facts["consumed.calm@h"] != "analytics, default" || o.Facts["tasks.later"] != "1" {
		t.Fatalf("%v %v", o, err)
	}
	if !strings.Contains(busy.text, "1 tasks are still") {
		t.Errorf("it did not wait for the task: %q", busy.text)
	}
	progress(t, inst, env, check.Done)
	checktest.Run(t, celery.Workers, []checktest.Case{
		{Name: "not consumed", Params: at + "all_queues_consumed: [default, messaging]", Want: "fail: no worker that answers consumes the queue default", NetworkIsAnswer: true},
	})
	again, err := inst.Runner.Run(t.Context(), env) // the same attempt once more
	if err != nil || again.Verdict != check.Pass || again.Facts["consumed.calm@h"] == "none" {
		t.Errorf("%v %v", again, err)
	}
	undone, err := inst.Undoer().Undo(t.Context(), env, o)
	if err != nil || undone.Verdict != check.Pass {
		t.Fatalf("%v %v", undone, err)
	}
	checktest.Run(t, celery.Workers, []checktest.Case{
		{Name: "consumed", Params: at + "all_queues_consumed: [default, analytics]", Want: "pass: ...", NetworkIsAnswer: true},
	})
	stopAll(t, at)
}

// stopAll ends the workers of the database for certain.
func stopAll(t *testing.T, at string) {
	t.Helper()
	inst, env := control(t, at+"do: drain-stop"), checktest.NewEnv(t)
	progress(t, inst, env, check.NotDone)
	o, err := inst.Runner.Run(t.Context(), env)
	if err != nil || o.Verdict != check.Pass || !strings.Contains(o.Reason, "have left the broker") {
		t.Fatalf("%v %v", o, err)
	}
	progress(t, inst, env, check.Done)
	if again, err := inst.Runner.Run(t.Context(), env); err != nil || again.Verdict != check.Pass {
		t.Errorf("%v %v", again, err)
	}
}

// TestControlWorkerLost loses a worker with its task while it is drained: that is
// no finished task.
func TestControlWorkerLost(t *testing.T) {
	lost, err := shared.worker(11, "calm@h", "json", "-Q", "default", "-c", "1")
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/done"
	shared.send(t, 11, "shop.wait", "default", "0", "0", "1", file)
	defer touch(t, file)
	at := fmt.Sprintf("broker: %s/11\n", shared.broker)
	checktest.Run(t, celery.Workers, []checktest.Case{{Name: "begun", Params: at + "mode: progress\nover: 1s\nmin_tasks: 0\ntasks: {x: 0}", Want: "pass: ...", Once: true, NetworkIsAnswer: true}})
	inst, env := control(t, at+"do: drain"), checktest.NewEnv(t)
	busy := &waiting{seen: make(chan struct{}), want: "1 tasks are still"}
	env.Log = busy
	go func(seen chan struct{}) {
		<-seen
		if err := lost.Process.Signal(syscall.SIGQUIT); err != nil {
			t.Error(err)
		}
	}(busy.seen)
	for range 2 { // it may be seen as silent before it is seen to be gone
		o, err := inst.Runner.Run(t.Context(), env)
		if err == nil && o.Verdict == check.Pass {
			t.Fatalf("%v", o)
		}
	}
	if got, o, err := inst.Prober().Probe(t.Context(), env); got == check.Done {
		t.Errorf("probe: %s %v %v", got, o, err)
	}
}

func TestControlConsumeAndStop(t *testing.T) {
	if _, err := shared.worker(3, "calm@h", "json", "-Q", "default", "-c", "1"); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("broker: %s/3\n", shared.broker)
	inst, env := control(t, at+"do: consume\nqueues: [messaging]"), checktest.NewEnv(t)
	progress(t, inst, env, check.NotDone)
	for range 2 {
		if o, err := inst.Runner.Run(t.Context(), env); err != nil || o.Verdict != check.Pass {
			t.Fatalf("%v %v", o, err)
		}
	}
	progress(t, inst, env, check.Done)
	end := control(t, at+"do: stop")
	if o, err := end.Runner.Run(t.Context(), env); err != nil || o.Verdict != check.Pass {
		t.Fatalf("%v %v", o, err)
	}
	progress(t, end, env, check.Done)
}

// TestControlTime leaves a task that does not end: nothing is claimed.
func TestControlTime(t *testing.T) {
	file := t.TempDir() + "/done"
	if _, err := shared.worker(7, "calm@h", "json", "-Q", "default", "-c", "1"); err != nil {
		t.Fatal(err)
	}
	shared.send(t, 7, "shop.wait", "default", "0", "0", "1", file)
	defer touch(t, file)
	at := fmt.Sprintf("broker: %s/7\n", shared.broker)
	checktest.Run(t, celery.Workers, []checktest.Case{{Name: "begun", Params: at + "mode: progress\nover: 1s\nmin_tasks: 0\ntasks: {x: 0}", Want: "pass: ...", Once: true, NetworkIsAnswer: true}})
	checktest.Run(t, celery.Control, []checktest.Case{
		{Name: "task goes on", Params: at + "do: drain", Timeout: 1500 * time.Millisecond, Want: "error: ...", Once: true},
	})
}

func TestControlRefuses(t *testing.T) {
	bulk := shared.workers["bulk@h"].Process
	at := "broker: " + shared.broker + "/0\nanswer_within: 1s\n"
	checktest.Run(t, celery.Control, []checktest.Case{
		{Name: "nobody", Params: "broker: " + shared.broker + "/9\ndo: drain", Want: "fail: nothing was done: no worker that is meant is there (0 answer: none)"},
		{Name: "nobody meant", Params: at + "do: stop\nnodes: [x@*]", Want: "fail: nothing was done: no worker that is meant is there (2 answer: bulk@h, main@h)"},
		{Name: "broker gone", Params: "broker: redis://127.0.0.1:1\ndo: drain", Want: "error: ...connection refused"},
		{Name: "what to consume", Params: at + "do: consume", Want: "problem: ...say what is consumed again"},
		{Name: "part of a stop", Params: at + "do: stop\nqueues: [a]", Want: "problem: ...a worker ends as a whole..."},
		{Name: "no such thing", Params: at + "do: start", Want: "problem: ...unknown value..."},
	})
	if err := bulk.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bulk.Signal(syscall.SIGCONT) }()
	checktest.Run(t, celery.Control, []checktest.Case{
		{Name: "silent", Params: at + "do: drain\nnodes: [bulk@*]", Want: "fail: nothing was done: 1 of 2 workers..."},
	})
}

func TestControlPage(t *testing.T) { checktest.Page(t, celery.Control) }
