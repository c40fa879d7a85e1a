// Package results writes how items stand in the formats that other programs read:
// build servers, forges, monitoring. It is pure. In every format what has no
// answer is as visible as what failed, and a set of nothing is an error: no format
// has a way to say that nothing was looked at, and several readers take an empty
// document for success.
package results

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Verdict is how an item stands.
type Verdict string

// The verdicts. Inconclusive is everything without an answer: what could not be
// found out, is in doubt or never ran. Skipped did not apply; waived was let
// through by a person although it is not green.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
	Skipped      Verdict = "skipped"
	Waived       Verdict = "waived"
)

// Result is how one item stands.
type Result struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	// Gate is the phase whose gate the item belongs to.
	Gate string `json:"gate"`
	// Line is the item's line in the checklist.
	Line    int     `json:"line"`
	Verdict Verdict `json:"verdict"`
	// Word is the state as people see it: pass, done, waived, n/a, in doubt, …
	Word   string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Took is how long the last attempt took.
	Took time.Duration `json:"took_ns"`
	// Evidence are the SHA-256 of what was kept, in hex.
	Evidence []string `json:"evidence,omitempty"`
}

// Set is what was looked at together.
type Set struct {
	// Name says what and where: "shop 1.4.0 production".
	Name string
	// File is the checklist's path, as the readers' annotations need it.
	File    string
	Started time.Time
	Took    time.Duration
	Results []Result
}

// Count gives how many results have a verdict.
func (s *Set) Count(v Verdict) int {
	n := 0
	for i := range s.Results {
		if s.Results[i].Verdict == v {
			n++
		}
	}
	return n
}

// ErrNothing means that there is no result to write.
var ErrNothing = errors.New("no item was looked at")

// Formats lists the names that Write takes.
func Formats() []string {
	return []string{"plain", "json", "jsonl", "tap", "junit", "sarif", "github", "gitlab", "buildkite", "teamcity", "table", "prometheus", "nagios"}
}

// Write gives a set in a format. The errors are ErrNothing and an unknown format.
func Write(format string, s *Set) ([]byte, error) {
	if len(s.Results) == 0 {
		return nil, ErrNothing
	}
	s = s.cleaned()
	switch format {
	case "plain":
		return plain(s), nil
	case "json":
		return document(s)
	case "jsonl":
		return lines(s)
	case "tap":
		return tap(s), nil
	case "junit":
		return junit(s)
	case "sarif":
		return sarif(s)
	case "github":
		return github(s), nil
	case "gitlab":
		return gitlab(s)
	case "buildkite":
		return buildkite(s), nil
	case "teamcity":
		return teamcity(s), nil
	case "table":
		return table(s), nil
	case "prometheus":
		return prometheus(s), nil
	case "nagios":
		return nagios(s), nil
	}
	return nil, fmt.Errorf("unknown format %q", format)
}

// cleaned makes every text one line, and gives the gates in one piece each, in
// the order in which they appear first.
func (s *Set) cleaned() *Set {
	out := *s
	out.Name, out.File = OneLine(s.Name), OneLine(s.File)
	out.Results = slices.Clone(s.Results)
	order := map[string]int{}
	for i := range out.Results {
		r := &out.Results[i]
		r.ID, r.Text, r.Gate, r.Word, r.Reason = OneLine(r.ID), OneLine(r.Text), OneLine(r.Gate), OneLine(r.Word), OneLine(r.Reason)
		if _, ok := order[r.Gate]; !ok {
			order[r.Gate] = len(order)
		}
		if r.Reason == "" && r.Verdict != Pass {
			r.Reason = r.Word
		}
	}
	slices.SortStableFunc(out.Results, func(a, b Result) int { return order[a.Gate] - order[b.Gate] })
	return &out
}

// excuse says why a result that is not green stops nothing.
func (r *Result) excuse() string {
	if r.Verdict == Waived {
		return "waived " + r.Reason
	}
	return r.Word + ": " + r.Reason
}

// byGate calls visit with the results of each gate in turn.
func (s *Set) byGate(visit func(gate string, results []Result)) {
	for from := 0; from < len(s.Results); {
		to := from
		for to < len(s.Results) && s.Results[to].Gate == s.Results[from].Gate {
			to++
		}
		visit(s.Results[from].Gate, s.Results[from:to])
		from = to
	}
}

// bad lists what failed, then what has no answer.
func (s *Set) bad() []Result {
	var out []Result
	for _, v := range []Verdict{Fail, Inconclusive} {
		for _, r := range s.Results {
			if r.Verdict == v {
				out = append(out, r)
			}
		}
	}
	return out
}

// summary counts in words.
func (s *Set) summary() string {
	text := fmt.Sprintf("%d passed, %d failed, %d inconclusive", s.Count(Pass), s.Count(Fail), s.Count(Inconclusive))
	if n := s.Count(Skipped); n > 0 {
		text += fmt.Sprintf(", %d skipped", n)
	}
	if n := s.Count(Waived); n > 0 {
		text += fmt.Sprintf(", %d waived", n)
	}
	return text
}

// OneLine makes a text one line that shows what it says: control characters, line
// ends and what turns the direction of writing become spaces, what is no UTF-8
// becomes U+FFFD.
func OneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == 0x2028 || r == 0x2029 || r == 0xfeff {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(text), " ")
}
