package run

import "slices"

// Status tells how the whole run stands.
func (s *State) Status() RunStatus {
	switch {
	case s.Closed:
		return s.Result
	case s.Paused:
		return RunPaused
	}
	if len(s.InDoubt()) > 0 {
		return RunInDoubt
	}
	if len(s.Blocking()) > 0 {
		return RunHeld
	}
	if s.Busy() {
		if s.Rollback {
			return RunRollingBack
		}
		return RunActive
	}
	if len(s.Asked()) > 0 {
		return RunWaiting
	}
	return RunActive
}

// Busy reports whether something goes on without any person.
func (s *State) Busy() bool {
	for _, st := range s.Items {
		switch st.Status {
		case Running, Watching, WaitingRetry:
			return true
		}
		if st.Undoing || st.Probing {
			return true
		}
	}
	return false
}

// InDoubt lists the items whose outcome a person must settle.
func (s *State) InDoubt() []int {
	return s.where(func(i int) bool { return s.Items[i].Status == InDoubt && !s.Items[i].Probing })
}

// Blocking lists the items that need a decision: they keep an opened gate closed,
// or what they hold cannot be given back. Once the run is ending only the latter
// counts.
func (s *State) Blocking() []int {
	return s.where(func(i int) bool {
		if s.stuck(i) {
			return true
		}
		switch s.Items[i].Status {
		case Fail, Failed, Inconclusive, Undone:
			return !s.Aborting && !s.Closing && !s.lets(i) && s.opened(s.shape.spots[i].gate)
		}
		return false
	})
}

// stuck reports whether what an item holds needs a person to be given back.
func (s *State) stuck(i int) bool {
	it := &s.Plan.Items[i]
	if it.UndoFailed(s.Items[i]) {
		return true
	}
	return s.Closing && it.Holds != "" && s.Held[it.Holds] == it.ID && !it.undoable()
}

// Asked lists the items that wait for a person's statement or signature.
func (s *State) Asked() []int {
	return s.where(func(i int) bool {
		if s.Items[i].Status != Waiting || s.Green(i) {
			return false
		}
		return !s.Plan.Items[i].Optional || !s.Passed[s.shape.spots[i].gate]
	})
}

func (s *State) where(want func(i int) bool) []int {
	var out []int
	for i := range s.Items {
		if want(i) {
			out = append(out, i)
		}
	}
	return out
}

// StillTrue reports whether what a Notify says stands: a message that was not sent
// before a crash is worth sending only then.
func (s *State) StillTrue(notice Effect) bool {
	i, known := s.at(notice.Item)
	switch notice.Reason {
	case "done":
		return s.Closed || s.closeAsked
	case "your_turn":
		return known && slices.Contains(s.Asked(), i)
	case "held":
		return known && slices.Contains(s.Blocking(), i)
	case "in_doubt":
		return known && slices.Contains(s.InDoubt(), i)
	}
	return false
}
