// Package plan binds a checklist, a configuration and the types into a run.Plan,
// or says everything that is wrong.
package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/run"
)

// Defaults of a watch, where the checklist does not say otherwise.
const (
	defaultCoverage  = 95
	defaultMaxErrors = 2
	samplesInWindow  = 30
)

// checkbox is the width of "[ ]", where an item begins.
const checkbox = 3

// Input is what a plan is made from.
type Input struct {
	Checklist *checklist.Checklist
	// Types are the built-in types by name.
	Types map[string]*check.Type
	// Vars gives ${…} their values as far as they are known before the run.
	Vars check.Vars
	// Facts are what when: may ask: env.*, release.*, changed.*, and what was given
	// with --set. A missing one leaves the condition undecided.
	Facts map[string]any
	// Why says of facts, by their dotted names, what they rest on.
	Why map[string]string
	// Roles are those that the configuration knows, Unfilled those among them that
	// nobody has.
	Roles, Unfilled []string
	// Hosts are the names that on: and hosts: may have, beside this machine, with the
	// address that each is reached by.
	Hosts map[string]string
	// Groups are names for several hosts.
	Groups map[string][]string
	// Plan carries what is known about the run: project, environment, releases,
	// digests and rules.
	Plan run.Plan
}

// Bind makes the plan. It gives every problem at once; with an error among them
// there is no plan.
func Bind(in Input) (*run.Plan, diag.Problems) {
	b := &binder{Input: in, plan: in.Plan, phases: map[string]*checklist.Phase{}}
	b.plan.Phases, b.plan.Items = nil, nil
	b.bindPhases()
	for _, ph := range in.Checklist.Phases {
		for _, sec := range ph.Sections {
			for _, item := range sec.Items {
				b.bindItem(ph, sec, item)
			}
		}
	}
	b.bindNeeds()
	if len(b.plan.Items) == 0 {
		b.problem(diag.Pos{File: in.Checklist.File}, 0, "the checklist has no items, so there is nothing to run")
	}
	if !b.problems.HasErrors() {
		if err := run.Order(&b.plan); err != nil {
			b.disorder(err)
		}
	}
	if b.problems.HasErrors() {
		return nil, b.problems.Sorted()
	}
	return &b.plan, b.problems.Sorted()
}

type binder struct {
	Input
	plan     run.Plan
	problems diag.Problems
	phases   map[string]*checklist.Phase
	// bound is the checklist item behind each plan item.
	bound []*checklist.Item
	needs [][]checklist.Word
	// on is the host that the item being bound runs on, by on:.
	on string
}

func (b *binder) problem(pos diag.Pos, width int, format string, args ...any) *diag.Problem {
	b.problems = append(b.problems, diag.Problem{
		Pos: pos, Width: width, Message: fmt.Sprintf(format, args...), Line: b.Checklist.Line(pos.Line),
	})
	return &b.problems[len(b.problems)-1]
}

// settings gives a heading's settings; a heading without a block has none.
func settings(block *checklist.Block) checklist.Settings {
	if block == nil {
		return checklist.Settings{}
	}
	return block.Settings
}

// bindPhases keeps the phases that hold items.
func (b *binder) bindPhases() {
	for _, ph := range b.Checklist.Phases {
		b.phases[ph.ID] = ph
		set := settings(ph.Block)
		out := run.Phase{ID: ph.ID, Title: ph.Title, Line: ph.Pos.Line, Parallel: set.Order.Value == "parallel"}
		if set.Phase.IsSet() {
			if set.Phase.Value != "rollback" {
				p := b.problem(set.Phase.Pos, set.Phase.Width, "unknown phase role %q", set.Phase.Value)
				p.Allowed = []string{"rollback"}
			}
			out.Rollback = true
		}
		for _, section := range ph.Sections {
			if len(section.Items) > 0 {
				out.Sections = append(out.Sections, run.Section{ID: section.ID, Title: section.Title})
			}
		}
		b.plan.Phases = append(b.plan.Phases, out)
	}
}

func (b *binder) bindItem(ph *checklist.Phase, sec *checklist.Section, item *checklist.Item) {
	own := settings(item.Block)
	out := run.Item{
		ID: item.ID, Text: item.Text, Line: item.Pos.Line, Phase: ph.ID, Section: sec.ID, Gate: ph.ID,
		Timeout: own.Timeout.Value, FreshFor: own.FreshFor.Value,
		Optional: own.Required.IsSet() && !own.Required.Value, Applies: run.Applies,
		Retry: run.Retry{Times: own.Retry.Value.Times, Every: own.Retry.Value.Every},
	}
	for _, set := range []checklist.Settings{settings(ph.Block), settings(sec.Block), own} {
		b.gate(&out, set)
		b.when(&out, set)
	}
	b.window(&out, settings(sec.Block))
	for _, child := range item.Children {
		out.Children = append(out.Children, child.ID)
	}
	needs := slices.Concat(settings(ph.Block).Needs.Value, settings(sec.Block).Needs.Value, own.Needs.Value)
	for _, bound := range b.bindOn(out, item, own) {
		b.plan.Items = append(b.plan.Items, bound)
		b.bound = append(b.bound, item)
		b.needs = append(b.needs, needs)
	}
}

// gate moves an item into another phase's gate.
func (b *binder) gate(out *run.Item, set checklist.Settings) {
	if !set.Gate.IsSet() {
		return
	}
	id := b.findPhase(set.Gate.Value)
	if id == "" {
		p := b.problem(set.Gate.Pos, set.Gate.Width, "there is no phase %q", set.Gate.Value)
		for _, ph := range b.plan.Phases {
			p.Allowed = append(p.Allowed, ph.ID)
		}
		if near := diag.Nearest(set.Gate.Value, p.Allowed); near != "" {
			p.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return
	}
	out.Gate = id
}

// findPhase finds a phase by its id or by an unambiguous beginning of it, so that
// gate: pre means pre-deployment-phase.
func (b *binder) findPhase(name string) string {
	found := ""
	for _, ph := range b.plan.Phases {
		if ph.ID == name {
			return ph.ID
		}
		if strings.HasPrefix(ph.ID, name+"-") {
			if found != "" {
				return ""
			}
			found = ph.ID
		}
	}
	return found
}

// when decides a condition as far as the facts go. Conditions of headings and of
// the item must all hold.
func (b *binder) when(out *run.Item, set checklist.Settings) {
	if !set.When.IsSet() {
		return
	}
	if out.When != "" {
		out.When = "(" + out.When + ") and (" + set.When.Value + ")"
	} else {
		out.When = set.When.Value
	}
	if out.Applies == run.NotApplicable {
		return
	}
	var expression check.Expression
	if err := expression.UnmarshalText([]byte(set.When.Value)); err != nil {
		b.problem(set.When.Pos, set.When.Width, "when: %v", err)
		return
	}
	holds, err := expression.Eval(b.Facts)
	switch {
	case err != nil:
		out.Applies, out.Because = run.Undecided, err.Error()
		if why := b.why(set.When.Value); why != "" {
			out.Because = "not known: " + set.When.Value + why
		}
	case !holds:
		out.Applies, out.Because = run.NotApplicable, "not the case: "+set.When.Value+b.why(set.When.Value)
	case out.Applies == run.Applies:
		out.Because = "the case: " + set.When.Value + b.why(set.When.Value)
	}
}

// why says what the facts that a condition names rest on.
func (b *binder) why(condition string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(b.Why)) {
		if at := strings.Index(condition, name); at >= 0 && !wordFollows(condition[at+len(name):]) {
			out = append(out, b.Why[name])
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, "; ") + ")"
}

// wordFollows tells whether a name goes on.
func wordFollows(rest string) bool {
	return rest != "" && (rest[0] == '_' || rest[0] >= '0' && rest[0] <= '9' || rest[0] >= 'a' && rest[0] <= 'z' || rest[0] >= 'A' && rest[0] <= 'Z')
}

// window puts an item into its section's window.
func (b *binder) window(out *run.Item, set checklist.Settings) {
	switch {
	case set.Window.IsSet():
		out.Window, out.WindowFor = out.Section, set.Window.Value
	case set.WindowVar.IsSet():
		out.Window, out.WindowFor = out.Section, b.length(out, "window", set.WindowVar)
	}
}

// bindNeeds resolves needs: to ids. A name may be an id, a pattern of ids, or a
// section or phase.
func (b *binder) bindNeeds() {
	written := map[string]*checklist.Item{}
	for i := range b.plan.Items {
		written[b.plan.Items[i].ID] = b.bound[i]
	}
	for i, words := range b.needs {
		for _, w := range words {
			ids := b.needed(w.Value)
			if len(ids) == 0 {
				b.unknownNeed(w)
				continue
			}
			for _, id := range ids {
				if written[id] != b.bound[i] { // nothing waits for itself or its other hosts
					b.plan.Items[i].Needs = appendNew(b.plan.Items[i].Needs, id)
				}
			}
		}
	}
}

func (b *binder) unknownNeed(w checklist.Word) {
	p := b.problem(w.Pos, w.Width, "needs: nothing is called %q", w.Value)
	var ids []string
	for i := range b.plan.Items {
		ids = append(ids, b.plan.Items[i].ID)
	}
	if near := diag.Nearest(w.Value, ids); near != "" {
		p.Hint = fmt.Sprintf("did you mean %q?", near)
	} else {
		p.Hint = "name an item's id, a pattern such as deploy.smoke.*, or a section's id"
	}
}

// disorder reports items that can be resolved in no order: at the need that is
// written, or at the item itself where the order of the document makes it wait.
func (b *binder) disorder(err error) {
	pos, width := diag.Pos{File: b.Checklist.File}, 0
	if wrong, ok := errors.AsType[*run.OrderError](err); ok {
		for k := len(wrong.Chain) - 2; k >= 0; k-- {
			pos, width = b.waits(wrong.Chain[k], wrong.Chain[k+1], pos, width)
		}
	}
	b.problem(pos, width, "%v", err)
}

// waits gives the place where one item is made to wait for another; a place that
// is known already gives way only to a need that is written.
func (b *binder) waits(id, other string, pos diag.Pos, width int) (diag.Pos, int) {
	i := slices.IndexFunc(b.plan.Items, func(it run.Item) bool { return it.ID == id })
	if i < 0 {
		return pos, width
	}
	for _, w := range b.needs[i] {
		if slices.Contains(b.needed(w.Value), other) {
			return w.Pos, w.Width
		}
	}
	if pos.Line == 0 {
		return b.bound[i].Pos, checkbox
	}
	return pos, width
}

func (b *binder) needed(name string) []string {
	var ids []string
	for i := range b.plan.Items {
		it := &b.plan.Items[i]
		if it.ID == name || it.Section == name || it.Phase == name || matches(name, it.ID) {
			ids = append(ids, it.ID)
		}
	}
	return ids
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// watchRule fills what the checklist leaves open: enough samples that a pass
// means something.
func watchRule(w checklist.Watch) *run.WatchRule {
	rule := &run.WatchRule{
		For: w.For, Every: w.Every, Delay: w.InitialDelay, MaxFailures: w.MaxFailures,
		MaxErrors: defaultMaxErrors, MinSamples: w.MinSamples, Coverage: defaultCoverage,
	}
	if rule.Every == 0 {
		rule.Every = max(w.For/samplesInWindow, time.Second)
	}
	if rule.MinSamples == 0 {
		rule.MinSamples = min(rule.Expected(), 2)
	}
	return rule
}
