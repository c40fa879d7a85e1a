package run

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

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
		return Advice{s.pausedText(), "anyone listed", "allclear resume " + s.Plan.Environment}
	}
	if doubt := s.InDoubt(); len(doubt) > 0 {
		it := &s.Plan.Items[doubt[0]]
		return Advice{fmt.Sprintf("%s is in doubt%s: %s", it.ID, more(doubt), s.Items[doubt[0]].Reason),
			"a person must say what happened", fmt.Sprintf("allclear resolve %s %s --happened or --did-not", s.Plan.Environment, it.ID)}
	}
	if blocking := s.Blocking(); len(blocking) > 0 {
		return Advice{s.blockingText(blocking), "a decision is needed", s.choices(blocking[0])}
	}
	return s.adviseProgress()
}

func (s *State) pausedText() string {
	text := "paused"
	if s.PausedBy != "" {
		text += " by " + s.PausedBy
	}
	if s.PauseReason != "" {
		text += " (" + s.PauseReason + ")"
	}
	return text + ": nothing new is begun"
}

func (s *State) blockingText(blocking []int) string {
	i := blocking[0]
	it, st := &s.Plan.Items[i], s.Items[i]
	switch {
	case it.UndoFailed(st):
		return fmt.Sprintf("%s could not be taken back%s: %s", it.ID, more(blocking), st.UndoReason)
	case s.stuck(i):
		return fmt.Sprintf("%s still holds %s%s and cannot be taken back", it.ID, it.Holds, more(blocking))
	case st.Waiver != nil:
		return fmt.Sprintf("%s %s%s, and the waiver of %s has ended: %s", it.ID, word(st.Status), more(blocking), st.Waiver.Person, st.Reason)
	}
	return fmt.Sprintf("%s %s%s: %s", it.ID, word(st.Status), more(blocking), st.Reason)
}

// choices lists what a person may decide about an item.
func (s *State) choices(i int) string {
	it, env := &s.Plan.Items[i], s.Plan.Environment
	item := env + " " + it.ID
	var ways []string
	switch {
	case it.UndoFailed(s.Items[i]):
		return fmt.Sprintf("allclear retry %[1]s, or give it back by hand and resolve %[1]s --undone", item)
	case s.stuck(i):
		return fmt.Sprintf("give it back by hand, then allclear resolve %s --undone", item)
	case it.Kind == Signoff:
		ways = []string{"a no-go is final: allclear "}
	case it.Applies == Undecided && it.Kind == Attest:
		ways = []string{"allclear attest " + item, ", na " + item, ", waive " + item, ", "}
	case it.Applies == Undecided:
		ways = []string{"allclear na " + item, ", waive " + item, ", "}
	case it.Kind == Attest:
		ways = []string{"allclear attest " + item, ", waive " + item, ", "}
	default:
		ways = []string{"allclear retry " + item, ", waive " + item, ", "}
	}
	back := slices.ContainsFunc(s.Plan.Phases, func(p Phase) bool { return p.Rollback })
	if back && !s.Rollback {
		ways = append(ways, "rollback "+env+" or ")
	}
	text := strings.Join(ways, "") + "abort " + env
	return strings.Replace(text, ", abort ", " or abort ", 1)
}

func (s *State) adviseProgress() Advice {
	var a Advice
	if asked := s.Asked(); len(asked) > 0 {
		a.Turn = s.turn(asked)
	}
	a.Stops = s.progress()
	switch {
	case a.Stops != "":
	case a.Turn != "":
		a.Stops = "waiting for people"
	case s.Closing:
		a.Stops = "giving back what is held"
	default:
		a.Stops = "between two steps"
	}
	switch {
	case s.Aborting || s.Closing:
		a.Next = "then the run ends: " + string(s.ending())
	case s.Open >= 0 && s.Open < len(s.Plan.Phases):
		a.Next = "then the gate of " + s.Plan.Phases[s.Open].Title
	}
	return a
}

func (s *State) ending() RunStatus {
	if s.Aborting {
		return RunAborted
	}
	return s.Result
}

// progress tells what goes on without any person, or nothing.
func (s *State) progress() string {
	undoing := s.where(func(i int) bool { return s.Items[i].Undoing })
	running := s.where(func(i int) bool { return s.Items[i].Status == Running })
	probing := s.where(func(i int) bool { return s.Items[i].Probing })
	retrying := s.where(func(i int) bool { return s.Items[i].Status == WaitingRetry })
	switch {
	case len(undoing) > 0:
		return s.Plan.Items[undoing[0]].ID + " is being taken back"
	case len(running) > 0:
		return fmt.Sprintf("%s is running%s", s.Plan.Items[running[0]].ID, more(running))
	case len(probing) > 0:
		return fmt.Sprintf("%s is being probed%s: it is unknown whether it happened", s.Plan.Items[probing[0]].ID, more(probing))
	case len(retrying) > 0:
		it, st := &s.Plan.Items[retrying[0]], s.Items[retrying[0]]
		return fmt.Sprintf("%s is tried again at %s (%d of %d)%s: %s", it.ID, st.RetryAt.UTC().Format("15:04:05 UTC"), st.Retries, it.Retry.Times, more(retrying), st.Reason)
	}
	if text := s.watching(); text != "" {
		return text
	}
	return s.windowText()
}

// watching tells of the watch that goes on longest.
func (s *State) watching() string {
	watching := s.where(func(i int) bool { return s.Items[i].Status == Watching })
	longest, text := time.Duration(-1), ""
	for _, i := range watching {
		w, rule := s.Items[i].Watch, s.Plan.Items[i].Watch
		now := s.Now
		if !w.StoppedAt.IsZero() {
			now = w.StoppedAt
		}
		seen := max(now.Sub(w.StartedAt)-w.PausedFor, 0)
		if left := max(rule.For-seen, 0); left > longest {
			longest = left
			text = fmt.Sprintf("watching %s%s, %s of %s left", s.Plan.Items[i].ID, more(watching), left.Round(time.Second), rule.For)
			if !w.StoppedAt.IsZero() {
				text += ", stopped during maintenance"
			}
		}
	}
	return text
}

// windowText tells of a window that has nothing to watch but is still open.
func (s *State) windowText() string {
	for _, win := range s.shape.windows {
		w, length := s.Windows[win.id], s.Plan.Items[win.length].WindowFor
		if w.Opened && !w.Ended && !w.Since.IsZero() {
			left := max(length-w.Elapsed-s.Now.Sub(w.Since), 0)
			return fmt.Sprintf("the window of %s is open, %s of %s left", win.id, left.Round(time.Second), length)
		}
	}
	return ""
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
