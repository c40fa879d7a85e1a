// Package diag describes mistakes in files that people write: where each one
// is, what is wrong, what was allowed and what to do next. It draws them with
// the source line and a caret.
package diag

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Pos is a place in a file. Line and Col count from 1; Col counts bytes, as
// editors and compilers do. A zero Line means the whole file.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"column"`
}

// String renders the position as file:line:column, leaving out what is unknown.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Before reports whether p comes before q: by file name, then line, then column.
func (p Pos) Before(q Pos) bool { return compare(p, q) < 0 }

func compare(p, q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Severity tells whether a problem stops a run from starting.
type Severity string

// The severities. An Error stops the run, a Warning is shown and kept.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is one mistake.
type Problem struct {
	Pos Pos `json:"pos"`
	// Width is the length in bytes of what is wrong; the caret line is that long.
	Width int `json:"width,omitempty"`
	// Severity is Error when empty.
	Severity Severity `json:"severity"`
	// Message says what is wrong: lower case, no full stop.
	Message string `json:"message"`
	// Allowed lists what could have stood there, in reading order.
	Allowed []string `json:"allowed,omitempty"`
	// Hint says what to do next.
	Hint string `json:"hint,omitempty"`
	// Line is the text of the source line, without its line end.
	Line string `json:"source,omitempty"`
}

// IsError reports whether the problem stops a run.
func (p Problem) IsError() bool { return p.Severity != Warning }

// Error makes a single problem usable as an error: position and message only.
func (p Problem) Error() string {
	return p.Pos.String() + ": " + p.Message
}

// Problems is a list of mistakes, usable as one error.
type Problems []Problem

// Error renders every problem on a line of its own, without source and caret.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// HasErrors reports whether any problem stops a run.
func (ps Problems) HasErrors() bool { return slices.ContainsFunc(ps, Problem.IsError) }

// Sorted returns the problems ordered by position, without exact repeats.
func (ps Problems) Sorted() Problems {
	out := slices.Clone(ps)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(compare(a.Pos, b.Pos), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(out, func(a, b Problem) bool {
		return a.Pos == b.Pos && a.Message == b.Message
	})
}

// Write draws every problem: place and message, the source line with a caret
// under what is wrong, what was allowed, and the hint.
func (ps Problems) Write(w io.Writer) error {
	var b strings.Builder
	for _, p := range ps {
		draw(&b, p)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func draw(b *strings.Builder, p Problem) {
	severity := p.Severity
	if severity == "" {
		severity = Error
	}
	fmt.Fprintf(b, "%s: %s: %s\n", p.Pos, severity, p.Message)
	if p.Line != "" {
		number := fmt.Sprintf("%5d", p.Pos.Line)
		fmt.Fprintf(b, "%s | %s\n", number, visible(p.Line))
		if p.Pos.Col > 0 {
			fmt.Fprintf(b, "%s | %s\n", strings.Repeat(" ", len(number)), caret(p))
		}
	}
	if len(p.Allowed) > 0 {
		fmt.Fprintf(b, "      = allowed: %s\n", strings.Join(p.Allowed, ", "))
	}
	if p.Hint != "" {
		fmt.Fprintf(b, "      = hint: %s\n", p.Hint)
	}
}

// visible replaces what would move the cursor or hide text in a terminal.
func visible(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0):
			return '\uFFFD'
		// Direction overrides could make the shown line differ from its bytes.
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '\uFFFD'
		}
		return r
	}, line)
}

// caret places ^~~~ under the bytes that are wrong, counting characters.
func caret(p Problem) string {
	start := min(p.Pos.Col-1, len(p.Line))
	lead := utf8.RuneCountInString(p.Line[:start])
	end := min(start+max(p.Width, 1), len(p.Line))
	width := max(utf8.RuneCountInString(p.Line[start:end]), 1)
	return strings.Repeat(" ", lead) + "^" + strings.Repeat("~", width-1)
}
