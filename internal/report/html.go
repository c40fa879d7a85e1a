package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/metrics"
	"allclear.dev/allclear/internal/run"
)

// pageText is the template of the page. Everything in it that comes from a run is
// escaped by html/template for the place where it stands.
//
//go:embed page.html
var pageText string

// HTML is the record as one page that needs nothing else: no scripts, no other
// files, readable on light, dark and paper (A4), with the timeline as a drawing
// and the filled-in checklist at its end. The arguments are those of Markdown.
func HTML(src []byte, list *checklist.Checklist, s *run.State, events []run.Event) ([]byte, error) {
	filled, err := Markdown(src, list, s, events)
	if err != nil {
		return nil, err
	}
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	m := metrics.Of(events)
	var out bytes.Buffer
	if err := page.Execute(&out, pageOf(s, &m, filled)); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return out.Bytes(), nil
}

// page is what the template shows.
type page struct {
	Run, Project, Environment, Release, Revision   string
	Previous, PreviousRevision, Migrations, Config string
	Plan, Checklist, Starter                       string
	Started, Ended, AsOf, Result, Advice           string
	ResultTone                                     tone
	Closed, Emergency                              bool
	Counts                                         []pageCount
	Time                                           timeline
	Total                                          int
	Gates                                          []pageGate
	People                                         []pagePerson
	Watches                                        []pageItem
	Metrics                                        []metrics.Metric
	Issues, Notes                                  []string
	Filled                                         string
}

type pageCount struct {
	mark
	N int
}

type pageGate struct {
	Title, Word string
	Tone        tone
	Items       []pageItem
}

type pageItem struct {
	mark
	Text, ID, When, By, Reason, Samples string
	Evidence                            []string
}

type pagePerson struct {
	What, Who, When, Detail string
	Tone                    tone
}

func pageOf(s *run.State, m *metrics.Metrics, filled []byte) page {
	all := entries(s)
	p := page{
		Run: clean(s.Run), Project: clean(s.Plan.Project), Environment: clean(s.Plan.Environment),
		Release: clean(s.Plan.Release.Version), Revision: clean(s.Plan.Release.Revision),
		Previous: clean(s.Plan.Previous.Version), PreviousRevision: clean(s.Plan.Previous.Revision),
		Migrations: clean(s.Plan.Migrations), Config: clean(s.Plan.Config), Plan: s.PlanDigest,
		Checklist: clean(s.Plan.Checklist), Starter: clean(s.Starter),
		Started: stamp(s.StartedAt), Ended: stamp(s.ClosedAt), AsOf: stamp(s.Now), Result: string(s.Status()),
		Advice: clean(s.Advise().String()), ResultTone: resultTone(s), Closed: s.Closed, Emergency: s.Emergency,
		Counts: countsOf(all), Time: timelineOf(s, all, m), Gates: gatesOf(s, all), People: peopleOf(s, all),
		Watches: watchesOf(s, all), Metrics: m.List(), Notes: notes(s), Filled: string(bytes.ToValidUTF8(filled, []byte("\uFFFD"))),
	}
	for _, i := range m.Issues {
		text := fmt.Sprintf("%s %s: %s: %s", stamp(i.At), clean(i.Item), i.Status, clean(i.Reason))
		if !i.Resolved.IsZero() {
			text += fmt.Sprintf(" — %s after %s", i.How, metrics.Words(i.Took))
		}
		p.Issues = append(p.Issues, text)
	}
	for i := range p.Metrics {
		for j := range p.Metrics[i].Counted {
			p.Metrics[i].Counted[j] = clean(p.Metrics[i].Counted[j])
		}
	}
	for _, c := range p.Counts {
		p.Total += c.N
	}
	return p
}

func resultTone(s *run.State) tone {
	switch s.Status() {
	case run.RunDone:
		return toneGood
	case run.RunRolledBack, run.RunRollingBack:
		return toneOver
	case run.RunHeld, run.RunInDoubt, run.RunAborted:
		return toneBad
	case run.RunWaiting, run.RunPaused:
		return toneWait
	}
	return toneRun
}

// countsOf counts the items by how they stand, in the order in which they first
// appear.
func countsOf(all []entry) []pageCount {
	var out []pageCount
	index := map[string]int{}
	for i := range all {
		if all[i].Item.Kind == run.Group {
			continue
		}
		m := all[i].mark
		if all[i].St.Status == run.Waiting {
			m.Word = "waiting for a person"
		}
		k, ok := index[m.Word]
		if !ok {
			k = len(out)
			index[m.Word] = k
			out = append(out, pageCount{mark: m})
		}
		out[k].N++
	}
	return out
}

func gatesOf(s *run.State, all []entry) []pageGate {
	var out []pageGate
	for k, ph := range s.Plan.Phases {
		g := pageGate{Title: clean(ph.Title), Word: "the gate is closed", Tone: toneMuted}
		switch {
		case s.Passed[k]:
			g.Word, g.Tone = "passed "+stamp(s.GateAt[k]), toneGood
		case ph.Rollback && !s.Rollback:
			g.Word = "not needed"
		case ph.Rollback != s.Rollback:
			g.Word, g.Tone = "left by the rollback", toneOver
		}
		for i := range all {
			if all[i].Item.Gate == ph.ID {
				g.Items = append(g.Items, pageItemOf(&all[i], s))
			}
		}
		if len(g.Items) > 0 {
			out = append(out, g)
		}
	}
	return out
}

func pageItemOf(e *entry, s *run.State) pageItem {
	out := pageItem{mark: e.mark, Text: clean(e.Item.Text), ID: clean(e.Item.ID), Reason: e.Reason, Evidence: e.Evidence}
	if !e.At.IsZero() {
		out.When = clock(e.At, s.StartedAt)
	}
	if e.By != "" {
		out.By = "by " + e.By
	}
	return out
}

func watchesOf(s *run.State, all []entry) []pageItem {
	var out []pageItem
	for i := range all {
		w, rule := all[i].St.Watch, all[i].Item.Watch
		if w == nil || rule == nil || rule.Every <= 0 {
			continue
		}
		item := pageItemOf(&all[i], s)
		item.Samples = fmt.Sprintf("%d passed, %d failed, %d without an answer, of %d over %s", w.Passed, w.Failed, w.Errors, rule.Expected(), metrics.Words(rule.For))
		out = append(out, item)
	}
	return out
}

// peopleOf lists what people answered for: signatures, statements, waivers, n/a.
func peopleOf(s *run.State, all []entry) []pagePerson {
	var out []pagePerson
	for i := range all {
		e := &all[i]
		text, st := clean(e.Item.Text), e.St
		for _, v := range st.Voided {
			out = append(out, pagePerson{"void: " + text, clean(v.Person) + " as " + clean(v.Role), stamp(v.At), clean(v.Reason), toneMuted})
		}
		switch g := st.Sign; {
		case g != nil && g.Approve:
			out = append(out, pagePerson{"go: " + text, clean(g.Person) + " as " + clean(g.Role), stamp(g.At), "key " + clean(g.KeyPrint) + ", subject " + clean(g.Subject), toneGood})
		case g != nil:
			out = append(out, pagePerson{"no-go: " + text, clean(g.Person) + " as " + clean(g.Role), stamp(g.At), clean(g.Note), toneBad})
		case s.Waived(i):
			out = append(out, pagePerson{"waived: " + text, clean(st.Waiver.Person), "until " + stamp(st.Waiver.Until), clean(st.Waiver.Reason), toneOver})
		case st.Actor != "" && st.Status.Settled():
			out = append(out, pagePerson{e.Word + ": " + text, e.By, stamp(st.SettledAt), e.Reason, e.Tone})
		}
	}
	return out
}
