package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// shape is what follows from a plan alone, reckoned once when a run starts and
// shared by all its states.
type shape struct {
	index map[string]int
	spots []spot
	// order is the order of the document, with what is below an item before it.
	order    []int
	scopes   int
	phases   map[string]int
	members  [][]int // by phase: the items of its gate
	signoffs []int
	windows  []section
}

// spot is where an item stands. Numbers stand for ids; -1 is none.
type spot struct {
	kind                 Kind
	gate, scope, parent  int
	window               int
	needs                []int // its needs and what is below it
	undoWhen             []int
	holdsBack, heldCheck bool  // what is below it waits for it: actions, checks too
	earlier              []int // of a rollout: the items of the batches before
	maxFailures          int   // of a rollout: how many of them may be without success
}

// section is a section with a window.
type section struct {
	id      string
	length  int // index of an item with its length
	members []int
}

// Valid says what makes a plan impossible to run: names that lead nowhere, a
// watch without its rule. Step refuses to start a run with such a plan.
func (p *Plan) Valid() error {
	phases, ids := map[string]bool{}, map[string]bool{}
	for _, ph := range p.Phases {
		if phases[ph.ID] {
			return fmt.Errorf("two phases are called %q", ph.ID)
		}
		phases[ph.ID] = true
	}
	for i := range p.Items {
		if ids[p.Items[i].ID] {
			return fmt.Errorf("two items are called %q", p.Items[i].ID)
		}
		ids[p.Items[i].ID] = true
	}
	for i := range p.Items {
		it := &p.Items[i]
		if !phases[it.Gate] {
			return fmt.Errorf("%s belongs to the gate of %q, which is not a phase", it.ID, it.Gate)
		}
		for _, id := range slices.Concat(it.Needs, it.Children, it.UndoWhen) {
			if !ids[id] {
				return fmt.Errorf("%s names %q, which is not an item", it.ID, id)
			}
		}
		if err := it.valid(); err != nil {
			return fmt.Errorf("%s: %w", it.ID, err)
		}
	}
	return circle(p)
}

func (it *Item) valid() error {
	switch it.Kind {
	case Group:
		if r := it.Rollout; r != nil && (r.Batch < 1 || r.MaxFailures < 0 || r.Kind != Check && r.Kind != Action && r.Kind != Watch) {
			return errors.New("a rollout is of checks, watches or actions, in batches of at least one")
		}
	case Check, Action, Attest, Signoff:
	case Watch:
		if w := it.Watch; w == nil || w.For < 0 || w.Every < 0 || w.Delay < 0 {
			return errors.New("a watch needs a rule with times")
		}
	default:
		return fmt.Errorf("%q is no kind of item", it.Kind)
	}
	switch {
	case strings.TrimSpace(it.ID) == "":
		return errors.New("an item needs an id")
	case it.Rollout != nil && it.Kind != Group:
		return errors.New("a rollout holds its hosts' items and is a group")
	}
	return nil
}

// shapeOf reckons a valid plan's shape.
func shapeOf(p *Plan) *shape {
	s := &shape{index: map[string]int{}, phases: map[string]int{}, spots: make([]spot, len(p.Items)), members: make([][]int, len(p.Phases))}
	for k := range p.Phases {
		s.phases[p.Phases[k].ID] = k
	}
	for i := range p.Items {
		s.index[p.Items[i].ID] = i
		s.spots[i].parent, s.spots[i].window = -1, -1
	}
	scopes, windows, within := map[string]int{}, map[string]int{}, hosts(p)
	s.order = sequence(p)
	for i := range p.Items {
		it, at := &p.Items[i], &s.spots[i]
		at.kind, at.gate = it.Kind, s.phases[it.Gate]
		gate := &p.Phases[at.gate]
		at.scope = number(scopes, scope(gate, it))
		at.holdsBack = within[it.ID].rollout == nil && waitedFor(gate, it)
		at.heldCheck = at.holdsBack && kindInOrder(it) == Action
		at.needs, at.undoWhen = s.indexes(it.Needs, it.Children), s.indexes(it.UndoWhen)
		below := s.indexes(it.Children)
		for n, c := range below {
			s.spots[c].parent = i
			if r := it.Rollout; r != nil {
				s.spots[c].earlier, s.spots[c].maxFailures = below[:n-n%r.Batch], r.MaxFailures
			}
		}
		s.members[at.gate] = append(s.members[at.gate], i)
		if it.Kind == Signoff {
			s.signoffs = append(s.signoffs, i)
		}
		if it.Window != "" {
			at.window = number(windows, it.Window)
			if at.window == len(s.windows) {
				s.windows = append(s.windows, section{id: it.Window, length: i})
			}
			s.windows[at.window].members = append(s.windows[at.window].members, i)
		}
	}
	s.scopes = len(scopes)
	return s
}

// number gives a name's number, the next one to a new name.
func number(known map[string]int, name string) int {
	n, ok := known[name]
	if !ok {
		n = len(known)
		known[name] = n
	}
	return n
}

func (s *shape) indexes(lists ...[]string) []int {
	var out []int
	for _, id := range slices.Concat(lists...) {
		if i, ok := s.index[id]; ok {
			out = append(out, i)
		}
	}
	return out
}

// sequence gives the indexes of a plan's items in the order that counts: that of
// the document, but an item that holds others after all of them, because it is
// settled after them.
func sequence(p *Plan) []int {
	index := make(map[string]int, len(p.Items))
	for i := range p.Items {
		index[p.Items[i].ID] = i
	}
	out, placed := make([]int, 0, len(p.Items)), make([]bool, len(p.Items))
	var place func(i int)
	place = func(i int) {
		if placed[i] {
			return
		}
		placed[i] = true
		for _, id := range p.Items[i].Children {
			if c, ok := index[id]; ok {
				place(c)
			}
		}
		out = append(out, i)
	}
	for i := range p.Items {
		place(i)
	}
	return out
}
