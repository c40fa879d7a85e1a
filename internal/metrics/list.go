package metrics

import (
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/run"
)

// Metric is one number with what it means and what was counted.
type Metric struct {
	// Name is the metric's name in deployment checklists.
	Name string `json:"name"`
	// Value is the number for people: "48m12s", "2", "not measured".
	Value string `json:"value"`
	// Seconds is set for durations that are known, Count for numbers of things.
	Seconds *float64 `json:"seconds,omitempty"`
	Count   *int     `json:"count,omitempty"`
	// Definition says what is counted and what is not.
	Definition string `json:"definition"`
	// Counted names what was counted in this run.
	Counted []string `json:"counted,omitempty"`
}

// NotMeasured is the value of what nobody measured. It is not zero.
const NotMeasured = "not measured"

// List gives the seven metrics in the order of deployment checklists, and the
// shares of the time.
func (m *Metrics) List() []Metric {
	return []Metric{
		duration("Deployment Duration", m.Duration, "from the start of the run to the last check or watch that passed; windows and waiting for people included"),
		m.downtime(),
		duration("Migration Duration", m.Migration, "the time that the database migrations took, as the migrating item measured it (fact "+MigrationFact+")"),
		count("Rollback Count", m.Rollbacks, "rollbacks of this run, emergencies included"),
		m.issues(),
		m.resolution(),
		m.success(),
		m.waiting(),
	}
}

func (m *Metrics) downtime() Metric {
	out := duration("Downtime", Measured{Known: true, Value: m.Downtime()},
		"the time during which maintenance was held, plus what a probe from outside measured as unavailable while it was off (fact "+ProbeFact+")")
	for _, i := range m.Maintenance {
		end := "now"
		if !i.End.IsZero() {
			end = i.End.UTC().Format(time.TimeOnly + "Z")
		}
		out.Counted = append(out.Counted, fmt.Sprintf("maintenance %s to %s", i.Start.UTC().Format(time.DateTime+"Z"), end))
	}
	if m.Outside.Known {
		out.Counted = append(out.Counted, "outside probe "+Words(m.Outside.Value))
		return out
	}
	out.Counted = append(out.Counted, "outside probe "+NotMeasured)
	out.Value += " of maintenance; outside probe: " + NotMeasured
	return out
}

func (m *Metrics) issues() Metric {
	out := count("Issues Found", len(m.Issues), "items that ended failed or inconclusive at least once, watches included; a failure that a retry of the same attempt mended is not counted")
	watches := 0
	for _, i := range m.Issues {
		if i.Watch {
			watches++
		}
		out.Counted = append(out.Counted, fmt.Sprintf("%s: %s", i.Item, i.Status))
	}
	if watches > 0 {
		out.Value += fmt.Sprintf(" (%d by watches)", watches)
	}
	return out
}

func (m *Metrics) resolution() Metric {
	out := duration("Time to Resolution", m.Resolution(), "the median time from the moment an item went wrong until it was green or waived, or the rollback was over; open issues are counted apart")
	open := len(m.Open())
	switch {
	case len(m.Issues) == 0:
		out.Value = "no issues"
	case open == len(m.Issues):
		out.Value = fmt.Sprintf("%d open", open)
	case open > 0:
		out.Value += fmt.Sprintf(" (%d open)", open)
	}
	for _, i := range m.Issues {
		if !i.Resolved.IsZero() {
			out.Counted = append(out.Counted, fmt.Sprintf("%s: %s, %s", i.Item, Words(i.Took), i.How))
		}
	}
	return out
}

func (m *Metrics) success() Metric {
	out := Metric{Name: "Success Rate", Definition: "runs that ended with every gate passed and without a rollback, out of all runs that ended"}
	switch {
	case m.Succeeded():
		out.Value = "this deployment succeeded"
	case m.Closed:
		out.Value = "this deployment did not succeed: " + string(m.Result)
	default:
		out.Value = "not decided: the run is " + string(m.Result)
	}
	return out
}

func (m *Metrics) waiting() Metric {
	out := duration("Waiting for People", Measured{Known: true, Value: m.People},
		"the time during which nothing ran and nothing was watched: the run waited for statements, signatures or decisions")
	out.Counted = []string{
		"working " + Words(m.Working), "watching " + Words(m.Watched), "waiting for people " + Words(m.People), "paused " + Words(m.Paused),
	}
	return out
}

func duration(name string, d Measured, definition string) Metric {
	m := Metric{Name: name, Value: NotMeasured, Definition: definition}
	if d.Known {
		seconds := d.Value.Seconds()
		m.Value, m.Seconds = Words(d.Value), &seconds
	}
	return m
}

func count(name string, n int, definition string) Metric {
	return Metric{Name: name, Value: fmt.Sprint(n), Count: &n, Definition: definition}
}

// Words writes a duration for people: tenths of a second below a minute, whole
// seconds above, days for what is longer.
func Words(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	days := d / (24 * time.Hour)
	text := (d - days*24*time.Hour).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	if days > 0 {
		text = strings.TrimSuffix(fmt.Sprintf("%dd%s", days, text), "0s")
	}
	return text
}

// Summary is how several runs went.
type Summary struct {
	// Ended counts the runs that are over, Running the others, which count nowhere
	// else.
	Ended, Running int
	// Succeeded ended with every gate passed and without a rollback; RolledBack and
	// Aborted ended so.
	Succeeded, RolledBack, Aborted int
	// Issues and Downtime are sums.
	Issues   int
	Downtime time.Duration
	// Duration, Migration and Resolution are medians over what is known.
	Duration, Migration, Resolution Measured
	// People is the time spent waiting for people, All the time of all parts.
	People, All time.Duration
}

// Over sums up runs.
func Over(runs []Metrics) Summary {
	var s Summary
	var durations, migrations, resolutions []time.Duration
	for i := range runs {
		m := &runs[i]
		if !m.Closed {
			s.Running++
			continue
		}
		s.Ended++
		switch {
		case m.Succeeded():
			s.Succeeded++
		case m.Rollbacks > 0:
			s.RolledBack++
		case m.Result == run.RunAborted:
			s.Aborted++
		}
		s.Issues += len(m.Issues)
		s.Downtime += m.Downtime()
		s.People += m.People
		s.All += m.People + m.Working + m.Watched + m.Paused
		durations = known(durations, m.Duration)
		migrations = known(migrations, m.Migration)
		for _, issue := range m.Issues {
			if !issue.Resolved.IsZero() {
				resolutions = append(resolutions, issue.Took)
			}
		}
	}
	s.Duration, s.Migration, s.Resolution = median(durations), median(migrations), median(resolutions)
	return s
}

func known(list []time.Duration, d Measured) []time.Duration {
	if d.Known {
		return append(list, d.Value)
	}
	return list
}

// Rate is the success rate in percent and whether there is one: without a run
// that ended there is none.
func (s Summary) Rate() (percent float64, ok bool) {
	if s.Ended == 0 {
		return 0, false
	}
	return 100 * float64(s.Succeeded) / float64(s.Ended), true
}
