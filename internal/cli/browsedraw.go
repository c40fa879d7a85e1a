package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"allclear.dev/allclear/internal/run"
)

// cursorCell is where the terminal's cursor belongs while something is typed.
func (b *browser) cursorCell() int {
	return min(2+uniseg.StringWidth(string(b.prompt.text[:b.prompt.at])), b.paper.width-1)
}

// room is how many rows of the list fit.
func (b *browser) room() int {
	return max(b.paper.height-len(b.upper())-len(b.bottom())-1, 1)
}

// upper is what stands above the list: what it is, what stops it, whose turn it is
// and what comes next; then the list's heading.
func (b *browser) upper() []string {
	lines := b.paper.head(&b.state, b.now)
	if most := max(b.paper.height/3, 3); len(lines) > most {
		lines = lines[:most]
	}
	return append(lines, b.heading())
}

// lines draws everything, exactly as high as the terminal.
func (b *browser) lines() []string {
	lines := b.upper()
	room := b.room()
	for n := b.top; n < b.top+room; n++ {
		if n >= len(b.rows) {
			lines = append(lines, "")
			continue
		}
		lines = append(lines, b.row(n))
	}
	lines = append(lines, b.paper.rule())
	lines = append(lines, b.bottom()...)
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines[:min(len(lines), max(b.paper.height, 1))]
}

// rule is a line across.
func (p paper) rule() string {
	line := "─"
	if p.ascii {
		line = "-"
	}
	return p.paint(strings.Repeat(line, p.width), grey)
}

// column is a figure of a gate; those with a higher rank need a wider terminal.
type column struct {
	name  string
	width int
	rank  int
}

// columns are the figures that fit.
func (b *browser) columns() []column {
	all := []column{{"PASS", 5, 60}, {"FAIL", 5, 60}, {"N/A", 4, 90}, {"WAIVED", 7, 90}, {"LEFT", 5, 60}, {"TIME", 8, 80}, {"NORMAL", 8, 100}}
	return slices.DeleteFunc(all, func(c column) bool { return c.rank > b.paper.width })
}

// titleWidth is what a gate's title has beside the figures, its mark and word.
func (b *browser) titleWidth() int {
	left := b.paper.width - 4 - 14
	for _, c := range b.columns() {
		left -= c.width
	}
	return max(left, 8)
}

func (b *browser) heading() string {
	line := "    " + b.paper.fit("GATE", b.titleWidth())
	for _, c := range b.columns() {
		line += fmt.Sprintf("%*s", c.width, c.name)
	}
	return b.paper.paint(b.paper.cut(line+"  STATE", b.paper.width), grey)
}

// row draws a row of the list; the one at the cursor is marked with more than a
// colour.
func (b *browser) row(n int) string {
	r := b.rows[n]
	lead := " "
	if n == b.cursor {
		lead = ">"
	}
	switch {
	case r.item >= 0:
		return lead + b.itemRow(r.item)
	case r.section != "":
		return lead + b.sectionRow(r)
	}
	return lead + b.gateRow(r.gate)
}

func (b *browser) gateRow(k int) string {
	s, p := &b.state, b.paper
	ph := s.Plan.Phases[k]
	t := count(s, ph.ID)
	m, word := p.gateState(s, k, t)
	line := p.mark(m) + " " + p.fit(orText(ph.Title, ph.ID), b.titleWidth()+2-uniseg.StringWidth(p.symbol(m)))
	for _, c := range b.columns() {
		text := ""
		switch c.name {
		case "PASS":
			text = fmt.Sprint(t.green)
		case "FAIL":
			text = fmt.Sprint(t.bad)
		case "N/A":
			text = fmt.Sprint(t.na)
		case "WAIVED":
			text = fmt.Sprint(t.waived)
		case "LEFT":
			text = fmt.Sprint(t.left)
		case "TIME":
			text = b.gateTook(b.times.took(ph.ID, b.end()))
		case "NORMAL":
			text = b.gateTook(b.normal[ph.ID])
		}
		line += fmt.Sprintf("%*s", c.width, text)
	}
	return line + "  " + word
}

// end is now, or when the run ended.
func (b *browser) end() time.Time {
	if b.state.Closed {
		return b.state.ClosedAt
	}
	return b.now
}

func (b *browser) gateTook(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return took(d)
}

func (b *browser) sectionRow(r browseRow) string {
	s, p := &b.state, b.paper
	green, all, bad := b.tallySection(r)
	m := markOf(run.Pending)
	switch {
	case bad:
		m = markOf(run.Fail)
	case green == all:
		m = markOf(run.Pass)
	case green > 0:
		m = markOf(run.Running)
	}
	fold := ""
	if b.foldedSection(r) {
		fold = " +"
	}
	counted := fmt.Sprintf(" %d/%d%s", green, all, fold)
	return "  " + p.mark(m) + " " + p.cut(s.Plan.SectionTitle(r.section), max(p.width-8-len(counted), 8)) + counted
}

// itemRow is an item with its id, where there is room for it.
func (b *browser) itemRow(i int) string {
	p := b.paper
	p.width--
	const idFrom, idWidth = 110, 36
	if p.width < idFrom {
		return p.row(&b.state, i, b.now)
	}
	p.width -= idWidth
	line := p.row(&b.state, i, b.now)
	used := uniseg.StringWidth(withoutColour(line))
	return line + strings.Repeat(" ", max(p.width-used, 0)+1) + p.paint(p.cut(b.state.Plan.Items[i].ID, idWidth-1), grey)
}

// withoutColour removes the colours that paint has put in.
func withoutColour(line string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(line, "\x1b[")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		_, line, _ = strings.Cut(after, "m")
	}
}

// bottom is the pane and the last line: the prompt, what happened, or the keys.
func (b *browser) bottom() []string {
	p := b.paper
	var lines []string
	if b.pane == paneHelp {
		lines = helpLines()
	} else if it := b.item(); it != nil && b.detail != nil {
		lines = b.detail(b.pane, &b.state, it)
	}
	most := max(p.height/2, 4)
	if b.pane == paneShort {
		most = 2
	}
	if b.pane == paneItem {
		lines = b.wrapped(lines)
	}
	if len(lines) > most && b.pane == paneLog {
		lines = lines[len(lines)-most:] // the end of a log is what counts
	}
	lines = lines[:min(len(lines), most)]
	var out []string
	for _, line := range lines {
		out = append(out, " "+p.cut(line, p.width-1))
	}
	last := " j k move  enter open  / find  n next problem  . problems only  l log  s sign  r retry  : command  ? keys  q leave"
	switch {
	case b.prompt.open && b.prompt.find:
		last = "/ " + string(b.prompt.text)
	case b.prompt.open:
		last = ": " + string(b.prompt.text)
	case b.said != "":
		last = " " + b.said
	}
	return append(out, p.cut(last, p.width))
}

// wrapped breaks lines that are too long for the pane.
func (b *browser) wrapped(lines []string) []string {
	p := b.paper
	p.width--
	var out []string
	for _, line := range lines {
		out = append(out, p.wrap(line, strings.Repeat(" ", 14))...)
	}
	return out
}

// helpLines explains the keys.
func helpLines() []string {
	return []string{
		"j k arrows  move             pgup pgdn  half a screen       home end  first, last",
		"enter right  open            left h  fold                   .  only what needs attention",
		"n N  next, previous problem  /  find a text or an id        y  copy the item's id",
		"e  all about the item        l  what its action wrote       ?  these keys",
		"s  attest or sign            r  retry                       o  waive",
		"d  resolve what is in doubt  p  pause or resume             b  roll back",
		":  any command: it is run when Enter is pressed, and asks again where that is due",
		"q ctrl-c  leave; the run goes on",
	}
}

// paneLines gives the lines about an item.
func (o *options) paneLines(s *site, p pane, state *run.State, it *run.Item) []string {
	var b strings.Builder
	switch p {
	case paneLog:
		if err := writeOutput(&b, s, state, it); err != nil {
			return []string{err.Error()}
		}
	case paneItem:
		writeItem(&b, paper{ascii: o.ascii}, state, it)
	default:
		_, st := state.Of(it.ID)
		fmt.Fprintf(&b, "%s  line %d  %s", it.ID, it.Line, markOf(st.Status).word)
		if st.Attempt > 1 {
			fmt.Fprintf(&b, ", attempt %d", st.Attempt)
		}
		fmt.Fprintf(&b, "\n%s", orText(st.Reason, orText(it.Does, it.When)))
	}
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}
