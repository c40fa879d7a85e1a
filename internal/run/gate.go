package run

import "sort"

// advance does everything that follows from the present state, until nothing
// more follows.
func (m *machine) advance() {
	for changed := true; changed; {
		changed = m.voidSignatures()
		changed = m.openPhase() || changed
		m.clocks()
		changed = m.beginReady() || changed
		changed = m.passGates() || changed
		changed = m.giveBack() || changed
	}
	m.finish()
}

// scope tells the phases of a rollback from the ordinary ones.
func (m *machine) inScope(phase Phase) bool { return phase.Rollback == m.Rollback }

// openPhase opens the next phase once every gate before it has been passed.
func (m *machine) openPhase() bool {
	if m.Aborting || m.Closing {
		return false
	}
	for k, ph := range m.Plan.Phases {
		if !m.inScope(ph) || m.Passed[k] {
			continue
		}
		if m.Open == k || (m.Rollback && m.inFlight()) {
			return false
		}
		m.Open = k
		return true
	}
	return false
}

// opened reports whether a phase has been opened in the present scope.
func (m *machine) opened(id string) bool {
	k := m.phase(id)
	return k >= 0 && m.inScope(m.Plan.Phases[k]) && (m.Passed[k] || k == m.Open)
}

// prefix remembers, while the items are walked in document order, whether
// everything above in one scope is settled well, and whether its actions are.
type prefix struct{ blocked, actionBlocked bool }

func (m *machine) beginReady() bool {
	if m.Paused || m.Aborting || m.Closing {
		return false
	}
	begun := false
	above := map[string]*prefix{}
	for i := range m.Plan.Items {
		it := &m.Plan.Items[i]
		if !m.opened(it.Gate) {
			continue
		}
		key := scope(m.gateOf(it), it)
		if above[key] == nil {
			above[key] = &prefix{}
		}
		if m.Items[i].Status == Pending && m.ready(i, above[key]) {
			m.begin(i)
			begun = true
		}
		if it.Kind != Group && !m.lets(i) && waitedFor(m.gateOf(it), it) {
			above[key].blocked = true
			above[key].actionBlocked = above[key].actionBlocked || it.Kind == Action
		}
	}
	return begun
}

func (m *machine) gateOf(it *Item) *Phase { return &m.Plan.Phases[m.phase(it.Gate)] }

// ready reports whether nothing holds an item back, given what stands above it.
func (m *machine) ready(i int, above *prefix) bool {
	it := &m.Plan.Items[i]
	if it.Window != "" {
		w := m.Windows[it.Window]
		if it.Kind == Watch && !w.Opened || it.Kind != Watch && !w.Ended {
			return false
		}
	}
	if !m.allLet(it.Needs) || !m.allLet(it.Children) {
		return false
	}
	switch it.Kind {
	case Action:
		return !above.blocked
	case Check, Watch:
		return !above.actionBlocked
	case Signoff:
		if m.gateOf(it).Rollback {
			return !above.actionBlocked
		}
		return m.restOfGate(it.Gate)
	}
	return true
}

// restOfGate reports whether everything of a gate but its sign-offs stands.
func (m *machine) restOfGate(gate string) bool {
	for i := range m.Plan.Items {
		if it := &m.Plan.Items[i]; it.Gate == gate && it.Kind != Signoff && !m.lets(i) {
			return false
		}
	}
	return true
}

// lets reports whether an item lets what waits for it through.
func (m *machine) lets(i int) bool {
	return m.Green(i) || (m.Plan.Items[i].Optional && m.Items[i].Status.Settled() && m.Items[i].Status != InDoubt)
}

// passGates passes the open phase's gate when every item of it stands.
func (m *machine) passGates() bool {
	k := m.Open
	if k < 0 || k >= len(m.Passed) || m.Passed[k] || m.Aborting || m.Closing || m.Paused || !m.inScope(m.Plan.Phases[k]) {
		return false
	}
	for i := range m.Plan.Items {
		if m.Plan.Items[i].Gate == m.Plan.Phases[k].ID && !m.lets(i) {
			return false
		}
	}
	if m.refresh(k) {
		return true
	}
	m.Passed[k], m.GateAt[k] = true, m.Now
	return true
}

// refresh runs a gate's checks again whose evidence has become too old.
func (m *machine) refresh(k int) bool {
	stale := false
	for i := range m.Plan.Items {
		it, st := &m.Plan.Items[i], &m.Items[i]
		if it.Gate != m.Plan.Phases[k].ID || it.Kind != Check || it.FreshFor == 0 || st.Status != Pass {
			continue
		}
		if m.Now.Sub(st.SettledAt) > it.FreshFor {
			st.Status = Pending
			stale = true
		}
	}
	return stale
}

// giveBack takes held resources back: when the items named by undo_when are
// green, and everything before the run closes.
func (m *machine) giveBack() bool {
	changed := false
	for _, resource := range m.heldNames() {
		i, ok := m.index[m.Held[resource]]
		if !ok {
			continue
		}
		it, st := &m.Plan.Items[i], &m.Items[i]
		if st.Undoing || st.UndoReason != "" || it.Undo == "" || m.inFlight() {
			continue
		}
		if m.Closing || (len(it.UndoWhen) > 0 && m.allLet(it.UndoWhen)) {
			m.undo(i)
			changed = true
		}
	}
	return changed
}

func (m *machine) heldNames() []string {
	var names []string
	for name := range m.Held {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (m *machine) allLet(ids []string) bool {
	for _, id := range ids {
		if j, ok := m.index[id]; ok && !m.lets(j) {
			return false
		}
	}
	return true
}

// inFlight reports whether something is being done right now.
func (m *machine) inFlight() bool {
	for i := range m.Items {
		if m.Items[i].Status == Running || m.Items[i].Undoing || m.Items[i].Probing {
			return true
		}
	}
	return false
}

// finish closes the run once everything has been done and given back.
func (m *machine) finish() {
	if m.Closed {
		return
	}
	if !m.Closing {
		result, over := m.over()
		if !over {
			return
		}
		m.Closing, m.Result = true, result
		for m.giveBack() {
		}
	}
	if len(m.Held) > 0 || m.inFlight() {
		if !m.inFlight() {
			m.tell("held", "close", "", "a held resource could not be given back")
		}
		return
	}
	if m.Told["close"] {
		return
	}
	m.Told["close"] = true
	m.tell("done", "close", "", string(m.Result))
	m.emit(Effect{Type: Close, Reason: string(m.Result)})
}

// over tells whether nothing is left to do, and how the run ended.
func (m *machine) over() (RunStatus, bool) {
	if m.Aborting {
		return RunAborted, !m.inFlight()
	}
	for k, ph := range m.Plan.Phases {
		if m.inScope(ph) && !m.Passed[k] {
			return "", false
		}
	}
	if m.Rollback {
		return RunRolledBack, true
	}
	return RunDone, true
}
