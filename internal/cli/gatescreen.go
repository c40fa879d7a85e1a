package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"allclear.dev/allclear/internal/run"
)

// gateLine draws a gate: its state, how its items stand, and a word.
func (p paper) gateLine(s *run.State, k int) string {
	ph, t := s.Plan.Phases[k], count(s, s.Plan.Phases[k].ID)
	m, word := p.gateState(s, k, t)
	var parts []string
	for _, part := range []struct {
		n    int
		word string
	}{{t.bad, "bad"}, {t.left, "left"}, {t.green, "ok"}, {t.na, "n/a"}, {t.waived, "waived"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%3d %s", part.n, part.word))
		}
	}
	if word != "" {
		word = "  " + word
	}
	// The word stays, then the counts from the left, and the title has the rest.
	room := p.width - uniseg.StringWidth(p.symbol(m)) - 2 - len(word)
	counts := strings.Join(parts, " ")
	for len(counts) > room-minTitle && len(parts) > 1 {
		parts = parts[:len(parts)-1]
		counts = strings.Join(parts, " ")
	}
	title := max(min(room-len(counts), p.width*2/5), minTitle)
	return strings.TrimRight(p.mark(m)+" "+p.fit(orText(ph.Title, ph.ID), title)+" "+counts+word, " ")
}

// minTitle is the least number of cells that a gate's title keeps.
const minTitle = 12

// gateState gives a gate's mark and word.
func (p paper) gateState(s *run.State, k int, t tally) (mark, string) {
	switch {
	case s.Passed[k]:
		return markOf(run.Pass), "passed"
	case k != s.Open:
		return mark{"·", " .", grey, ""}, ""
	case slices.ContainsFunc(s.InDoubt(), func(i int) bool { return s.Plan.Items[i].Gate == s.Plan.Phases[k].ID }):
		return markOf(run.InDoubt), "in doubt"
	case t.bad > 0:
		return markOf(run.Fail), "closed"
	case s.Status() == run.RunWaiting:
		return markOf(run.Waiting), "needs people"
	}
	return markOf(run.Running), "open"
}

// openGate unfolds the open gate by its sections.
func (p paper) openGate(s *run.State, ph run.Phase, d detail, now time.Time) []string {
	if d == brief {
		return p.current(s, ph, now)
	}
	var sections []string
	rows := map[string][]int{}
	for i := range s.Plan.Items {
		it := &s.Plan.Items[i]
		if it.Gate != ph.ID || it.Kind == run.Group {
			continue
		}
		if rows[it.Section] == nil {
			sections = append(sections, it.Section)
		}
		rows[it.Section] = append(rows[it.Section], i)
	}
	var lines []string
	for _, id := range sections {
		lines = append(lines, p.section(s, id, rows[id], d, now)...)
	}
	return lines
}

// current shows only what goes on, or else who is waited for.
func (p paper) current(s *run.State, ph run.Phase, now time.Time) []string {
	var active, waiting []int
	for i := range s.Plan.Items {
		switch {
		case s.Plan.Items[i].Gate != ph.ID:
		case underWay(s.Items[i]):
			active = append(active, i)
		case s.Items[i].Status == run.Waiting && !s.Green(i):
			waiting = append(waiting, i)
		}
	}
	var lines []string
	for _, list := range [][]int{active, waiting} {
		const most = 2
		for _, i := range list[:min(len(list), most)] {
			lines = append(lines, p.row(s, i, now))
		}
		if rest := len(list) - most; rest > 0 {
			lines = append(lines, fmt.Sprintf("    and %d more", rest))
		}
	}
	return lines
}

func underWay(st *run.ItemState) bool {
	switch st.Status {
	case run.Running, run.Watching, run.WaitingRetry:
		return true
	}
	return st.Undoing || st.Probing
}

// How many items that wait for people, and that have not begun, are shown of a
// section before the rest is counted.
const (
	waitingShown = 2
	nextShown    = 2
)

// section draws a section of the open gate: its line with a count, and below it
// what is bad, under way or next.
func (p paper) section(s *run.State, id string, rows []int, d detail, now time.Time) []string {
	settled, waiting, pending, bad, active := 0, 0, 0, 0, 0
	var shown []string
	for _, i := range rows {
		st := s.Items[i]
		switch {
		case s.Green(i):
			settled++
			continue
		case st.Status == run.Waiting:
			if waiting++; d < full || waiting > waitingShown {
				continue
			}
		case st.Status == run.Pending:
			if pending++; d < full || pending > nextShown {
				continue
			}
		case underWay(st):
			active++
		default:
			bad++
		}
		shown = append(shown, p.row(s, i, now))
	}
	if rest := waiting - waitingShown; d == full && rest > 0 {
		shown = append(shown, p.paint(fmt.Sprintf("      and %d more for people", rest), grey))
	}
	begun := settled+waiting+bad+active > 0
	if !begun && s.Plan.Items[rows[0]].Phase != id {
		shown = nil // what is next stands in the sections before
	}
	if s.Plan.Items[rows[0]].Phase == id {
		return shown // directly below the phase, whose line says it all
	}
	m := markOf(run.Pending)
	switch {
	case settled == len(rows):
		m = markOf(run.Pass)
	case bad > 0:
		m = markOf(run.Fail)
	case active > 0:
		m = markOf(run.Running)
	case waiting > 0:
		m = markOf(run.Waiting)
	case begun:
		m = markOf(run.Running)
	}
	counted := fmt.Sprintf("%d/%d", settled, len(rows))
	if waiting > 0 && d < full {
		counted += fmt.Sprintf("  %d for people", waiting)
	}
	name := p.fit(s.Plan.SectionTitle(id), max(min(p.width-8-len(counted), 40), 8))
	return append([]string{fmt.Sprintf("  %s %s %s", p.mark(m), name, counted)}, shown...)
}

// row draws one item on one line.
func (p paper) row(s *run.State, i int, now time.Time) string {
	it, st := &s.Plan.Items[i], s.Items[i]
	m := markOf(st.Status)
	if s.Waived(i) {
		m = waivedMark()
	}
	right := m.word
	switch {
	case st.Undoing:
		m, right = markOf(run.Running), "taking it back"
	case st.Probing:
		m, right = markOf(run.Running), "probing"
	case st.Status == run.Running:
		right = "running " + took(now.Sub(st.StartedAt))
	case st.Status == run.Watching:
		right = fmt.Sprintf("watching %s of %s", took(now.Sub(st.StartedAt)), took(it.Watch.For))
	case st.Status == run.Waiting:
		right = "needs " + who(it)
	case st.Status == run.Pending:
		right = ""
	}
	right = strings.TrimRight(p.cut(right, max(p.width*2/5, 10)), " ")
	left := p.width - 4 - uniseg.StringWidth(p.symbol(m)) - 1
	if right != "" {
		left -= 1 + uniseg.StringWidth(right)
	}
	return strings.TrimRight(fmt.Sprintf("    %s %s %s", p.mark(m), p.fit(it.Text, max(left, 8)), right), " ")
}

func who(it *run.Item) string {
	if it.Person == nil || len(it.Person.Roles) == 0 {
		return "anyone listed"
	}
	return strings.Join(it.Person.Roles, " or ")
}

// foot tells what is held and what going back would mean.
func (p paper) foot(s *run.State, d detail) []string {
	var held []string
	for resource, item := range s.Held {
		held = append(held, resource+" by "+item)
	}
	slices.Sort(held)
	var lines []string
	if len(held) > 0 {
		lines = append(lines, p.wrap("Held: "+strings.Join(held, ", "), "      ")...)
	}
	if !s.Closed && !s.Rollback && d != brief {
		lines = append(lines, p.wrap("Going back: "+goingBack(s.Plan), "      ")...)
	}
	return lines
}
