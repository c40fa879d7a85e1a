// Package metrics reckons how a deployment went from the events of its run: the
// seven metrics that deployment checklists ask for, and how much of the time was
// spent waiting for people. It is pure: events in, numbers out.
package metrics

import (
	"math"
	"slices"
	"strconv"
	"time"

	"allclear.dev/allclear/internal/run"
)

// The facts that metrics are taken from, in seconds.
const (
	// ProbeFact is what an outside probe measured as unavailable while maintenance
	// was off; it is set by whatever probes, for example a load generator.
	ProbeFact = "probe.downtime_seconds"
	// MigrationFact is how long the database migrations took.
	MigrationFact = "migration.seconds"
)

// Measured is a duration that may be unknown. Unknown is never zero.
type Measured struct {
	Known bool
	Value time.Duration
}

// Interval is a stretch of time; End is zero while it lasts.
type Interval struct{ Start, End time.Time }

// Issue is an item that went wrong at least once.
type Issue struct {
	// Item and Text name it; Status is fail, failed or inconclusive, as it stood when
	// it first went wrong, and Reason why.
	Item, Text string
	Status     run.Status
	Reason     string
	At         time.Time
	// Watch tells that it was found by a watch.
	Watch bool
	// Resolved is when it last became green, zero while it is not. How says by what:
	// pass, done, n/a, waived, rolled back.
	Resolved time.Time
	How      string
	// Took adds up the stretches during which it was not green.
	Took time.Duration

	openSince time.Time
}

// Metrics is how one run went.
type Metrics struct {
	Run, Environment, Version string
	Started                   time.Time
	// Closed tells that the run is over; then Result says how.
	Closed bool
	Result run.RunStatus
	// Duration is from the start to the last check or watch that passed.
	Duration Measured
	// Maintenance lists when users saw the maintenance page, MaintenanceTime its sum;
	// Outside is what a probe from outside measured beside it.
	Maintenance     []Interval
	MaintenanceTime time.Duration
	Outside         Measured
	Migration       Measured
	Rollbacks       int
	Emergency       bool
	Issues          []Issue
	// Working is when something ran, Watched when nothing ran and a window or a watch
	// was open, People when the run waited for people only, Paused when it was paused.
	Working, Watched, People, Paused time.Duration
}

// Downtime is maintenance plus what the outside probe measured, as far as it is
// known.
func (m *Metrics) Downtime() time.Duration { return m.MaintenanceTime + m.Outside.Value }

// Succeeded reports whether the run ended as done: every gate passed and nothing
// was rolled back.
func (m *Metrics) Succeeded() bool { return m.Closed && m.Result == run.RunDone && m.Rollbacks == 0 }

// Open lists the issues that are not resolved.
func (m *Metrics) Open() []Issue {
	return slices.DeleteFunc(slices.Clone(m.Issues), func(i Issue) bool { return !i.Resolved.IsZero() })
}

// Resolution is the median time from the moment an item went wrong until it was
// green again, over the issues that are resolved; not known when there are none.
func (m *Metrics) Resolution() Measured {
	var took []time.Duration
	for _, i := range m.Issues {
		if !i.Resolved.IsZero() {
			took = append(took, i.Took)
		}
	}
	return median(took)
}

// median gives the middle of the values, or the mean of the two in the middle.
func median(values []time.Duration) Measured {
	if len(values) == 0 {
		return Measured{}
	}
	slices.Sort(values)
	n := len(values)
	return Measured{Known: true, Value: (values[(n-1)/2] + values[n/2]) / 2}
}

// Of reckons the metrics of a run from its events, from the first one on and in
// their order. Events that do not begin with the run's start give no metrics.
func Of(events []run.Event) Metrics {
	if len(events) == 0 || events[0].Type != run.RunStarted || events[0].Plan == nil {
		return Metrics{}
	}
	r := &reckoner{issues: map[int]int{}}
	for _, e := range events {
		r.step(e)
	}
	return r.finish()
}

// secondsOf reads a fact of seconds. What is no number, negative or endless is
// not known.
func secondsOf(facts map[string]string, name string) Measured {
	value, err := strconv.ParseFloat(facts[name], 64)
	if err != nil || math.IsNaN(value) || value < 0 || value > float64(math.MaxInt64/int64(time.Second)) {
		return Measured{}
	}
	return Measured{Known: true, Value: time.Duration(value * float64(time.Second))}
}
