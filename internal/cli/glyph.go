package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"allclear.dev/allclear/internal/run"
)

// mark is how a state is shown: glyph, its ASCII form, colour and word. A state
// is never told by colour alone.
type mark struct {
	glyph, ascii string
	color        int // ANSI colour, 0 for none
	word         string
}

const (
	red, green, yellow, blue, magenta, grey = 31, 32, 33, 34, 35, 90
)

func markOf(s run.Status) mark {
	switch s {
	case run.Pass:
		return mark{"✔", "ok", green, "pass"}
	case run.Done:
		return mark{"✔", "ok", green, "done"}
	case run.Fail:
		return mark{"✖", "XX", red, "fail"}
	case run.Failed:
		return mark{"✖", "XX", red, "failed"}
	case run.Inconclusive:
		return mark{"?", "??", yellow, "inconclusive"}
	case run.Running:
		return mark{"◐", ">>", blue, "running"}
	case run.WaitingRetry:
		return mark{"◐", ">>", blue, "retrying"}
	case run.Watching:
		return mark{"◷", "..", blue, "watching"}
	case run.Waiting:
		return mark{"▲", "!!", yellow, "waiting"}
	case run.InDoubt:
		return mark{"◆", "D?", red, "in doubt"}
	case run.NA:
		return mark{"–", "--", grey, "n/a"}
	case run.Undone, run.Superseded:
		return mark{"↶", "<<", magenta, string(s)}
	}
	return mark{"·", " .", grey, "pending"}
}

// waivedMark stands for an item that was waived, whatever its verdict.
func waivedMark() mark { return mark{"⊘", "WV", magenta, "waived"} }

// paper is where text is drawn: its width and what it can show.
type paper struct {
	width        int
	ascii, color bool
}

func (p paper) mark(m mark) string {
	text := m.glyph
	if p.ascii {
		text = m.ascii
	}
	return p.paint(text, m.color)
}

func (p paper) paint(text string, color int) string {
	if !p.color || color == 0 {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", color, text)
}

// fit cuts text to a number of terminal cells and fills it up with spaces.
func (p paper) fit(text string, cells int) string {
	text = p.plain(text)
	width := uniseg.StringWidth(text)
	if width <= cells {
		return text + strings.Repeat(" ", cells-width)
	}
	return p.cut(text, cells)
}

// cut shortens text to at most cells terminal cells.
func (p paper) cut(text string, cells int) string {
	text = p.plain(text)
	if uniseg.StringWidth(text) <= cells {
		return text
	}
	end := "…"
	if p.ascii {
		end = "~"
	}
	var b strings.Builder
	used, rest, state := 0, text, -1
	for len(rest) > 0 {
		var cluster string
		var width int
		cluster, rest, width, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used+width > cells-1 {
			break
		}
		b.WriteString(cluster)
		used += width
	}
	return b.String() + end + strings.Repeat(" ", max(cells-1-used, 0))
}

// plain makes a text safe to draw: no control characters, one line.
func (p paper) plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		case p.ascii && r > 0x7f:
			return '?'
		}
		return r
	}, text)
}

// took writes a duration the short way: 4s, 1m02s, 2h03m.
func took(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < 0:
		return ""
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
