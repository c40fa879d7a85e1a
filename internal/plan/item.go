package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/run"
)

// bindType decodes what resolves an item: the type of its block, or a person's
// word.
func (b *binder) bindType(out *run.Item, item *checklist.Item, own checklist.Settings) {
	if item.Block == nil || item.Block.Type == nil {
		if item.Group {
			out.Kind, out.Type, out.Class = run.Group, "group", run.Pure
			return
		}
		b.unbound(out, item, own)
		return
	}
	inst := b.decode(item.Block.Type)
	if inst == nil {
		return
	}
	b.hosts(item.Block.Type, inst)
	b.traits(out, inst)
	b.people(out, item, own)
	b.undo(out, own)
	if out.Holds != "" && out.Undo == "" {
		b.problem(item.Block.Type.Pos, len(item.Block.Type.Name), "%s takes %s and has no way to give it back", out.ID, out.Holds).Hint = "add undo: with the type that does"
	}
	for i, id := range out.UndoWhen {
		if len(b.neededLater(id)) == 0 {
			b.problem(item.Block.Type.Pos, len(item.Block.Type.Name), "release_after: nothing is called %q", out.UndoWhen[i])
		}
	}
}

// neededLater looks an id up in the checklist, where items below are not bound yet.
func (b *binder) neededLater(name string) []string {
	var ids []string
	for it := range b.Checklist.Items() {
		if it.ID == name || matches(name, it.ID) {
			ids = append(ids, it.ID)
		}
	}
	return ids
}

func (b *binder) decode(t *checklist.Type) *check.Instance {
	typ, ok := b.Types[t.Name]
	if !ok {
		p := b.problem(t.Pos, len(t.Name), "unknown type %q", t.Name)
		names := slices.Sorted(maps.Keys(b.Types))
		if near := diag.Nearest(t.Name, names); near != "" {
			p.Hint = fmt.Sprintf("did you mean %q?", near)
		} else {
			p.Allowed = names
			p.Hint = "allclear types lists them with what they do"
		}
		return nil
	}
	vars := b.Vars
	host := &hostVars{Vars: vars, name: b.on, address: b.Hosts[b.on]}
	if b.on != "" {
		vars = host
	}
	inst, problems := typ.Decode(t.Params, check.Source{File: b.Checklist.File, Lines: b.Checklist.Line, Vars: vars, Host: b.on})
	b.problems = append(b.problems, problems...)
	if inst != nil && b.on != "" && !typ.RunsOnHosts() && !host.used {
		b.problem(t.Pos, len(t.Name), "on: %s runs on no host, and no parameter of it holds ${host.name} or ${host.address}", t.Name)
	}
	return inst
}

// traits freezes a type's answers in the plan.
func (b *binder) traits(out *run.Item, inst *check.Instance) {
	t := inst.Traits
	out.Type, out.Params, out.Deferred = inst.Type.Name, string(inst.Params), inst.Deferred
	out.Missing = append(out.Missing, inst.Missing...)
	out.Kind, out.Class, out.Effect, out.Pool = run.Kind(t.Kind), run.Class(t.Class), string(t.Effect), string(t.Pool)
	out.Does, out.Target, out.Undo, out.Irreversible = t.Does, t.Target, t.Undo, t.Irreversible
	out.Holds, out.Releases, out.UndoWhen = t.Holds, t.Releases, t.ReleaseAfter
	out.NoReturn = t.Irreversible != ""
	if out.Does == "" {
		out.Does = inst.Type.Summary
	}
	if p := t.Person; p != nil {
		out.Person = &run.Person{
			Roles: p.Roles, Evidence: p.Evidence, MinText: p.MinText,
			NotSameAs: p.NotSameAs, Expires: p.Expires, Choice: p.Choice, Fact: p.Fact, Match: p.Match,
		}
	}
}

// unbound makes an item without a block an attestation: a person's word is what
// a checklist has had so far.
func (b *binder) unbound(out *run.Item, item *checklist.Item, own checklist.Settings) {
	out.Kind, out.Type, out.Class, out.Effect = run.Attest, "attest", run.Pure, string(check.Human)
	out.Does = "a person states it, with evidence"
	out.Person = &run.Person{Evidence: []string{"text", "url", "file", "ticket"}, MinText: 1}
	b.people(out, item, own)
}

// people applies by: and evidence:, and checks that every role is known.
func (b *binder) people(out *run.Item, item *checklist.Item, own checklist.Settings) {
	if out.Person == nil {
		if own.By.IsSet() {
			b.problem(own.By.Pos, own.By.Width, "by: is for attestations and sign-offs; %s is %s", out.ID, out.Kind)
		}
		return
	}
	if own.By.IsSet() {
		out.Person.Roles = nil
		for _, w := range own.By.Value {
			out.Person.Roles = append(out.Person.Roles, w.Value)
		}
	}
	if own.Evidence.IsSet() {
		out.Person.Evidence = nil
		for _, w := range own.Evidence.Value {
			out.Person.Evidence = append(out.Person.Evidence, w.Value)
		}
	}
	b.unfilled(out)
	for _, role := range out.Person.Roles {
		if len(b.Roles) > 0 && !slices.Contains(b.Roles, role) {
			pos, width := item.Pos, checkbox
			if at := slices.IndexFunc(own.By.Value, func(w checklist.Word) bool { return w.Value == role }); at >= 0 {
				pos, width = own.By.Value[at].Pos, own.By.Value[at].Width
			}
			p := b.problem(pos, width, "nobody has the role %q", role)
			p.Allowed = b.Roles
			if near := diag.Nearest(role, b.Roles); near != "" {
				p.Hint = fmt.Sprintf("did you mean %q?", near)
			}
		}
	}
}

// unfilled notes that nobody could ever resolve the item.
func (b *binder) unfilled(out *run.Item) {
	for _, role := range out.Person.Roles {
		if !slices.Contains(b.Unfilled, role) {
			return
		}
	}
	for _, role := range out.Person.Roles {
		out.Missing = appendNew(out.Missing, "roles."+role)
	}
}

// undo binds another type as the way back.
func (b *binder) undo(out *run.Item, own checklist.Settings) {
	if own.Undo == nil {
		return
	}
	if out.Kind != run.Action {
		b.problem(own.Undo.Pos, len(own.Undo.Name), "undo: is for actions; %s is %s", out.ID, out.Kind)
		return
	}
	inst := b.decode(own.Undo)
	if inst == nil {
		return
	}
	b.hosts(own.Undo, inst)
	if inst.Traits.Kind != check.Action {
		b.problem(own.Undo.Pos, len(own.Undo.Name), "undo: wants an action; %s here is a %s", own.Undo.Name, inst.Traits.Kind)
		return
	}
	out.UndoType, out.UndoParams, out.Undo, out.Irreversible = own.Undo.Name, string(inst.Params), inst.Traits.Does, ""
	out.NoReturn = false
}

// watch turns a check into a watch, over its own time or its section's window.
func (b *binder) watch(out *run.Item, own checklist.Settings) {
	if !own.Watch.IsSet() {
		return
	}
	if out.Kind != run.Check {
		if out.Kind != "" {
			b.problem(own.Watch.Pos, own.Watch.Width, "watch: turns a check into a watch; %s is %s", out.ID, out.Kind)
		}
		return
	}
	w := own.Watch.Value
	if w.ForVar.IsSet() {
		w.For = b.length(out, "watch.for", w.ForVar)
	}
	if w.EveryVar.IsSet() {
		w.Every = b.length(out, "watch.every", w.EveryVar)
	}
	if out.Window != "" {
		w.For = out.WindowFor
	}
	if unknown := w.For == 0 || w.Every == 0; unknown {
		out.Kind, out.Watch, out.Retry = run.Watch, &run.WatchRule{}, run.Retry{}
		return
	}
	if w.MaxFailures >= w.Samples() && w.MaxFailures > 0 || w.MinSamples > w.Samples() {
		b.problem(own.Watch.Pos, own.Watch.Width, "watch: a window of %s holds %d samples, too few for max_failures %d and min_samples %d", w.For, w.Samples(), w.MaxFailures, w.MinSamples)
		return
	}
	if w.Every > w.For {
		b.problem(own.Watch.Pos, own.Watch.Width, "watch: a sample every %s does not fit into a window of %s", w.Every, w.For)
		return
	}
	out.Kind, out.Watch, out.Retry = run.Watch, watchRule(w), run.Retry{}
}

// length gives the time that a variable stands for. A variable that the
// environment does not set is missing, as one of a parameter is: the plan shows
// it, and a run is refused; the time is 0 then.
func (b *binder) length(out *run.Item, key string, variable checklist.Word) time.Duration {
	text, known := "", check.Unknown
	if b.Vars != nil {
		text, known = b.Vars.Lookup(variable.Value)
	}
	switch known {
	case check.Set:
	case check.Unset:
		out.Missing = appendNew(out.Missing, variable.Value)
		return 0
	default:
		p := b.problem(variable.Pos, variable.Width, "%s: unknown variable %q", key, variable.Value)
		if known == check.Later {
			p.Message = fmt.Sprintf("%s: %s is known only during the run", key, variable.Value)
		} else if b.Vars != nil {
			p.Allowed = b.Vars.Names()
			if near := diag.Nearest(variable.Value, p.Allowed); near != "" {
				p.Hint = fmt.Sprintf("did you mean ${%s}?", near)
			}
		}
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		b.problem(variable.Pos, variable.Width, "%s: %s is %q, want a duration of more than 0", key, variable.Value, text)
		return 0
	}
	return d
}

// matches reports whether an id matches a pattern in which * stays within one
// part between dots and ** does not.
func matches(pattern, id string) bool {
	ok, err := doublestar.Match(slashes(pattern), slashes(id))
	return err == nil && ok
}

func slashes(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c == '.' {
			out[i] = '/'
		}
	}
	return string(out)
}
