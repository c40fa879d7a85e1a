package report

import (
	"fmt"
	"time"

	"allclear.dev/allclear/internal/metrics"
	"allclear.dev/allclear/internal/run"
)

// The drawing's measures, in its own units: it is 800 wide.
const (
	lineLeft  = 170.0
	lineRight = 790.0
	lineTop   = 22
	rowHeight = 20
	barHeight = 14
)

// timeline is the drawing of when what happened.
type timeline struct {
	Height  int
	Summary string
	Grid    []gridLine
	Rows    []timeRow
}

type gridLine struct{ X, Label string }

type timeRow struct {
	Label string
	TextY int
	Bars  []bar
}

type bar struct {
	X, W  string
	Y, H  int
	Tone  tone
	Label string
}

// scale maps times to the drawing.
type scale struct {
	from time.Time
	span time.Duration
}

func (c scale) x(t time.Time) float64 {
	if t.IsZero() || t.Before(c.from) {
		return lineLeft
	}
	return min(lineLeft+(lineRight-lineLeft)*float64(t.Sub(c.from))/float64(c.span), lineRight)
}

func (c scale) bar(row int, from, to time.Time, t tone, label string) bar {
	x := c.x(from)
	width := max(c.x(to)-x, 1.5) // what took no time is seen, too
	return bar{X: fmt.Sprintf("%.1f", x), W: fmt.Sprintf("%.1f", width), Y: lineTop + row*rowHeight, H: barHeight, Tone: t, Label: label}
}

// timelineOf draws a row for each gate with its items, one for each watch, and
// one for maintenance.
func timelineOf(s *run.State, all []entry, m *metrics.Metrics) timeline {
	c := scale{s.StartedAt, max(s.Now.Sub(s.StartedAt), time.Second)}
	var t timeline
	add := func(label string, bars []bar) {
		if len(bars) == 0 {
			return
		}
		if runes := []rune(label); len(runes) > 26 {
			label = string(runes[:25]) + "…"
		}
		t.Rows = append(t.Rows, timeRow{Label: label, TextY: lineTop + len(t.Rows)*rowHeight + 11, Bars: bars})
	}
	for _, ph := range s.Plan.Phases {
		add(clean(ph.Title), gateBars(c, len(t.Rows), ph.ID, all))
	}
	for i := range all {
		if w := all[i].St.Watch; w != nil {
			end := all[i].St.SettledAt
			if !all[i].St.Status.Settled() {
				end = s.Now
			}
			add("watch: "+clean(all[i].Item.Text), []bar{c.bar(len(t.Rows), w.StartedAt, end, all[i].Tone, clean(all[i].Item.Text)+": "+all[i].Word)})
		}
	}
	var down []bar
	for _, i := range m.Maintenance {
		end := i.End
		if end.IsZero() {
			end = s.Now
		}
		down = append(down, c.bar(len(t.Rows), i.Start, end, toneWait, "maintenance for "+metrics.Words(end.Sub(i.Start))))
	}
	add("maintenance", down)
	if s.Rollback {
		add("rollback", []bar{c.bar(len(t.Rows), s.RollbackAt, s.Now, toneOver, "rollback from "+stamp(s.RollbackAt))})
	}
	t.Height = lineTop + len(t.Rows)*rowHeight + 6
	t.Summary = fmt.Sprintf("From %s to %s, %s in all: %d gates, watches and other rows. The tables below say the same.", stamp(s.StartedAt), stamp(s.Now), metrics.Words(s.Now.Sub(s.StartedAt)), len(t.Rows))
	for part := range 5 {
		at := c.from.Add(c.span / 5 * time.Duration(part))
		t.Grid = append(t.Grid, gridLine{fmt.Sprintf("%.1f", c.x(at)), clock(at, c.from)})
	}
	return t
}

// gateBars are the items of a gate that took place.
func gateBars(c scale, row int, gate string, all []entry) []bar {
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
		bars = append(bars, c.bar(row, from, e.St.SettledAt, e.Tone, clean(e.Item.Text)+": "+e.Word+" "+clock(e.St.SettledAt, c.from)))
	}
	return bars
}
