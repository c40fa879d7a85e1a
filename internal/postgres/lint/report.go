package lint

import (
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/diag"
)

// Rank orders levels: 0 for none, style, risk, hazard.
func Rank(level Level) int {
	return slices.Index([]Level{"", Style, Risk, Hazard}, level)
}

// Totals are how many there are of what.
type Totals struct {
	// Statements are those read, Unseen those and other places with something that
	// cannot be seen.
	Statements, Unseen int
	// Hazards, Risks and Remarks are the findings of each level that nobody has allowed;
	// Allowed are the others.
	Hazards, Risks, Remarks, Allowed int
}

// Count counts.
func Count(statements []Statement) Totals {
	var t Totals
	for _, s := range statements {
		if !s.Unread {
			t.Statements++
		}
		if s.Opaque {
			t.Unseen++
		}
		for _, f := range s.Findings {
			switch {
			case f.Allowed != "":
				t.Allowed++
			case f.Level == Hazard:
				t.Hazards++
			case f.Level == Risk:
				t.Risks++
			default:
				t.Remarks++
			}
		}
	}
	return t
}

// Problems shows the findings that nobody has allowed at their places in the
// sources.
func Problems(statements []Statement, files []Source) diag.Problems {
	lines := map[string][]string{}
	for _, file := range files {
		lines[file.Name] = strings.Split(file.Text, "\n")
	}
	var out diag.Problems
	for _, s := range statements {
		for _, f := range s.Findings {
			if f.Allowed != "" {
				continue
			}
			source := ""
			if all := lines[s.File]; s.Line <= len(all) {
				source = strings.TrimRight(all[s.Line-1], "\r")
			}
			out = append(out, diag.Problem{
				Pos: diag.Pos{File: s.File, Line: s.Line, Col: s.Col}, Width: max(len(source)-s.Col+1, 1), Severity: diag.Severity(f.Level),
				Message: f.Rule + ": " + f.Message + f.sized(), Hint: f.Safe, Line: source,
			})
		}
	}
	return out
}

func (f Finding) sized() string {
	if f.Bytes == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s has %.1f MB)", f.Relation, float64(f.Bytes)/1e6)
}
