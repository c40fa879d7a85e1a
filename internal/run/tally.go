package run

import "slices"

// tally keeps account of the items, so that an event costs little however many
// items there are.
type tally struct {
	// marks holds what counts of each item.
	marks []mark
	// unlet counts by gate the items that let nothing through, rest those of them
	// that are no sign-offs.
	unlet, rest []int
	// acting counts what changes the world right now, busy checks and probes,
	// doubts the actions whose outcome is unknown.
	acting, busy, doubts int
	// waived lists the items with a waiver: they change as time goes by.
	waived []int
}

type mark uint8

const (
	letting mark = 1 << iota
	pending
	acting
	busy
	doubtful
)

func (s *State) markOf(i int) mark {
	st, kind := s.Items[i], s.shape.spots[i].kind
	var k mark
	if s.lets(i) {
		k |= letting
	}
	switch {
	case st.Status == Pending:
		k |= pending
	case st.Status == Running && kind == Action:
		k |= acting
	case st.Status == Running || st.Probing:
		k |= busy
	}
	if st.Undoing {
		k |= acting
	}
	if st.Status == InDoubt {
		k |= doubtful
	}
	return k
}

// clone copies what Step may change; what an item's state points to is copied
// when it is changed.
func (s State) clone() State {
	s.Items = slices.Clone(s.Items)
	s.Passed, s.GateAt = slices.Clone(s.Passed), slices.Clone(s.GateAt)
	s.marks, s.unlet, s.rest = slices.Clone(s.marks), slices.Clone(s.unlet), slices.Clone(s.rest)
	return s
}

// machine is a state being changed and the effects that follow.
type machine struct {
	*State
	effects []Effect
	// own tells which items' states have been copied; touched lists them.
	own     map[int]bool
	touched []int
}

// edit gives an item's state to be changed.
func (m *machine) edit(i int) *ItemState {
	if !m.own[i] {
		st := *m.Items[i]
		m.Items[i], m.own[i] = &st, true
		m.touched = append(m.touched, i)
	}
	return m.Items[i]
}

// recount brings the account up to date with what has been changed.
func (m *machine) recount() {
	for n := 0; n < len(m.touched); n++ { // remark may touch what holds the item
		m.remark(m.touched[n])
	}
	for _, i := range m.waived {
		m.remark(i)
	}
}

func (m *machine) remark(i int) {
	was, is := m.marks[i], m.markOf(i)
	if was == is {
		return
	}
	m.marks[i] = is
	at := &m.shape.spots[i]
	step := func(what mark) int { return int(is&what)/int(what) - int(was&what)/int(what) }
	m.unlet[at.gate] -= step(letting)
	if at.kind != Signoff {
		m.rest[at.gate] -= step(letting)
	}
	m.acting += step(acting)
	m.busy += step(busy)
	m.doubts += step(doubtful)
	// What holds an item is settled only as long as the item is.
	if up := at.parent; up >= 0 && step(letting) < 0 && m.shape.spots[up].kind == Group && m.Items[up].Status == Pass {
		m.edit(up).Status = Pending
	}
}
