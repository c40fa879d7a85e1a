package run

import "fmt"

// intended lets an action act: its intent is durable now.
func (m *machine) intended(i int, e Event) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	if it.Kind != Action || st.Status != Running || st.Attempt != e.Attempt || st.Intended {
		return
	}
	st.Intended, st.IntentFacts = true, e.Facts
	m.emit(Effect{Type: Perform, Item: it.ID, Attempt: st.Attempt, Key: m.key(i)})
}

func (m *machine) actionFinished(i int, e Event) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	open := st.Status == Running || st.Status == InDoubt // a late answer ends a doubt
	if it.Kind != Action || !open || st.Attempt != e.Attempt || !st.Intended {
		return
	}
	switch Status(e.Verdict) {
	case Done:
		m.done(i, e)
	case Failed:
		m.failed(i, Failed, e)
	default:
		m.doubt(i, e)
	}
}

// done settles an action and keeps account of what it took or gave back.
func (m *machine) done(i int, e Event) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	st.Retries = 0
	m.settle(i, Done, e)
	if it.Holds != "" {
		m.Held[it.Holds] = it.ID
	}
	if it.Releases != "" {
		m.release(it.Releases)
	}
	m.clocks()
}

// release forgets a resource that has been given back.
func (m *machine) release(resource string) {
	delete(m.Held, resource)
}

// doubt deals with an action whose outcome is unknown, by its class: what may be
// repeated is, what can be probed is, and for the rest a person decides.
func (m *machine) doubt(i int, e Event) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	st.Status, st.Verdict, st.Reason = InDoubt, string(InDoubt), e.Reason
	st.SettledAt = m.Now
	switch it.Class {
	case Pure, Idempotent, Keyed:
		if st.Repeats < maxRepeats {
			st.Repeats++
			st.Attempt++
			m.launch(i)
			return
		}
	case Probed:
		if !st.Probing {
			st.Probing = true
			m.emit(Effect{Type: Probe, Item: it.ID, Attempt: st.Attempt, Key: m.key(i)})
			return
		}
	}
	m.tell("in_doubt", fmt.Sprintf("%s#%d", it.ID, st.Attempt), it.ID, e.Reason)
}

// probed takes a probe's answer: done and not done decide, all else is for a
// person.
func (m *machine) probed(i int, e Event) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	if st.Status != InDoubt || !st.Probing || st.Attempt != e.Attempt {
		return
	}
	st.Probing = false
	switch e.Verdict {
	case "done":
		e.Reason = "found done by probe: " + e.Reason
		m.done(i, e)
	case "not_done":
		if st.Repeats < maxRepeats {
			st.Repeats++
			st.Attempt++
			m.launch(i)
			return
		}
		fallthrough
	default:
		st.Reason = fmt.Sprintf("%s; the probe says %s: %s", st.Reason, e.Verdict, e.Reason)
		m.tell("in_doubt", fmt.Sprintf("%s#%d", it.ID, st.Attempt), it.ID, st.Reason)
	}
}

// resolved takes a person's word for what became of an action in doubt.
func (m *machine) resolved(i int, e Event) {
	st := &m.Items[i]
	switch e.Verdict {
	case "done":
		m.done(i, e)
	case "undone":
		m.settle(i, Undone, e)
	case "not_done":
		m.settle(i, Failed, e)
		st.Retries = 0
	}
}

// undo takes an action back, or asks again after a failure.
func (m *machine) undo(i int) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	if st.Undoing {
		return
	}
	st.Undoing, st.UndoIntended = true, false
	st.UndoAttempt++
	m.emit(Effect{Type: IntendUndo, Item: it.ID, Attempt: st.UndoAttempt, Key: m.key(i) + "/undo"})
}

func (m *machine) undoIntended(i int, e Event) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	if !st.Undoing || st.UndoIntended || st.UndoAttempt != e.Attempt {
		return
	}
	st.UndoIntended, st.IntentFacts = true, e.Facts
	m.emit(Effect{Type: PerformUndo, Item: it.ID, Attempt: st.UndoAttempt, Key: m.key(i) + "/undo"})
}

func (m *machine) undoFinished(i int, e Event) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	if !st.Undoing || !st.UndoIntended || st.UndoAttempt != e.Attempt {
		return
	}
	st.Undoing = false
	if Status(e.Verdict) != Done {
		st.UndoReason = "taking it back: " + e.Reason
		m.tell("held", fmt.Sprintf("%s#undo%d", it.ID, st.UndoAttempt), it.ID, st.UndoReason)
		return
	}
	st.UndoReason = ""
	if it.Holds != "" && m.Held[it.Holds] == it.ID {
		m.release(it.Holds)
	}
	for name, value := range e.Sets {
		m.Facts[name] = value
	}
	st.UndoneAt = m.Now
	m.clocks()
}
