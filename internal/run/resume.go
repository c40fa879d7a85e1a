package run

import "fmt"

// resume gives a new process everything that was under way: checks are run again,
// actions with an intent are looked up, timers are set again.
func (m *machine) resume() {
	delete(m.Told, "close")
	for i := range m.Items {
		m.resumeItem(i)
	}
	for i := range m.Plan.Items {
		it, st := &m.Plan.Items[i], &m.Items[i]
		if st.Waiver != nil {
			m.timer("waiver:"+it.ID, st.Waiver.Until)
		}
		if st.Sign != nil && !st.Sign.Until.IsZero() {
			m.timer("sign:"+it.ID, st.Sign.Until)
		}
	}
	seen := map[string]bool{}
	for _, it := range m.Plan.Items {
		w, ok := m.Windows[it.Window]
		if it.Window == "" || !ok || seen[it.Window] || w.Ended || w.Since.IsZero() {
			continue
		}
		seen[it.Window] = true
		m.timer("window:"+it.Window, w.Since.Add(it.WindowFor-w.Elapsed))
	}
}

func (m *machine) resumeItem(i int) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	switch {
	case st.Probing:
		m.emit(Effect{Type: Probe, Item: it.ID, Attempt: st.Attempt, Key: m.key(i)})
	case st.Status == Running && it.Kind == Action && st.Intended:
		m.emit(Effect{Type: Recover, Item: it.ID, Attempt: st.Attempt, Key: m.key(i)})
	case st.Status == Running && it.Kind == Action:
		m.emit(Effect{Type: Intend, Item: it.ID, Attempt: st.Attempt, Key: m.key(i)})
	case st.Status == Running:
		m.emit(Effect{Type: RunCheck, Item: it.ID, Attempt: st.Attempt})
	case st.Status == WaitingRetry:
		m.timer(fmt.Sprintf("retry:%s:%d", it.ID, st.Attempt), st.RetryAt)
	case st.Status == Watching:
		m.sampleTimer(i, m.nextOnGrid(i))
	}
	if st.Undoing {
		kind := IntendUndo
		if st.UndoIntended {
			kind = RecoverUndo
		}
		m.emit(Effect{Type: kind, Item: it.ID, Attempt: st.UndoAttempt, Key: m.key(i) + "/undo"})
	}
}
