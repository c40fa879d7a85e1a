package migrations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/postgres/lint"
)

// hidden is the rule of what cannot be seen into.
const hidden = "cannot-see-inside"

// told shows a mistake in a file at its place and gives it on.
func (p *linting) told(env *check.Env, err error) error {
	if problem, ok := errors.AsType[*diag.Problem](err); ok {
		_ = diag.Problems{*problem}.Write(env.Log) // a log that is gone keeps nobody
	}
	return err
}

// judge gives the verdict, with the findings as evidence.
func (p *linting) judge(env *check.Env, r reading, statements []lint.Statement) (check.Outcome, error) {
	unused := p.acknowledge(statements)
	p.choose(statements)
	totals := lint.Count(statements)
	o := check.Outcome{Facts: p.facts(r, statements, totals)}
	if len(unused) > 0 {
		o.Facts["ack_unused"] = strings.Join(unused, "; ")
	}
	_ = lint.Problems(statements, r.sources).Write(env.Log) // a log that is gone keeps nobody
	text, err := json.MarshalIndent(statements, "", "  ")
	if err != nil {
		return o, fmt.Errorf("encode the findings: %w", err)
	}
	kept, err := env.Store("lint.json", bytes.NewReader(text))
	if err != nil {
		return o, fmt.Errorf("keep the findings: %w", err)
	}
	o.Artefacts = []check.Artefact{kept}
	bad, unseen := p.bad(statements)
	switch {
	case len(bad) > 0:
		o.Verdict, o.Reason = check.Fail, fmt.Sprintf("%d findings in %s of %s: %s", len(bad), counted(totals.Statements, "statement"), counted(len(r.sources), "file"), first(bad))
	case len(unseen) > 0:
		return o, fmt.Errorf("%d places cannot be seen into: %s; acknowledge them (ack), or rehearse them and say so", len(unseen), first(unseen))
	case totals.Statements == 0:
		return o, fmt.Errorf("no statement was read in %s", p.where())
	default:
		o.Verdict, o.Reason = check.Pass, fmt.Sprintf("%s of %s: %d hazards, %d risks, %d remarks, %d acknowledged", counted(totals.Statements, "statement"),
			counted(len(r.sources), "file"), totals.Hazards, totals.Risks, totals.Remarks, totals.Allowed)
	}
	o.Sets = setsOf(totals, len(unseen))
	return o, nil
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// first shows the first three of a list.
func first(list []string) string {
	if len(list) > 3 {
		return strings.Join(list[:3], "; ") + fmt.Sprintf("; and %d more", len(list)-3)
	}
	return strings.Join(list, "; ")
}

// acknowledge marks the findings that may be, and gives the acknowledgements that
// found nothing.
func (p *linting) acknowledge(statements []lint.Statement) []string {
	used := make([]bool, len(p.Ack))
	for _, s := range statements {
		for i := range s.Findings {
			f := &s.Findings[i]
			for n, a := range p.Ack {
				if a.Rule == f.Rule && (a.File == s.File || a.File == path.Base(s.File)) && f.Allowed == "" {
					f.Allowed, used[n] = a.Reason, true
				}
			}
		}
	}
	var unused []string
	for n, a := range p.Ack {
		if !used[n] {
			unused = append(unused, a.Rule+" in "+a.File)
		}
	}
	return unused
}

// choose leaves the findings of the named rules, and what cannot be seen into.
func (p *linting) choose(statements []lint.Statement) {
	if len(p.Rules) == 0 {
		return
	}
	for i := range statements {
		statements[i].Findings = slices.DeleteFunc(statements[i].Findings, func(f lint.Finding) bool {
			return f.Rule != hidden && !slices.Contains(p.Rules, f.Rule)
		})
	}
}

// bad lists the findings that fail, and apart from them what cannot be seen into.
func (p *linting) bad(statements []lint.Statement) (bad, unseen []string) {
	for _, s := range statements {
		for _, f := range s.Findings {
			switch {
			case f.Allowed != "":
			case f.Rule == hidden:
				unseen = append(unseen, place(s)+" "+f.Message)
			case len(p.Rules) > 0 || lint.Rank(f.Level) >= lint.Rank(lint.Level(p.FailOn)):
				bad = append(bad, describe(s, f))
			}
		}
	}
	return bad, unseen
}

func place(s lint.Statement) string { return fmt.Sprintf("%s:%d", path.Base(s.File), s.Line) }

// describe is a finding in one line: where, which rule, the lock, on what, how large.
func describe(s lint.Statement, f lint.Finding) string {
	text := fmt.Sprintf("%s %s", place(s), f.Rule)
	if f.Relation != "" {
		text += " on " + f.Relation
	}
	var more []string
	if f.Lock != "" {
		more = append(more, f.Lock)
	}
	if f.Bytes > 0 {
		more = append(more, fmt.Sprintf("%.1f MB", float64(f.Bytes)/1e6))
	}
	if f.Allowed != "" {
		more = append(more, "may be: "+f.Allowed)
	}
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	return text
}

// facts are the counts and each finding by its place.
func (p *linting) facts(r reading, statements []lint.Statement, t lint.Totals) map[string]string {
	facts := map[string]string{
		"statements": strconv.Itoa(t.Statements), "migrations": strconv.Itoa(r.all), "pending": strconv.Itoa(r.pending),
		"hazards": strconv.Itoa(t.Hazards), "risks": strconv.Itoa(t.Risks), "remarks": strconv.Itoa(t.Remarks),
		"acknowledged": strconv.Itoa(t.Allowed), "unseen": strconv.Itoa(t.Unseen),
	}
	const most = 50
	n := 0
	for _, s := range statements {
		for _, f := range s.Findings {
			if n++; n <= most {
				facts[fmt.Sprintf("finding.%02d", n)] = string(f.Level) + " " + describe(s, f)
			}
		}
	}
	return facts
}

// sets are the facts for later items.
func setsOf(t lint.Totals, unseen int) map[string]string {
	return map[string]string{
		"lint.statements": strconv.Itoa(t.Statements), "lint.hazards": strconv.Itoa(t.Hazards),
		"lint.risks": strconv.Itoa(t.Risks), "lint.unseen": strconv.Itoa(unseen),
	}
}
