package check

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Moment is a parameter for a point in time as people write it: a duration before
// now (15m), a time (RFC 3339), or the name of a fact that holds one
// (deploy.started_at). run.started_at is when the run started.
type Moment struct {
	ago  time.Duration
	at   time.Time
	fact string
}

// momentFact is a fact's name, which has at least one dot.
var momentFact = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$`)

// UnmarshalText reads a moment.
func (m *Moment) UnmarshalText(text []byte) error {
	s := string(text)
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		*m = Moment{ago: d}
		return nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		*m = Moment{at: at}
		return nil
	}
	if momentFact.MatchString(s) {
		*m = Moment{fact: s}
		return nil
	}
	return errors.New("want a duration (15m), a time (2026-03-01T14:00:00Z) or the name of a fact (deploy.started_at)")
}

// IsZero reports whether no moment was given.
func (m Moment) IsZero() bool { return m == Moment{} }

// Ago gives the duration, if the moment was written as one; otherwise 0.
func (m Moment) Ago() time.Duration { return m.ago }

// In gives the point in time within a run. A fact that nobody supplied, one that
// is no time, and a time that is not in the past are errors: asking since then
// would find nothing, whatever happened.
func (m Moment) In(env *Env) (time.Time, error) {
	now := env.Now()
	at := m.at
	switch {
	case m.ago > 0:
		return now.Add(-m.ago), nil
	case m.fact == "run.started_at":
		at = env.Run.StartedAt
	case m.fact != "":
		text, known := env.Ledger.Fact(m.fact)
		if !known {
			return at, &NotSupplied{What: m.fact}
		}
		var err error
		if at, err = time.Parse(time.RFC3339, text); err != nil {
			return at, fmt.Errorf("the fact %s is no time (%.40q)", m.fact, text)
		}
	}
	if at.IsZero() || !at.Before(now) {
		return at, fmt.Errorf("since: %s is not in the past", at.UTC().Format(time.RFC3339))
	}
	return at, nil
}
