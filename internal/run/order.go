package run

import (
	"fmt"
	"slices"
	"strings"
)

// Order fills After of every item, what it waits for, leaving out what follows
// from the rest.
//
// In a sequential phase an action waits for everything above it and a check for
// the actions above it. In a parallel phase, and for items that a gate: key has
// moved into another phase, the same rule holds within the section. A sign-off
// waits for everything else of its gate, except on a rollback, where it stands
// where it is written, so that the decision comes before what it decides. People's
// items wait for nothing but their needs. Items of a window wait for the window.
// An item that holds others counts as standing below them. What is below a rollout
// waits for all of its hosts; its hosts wait for those of earlier batches, as far
// as its failures allow, and for what is above it. The error names a circle of items that wait for each other, or a need that can never be met.
func Order(p *Plan) error {
	phases := map[string]*Phase{}
	for k := range p.Phases {
		phases[p.Phases[k].ID] = &p.Phases[k]
	}
	type above struct {
		sinceAction []string
		action      string
	}
	scopes, byGate, within := map[string]*above{}, map[string][]string{}, hosts(p)
	for _, i := range sequence(p) {
		it := &p.Items[i]
		gate := phases[it.Gate]
		if gate == nil {
			return fmt.Errorf("%s belongs to the gate of %q, which is not a phase", it.ID, it.Gate)
		}
		if it.Kind != Signoff {
			byGate[it.Gate] = append(byGate[it.Gate], it.ID)
		}
		key := scope(gate, it)
		if scopes[key] == nil {
			scopes[key] = &above{}
		}
		up := scopes[key]
		it.After = slices.Concat(it.Needs, it.Children)
		kind := kindInOrder(it)
		switch {
		case kind == Action:
			it.After = append(it.After, up.sinceAction...)
		case (kind == Check || kind == Watch || kind == Signoff && gate.Rollback) && up.action != "":
			it.After = append(it.After, up.action)
		}
		if host := within[it.ID]; host.rollout != nil {
			if r := host.rollout.Rollout; r.MaxFailures == 0 {
				it.After = append(it.After, r.previous(host.rollout.Children, host.n)...)
			}
			continue
		}
		if kind == Action {
			up.action, up.sinceAction = it.ID, nil
		}
		if waitedFor(gate, it) {
			up.sinceAction = append(up.sinceAction, it.ID)
		}
	}
	for i := range p.Items {
		if it := &p.Items[i]; it.Kind == Signoff && !phases[it.Gate].Rollback {
			it.After = append(it.After, byGate[it.Gate]...)
		}
	}
	if err := reachable(p, phases); err != nil {
		return err
	}
	return circle(p)
}

// OrderError says why items cannot be resolved in any order.
type OrderError struct {
	// Chain lists the ids of the items concerned: each waits for the next.
	Chain []string
	text  string
}

// Error says what is wrong.
func (e *OrderError) Error() string { return e.text }

func orderError(chain []string, format string, args ...any) *OrderError {
	return &OrderError{Chain: chain, text: fmt.Sprintf(format, args...)}
}

// reachable finds an item that needs one of a later gate: the later gate opens
// only after its own, so it would wait for ever. A rollback may start before
// anything ordinary has happened, and the other way round.
func reachable(p *Plan, phases map[string]*Phase) error {
	gates, at := map[string]string{}, map[string]int{}
	for i := range p.Items {
		gates[p.Items[i].ID] = p.Items[i].Gate
	}
	for k := range p.Phases {
		at[p.Phases[k].ID] = k
	}
	for i := range p.Items {
		it := &p.Items[i]
		for _, id := range slices.Concat(it.Needs, it.Children) {
			gate, ok := gates[id]
			switch {
			case !ok:
			case phases[gate].Rollback != phases[it.Gate].Rollback:
				return orderError([]string{it.ID, id}, "%s waits for %s: one of them belongs to a rollback, the other does not", it.ID, id)
			case at[gate] > at[it.Gate]:
				return orderError([]string{it.ID, id}, "%s waits for %s, which belongs to a later gate (%s)", it.ID, id, gate)
			}
		}
	}
	return nil
}

// scope names the items among which the order of the document counts.
func scope(gate *Phase, it *Item) string {
	if gate.Parallel || it.Phase != it.Gate {
		return "section|" + it.Gate + "|" + it.Phase + "|" + it.Section + "|" + it.Window
	}
	return "phase|" + it.Gate + "|" + it.Window
}

// waitedFor reports whether actions below an item wait for it.
func waitedFor(gate *Phase, it *Item) bool {
	kind := kindInOrder(it)
	return kind != Group && (kind != Signoff || gate.Rollback)
}

// circle looks for items that wait for each other.
func circle(p *Plan) error {
	index := map[string]int{}
	for i := range p.Items {
		index[p.Items[i].ID] = i
	}
	const fresh, open, done = 0, 1, 2
	mark := make([]int, len(p.Items))
	var path []string
	var visit func(i int) error
	visit = func(i int) error {
		it := &p.Items[i]
		switch mark[i] {
		case done:
			return nil
		case open:
			chain := append(slices.Clone(path[slices.Index(path, it.ID):]), it.ID)
			return orderError(chain, "these items wait for each other: %s", strings.Join(chain, " → "))
		}
		mark[i] = open
		path = append(path, it.ID)
		for _, id := range it.After {
			if j, ok := index[id]; ok {
				if err := visit(j); err != nil {
					return err
				}
			}
		}
		path = path[:len(path)-1]
		mark[i] = done
		return nil
	}
	for i := range p.Items {
		if err := visit(i); err != nil {
			return err
		}
	}
	return nil
}
