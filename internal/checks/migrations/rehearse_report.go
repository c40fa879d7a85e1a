package migrations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/rehearse"
	"allclear.dev/allclear/internal/postgres/trace"
)

// report is the rehearsal's evidence, kept as rehearsal.json.
type report struct {
	From       string        `json:"from"`
	Restore    time.Duration `json:"restore_ns"`
	Migrations []string      `json:"migrations"`
	// Settings are those that differ from production's.
	Settings       []string `json:"settings"`
	Rows           int64    `json:"rows"`
	ProductionRows int64    `json:"production_rows"`
	Findings       []string `json:"findings"`
	// Statements are those that lock, scan, build, rewrite or were refused.
	Statements []statementReport `json:"statements"`
	// Dropped is how many statements were too many to keep.
	Dropped  int               `json:"dropped"`
	WAL      int64             `json:"wal_bytes"`
	Took     time.Duration     `json:"took_ns"`
	Parts    []rehearse.Part   `json:"parts"`
	Locks    []lockWindow      `json:"locks"`
	Estimate rehearse.Estimate `json:"estimate"`
	Waits    []rehearse.Wait   `json:"waits"`
	Faults   []fault           `json:"faults"`
	// Untried is how many points of interruption were left out.
	Untried  int      `json:"untried"`
	Rewrites rewrites `json:"rewrites"`
	Back     wayBack  `json:"back"`
	// Headroom is how much disk production needs meanwhile, in bytes: what is written
	// again is there twice.
	Headroom int64 `json:"headroom_bytes"`

	traced, timed []stepTrace
	up            *postgres.Server
}

// statementReport is one statement and what it did.
type statementReport struct {
	Migration string `json:"migration"`
	SQL       string `json:"statement"`
	trace.Trace
	Notices []string `json:"notices,omitempty"`
	Hazard  bool     `json:"hazard"`
}

// lockWindow is how long a relation keeps others out.
type lockWindow struct {
	Migration  string            `json:"migration"`
	Relation   string            `json:"relation"`
	Mode       string            `json:"mode"`
	By         string            `json:"by"`
	Statements int               `json:"statements"`
	Measured   time.Duration     `json:"measured_ns"`
	Estimate   rehearse.Estimate `json:"estimate"`
}

func (r *report) find(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

// add keeps of a transaction what somebody may want to read: not the tool's own
// bookkeeping in the version table.
func (r *report) add(step string, tx trace.Transaction, versions string) {
	for _, e := range tx.Events {
		r.WAL += e.WAL
		blocking := false
		for _, l := range e.Fresh {
			blocking = blocking || l.Blocks() && l.Relation != versions && !strings.HasPrefix(l.Relation, versions+"_")
		}
		work, _ := workOf(e)
		if !blocking && work == rehearse.CatalogOnly && e.Error == "" && !e.Alone || strings.Contains(e.SQL, versions) {
			continue
		}
		r.Statements = append(r.Statements, statementReport{Migration: step, SQL: shorten(e.SQL), Trace: e.Trace, Notices: e.Notices, Hazard: e.Hazard()})
	}
}

// outcome tells the result. A failure is the reason to fail with; findings too.
func (s *stage) outcome(ctx context.Context, failure string, err error) (check.Outcome, error) {
	if err != nil {
		return check.Outcome{}, err
	}
	r := &s.report
	s.headroom()
	o := check.Passf("nothing to rehearse: no migration is pending")
	if len(r.Migrations) > 0 {
		o = check.Passf("%d migrations were applied to a copy in %s; on production expected in %s (%s to %s), locks up to %s; way back: %s",
			len(r.Migrations), round(r.Took), round(r.Estimate.Expected), round(r.Estimate.Low), round(r.Estimate.High), round(s.longestLock()), r.Back.Plan)
	}
	if failure != "" {
		if r.Rewrites.Proven {
			failure += "; rewrites.sql has a way that was tried on a copy and makes nobody wait"
		}
		o = check.Failf("%s", failure)
	}
	o.Target = s.production.Name()
	o.Facts = s.facts()
	if o.Verdict == check.Pass {
		o.Sets = s.sets()
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the rehearsal's report: %w", err)
	}
	artefact, err := s.env.Store("rehearsal.json", bytes.NewReader(data))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the rehearsal's report: %w", err)
	}
	list, err := s.rewritesFile()
	if err != nil {
		return check.Outcome{}, err
	}
	o.Artefacts = append(append(o.Artefacts, artefact), list...)
	return o, ctx.Err()
}

// headroom is the disk that production needs while tables are written again and
// indexes are built: at most another table of the same size, indexes included.
func (s *stage) headroom() {
	s.report.Headroom = 0
	for _, p := range s.report.Parts {
		if p.Work == rehearse.Rewrite || p.Work == rehearse.Build {
			s.report.Headroom += p.There
		}
	}
}

func (s *stage) longestLock() time.Duration {
	var most time.Duration
	for _, l := range s.report.Locks {
		most = max(most, l.Estimate.High)
	}
	return most
}

func (s *stage) facts() map[string]string {
	r := &s.report
	facts := map[string]string{
		"from": r.From, "migrations": strings.Join(r.Migrations, " "), "rows": strconv.FormatInt(r.Rows, 10),
		"production_rows": strconv.FormatInt(r.ProductionRows, 10), "settings_differ": postgres.Shorten(r.Settings, 20),
		"restore_seconds": seconds(r.Restore), "wal_bytes": strconv.FormatInt(r.WAL, 10), "headroom_bytes": strconv.FormatInt(r.Headroom, 10),
		"statements_dropped": strconv.Itoa(r.Dropped), "faults_tried": strconv.Itoa(len(r.Faults)), "faults_untried": strconv.Itoa(r.Untried),
		"estimate_from_runs": strconv.Itoa(r.Estimate.From), "estimate_factor": strconv.FormatFloat(r.Estimate.Factor, 'f', 2, 64),
	}
	for _, l := range r.Locks {
		facts["lock "+l.Relation] = fmt.Sprintf("%s, %s measured, %s to %s expected, by %s", l.Mode, round(l.Measured), round(l.Estimate.Low), round(l.Estimate.High), l.By)
	}
	for _, w := range r.Waits {
		facts[w.Does+" of "+w.Table] = fmt.Sprintf("%d requests, longest wait %s %s", w.Requests, round(w.Longest), w.Broken)
	}
	if w := &r.Rewrites; w.Proven || w.Why != "" {
		facts["rewrites"] = w.String()
	}
	needPerson := 0
	for _, f := range r.Faults {
		if f.Again != "done" {
			needPerson++
		}
	}
	facts["faults_for_a_person"] = strconv.Itoa(needPerson)
	if r.Estimate.Driver.SQL != "" {
		facts["driver"] = fmt.Sprintf("%s of %s: %s", r.Estimate.Driver.Work, r.Estimate.Driver.Table, r.Estimate.Driver.SQL)
	}
	if r.Back.Plan != "" {
		facts["way_back"], facts["way_back_why"] = r.Back.Plan, postgres.Shorten(r.Back.Why, 5)
	}
	return facts
}

// sets are the facts that other items go by.
func (s *stage) sets() map[string]string {
	r := &s.report
	sets := map[string]string{}
	if len(r.Migrations) == 0 {
		return sets
	}
	if plan := s.tool.plan(); plan != "" {
		sets["migrations.rehearsed"] = plan
	}
	sets["migration.estimate"], sets["migration.estimate.unlearned"] = seconds(r.Estimate.Expected), seconds(r.Estimate.Unlearned)
	sets["migration.estimate.low"], sets["migration.estimate.high"] = seconds(r.Estimate.Low), seconds(r.Estimate.High)
	sets["migration.estimate.lock"] = seconds(s.longestLock())
	sets["rollback.database"] = r.Back.Plan
	return sets
}
