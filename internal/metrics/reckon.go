package metrics

import (
	"time"

	"allclear.dev/allclear/internal/run"
)

// reckoner replays a run and notes what the metrics need.
type reckoner struct {
	m      Metrics
	s      run.State
	issues map[int]int // item → index in m.Issues
	passed time.Time   // the last check or watch that passed
	down   time.Time   // since when maintenance is held
}

func (r *reckoner) step(e run.Event) {
	before := r.s
	r.s, _ = run.Step(r.s, e)
	if before.Plan != nil {
		r.spend(&before, r.s.Now.Sub(before.Now))
	}
	r.maintenance()
	for i := range r.s.Items {
		old := run.Status("")
		if before.Plan != nil {
			old = before.Items[i].Status
		}
		// What an emergency leaves undone is owed, not found.
		r.item(i, old, e.Type != run.RollbackStarted)
	}
	if !before.Rollback && r.s.Rollback {
		r.m.Rollbacks++
	}
}

// spend books the time between two events on what the run did in it.
func (r *reckoner) spend(s *run.State, took time.Duration) {
	working, watching := false, false
	for i := range s.Items {
		st := s.Items[i]
		working = working || st.Status == run.Running || st.Undoing || st.Probing
		watching = watching || st.Status == run.Watching || st.Status == run.WaitingRetry
	}
	for _, w := range s.Windows {
		watching = watching || (!w.Since.IsZero() && !w.Ended)
	}
	switch {
	case working:
		r.m.Working += took
	case s.Paused:
		r.m.Paused += took
	case watching:
		r.m.Watched += took
	case len(s.Asked())+len(s.Blocking())+len(s.InDoubt()) > 0:
		r.m.People += took
	default: // between two steps
		r.m.Working += took
	}
}

// maintenance follows whether users see the maintenance page.
func (r *reckoner) maintenance() {
	_, held := r.s.Held[run.Maintenance]
	switch {
	case held && r.down.IsZero():
		r.down = r.s.Now
	case !held && !r.down.IsZero():
		r.m.Maintenance = append(r.m.Maintenance, Interval{r.down, r.s.Now})
		r.m.MaintenanceTime += r.s.Now.Sub(r.down)
		r.down = time.Time{}
	}
}

// item follows how an item stands.
func (r *reckoner) item(i int, old run.Status, found bool) {
	it, st := &r.s.Plan.Items[i], r.s.Items[i]
	if st.Status == old && !r.known(i) {
		return
	}
	if st.Status == run.Pass && old != run.Pass && (it.Kind == run.Check || it.Kind == run.Watch) {
		r.passed = r.s.Now
	}
	bad := st.Status == run.Fail || st.Status == run.Failed || st.Status == run.Inconclusive
	if bad && found && st.Status != old && !r.known(i) {
		r.issues[i] = len(r.m.Issues)
		r.m.Issues = append(r.m.Issues, Issue{
			Item: it.ID, Text: it.Text, Status: st.Status, Reason: st.Reason, At: r.s.Now, Watch: it.Kind == run.Watch,
		})
	}
	if !r.known(i) {
		return
	}
	issue := &r.m.Issues[r.issues[i]]
	switch green := r.s.Green(i); {
	case green && !issue.openSince.IsZero():
		issue.resolve(r.s.Now, how(&r.s, i))
	case bad && !green && issue.openSince.IsZero():
		issue.openSince, issue.Resolved, issue.How = r.s.Now, time.Time{}, ""
	}
}

func (r *reckoner) known(i int) bool {
	_, ok := r.issues[i]
	return ok
}

func (i *Issue) resolve(at time.Time, how string) {
	i.Took += at.Sub(i.openSince)
	i.Resolved, i.How, i.openSince = at, how, time.Time{}
}

func how(s *run.State, i int) string {
	if s.Waived(i) {
		return "waived"
	}
	return string(s.Items[i].Status)
}

// finish closes what is still open at the last event.
func (r *reckoner) finish() Metrics {
	m := &r.m
	m.Run, m.Environment, m.Version = r.s.Run, r.s.Plan.Environment, r.s.Plan.Release.Version
	m.Started, m.Closed, m.Result, m.Emergency = r.s.StartedAt, r.s.Closed, r.s.Status(), r.s.Emergency
	if !r.passed.IsZero() {
		m.Duration = Measured{Known: true, Value: r.passed.Sub(r.s.StartedAt)}
	}
	if !r.down.IsZero() {
		m.Maintenance = append(m.Maintenance, Interval{Start: r.down})
		m.MaintenanceTime += r.s.Now.Sub(r.down)
	}
	m.Outside, m.Migration = secondsOf(r.s.Facts, ProbeFact), secondsOf(r.s.Facts, MigrationFact)
	for i := range m.Issues {
		issue := &m.Issues[i]
		if !issue.openSince.IsZero() && r.s.Closed && r.s.Result == run.RunRolledBack {
			issue.resolve(r.s.ClosedAt, "rolled back")
		}
	}
	return r.m
}
