package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// beginWatch starts a watch. Its samples lie on a grid from its start, so that a
// slow answer does not stretch the window.
func (m *machine) beginWatch(i int) {
	it, st := &m.Plan.Items[i], m.edit(i)
	st.Attempt++
	st.Occurrence++
	st.Status, st.StartedAt = Watching, m.Now
	first := m.Now.Add(it.Watch.Delay)
	st.Watch = &WatchState{StartedAt: first, Next: first}
	if m.stands(i) {
		st.Watch.StoppedAt = m.Now
		return
	}
	m.timer(m.sampleTimer(i), first)
}

// stands reports whether a watch's clock stands: users see the maintenance page
// and the watch belongs to a window.
func (m *machine) stands(i int) bool {
	_, down := m.Held[Maintenance]
	return down && m.shape.spots[i].window >= 0
}

// sampleTimer names the timer of a watch's next sample.
func (m *machine) sampleTimer(i int) string {
	st := m.Items[i]
	return fmt.Sprintf("sample:%d:%d:%s", st.Attempt, st.Watch.Asked+1, m.Plan.Items[i].ID)
}

// watch gives what a watch has seen, to be changed.
func (m *machine) watch(i int) *WatchState {
	st := m.edit(i)
	w := *st.Watch
	st.Watch = &w
	return &w
}

// sampleDue asks for a sample. A timer that comes too early is set again; one of
// a clock that stands is set when it goes on.
func (m *machine) sampleDue(i int) {
	w := m.Items[i].Watch
	switch {
	case w.Due || !w.StoppedAt.IsZero():
	case m.Now.Before(w.Next):
		m.timer(m.sampleTimer(i), w.Next)
	default:
		w := m.watch(i)
		w.Asked++
		w.Due = true
		m.askSample(i)
	}
}

func (m *machine) askSample(i int) {
	st := m.Items[i]
	m.emit(Effect{Type: Sample, Item: m.Plan.Items[i].ID, Attempt: st.Attempt, Key: fmt.Sprint(st.Watch.Asked)})
}

// sampled takes the answer to the sample that was asked for last, once.
func (m *machine) sampled(i int, e Event) {
	st := m.Items[i]
	if st.Status != Watching || st.Attempt != e.Attempt || !st.Watch.Due || e.Key != "" && e.Key != fmt.Sprint(st.Watch.Asked) {
		return
	}
	w := m.watch(i)
	w.Due = false
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
	st = m.edit(i)
	st.Reason, st.Facts = e.Reason, e.Facts
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
		next := m.nextOnGrid(i)
		m.watch(i).Next = next
		m.timer(m.sampleTimer(i), next)
	}
}

// nextOnGrid gives the first time of the watch's grid after now.
func (m *machine) nextOnGrid(i int) time.Time {
	w, every := m.Items[i].Watch, m.Plan.Items[i].Watch.every()
	begun := w.StartedAt.Add(w.PausedFor)
	if m.Now.Before(begun) {
		return begun
	}
	return begun.Add((m.Now.Sub(begun)/every + 1) * every)
}

// every is the time between two samples, which is never nothing.
func (r *WatchRule) every() time.Duration {
	if r.Every <= 0 {
		return time.Second
	}
	return r.Every
}

// Expected is how many samples a watch of this rule takes when nothing is missed.
func (r *WatchRule) Expected() int { return int(r.For/r.every()) + 1 }

// endWatch passes a watch only with enough answers: coverage of the expected
// samples, the first and the last of them answered, and at least one pass. All
// else is inconclusive.
func (m *machine) endWatch(i int, e Event) {
	it, w := &m.Plan.Items[i], m.Items[i].Watch
	rule := it.Watch
	answers, expected := w.Passed+w.Failed, rule.Expected()
	var lacking []string
	if answers*100 < expected*rule.Coverage {
		few := fmt.Sprintf("%d of %d samples answered, want %d %%", answers, expected, rule.Coverage)
		if w.Asked < expected {
			few += fmt.Sprintf(" (%d were begun: does one take longer than every: %s?)", w.Asked, rule.every())
		}
		lacking = append(lacking, few)
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
func (m *machine) clocks() bool {
	_, down := m.Held[Maintenance]
	changed := false
	for _, win := range m.shape.windows {
		w := m.Windows[win.id]
		open := slices.ContainsFunc(win.members, func(i int) bool { return m.opened(m.shape.spots[i].gate) })
		switch runs := open && !down && !m.Aborting; {
		case w.Ended || runs == !w.Since.IsZero():
			continue
		case runs:
			w.Opened, w.Since = true, m.Now
			m.timer("window:"+win.id, m.Now.Add(m.Plan.Items[win.length].WindowFor-w.Elapsed))
			m.goOn(win.members)
		default:
			w.Elapsed += m.Now.Sub(w.Since)
			w.Since = time.Time{}
			m.standStill(win.members)
		}
		m.setWindow(win.id, w)
		changed = true
	}
	return changed
}

func (m *machine) setWindow(id string, w WindowState) {
	m.Windows = maps.Clone(m.Windows)
	m.Windows[id] = w
}

// standStill stops the clocks of a window's watches. A sample under way does not
// count: it may already have seen the maintenance page.
func (m *machine) standStill(members []int) {
	for _, i := range members {
		if m.Items[i].Status == Watching {
			w := m.watch(i)
			w.StoppedAt, w.Due = m.Now, false
		}
	}
}

// goOn lets the clocks of a window's watches run again.
func (m *machine) goOn(members []int) {
	for _, i := range members {
		if m.Items[i].Status != Watching || m.Items[i].Watch.StoppedAt.IsZero() {
			continue
		}
		w := m.watch(i)
		w.PausedFor += m.Now.Sub(w.StoppedAt)
		w.StoppedAt = time.Time{}
		w.Next = m.nextOnGrid(i)
		m.timer(m.sampleTimer(i), w.Next)
	}
}

func (m *machine) windowFired(id string) {
	w, ok := m.Windows[id]
	if !ok || w.Since.IsZero() || w.Ended {
		return
	}
	length := m.windowLength(id)
	if elapsed := w.Elapsed + m.Now.Sub(w.Since); elapsed < length {
		m.timer("window:"+id, m.Now.Add(length-elapsed))
		return
	}
	w.Ended = true
	m.setWindow(id, w)
}

func (m *machine) windowLength(id string) time.Duration {
	for _, win := range m.shape.windows {
		if win.id == id {
			return m.Plan.Items[win.length].WindowFor
		}
	}
	return 0
}
