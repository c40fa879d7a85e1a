package run

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

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
	for i := range s.Items {
		switch s.Items[i].Status {
		case Running, Watching, WaitingRetry:
			return true
		}
		if s.Items[i].Undoing {
			return true
		}
	}
	return false
}

// InDoubt lists the items whose outcome a person must settle.
func (s *State) InDoubt() []int {
	return s.where(func(it *Item, st *ItemState) bool { return st.Status == InDoubt && !st.Probing })
}

// Blocking lists the items that keep an opened gate closed and need a decision.
func (s *State) Blocking() []int {
	m := &machine{State: s}
	return s.where(func(it *Item, st *ItemState) bool {
		if it.UndoFailed(st) {
			return true
		}
		bad := st.Status == Fail || st.Status == Failed || st.Status == Inconclusive || st.Status == Undone
		return bad && !it.Optional && !s.Green(s.index[it.ID]) && m.opened(it.Gate)
	})
}

// Asked lists the items that wait for a person's statement or signature.
func (s *State) Asked() []int {
	return s.where(func(it *Item, st *ItemState) bool { return st.Status == Waiting })
}

func (s *State) where(want func(*Item, *ItemState) bool) []int {
	var out []int
	for i := range s.Items {
		if want(&s.Plan.Items[i], &s.Items[i]) {
			out = append(out, i)
		}
	}
	return out
}

// Advice answers the three questions of whoever looks at a run. The same
// sentence stands on every screen and in every message.
type Advice struct {
	// Stops says what stops the run; Turn whose turn it is; Next what happens then.
	Stops, Turn, Next string
}

// String is the one sentence.
func (a Advice) String() string {
	return strings.Join(slices.DeleteFunc([]string{a.Stops, a.Turn, a.Next}, func(s string) bool { return s == "" }), "; ")
}

// Advise tells what stops the run, whose turn it is and what happens next.
func (s *State) Advise() Advice {
	switch {
	case s.Plan == nil:
		return Advice{Stops: "nothing has been started"}
	case s.Closed:
		return Advice{Stops: "the run is over: " + string(s.Result)}
	case s.Paused:
		return Advice{"paused: nothing new is begun", "anyone listed", "allclear resume " + s.Plan.Environment}
	}
	if doubt := s.InDoubt(); len(doubt) > 0 {
		it := &s.Plan.Items[doubt[0]]
		return Advice{fmt.Sprintf("%s is in doubt%s: %s", it.ID, more(doubt), s.Items[doubt[0]].Reason),
			"a person must say what happened", fmt.Sprintf("allclear resolve %s %s --happened or --did-not", s.Plan.Environment, it.ID)}
	}
	if blocking := s.Blocking(); len(blocking) > 0 {
		it, st := &s.Plan.Items[blocking[0]], &s.Items[blocking[0]]
		reason := st.Reason
		if it.UndoFailed(st) {
			reason = st.UndoReason
		}
		return Advice{fmt.Sprintf("%s %s%s: %s", it.ID, word(st.Status), more(blocking), reason), "a decision is needed", s.choices(it)}
	}
	return s.adviseProgress()
}

func (s *State) choices(it *Item) string {
	if it.Kind == Signoff {
		return fmt.Sprintf("a no-go is final: allclear rollback %[1]s or abort %[1]s", s.Plan.Environment)
	}
	choices := fmt.Sprintf("allclear retry %[1]s %[2]s, waive %[1]s %[2]s", s.Plan.Environment, it.ID)
	if !s.Rollback {
		choices += ", rollback " + s.Plan.Environment
	}
	return choices + " or abort " + s.Plan.Environment
}

func (s *State) adviseProgress() Advice {
	var a Advice
	if asked := s.Asked(); len(asked) > 0 {
		a.Turn = s.turn(asked)
	}
	switch busy := s.where(func(it *Item, st *ItemState) bool { return st.Status == Running || st.Undoing }); {
	case len(busy) > 0:
		a.Stops = fmt.Sprintf("%s is running%s", s.Plan.Items[busy[0]].ID, more(busy))
	case s.watching() != "":
		a.Stops = s.watching()
	case a.Turn != "":
		a.Stops = "waiting for people"
	case s.Closing:
		a.Stops = "giving back what is held"
	default:
		a.Stops = "between two steps"
	}
	if s.Open >= 0 && s.Open < len(s.Plan.Phases) {
		a.Next = "then the gate of " + s.Plan.Phases[s.Open].Title
	}
	return a
}

// turn names who is waited for and with what, a part for each role.
func (s *State) turn(asked []int) string {
	type turn struct {
		who, verb, first string
		items            int
	}
	var turns []*turn
	for _, i := range asked {
		it := &s.Plan.Items[i]
		who, verb := "anyone listed", "attest"
		if it.Person != nil && len(it.Person.Roles) > 0 {
			who = strings.Join(it.Person.Roles, " or ")
		}
		if it.Kind == Signoff {
			verb = "sign"
		}
		at := slices.IndexFunc(turns, func(t *turn) bool { return t.who == who && t.verb == verb })
		if at < 0 {
			turns = append(turns, &turn{who: who, verb: verb, first: it.ID})
			at = len(turns) - 1
		}
		turns[at].items++
	}
	var parts []string
	for _, t := range turns {
		part := fmt.Sprintf("%s to %s %s", t.who, t.verb, t.first)
		if t.items > 1 {
			part += fmt.Sprintf(" (and %d more)", t.items-1)
		}
		parts = append(parts, part)
	}
	const most = 3
	if len(parts) > most {
		parts = append(parts[:most], fmt.Sprintf("%d more", len(parts)-most))
	}
	return "needs " + strings.Join(parts, ", ")
}

func (s *State) watching() string {
	watching := s.where(func(it *Item, st *ItemState) bool { return st.Status == Watching })
	longest, text := time.Duration(-1), ""
	for _, i := range watching {
		st, rule := &s.Items[i], s.Plan.Items[i].Watch
		left := rule.For - (s.Now.Sub(st.Watch.StartedAt) - st.Watch.PausedFor)
		if left > longest {
			longest = left
			text = fmt.Sprintf("watching %s%s, %s of %s left", s.Plan.Items[i].ID, more(watching), left.Round(time.Second), rule.For)
		}
	}
	return text
}

func more(list []int) string {
	if len(list) < 2 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", len(list)-1)
}

func word(s Status) string {
	if s == Fail {
		return "failed"
	}
	return string(s)
}
