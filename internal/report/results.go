package report

import (
	"errors"
	"time"

	"allclear.dev/allclear/internal/results"
	"allclear.dev/allclear/internal/run"
)

// Results are the run's items as build servers and monitoring see them; file is
// the checklist's path. fail, failed and undone are
// failures; whatever has no answer, because it was inconclusive, is in doubt or
// never ran, is inconclusive. Groups are left out: what they hold is there. So
// are the phases of a rollback that did not take place.
func Results(s *run.State, file string) (*results.Set, error) {
	if s == nil || s.Plan == nil {
		return nil, errors.New("the run has not been started")
	}
	out := &results.Set{
		Name: clean(s.Plan.Environment + " " + s.Plan.Release.Version), File: file,
		Started: s.StartedAt, Took: s.Now.Sub(s.StartedAt),
	}
	all := entries(s)
	for _, ph := range s.Plan.Phases {
		if ph.Rollback && !s.Rollback {
			continue
		}
		title := clean(ph.Title)
		if title == "" {
			title = ph.ID
		}
		for i := range all {
			if e := &all[i]; e.Item.Gate == ph.ID && e.Item.Kind != run.Group {
				out.Results = append(out.Results, resultOf(e, title))
			}
		}
	}
	return out, nil
}

func resultOf(e *entry, gate string) results.Result {
	r := results.Result{
		ID: e.Item.ID, Text: e.Item.Text, Gate: gate, Line: e.Item.Line, Verdict: results.Inconclusive,
		Word: e.Word, Reason: e.Reason, Took: worked(e.St), Evidence: e.Evidence,
	}
	switch word := statusWord(e); {
	case e.Ticked:
		r.Verdict = results.Pass
	case word == "waived":
		r.Verdict, r.Reason = results.Waived, "by "+e.By+": "+e.Reason
	case e.St.Status == run.NA:
		r.Verdict = results.Skipped
	case e.St.Status == run.Fail || e.St.Status == run.Failed || e.St.Status == run.Undone:
		r.Verdict = results.Fail
	}
	return r
}

// worked is how long the last attempt took.
func worked(st *run.ItemState) time.Duration {
	if st.StartedAt.IsZero() || st.SettledAt.Before(st.StartedAt) {
		return 0
	}
	return st.SettledAt.Sub(st.StartedAt)
}
