package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"

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
	if list == nil || !bytes.Equal(list.Source, src) {
		list, _ = checklist.Parse("checklist", src)
	}
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
	if err := page.Execute(&out, pageOf(s, list, &m, filled)); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return out.Bytes(), nil
}

// page is what the template shows.
type page struct {
	verdict
	Run, Project, Environment, Release, Revision   string
	Previous, PreviousRevision, Migrations, Config string
	Plan, Checklist, Starter                       string
	Started, Ended, AsOf                           string
	Closed, Emergency                              bool
	Counts                                         []pageCount
	Time                                           timeline
	Total                                          int
	Gates                                          []pageGate
	Persons                                        []pagePerson
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
	mark
	Title  string
	Groups []pageGroup
}

// pageGroup holds the items of a section that belong to one gate.
type pageGroup struct {
	Title string
	Items []pageItem
}

// pageItem is an item; Number is its place in the plan, by which the page links
// to it.
type pageItem struct {
	mark
	Number                              int
	Text, ID, When, By, Reason, Samples string
	Evidence                            []string
}

type pagePerson struct {
	What, Item, Who, When, Detail string
	Tone                          tone
	Digests                       []string
}

func pageOf(s *run.State, list *checklist.Checklist, m *metrics.Metrics, filled []byte) page {
	all := entries(s)
	p := page{
		verdict: verdictOf(s, all, m),
		Run:     clean(s.Run), Project: clean(s.Plan.Project), Environment: clean(s.Plan.Environment),
		Release: clean(s.Plan.Release.Version), Revision: clean(s.Plan.Release.Revision),
		Previous: clean(s.Plan.Previous.Version), PreviousRevision: clean(s.Plan.Previous.Revision),
		Migrations: clean(s.Plan.Migrations), Config: clean(s.Plan.Config), Plan: s.PlanDigest,
		Checklist: clean(s.Plan.Checklist), Starter: clean(s.Starter),
		Started: stamp(s.StartedAt), Ended: clock(s.ClosedAt, s.StartedAt), AsOf: clock(s.Now, s.StartedAt),
		Closed: s.Closed, Emergency: s.Emergency,
		Counts: countsOf(all), Time: timelineOf(s, all, m), Gates: gatesOf(s, list, all), Persons: peopleOf(s, all),
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

func gatesOf(s *run.State, list *checklist.Checklist, all []entry) []pageGate {
	titles := map[string]string{}
	for _, ph := range list.Phases {
		for _, sec := range ph.Sections {
			titles[sec.ID] = clean(sec.Title)
		}
	}
	var out []pageGate
	for k, ph := range s.Plan.Phases {
		g := pageGate{mark: gateMark(s, k), Title: clean(ph.Title)}
		section := ""
		for i := range all {
			it := all[i].Item
			if it.Gate != ph.ID {
				continue
			}
			if len(g.Groups) == 0 || it.Section != section {
				section = it.Section
				g.Groups = append(g.Groups, pageGroup{Title: titles[section]})
			}
			last := &g.Groups[len(g.Groups)-1]
			last.Items = append(last.Items, pageItemOf(i, &all[i], s))
		}
		if len(g.Groups) > 0 {
			out = append(out, g)
		}
	}
	return out
}

func pageItemOf(number int, e *entry, s *run.State) pageItem {
	out := pageItem{mark: e.mark, Number: number, Text: label(e.Item.Text), ID: clean(e.Item.ID), Reason: e.Reason, Evidence: e.Evidence}
	if !e.At.IsZero() {
		out.When = clock(e.At, s.StartedAt)
	}
	if e.By != "" {
		out.By = "by " + e.By
	}
	return out
}

// label is an item's text without the blanks to be filled in by hand: "Tech Lead:
// ____ Date: ____" is "Tech Lead".
func label(text string) string {
	text = clean(text)
	if before, _, found := strings.Cut(text, "___"); found && strings.Trim(before, " :_") != "" {
		return strings.TrimRight(before, " :")
	}
	return text
}

func watchesOf(s *run.State, all []entry) []pageItem {
	var out []pageItem
	for i := range all {
		w, rule := all[i].St.Watch, all[i].Item.Watch
		if w == nil || rule == nil || rule.Every <= 0 {
			continue
		}
		item := pageItemOf(i, &all[i], s)
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
		text, st := label(e.Item.Text), e.St
		for _, v := range st.Voided {
			out = append(out, pagePerson{"void", text, clean(v.Person) + " as " + clean(v.Role), clock(v.At, s.StartedAt), clean(v.Reason), toneMuted, nil})
		}
		switch g := st.Sign; {
		case g != nil:
			p := pagePerson{"go", text, clean(g.Person) + " as " + clean(g.Role), clock(g.At, s.StartedAt), clean(g.Note), toneGood, []string{"subject " + clean(g.Subject)}}
			if !g.Approve {
				p.What, p.Tone = "no-go", toneBad
			}
			if g.KeyPrint != "" {
				p.Digests = append(p.Digests, "key "+clean(g.KeyPrint))
			}
			out = append(out, p)
		case s.Waived(i):
			out = append(out, pagePerson{"waived", text, clean(st.Waiver.Person), "until " + stamp(st.Waiver.Until), clean(st.Waiver.Reason), toneOver, nil})
		case st.Actor != "" && st.Status.Settled():
			out = append(out, pagePerson{e.Word, text, e.By, clock(st.SettledAt, s.StartedAt), e.Reason, e.Tone, nil})
		}
	}
	return out
}
