package cli

import (
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/run"
)

// speak tells a run in sentences, for a screen reader: first what stops it, then
// every item that a person must decide about, then what goes on.
func speak(s *run.State) []string {
	lines := []string{fmt.Sprintf("%s %s to %s, run %s, is %s.", s.Plan.Project, s.Plan.Release.Version, s.Plan.Environment, s.Run, s.Status())}
	a := s.Advise()
	for _, part := range []string{a.Stops, a.Turn, a.Next} {
		if part != "" {
			lines = append(lines, strings.ToUpper(part[:1])+part[1:]+".")
		}
	}
	if person := nextPerson(s); a.Turn == "" && person != "" {
		lines = append(lines, "Needed later: "+person+".")
	}
	for _, i := range append(s.InDoubt(), s.Blocking()...) {
		it, st := &s.Plan.Items[i], s.Items[i]
		lines = append(lines, fmt.Sprintf("Line %d of the checklist, %s, %s: %s.", it.Line, it.Text, markOf(st.Status).word, strings.TrimRight(st.Reason, ".")))
	}
	for k, ph := range s.Plan.Phases {
		if k != s.Open || s.Passed[k] {
			continue
		}
		t := count(s, ph.ID)
		lines = append(lines, fmt.Sprintf("Gate %d of %d, %s: %d settled well, %d not, %d left.", k+1, len(s.Plan.Phases), ph.Title, t.green+t.na+t.waived, t.bad, t.left))
	}
	p := paper{}
	for n := range lines {
		lines[n] = p.plain(lines[n])
	}
	return lines
}
