// Package openapi holds the type that compares descriptions of an API.
package openapi

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed openapi.diff.md
var diffDoc string

// Diff is the type openapi.diff.
var Diff = check.Define[diff](check.Desc{
	Name:    "openapi.diff",
	Summary: "an API is as it is described, or breaks none of its clients",
	Doc:     diffDoc,
})

// maxDescription bounds a description, in bytes.
const maxDescription = 16 << 20

type diff struct {
	Old      string         `param:"old" doc:"the older description: a file, or REVISION:FILE in git, where previous:FILE is of what is live"`
	New      string         `param:"new" doc:"the newer description: a file or REVISION:FILE" default:""`
	Generate []check.Arg    `param:"generate" doc:"instead of new: a program that writes the description to standard output" default:""`
	On       string         `param:"on" doc:"host where generate runs" default:""`
	Expect   string         `param:"expect" doc:"identical; non-breaking; or versioned: not breaking, and every path has its version" default:"non-breaking" enum:"identical,non-breaking,versioned"`
	Ack      []ack          `param:"ack" doc:"breaking changes that are accepted until a day" default:""`
	Version  *regexp.Regexp `param:"version" doc:"with versioned, what a version in a path looks like; left out: a part such as /v1/" default:""`
}

// ack is a change that somebody has accepted.
type ack struct {
	Rule  string `param:"rule" doc:"the rule (request-property-removed), or * for any" default:"*"`
	At    string `param:"at" doc:"the operation (GET /v1/users/{id}), or its beginning and *"`
	Until string `param:"until" doc:"the last day (2026-12-31); afterwards it counts again"`
	Why   string `param:"why" doc:"the reason"`
}

func (a ack) fits(c change) bool {
	beginning, open := strings.CutSuffix(a.At, "*")
	return (a.Rule == "*" || a.Rule == c.Rule) && (a.At == c.At || open && strings.HasPrefix(c.At, beginning))
}

// Validate holds the rules between the parameters.
func (p *diff) Validate() error {
	if (p.New == "") == (len(p.Generate) == 0) {
		return errors.New("say new or generate, one of them")
	}
	if p.Old == p.New {
		return errors.New("old and new are the same")
	}
	for _, source := range []string{p.Old, p.New} {
		if strings.HasPrefix(source, "-") || strings.ContainsAny(source, "\r\n\x00") {
			return fmt.Errorf("%q is no file", source)
		}
	}
	if p.On != "" && len(p.Generate) == 0 {
		return errors.New("on goes with generate")
	}
	if p.Expect == "identical" && len(p.Ack) > 0 || p.Expect != "versioned" && p.Version != nil {
		return errors.New("ack goes with non-breaking and versioned, version with versioned")
	}
	for _, a := range p.Ack {
		if _, err := time.Parse(time.DateOnly, a.Until); err != nil {
			return fmt.Errorf("ack %s: until: want a day such as 2026-12-31, got %q", a.At, a.Until)
		}
		if strings.TrimSpace(a.Why) == "" || strings.TrimSpace(a.At) == "" || a.At == "*" && a.Rule == "*" {
			return errors.New("ack: say at, or a rule, and why")
		}
	}
	_, err := check.Args(p.Generate, false)
	return err
}

// Traits says what is compared.
func (p *diff) Traits() check.Traits {
	now := p.New
	if len(p.Generate) > 0 {
		now = "the output of " + p.Generate[0].Text
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "compares " + p.Old + " with " + now, Target: now}
}

// Run reads both descriptions and compares them.
func (p *diff) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	oldText, err := p.source(ctx, env, p.Old)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("old: %w", err)
	}
	newText, err := p.newest(ctx, env)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("new: %w", err)
	}
	old, err := read(oldText)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("old: %w", err)
	}
	now, err := read(newText)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("new: %w", err)
	}
	changes, err := breaking(old, now, env.Now())
	if err != nil {
		return check.Outcome{}, err
	}
	var o check.Outcome
	if p.Expect == "identical" {
		o = p.identical(old, now)
	} else {
		o = p.judge(old, now, changes, env.Now())
	}
	facts(&o, changes)
	o.Facts["old.sha256"], o.Facts["new.sha256"] = digest(oldText), digest(newText)
	o.Facts["old.operations"], o.Facts["new.operations"] = strconv.Itoa(len(old.operations)), strconv.Itoa(len(now.operations))
	text, err := json.MarshalIndent(append([]change{}, changes...), "", " ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the changes: %w", err)
	}
	artefact, err := env.Store("breaking.json", bytes.NewReader(text))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the changes: %w", err)
	}
	o.Artefacts = []check.Artefact{artefact}
	return o, ctx.Err()
}

// newest gives the newer description.
func (p *diff) newest(ctx context.Context, env *check.Env) ([]byte, error) {
	if len(p.Generate) == 0 {
		return p.source(ctx, env, p.New)
	}
	host, err := env.Host(p.On)
	if err != nil {
		return nil, err
	}
	argv, err := check.Args(p.Generate, false)
	if err != nil {
		return nil, err
	}
	return output(ctx, host, check.Command{Argv: argv, Limit: maxDescription, Stderr: env.Log})
}

// source reads a file of the checkout or of a revision.
func (p *diff) source(ctx context.Context, env *check.Env, source string) ([]byte, error) {
	host, err := env.Host("")
	if err != nil {
		return nil, err
	}
	revision, file, inGit := strings.Cut(source, ":")
	if !inGit {
		return host.ReadFile(ctx, source, maxDescription)
	}
	if revision == "previous" {
		if revision = env.Run.PreviousRev; revision == "" {
			return nil, &check.NotSupplied{What: "the revision that is live"}
		}
	}
	if revision == "" || file == "" || strings.HasPrefix(revision, "-") || strings.ContainsAny(revision, " ^~{") || strings.Contains(revision, "..") {
		return nil, fmt.Errorf("%.100q is no REVISION:FILE", source)
	}
	return output(ctx, host, check.Command{
		Argv: []string{"git", "-c", "core.fsmonitor=false", "cat-file", "blob", revision + ":./" + path.Clean(file)},
		Env:  []string{"LC_ALL=C", "GIT_NO_REPLACE_OBJECTS=1"}, Limit: maxDescription,
	})
}

// output runs a program that must end well and write something.
func output(ctx context.Context, host check.Host, command check.Command) ([]byte, error) {
	name := command.Argv[0]
	r, err := host.Exec(ctx, command)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case r.Code != 0 || r.Signal != "":
		return nil, fmt.Errorf("%s ended with code %d %s: %.300s", name, r.Code, r.Signal, bytes.TrimSpace(r.Stderr))
	case r.Truncated:
		return nil, fmt.Errorf("%s wrote more than %d MiB", name, maxDescription>>20)
	case len(bytes.TrimSpace(r.Stdout)) == 0:
		return nil, fmt.Errorf("%s wrote nothing", name)
	}
	return r.Stdout, nil
}

// identical compares the descriptions as a whole; order and form do not count.
func (p *diff) identical(old, now *api) check.Outcome {
	const most = 20
	list := differences(old.root, now.root, "", most+1)
	if len(list) == 0 {
		return check.Passf("both describe the same %d operations", len(now.operations))
	}
	more := ""
	if len(list) > most {
		list, more = list[:most], " and more"
	}
	return check.Failf("the descriptions differ: %s%s", strings.Join(list, ", "), more)
}

// judge counts the changes that nobody has accepted.
func (p *diff) judge(old, now *api, changes []change, today time.Time) check.Outcome {
	var open, expired []string
	for i := range changes {
		c := &changes[i]
		for _, a := range p.Ack {
			until, err := time.Parse(time.DateOnly, a.Until)
			switch {
			case err != nil || !a.fits(*c):
			case today.Before(until.AddDate(0, 0, 1)):
				c.Acked = a.Why + " (until " + a.Until + ")"
			default:
				expired = append(expired, fmt.Sprintf("what was accepted at %s until %s counts again", a.At, a.Until))
			}
		}
		if c.Acked == "" {
			open = append(open, fmt.Sprintf("%s: %s (%s)", c.At, c.What, c.Rule))
		}
	}
	acked := len(changes) - len(open)
	var misses []string
	if len(open) > 0 {
		shown := open[:min(len(open), 10)]
		misses = append(misses, fmt.Sprintf("%d breaking changes: %s", len(open), strings.Join(shown, "; ")))
		if len(open) > len(shown) {
			misses = append(misses, fmt.Sprintf("and %d more", len(open)-len(shown)))
		}
		slices.Sort(expired)
		misses = append(misses, slices.Compact(expired)...)
	}
	o := check.Passf("%d operations compared with %d before: no breaking change that is not accepted (%d are)", len(now.operations), len(old.operations), acked)
	carried := map[string]string{}
	if p.Expect == "versioned" {
		misses = append(misses, p.versioned(now, carried, today)...)
	}
	if len(misses) > 0 {
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = carried
	o.Facts["acked"] = strconv.Itoa(acked)
	return o
}

// versioned asks that every path has a version, and tells what each new version
// carries that would have broken the one before.
func (p *diff) versioned(now *api, carried map[string]string, today time.Time) (misses []string) {
	pattern := p.Version
	if pattern == nil {
		pattern = regexp.MustCompile(`/v\d+(?:/|$)`)
	}
	var without []string
	byVersion := map[string]*api{}
	for key, op := range now.operations {
		place := pattern.FindStringIndex(op.path)
		if place == nil {
			without = append(without, op.name)
			continue
		}
		version := strings.Trim(op.path[place[0]:place[1]], "/")
		if byVersion[version] == nil {
			byVersion[version] = &api{root: now.root, version: now.version, operations: map[string]*operation{}}
		}
		byVersion[version].operations[strings.Replace(key, version, "{version}", 1)] = op
	}
	if len(without) > 0 {
		slices.Sort(without)
		misses = append(misses, fmt.Sprintf("%d operations without a version in their path: %s", len(without), strings.Join(without[:min(len(without), 10)], ", ")))
	}
	var versions []string
	for version := range byVersion {
		versions = append(versions, version)
	}
	slices.SortFunc(versions, func(a, b string) int { return cmpNatural(a, b) })
	for i := 1; i < len(versions); i++ {
		between, err := breaking(byVersion[versions[i-1]], byVersion[versions[i]], today)
		if err != nil {
			carried["carried."+versions[i]] = err.Error()
			continue
		}
		carried["carried."+versions[i]] = fmt.Sprintf("%d changes against %s", len(between), versions[i-1])
	}
	carried["versions"] = strings.Join(versions, ", ")
	return misses
}

// cmpNatural orders v2 before v10.
func cmpNatural(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// facts notes the changes, and sets them for later items: what a migration guide
// must mention.
func facts(o *check.Outcome, changes []change) {
	const most = 4000 // what a run remembers of a fact
	var lines, paths []string
	for _, c := range changes {
		lines = append(lines, c.At+": "+c.What+" ("+c.Rule+")")
		if !slices.Contains(paths, c.Path) {
			paths = append(paths, c.Path)
		}
	}
	if o.Facts == nil {
		o.Facts = map[string]string{}
	}
	o.Facts["breaking"] = strconv.Itoa(len(changes))
	o.Sets = map[string]string{"openapi.breaking": strings.Join(lines, "\n"), "openapi.breaking_paths": strings.Join(paths, "\n")}
	for name, text := range o.Sets {
		if len(text) > most { // not a part of it, which a later item would take for all
			delete(o.Sets, name)
			o.Facts[name] = "too long to be set"
		}
	}
}
