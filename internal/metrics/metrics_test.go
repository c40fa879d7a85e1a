package metrics_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"allclear.dev/allclear/internal/metrics"
	"allclear.dev/allclear/internal/run"
)

func plan(t *testing.T) *run.Plan {
	t.Helper()
	p := &run.Plan{
		Environment: "production", Release: run.Release{Version: "2"},
		Phases: []run.Phase{{ID: "pre", Parallel: true}, {ID: "deploy"}, {ID: "back", Rollback: true}},
		Items: []run.Item{
			{ID: "c", Phase: "pre", Gate: "pre", Kind: run.Check, Applies: run.Applies},
			{ID: "p", Phase: "pre", Gate: "pre", Kind: run.Attest, Applies: run.Applies},
			{ID: "on", Phase: "deploy", Gate: "deploy", Kind: run.Action, Class: run.Unsafe, Applies: run.Applies, Holds: run.Maintenance},
			{ID: "off", Phase: "deploy", Gate: "deploy", Kind: run.Action, Class: run.Unsafe, Applies: run.Applies, Releases: run.Maintenance},
			{ID: "w", Phase: "deploy", Gate: "deploy", Kind: run.Watch, Applies: run.Applies, Watch: &run.WatchRule{For: 10 * time.Second, Every: 10 * time.Second}},
			{ID: "b", Phase: "back", Gate: "back", Kind: run.Check, Applies: run.Applies},
		},
	}
	if err := run.Order(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// at gives a second of the test's time.
func at(second int) time.Time { return time.Unix(1_000_000+int64(second), 0).UTC() }

func start(t *testing.T) run.Event {
	return run.Event{Type: run.RunStarted, Run: "r", Actor: "eve", At: at(0), Plan: plan(t)}
}

func action(item string, from, to int, sets map[string]string) []run.Event {
	return []run.Event{
		{Type: run.ActionIntended, Item: item, Attempt: 1, At: at(from)},
		{Type: run.ActionFinished, Item: item, Attempt: 1, Verdict: "done", At: at(to), Sets: sets},
	}
}

// sample asks for the nth sample of the watch and answers it.
func sample(n, second int, verdict string) []run.Event {
	return []run.Event{
		{Type: run.TimerFired, Timer: fmt.Sprintf("sample:1:%d:w", n), At: at(second)},
		{Type: run.SampleTaken, Item: "w", Attempt: 1, Key: strconv.Itoa(n), Verdict: verdict, At: at(second)},
	}
}

// TestGood plays a run whose check fails once and is tried again by a person.
func TestGood(t *testing.T) {
	events := []run.Event{
		start(t),
		{Type: run.CheckFinished, Item: "c", Attempt: 1, Verdict: "fail", Reason: "no", At: at(10)},
		{Type: run.Retried, Item: "c", Actor: "ana", At: at(40)},
		{Type: run.CheckFinished, Item: "c", Attempt: 2, Verdict: "pass", At: at(42)},
		{Type: run.Attested, Item: "p", Actor: "ana", Verdict: "pass", At: at(100)},
	}
	events = append(events, action("on", 100, 102, map[string]string{metrics.MigrationFact: "1.5"})...)
	events = append(events, action("off", 110, 112, map[string]string{metrics.ProbeFact: "0.25"})...)
	events = append(events, sample(1, 112, "pass")...)
	events = append(events, sample(2, 122, "pass")...)
	events = append(events, run.Event{Type: run.RunClosed, At: at(123)})
	m := metrics.Of(events)
	if !m.Succeeded() || m.Duration != (metrics.Measured{Known: true, Value: 122 * time.Second}) {
		t.Errorf("result %s, duration %v", m.Result, m.Duration)
	}
	if m.MaintenanceTime != 10*time.Second || m.Downtime() != 10250*time.Millisecond || len(m.Maintenance) != 1 {
		t.Errorf("maintenance %s %v, downtime %s", m.MaintenanceTime, m.Maintenance, m.Downtime())
	}
	if m.Migration.Value != 1500*time.Millisecond || m.Rollbacks != 0 {
		t.Errorf("migration %v, rollbacks %d", m.Migration, m.Rollbacks)
	}
	if len(m.Issues) != 1 || m.Issues[0].How != "pass" || m.Resolution().Value != 32*time.Second {
		t.Errorf("issues %+v", m.Issues)
	}
	// 0-10 the check ran, 10-40 people, 40-42 the check, 42-100 people, then actions and the watch.
	if m.People != 88*time.Second || m.Working != 25*time.Second || m.Watched != 10*time.Second {
		t.Errorf("people %s, working %s, watched %s", m.People, m.Working, m.Watched)
	}
}

// TestRolledBack plays a run whose watch fails and which is rolled back.
func TestRolledBack(t *testing.T) {
	events := []run.Event{
		start(t),
		{Type: run.CheckFinished, Item: "c", Attempt: 1, Verdict: "pass", At: at(1)},
		{Type: run.Attested, Item: "p", Actor: "ana", Verdict: "pass", At: at(2)},
	}
	events = append(events, action("on", 3, 4, nil)...)
	events = append(events, action("off", 5, 6, nil)...)
	events = append(events, sample(1, 7, "fail")...)
	events = append(events,
		run.Event{Type: run.RollbackStarted, Actor: "bo", Reason: "errors", At: at(20)},
		run.Event{Type: run.CheckFinished, Item: "b", Attempt: 1, Verdict: "pass", At: at(30)},
		run.Event{Type: run.RunClosed, At: at(31)})
	m := metrics.Of(events)
	if m.Succeeded() || m.Rollbacks != 1 || m.Result != run.RunRolledBack {
		t.Fatalf("%s, %d rollbacks", m.Result, m.Rollbacks)
	}
	if len(m.Issues) != 1 || !m.Issues[0].Watch || m.Issues[0].How != "rolled back" || m.Issues[0].Took != 24*time.Second {
		t.Errorf("issues %+v", m.Issues)
	}
}

// TestUnknownIsNotZero: what nobody measured is not 0, nor is what is no number.
func TestUnknownIsNotZero(t *testing.T) {
	for _, value := range []string{"", "NaN", "-1", "+Inf", "1e300", "soon"} {
		e := start(t)
		e.Facts = map[string]string{metrics.ProbeFact: value, metrics.MigrationFact: value}
		m := metrics.Of([]run.Event{e})
		if m.Outside.Known || m.Migration.Known || m.Duration.Known {
			t.Errorf("%q: outside %v, migration %v, duration %v", value, m.Outside, m.Migration, m.Duration)
		}
		list := m.List()
		if list[2].Value != metrics.NotMeasured || list[2].Seconds != nil {
			t.Errorf("%q: %+v", value, list[2])
		}
		if want := "0.0 s of maintenance; outside probe: not measured"; list[1].Value != want {
			t.Errorf("%q: downtime %q, want %q", value, list[1].Value, want)
		}
	}
	if m := metrics.Of(nil); m.Succeeded() || m.Run != "" {
		t.Errorf("no events: %+v", m)
	}
}

// TestEmergencyOwesAndFindsNothing: what an emergency leaves undone is no issue.
func TestEmergencyOwesAndFindsNothing(t *testing.T) {
	e := start(t)
	e.Plan.Items = append(e.Plan.Items, run.Item{ID: "say", Phase: "back", Gate: "back", Kind: run.Attest, Applies: run.Applies})
	m := metrics.Of([]run.Event{e, {Type: run.RollbackStarted, Actor: "bo", Reason: "fire", Emergency: true, At: at(3)}})
	if len(m.Issues) != 0 || !m.Emergency {
		t.Errorf("issues %+v, emergency %t", m.Issues, m.Emergency)
	}
}

func TestOver(t *testing.T) {
	if _, ok := metrics.Over([]metrics.Metrics{{}}).Rate(); ok {
		t.Error("a rate without a run that ended")
	}
	known := func(d time.Duration) metrics.Measured { return metrics.Measured{Known: true, Value: d} }
	s := metrics.Over([]metrics.Metrics{
		{Closed: true, Result: run.RunDone, Duration: known(10 * time.Second)},
		{Closed: true, Result: run.RunDone, Duration: known(20 * time.Second)},
		{Closed: true, Result: run.RunRolledBack, Rollbacks: 1},
		{Closed: true, Result: run.RunAborted, Duration: known(time.Minute)},
		{Result: run.RunHeld},
	})
	if rate, ok := s.Rate(); !ok || rate != 50 || s.Ended != 4 || s.Running != 1 || s.RolledBack != 1 || s.Aborted != 1 {
		t.Errorf("%+v", s)
	}
	if s.Duration != known(20*time.Second) || s.Migration.Known {
		t.Errorf("medians %v %v", s.Duration, s.Migration)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 s", 1250 * time.Millisecond: "1.2 s", time.Minute: "1m", 90 * time.Second: "1m30s",
		time.Hour: "1h", 49*time.Hour + 5*time.Second: "2d1h0m5s", 48 * time.Hour: "2d",
	} {
		if got := metrics.Words(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}
