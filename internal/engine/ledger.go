package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

// maxPast bounds how many earlier runs are looked through.
const maxPast = 200

// Ledger answers types' questions about this run and earlier ones.
type Ledger struct {
	// Environment is this run's.
	Environment string
	// State is this run as it stands.
	State *run.State
	// Own reads this run from its journal where State holds no more than its facts,
	// as in an action's own process; nil where State is all of it.
	Own func(ctx context.Context) (run.State, error)
	// Open gives the journal of an environment by name.
	Open func(ctx context.Context, environment string) (journal.Reader, error)
	// Again runs an item's check now; nil where that is not possible.
	Again func(ctx context.Context, item *run.Item) (check.Outcome, error)
}

// Fact gives a fact of this run.
func (l *Ledger) Fact(name string) (string, bool) {
	value, ok := l.State.Facts[name]
	return value, ok
}

// Items gives results of this run, or of the newest run of another environment
// that is over and fits.
func (l *Ledger) Items(ctx context.Context, q check.Query) (check.Results, error) {
	if q.Environment == "" || q.Environment == l.Environment {
		if l.Own == nil {
			return results(l.State, q.Patterns)
		}
		state, err := l.Own(ctx)
		if err != nil {
			return check.Results{}, fmt.Errorf("read this run's record: %w", err)
		}
		return results(&state, q.Patterns)
	}
	var found *run.State
	err := l.past(ctx, q.Environment, func(s *run.State) bool {
		if q.Release != "" && s.Plan.Release.Version != q.Release {
			return true
		}
		found = s
		return false
	})
	if err != nil {
		return check.Results{}, err
	}
	if found == nil {
		return check.Results{}, &check.NotSupplied{What: fmt.Sprintf("a finished run of %s in %s", orAny(q.Release), q.Environment)}
	}
	if age := time.Since(found.ClosedAt); q.MaxAge > 0 && age > q.MaxAge {
		return check.Results{}, &check.NotSupplied{What: fmt.Sprintf("a run in %s younger than %s (the newest ended %s ago)", q.Environment, q.MaxAge, age.Round(time.Minute))}
	}
	return results(found, q.Patterns)
}

func orAny(release string) string {
	if release == "" {
		return "any release"
	}
	return "release " + release
}

// Rerun runs checks of this run again and gives their fresh answers.
func (l *Ledger) Rerun(ctx context.Context, patterns []string) (check.Results, error) {
	if l.Again == nil {
		return check.Results{}, fmt.Errorf("checks can only be run again by the run itself")
	}
	for _, pattern := range patterns { // one that matches nothing must not hide behind the others
		found, err := results(l.State, []string{pattern})
		if err == nil && len(found.Items) == 0 {
			err = fmt.Errorf("no item matches %s", pattern)
		}
		if err != nil {
			return found, err
		}
	}
	r, err := results(l.State, patterns)
	if err != nil {
		return r, err
	}
	for i := range r.Items {
		item, st := l.State.Of(r.Items[i].ID)
		if item.Kind != run.Check || st.Status == run.NA {
			continue
		}
		outcome, err := l.Again(ctx, item)
		r.Items[i].Verdict, r.Items[i].Reason, r.Items[i].At = string(outcome.Verdict), outcome.Reason, time.Now()
		if err != nil {
			r.Items[i].Verdict, r.Items[i].Reason = string(run.Inconclusive), err.Error()
		}
	}
	return r, ctx.Err()
}

// History gives a fact's values in earlier finished runs, newest first.
func (l *Ledger) History(ctx context.Context, environment, fact string, n int) ([]check.Recorded, error) {
	if environment == "" {
		environment = l.Environment
	}
	var out []check.Recorded
	err := l.past(ctx, environment, func(s *run.State) bool {
		if value, ok := s.Facts[fact]; ok && s.Run != l.State.Run {
			out = append(out, check.Recorded{Run: s.Run, Release: s.Plan.Release.Version, Value: value, At: s.ClosedAt})
		}
		return len(out) < n
	})
	return out, err
}

// past calls visit for the finished runs of an environment, newest first, until
// it returns false.
func (l *Ledger) past(ctx context.Context, environment string, visit func(*run.State) bool) error {
	if l.Open == nil {
		return &check.NotSupplied{What: "the record of " + environment}
	}
	log, err := l.Open(ctx, environment)
	if err != nil {
		return fmt.Errorf("open the record of %s: %w", environment, err)
	}
	defer log.Close()
	runs, err := log.Runs(ctx, journal.Page{Limit: maxPast})
	if err != nil {
		return fmt.Errorf("list runs of %s: %w", environment, err)
	}
	for _, info := range runs {
		state, _, err := Replay(ctx, log, info.Run)
		if err != nil {
			return err
		}
		if state.Closed && !visit(&state) {
			return nil
		}
	}
	return nil
}

func results(s *run.State, patterns []string) (check.Results, error) {
	r := check.Results{
		Run: s.Run, Environment: s.Plan.Environment, Release: s.Plan.Release.Version,
		Status: string(s.Status()), FinishedAt: s.ClosedAt,
	}
	for i := range s.Plan.Items {
		it, st := &s.Plan.Items[i], s.Items[i]
		match, err := matchesAny(patterns, it.ID)
		if err != nil {
			return r, err
		}
		if !match || it.Kind == run.Group {
			continue
		}
		verdict := string(st.Status)
		if s.Waived(i) {
			verdict = "waived"
		}
		r.Items = append(r.Items, check.ItemResult{ID: it.ID, Text: it.Text, Verdict: verdict, Reason: st.Reason, At: st.SettledAt})
	}
	return r, nil
}

// matchesAny reports whether an id matches one of the patterns, in which * does
// not cross a dot and ** does.
func matchesAny(patterns []string, id string) (bool, error) {
	for _, p := range patterns {
		ok, err := doublestar.Match(dots(p), dots(id))
		if err != nil {
			return false, fmt.Errorf("pattern %q: %w", p, err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

func dots(id string) string {
	out := []byte(id)
	for i := range out {
		if out[i] == '.' {
			out[i] = '/'
		}
	}
	return string(out)
}

// Replay gives a run's state from its journal, and its tail.
func Replay(ctx context.Context, log journal.Reader, id string) (run.State, journal.Tail, error) {
	state, tail, _, err := replay(ctx, log, id, map[string]bool{})
	return state, tail, err
}

// replay also gives the notices, of which it is unknown whether they have been
// sent, and notes the requests that have been carried out.
func replay(ctx context.Context, log journal.Reader, id string, requests map[string]bool) (state run.State, tail journal.Tail, told []run.Effect, err error) {
	for stored, err := range log.Read(ctx, id, 0) {
		if err != nil {
			return state, tail, nil, fmt.Errorf("read run %s: %w", id, err)
		}
		event, err := DecodeEvent(stored.Body)
		if err != nil {
			return state, tail, nil, fmt.Errorf("run %s, event %d: %w", id, stored.Seq, err)
		}
		if event.Request != "" {
			requests[event.Request] = true
		}
		var effects []run.Effect
		state, effects = run.Step(state, event)
		for _, e := range effects {
			if e.Type == run.Notify {
				told = append(told, e)
			}
		}
		tail = stored.Tail()
	}
	if state.Plan == nil {
		return state, tail, nil, fmt.Errorf("there is no run %s here", id)
	}
	return state, tail, told, nil
}

// DecodeEvent reads an event's body.
func DecodeEvent(body []byte) (run.Event, error) {
	var e run.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("decode event: %w", err)
	}
	return e, nil
}
