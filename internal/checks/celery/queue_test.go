package celery_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/celery"
	"allclear.dev/allclear/internal/rest/resttest"
)

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestQueue counts what a client of Celery has sent, in a database without workers.
func TestQueue(t *testing.T) {
	for _, m := range [][2]string{{"5", "6"}, {"0", "1"}, {"9", "1"}} {
		shared.send(t, 5, "shop.tick", "default", m[0], "0", m[1])
	}
	at := "broker: " + shared.broker + "/5\nqueues: [default]\n"
	checktest.Run(t, celery.Queue, []checktest.Case{
		{Name: "priorities", Params: at, Want: "pass: waiting: default 8; 0 unacknowledged", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["priorities.default"] != "0: 1, 3: 6, 6: 0, 9: 1" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "too many", Params: at + "max: 7", Want: "fail: 8 messages wait in default, want at most 7"},
		{Name: "its own maximum", Params: at + "max: 7\nmax_of: {default: 8}", Want: "pass: ..."},
		{Name: "steady", Params: at + "over: 1s", Want: "pass: ...", Once: true},
		{Name: "declared nowhere", Params: "broker: " + shared.broker + "/5\nqueues: [defualt]", Want: "error: defualt is declared nowhere on this broker..."},
		{Name: "wrong database", Params: "broker: " + shared.broker + "/8\nqueues: [default]", Want: "error: default is declared nowhere..."},
		{Name: "wrong prefix", Params: at + "key_prefix: shop", Want: "error: default is declared nowhere..."},
		{Name: "no list", Params: "broker: " + shared.broker + "/5\nqueues: [_kombu.binding.default]", Want: "error: ...WRONGTYPE..."},
		{Name: "consumed and empty", Params: "broker: " + shared.broker + "/0\nqueues: [analytics]\nmax: 0", Want: "pass: waiting: analytics 0; ..."},
		{Name: "broker gone", Params: "broker: redis://127.0.0.1:1\nqueues: [default]", Want: "error: ...connection refused"},
		{Name: "hang", Params: "broker: " + resp(t, nil, "") + "\nqueues: [default]", Timeout: 100 * time.Millisecond, Want: "error: ...context deadline exceeded"},
		{Name: "no number", Params: "broker: " + resp(t, map[string]string{"hello": "-ERR\r\n"}, "+many\r\n") + "\nqueues: [default]", Want: "error: ..."},
		{Name: "no queue", Params: "broker: redis://h\nqueues: []", Want: "problem: ...name at least one"},
		{Name: "empty name", Params: "broker: redis://h\nqueues: ['']", Want: "problem: ...is not a queue's name"},
		{Name: "maximum of another", Params: "broker: redis://h\nqueues: [a]\nmax_of: {b: 1}", Want: "problem: ...max_of..."},
		{Name: "slope of one look", Params: "broker: redis://h\nqueues: [a]\nmax_slope: 1", Want: "problem: ...max_slope goes with over"},
		{Name: "no broker", Params: "broker: amqp://h\nqueues: [a]", Want: "problem: ...management API"},
	})
}

// TestQueueGrows proves the slope: a message more at each look.
func TestQueueGrows(t *testing.T) {
	shared.send(t, 4, "shop.tick", "default", "0", "0", "1")
	inst, problems := checktest.Decode(celery.Queue, "broker: "+shared.broker+"/4\nqueues: [default]\nover: 10m\nmax_slope: 0.5", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	env := checktest.NewEnv(t)
	now, looks := time.Now(), 0
	env.Now = func() time.Time { return now }
	env.Sleep = clock(&now, func() {
		if looks++; looks%7 == 0 {
			shared.send(t, 4, "shop.tick", "default", "0", "0", "5")
		}
	})
	o, err := inst.Runner.Run(t.Context(), env)
	if err != nil || o.Verdict != check.Fail || o.Facts["samples"] != "21" {
		t.Fatalf("%v %v", o, err)
	}
	checktest.Match(t, "default grows by ... messages a minute, want at most 0.5", o.Reason)
}

// TestQueueUnacknowledged holds a task in a worker.
func TestQueueUnacknowledged(t *testing.T) {
	file := t.TempDir() + "/done"
	defer touch(t, file)
	shared.send(t, 0, "shop.wait", "analytics", "0", "3600", "1", file)
	at := "broker: " + shared.broker + "/0\nqueues: [analytics]\n"
	waitFor(t, at+"max: 0\nmax_unacked: 0", "...are not acknowledged, want at most 0")
	waitFor(t, at+"max_unacked_age: 1ms", "a message was delivered ... ago and is not acknowledged, want at most 1ms")
}

// waitFor repeats a look at queues until it fails for this reason.
func waitFor(t *testing.T, params, reason string) {
	t.Helper()
	inst, problems := checktest.Decode(celery.Queue, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	env, last := checktest.NewEnv(t), check.Outcome{}
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
		o, err := inst.Runner.Run(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		if last = o; o.Verdict == check.Fail {
			break
		}
	}
	checktest.Match(t, reason, last.Reason)
}

const managementDocs = "https://www.rabbitmq.com/docs/http-api-reference"

func rabbit(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	f := resttest.New(t, http.Header{"Authorization": {"Basic bW9uaXRvcjpzM2NyZXQtc2VjcmV0"}},
		resttest.Route{Method: "GET", Path: "/api/queues/{vhost}/{name}", Docs: managementDocs, Answer: answer})
	return "broker: " + f.URL + "\nusername: monitor\npassword: env:RABBIT\nqueues: [default]\n"
}

func TestQueueRabbitMQ(t *testing.T) {
	secrets := func(e *check.Env) { checktest.SetSecrets(e, checktest.Secrets{"env:RABBIT": "s3cret-secret"}) }
	ok := resttest.JSON(200, `{"name":"default","messages_ready":3,"messages_unacknowledged":2,"consumers":1}`)
	cases := []checktest.Case{
		{Name: "count", Params: rabbit(t, ok), Env: secrets, Want: "pass: waiting: default 3; 2 unacknowledged"},
		{Name: "too many", Params: rabbit(t, ok) + "max: 2\nmax_unacked: 1", Env: secrets, Want: "fail: 3 messages wait in default, want at most 2; 2 messages were delivered..."},
		{Name: "no such queue", Params: rabbit(t, resttest.JSON(404, `{"error":"Object Not Found"}`)), Env: secrets, Want: "error: default is declared nowhere in the virtual host /"},
		{Name: "no numbers yet", Params: rabbit(t, resttest.JSON(200, `{"name":"default"}`)), Env: secrets, Want: "error: RabbitMQ does not tell how many messages..."},
		{Name: "another queue", Params: rabbit(t, resttest.JSON(200, `{"name":"other","messages_ready":0,"messages_unacknowledged":0}`)), Env: secrets, Want: "error: RabbitMQ does not tell..."},
		{Name: "age", Params: "broker: https://h\nqueues: [a]\nmax_unacked_age: 1s", Want: "problem: ...go with Redis"},
	}
	for _, fault := range resttest.Faults() {
		answer := fault.Answer
		cases = append(cases, checktest.Case{Name: fault.Name, Params: rabbit(t, answer), Env: secrets, Timeout: 300 * time.Millisecond, Want: "error: ..."})
	}
	checktest.Run(t, celery.Queue, cases)
}
