package celery_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/celery"
)

func TestWorkers(t *testing.T) {
	at := "broker: " + shared.broker + "/0\n"
	checktest.Run(t, celery.Workers, []checktest.Case{
		{Name: "present", Params: at + "nodes: {main@*: {queues: [default, messaging], only: true, concurrency: 2, prefetch: 4}, '*@h': {min: 2}, bulk@*: {prefetch: 2}}\nall_queues_consumed: [default, analytics]\nmin: 2\nrestarted_since: 1h",
			Want: "pass: 2 workers answer: bulk@h, main@h", Check: func(t *testing.T, o check.Outcome) {
				if o.Facts["workers.connected"] != "2" || !strings.Contains(o.Facts["worker.main@h"], "2 at once, prefetch 4") {
					t.Errorf("facts %v", o.Facts)
				}
			}},
		{Name: "short", Params: shared.broker + "/0", Want: "pass: ..."},
		{Name: "too few", Params: at + "min: 3", Want: "fail: 2 workers answer, want at least 3"},
		{Name: "none of a pattern", Params: at + "nodes: {beat@*: {}}", Want: "fail: 0 workers that fit beat@* answer, want at least 1"},
		{Name: "queue without a worker", Params: at + "all_queues_consumed: [default, bot]", Want: "fail: no worker that answers consumes the queue bot"},
		{Name: "set up otherwise", Params: at + "nodes: {bulk@*: {queues: [default], only: true, concurrency: 4, prefetch: 1}}",
			Want: "fail: bulk@h does not consume default; bulk@h also consumes analytics; bulk@h executes 1 tasks at once, want 4; bulk@h may hold ...; want 1 without those"},
		{Name: "not restarted", Params: at + "restarted_since: run.started_at", Env: func(e *check.Env) {
			now := time.Now().Add(time.Hour)
			e.Run.StartedAt, e.Now = now.Add(-time.Minute), func() time.Time { return time.Now().Add(time.Hour) }
		}, Want: "pass: ..."},
		{Name: "fact not known", Params: at + "restarted_since: deploy.started_at", Want: "error: restarted_since: deploy.started_at was not supplied"},
		{Name: "nobody there", Params: "broker: " + shared.broker + "/9", Want: "fail: no worker is there..."},
		{Name: "another application", Params: at + "control_exchange: other", Want: "fail: no worker is there..."},
		{Name: "broker gone", Params: "redis://127.0.0.1:1", Want: "error: ...connection refused"},
		{Name: "RabbitMQ", Params: "amqp://h", Want: "problem: ...workers are reached over Redis only..."},
		{Name: "no minimum", Params: at + "min: 0", Want: "problem: ...min: want at least 1..."},
		{Name: "no pattern", Params: at + "nodes: {'[': {}}", Want: "problem: ...is not a pattern..."},
		{Name: "progress of nothing", Params: at + "mode: progress\nmin_tasks: 0", Want: "problem: ...min_tasks: want at least 1..."},
		{Name: "tasks without progress", Params: at + "tasks: {a: 1}", Want: "problem: ...go with mode: progress"},
		{Name: "queues not named", Params: at + "mode: progress\nper_queue: true", Want: "problem: ...name the queues..."},
	})
}

func TestWorkersNotRestarted(t *testing.T) {
	// What was started before the moment fails, once it runs for more than the second
	// to which the uptime is rounded.
	inst, problems := checktest.Decode(celery.Workers, "broker: "+shared.broker+"/0\nrestarted_since: 1ns", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	env := checktest.NewEnv(t)
	for deadline := time.Now().Add(5 * time.Second); ; {
		o, err := inst.Runner.Run(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		if o.Verdict == check.Fail && strings.Contains(o.Reason, "was started at") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %v", o)
		}
	}
}

func TestWorkersProgress(t *testing.T) {
	at := "broker: " + shared.broker + "/0\nmode: progress\nover: 1200ms\n"
	checktest.Run(t, celery.Workers, []checktest.Case{
		{Name: "ticks", Params: at + "tasks: {shop.t*: 1}", Want: "pass: ...tasks were started within 1s by 2 workers", Once: true, Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["tasks.started"] == "0" || o.Facts["tasks.per_minute"] == "" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "too few", Params: at + "tasks: {shop.wait: 1}\nmin_tasks: 1000", Want: "fail: 0 of shop.wait were started within 1s, want at least 1; ...want at least 1000", Once: true},
		{Name: "idle queue", Params: at + "all_queues_consumed: [default, analytics]\nper_queue: true", Want: "fail: the workers of analytics started 0 tasks...", Once: true},
	})
	t.Run("over its time", func(t *testing.T) {
		file := t.TempDir() + "/done"
		defer touch(t, file)
		shared.send(t, 0, "shop.wait", "analytics", "0", "0", "1", file)
		checktest.Run(t, celery.Workers, []checktest.Case{
			{Name: "overdue", Params: at + "time_limit: 1s", Want: "fail: ...bulk@h runs shop.wait...want at most 1s", Once: true},
		})
	})
}

func TestWorkersSilent(t *testing.T) {
	bulk := shared.workers["bulk@h"].Process
	if err := bulk.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bulk.Signal(syscall.SIGCONT) }()
	checktest.Run(t, celery.Workers, []checktest.Case{
		{Name: "hangs", Params: "broker: " + shared.broker + "/0\nanswer_within: 1s", Once: true,
			Want: "fail: 1 of 2 workers that are connected to the broker did not answer within 1s (those that did: main@h)"},
	})
}

func TestWorkersPickle(t *testing.T) {
	cmd, err := shared.worker(6, "old@h", "pickle", "-Q", "default", "-c", "1", "-P", "solo")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Signal(syscall.SIGKILL) }()
	checktest.Run(t, celery.Workers, []checktest.Case{
		{Name: "pickle", Params: shared.broker + "/6", Want: `error: a worker replies in "application/x-python-serialize"...has to be json`},
	})
}

// reply is a worker's reply as it lies on the broker.
func reply(kind, body string) string {
	return fmt.Sprintf(`{"body":%q,"content-type":%q,"headers":{"ticket":"t"},"properties":{"body_encoding":"base64"}}`, base64.StdEncoding.EncodeToString([]byte(body)), kind)
}

func TestWorkersBroken(t *testing.T) {
	answering := func(text string) string {
		return resp(t, map[string]string{"sadd": ":1\r\n", "publish": ":1\r\n", "brpop": "*2\r\n$1\r\nq\r\n" + bulk(text), "hello": "-ERR unknown command\r\n"}, ":1\r\n")
	}
	checktest.Run(t, celery.Workers, []checktest.Case{
		{Name: "no message", Params: answering("hello"), Want: "error: a worker's reply is malformed..."},
		{Name: "no body", Params: answering(`{"content-type":"application/json"}`), Want: "error: a worker's reply is malformed..."},
		{Name: "no base64", Params: answering(`{"body":"?","content-type":"application/json","properties":{"body_encoding":"base64"}}`), Want: "error: a worker's reply is malformed..."},
		{Name: "NaN", Params: answering(reply("application/json", `{"a@h":{"total":NaN}}`)), Want: "error: a worker's reply is malformed..."},
		{Name: "not asked", Params: answering(reply("application/json", `{"a@h":{}}`)), Want: `error: a reply came to a question that nobody has asked (ticket "t")`},
		{Name: "one value", Params: resp(t, map[string]string{"brpop": "*1\r\n$1\r\nq\r\n", "hello": "-ERR\r\n"}, ":1\r\n"), Want: "error: ...gave 1 values for one reply"},
		{Name: "no permission", Params: resp(t, map[string]string{"publish": "-NOPERM no\r\n", "hello": "-ERR\r\n"}, ":1\r\n"), Want: "error: ...the user may not run this command"},
		{Name: "wants a password", Params: resp(t, map[string]string{"hello": "-ERR\r\n"}, "-NOAUTH Authentication required.\r\n"), Want: "error: ...set password"},
		{Name: "hang", Params: resp(t, map[string]string{"brpop": "", "hello": "-ERR\r\n"}, ":1\r\n"), Timeout: 200 * time.Millisecond, Want: "error: ...context deadline exceeded"},
	})
}
