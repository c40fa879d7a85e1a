package report

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

//go:embed coverage.md
var coverageDoc string

// Coverage is the type report.coverage.
var Coverage = check.Define[coverageCheck](check.Desc{
	Name:    "report.coverage",
	Summary: "the tests cover more than the given part of the code",
	Doc:     coverageDoc,
})

type coverageCheck struct {
	File    []string           `param:"file,short" doc:"patterns of the reports; several are merged by file and line"`
	On      string             `param:"on" doc:"host where the files are" default:""`
	Format  string             `param:"format" doc:"format; found out when left out" default:"" enum:"cobertura,lcov,go,coverage.py"`
	Metric  string             `param:"metric" doc:"what is counted" default:"line" enum:"line,branch"`
	Min     float64            `param:"min" doc:"percentage that must be exceeded (80 means more than 80%)"`
	Paths   map[string]float64 `param:"paths" doc:"percentages that parts of the code must exceed, by pattern of file names" default:""`
	MaxDrop *float64           `param:"max_drop" doc:"largest acceptable fall since the last finished run, in percentage points" default:""`
	MaxAge  time.Duration      `param:"max_age" doc:"longest acceptable age of every file" default:""`
	Commit  string             `param:"commit" doc:"commit that the reports must be of, from a file FILE.commit beside each" default:""`
}

// Validate holds the rules between the parameters.
func (p *coverageCheck) Validate() error {
	for pattern, least := range p.Paths {
		if !doublestar.ValidatePattern(pattern) {
			return fmt.Errorf("paths: %q is not a pattern", pattern)
		}
		if least < 0 || least >= 100 {
			return fmt.Errorf("paths: want a percentage from 0 to below 100, got %v", least)
		}
	}
	if p.Min < 0 || p.Min >= 100 {
		return errors.New("min: want a percentage from 0 to below 100; more than 100% is never covered")
	}
	if p.Min > 0 && p.Min < 1 {
		return fmt.Errorf("min: is a percentage: write %v for %v%%", p.Min*100, p.Min*100)
	}
	if p.MaxDrop != nil && *p.MaxDrop < 0 {
		return errors.New("max_drop: want 0 or more")
	}
	return nil
}

// Traits says what is read.
func (p *coverageCheck) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "reads the coverage reports " + strings.Join(p.File, ", "), Target: p.On,
	}
}

// Run reads the reports and judges what they count.
func (p *coverageCheck) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return check.Outcome{}, err
	}
	files, err := read(ctx, host, p.File)
	if err != nil {
		return check.Outcome{}, err
	}
	c, facts := newCoverage(), map[string]string{}
	var misses []string
	for _, f := range files {
		before := c.merged
		if err := c.add(p.Format, f.text); err != nil {
			return check.Outcome{}, fmt.Errorf("%s: %w", f.path, err)
		}
		if c.merged == before {
			return check.Outcome{}, fmt.Errorf("%s: it counts nothing", f.path)
		}
		if p.Commit != "" {
			commit, err := sidecar(ctx, host, f.path)
			if err != nil {
				return check.Outcome{}, err
			}
			if !sameCommit(commit, p.Commit) {
				misses = append(misses, fmt.Sprintf("%s is of commit %.40s, want %s", f.path, commit, p.Commit))
			}
		}
	}
	old, err := stale(files, p.MaxAge, env.Now())
	if err != nil {
		return check.Outcome{}, err
	}
	if old != "" {
		misses = append(misses, old)
	}
	digests(files, facts)
	return p.judge(ctx, env, c, facts, misses)
}

func (p *coverageCheck) judge(ctx context.Context, env *check.Env, c *coverage, facts map[string]string, misses []string) (check.Outcome, error) {
	of := c.lines
	if p.Metric == "branch" {
		of = c.branches
	}
	percent, err := p.percent(of, p.Metric, func(string) bool { return true }, facts)
	if err != nil {
		return check.Outcome{}, err
	}
	if other, counted := share(c.branches, func(string) bool { return true }); p.Metric == "line" && counted > 0 {
		facts["branch"] = fmt.Sprintf("%d of %d (%.2f%%)", other, counted, 100*float64(other)/float64(counted))
	}
	if percent <= p.Min {
		misses = append(misses, fmt.Sprintf("%s coverage is %.2f%%, want more than %v%%", p.Metric, percent, p.Min))
	}
	for _, pattern := range slices.Sorted(maps.Keys(p.Paths)) {
		part, err := p.percent(of, pattern, func(file string) bool { return doublestar.MatchUnvalidated(pattern, file) }, facts)
		if err != nil {
			return check.Outcome{}, err
		}
		if part <= p.Paths[pattern] {
			misses = append(misses, fmt.Sprintf("%s coverage of %s is %.2f%%, want more than %v%%", p.Metric, pattern, part, p.Paths[pattern]))
		}
	}
	since, miss, err := p.drop(ctx, env, percent)
	if err != nil {
		return check.Outcome{}, err
	}
	if miss != "" {
		misses = append(misses, miss)
	}
	o := check.Passf("%s coverage is %.2f%%, more than %v%%%s", p.Metric, percent, p.Min, since)
	if len(misses) > 0 {
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = facts
	text := strconv.FormatFloat(percent, 'f', 4, 64)
	o.Sets = map[string]string{p.fact(): text, p.own(env): text}
	return o, ctx.Err()
}

// percent gives what part is covered. Nothing counted is an error: a pattern that
// matches no file proves nothing.
func (p *coverageCheck) percent(of map[unit]cover, name string, match func(string) bool, facts map[string]string) (float64, error) {
	covered, counted := share(of, match)
	if counted == 0 {
		return 0, fmt.Errorf("the reports count nothing for %s", name)
	}
	percent := 100 * float64(covered) / float64(counted)
	facts[name] = fmt.Sprintf("%d of %d (%.2f%%)", covered, counted, percent)
	return percent, nil
}

// fact is the name under which runs remember the percentage.
func (p *coverageCheck) fact() string { return "coverage." + p.Metric }

// own is the name under which the percentage of this very item is remembered: a
// checklist may measure several parts of a system.
func (p *coverageCheck) own(env *check.Env) string { return p.fact() + "." + env.Run.Item }

// drop compares with the last finished run of this environment. Without one
// there is nothing to fall from, and the outcome says so.
func (p *coverageCheck) drop(ctx context.Context, env *check.Env, percent float64) (since, miss string, err error) {
	if p.MaxDrop == nil {
		return "", "", nil
	}
	past, err := env.Ledger.History(ctx, "", p.own(env), 1)
	if err != nil {
		return "", "", fmt.Errorf("read the last run's coverage: %w", err)
	}
	if len(past) == 0 {
		return "; no earlier run to compare with", "", nil
	}
	before, err := strconv.ParseFloat(past[0].Value, 64)
	if err != nil || !(before >= 0 && before <= 100) {
		return "", "", fmt.Errorf("the last run's coverage is %q, which is not a percentage", past[0].Value)
	}
	// The stored percentage is rounded to 4 places.
	if fall := before - percent; fall > *p.MaxDrop+0.0001 {
		return "", fmt.Sprintf("%s coverage fell by %.2f points since %s, want at most %v", p.Metric, fall, past[0].Release, *p.MaxDrop), nil
	}
	return fmt.Sprintf("; it was %.2f%% in %s", before, past[0].Release), "", nil
}
