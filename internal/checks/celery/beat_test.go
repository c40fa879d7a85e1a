package celery_test

import (
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/celery"
)

func TestBeat(t *testing.T) {
	at := "broker: " + shared.broker + "/0\n"
	tick := at + "expect_task: shop.tick\ninterval: 1s\nwithin: 8s\n"
	ours := "match: 'celery -A shop beat .*" + shared.dir + "'\n"
	checktest.Run(t, celery.Beat, []checktest.Case{
		{Name: "ticks", Params: tick + ours + "instances: 1", Want: "pass: shop.tick was started ... times within ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["instances"] != "1" || o.Facts["seen_after"] == "" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "one too few", Params: tick + ours + "instances: 2", Want: "fail: 1 schedulers run (pid ...), want exactly 2"},
		{Name: "none", Params: tick + "match: no-such-scheduler\ninstances: 1", Want: "fail: 0 schedulers run (none), want exactly 1"},
		{Name: "dead", Params: at + "expect_task: shop.never\ninterval: 200ms", Want: "fail: shop.never was not started within 400ms, although it is sent every 200ms..."},
		{Name: "nobody sees", Params: "broker: " + shared.broker + "/9\nexpect_task: shop.tick\ninterval: 1s", Want: "error: what the scheduler sends cannot be seen: no worker is there..."},
		{Name: "broker gone", Params: "broker: redis://127.0.0.1:1\nexpect_task: shop.tick\ninterval: 1s", Want: "error: ...connection refused"},
		{Name: "hang", Params: "broker: " + resp(t, nil, "") + "\nexpect_task: a\ninterval: 1s", Timeout: 100 * time.Millisecond, Want: "error: ...context deadline exceeded"},
		{Name: "pattern", Params: at + "expect_task: shop.*\ninterval: 1s", Want: "problem: ...one task's whole name"},
		{Name: "no interval", Params: at + "expect_task: a\ninterval: 0s", Want: "problem: ...how often it is sent"},
		{Name: "bad expression", Params: at + "expect_task: a\ninterval: 1s\nmatch: '('", Want: "problem: ...match: ..."},
	})
}

func TestBeatPage(t *testing.T) { checktest.Page(t, celery.Beat) }
