package run

import (
	"fmt"
	"maps"
	"slices"
)

// maxRefreshes is how often evidence that is too old is gathered again for a gate
// that could not be passed in between, before a person must decide.
const maxRefreshes = 3

// advance does everything that follows from the present state, until nothing
// more follows. What is due to be given back comes before anything new.
func (m *machine) advance() {
	for changed := true; changed; {
		m.recount()
		changed = m.voidSignatures()
		changed = m.openPhase() || changed
		changed = m.clocks() || changed
		changed = m.giveBack() || changed
		changed = m.beginReady() || changed
		changed = m.passGates() || changed
	}
	m.finish()
}

// openPhase opens the next phase once every gate before it has been passed. Going
// back waits for the actions under way, but for no check.
func (m *machine) openPhase() bool {
	if m.Aborting || m.Closing {
		return false
	}
	for k := range m.Plan.Phases {
		if !m.inScope(k) || m.Passed[k] {
			continue
		}
		if m.Open == k || m.Rollback && m.acting > 0 {
			return false
		}
		m.Open = k
		return true
	}
	return false
}

// prefix remembers, while the items are walked in order, whether everything above
// in one scope is settled well, and whether its actions are.
type prefix struct{ blocked, actionBlocked bool }

// beginReady begins what nothing holds back.
func (m *machine) beginReady() bool {
	if m.Paused || m.Aborting || m.Closing {
		return false
	}
	m.recount()
	begun, returning := false, m.returning()
	open, stands := make([]bool, len(m.Plan.Phases)), make([]bool, len(m.Plan.Phases))
	for k := range open {
		open[k], stands[k] = m.opened(k), m.earlierStand(k)
	}
	above := make([]prefix, m.shape.scopes)
	for _, i := range m.shape.order {
		at := &m.shape.spots[i]
		if !open[at.gate] {
			continue
		}
		up := &above[at.scope]
		if m.marks[i]&pending != 0 && m.ready(i, up, returning, stands[at.gate]) {
			m.begin(i)
			m.remark(i)
			begun = true
		}
		if at.holdsBack && m.marks[i]&letting == 0 {
			up.blocked = true
			up.actionBlocked = up.actionBlocked || at.heldCheck
		}
	}
	return begun
}

// earlierStand reports whether every gate that has been passed on the way to a
// phase still stands: a signature may have been revoked, a check run again.
func (m *machine) earlierStand(k int) bool {
	for j := range m.Plan.Phases[:k] {
		if m.inScope(j) && m.Passed[j] && m.unlet[j] > 0 {
			return false
		}
	}
	return true
}

// ready reports whether nothing holds an item back, given what stands above it.
func (m *machine) ready(i int, above *prefix, returning, earlier bool) bool {
	at := &m.shape.spots[i]
	if at.window >= 0 {
		w := m.Windows[m.shape.windows[at.window].id]
		if at.kind == Watch && !w.Opened || at.kind != Watch && !w.Ended {
			return false
		}
	}
	if !m.allLet(at.needs) || !m.nextBatch(i) {
		return false
	}
	switch at.kind {
	case Action:
		return !above.blocked && !returning && earlier
	case Check:
		return !above.actionBlocked && !returning
	case Watch:
		return !above.actionBlocked
	case Signoff:
		if m.Plan.Phases[at.gate].Rollback {
			return !above.actionBlocked
		}
		return m.rest[at.gate] == 0
	}
	return true
}

func (m *machine) allLet(items []int) bool {
	return !slices.ContainsFunc(items, func(i int) bool { return m.marks[i]&letting == 0 })
}

// passGates passes the open phase's gate when every item of it stands.
func (m *machine) passGates() bool {
	m.recount()
	k := m.Open
	if k < 0 || m.Passed[k] || m.Aborting || m.Closing || m.Paused || !m.inScope(k) || m.unlet[k] > 0 || m.returning() {
		return false
	}
	if m.refresh(k) {
		return true
	}
	m.Passed[k], m.GateAt[k] = true, m.Now
	return true
}

// refresh gathers a gate's evidence again that has become too old: checks and
// watches run again, statements are asked for again. Evidence that is too old
// each time it comes cannot carry a gate; it is inconclusive.
func (m *machine) refresh(k int) bool {
	stale := false
	for _, i := range m.shape.members[k] {
		it, st := &m.Plan.Items[i], m.Items[i]
		fits := it.Kind == Check || it.Kind == Watch || it.Kind == Attest
		if !fits || it.FreshFor == 0 || st.Status != Pass || m.Now.Sub(st.SettledAt) <= it.FreshFor {
			continue
		}
		stale = true
		st = m.edit(i)
		st.Refreshes++
		if it.Kind != Attest && st.Refreshes > maxRefreshes {
			reason := fmt.Sprintf("gathered %d times, and older than %s each time the gate could have been passed", maxRefreshes+1, it.FreshFor)
			m.settle(i, Inconclusive, Event{Reason: reason})
			m.tell(i, "held", fmt.Sprintf("stale %d", st.Attempt), reason)
			continue
		}
		st.Status = Pending
	}
	return stale
}

// returning reports whether a held resource is being given back or must be before
// anything new is begun.
func (m *machine) returning() bool {
	for _, id := range m.Held {
		if i, ok := m.at(id); ok && (m.Items[i].Undoing || m.due(i)) {
			return true
		}
	}
	return false
}

// due reports whether what an action holds is to be given back now: everything
// before the run closes, and else when the items named by undo_when are green. On
// a rollback only items of the rollback count: half of a way back is no time to
// let users in.
func (m *machine) due(i int) bool {
	if !m.Plan.Items[i].undoable() {
		return false
	}
	if m.Closing {
		return true
	}
	when := m.shape.spots[i].undoWhen
	outside := func(j int) bool { return !m.inScope(m.shape.spots[j].gate) }
	return len(when) > 0 && !slices.ContainsFunc(when, outside) && m.allLet(when)
}

// giveBack takes held resources back that are due, one after the other.
func (m *machine) giveBack() bool {
	m.recount()
	if m.Paused || m.Aborting && !m.Closing || m.acting > 0 || m.busy > 0 {
		return false
	}
	for _, resource := range slices.Sorted(maps.Keys(m.Held)) {
		i, ok := m.at(m.Held[resource])
		if ok && m.due(i) && m.Items[i].UndoReason == "" {
			m.undo(i)
			return true
		}
	}
	return false
}

// finish closes the run once everything has been done and given back, and nothing
// is in doubt.
func (m *machine) finish() {
	if !m.Closing {
		result, over := m.over()
		if !over {
			return
		}
		m.Closing, m.Result = true, result
	}
	m.giveBack()
	m.recount()
	if m.acting > 0 || m.busy > 0 || m.doubts > 0 || m.closeAsked {
		return
	}
	if len(m.Held) > 0 {
		for _, resource := range slices.Sorted(maps.Keys(m.Held)) {
			if i, ok := m.at(m.Held[resource]); ok && !m.Plan.Items[i].undoable() {
				m.tell(i, "held", "close", fmt.Sprintf("it still holds %s and cannot be taken back", resource))
			}
		}
		return
	}
	if !m.toldDone {
		m.emit(Effect{Type: Notify, Reason: "done", Text: string(m.Result)})
	}
	m.closeAsked, m.toldDone = true, true
	m.emit(Effect{Type: Close, Reason: string(m.Result)})
}

// over tells whether nothing is left to do, and how the run ended. A gate that no
// longer stands keeps the run open.
func (m *machine) over() (RunStatus, bool) {
	if m.Aborting {
		return RunAborted, m.acting == 0
	}
	for k := range m.Plan.Phases {
		if m.inScope(k) && (!m.Passed[k] || m.unlet[k] > 0) {
			return "", false
		}
	}
	if m.Rollback {
		return RunRolledBack, true
	}
	return RunDone, true
}
