package run

// resume gives a new process everything that was under way: checks are run again,
// actions with an intent are looked up, timers are set again.
func (m *machine) resume() {
	m.closeAsked = false
	for i := range m.Items {
		m.resumeItem(i)
	}
	for i := range m.Plan.Items {
		it, st := &m.Plan.Items[i], m.Items[i]
		if st.Waiver != nil {
			m.timer("waiver:"+it.ID, st.Waiver.Until)
		}
		if st.Sign != nil && !st.Sign.Until.IsZero() {
			m.timer("sign:"+it.ID, st.Sign.Until)
		}
	}
	for _, win := range m.shape.windows {
		if w := m.Windows[win.id]; !w.Ended && !w.Since.IsZero() {
			m.timer("window:"+win.id, w.Since.Add(m.Plan.Items[win.length].WindowFor-w.Elapsed))
		}
	}
}

func (m *machine) resumeItem(i int) {
	it, st := &m.Plan.Items[i], m.Items[i]
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
		m.timer(m.retryTimer(i), st.RetryAt)
	case st.Status == Watching && st.Watch.Due:
		m.askSample(i)
	case st.Status == Watching && st.Watch.StoppedAt.IsZero():
		m.timer(m.sampleTimer(i), st.Watch.Next)
	}
	if st.Undoing {
		kind := IntendUndo
		if st.UndoIntended {
			kind = RecoverUndo
		}
		m.emit(Effect{Type: kind, Item: it.ID, Attempt: st.UndoAttempt, Key: m.key(i) + "/undo"})
	}
}
