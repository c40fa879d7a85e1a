package forge

import (
	"bytes"
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

//go:embed checks.md
var checksDoc string

// Checks is the type forge.checks.
var Checks = check.Define[checks](check.Desc{
	Name:    "forge.checks",
	Summary: "continuous integration has run on this very commit, and what is required succeeded",
	Doc:     checksDoc,
})

// soon is when asking again makes sense while something is still running.
const soon = 30 * time.Second

type checks struct {
	project
	Ref          string   `param:"ref" doc:"what is asked about: release, previous, or a commit, tag or branch" default:"release"`
	Require      []string `param:"require" doc:"names that must be there and have succeeded (* stands for any text); everything that is there when left out" default:""`
	AllowNeutral bool     `param:"allow_neutral" doc:"what ended as neutral or skipped, or waits to be started by hand, is accepted" default:"false"`
	App          string   `param:"app" doc:"only check runs of this GitHub App count (github-actions)" default:""`
}

// Validate holds the rules between the parameters.
func (p *checks) Validate() error {
	if err := p.validate(); err != nil {
		return err
	}
	if p.App != "" && p.Provider != onGitHub {
		return errors.New("app: only GitHub has apps")
	}
	if slices.ContainsFunc(p.Require, func(name string) bool { return strings.Trim(name, " *") == "" }) {
		return errors.New("require: a name of nothing or of * alone requires nothing")
	}
	if err := validRev(p.Ref); err != nil {
		return fmt.Errorf("ref: %w", err)
	}
	return nil
}

// Traits names the repository.
func (p *checks) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "looks up what continuous integration said about " + p.Ref, Target: p.target(),
	}
}

// state is how a run stands.
type state string

const (
	succeeded state = "succeeded"
	failed    state = "failed"
	// neutral tested nothing: neutral, skipped, or never started by anybody.
	neutral state = "neutral"
	running state = "running"
	// lost has ended without a result.
	lost state = "lost"
)

// job is one check run, status, job or pipeline.
type job struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	State state  `json:"state"`
	// Said is the provider's own word.
	Said string `json:"said"`
	URL  string `json:"url,omitempty"`
	// MayFail tells that the pipeline does not mind its failure.
	MayFail bool `json:"may_fail,omitempty"`
}

func (j job) String() string { return fmt.Sprintf("%s (%s)", line(j.Name, 80), j.Said) }

// Run reads everything that is said about the commit.
func (p *checks) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	var of point
	var jobs []job
	var err error
	if p.Provider == onGitLab {
		var g *gitlab
		if g, err = p.gitlab(ctx, env); err == nil {
			if of, err = p.point(ctx, env, g, p.Ref); err == nil {
				jobs, err = g.jobs(ctx, of.sha)
			}
		}
	} else {
		var g *github
		if g, err = p.github(ctx, env); err == nil {
			if of, err = p.point(ctx, env, g, p.Ref); err == nil {
				jobs, err = g.jobs(ctx, of.sha, p.App)
			}
		}
	}
	if err != nil {
		return check.Outcome{}, err
	}
	return p.judge(env, of, jobs)
}

// judge decides. What failed is certain; what is missing, runs or tested nothing
// is not known.
func (p *checks) judge(env *check.Env, of point, jobs []job) (check.Outcome, error) {
	if len(jobs) == 0 {
		return check.Outcome{}, fmt.Errorf("nothing was run on %s: %s knows no check, job or status of it", of, p.service())
	}
	counted, missing := p.counted(jobs)
	by := map[state][]string{}
	var warned []string
	for _, j := range counted {
		if j.MayFail && len(p.Require) == 0 && j.State != succeeded {
			warned = append(warned, j.String())
			continue
		}
		by[j.State] = append(by[j.State], j.String())
	}
	o, err := p.evidence(env, of, jobs, by, warned)
	if err != nil {
		return o, err
	}
	switch {
	case len(by[failed]) > 0:
		o.Verdict, o.Reason = check.Fail, fmt.Sprintf("%d of %d failed on %s: %s", len(by[failed]), len(counted), of, some(by[failed], 5))
		return o, nil
	case len(by[running]) > 0:
		return o, &check.RetryLater{After: soon, Err: fmt.Errorf("still running on %s: %s", of, some(by[running], 5))}
	case len(missing) > 0:
		return o, p.absent(of, missing, jobs)
	case len(by[lost]) > 0:
		return o, fmt.Errorf("ended on %s without a result: %s; run it again", of, some(by[lost], 5))
	case len(by[neutral]) > 0 && !p.AllowNeutral:
		return o, fmt.Errorf("tested nothing on %s: %s (allow_neutral: true accepts that)", of, some(by[neutral], 5))
	case len(by[succeeded]) == 0:
		return o, fmt.Errorf("nothing succeeded on %s: %s", of, some(append(by[neutral], warned...), 5))
	}
	o.Reason = fmt.Sprintf("%s succeeded on %s", plural(len(by[succeeded]), "check"), of)
	if n := len(by[neutral]); n > 0 {
		o.Reason += fmt.Sprintf(", %d tested nothing", n)
	}
	if len(warned) > 0 {
		o.Reason += "; not succeeded, but allowed to fail: " + some(warned, 5)
	}
	return o, nil
}

// counted gives what is decided upon, and the required names that nothing has.
func (p *checks) counted(jobs []job) (counted []job, missing []string) {
	if len(p.Require) == 0 {
		return jobs, nil
	}
	for _, pattern := range p.Require {
		if !slices.ContainsFunc(jobs, func(j job) bool { return j.fits(pattern) }) {
			missing = append(missing, pattern)
		}
	}
	for _, j := range jobs {
		if slices.ContainsFunc(p.Require, j.fits) {
			counted = append(counted, j)
		}
	}
	return counted, missing
}

// fits compares the name with a pattern in which * stands for any text. A whole
// pipeline is not required by name.
func (j job) fits(pattern string) bool {
	if j.Kind == kindPipeline {
		return false
	}
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return j.Name == pattern
	}
	rest, ok := strings.CutPrefix(j.Name, parts[0])
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		if !ok {
			return false
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	return ok && strings.HasSuffix(rest, last)
}

// absent is the error of required names that are not there. While others still
// run, they may yet come.
func (p *checks) absent(of point, missing []string, jobs []job) error {
	var there []string
	unfinished := false
	for _, j := range jobs {
		unfinished = unfinished || j.State == running
		if name := line(j.Name, 80); !slices.Contains(there, name) {
			there = append(there, name)
		}
	}
	err := fmt.Errorf("not there on %s: %s (there are: %s)", of, strings.Join(missing, ", "), some(there, 10))
	if unfinished {
		return &check.RetryLater{After: soon, Err: err}
	}
	return err
}

// evidence keeps everything that is there.
func (p *checks) evidence(env *check.Env, of point, jobs []job, by map[state][]string, warned []string) (check.Outcome, error) {
	text, err := json.MarshalIndent(jobs, "", "  ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the list of checks: %w", err)
	}
	kept, err := env.Store("checks.json", bytes.NewReader(append(text, '\n')))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the list of checks: %w", err)
	}
	o := check.Outcome{Verdict: check.Pass, Artefacts: []check.Artefact{kept}, Facts: map[string]string{
		"commit": of.sha, "there": strconv.Itoa(len(jobs)), "may_fail": some(warned, 20),
	}}
	for _, s := range []state{succeeded, failed, neutral, running, lost} {
		o.Facts[string(s)] = strconv.Itoa(len(by[s]))
	}
	return o, nil
}
