package report

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed findings.md
var findingsDoc string

// Findings is the type report.findings.
var Findings = check.Define[findings](check.Desc{
	Name:    "report.findings",
	Summary: "scanners have looked, and found no more than is accepted",
	Doc:     findingsDoc,
})

// The severities, the worst first. What a report does not grade is unknown.
const (
	critical = "critical"
	high     = "high"
	medium   = "medium"
	low      = "low"
	info     = "info"
	unknown  = "unknown"
)

func severities() []string { return []string{critical, high, medium, low, info, unknown} }

type findings struct {
	Files   []string       `param:"files,short" doc:"patterns of the reports" default:""`
	Tool    []check.Arg    `param:"run" doc:"instead of files: a scanner that writes its report to standard output" default:""`
	Dir     string         `param:"dir" doc:"where run starts; the checkout when left out" default:""`
	On      string         `param:"on" doc:"host where the files are, or run runs" default:""`
	Format  string         `param:"format" doc:"what the reports are; recognised by their content when left out" default:"" enum:"sarif,trivy,bandit,pip-audit,safety,npm-audit,osv,zap,nuclei"`
	Max     map[string]int `param:"max" doc:"how many findings of each severity are accepted (critical, high, medium, low, info); those not named: any number. Left out: no critical and no high one" default:""`
	Unknown string         `param:"unknown" doc:"the severity of what the report does not grade" default:"critical" enum:"critical,high,medium,low,info"`
	Ignore  []ignored      `param:"ignore" doc:"findings that are accepted until a day" default:""`
	Absent  []string       `param:"expect_absent" doc:"identifiers that must not be found, at any severity" default:""`
	MaxAge  time.Duration  `param:"max_age" doc:"longest acceptable age of every file" default:""`
	Commit  string         `param:"commit" doc:"commit that the reports must be of: as SARIF tells it, or a file FILE.commit" default:""`
}

// ignored is a finding that somebody has accepted.
type ignored struct {
	ID    string `param:"id" doc:"its identifier, or an alias of it"`
	Until string `param:"until" doc:"the last day (2026-12-31); afterwards it counts again"`
	Why   string `param:"why" doc:"the reason"`
}

// day is how a day is written (RFC 3339, full-date).
const day = time.DateOnly

// Validate holds the rules between the parameters.
func (p *findings) Validate() error {
	if (len(p.Files) == 0) == (len(p.Tool) == 0) {
		return errors.New("say files or run, one of them")
	}
	if len(p.Tool) > 0 && (p.MaxAge != 0 || p.Commit != "") {
		return errors.New("max_age and commit: go with files; what run writes is of now")
	}
	for name, n := range p.Max {
		if !slices.Contains(severities()[:5], name) || n < 0 {
			return fmt.Errorf("max: want critical, high, medium, low or info and a number from 0, got %s: %d", name, n)
		}
	}
	for _, i := range p.Ignore {
		if _, err := time.Parse(day, i.Until); err != nil {
			return fmt.Errorf("ignore %s: until: want a day such as 2026-12-31, got %q", i.ID, i.Until)
		}
		if strings.TrimSpace(i.Why) == "" {
			return fmt.Errorf("ignore %s: why: say the reason", i.ID)
		}
	}
	_, err := check.Args(p.Tool, false)
	return err
}

// Traits says what is read.
func (p *findings) Traits() check.Traits {
	does := "reads the scanners' reports " + strings.Join(p.Files, ", ")
	if len(p.Tool) > 0 {
		does = "runs " + p.Tool[0].Text + " and reads its report"
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: does, Target: p.On}
}

// finding is one thing that a scanner has found.
type finding struct {
	ID       string   `json:"id"`
	Aliases  []string `json:"aliases,omitempty"`
	Severity string   `json:"severity"`
	What     string   `json:"what"`
	Where    string   `json:"where,omitempty"`
	Fixed    string   `json:"fixed,omitempty"`
	// Package and Version are of a dependency; Version is empty where the report
	// names a range only.
	Package string `json:"package,omitempty"`
	Version string `json:"version,omitempty"`
	// Suppressed tells that the report itself says that it was accepted; Ignored is
	// the reason given here.
	Suppressed bool   `json:"suppressed,omitempty"`
	Ignored    string `json:"ignored,omitempty"`
}

// scan is what one report holds: of which scanner, of how many things looked at.
type scan struct {
	scanner, commit string
	targets         int
	findings        []finding
}

// Run reads, counts and judges.
func (p *findings) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	reports, err := p.reports(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	facts, misses := map[string]string{}, []string{}
	var all []finding
	var scanners []string
	host, err := env.Host(p.On)
	if err != nil {
		return check.Outcome{}, err
	}
	for _, f := range reports {
		s, err := parseScan(f.text, p.Format)
		if err != nil {
			return check.Outcome{}, fmt.Errorf("%s: %w", f.path, err)
		}
		if miss, err := p.origin(ctx, host, f, s); err != nil || miss != "" {
			if err != nil {
				return check.Outcome{}, err
			}
			misses = append(misses, miss)
		}
		all, scanners = append(all, s.findings...), append(scanners, s.scanner)
	}
	if old, err := stale(reports, p.MaxAge, env.Now()); err != nil {
		return check.Outcome{}, err
	} else if old != "" && len(p.Files) > 0 {
		misses = append(misses, old)
	}
	slices.Sort(scanners)
	facts["scanners"] = strings.Join(slices.Compact(scanners), ", ")
	digests(reports, facts)
	misses = append(misses, p.judge(all, env.Now(), facts)...)
	o := check.Passf("%s: %s", facts["scanners"], facts["counts"])
	if len(misses) > 0 {
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = facts
	text, err := json.MarshalIndent(append([]finding{}, all...), "", " ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the findings: %w", err)
	}
	artefact, err := env.Store("findings.json", bytes.NewReader(text))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the findings: %w", err)
	}
	o.Artefacts = []check.Artefact{artefact}
	return o, ctx.Err()
}

// reports gives the files, or what the scanner writes.
func (p *findings) reports(ctx context.Context, env *check.Env) ([]file, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return nil, err
	}
	if len(p.Files) > 0 {
		return read(ctx, host, p.Files)
	}
	argv, err := check.Args(p.Tool, false)
	if err != nil {
		return nil, err
	}
	r, err := host.Exec(ctx, check.Command{Argv: argv, Dir: p.Dir, Stderr: env.Log, Limit: maxFile})
	switch {
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", argv[0], err)
	case r.Signal != "":
		return nil, fmt.Errorf("%s was ended by signal: %s", argv[0], r.Signal)
	case r.Truncated:
		return nil, fmt.Errorf("%s wrote more than %d MiB", argv[0], maxFile>>20)
	case len(bytes.TrimSpace(r.Stdout)) == 0:
		return nil, fmt.Errorf("%s ended with code %d and wrote no report: %.200s", argv[0], r.Code, bytes.TrimSpace(r.Stderr))
	}
	return []file{{path: argv[0], text: r.Stdout, at: env.Now()}}, nil
}

// origin checks that a report is of the commit that is wanted.
func (p *findings) origin(ctx context.Context, host check.Host, f file, s scan) (string, error) {
	if p.Commit == "" {
		return "", nil
	}
	commit := s.commit
	if commit == "" {
		var err error
		if commit, err = sidecar(ctx, host, f.path); err != nil {
			return "", err
		}
	}
	if !sameCommit(commit, p.Commit) {
		return fmt.Sprintf("%s is of commit %.40s, want %s", f.path, commit, p.Commit), nil
	}
	return "", nil
}

// judge marks what is ignored, counts the rest and names what is too much.
func (p *findings) judge(all []finding, now time.Time, facts map[string]string) (misses []string) {
	counts, byID, accepted := map[string]int{}, map[string][]string{}, 0
	for i := range all {
		f := &all[i]
		if f.Severity == unknown {
			f.Severity = p.Unknown
		}
		if absent := p.mustBeAbsent(*f); absent != "" {
			misses = append(misses, absent+" is still found: "+f.short())
		}
		for _, ig := range p.Ignore {
			until, err := time.Parse(day, ig.Until)
			switch {
			case !f.is(ig.ID):
			case err == nil && now.Before(until.AddDate(0, 0, 1)):
				f.Ignored = ig.Why + " (until " + ig.Until + ")"
			default:
				misses = append(misses, fmt.Sprintf("%s was accepted until %s and counts again", ig.ID, ig.Until))
			}
		}
		if f.Ignored != "" || f.Suppressed {
			accepted++
			continue
		}
		counts[f.Severity]++
		byID[f.Severity] = append(byID[f.Severity], f.short())
	}
	most := p.Max
	if len(most) == 0 {
		most = map[string]int{critical: 0, high: 0}
	}
	var shown []string
	for _, severity := range severities()[:5] {
		n := counts[severity]
		shown = append(shown, fmt.Sprintf("%d %s", n, severity))
		facts["findings."+severity] = strconv.Itoa(n)
		if limit, set := most[severity]; set && n > limit {
			misses = append(misses, fmt.Sprintf("%d %s findings, want at most %d: %s", n, severity, limit, first(byID[severity], n)))
		}
	}
	facts["accepted"] = strconv.Itoa(accepted)
	facts["counts"] = strings.Join(shown, ", ") + fmt.Sprintf("; %d accepted", accepted)
	slices.Sort(misses)
	return slices.Compact(misses)
}

func (p *findings) mustBeAbsent(f finding) string {
	for _, id := range p.Absent {
		if f.is(id) {
			return id
		}
	}
	return ""
}

// is compares a finding's identifier and aliases, in which case does not count.
func (f finding) is(id string) bool {
	return strings.EqualFold(f.ID, id) || slices.ContainsFunc(f.Aliases, func(a string) bool { return strings.EqualFold(a, id) })
}

func (f finding) short() string {
	out := f.ID
	for _, part := range []string{f.What, f.Where} {
		if part != "" {
			out += " " + part
		}
	}
	if f.Fixed != "" {
		out += " (fixed in " + f.Fixed + ")"
	}
	const most = 120
	return strings.ToValidUTF8(out[:min(len(out), most)], "")
}

// byScore grades a CVSS base score: from 9.0 critical, from 7.0 high, from 4.0
// medium, below low (CVSS 3.1 specification, 5).
func byScore(score float64) string {
	switch {
	case score >= 9:
		return critical
	case score >= 7:
		return high
	case score >= 4:
		return medium
	case score > 0:
		return low
	}
	return info
}

// byWord grades a scanner's own word.
func byWord(word string) string {
	switch word = strings.ToLower(strings.TrimSpace(word)); word {
	case critical, high, medium, low, info:
		return word
	case "moderate":
		return medium
	case "informational", "negligible", "none":
		return info
	}
	return unknown
}

// named gives the first text that is there.
func named(texts ...string) string { return cmp.Or(texts...) }
