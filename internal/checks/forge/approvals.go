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

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

//go:embed approvals.md
var approvalsDoc string

// Approvals is the type forge.approvals.
var Approvals = check.Define[approvals](check.Desc{
	Name:    "forge.approvals",
	Summary: "every commit of the release came by a merged request that enough people approve",
	Doc:     approvalsDoc,
})

// maxCommits bounds a range: each commit is at least one question.
const maxCommits = 1000

type approvals struct {
	project
	Base       string   `param:"base" doc:"where the range begins, itself not part of it: previous (release), or a commit, tag or branch" default:"previous"`
	Head       string   `param:"head" doc:"where it ends: release, or a commit, tag or branch" default:"release"`
	Min        int      `param:"min" doc:"approvals that each request needs" default:"1"`
	ByTeam     []string `param:"by_team" doc:"only approvals of members of these teams count: team or org/team on GitHub, the group's path on GitLab" default:""`
	By         []string `param:"by" doc:"only approvals of these people count, by their names at the provider" default:""`
	ForbidSelf bool     `param:"forbid_self" doc:"approvals of the request's author, and of authors of its commits, do not count" default:"true"`
	AfterPush  bool     `param:"after_last_push" doc:"approvals given before the last push to the request do not count" default:"true"`
	Paths      []string `param:"paths" doc:"only commits that touch a file of these patterns count (** crosses folders)" default:""`
	Into       []string `param:"into" doc:"branches into which the request must have been merged; any when left out" default:""`
}

// Validate holds the rules between the parameters.
func (p *approvals) Validate() error {
	if err := p.validate(); err != nil {
		return err
	}
	if p.Min < 1 {
		return errors.New("min: want at least 1")
	}
	for _, pattern := range p.Paths {
		if !doublestar.ValidatePattern(pattern) {
			return fmt.Errorf("paths: %q is not a pattern", pattern)
		}
	}
	for _, team := range p.ByTeam {
		if strings.Trim(team, "/") != team || team == "" || p.Provider == onGitHub && strings.Count(team, "/") > 1 {
			return fmt.Errorf("by_team: %.100q is no team", team)
		}
	}
	if err := validRev(p.Base); err != nil {
		return fmt.Errorf("base: %w", err)
	}
	if err := validRev(p.Head); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	return nil
}

// Traits names the repository.
func (p *approvals) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: fmt.Sprintf("looks up who approved the commits from %s to %s", p.Base, p.Head), Target: p.target(),
	}
}

// codeHost is what this type asks a provider.
type codeHost interface {
	resolver
	// between gives the commits that are in head and not in base, the whole list.
	between(ctx context.Context, base, head string) ([]commit, error)
	// files gives the files that a commit touches, and whether the list was cut.
	files(ctx context.Context, sha string) (names []string, cut bool, err error)
	// requests gives the merged requests that brought a commit.
	requests(ctx context.Context, sha string) ([]request, error)
	// reviews gives what reviewers said about a request, in the order of time; with
	// pushed, whether it was said about what was merged.
	reviews(ctx context.Context, r request, pushed bool) ([]review, error)
	// authors gives who wrote the commits of a request.
	authors(ctx context.Context, r request) ([]person, error)
	// members gives the members of a team.
	members(ctx context.Context, team string) ([]string, error)
}

// errBehind is the error of a range that leads back.
var errBehind = errors.New("head is behind base, so there is nothing new in between: are base and head the right way round?")

// commit is one commit of the range.
type commit struct{ sha, title string }

// person is somebody by the name of an account, or, where no account is known,
// by the name that stands in the commit.
type person struct{ login, name string }

// request is a merged pull or merge request.
type request struct {
	number            int
	mark              string // # or !
	url, author, into string
	head              string
}

func (r request) String() string { return r.mark + strconv.Itoa(r.number) }

// What a reviewer said.
const (
	approved  = "approved"
	objected  = "changes requested"
	dismissed = "dismissed"
)

// review is what one person said about a request.
type review struct {
	person
	state string
	// current tells that it is about what was merged; entitled that the person
	// belongs to the repository; bot that it is no person.
	current, entitled, bot bool
}

// Run looks up every commit.
func (p *approvals) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	var h codeHost
	var err error
	if p.Provider == onGitLab {
		h, err = p.gitlab(ctx, env)
	} else {
		h, err = p.github(ctx, env)
	}
	if err != nil {
		return check.Outcome{}, err
	}
	base, err := p.point(ctx, env, h, p.Base)
	if err != nil {
		return check.Outcome{}, err
	}
	head, err := p.point(ctx, env, h, p.Head)
	if err != nil {
		return check.Outcome{}, err
	}
	w := &tracing{approvals: p, codeHost: h, judged: map[int]judgement{}}
	if base.sha == head.sha {
		return w.none(base, head)
	}
	commits, err := h.between(ctx, base.sha, head.sha)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("from %s to %s: %w", base, head, err)
	}
	if err := w.entitle(ctx); err != nil {
		return check.Outcome{}, err
	}
	for _, c := range commits {
		if err := w.trace(ctx, c); err != nil {
			return check.Outcome{}, fmt.Errorf("commit %s: %w", short(c.sha), err)
		}
	}
	return w.outcome(env, base, head)
}

// none answers for a range that is proven to be empty: the provider knows both
// ends, and they are one commit.
func (w *tracing) none(base, head point) (check.Outcome, error) {
	o := check.Passf("no commits to review: %s and %s are the same commit, as %s knows it", base, head, w.service())
	o.Facts = map[string]string{"base": base.sha, "head": head.sha, "commits": "0"}
	return o, nil
}

// outcome says which commits are not covered, and keeps the whole list.
func (w *tracing) outcome(env *check.Env, base, head point) (check.Outcome, error) {
	var open, counted []string
	for _, t := range w.traces {
		if t.Counts {
			counted = append(counted, t.Commit)
		}
		if t.Counts && !t.Covered {
			open = append(open, fmt.Sprintf("%s (%s): %s", short(t.Commit), t.Title, t.Why))
		}
	}
	text, err := json.MarshalIndent(w.traces, "", "  ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the list of approvals: %w", err)
	}
	kept, err := env.Store("approvals.json", bytes.NewReader(append(text, '\n')))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the list of approvals: %w", err)
	}
	o := check.Outcome{Verdict: check.Pass, Artefacts: []check.Artefact{kept}, Facts: map[string]string{
		"base": base.sha, "head": head.sha, "commits": strconv.Itoa(len(w.traces)), "counted": strconv.Itoa(len(counted)),
		"requests": strconv.Itoa(len(w.judged)), "not_covered": strconv.Itoa(len(open)), "approvers": strings.Join(w.approvers(), ", "),
	}}
	span := fmt.Sprintf("%s from %s to %s", plural(len(w.traces), "commit"), base, head)
	switch {
	case len(open) > 0:
		o.Verdict = check.Fail
		o.Reason = fmt.Sprintf("%d of %s not covered: %s", len(open), plural(len(counted), "commit"), some(open, 5))
	case len(counted) == 0:
		o.Reason = fmt.Sprintf("the files of %s were read, and none touches %s", span, strings.Join(w.Paths, ", "))
	default:
		o.Reason = fmt.Sprintf("%s: %d to be reviewed, all covered by %s with at least %s each", span, len(counted), plural(len(w.judged), "merged request"), plural(w.Min, "approval"))
	}
	return o, nil
}

// approvers lists everybody whose approval counted.
func (w *tracing) approvers() []string {
	var names []string
	for _, j := range w.judged {
		for _, r := range j.Reviewers {
			if r.Counts && !slices.Contains(names, r.Login) {
				names = append(names, r.Login)
			}
		}
	}
	slices.Sort(names)
	return names
}
