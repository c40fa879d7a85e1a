package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"time"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/plan"
	"allclear.dev/allclear/internal/run"
)

// bind makes the plan of a site.
func (s *site) bind(ctx context.Context, f planFlags) (*run.Plan, map[string]string, error) {
	if err := s.readChecklist(); err != nil {
		return nil, nil, err
	}
	release := config.Release{Version: f.release, Revision: f.revision}
	if release.Revision == "" {
		release.Revision = headOf(ctx, s.root)
	}
	previous, err := s.live(ctx)
	if err != nil {
		return nil, nil, err
	}
	if f.previous != "" {
		previous = run.Release{Version: f.previous}
	}
	given, err := parseFacts(f.set)
	if err != nil {
		return nil, nil, err
	}
	if err := s.noticesWork(); err != nil {
		return nil, nil, err
	}
	facts, why := s.facts(ctx, release, previous, given)
	p, problems := plan.Bind(plan.Input{
		Checklist: s.list, Types: catalog.ByName(), Roles: s.cfg.RoleNames(), Unfilled: s.cfg.UnfilledRoles(),
		Hosts: s.env.Addresses(), Groups: s.env.Groups,
		Vars:  config.Vars{Project: s.cfg.Project, Env: s.env, Release: release, Previous: config.Release(previous), Emails: s.cfg.Emails()},
		Facts: facts, Why: why,
		Plan: run.Plan{
			Project: s.cfg.Project, Environment: s.environment, Release: run.Release(release), Previous: previous,
			Checklist: digestOf(s.listText), Config: s.cfg.Digest, Policy: s.cfg.PolicyDigest,
			Rules: run.Rules{StarterRoles: s.cfg.Policy.StarterMaySign, Distinct: s.cfg.Policy.IsDistinct()},
		},
	})
	if p == nil {
		return nil, nil, problems
	}
	s.cautions = append(s.cautions, problems...)
	return p, given, nil
}

// facts are what when: may ask, and for those that were found out why they are as
// they are.
func (s *site) facts(ctx context.Context, release config.Release, previous run.Release, given map[string]string) (map[string]any, map[string]string) {
	changed, why := s.changed(ctx, release, previous)
	env := map[string]any{"name": s.environment, "url": s.env.URL}
	for name, value := range s.env.Vars {
		env[name] = value
	}
	facts := map[string]any{
		"env":      env,
		"release":  map[string]any{"version": release.Version, "revision": release.Revision},
		"previous": map[string]any{"version": previous.Version, "revision": previous.Revision},
		"project":  s.cfg.Project,
		"changed":  changed,
	}
	for name, value := range given {
		nest(facts, name, typed(value))
		why[name] = "given with --set"
	}
	return facts, why
}

// typed reads a fact given on the command line: true, false, a number, or text.
func typed(value string) any {
	var v any
	if err := json.Unmarshal([]byte(value), &v); err == nil {
		switch v.(type) {
		case bool, float64:
			return v
		}
	}
	return value
}

func parseFacts(set []string) (map[string]string, error) {
	facts := map[string]string{}
	for _, pair := range set {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fail(ExitUsage, "", "--set wants NAME=VALUE, got %q", pair)
		}
		facts[name] = value
	}
	return facts, nil
}

// live tells what is live now: the release of the newest run that ended well, or
// what adopt recorded.
func (s *site) live(ctx context.Context) (run.Release, error) {
	log, err := s.openEnvironment(ctx, s.environment)
	var none *check.NotSupplied
	if errors.As(err, &none) || errors.Is(err, fs.ErrNotExist) {
		return run.Release{}, nil // nothing has been recorded yet
	}
	if err != nil {
		return run.Release{}, openFailure(err)
	}
	defer log.Close()
	runs, err := log.Runs(ctx, journal.Page{Limit: 100})
	if err != nil {
		return run.Release{}, fail(ExitStorage, "allclear verify looks at the record", "%v", err)
	}
	for _, info := range runs {
		state, err := replay(ctx, log, info.Run)
		if err != nil {
			return run.Release{}, err
		}
		switch {
		case !state.Closed:
			continue
		case state.Result == run.RunDone:
			return state.Plan.Release, nil
		case state.Result == run.RunRolledBack:
			return state.Plan.Previous, nil
		}
	}
	return run.Release{}, nil
}

// headOf gives the checkout's commit, or nothing outside a repository.
func headOf(ctx context.Context, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "rev-parse", "--verify", "--quiet", "HEAD").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
