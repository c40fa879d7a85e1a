package cli

import (
	"fmt"

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

// markOfRun gives the mark of a whole run.
func markOfRun(s run.RunStatus) mark {
	switch s {
	case run.RunDone:
		return markOf(run.Pass)
	case run.RunHeld, run.RunAborted:
		return markOf(run.Fail)
	case run.RunInDoubt:
		return markOf(run.InDoubt)
	case run.RunWaiting, run.RunPaused:
		return markOf(run.Waiting)
	case run.RunRolledBack:
		return markOf(run.Undone)
	}
	return markOf(run.Running)
}

// waivedMark stands for an item that was waived, whatever its verdict.
func waivedMark() mark { return mark{"⊘", "WV", magenta, "waived"} }

// paper is where text is drawn: its size in cells and what it can show. A height
// of 0 is unlimited.
type paper struct {
	width, height int
	ascii, color  bool
}

func (p paper) mark(m mark) string { return p.paint(p.symbol(m), m.color) }

// symbol is a mark without its colour.
func (p paper) symbol(m mark) string {
	if p.ascii {
		return m.ascii
	}
	return m.glyph
}

func (p paper) paint(text string, color int) string {
	if !p.color || color == 0 {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", color, text)
}
