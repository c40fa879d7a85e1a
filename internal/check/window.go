package check

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Window is a parameter for a stretch of time as people write it: a duration from
// now on (4h), start and end (2026-03-01T22:00:00Z/2026-03-02T00:00:00Z), start
// and duration (2026-03-01T22:00:00Z/2h), or the name of a fact that holds one of
// the last two (plan.window).
type Window struct {
	length     time.Duration
	start, end time.Time
	fact       string
}

// UnmarshalText reads a window.
func (w *Window) UnmarshalText(text []byte) error {
	s := string(text)
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		*w = Window{length: d}
		return nil
	}
	if momentFact.MatchString(s) {
		*w = Window{fact: s}
		return nil
	}
	start, end, err := interval(s)
	if err != nil {
		return errors.New("want a duration from now on (4h), an interval (2026-03-01T22:00:00Z/2026-03-02T00:00:00Z or 2026-03-01T22:00:00Z/2h) or the name of a fact that holds one (plan.window)")
	}
	if !start.Before(end) {
		return errors.New("the window ends before it begins")
	}
	*w = Window{start: start, end: end}
	return nil
}

// interval reads start/end or start/duration, as ISO 8601 writes intervals.
func interval(s string) (start, end time.Time, err error) {
	from, until, _ := strings.Cut(s, "/")
	if start, err = time.Parse(time.RFC3339, from); err != nil {
		return start, end, err
	}
	if d, err := time.ParseDuration(until); err == nil {
		return start, start.Add(d), nil
	}
	end, err = time.Parse(time.RFC3339, until)
	return start, end, err
}

// IsZero reports whether no window was given.
func (w Window) IsZero() bool { return w == Window{} }

// Relative reports whether the window begins whenever it is asked for, so that
// asking later gives another one.
func (w Window) Relative() bool { return w.length > 0 }

// String gives the window for a sentence.
func (w Window) String() string {
	switch {
	case w.length > 0:
		return "the next " + w.length.String()
	case w.fact != "":
		return w.fact
	}
	return Interval(w.start, w.end)
}

// In gives the window's start and end within a run. A fact that nobody supplied or
// that is no interval is an error.
func (w Window) In(env *Env) (start, end time.Time, err error) {
	switch {
	case w.length > 0:
		now := env.Now()
		return now, now.Add(w.length), nil
	case w.fact == "":
		return w.start, w.end, nil
	}
	text, known := env.Ledger.Fact(w.fact)
	if !known {
		return start, end, &NotSupplied{What: w.fact}
	}
	if start, end, err = interval(text); err != nil || !start.Before(end) {
		return start, end, fmt.Errorf("the fact %s is no interval of start/end (%.80q)", w.fact, text)
	}
	return start, end, nil
}

// Interval writes start/end in UTC, as a fact holds it.
func Interval(start, end time.Time) string {
	return start.UTC().Format(time.RFC3339) + "/" + end.UTC().Format(time.RFC3339)
}
