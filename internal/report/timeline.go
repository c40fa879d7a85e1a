package report

import (
	"fmt"
	"time"

	"allclear.dev/allclear/internal/metrics"
	"allclear.dev/allclear/internal/run"
)

// maxTicks bounds the times written above the drawing, so that they do not touch
// on a telephone.
const maxTicks = 5

// timeline is the drawing of when what happened. All measures are percentages, so
// that the drawing fits every width while its texts keep their size.
type timeline struct {
	Summary string
	Ticks   []tick
	Rows    []timeRow
}

// tick is a time above the drawing; Anchor keeps the text inside at both ends.
type tick struct{ X, Anchor, Label string }

type timeRow struct {
	mark
	Label string
	Bars  []bar
}

// bar is one stretch. What went wrong is higher than what went well, so that
// colour is not needed to see it.
type bar struct {
	X, W  string
	Y, H  int
	Tone  tone
	Label string
}

// scale maps times to percentages of the drawing's width.
type scale struct {
	from time.Time
	span time.Duration
}

func (c scale) x(t time.Time) float64 {
	if t.IsZero() || t.Before(c.from) {
		return 0
	}
	return min(100*float64(t.Sub(c.from))/float64(c.span), 100)
}

func (c scale) bar(from, to time.Time, t tone, label string) bar {
	x := c.x(from)
	out := bar{X: fmt.Sprintf("%.2f", x), W: fmt.Sprintf("%.2f", max(c.x(to)-x, 0.05)), Y: 30, H: 40, Tone: t, Label: label}
	if t == toneBad || t == toneNone {
		out.Y, out.H = 10, 80
	}
	return out
}

// timelineOf draws a row for each gate with its items, one for the watches that
// went alike, and one each for maintenance and going back.
func timelineOf(s *run.State, all []entry, m *metrics.Metrics) timeline {
	end := endOf(s)
	c := scale{s.StartedAt, max(end.Sub(s.StartedAt), time.Second)}
	t := timeline{Ticks: c.ticks()}
	add := func(label string, m mark, bars []bar) {
		if len(bars) > 0 {
			t.Rows = append(t.Rows, timeRow{mark: m, Label: label, Bars: bars})
		}
	}
	for k, ph := range s.Plan.Phases {
		add(clean(ph.Title), gateMark(s, k), gateBars(c, ph.ID, all))
	}
	t.Rows = append(t.Rows, watchRows(c, s, all)...)
	var down []bar
	var held time.Duration
	for _, i := range m.Maintenance {
		to := i.End
		if to.IsZero() {
			to = end
		}
		held += to.Sub(i.Start)
		down = append(down, c.bar(i.Start, to, toneWait, "maintenance for "+metrics.Words(to.Sub(i.Start))))
	}
	add("Maintenance", mark{"◷", metrics.Words(held), toneWait}, down)
	if s.Rollback {
		add("Going back", mark{"↶", metrics.Words(end.Sub(s.RollbackAt)), toneOver}, []bar{c.bar(s.RollbackAt, end, toneOver, "rollback from "+stamp(s.RollbackAt))})
	}
	t.Summary = fmt.Sprintf("From %s to %s, %s in all. Times are UTC. A high bar failed or had no answer; a hollow one was waived, superseded or taken back. The lists below say the same.",
		stamp(s.StartedAt), stamp(end), metrics.Words(end.Sub(s.StartedAt)))
	return t
}

// endOf is the moment up to which the documents speak.
func endOf(s *run.State) time.Time {
	if s.Closed && !s.ClosedAt.IsZero() {
		return s.ClosedAt
	}
	return s.Now
}

// ticks are round times, as many as fit.
func (c scale) ticks() []tick {
	step := 24 * time.Hour
	for _, s := range []time.Duration{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600} {
		if step = s * time.Second; c.span <= maxTicks*step {
			break
		}
	}
	for c.span > maxTicks*step {
		step *= 2
	}
	form := "15:04"
	switch {
	case step < time.Minute:
		form = "15:04:05"
	case step >= 24*time.Hour:
		form = "2 Jan"
	case c.span > 24*time.Hour:
		form = "2 Jan 15h"
	}
	var out []tick
	for at := c.from.UTC().Truncate(step); !at.After(c.from.Add(c.span)); at = at.Add(step) {
		if at.Before(c.from) {
			continue
		}
		x, anchor := c.x(at), "middle"
		switch {
		case x < 8:
			anchor = "start"
		case x > 92:
			anchor = "end"
		}
		out = append(out, tick{fmt.Sprintf("%.2f", x), anchor, at.Format(form)})
	}
	return out
}

// watchRows has a row for all watches that began, ended and went alike.
func watchRows(c scale, s *run.State, all []entry) []timeRow {
	type key struct {
		from, to string
		word     string
	}
	var rows []timeRow
	index, count := map[key]int{}, map[key]int{}
	for i := range all {
		e := &all[i]
		w := e.St.Watch
		if w == nil {
			continue
		}
		to := e.St.SettledAt
		if !e.St.Status.Settled() {
			to = endOf(s)
		}
		text := clean(e.Item.Text)
		k := key{stamp(w.StartedAt), stamp(to), e.Word}
		count[k]++
		if at, ok := index[k]; ok {
			rows[at].Label = fmt.Sprintf("%d watches", count[k])
			rows[at].Bars[0].Label += "; " + text
			continue
		}
		index[k] = len(rows)
		rows = append(rows, timeRow{mark: e.mark, Label: "Watch: " + text, Bars: []bar{c.bar(w.StartedAt, to, e.Tone, e.Word+": "+text)}})
	}
	return rows
}

// gateBars are the items of a gate that took place.
func gateBars(c scale, gate string, all []entry) []bar {
	var bars []bar
	for i := range all {
		e := &all[i]
		if e.Item.Gate != gate || e.Item.Kind == run.Group || e.Item.Kind == run.Watch || e.St.SettledAt.IsZero() || e.St.Status == run.NA {
			continue
		}
		from := e.St.StartedAt
		if from.IsZero() {
			from = e.St.SettledAt
		}
		bars = append(bars, c.bar(from, e.St.SettledAt, e.Tone, clean(e.Item.Text)+": "+e.Word+" "+clock(e.St.SettledAt, c.from)))
	}
	return bars
}
