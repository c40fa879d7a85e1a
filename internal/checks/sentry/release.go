package sentry

import (
	"context"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

//go:embed sentry.release.md
var releaseDoc string

// Release is the type sentry.release.
var Release = check.Define[release](check.Desc{
	Name: "sentry.release", Summary: "Sentry knows the release, and where it is live", Doc: releaseDoc,
})

type release struct {
	account
	Org     string   `param:"org" doc:"organization" default:"${env.sentry_org}"`
	Project []string `param:"project" doc:"slugs of the projects" default:"${env.sentry_project}"`
	Version string   `param:"version" doc:"the release, exactly as the application writes it into its events" default:"${release.version}"`
	Refs    []ref    `param:"refs" doc:"commits of the release, by repository" default:""`
	Deploy  string   `param:"deploy" doc:"environment in which it is live; empty for none" default:"${env.name}"`
	Link    string   `param:"link" doc:"address of a page about the release" default:""`
}

// ref names the last commit of a repository in a release.
type ref struct {
	Repository string `param:"repository" doc:"repository as it is connected to Sentry (owner/name)"`
	Commit     string `param:"commit" doc:"its last commit in this release" default:"${release.revision}"`
	Previous   string `param:"previous" doc:"its last commit in the release before; Sentry knows it from the second release on" default:""`
}

// Validate holds the rules between the parameters.
func (p *release) Validate() error {
	if err := checkURL(p.URL); err != nil {
		return err
	}
	if len(filled(p.Project)) == 0 {
		return errors.New("project: name at least one")
	}
	for _, name := range p.Project {
		if err := checkSlug("project", name); err != nil {
			return err
		}
	}
	// https://docs.sentry.io/product/releases/naming-releases/
	if v := p.Version; v == "" || len(v) > 200 || v == "." || v == ".." || strings.TrimSpace(v) != v || strings.ContainsAny(v, "\n\r\t/\\") {
		return errors.New("version: want up to 200 characters without slash, backslash, tab, line break and outer spaces")
	}
	if strings.ContainsAny(p.Deploy, "\n\r/") || len(p.Deploy) > 64 {
		return errors.New("deploy: want up to 64 characters without slash and line break")
	}
	return checkSlug("org", p.Org)
}

// Traits says that something is told to Sentry. It asks before it tells, so that
// a deploy is never told twice.
func (p *release) Traits() check.Traits {
	does := fmt.Sprintf("creates the release %s in Sentry", p.Version)
	if p.Deploy != "" {
		does += " and tells that it is live in " + p.Deploy
	}
	return check.Traits{
		Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Network,
		Does: does, Target: p.Org + "/" + strings.Join(p.Project, ","),
		Irreversible: "Sentry keeps what it was told of a deploy",
	}
}

// known is a release as Sentry shows it.
type known struct {
	Version      string   `json:"version"`
	DateReleased *string  `json:"dateReleased"`
	CommitCount  int      `json:"commitCount"`
	LastEvent    *string  `json:"lastEvent"`
	Projects     []member `json:"projects"`
}

// member is a project of a release, whose id is a number here.
type member struct {
	Slug string `json:"slug"`
}

// without lists the projects that the release is not in.
func (k known) without(slugs []string) []string {
	return slices.DeleteFunc(slices.Clone(slugs), func(slug string) bool {
		return slices.Contains(k.Projects, member{slug})
	})
}

// path is where a release is found.
func releasePath(org, version string) string {
	return "/api/0/organizations/" + org + "/releases/" + url.PathEscape(version) + "/"
}

// findRelease asks for a release. One that Sentry does not know is a *rest.Refused
// with 404. https://docs.sentry.io/api/releases/retrieve-an-organizations-release/
func findRelease(ctx context.Context, c *rest.Client, org, version string) (known, error) {
	r, err := rest.Get[known](ctx, c, releasePath(org, version), nil)
	if err == nil && r.Version != version {
		err = fmt.Errorf("Sentry answered the question for the release %s with another one (%q)", version, short(r.Version, 60))
	}
	return r, err
}

// deploy is one that Sentry was told of.
type deploy struct {
	ID           string  `json:"id"`
	Environment  string  `json:"environment"`
	Name         *string `json:"name"`
	DateFinished *string `json:"dateFinished"`
}

// name is how this item's deploy is known again.
func (p *release) name(env *check.Env) string {
	sum := sha256.Sum256([]byte(env.Key))
	return "allclear-" + hex.EncodeToString(sum[:8])
}

// told looks for this item's deploy among those of the release.
// https://docs.sentry.io/api/releases/list-a-releases-deploys/
func (p *release) told(ctx context.Context, env *check.Env, c *rest.Client) (found deploy, err error) {
	err = list(ctx, c, releasePath(p.Org, p.Version)+"deploys/", nil, func(page []deploy) (bool, error) {
		for _, d := range page {
			if d.ID == "" || d.Environment == "" {
				return false, errors.New("Sentry lists a deploy without id or environment")
			}
			if d.Environment == p.Deploy && d.Name != nil && *d.Name == p.name(env) {
				found = d
			}
		}
		return found.ID != "", nil
	})
	return found, err
}

// state is how far the work has come.
type state struct {
	release *known
	missing []string
	deploy  deploy
}

// look asks for the release and the deploy; it changes nothing.
func (p *release) look(ctx context.Context, env *check.Env, c *rest.Client) (state, error) {
	r, err := findRelease(ctx, c, p.Org, p.Version)
	if rest.IsStatus(err, http.StatusNotFound) {
		return state{missing: p.Project}, nil
	}
	if err != nil {
		return state{}, err
	}
	s := state{release: &r, missing: r.without(p.Project)}
	if p.Deploy != "" {
		s.deploy, err = p.told(ctx, env, c)
	}
	return s, err
}

// done tells whether nothing is left to do, and gives what was seen.
func (p *release) done(s state) (bool, check.Outcome) {
	if s.release == nil {
		return false, check.Failf("Sentry knows no release %s", p.Version)
	}
	o := check.Passf("Sentry knows the release %s in %s", p.Version, strings.Join(p.Project, ", "))
	if s.deploy.ID != "" {
		o.Reason += ", live in " + p.Deploy
		o = o.With("deploy", s.deploy.ID)
		if s.deploy.DateFinished != nil {
			o = o.With("finished", *s.deploy.DateFinished)
		}
	}
	o = o.With("release", p.Version).With("commits", strconv.Itoa(s.release.CommitCount)).With("last_event", "none yet")
	if s.release.LastEvent != nil {
		o = o.With("last_event", *s.release.LastEvent)
	}
	switch {
	case len(s.missing) > 0:
		o.Verdict, o.Reason = check.Fail, fmt.Sprintf("Sentry knows no release %s in %s", p.Version, strings.Join(s.missing, ", "))
	case s.release.DateReleased == nil:
		o.Verdict, o.Reason = check.Fail, fmt.Sprintf("Sentry does not know when the release %s went live", p.Version)
	case p.Deploy != "" && s.deploy.ID == "":
		o.Verdict, o.Reason = check.Fail, fmt.Sprintf("Sentry was not told that the release %s is live in %s", p.Version, p.Deploy)
	}
	return o.Verdict == check.Pass, o
}

// Probe asks how far the work has come. What the refs say cannot be read back;
// they go first, so that they have been told when the deploy has been.
func (p *release) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	c, err := p.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	s, err := p.look(ctx, env, c)
	if err != nil {
		return "", check.Outcome{}, err
	}
	done, o := p.done(s)
	switch {
	case done && (len(p.Refs) == 0 || p.Deploy != ""):
		return check.Done, o, nil
	case s.release == nil:
		return check.NotDone, o, nil
	}
	return check.Partly, o, nil
}

// Run tells what Sentry does not know yet, and then asks whether it knows it.
func (p *release) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	c, err := p.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	s, err := p.look(ctx, env, c)
	if err != nil {
		return check.Outcome{}, err
	}
	done, o := p.done(s)
	if done && s.deploy.ID != "" {
		return o, nil
	}
	if err := p.tell(ctx, env, c, s); err != nil {
		if refused, ok := err.(*rest.Refused); ok {
			return check.Failf("%v", refused), nil
		}
		return check.Outcome{}, err
	}
	if s, err = p.look(ctx, env, c); err != nil {
		return check.Outcome{}, err
	}
	if done, o = p.done(s); !done {
		return check.Outcome{}, fmt.Errorf("Sentry took everything, but %s", strings.Replace(o.Reason, "Sentry ", "it ", 1))
	}
	return o, nil
}

// Bodies of requests, with the fields that are used.
type (
	newRelease struct {
		Version      string   `json:"version"`
		Projects     []string `json:"projects"`
		Refs         []newRef `json:"refs,omitempty"`
		URL          string   `json:"url,omitempty"`
		DateReleased string   `json:"dateReleased"`
	}
	newRef struct {
		Repository     string `json:"repository"`
		Commit         string `json:"commit"`
		PreviousCommit string `json:"previousCommit,omitempty"`
	}
	liveRelease struct {
		DateReleased string `json:"dateReleased"`
	}
	newDeploy struct {
		Environment  string   `json:"environment"`
		Name         string   `json:"name"`
		URL          string   `json:"url,omitempty"`
		Projects     []string `json:"projects"`
		DateStarted  string   `json:"dateStarted"`
		DateFinished string   `json:"dateFinished"`
	}
	taken struct{}
)

// tell creates what is missing. Creating a release that is there adds projects
// and refs to it, but not the time when it went live.
//
//	https://docs.sentry.io/api/releases/create-a-new-release-for-an-organization/
//	https://docs.sentry.io/api/releases/update-an-organizations-release/
//	https://docs.sentry.io/api/releases/create-a-deploy/
func (p *release) tell(ctx context.Context, env *check.Env, c *rest.Client, s state) error {
	now := env.Now().UTC().Format(time.RFC3339)
	body := newRelease{Version: p.Version, Projects: p.Project, URL: p.Link, DateReleased: now}
	for _, r := range p.Refs {
		body.Refs = append(body.Refs, newRef{r.Repository, r.Commit, r.Previous})
	}
	if _, err := rest.Send[taken](ctx, c, http.MethodPost, "/api/0/organizations/"+p.Org+"/releases/", body); err != nil {
		return err
	}
	if s.release != nil && s.release.DateReleased == nil {
		if _, err := rest.Send[taken](ctx, c, http.MethodPut, releasePath(p.Org, p.Version), liveRelease{now}); err != nil {
			return err
		}
	}
	if p.Deploy == "" || s.deploy.ID != "" {
		return nil
	}
	_, err := rest.Send[taken](ctx, c, http.MethodPost, releasePath(p.Org, p.Version)+"deploys/", newDeploy{
		Environment: p.Deploy, Name: p.name(env), URL: p.Link, Projects: p.Project,
		DateStarted: env.Run.StartedAt.UTC().Format(time.RFC3339), DateFinished: now,
	})
	return err
}

// Examine asks for the projects; whether the token may create releases is told
// only by creating one.
func (p *release) Examine(ctx context.Context, env *check.Env) (string, error) {
	c, err := p.open(ctx, env)
	if err != nil {
		return "", err
	}
	for _, name := range p.Project {
		if _, err := findProject(ctx, c, p.Org, name); err != nil {
			return "", err
		}
	}
	return "the token sees " + strings.Join(p.Project, ", ") + " of " + p.Org, nil
}
