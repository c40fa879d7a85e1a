package run

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// lawsOf holds what no event may break.
func (w *world) lawsOf(before, after *State, e Event) {
	if after.Plan == nil {
		return
	}
	for k := range after.Passed {
		if after.Passed[k] && (before.Plan == nil || !before.Passed[k]) {
			w.gate(after, k)
		}
	}
	for i := range after.Items {
		w.becomes(before, after, i, e)
	}
	if after.Closed && !before.Closed {
		w.end(after)
	}
}

// gate: it opens only when each of its items lets through.
func (w *world) gate(s *State, k int) {
	for i := range s.Plan.Items {
		if it := &s.Plan.Items[i]; it.Gate == s.Plan.Phases[k].ID && !s.lets(i) && s.Items[i].Status != Superseded {
			w.fail("gate %s has opened although %s is %s", it.Gate, it.ID, s.Items[i].Status)
		}
	}
}

// becomes: an item begins only in an open gate and after what it waits for, and
// is green only by an answer that says so.
func (w *world) becomes(before, after *State, i int, e Event) {
	it, now := &after.Plan.Items[i], after.Items[i]
	was := Pending
	if before.Plan != nil {
		was = before.Items[i].Status
	}
	if was == now.Status {
		return
	}
	if was == Pending && (now.Status == Running || now.Status == Watching || now.Status == Waiting) {
		if !after.opened(after.shape.spots[i].gate) {
			w.fail("%s begins although its gate is not open", it.ID)
		}
		for _, id := range it.After {
			if j, ok := after.at(id); ok && !after.lets(j) && after.Items[j].Status != Superseded {
				w.fail("%s begins before %s, which is %s", it.ID, id, after.Items[j].Status)
			}
		}
	}
	if up, n := w.rolloutOf(it.ID); up != nil && was == Pending && (now.Status == Running || now.Status == Watching) {
		w.rolledOut(after, up, n)
	}
	if (now.Status == Pass || now.Status == Done) && !answered(it, now, e) {
		w.fail("%s becomes %s by %s %q", it.ID, now.Status, e.Type, e.Verdict)
	}
}

// rolloutOf finds the rollout that holds an item, and its place in there.
func (w *world) rolloutOf(id string) (*Item, int) {
	for i := range w.plan.Items {
		if n := slices.Index(w.plan.Items[i].Children, id); n >= 0 && w.plan.Items[i].Rollout != nil {
			return &w.plan.Items[i], n
		}
	}
	return nil, 0
}

// rolledOut: a host is begun only when those of the batches before are over, and
// not too many of them without success.
func (w *world) rolledOut(s *State, up *Item, n int) {
	failures := 0
	for _, id := range up.Children[:n/up.Rollout.Batch*up.Rollout.Batch] {
		i, _ := s.at(id)
		switch st := s.Items[i].Status; {
		case s.lets(i):
		case st == Fail || st == Failed || st == Inconclusive || st == Undone:
			failures++
		default:
			w.fail("%s begins while %s is %s", up.Children[n], id, st)
		}
	}
	if failures > up.Rollout.MaxFailures {
		w.fail("%s begins although %d hosts are without success", up.Children[n], failures)
	}
}

// answered: the event is the one that makes this kind of item green.
func answered(it *Item, st *ItemState, e Event) bool {
	own := e.Item == it.ID
	switch it.Kind {
	case Check:
		return own && e.Type == CheckFinished && e.Verdict == "pass" && e.Attempt == st.Attempt
	case Action:
		return own && (e.Type == ActionFinished || e.Type == ActionProbed || e.Type == Resolved) && e.Verdict == "done"
	case Watch:
		return (e.Type == SampleTaken || e.Type == TimerFired) && st.Watch.Passed >= max(it.Watch.MinSamples, 1) && st.Watch.Failed <= it.Watch.MaxFailures
	case Attest:
		return own && e.Type == Attested && e.Verdict == "pass" && e.Actor != ""
	case Signoff:
		return own && e.Type == Signed && e.Verdict == "approve" && e.Actor != ""
	}
	return it.Kind == Group
}

// end: done means that everything lets through, and nothing is held any more.
func (w *world) end(s *State) {
	if len(s.Held) > 0 {
		w.fail("the run ends and holds %v", s.Held)
	}
	if s.Result != RunDone {
		return
	}
	for i := range s.Plan.Items {
		if k := s.shape.spots[i].gate; !s.Plan.Phases[k].Rollback && !s.lets(i) && s.Items[i].Status != Superseded {
			w.fail("the run is done although %s is %s", s.Plan.Items[i].ID, s.Items[i].Status)
		}
	}
}

// lawsOfEffects: nothing acts without an intent of its own, and nothing that may
// not be repeated acts twice under one key.
func (w *world) lawsOfEffects(s *State, effects []Effect) {
	for _, d := range effects {
		_, st := s.Of(d.Item)
		switch d.Type {
		case Perform, Recover:
			if !st.Intended || st.Attempt != d.Attempt {
				w.fail("%s of %s#%d without its intent", d.Type, d.Item, d.Attempt)
			}
		case PerformUndo, RecoverUndo:
			if !st.UndoIntended || st.UndoAttempt != d.Attempt {
				w.fail("%s of %s#%d without its intent", d.Type, d.Item, d.Attempt)
			}
		}
	}
	for key, n := range w.happened {
		if n > 1 && !strings.HasSuffix(key, "/undo") {
			w.fail("%s has happened %d times", key, n)
		}
	}
}

// person does something that somebody may do. Who is asked tells the truth.
func (w *world) person() {
	id := idsOf(w.plan)[w.random.IntN(len(w.plan.Items))]
	w.people++
	e := Event{Item: id, Actor: fmt.Sprintf("ana%d", w.people), Reason: "because", Verdict: "pass"}
	switch w.random.IntN(12) {
	case 0, 1, 2:
		e.Type = Attested
	case 3, 4:
		e.Type, e.Verdict, e.Role, e.Subject = Signed, "approve", "Lead", w.s.SubjectOf(id)
		if w.random.IntN(10) == 0 {
			e.Verdict = "no-go"
		}
	case 5:
		e.Type, e.Until = Waived, w.now.Add(time.Minute)
	case 6:
		e.Type = Retried
	case 7:
		e.Type = MarkedNA
	case 8:
		w.truth(id, e.Actor)
		return
	case 9:
		e.Type = []EventType{Paused, Unpaused}[w.random.IntN(2)]
	case 10:
		if e.Type = RollbackStarted; w.random.IntN(3) > 0 {
			return
		}
	default:
		if e.Type = Aborted; w.random.IntN(6) > 0 {
			return
		}
	}
	w.step(e)
}

// truth says what became of an action in doubt.
func (w *world) truth(id, actor string) {
	it, st := w.s.Of(id)
	verdict := "not_done"
	switch {
	case st.Status != InDoubt:
		verdict = "undone"
	case w.happened[fmt.Sprintf("allclear/r/%s/%d", id, st.Occurrence)] > 0:
		verdict = "done"
	}
	w.step(Event{Type: Resolved, Item: it.ID, Actor: actor, Reason: "looked", Verdict: verdict})
}

// turnsToEnd is more than any of these plans needs once the world behaves.
const turnsToEnd = 3000

// behave lets the world answer well and people do their part: every run must come
// to its end, and must say all the time who is to do what.
func (w *world) behave() {
	w.good = true
	for n := 0; !w.s.Closed && w.wrong == ""; n++ {
		if n > turnsToEnd {
			w.fail("the run does not end")
			return
		}
		w.now = w.now.Add(50 * time.Millisecond)
		switch {
		case w.s.Paused && Refuse(&w.s, Event{Type: Unpaused, Actor: "ana"}) == nil:
			w.step(Event{Type: Unpaused, Actor: "ana"})
		case len(w.duties)+len(w.answers) > 0:
			w.work()
		case w.decide():
		case len(w.timers) > 0:
			w.fire()
		default:
			w.fail("nothing goes on and nobody is asked")
		}
	}
}

// decide does one thing that only a person can.
func (w *world) decide() bool {
	w.people++
	who := fmt.Sprintf("bo%d", w.people)
	if ids := w.s.InDoubt(); len(ids) > 0 {
		w.truth(w.plan.Items[ids[0]].ID, who)
		return true
	}
	for _, i := range w.s.Blocking() {
		if w.settle(i, who) {
			return true
		}
	}
	for _, i := range w.s.Asked() {
		it := &w.plan.Items[i]
		e := Event{Type: Attested, Item: it.ID, Actor: who, Verdict: "pass"}
		if it.Kind == Signoff {
			e = Event{Type: Signed, Item: it.ID, Actor: who, Role: "Lead", Verdict: "approve", Subject: w.s.SubjectOf(it.ID)}
		}
		if Refuse(&w.s, e) == nil {
			w.step(e)
			return true
		}
	}
	return w.noGo(who)
}

// noGo ends a run whose gate somebody has refused for good.
func (w *world) noGo(who string) bool {
	e := Event{Type: Aborted, Actor: who, Reason: "somebody said no"}
	for _, st := range w.s.Items {
		if st.Sign != nil && !st.Sign.Approve && Refuse(&w.s, e) == nil {
			w.step(e)
			return true
		}
	}
	return false
}

// settle does the first thing that is allowed about an item that blocks.
func (w *world) settle(i int, who string) bool {
	id := w.plan.Items[i].ID
	for _, e := range []Event{
		{Type: Retried}, {Type: MarkedNA, Reason: "not this time"}, {Type: Attested, Verdict: "pass"},
		{Type: Waived, Reason: "for now", Until: w.now.Add(24 * time.Hour)}, {Type: Resolved, Verdict: "undone", Reason: "by hand"},
	} {
		e.Item, e.Actor, e.At = id, who, w.now
		undecided := w.plan.Items[i].Applies == Undecided && e.Type == Retried
		if !undecided && Refuse(&w.s, e) == nil {
			w.step(e)
			return true
		}
	}
	return slices.Contains(w.s.Asked(), i)
}
