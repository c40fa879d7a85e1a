package run

import (
	"fmt"
	"maps"
)

// intended lets an action act: its intent is durable now.
func (m *machine) intended(i int, e Event) {
	it, st := &m.Plan.Items[i], m.Items[i]
	if it.Kind != Action || st.Status != Running || st.Attempt != e.Attempt || st.Intended {
		return
	}
	st = m.edit(i)
	st.Intended, st.IntentFacts = true, e.Facts
	m.emit(Effect{Type: Perform, Item: it.ID, Attempt: st.Attempt, Key: m.key(i)})
}

// actionFinished takes an action's answer. A late one ends a doubt, and it counts
// against a person who has said that the attempt was not done.
func (m *machine) actionFinished(i int, e Event) {
	it, st := &m.Plan.Items[i], m.Items[i]
	if it.Kind != Action {
		return
	}
	if st.ToldNot && st.Attempt == e.Attempt && Status(e.Verdict) == Done {
		e.Reason = "done after all: " + e.Reason
		m.done(i, e)
		return
	}
	if repeats := it.Class == Pure || it.Class == Idempotent || it.Class == Keyed; e.Attempt < st.Attempt && Status(e.Verdict) == Done && !repeats {
		m.tell(i, "in_doubt", fmt.Sprintf("late %d", e.Attempt), fmt.Sprintf("attempt %d was done after all, and attempt %d has begun", e.Attempt, st.Attempt))
		return
	}
	open := st.Status == Running || st.Status == InDoubt
	if !open || st.Attempt != e.Attempt || !st.Intended {
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
	it := &m.Plan.Items[i]
	m.edit(i).Retries = 0
	m.settle(i, Done, e)
	if it.Releases != "" {
		m.release(it.Releases)
	}
	if it.Holds != "" {
		m.Held = maps.Clone(m.Held)
		m.Held[it.Holds] = it.ID
	}
}

// release forgets a resource that has been given back, and that giving it back
// may have failed before.
func (m *machine) release(resource string) {
	if i, ok := m.at(m.Held[resource]); ok && m.Items[i].UndoReason != "" {
		m.edit(i).UndoReason = ""
	}
	m.Held = maps.Clone(m.Held)
	delete(m.Held, resource)
}

// doubt deals with an action whose outcome is unknown.
func (m *machine) doubt(i int, e Event) {
	st := m.edit(i)
	st.Status, st.Verdict, st.Reason = InDoubt, string(InDoubt), e.Reason
	st.SettledAt = m.Now
	m.pursue(i)
}

// pursue goes on with an action in doubt by its class: what may be repeated is,
// what can be probed is, and for the rest a person decides. Nothing is repeated
// that could not be begun now.
func (m *machine) pursue(i int) {
	it, st := &m.Plan.Items[i], m.edit(i)
	switch it.Class {
	case Pure, Idempotent, Keyed:
		if st.Repeats < maxRepeats && m.free(i) {
			m.repeat(i)
			return
		}
	case Probed:
		if !st.Probing && !st.Probed {
			st.Probing, st.Probed = true, true
			m.emit(Effect{Type: Probe, Item: it.ID, Attempt: st.Attempt, Key: m.key(i)})
		}
		if st.Probing {
			return
		}
	}
	m.tell(i, "in_doubt", fmt.Sprint(st.Attempt), st.Reason)
}

// repeat starts an action again under the key of its first start.
func (m *machine) repeat(i int) {
	st := m.edit(i)
	st.Repeats++
	st.Attempt++
	st.Probed = false
	m.launch(i)
}

// probed takes a probe's answer: done and not done decide, all else is for a
// person.
func (m *machine) probed(i int, e Event) {
	st := m.Items[i]
	if st.Status != InDoubt || !st.Probing || st.Attempt != e.Attempt {
		return
	}
	st = m.edit(i)
	st.Probing = false
	switch e.Verdict {
	case "done":
		e.Reason = "found done by probe: " + e.Reason
		m.done(i, e)
	case "not_done":
		if st.Repeats < maxRepeats && m.free(i) {
			m.repeat(i)
			return
		}
		reason := "found not done by probe: " + e.Reason
		m.settle(i, Failed, Event{Reason: reason})
		m.tell(i, "held", fmt.Sprintf("probe %d", st.Attempt), reason)
	default:
		st.Reason = fmt.Sprintf("%s; the probe says %s: %s", st.Reason, e.Verdict, e.Reason)
		m.tell(i, "in_doubt", fmt.Sprint(st.Attempt), st.Reason)
	}
}

// resolved takes a person's word for what became of an action in doubt, or for
// a resource that has been given back by hand.
func (m *machine) resolved(i int, e Event) {
	it := &m.Plan.Items[i]
	switch {
	case m.Items[i].Status != InDoubt:
		st := m.edit(i)
		st.UndoReason, st.UndoneAt = "", m.Now
		if it.Holds != "" && m.Held[it.Holds] == it.ID {
			m.release(it.Holds)
		}
	case e.Verdict == "done":
		m.done(i, e)
	case e.Verdict == "undone":
		m.settle(i, Undone, e)
	case e.Verdict == "not_done":
		m.settle(i, Failed, e)
		m.edit(i).ToldNot = true
	}
}

// undo takes an action back.
func (m *machine) undo(i int) {
	it, st := &m.Plan.Items[i], m.edit(i)
	st.Undoing, st.UndoIntended = true, false
	st.UndoAttempt++
	m.emit(Effect{Type: IntendUndo, Item: it.ID, Attempt: st.UndoAttempt, Key: m.key(i) + "/undo"})
}

func (m *machine) undoIntended(i int, e Event) {
	it, st := &m.Plan.Items[i], m.Items[i]
	if !st.Undoing || st.UndoIntended || st.UndoAttempt != e.Attempt {
		return
	}
	st = m.edit(i)
	st.UndoIntended, st.IntentFacts = true, e.Facts
	m.emit(Effect{Type: PerformUndo, Item: it.ID, Attempt: st.UndoAttempt, Key: m.key(i) + "/undo"})
}

func (m *machine) undoFinished(i int, e Event) {
	it, st := &m.Plan.Items[i], m.Items[i]
	if !st.Undoing || !st.UndoIntended || st.UndoAttempt != e.Attempt {
		return
	}
	st = m.edit(i)
	st.Undoing = false
	if Status(e.Verdict) != Done {
		st.UndoReason = "taking it back: " + e.Reason
		m.tell(i, "held", fmt.Sprintf("undo %d", st.UndoAttempt), st.UndoReason)
		return
	}
	st.UndoReason, st.UndoneAt = "", m.Now
	if it.Holds != "" && m.Held[it.Holds] == it.ID {
		m.release(it.Holds)
	}
	m.learnOf(i, e.Sets)
}

// undoable reports whether the action can be taken back.
func (it *Item) undoable() bool { return it.Undo != "" || it.UndoType != "" }
