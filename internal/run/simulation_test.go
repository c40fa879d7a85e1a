package run

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSimulation drives plans of all shapes through a world in which processes
// crash, answers come twice, late, in any order or not at all, and people do what
// they may. It holds the laws of the core after every event, and that every run
// comes to an end once the world behaves.
func TestSimulation(t *testing.T) {
	if err := flag.Set("rapid.checks", "2000"); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		plan := drawPlan(t)
		if plan.Valid() != nil || Order(plan) != nil {
			t.Skip("a circle")
		}
		w := newWorld(plan, rapid.Uint64().Draw(t, "seed"))
		w.play(rapid.IntRange(5, 80).Draw(t, "turns"))
		w.behave()
		w.replayed()
		if w.wrong != "" {
			t.Fatalf("%s\n%s", w.wrong, w.story())
		}
	})
}

// drawPlan makes a plan of up to four phases, the last of them a rollback.
func drawPlan(t *rapid.T) *Plan {
	p := &Plan{Project: "p", Environment: "e", Rules: Rules{Distinct: rapid.Bool().Draw(t, "distinct"), StarterRoles: []string{"Starter"}}}
	phases := rapid.IntRange(1, 3).Draw(t, "phases")
	for k := range phases + 1 {
		window := rapid.IntRange(0, 4).Draw(t, "window") == 0
		p.Phases = append(p.Phases, Phase{ID: fmt.Sprintf("p%d", k), Parallel: rapid.Bool().Draw(t, "parallel"), Rollback: k == phases})
		for n := range rapid.IntRange(0, 5).Draw(t, "items") {
			it := drawItem(t, p, fmt.Sprintf("p%d", k), n)
			if window && it.Kind != Action {
				it.Window, it.WindowFor = it.Section, 5*time.Second
			}
			p.Items = append(p.Items, drawRollout(t, it)...)
		}
	}
	if len(p.Items) == 0 {
		p.Items = []Item{{ID: "p0.i0", Phase: "p0", Section: "p0", Gate: "p0", Kind: Check, Applies: Applies}}
	}
	return p
}

// drawRollout spreads some of the items over hosts.
func drawRollout(t *rapid.T, it Item) []Item {
	if it.Kind != Check && it.Kind != Action && it.Kind != Watch || rapid.IntRange(0, 4).Draw(t, "rollout") > 0 {
		return []Item{it}
	}
	hosts := rapid.IntRange(2, 4).Draw(t, "hosts")
	rollout := it
	rollout.Kind, rollout.Class, rollout.Retry, rollout.Holds, rollout.Undo, rollout.Watch = Group, Pure, Retry{}, "", "", nil
	rollout.Rollout = &Rollout{Kind: it.Kind, Batch: rapid.IntRange(1, hosts).Draw(t, "batch"), MaxFailures: rapid.IntRange(0, 2).Draw(t, "max failures")}
	items := []Item{rollout}
	for n := range hosts {
		one := it
		one.Host = fmt.Sprintf("h%d", n)
		one.ID = it.ID + "@" + one.Host
		if one.Holds != "" {
			one.Holds += "@" + one.Host
		}
		items = append(items, one)
		items[0].Children = append(items[0].Children, one.ID)
	}
	return items
}

func drawItem(t *rapid.T, p *Plan, phase string, n int) Item {
	it := Item{
		ID: fmt.Sprintf("%s.i%d", phase, n), Phase: phase, Section: phase, Gate: phase, Class: Pure,
		Kind:     rapid.SampledFrom([]Kind{Check, Check, Action, Action, Action, Watch, Attest, Signoff}).Draw(t, "kind"),
		Applies:  rapid.SampledFrom([]Application{Applies, Applies, Applies, Applies, NotApplicable, Undecided}).Draw(t, "applies"),
		Optional: rapid.IntRange(0, 9).Draw(t, "optional") == 0,
	}
	if len(p.Items) > 0 && rapid.Bool().Draw(t, "needs one") {
		if before := p.Items[rapid.IntRange(0, len(p.Items)-1).Draw(t, "needs")]; before.Phase == phase {
			it.Needs = []string{before.ID}
		}
	}
	switch it.Kind {
	case Action:
		it.Class = rapid.SampledFrom([]Class{Idempotent, Keyed, Probed, Unsafe}).Draw(t, "class")
		if rapid.Bool().Draw(t, "undo") {
			it.Undo = "take it back"
			if rapid.Bool().Draw(t, "holds") {
				it.Holds = "thing-" + it.ID
			}
		}
	case Watch:
		it.Watch = &WatchRule{For: 3 * time.Second, Every: time.Second, MaxFailures: 1, MaxErrors: 1, MinSamples: 1, Coverage: 50}
	case Signoff:
		it.Person, it.Applies, it.Optional = &Person{Roles: []string{"Lead"}}, Applies, false
	}
	if it.Kind == Check && rapid.IntRange(0, 4).Draw(t, "fresh") == 0 {
		it.FreshFor = 4 * time.Second
	}
	if it.Kind == Check || it.Kind == Action {
		it.Retry = Retry{Times: rapid.IntRange(0, 2).Draw(t, "retries"), Every: time.Second}
	}
	return it
}

// world is everything outside of the core: the journal, processes, targets,
// people and the clock.
type world struct {
	random *rand.Rand
	plan   *Plan
	now    time.Time
	s      State
	events []Event
	// states are what was known after each event.
	states []State
	// duties are effects not yet done, and answers answers not yet delivered; a
	// crash loses both. timers are lost with them.
	duties  []Effect
	answers []Event
	timers  map[string]time.Time
	// happened counts an action's effects by key, attempts keeps the result of each
	// process by the attempt's identity: both are outside and survive a crash.
	happened map[string]int
	attempts map[string]Event
	good     bool
	people   int
	wrong    string
}

func newWorld(p *Plan, seed uint64) *world {
	w := &world{
		random: rand.New(rand.NewPCG(seed, 1)), plan: p, now: time.Unix(1000, 0).UTC(), timers: map[string]time.Time{},
		happened: map[string]int{}, attempts: map[string]Event{},
	}
	w.step(Event{Type: RunStarted, Run: "r", Plan: p, Actor: "eve"})
	return w
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// step is the shell's loop: the event is kept, the core decides, the laws hold.
func (w *world) step(e Event) {
	if e.At.IsZero() {
		e.At = w.now
	}
	before := w.s
	after, effects := Step(before, e)
	w.events, w.states = append(w.events, e), append(w.states, after)
	w.s, w.duties = after, append(w.duties, effects...)
	if after.Plan != nil && !after.Closed && after.Advise().String() == "" {
		w.fail("a %s run says nothing", after.Status())
	}
	w.lawsOf(&before, &after, e)
	w.lawsOfEffects(&after, effects)
}

// play lets anything happen.
func (w *world) play(turns int) {
	for n := 0; n < turns && !w.s.Closed && w.wrong == ""; n++ {
		w.now = w.now.Add(time.Duration(w.random.IntN(900)) * time.Millisecond)
		switch w.random.IntN(12) {
		case 0:
			w.crash()
		case 1:
			w.person()
		case 2:
			w.nonsense()
		case 3:
			w.fire()
		default:
			w.work()
		}
	}
}

// crash takes the process away; the next one knows the journal only.
func (w *world) crash() {
	w.duties, w.answers, w.timers = nil, nil, map[string]time.Time{}
	w.step(Event{Type: RunResumed, Epoch: w.s.Epoch + 1})
}

// work does a duty or delivers an answer, in any order; an answer may come twice.
func (w *world) work() {
	if n := len(w.answers); n > 0 && w.random.IntN(2) == 0 {
		k := w.random.IntN(n)
		answer := w.answers[k]
		if w.good || w.random.IntN(4) > 0 {
			w.answers = slices.Delete(w.answers, k, k+1)
		}
		w.step(answer)
		return
	}
	if n := len(w.duties); n > 0 {
		k := w.random.IntN(n)
		duty := w.duties[k]
		w.duties = slices.Delete(w.duties, k, k+1)
		w.do(duty)
	}
}

func (w *world) do(d Effect) {
	answer := func(e Event) { w.answers = append(w.answers, e) }
	switch d.Type {
	case RunCheck:
		answer(Event{Type: CheckFinished, Item: d.Item, Attempt: d.Attempt, Verdict: w.verdict()})
	case Sample:
		answer(Event{Type: SampleTaken, Item: d.Item, Attempt: d.Attempt, Verdict: w.verdict()})
	case Intend:
		answer(Event{Type: ActionIntended, Item: d.Item, Attempt: d.Attempt, Key: d.Key})
	case IntendUndo:
		answer(Event{Type: UndoIntended, Item: d.Item, Attempt: d.Attempt, Key: d.Key})
	case Perform, Recover:
		answer(w.act(ActionFinished, d))
	case PerformUndo, RecoverUndo:
		answer(w.act(UndoFinished, d))
	case Probe:
		found := "not_done"
		if w.happened[d.Key] > 0 {
			found = "done"
		}
		if !w.good && w.random.IntN(5) == 0 {
			found = "partly"
		}
		answer(Event{Type: ActionProbed, Item: d.Item, Attempt: d.Attempt, Verdict: found})
	case SetTimer:
		w.timers[d.Timer] = d.At
	case Close:
		answer(Event{Type: RunClosed})
	}
}

// act is an action's process. It outlives a crash, and a second start of the same
// attempt finds the first one's result.
func (w *world) act(answer EventType, d Effect) Event {
	id := fmt.Sprintf("%s %s %d", answer, d.Item, d.Attempt)
	if result, known := w.attempts[id]; known {
		return result
	}
	result := Event{Type: answer, Item: d.Item, Attempt: d.Attempt, Verdict: string(Done)}
	switch luck := w.random.IntN(10); {
	case w.good || luck > 3:
		w.happen(d)
	case luck > 1:
		result.Verdict = string(Failed)
	case luck > 0:
		w.happen(d)
		result.Verdict = string(InDoubt)
	default:
		result.Verdict = string(InDoubt)
	}
	w.attempts[id] = result
	return result
}

// happen counts an effect. Targets of keyed and idempotent actions are not
// changed by a repetition.
func (w *world) happen(d Effect) {
	it := w.plan.Item(d.Item)
	if (it.Class == Keyed || it.Class == Idempotent) && w.happened[d.Key] > 0 {
		return
	}
	w.happened[d.Key]++
}

func (w *world) verdict() string {
	if w.good {
		return string(Pass)
	}
	return []string{"pass", "pass", "pass", "pass", "fail", "inconclusive", "", "PASS"}[w.random.IntN(8)]
}

// fire lets the earliest timer ring, or a late one a second time.
func (w *world) fire() {
	next := ""
	for _, id := range slices.Sorted(maps.Keys(w.timers)) {
		if next == "" || w.timers[id].Before(w.timers[next]) {
			next = id
		}
	}
	if next == "" {
		return
	}
	if at := w.timers[next]; at.After(w.now) {
		w.now = at
	}
	delete(w.timers, next)
	w.step(Event{Type: TimerFired, Timer: next})
}

// nonsense is an event that nobody has asked for.
func (w *world) nonsense() {
	types := []EventType{RunStarted, CheckFinished, SampleTaken, ActionIntended, ActionFinished, ActionProbed, UndoIntended, UndoFinished, TimerFired, "unknown"}
	items := append([]string{"", "none"}, idsOf(w.plan)...)
	w.step(Event{
		Type: types[w.random.IntN(len(types))], Item: items[w.random.IntN(len(items))], Attempt: w.random.IntN(3) + 50, Timer: "x",
		Verdict: []string{"", "pass", "done", "fail"}[w.random.IntN(4)], At: w.now.Add(-time.Minute),
	})
}

func idsOf(p *Plan) []string {
	var out []string
	for i := range p.Items {
		out = append(out, p.Items[i].ID)
	}
	return out
}

// replayed holds that the journal alone gives the same states, so that no step
// has changed an earlier one or has known anything else.
func (w *world) replayed() {
	var s State
	for n, e := range w.events {
		s, _ = Step(s, e)
		if !reflect.DeepEqual(s, w.states[n]) {
			w.fail("a replay differs after event %d, %s %s", n+1, e.Type, e.Item)
			return
		}
	}
}

// story tells what has happened, for a failure.
func (w *world) story() string {
	out := ""
	for _, it := range w.plan.Items {
		out += fmt.Sprintf("%s %s %s applies=%s needs=%v undo=%q holds=%q optional=%t\n", it.ID, it.Kind, it.Class, it.Applies, it.Needs, it.Undo, it.Holds, it.Optional)
	}
	for n, e := range w.events {
		out += fmt.Sprintf("%3d %s %s#%d %s %s %s\n", n+1, e.Type, e.Item, e.Attempt, e.Verdict, e.Actor, e.Timer)
	}
	return out + string(w.s.Status()) + ": " + w.s.Advise().String()
}
