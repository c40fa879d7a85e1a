package report

import (
	"bytes"
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed junit.md
var junitDoc string

// JUnit is the type report.junit.
var JUnit = check.Define[junit](check.Desc{
	Name:    "report.junit",
	Summary: "the reports show that enough tests ran and none failed",
	Doc:     junitDoc,
})

type junit struct {
	Suites     map[string]string `param:"suites" doc:"pattern of the JUnit XML files of each suite (unit: reports/unit/*.xml)"`
	On         string            `param:"on" doc:"host where the files are" default:""`
	MinTests   int               `param:"min_tests" doc:"least number of tests that ran (not skipped) in each suite" default:"1"`
	MaxSkipped *int              `param:"max_skipped" doc:"largest acceptable number of skipped tests over all suites" default:""`
	MaxAge     time.Duration     `param:"max_age" doc:"longest acceptable age of every file" default:""`
	Commit     string            `param:"commit" doc:"commit that the reports must be of, from a property or a file FILE.commit" default:""`
	Properties map[string]string `param:"properties" doc:"properties that every suite must carry" default:""`
	Reruns     bool              `param:"reruns" doc:"a test that failed and passed when it ran again counts as passed" default:"false"`
}

// Validate holds the rules between the parameters.
func (p *junit) Validate() error {
	if len(p.Suites) == 0 {
		return errors.New("suites: name at least one")
	}
	if p.MinTests < 1 {
		return errors.New("min_tests: a suite in which nothing ran proves nothing; want at least 1")
	}
	return nil
}

// Traits says what is read.
func (p *junit) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "reads the test reports of " + strings.Join(slices.Sorted(maps.Keys(p.Suites)), ", "), Target: p.On,
	}
}

// commitProperties are the names under which tools keep the commit.
func commitProperties() []string {
	return []string{"commit", "revision", "sha", "git.commit", "git.sha", "git_commit", "commit.sha", "vcs.revision", "CI_COMMIT_SHA", "GITHUB_SHA"}
}

// Run reads and counts the reports.
func (p *junit) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return check.Outcome{}, err
	}
	facts := map[string]string{}
	var misses []string
	var all []file
	total := newTally()
	for _, name := range slices.Sorted(maps.Keys(p.Suites)) {
		files, err := read(ctx, host, []string{p.Suites[name]})
		if err != nil {
			return check.Outcome{}, fmt.Errorf("suite %s: %w", name, err)
		}
		all = append(all, files...)
		t, more, err := p.suite(ctx, host, name, files)
		if err != nil {
			return check.Outcome{}, fmt.Errorf("suite %s: %w", name, err)
		}
		misses = append(misses, more...)
		total.tests, total.skipped, total.reruns = total.tests+t.tests, total.skipped+t.skipped, total.reruns+t.reruns
		facts["suite."+name] = fmt.Sprintf("%d tests, %d failed, %d errors, %d skipped, %d reruns", t.tests, t.failed, t.errors, t.skipped, t.reruns)
		if len(t.names) > 0 {
			facts["failed."+name] = strings.Join(t.names, ", ")
		}
	}
	if p.MaxSkipped != nil && total.skipped > *p.MaxSkipped {
		misses = append(misses, fmt.Sprintf("%d tests were skipped, want at most %d", total.skipped, *p.MaxSkipped))
	}
	old, err := stale(all, p.MaxAge, env.Now())
	if err != nil {
		return check.Outcome{}, err
	}
	if old != "" {
		misses = append(misses, old)
	}
	digests(all, facts)
	facts["tests"], facts["skipped"], facts["reruns"] = strconv.Itoa(total.tests), strconv.Itoa(total.skipped), strconv.Itoa(total.reruns)
	o := check.Passf("%d tests in %d suites, %d skipped, none failed", total.tests, len(p.Suites), total.skipped)
	if len(misses) > 0 {
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = facts
	return o, ctx.Err()
}

// suite counts one suite's files and gives the rules that it breaks.
func (p *junit) suite(ctx context.Context, host check.Host, name string, files []file) (*tally, []string, error) {
	t := newTally()
	var misses []string
	if p.Reruns { // the last result is that of the report written last
		files = slices.Clone(files)
		slices.SortStableFunc(files, func(a, b file) int { return a.at.Compare(b.at) })
	}
	for _, f := range files {
		if len(bytes.TrimSpace(f.text)) == 0 {
			misses = append(misses, fmt.Sprintf("%s: %s is empty", name, f.path))
			continue
		}
		properties := t.properties
		t.properties = map[string][]string{}
		if err := t.read(f.text, p.Reruns); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.path, err)
		}
		miss, err := p.origin(ctx, host, f, t.properties)
		if err != nil {
			return nil, nil, err
		}
		if miss != "" {
			misses = append(misses, name+": "+miss)
		}
		for key, values := range properties {
			t.properties[key] = append(t.properties[key], values...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Properties)) {
		values := t.properties[key]
		if len(values) == 0 {
			return nil, nil, fmt.Errorf("no property %s", key)
		}
		if slices.ContainsFunc(values, func(v string) bool { return v != p.Properties[key] }) {
			misses = append(misses, fmt.Sprintf("%s: property %s is %s, want %s", name, key, strings.Join(values, " and "), p.Properties[key]))
		}
	}
	switch bad, ran := t.failed+t.errors, t.tests-t.skipped; {
	case bad > 0:
		misses = append(misses, fmt.Sprintf("%s: %d of %d tests failed: %s", name, bad, t.tests, first(t.names, bad)))
	case t.claimed > 0 && (!p.Reruns || t.claimed > t.reruns):
		misses = append(misses, fmt.Sprintf("%s: the report counts %d failures and errors but shows none", name, t.claimed))
	case ran < p.MinTests:
		misses = append(misses, fmt.Sprintf("%s: %d tests ran, want at least %d", name, ran, p.MinTests))
	case t.claimedTests > t.tests && t.reruns == 0:
		misses = append(misses, fmt.Sprintf("%s: the report counts %d tests but shows %d", name, t.claimedTests, t.tests))
	}
	return t, misses, nil
}

// origin checks that a file is of the commit that is wanted.
func (p *junit) origin(ctx context.Context, host check.Host, f file, properties map[string][]string) (string, error) {
	if p.Commit == "" {
		return "", nil
	}
	var commits []string
	for _, key := range commitProperties() {
		commits = append(commits, properties[key]...)
	}
	if len(commits) == 0 {
		commit, err := sidecar(ctx, host, f.path)
		if err != nil {
			return "", err
		}
		commits = []string{commit}
	}
	for _, commit := range commits {
		if !sameCommit(commit, p.Commit) {
			return fmt.Sprintf("%s is of commit %.40s, want %s", f.path, commit, p.Commit), nil
		}
	}
	return "", nil
}

// first gives a few names for a message, of n in all.
func first(names []string, n int) string {
	const most = 5
	shown := strings.Join(names[:min(len(names), most)], ", ")
	if n > most {
		shown += fmt.Sprintf(" and %d more", n-most)
	}
	return shown
}
