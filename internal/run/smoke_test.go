package run

import (
	"testing"
	"time"
)

// TestStepRunsToTheEnd plays a small plan in which everything goes well.
func TestStepRunsToTheEnd(t *testing.T) {
	p := &Plan{Phases: []Phase{{ID: "pre", Parallel: true}, {ID: "deploy"}}, Items: []Item{
		{ID: "a", Phase: "pre", Gate: "pre", Kind: Check, Applies: Applies},
		{ID: "s", Phase: "pre", Gate: "pre", Kind: Signoff, Applies: Applies, Person: &Person{Roles: []string{"Lead"}}},
		{ID: "m", Phase: "deploy", Gate: "deploy", Kind: Action, Class: Unsafe, Applies: Applies, Holds: Maintenance, Undo: "off"},
		{ID: "v", Phase: "deploy", Gate: "deploy", Kind: Check, Applies: Applies},
	}}
	if err := Order(p); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	var s State
	var effects []Effect
	step := func(e Event) {
		now = now.Add(time.Second)
		e.At = now
		var out []Effect
		s, out = Step(s, e)
		effects = append(effects, out...)
	}
	step(Event{Type: RunStarted, Run: "r", Plan: p, Actor: "eve"})
	for n := 0; !s.Closed && n < 50; n++ {
		if len(effects) == 0 {
			if len(s.Asked()) == 0 {
				t.Fatalf("stuck: %s", s.Advise())
			}
			step(Event{Type: Signed, Item: "s", Actor: "ana", Role: "Lead", Verdict: "approve", Subject: s.SubjectOf("s")})
			continue
		}
		e := effects[0]
		effects = effects[1:]
		switch e.Type {
		case RunCheck:
			step(Event{Type: CheckFinished, Item: e.Item, Attempt: e.Attempt, Verdict: "pass"})
		case Intend:
			step(Event{Type: ActionIntended, Item: e.Item, Attempt: e.Attempt})
		case Perform:
			step(Event{Type: ActionFinished, Item: e.Item, Attempt: e.Attempt, Verdict: "done"})
		case IntendUndo:
			step(Event{Type: UndoIntended, Item: e.Item, Attempt: e.Attempt})
		case PerformUndo:
			step(Event{Type: UndoFinished, Item: e.Item, Attempt: e.Attempt, Verdict: "done"})
		case Close:
			step(Event{Type: RunClosed})
		}
	}
	if s.Status() != RunDone {
		t.Fatalf("status %s: %s", s.Status(), s.Advise())
	}
}
