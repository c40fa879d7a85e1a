package plan

import (
	"fmt"
	"maps"
	"slices"

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
	inst, problems := typ.Decode(t.Params, check.Source{File: b.Checklist.File, Lines: b.Checklist.Line, Vars: b.Vars})
	b.problems = append(b.problems, problems...)
	return inst
}

// traits freezes a type's answers in the plan.
func (b *binder) traits(out *run.Item, inst *check.Instance) {
	t := inst.Traits
	out.Type, out.Params, out.Missing, out.Deferred = inst.Type.Name, string(inst.Params), inst.Missing, inst.Deferred
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
			NotSameAs: p.NotSameAs, Expires: p.Expires, Choice: p.Choice,
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
	for _, role := range out.Person.Roles {
		if len(b.Roles) > 0 && !slices.Contains(b.Roles, role) {
			p := b.problem(item.Pos, 3, "nobody has the role %q", role)
			p.Allowed = b.Roles
			if near := diag.Nearest(role, b.Roles); near != "" {
				p.Hint = fmt.Sprintf("did you mean %q?", near)
			}
		}
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
	if out.Window != "" {
		w.For = out.WindowFor
	}
	if w.Every > w.For {
		b.problem(own.Watch.Pos, own.Watch.Width, "watch: a sample every %s does not fit into a window of %s", w.Every, w.For)
		return
	}
	out.Kind, out.Watch, out.Retry = run.Watch, watchRule(w), run.Retry{}
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
