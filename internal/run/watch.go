package run

import (
	"fmt"
	"strings"
	"time"
)

// beginWatch starts a watch. Its samples lie on a grid from its start, so that a
// slow answer does not stretch the window.
func (m *machine) beginWatch(i int) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	st.Attempt++
	st.Occurrence++
	st.Status, st.StartedAt = Watching, m.Now
	first := m.Now.Add(it.Watch.Delay)
	st.Watch = &WatchState{StartedAt: first}
	m.sampleTimer(i, first)
}

func (m *machine) sampleTimer(i int, at time.Time) {
	m.timer(fmt.Sprintf("sample:%s:%d:%d", m.Plan.Items[i].ID, m.Items[i].Attempt, at.UnixMilli()), at)
}

// sampleDue asks for a sample, unless users see the maintenance page: then the
// window's clock stands.
func (m *machine) sampleDue(i int) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	if _, down := m.Held[Maintenance]; down && it.Window != "" {
		w := *st.Watch
		w.PausedFor += it.Watch.Every
		st.Watch = &w
		m.sampleTimer(i, m.Now.Add(it.Watch.Every))
		return
	}
	m.emit(Effect{Type: Sample, Item: it.ID, Attempt: st.Attempt})
}

func (m *machine) sampled(i int, e Event) {
	st := &m.Items[i]
	if st.Status != Watching || st.Attempt != e.Attempt {
		return
	}
	w := *st.Watch
	st.Watch = &w
	first := w.Passed+w.Failed+w.Errors == 0
	answered := true
	switch Status(e.Verdict) {
	case Pass:
		w.Passed++
		w.InARow = 0
	case Fail:
		w.Failed++
		w.InARow = 0
	default:
		w.Errors++
		w.InARow++
		answered = false
	}
	if first {
		w.FirstOK = answered
	}
	w.LastOK, w.LastAt = answered, m.Now
	st.Reason, st.Facts = e.Reason, e.Facts
	*st.Watch = w
	m.judge(i, e)
}

// judge ends a watch early when it cannot pass any more, and at its end.
func (m *machine) judge(i int, e Event) {
	it, w := &m.Plan.Items[i], m.Items[i].Watch
	rule := it.Watch
	switch {
	case w.Failed > rule.MaxFailures:
		e.Reason = fmt.Sprintf("%d of %d samples failed, %d tolerated; the last: %s", w.Failed, w.Passed+w.Failed, rule.MaxFailures, e.Reason)
		m.failed(i, Fail, e)
	case w.InARow > rule.MaxErrors:
		e.Reason = fmt.Sprintf("%d samples in a row without an answer, %d tolerated; the last: %s", w.InARow, rule.MaxErrors, e.Reason)
		m.failed(i, Inconclusive, e)
	case m.Now.Sub(w.StartedAt)-w.PausedFor >= rule.For:
		m.endWatch(i, e)
	default:
		m.sampleTimer(i, m.nextOnGrid(i))
	}
}

// nextOnGrid gives the first time of the watch's grid after now.
func (m *machine) nextOnGrid(i int) time.Time {
	w, every := m.Items[i].Watch, m.Plan.Items[i].Watch.Every
	begun := w.StartedAt.Add(w.PausedFor)
	if m.Now.Before(begun) {
		return begun
	}
	return begun.Add((m.Now.Sub(begun)/every + 1) * every)
}

// Expected is how many samples a watch of this rule takes when nothing is missed.
func (r *WatchRule) Expected() int { return int(r.For/r.Every) + 1 }

// endWatch passes a watch only with enough answers: coverage of the expected
// samples, the first and the last of them answered, and at least one pass. All
// else is inconclusive.
func (m *machine) endWatch(i int, e Event) {
	it, w := &m.Plan.Items[i], m.Items[i].Watch
	rule := it.Watch
	answers, expected := w.Passed+w.Failed, rule.Expected()
	var lacking []string
	if answers*100 < expected*rule.Coverage {
		lacking = append(lacking, fmt.Sprintf("%d of %d samples answered, want %d %%", answers, expected, rule.Coverage))
	}
	if answers < rule.MinSamples {
		lacking = append(lacking, fmt.Sprintf("%d samples, want at least %d", answers, rule.MinSamples))
	}
	if !w.FirstOK || !w.LastOK {
		lacking = append(lacking, "the first or the last sample has no answer")
	}
	if w.Passed == 0 {
		lacking = append(lacking, "no sample passed")
	}
	if len(lacking) > 0 {
		e.Reason = strings.Join(lacking, "; ")
		m.failed(i, Inconclusive, e)
		return
	}
	e.Reason = fmt.Sprintf("%d of %d samples passed over %s; the last: %s", w.Passed, answers, rule.For, e.Reason)
	m.settle(i, Pass, e)
}

// clocks starts and stops the windows' clocks: they run while their phase is
// open and users do not see the maintenance page.
func (m *machine) clocks() {
	_, down := m.Held[Maintenance]
	for i := range m.Plan.Items {
		it := &m.Plan.Items[i]
		if it.Window == "" || !m.opened(it.Gate) {
			continue
		}
		w := m.Windows[it.Window]
		switch {
		case w.Ended:
		case down && !w.Since.IsZero():
			w.Elapsed += m.Now.Sub(w.Since)
			w.Since = time.Time{}
			m.Windows[it.Window] = w
		case !down && w.Since.IsZero():
			w.Opened, w.Since = true, m.Now
			m.Windows[it.Window] = w
			m.timer("window:"+it.Window, m.Now.Add(it.WindowFor-w.Elapsed))
		}
	}
}

func (m *machine) windowFired(id string) {
	w := m.Windows[id]
	if w.Since.IsZero() || w.Ended {
		return
	}
	length := m.windowLength(id)
	if elapsed := w.Elapsed + m.Now.Sub(w.Since); elapsed < length {
		m.timer("window:"+id, m.Now.Add(length-elapsed))
		return
	}
	w.Ended = true
	m.Windows[id] = w
}

func (m *machine) windowLength(id string) time.Duration {
	for i := range m.Plan.Items {
		if m.Plan.Items[i].Window == id {
			return m.Plan.Items[i].WindowFor
		}
	}
	return 0
}
