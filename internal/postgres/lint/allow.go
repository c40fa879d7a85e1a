package lint

import (
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/diag"
)

// allowance lets a statement's findings of one rule be, for a reason.
type allowance struct {
	rule, reason string
}

type allowances []allowance

// readAllowances finds the comments "allclear: allow RULE because REASON" that stand
// before or inside a statement.
func readAllowances(src Source, statements []parsed) ([]allowances, *diag.Problem) {
	form := regexp.MustCompile(`(?:--|#)[ \t]*allclear:[ \t]*(.*)`)
	clause := regexp.MustCompile(`^allow[ \t]+([a-z0-9-]+)(?:[ \t]+because[ \t]+(\S.*?))?[ \t]*$`)
	out := make([]allowances, len(statements))
	for i, s := range statements {
		next := len(src.Text)
		if i+1 < len(statements) {
			next = max(s.end, statements[i+1].start)
		}
		end := next
		if rest := strings.IndexByte(src.Text[s.end:next], '\n'); rest >= 0 {
			end = s.end + rest // a comment behind the statement, on its last line
		}
		for _, at := range form.FindAllStringSubmatchIndex(src.Text[s.lead:end], -1) {
			where, said := s.lead+at[0], strings.TrimRight(src.Text[s.lead+at[2]:s.lead+at[3]], "\r")
			if i > 0 && where < lineEnd(src.Text, statements[i-1].end) {
				continue // it belongs to the statement before
			}
			found := clause.FindStringSubmatch(said)
			if found == nil {
				p := problemAt(src, where, "want: -- allclear: allow RULE because REASON")
				return nil, p
			}
			if !slices.Contains(Rules(), found[1]) {
				p := problemAt(src, where, "there is no rule %q", found[1])
				if near := diag.Nearest(found[1], Rules()); near != "" {
					p.Hint = "did you mean " + near + "?"
				}
				return nil, p
			}
			if found[2] == "" {
				p := problemAt(src, where, "a reason is missing: allow %s because …", found[1])
				return nil, p
			}
			out[i] = append(out[i], allowance{found[1], found[2]})
		}
	}
	return out, nil
}

func lineEnd(text string, at int) int {
	if rest := strings.IndexByte(text[at:], '\n'); rest >= 0 {
		return at + rest
	}
	return len(text)
}

// apply marks the findings that are let be, and finds allowances for nothing.
func (all allowances) apply(findings []Finding) []Finding {
	used := map[string]bool{}
	for i := range findings {
		for _, a := range all {
			if a.rule == findings[i].Rule {
				findings[i].Allowed, used[a.rule] = a.reason, true
			}
		}
	}
	for _, a := range all {
		if !used[a.rule] {
			findings = append(findings, Finding{Rule: "unused-allow", Level: Style, Message: "there is nothing of rule " + a.rule + " to allow here", Safe: "remove the comment"})
		}
	}
	return findings
}
