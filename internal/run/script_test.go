package run

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expectations of the scripts")

// TestScripts plays the scenarios of testdata. A script begins with its plan, a
// line for each phase and item; a line with > is something that happens, and the
// lines below it are what follows: what the shell must do, how items change, and
// what the run says of itself. Other lines are prose.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := playScript(t, string(text))
			if got == string(text) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, have := strings.Split(string(text), "\n"), strings.Split(got, "\n")
			for n := range min(len(want), len(have)) {
				if want[n] != have[n] {
					t.Fatalf("%s:%d:\nwant %s\ngot  %s", file, n+1, want[n], have[n])
				}
			}
			t.Fatalf("%s: %d lines, want %d", file, len(have), len(want))
		})
	}
}

// script is a run being played.
type script struct {
	t      *testing.T
	plan   *Plan
	s      State
	now    time.Time
	timers map[string]time.Time
	advice string
	out    strings.Builder
}

// playScript gives the script with what really follows from each event. A line of
// dashes begins a new run of the same file.
func playScript(t *testing.T, text string) string {
	fresh := func() *script {
		return &script{t: t, plan: &Plan{Environment: "prod"}, timers: map[string]time.Time{}, now: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	}
	c := fresh()
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "    "): // what followed the last time
			continue
		case line == "---":
			c = fresh()
		case strings.HasPrefix(line, "> "):
			c.out.Reset()
			c.event(words[1:])
			out.WriteString(line + "\n" + c.out.String())
			continue
		case len(words) > 1 && words[0] == "phase":
			c.plan.Phases = append(c.plan.Phases, Phase{ID: words[1], Title: strings.ToUpper(words[1]), Parallel: slices.Contains(words, "parallel"), Rollback: slices.Contains(words, "rollback")})
		case len(words) > 0 && words[0] == "rules":
			c.plan.Rules = Rules{Distinct: slices.Contains(words, "distinct"), StarterRoles: lists(words)["starter"]}
		case len(words) > 2 && strings.HasPrefix(words[0], "+"):
			c.plan.Items = append(c.plan.Items, c.item(words))
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}

// lists gives the words with an = by their names.
func lists(words []string) map[string][]string {
	out := map[string][]string{}
	for _, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			out[name] = strings.Split(strings.ReplaceAll(value, "_", " "), ",")
		}
	}
	return out
}

// item reads a line such as "+action on deploy holds=maintenance undo".
func (c *script) item(words []string) Item {
	has, kv := func(w string) bool { return slices.Contains(words[3:], w) }, lists(words)
	one := func(name string) string { return strings.Join(kv[name], ",") }
	it := Item{
		ID: words[1], Text: words[1], Phase: words[2], Section: words[2], Gate: words[2], Kind: Kind(strings.TrimPrefix(words[0], "+")),
		Class: Unsafe, Applies: Applies, Optional: has("optional"), Holds: one("holds"), Releases: one("releases"),
		Needs: kv["needs"], Children: kv["children"], UndoWhen: kv["undo_when"],
	}
	for _, class := range []Class{Pure, Idempotent, Keyed, Probed} {
		if has(string(class)) {
			it.Class = class
		}
	}
	if has("undo") {
		it.Undo = "take it back"
	}
	if gate := one("gate"); gate != "" {
		it.Gate = gate
	}
	if section := one("section"); section != "" {
		it.Section = section
	}
	if a := one("applies"); a != "" {
		it.Applies, it.Because = Application(a), "nobody has said"
	}
	if w := one("window"); w != "" {
		it.Window, it.WindowFor = it.Section, c.duration(w)
	}
	if r := one("retry"); r != "" {
		times, every, _ := strings.Cut(r, "/")
		it.Retry = Retry{Times: c.number(times), Every: c.duration(every)}
	}
	if batch := one("batch"); batch != "" {
		it.Rollout = &Rollout{Kind: Kind(one("of")), Batch: c.number(batch), MaxFailures: c.number(one("max"))}
	}
	it.Host = one("host")
	it.FreshFor = c.duration(one("fresh"))
	if it.Kind == Watch {
		length, every, _ := strings.Cut(one("for"), "/")
		it.Watch = &WatchRule{For: c.duration(length), Every: c.duration(every), Delay: c.duration(one("delay")), MaxFailures: c.number(one("max")),
			MaxErrors: c.number(one("errors")), MinSamples: c.number(one("min")), Coverage: c.number(one("cover"))}
	}
	if it.Kind == Attest || it.Kind == Signoff {
		it.Person = &Person{Roles: kv["roles"], NotSameAs: kv["not_same_as"], Expires: c.duration(one("expires"))}
	}
	return it
}

func (c *script) duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

func (c *script) number(text string) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// event plays one line: what, which item with perhaps an attempt (a#2), and
// words such as by=ana, as=Lead, for=1h, because=text.
func (c *script) event(words []string) {
	c.now = c.now.Add(time.Second)
	what, rest, kv := words[0], words[1:], lists(words)
	one := func(name string) string { return strings.Join(kv[name], ",") }
	if what == "wait" {
		c.wait(c.duration(rest[0]))
		return
	}
	e := Event{Actor: one("by"), Role: one("as"), Reason: one("because"), Key: one("key")}
	id := ""
	if len(rest) > 0 && !strings.Contains(rest[0], "=") {
		id = rest[0]
	}
	id, attempt, _ := strings.Cut(id, "#")
	e.Item = id
	it, st := c.s.Of(id)
	if st != nil {
		e.Attempt = st.Attempt
		if strings.HasPrefix(what, "undo") {
			e.Attempt = st.UndoAttempt
		}
	}
	if attempt != "" {
		e.Attempt = c.number(attempt)
	}
	if d := one("for"); d != "" {
		e.Until = c.now.Add(c.duration(d))
	}
	for _, e := range c.meaning(what, e, it) {
		c.play(e)
	}
}

// meaning translates a word into events.
func (c *script) meaning(what string, e Event, it *Item) []Event {
	answer := func(verdict string) []Event {
		e.Type, e.Verdict = CheckFinished, verdict
		if it != nil && it.Kind == Watch {
			e.Type = SampleTaken
		}
		return []Event{e}
	}
	of := func(t EventType, verdict string) Event {
		e := e
		e.Type, e.Verdict = t, verdict
		return e
	}
	switch what {
	case "start":
		if err := Order(c.plan); err != nil {
			c.say("error %v", err)
			return nil
		}
		return []Event{{Type: RunStarted, Run: "r", Plan: c.plan, Actor: e.Actor, Reason: e.Reason}}
	case "restart":
		return []Event{of(RunResumed, "")}
	case "close":
		return []Event{of(RunClosed, "")}
	case "timer":
		return []Event{{Type: TimerFired, Timer: e.Item}}
	case "pass", "fail", "inconclusive", "NaN":
		return answer(what)
	case "intend":
		return []Event{of(ActionIntended, "")}
	case "done", "failed", "in_doubt":
		return []Event{of(ActionFinished, strings.ReplaceAll(what, "_", " "))}
	case "do":
		return []Event{of(ActionIntended, ""), of(ActionFinished, "done")}
	case "lose":
		return []Event{of(ActionIntended, ""), of(ActionFinished, "in doubt")}
	case "probed_done", "probed_not_done", "probed_partly":
		return []Event{of(ActionProbed, strings.TrimPrefix(what, "probed_"))}
	case "undo":
		return []Event{of(UndoIntended, ""), of(UndoFinished, "done")}
	case "undo_fails":
		return []Event{of(UndoIntended, ""), of(UndoFinished, "failed")}
	}
	return []Event{c.person(what, e)}
}

func (c *script) person(what string, e Event) Event {
	kinds := map[string]EventType{
		"attest": Attested, "attest_fail": Attested, "sign": Signed, "reject": Signed, "revoke": SignRevoked, "waive": Waived, "na": MarkedNA,
		"retry": Retried, "happened": Resolved, "did_not": Resolved, "undone": Resolved, "pause": Paused, "resume": Unpaused, "abort": Aborted,
		"rollback": RollbackStarted, "emergency": RollbackStarted,
	}
	verdicts := map[string]string{"attest": "pass", "attest_fail": "fail", "sign": "approve", "reject": "reject", "happened": "done", "did_not": "not_done", "undone": "undone"}
	kind, ok := kinds[what]
	if !ok {
		c.t.Fatalf("nothing is called %q", what)
	}
	e.Type, e.Verdict, e.Emergency = kind, verdicts[what], what == "emergency"
	if kind == Signed {
		e.Subject = c.s.SubjectOf(e.Item)
	}
	return e
}

// wait lets time go by; the timers that are due fire in their order.
func (c *script) wait(d time.Duration) {
	until := c.now.Add(d)
	for {
		id := ""
		for timer, at := range c.timers {
			if at.After(until) || id != "" && (c.timers[id].Before(at) || c.timers[id].Equal(at) && id < timer) {
				continue
			}
			id = timer
		}
		if id == "" {
			break
		}
		if at := c.timers[id]; at.After(c.now) {
			c.now = at
		}
		delete(c.timers, id)
		c.say("%s timer %s", c.now.Format("15:04:05"), id)
		c.play(Event{Type: TimerFired, Timer: id})
	}
	c.now = until
}

func (c *script) say(format string, args ...any) {
	fmt.Fprintf(&c.out, "    "+format+"\n", args...)
}

// play gives an event to the run and tells what follows.
func (c *script) play(e Event) {
	e.At = c.now
	if err := Refuse(&c.s, e); err != nil {
		if e.Type == RunStarted && c.s.Plan == nil && e.Reason != "impossible" { // what follows would say nothing
			c.t.Fatalf("the run does not begin: %v", err)
		}
		c.say("refused: %v", err)
	}
	before := c.s
	var effects []Effect
	c.s, effects = Step(before, e)
	for _, f := range effects {
		c.tell(f)
	}
	for i := range c.s.Items {
		c.change(before, i)
	}
	for k := range c.s.Passed {
		if before.Plan != nil && c.s.Passed[k] && !before.Passed[k] {
			c.say("gate %s passed", c.s.Plan.Phases[k].ID)
		}
	}
	if advice := fmt.Sprintf("%s: %s", c.s.Status(), c.s.Advise()); c.s.Plan != nil && advice != c.advice {
		c.advice = advice
		c.say("= %s", advice)
	}
}

func (c *script) tell(f Effect) {
	switch f.Type {
	case SetTimer:
		c.timers[f.Timer] = f.At
		if strings.HasPrefix(f.Timer, "window:") || strings.HasPrefix(f.Timer, "retry:") {
			c.say("timer %s at %s", f.Timer, f.At.Format("15:04:05"))
		}
	case Notify:
		c.say("notify %s %s: %s", f.Reason, f.Item, f.Text)
	case Close:
		c.say("close: %s", f.Reason)
	default:
		key := ""
		if f.Key != "" {
			key = " " + f.Key
		}
		c.say("%s %s#%d%s", f.Type, f.Item, f.Attempt, key)
	}
}

func (c *script) change(before State, i int) {
	is, id := c.s.Items[i], c.s.Plan.Items[i].ID
	was := &ItemState{Status: Pending}
	if before.Plan != nil {
		was = before.Items[i]
	}
	if was.Status != is.Status {
		reason := ""
		if is.Reason != "" && is.Status != Running {
			reason = ": " + is.Reason
		}
		c.say("%s %s -> %s%s", id, was.Status, is.Status, reason)
	}
	if len(is.Voided) > len(was.Voided) {
		v := is.Voided[len(is.Voided)-1]
		c.say("%s: signature of %s as %s void: %s", id, v.Person, v.Role, v.Reason)
	}
	if was.UndoReason != is.UndoReason {
		c.say("%s: undo: %q", id, is.UndoReason)
	}
	if is.UndoneAt.After(was.UndoneAt) {
		c.say("%s: taken back", id)
	}
}
