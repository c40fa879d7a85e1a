package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"allclear.dev/allclear/internal/run"
)

// tally counts a gate's items by how they stand.
type tally struct {
	green, bad, na, waived, left, all int
}

// String tells what there is of each.
func (t tally) String() string {
	text := fmt.Sprintf("%d ok", t.green)
	for _, part := range []struct {
		n    int
		word string
	}{{t.na, "n/a"}, {t.waived, "waived"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.word)
		}
	}
	return text
}

func count(s *run.State, gate string) tally {
	var t tally
	for i := range s.Plan.Items {
		it, st := &s.Plan.Items[i], s.Items[i]
		if it.Gate != gate || it.Kind == run.Group {
			continue
		}
		t.all++
		switch {
		case s.Waived(i):
			t.waived++
		case st.Status == run.NA:
			t.na++
		case s.Green(i):
			t.green++
		case st.Status.Settled():
			t.bad++
		default:
			t.left++
		}
	}
	return t
}

// detail is how much of a run is drawn; less where the terminal is small.
type detail int

// The details. What stops the run, the failures, what is going on and who comes
// next are drawn in each of them.
const (
	brief  detail = iota // the open gate's line only
	folded               // all gates; of the open one what is not pending
	full                 // and what comes next in each section that has begun
)

// narrow is the width in cells below which only the essentials are drawn: a phone.
const narrow = 60

// screen draws a run. What stops it, whose turn it is and what comes next stand
// on top. On a paper with a height, the drawing is never higher than that.
func screen(s *run.State, p paper, now time.Time) []string {
	head := p.head(s, now)
	d := full
	if p.width < narrow {
		d = brief
	}
	for ; ; d-- {
		lines := append(slices.Clone(head), p.body(s, d, now)...)
		if p.height <= 0 || len(lines) < p.height {
			return lines
		}
		if d == brief {
			const last = 2 // the line that says what is missing, and the cursor's
			keep := max(p.height-last, 1)
			rest := fmt.Sprintf("+%d lines: allclear status %s", len(lines)-keep, s.Plan.Environment)
			return append(lines[:keep], p.cut(rest, p.width))
		}
	}
}

// head answers: what is it, what stops us, whose turn is it, what comes next.
func (p paper) head(s *run.State, now time.Time) []string {
	lines := p.wrap(headline(s, now), "  ")
	a := s.Advise()
	m := markOfRun(s.Status())
	state := p.symbol(m) + " " + statusWord(s)
	stops := p.wrap(state+"  "+a.Stops, "  ")
	stops[0] = strings.Replace(stops[0], state, p.paint(state, m.color), 1)
	lines = append(lines, stops...)
	if a.Turn == "" {
		if person := nextPerson(s); person != "" {
			a.Turn = "later " + person
		}
	}
	for _, part := range []struct{ label, text string }{{"Turn", a.Turn}, {"Next", a.Next}} {
		if part.text != "" {
			lines = append(lines, p.wrap("  "+part.label+"  "+part.text, "        ")...)
		}
	}
	return append(lines, p.bar(s))
}

// nextPerson tells who will be needed first of all, while nobody is needed now.
func nextPerson(s *run.State) string {
	if s.Closed || s.Closing || s.Aborting {
		return ""
	}
	for i := range s.Plan.Items {
		it := &s.Plan.Items[i]
		person := it.Kind == run.Attest || it.Kind == run.Signoff
		if person && s.Items[i].Status == run.Pending && it.Applies != run.NotApplicable && s.Plan.InRollback(it) == s.Rollback {
			verb := map[run.Kind]string{run.Attest: "attest", run.Signoff: "sign"}[it.Kind]
			return fmt.Sprintf("%s to %s %s", who(it), verb, it.ID)
		}
	}
	return ""
}

// body draws the failures, the gates and, unfolded, the open gate.
func (p paper) body(s *run.State, d detail, now time.Time) []string {
	lines := p.problems(s, d)
	for k, ph := range s.Plan.Phases {
		open := k == s.Open && !s.Passed[k]
		if ph.Rollback && !s.Rollback || d == brief && !open || count(s, ph.ID).all == 0 {
			continue
		}
		lines = append(lines, p.gateLine(s, k))
		if open {
			lines = append(lines, p.openGate(s, ph, d, now)...)
		}
	}
	return append(lines, p.foot(s, d)...)
}

// problems shows each item that a person must decide about: what the checklist
// says and where, and why it is not green. The first one's reason stands in the
// head already.
func (p paper) problems(s *run.State, d detail) []string {
	var lines []string
	most := 8
	if d == brief {
		most = 1
	}
	bad := append(s.InDoubt(), s.Blocking()...)
	for n, i := range bad {
		if n == most {
			lines = append(lines, p.cut(fmt.Sprintf("  and %d more: allclear show %s ITEM", len(bad)-most, s.Plan.Environment), p.width))
			break
		}
		it, st := &s.Plan.Items[i], s.Items[i]
		m := markOf(st.Status)
		place := fmt.Sprintf("line %d", it.Line)
		text := p.fit(it.Text, max(p.width-uniseg.StringWidth(p.symbol(m))-2-len(place), 8))
		lines = append(lines, p.mark(m)+" "+text+" "+place)
		if n == 0 {
			continue
		}
		reason := st.Reason
		if it.UndoFailed(st) {
			reason = "could not be taken back: " + st.UndoReason
		}
		wrapped := p.wrap("   "+it.ID+" "+m.word+": "+reason, "     ")
		lines = append(lines, wrapped[:min(len(wrapped), 3)]...)
	}
	return lines
}

func headline(s *run.State, now time.Time) string {
	end := now
	if s.Closed {
		end = s.ClosedAt
	}
	from := s.Plan.Previous.Version
	if from == "" {
		from = "nothing"
	}
	return fmt.Sprintf("%s %s -> %s  %s  %s  %s", s.Plan.Project, from, s.Plan.Release.Version, s.Plan.Environment, s.Run, took(end.Sub(s.StartedAt)))
}

func statusWord(s *run.State) string {
	word := strings.ToUpper(string(s.Status()))
	if s.Emergency {
		word += " (EMERGENCY)"
	}
	return word
}

// bar shows how much of the run is settled.
func (p paper) bar(s *run.State) string {
	done, all := 0, 0
	for _, ph := range s.Plan.Phases {
		if ph.Rollback != s.Rollback {
			continue
		}
		t := count(s, ph.ID)
		all += t.all
		done += t.all - t.left - t.bad
	}
	tail := fmt.Sprintf(" %d/%d", done, all)
	if all > 0 {
		tail += fmt.Sprintf(" %d%%", done*100/all)
	}
	width := max(p.width-len(tail)-1, 10)
	full := 0
	if all > 0 {
		full = done * width / all
	}
	on, off := "█", "░"
	if p.ascii {
		on, off = "#", "."
	}
	return strings.Repeat(on, full) + strings.Repeat(off, width-full) + tail
}
