package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"allclear.dev/allclear/internal/metrics"
	"allclear.dev/allclear/internal/run"
)

// Schema names the form of the JSON report. A change that could mislead a reader
// changes the name.
const Schema = "allclear.report.v1"

type document struct {
	Schema      string            `json:"schema"`
	Run         string            `json:"run"`
	Project     string            `json:"project"`
	Environment string            `json:"environment"`
	Release     run.Release       `json:"release"`
	Previous    run.Release       `json:"previous"`
	Status      run.RunStatus     `json:"status"`
	Closed      bool              `json:"closed"`
	Starter     string            `json:"starter"`
	StartedAt   time.Time         `json:"started_at"`
	ClosedAt    time.Time         `json:"closed_at,omitzero"`
	AsOf        time.Time         `json:"as_of"`
	Plan        string            `json:"plan_sha256"`
	Checklist   string            `json:"checklist_sha256"`
	Config      string            `json:"config_sha256"`
	Rollback    *rollbackReport   `json:"rollback,omitempty"`
	Gates       []gateReport      `json:"gates"`
	Items       []itemReport      `json:"items"`
	Facts       map[string]string `json:"facts,omitempty"`
	Metrics     []metrics.Metric  `json:"metrics"`
	Issues      []issueReport     `json:"issues"`
}

type rollbackReport struct {
	At        time.Time `json:"at"`
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	Emergency bool      `json:"emergency"`
}

type gateReport struct {
	ID       string         `json:"id"`
	Title    string         `json:"title"`
	Rollback bool           `json:"rollback,omitempty"`
	Passed   bool           `json:"passed"`
	PassedAt time.Time      `json:"passed_at,omitzero"`
	Count    map[string]int `json:"count"`
}

type itemReport struct {
	ID        string            `json:"id"`
	Text      string            `json:"text"`
	Line      int               `json:"line"`
	Phase     string            `json:"phase"`
	Section   string            `json:"section"`
	Gate      string            `json:"gate"`
	Kind      run.Kind          `json:"kind"`
	Type      string            `json:"type"`
	Status    string            `json:"status"`
	Ticked    bool              `json:"ticked"`
	Required  bool              `json:"required"`
	Reason    string            `json:"reason,omitempty"`
	By        string            `json:"by,omitempty"`
	Target    string            `json:"target,omitempty"`
	Attempts  int               `json:"attempts,omitempty"`
	StartedAt time.Time         `json:"started_at,omitzero"`
	SettledAt time.Time         `json:"settled_at,omitzero"`
	Facts     map[string]string `json:"facts,omitempty"`
	Artefacts []run.Artefact    `json:"artefacts,omitempty"`
	Evidence  []string          `json:"evidence_sha256,omitempty"`
	Waiver    *waiverReport     `json:"waiver,omitempty"`
	Sign      *signReport       `json:"signature,omitempty"`
	Watch     *watchReport      `json:"watch,omitempty"`
}

type waiverReport struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	// Stood is what the item was let through in spite of.
	Stood run.Status `json:"stood"`
}

type signReport struct {
	By       string    `json:"by"`
	Role     string    `json:"role"`
	Decision string    `json:"decision"`
	Subject  string    `json:"subject_sha256"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until,omitzero"`
	Key      string    `json:"key_fingerprint,omitempty"`
	Note     string    `json:"note,omitempty"`
}

type watchReport struct {
	ForSeconds float64 `json:"for_seconds"`
	Passed     int     `json:"passed"`
	Failed     int     `json:"failed"`
	Unanswered int     `json:"unanswered"`
	Expected   int     `json:"expected"`
}

type issueReport struct {
	Item       string     `json:"item"`
	Status     run.Status `json:"status"`
	Reason     string     `json:"reason"`
	At         time.Time  `json:"at"`
	ResolvedAt time.Time  `json:"resolved_at,omitzero"`
	How        string     `json:"how,omitempty"`
	Seconds    float64    `json:"seconds"`
}

// JSON is the report for programs, of the form that Schema names.
func JSON(s *run.State, events []run.Event) ([]byte, error) {
	if s == nil || s.Plan == nil {
		return nil, errors.New("the run has not been started")
	}
	m := metrics.Of(events)
	d := document{
		Schema: Schema, Run: s.Run, Project: s.Plan.Project, Environment: s.Plan.Environment,
		Release: s.Plan.Release, Previous: s.Plan.Previous, Status: s.Status(), Closed: s.Closed,
		Starter: s.Starter, StartedAt: s.StartedAt, ClosedAt: s.ClosedAt, AsOf: s.Now,
		Plan: s.PlanDigest, Checklist: s.Plan.Checklist, Config: s.Plan.Config,
		Gates: gateReports(s), Facts: s.Facts, Metrics: m.List(), Issues: issueReports(&m), Items: []itemReport{},
	}
	if s.Rollback {
		d.Rollback = &rollbackReport{s.RollbackAt, s.RollbackBy, s.RollbackReason, s.Emergency}
	}
	for _, e := range entries(s) {
		d.Items = append(d.Items, itemReportOf(&e))
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	return out.Bytes(), nil
}

// statusWord is an item's state in the words of the checklist.
func statusWord(e *entry) string {
	if e.Tone == toneOver && e.Word == "waived" {
		return "waived"
	}
	return string(e.St.Status)
}

func gateReports(s *run.State) []gateReport {
	out := make([]gateReport, len(s.Plan.Phases))
	for k, ph := range s.Plan.Phases {
		out[k] = gateReport{ID: ph.ID, Title: ph.Title, Rollback: ph.Rollback, Passed: s.Passed[k], PassedAt: s.GateAt[k], Count: map[string]int{}}
	}
	for _, e := range entries(s) {
		for k := range out {
			if out[k].ID == e.Item.Gate && e.Item.Kind != run.Group {
				out[k].Count[statusWord(&e)]++
			}
		}
	}
	return out
}

func itemReportOf(e *entry) itemReport {
	it, st := e.Item, e.St
	out := itemReport{
		ID: it.ID, Text: it.Text, Line: it.Line, Phase: it.Phase, Section: it.Section, Gate: it.Gate,
		Kind: it.Kind, Type: it.Type, Status: statusWord(e), Ticked: e.Ticked, Required: !it.Optional,
		Reason: st.Reason, By: e.By, Target: st.Target, Attempts: st.Attempt, StartedAt: st.StartedAt,
		SettledAt: st.SettledAt, Facts: st.Facts, Artefacts: st.Artefacts, Evidence: e.Evidence,
	}
	if w := st.Waiver; w != nil {
		out.Waiver = &waiverReport{w.Person, w.Reason, w.Until, st.Status}
	}
	if g := st.Sign; g != nil {
		decision := "no-go"
		if g.Approve {
			decision = "go"
		}
		out.Sign = &signReport{g.Person, g.Role, decision, g.Subject, g.At, g.Until, g.KeyPrint, g.Note}
	}
	if w := st.Watch; w != nil && it.Watch != nil && it.Watch.Every > 0 {
		out.Watch = &watchReport{it.Watch.For.Seconds(), w.Passed, w.Failed, w.Errors, it.Watch.Expected()}
	}
	return out
}

func issueReports(m *metrics.Metrics) []issueReport {
	out := []issueReport{}
	for _, i := range m.Issues {
		out = append(out, issueReport{i.Item, i.Status, i.Reason, i.At, i.Resolved, i.How, i.Took.Seconds()})
	}
	return out
}
