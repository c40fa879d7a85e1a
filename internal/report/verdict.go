package report

import (
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/metrics"
	"allclear.dev/allclear/internal/run"
)

// maxStops bounds how many items the first screen names.
const maxStops = 5

// verdict is what the first screen of the page says: how it went, in one
// sentence why, and which items stood in the way.
type verdict struct {
	Verdict  mark
	Lead     string
	Signers  []string
	Took     string
	People   string
	Downtime string
	// DowntimeNote says what the downtime does not count.
	DowntimeNote string
	StopsTitle   string
	Stops        []pageItem
	MoreStops    int
}

func verdictOf(s *run.State, all []entry, m *metrics.Metrics) verdict {
	v := verdict{
		Verdict: resultMark(s.Status()), Lead: leadOf(s, all, m), Took: metrics.Words(endOf(s).Sub(s.StartedAt)),
		People: metrics.Words(m.People), StopsTitle: "What stops it",
	}
	for _, metric := range m.List() {
		if metric.Name == "Downtime" {
			v.Downtime, v.DowntimeNote, _ = strings.Cut(metric.Value, "; ")
		}
	}
	if s.Closed {
		v.StopsTitle = "What stopped it"
		if s.Result == run.RunDone {
			v.StopsTitle = "What was not green"
		}
	}
	for i := range all {
		e := &all[i]
		if g := e.St.Sign; g != nil && g.Approve {
			v.Signers = append(v.Signers, clean(g.Person)+" signed as "+clean(g.Role))
		}
		if !stops(s, e) {
			continue
		}
		if len(v.Stops) == maxStops {
			v.MoreStops++
			continue
		}
		v.Stops = append(v.Stops, pageItemOf(i, e, s))
	}
	return v
}

// stops tells whether an item is in the way of a gate. A group is not: what it
// holds is.
func stops(s *run.State, e *entry) bool {
	if e.Item.Kind == run.Group || e.Tone == toneOver {
		return false
	}
	switch e.St.Status {
	case run.Fail, run.Failed, run.Inconclusive, run.InDoubt:
		return true
	}
	return false
}

// leadOf is the sentence below the verdict.
func leadOf(s *run.State, all []entry, m *metrics.Metrics) string {
	switch {
	case !s.Closed:
		return clean(s.Advise().String()) + "."
	case s.Result == run.RunRolledBack:
		to := ""
		if v := clean(s.Plan.Previous.Version); v != "" {
			to = " to " + v
		}
		return fmt.Sprintf("Taken back%s by %s at %s: %s.", to, clean(s.RollbackBy), clock(s.RollbackAt, s.StartedAt), clean(s.RollbackReason))
	case s.Result == run.RunAborted:
		return "Aborted: " + clean(s.AbortReason) + ". What it had taken was given back; nothing was rolled back."
	}
	waived := 0
	for i := range all {
		if s.Waived(i) {
			waived++
		}
	}
	text := "Every gate was passed"
	if waived > 0 {
		text += fmt.Sprintf(", %s by waiver", items(waived))
	}
	switch n := len(m.Issues); {
	case n == 0:
		return text + "; nothing went wrong on the way."
	case n == 1:
		return text + "; one item went wrong on the way."
	default:
		return text + fmt.Sprintf("; %d items went wrong on the way.", n)
	}
}

func items(n int) string {
	if n == 1 {
		return "1 item"
	}
	return fmt.Sprintf("%d items", n)
}

// resultMark is how the state of a run is shown.
func resultMark(r run.RunStatus) mark {
	switch r {
	case run.RunDone:
		return mark{"✔", "done", toneGood}
	case run.RunRolledBack, run.RunRollingBack:
		return mark{"↶", string(r), toneOver}
	case run.RunHeld, run.RunAborted:
		return mark{"✖", string(r), toneBad}
	case run.RunInDoubt:
		return mark{"◆", string(r), toneBad}
	case run.RunWaiting, run.RunPaused:
		return mark{"▲", string(r), toneWait}
	}
	return mark{"◐", string(r), toneRun}
}

// gateMark is how a gate stands.
func gateMark(s *run.State, k int) mark {
	ph := &s.Plan.Phases[k]
	switch {
	case s.Passed[k]:
		return mark{"✔", "passed " + clock(s.GateAt[k], s.StartedAt), toneGood}
	case ph.Rollback && !s.Rollback:
		return mark{"–", "not needed", toneMuted}
	case ph.Rollback != s.Rollback:
		return mark{"↶", "left by the rollback", toneOver}
	case s.Closed:
		return mark{"✖", "the gate was never passed", toneBad}
	}
	return mark{"·", "the gate is closed", toneMuted}
}
