package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
)

// fit cuts text to a number of terminal cells and fills it up with spaces.
func (p paper) fit(text string, cells int) string {
	text = p.cut(text, cells)
	return text + strings.Repeat(" ", max(cells-uniseg.StringWidth(text), 0))
}

// cut shortens text to at most cells terminal cells.
func (p paper) cut(text string, cells int) string {
	text = p.plain(text)
	if uniseg.StringWidth(text) <= cells {
		return leftToRight(text, p.ascii)
	}
	end := "…"
	if p.ascii {
		end = "~"
	}
	kept, _ := split(text, cells-1)
	return leftToRight(kept, p.ascii) + end + strings.Repeat(" ", max(cells-1-uniseg.StringWidth(kept), 0))
}

// split divides text after at most cells terminal cells, never inside what a
// reader sees as one character.
func split(text string, cells int) (before, after string) {
	used, rest, state := 0, text, -1
	for len(rest) > 0 {
		_, next, width, after := uniseg.FirstGraphemeClusterInString(rest, state)
		if used+width > cells {
			break
		}
		used, rest, state = used+width, next, after
	}
	return text[:len(text)-len(rest)], rest
}

// leftToRight ends a text that is written from right to left, so that a terminal
// that reorders does not draw the columns after it into it. The mark that does
// this takes no cell.
func leftToRight(text string, ascii bool) string {
	const mark = "\u200e"
	if ascii || !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko)
	}) {
		return text
	}
	return text + mark
}

// wrap breaks text between words into lines of the paper's width; those after the
// first begin with indent. A word longer than a line is broken, so that a command
// is never cut.
func (p paper) wrap(text, indent string) []string {
	text = p.plain(text)
	lead := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var lines []string
	line := lead
	flush := func() {
		lines = append(lines, leftToRight(strings.TrimRight(line, " "), p.ascii))
		line = indent
	}
	gap := ""
	for word := range strings.SplitSeq(text[len(lead):], " ") {
		if gap != "" && uniseg.StringWidth(line+gap+word) > p.width {
			flush()
			gap = ""
		}
		line += gap
		for uniseg.StringWidth(line+word) > p.width {
			part, rest := split(word, p.width-uniseg.StringWidth(line))
			if part == "" {
				break // not even one character fits
			}
			line, word = line+part, rest
			flush()
		}
		line, gap = line+word, " "
	}
	flush()
	return lines
}

// plain makes a text safe to draw: no control characters, one line.
func (p paper) plain(text string) string {
	if p.ascii {
		text = inASCII().Replace(text)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r' || r == 0x2028 || r == 0x2029:
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f:
			return -1
		case p.ascii && r > 0x7f:
			return '?'
		}
		return r
	}, text)
}

// inASCII writes the usual typography in ASCII.
func inASCII() *strings.Replacer {
	return strings.NewReplacer("–", "-", "—", "-", "‘", "'", "’", "'", "“", "\"", "”", "\"", "…", "...", "→", "->",
		"≥", ">=", "≤", "<=", "×", "x", "·", "-", "\u00a0", " ")
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
