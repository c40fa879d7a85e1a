package cli

import (
	"strings"

	"allclear.dev/allclear/internal/run"
)

// browseRow is a line of the list: a gate, a section or an item.
type browseRow struct {
	gate    int // index of the phase
	section string
	item    int // index of the item; -1 for a gate or a section
}

// key names a row for folding.
func (r browseRow) key(p *run.Plan) string {
	if r.section == "" {
		return "gate " + p.Phases[r.gate].ID
	}
	return "section " + p.Phases[r.gate].ID + " " + r.section
}

// arrange lists the rows anew and keeps the cursor on what it stood on.
func (b *browser) arrange() {
	var at browseRow
	stood := b.cursor >= 0 && b.cursor < len(b.rows)
	if stood {
		at = b.rows[b.cursor]
	}
	before := len(b.rows)
	b.rows = b.list()
	if stood && len(b.rows) != before {
		for i, r := range b.rows {
			if r == at {
				b.cursor = i
			}
		}
	}
	b.cursor = max(min(b.cursor, len(b.rows)-1), 0)
	room := b.room()
	b.top = min(b.top, b.cursor)
	b.top = max(b.top, b.cursor-room+1, 0)
	b.top = max(min(b.top, len(b.rows)-room), 0)
}

// list gives the rows as they are folded.
func (b *browser) list() []browseRow {
	s := &b.state
	var rows []browseRow
	for k, ph := range s.Plan.Phases {
		if ph.Rollback && !s.Rollback {
			continue
		}
		var inside []browseRow
		section, some, hidden := "", false, false
		for i := range s.Plan.Items {
			it := &s.Plan.Items[i]
			if it.Gate != ph.ID || it.Kind == run.Group || b.bad && b.well(i) {
				continue
			}
			some = true
			if it.Section != section {
				section, hidden = it.Section, false
				if section != ph.ID { // whose own line stands above
					head := browseRow{k, section, -1}
					inside, hidden = append(inside, head), b.foldedSection(head)
				}
			}
			if !hidden {
				inside = append(inside, browseRow{k, section, i})
			}
		}
		if !some {
			continue
		}
		gate := browseRow{k, "", -1}
		rows = append(rows, gate)
		if !b.folded(gate, k != s.Open && count(s, ph.ID).bad == 0 && !b.bad) {
			rows = append(rows, inside...)
		}
	}
	return rows
}

// well reports whether an item needs nobody's attention.
func (b *browser) well(i int) bool {
	st := b.state.Items[i]
	return b.state.Green(i) || st.Status == run.Pending || st.Status == run.Running || st.Status == run.Watching
}

// folded reports whether a row is folded: as a person wants it, or by itself.
func (b *browser) folded(r browseRow, byItself bool) bool {
	if folded, said := b.folds[r.key(b.state.Plan)]; said {
		return folded
	}
	return byItself
}

// foldedSection folds by itself a section whose items are all green.
func (b *browser) foldedSection(r browseRow) bool {
	green, all, _ := b.tallySection(r)
	return b.folded(r, green == all)
}

// tallySection counts the items of a section that are green, and all of them.
func (b *browser) tallySection(r browseRow) (green, all int, bad bool) {
	s := &b.state
	for i := range s.Plan.Items {
		it := &s.Plan.Items[i]
		if it.Gate != s.Plan.Phases[r.gate].ID || it.Section != r.section || it.Kind == run.Group {
			continue
		}
		all++
		switch {
		case s.Green(i):
			green++
		case s.Items[i].Status.Settled():
			bad = true
		}
	}
	return green, all, bad
}

// item gives the item at the cursor, or nil.
func (b *browser) item() *run.Item {
	if b.cursor < len(b.rows) && b.rows[b.cursor].item >= 0 {
		return &b.state.Plan.Items[b.rows[b.cursor].item]
	}
	return nil
}

// unfold opens the gate or section at the cursor, or all that is known of an item.
func (b *browser) unfold() {
	if b.cursor >= len(b.rows) {
		return
	}
	r := b.rows[b.cursor]
	if r.item >= 0 {
		b.show(paneItem)
		return
	}
	b.folds[r.key(b.state.Plan)] = false
}

// fold closes what stands at the cursor, or goes to what it stands in.
func (b *browser) fold() {
	if b.cursor >= len(b.rows) {
		return
	}
	r := b.rows[b.cursor]
	if r.item < 0 {
		b.folds[r.key(b.state.Plan)] = true
		return
	}
	for i := b.cursor; i >= 0; i-- {
		if b.rows[i].item < 0 {
			b.cursor = i
			return
		}
	}
}

// toProblem moves the cursor to the next item, or the one before, that a person
// must look at, unfolding what it stands in.
func (b *browser) toProblem(direction int) {
	s := &b.state
	problem := map[int]bool{}
	for _, i := range append(s.InDoubt(), s.Blocking()...) {
		problem[i] = true
	}
	b.moveTo(direction, func(i int) bool { return problem[i] || s.Items[i].Status == run.Waiting && !s.Green(i) })
}

// find moves the cursor to the next item whose text or id has a word in it.
func (b *browser) find(word string) {
	word = strings.ToLower(strings.TrimSpace(word))
	if word == "" {
		return
	}
	b.moveTo(1, func(i int) bool {
		it := &b.state.Plan.Items[i]
		return strings.Contains(strings.ToLower(it.Text), word) || strings.Contains(strings.ToLower(it.ID), word)
	})
}

// moveTo moves the cursor to the next item that is wanted, around the end too.
func (b *browser) moveTo(direction int, wanted func(int) bool) {
	order := b.order()
	from := -1
	if it := b.item(); it != nil {
		for n, i := range order {
			if &b.state.Plan.Items[i] == it {
				from = n
			}
		}
	} else if b.cursor < len(b.rows) {
		for n, i := range order { // the first one below the cursor
			if b.gateOf(i) >= b.rows[b.cursor].gate {
				from = n - 1
				break
			}
		}
		if direction < 0 {
			from++
		}
	}
	for n := range order {
		at := ((from+direction*(n+1))%len(order) + len(order)) % len(order)
		if i := order[at]; wanted(i) {
			b.goTo(i)
			return
		}
	}
	b.said = "there is none"
}

// order gives the items in the order of the list, folded or not.
func (b *browser) order() []int {
	var order []int
	for k, ph := range b.state.Plan.Phases {
		if ph.Rollback && !b.state.Rollback {
			continue
		}
		for i := range b.state.Plan.Items {
			if b.gateOf(i) == k && b.state.Plan.Items[i].Kind != run.Group {
				order = append(order, i)
			}
		}
	}
	return order
}

func (b *browser) gateOf(i int) int {
	for k := range b.state.Plan.Phases {
		if b.state.Plan.Phases[k].ID == b.state.Plan.Items[i].Gate {
			return k
		}
	}
	return -1
}

// goTo puts the cursor on an item.
func (b *browser) goTo(i int) {
	k := b.gateOf(i)
	b.folds[browseRow{k, "", -1}.key(b.state.Plan)] = false
	b.folds[browseRow{k, b.state.Plan.Items[i].Section, -1}.key(b.state.Plan)] = false
	if b.bad && b.well(i) {
		b.bad = false
	}
	b.rows = b.list()
	for n, r := range b.rows {
		if r.item == i {
			b.cursor = n
		}
	}
}
