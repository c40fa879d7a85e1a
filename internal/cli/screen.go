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

// screen draws a run for a terminal of the paper's width. What stops the run,
// whose turn it is and what comes next stands in the second line.
func screen(s *run.State, p paper, now time.Time) []string {
	lines := []string{p.cut(headline(s, now), p.width)}
	lines = append(lines, p.wrap(statusWord(s)+"  "+s.Advise().String(), adviceLines)...)
	lines = append(lines, p.bar(s))
	for k, ph := range s.Plan.Phases {
		if ph.Rollback && !s.Rollback {
			continue
		}
		lines = append(lines, p.gateLine(s, k, now))
		if k == s.Open && !s.Passed[k] {
			lines = append(lines, p.openGate(s, ph, now)...)
		}
	}
	return append(lines, p.foot(s)...)
}

// adviceLines bounds how many lines the advice may take.
const adviceLines = 6

// wrap breaks text between words into at most most lines.
func (p paper) wrap(text string, most int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(p.plain(text)) {
		if line != "" && uniseg.StringWidth(line)+1+uniseg.StringWidth(word) > p.width {
			lines = append(lines, line)
			line = "  " + word
			continue
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	lines = append(lines, line)
	if len(lines) > most {
		lines[most-1] = strings.Join(lines[most-1:], " ")
		lines = lines[:most]
	}
	for i := range lines {
		lines[i] = strings.TrimRight(p.cut(lines[i], p.width), " ")
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
	width := max(p.width-14, 10)
	full := 0
	if all > 0 {
		full = done * width / all
	}
	on, off := "█", "░"
	if p.ascii {
		on, off = "#", "."
	}
	return strings.Repeat(on, full) + strings.Repeat(off, width-full) + fmt.Sprintf(" %d/%d", done, all)
}

func (p paper) gateLine(s *run.State, k int, now time.Time) string {
	ph, t := s.Plan.Phases[k], count(s, s.Plan.Phases[k].ID)
	m, word := mark{"·", " .", grey, ""}, ""
	switch {
	case s.Passed[k]:
		m, word = markOf(run.Pass), "passed"
	case t.bad > 0 && k == s.Open:
		m, word = markOf(run.Fail), "closed"
	case k == s.Open:
		m, word = markOf(run.Running), "open"
	}
	counts := fmt.Sprintf("%3d ok", t.green)
	for _, part := range []struct {
		n    int
		word string
	}{{t.bad, "bad"}, {t.na, "n/a"}, {t.waived, "waived"}, {t.left, "left"}} {
		if part.n > 0 {
			counts += fmt.Sprintf("  %d %s", part.n, part.word)
		}
	}
	title := ph.Title
	if title == "" {
		title = ph.ID
	}
	wide := min(max(p.width-44, 12), 40)
	return fmt.Sprintf("%s %s %s  %s", p.mark(m), p.fit(title, wide), p.fit(counts, min(28, max(p.width-wide-12, 8))), word)
}

// openGate unfolds the open gate: finished sections on one line, and of the
// others what is bad, under way or next.
func (p paper) openGate(s *run.State, ph run.Phase, now time.Time) []string {
	var lines []string
	var section string
	var rows []int
	flush := func() {
		lines = append(lines, p.section(s, section, rows, now)...)
		rows = nil
	}
	for i := range s.Plan.Items {
		it := &s.Plan.Items[i]
		if it.Gate != ph.ID || it.Kind == run.Group {
			continue
		}
		if it.Section != section {
			flush()
			section = it.Section
		}
		rows = append(rows, i)
	}
	flush()
	return lines
}

// nextShown is how many items that have not begun are shown of a section.
const nextShown = 2

func (p paper) section(s *run.State, id string, rows []int, now time.Time) []string {
	if len(rows) == 0 {
		return nil
	}
	settled, pending := 0, 0
	var shown []string
	for _, i := range rows {
		st := s.Items[i]
		switch {
		case s.Green(i):
			settled++
			continue
		case st.Status == run.Pending:
			if pending++; pending > nextShown {
				continue
			}
		}
		shown = append(shown, p.row(s, i, now)...)
	}
	m := markOf(run.Pending)
	if settled == len(rows) {
		m = markOf(run.Pass)
	} else if settled > 0 || len(shown) > pending {
		m = markOf(run.Running)
	}
	if s.Plan.Items[rows[0]].Phase == id {
		return shown // directly below the phase, whose line says it all
	}
	head := fmt.Sprintf("  %s %s %d/%d", p.mark(m), strings.TrimRight(p.cut(lastPart(id), max(p.width-16, 8)), " "), settled, len(rows))
	if settled == len(rows) {
		return []string{head}
	}
	return append([]string{head}, shown...)
}

func lastPart(id string) string {
	if i := strings.LastIndexByte(id, '.'); i >= 0 {
		return id[i+1:]
	}
	return id
}

// row draws one item, and below it why it is not green.
func (p paper) row(s *run.State, i int, now time.Time) []string {
	it, st := &s.Plan.Items[i], s.Items[i]
	m := markOf(st.Status)
	if s.Waived(i) {
		m = waivedMark()
	}
	right := m.word
	switch st.Status {
	case run.Running:
		right = took(now.Sub(st.StartedAt))
	case run.Watching:
		right = fmt.Sprintf("%s of %s", took(now.Sub(st.StartedAt)), took(it.Watch.For))
	case run.Waiting:
		right = "needs " + who(it)
	}
	right = p.cut(right, max(p.width/3, 10))
	lines := []string{fmt.Sprintf("    %s %s %s", p.mark(m), p.fit(it.Text, max(p.width-9-len([]rune(right)), 8)), right)}
	if st.Status.Settled() && !s.Green(i) {
		lines = append(lines, "        "+p.cut(st.Reason, max(p.width-8, 8)), "        "+p.cut(fmt.Sprintf("%s  line %d", it.ID, it.Line), max(p.width-8, 8)))
	}
	return lines
}

func who(it *run.Item) string {
	if it.Person == nil || len(it.Person.Roles) == 0 {
		return "anyone listed"
	}
	return strings.Join(it.Person.Roles, " or ")
}

// foot tells what is held and what going back would mean.
func (p paper) foot(s *run.State) []string {
	var held []string
	for resource := range s.Held {
		held = append(held, resource)
	}
	slices.Sort(held)
	var lines []string
	if len(held) > 0 {
		lines = append(lines, p.cut("held: "+strings.Join(held, ", "), p.width))
	}
	return lines
}

// speak tells a run in sentences, for a screen reader.
func speak(s *run.State) []string {
	lines := []string{fmt.Sprintf("%s %s to %s, run %s, is %s.", s.Plan.Project, s.Plan.Release.Version, s.Plan.Environment, s.Run, s.Status())}
	for k, ph := range s.Plan.Phases {
		if k != s.Open || s.Passed[k] {
			continue
		}
		t := count(s, ph.ID)
		lines = append(lines, fmt.Sprintf("Gate %d of %d, %s: %d settled well, %d not, %d left.", k+1, len(s.Plan.Phases), ph.Title, t.green+t.na+t.waived, t.bad, t.left))
	}
	a := s.Advise()
	for _, part := range []string{a.Stops, a.Turn, a.Next} {
		if part != "" {
			lines = append(lines, strings.ToUpper(part[:1])+part[1:]+".")
		}
	}
	return lines
}
