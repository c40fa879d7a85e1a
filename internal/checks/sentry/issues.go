package sentry

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
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

//go:embed sentry.issues.md
var issuesDoc string

// Issues is the type sentry.issues.
var Issues = check.Define[issues](check.Desc{
	Name: "sentry.issues", Summary: "Sentry knows of no more issues than are accepted", Doc: issuesDoc,
})

type issues struct {
	account
	Org         string       `param:"org" doc:"organization" default:"${env.sentry_org}"`
	Project     []string     `param:"project" doc:"projects, each by slug or id" default:"${env.sentry_project}"`
	Environment []string     `param:"environment" doc:"environments as Sentry knows them; empty for all" default:"${env.name}"`
	Release     string       `param:"release" doc:"only what happened in this release, which Sentry must know" default:""`
	Query       string       `param:"query" doc:"search in Sentry's language" default:"is:unresolved"`
	Level       []string     `param:"level" doc:"only these levels: fatal, error, warning, info, debug, sample" default:""`
	Since       check.Moment `param:"since" doc:"only issues seen since: a duration (15m), a time, or a fact (run.started_at); Sentry's own period when left out" default:""`
	New         bool         `param:"new" doc:"only issues that were first seen then" default:"false"`
	Max         int          `param:"max" doc:"how many issues are accepted" default:"0"`
}

// Validate holds the rules between the parameters.
func (p *issues) Validate() error {
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
	for _, level := range filled(p.Level) {
		if !slices.Contains([]string{"fatal", "error", "warning", "info", "debug", "sample"}, level) {
			return fmt.Errorf("level: want fatal, error, warning, info, debug or sample, got %q", level)
		}
	}
	switch {
	case p.New && p.Since.IsZero():
		return errors.New("new goes with since")
	case p.Max < 0:
		return errors.New("max: want a number from 0")
	case strings.ContainsAny(p.Release, "\"\\\n\r\t/"):
		return errors.New("release: Sentry has no release with a quote, a slash, a backslash or a line break in its name")
	}
	return checkSlug("org", p.Org)
}

// Traits says what is read.
func (p *issues) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "asks Sentry for issues: " + p.search(), Target: p.Org + "/" + strings.Join(p.Project, ","),
	}
}

// search is the query with what the other parameters add.
// https://docs.sentry.io/concepts/search/
func (p *issues) search() string {
	terms := filled([]string{strings.TrimSpace(p.Query)})
	if levels := filled(p.Level); len(levels) > 0 {
		terms = append(terms, "level:["+strings.Join(levels, ",")+"]")
	}
	if p.Release != "" {
		terms = append(terms, `release:"`+p.Release+`"`)
	}
	return strings.Join(terms, " ")
}

// issue is what is kept of an issue.
type issue struct {
	ID        string    `json:"id"`
	ShortID   string    `json:"shortId"`
	Title     string    `json:"title"`
	Level     string    `json:"level"`
	Count     string    `json:"count"`
	Permalink string    `json:"permalink"`
	FirstSeen time.Time `json:"firstSeen"`
	LastSeen  time.Time `json:"lastSeen"`
}

// Run asks, counts and judges. That the projects, the environment and the release
// are known is asked too: of what Sentry does not know it finds nothing, always.
func (p *issues) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	c, err := p.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	query := url.Values{"query": {p.search()}, "limit": {"100"}}
	var slugs []string
	for _, name := range p.Project {
		found, err := findProject(ctx, c, p.Org, name)
		if err != nil {
			return check.Outcome{}, err
		}
		query.Add("project", found.ID)
		slugs = append(slugs, found.Slug)
	}
	for _, name := range filled(p.Environment) {
		query.Add("environment", name)
	}
	if p.Release != "" {
		if err := p.knows(ctx, c, slugs); err != nil {
			return check.Outcome{}, err
		}
	}
	since := time.Time{}
	if !p.Since.IsZero() {
		if since, err = p.Since.In(env); err != nil {
			return check.Outcome{}, err
		}
		const form = "2006-01-02T15:04:05"
		query.Set("start", since.UTC().Format(form))
		query.Set("end", env.Now().UTC().Add(time.Second).Format(form))
	}
	found, all, err := p.find(ctx, c, query, since)
	if err != nil {
		return check.Outcome{}, err
	}
	return p.judge(ctx, env, found, all, since)
}

// knows asks whether a release exists in every project.
// https://docs.sentry.io/api/releases/retrieve-an-organizations-release/
func (p *issues) knows(ctx context.Context, c *rest.Client, slugs []string) error {
	r, err := findRelease(ctx, c, p.Org, p.Release)
	if rest.IsStatus(err, http.StatusNotFound) {
		return fmt.Errorf("Sentry knows no release %s, so that finding nothing in it would mean nothing: is it what the application writes?", p.Release)
	}
	if err != nil {
		return err
	}
	if missing := r.without(slugs); len(missing) > 0 {
		return fmt.Errorf("Sentry knows no release %s in %s, so that finding nothing in it would mean nothing", p.Release, strings.Join(missing, ", "))
	}
	return nil
}

// find reads the issues that count. It stops when there are more than enough for
// a verdict and for people to look at; all tells whether it read to the end.
// https://docs.sentry.io/api/events/list-an-organizations-issues/
func (p *issues) find(ctx context.Context, c *rest.Client, query url.Values, since time.Time) (found []issue, all bool, err error) {
	const enough = 200
	all = true
	err = list(ctx, c, "/api/0/organizations/"+p.Org+"/issues/", query, func(page []issue) (bool, error) {
		for _, i := range page {
			if i.ID == "" || i.FirstSeen.IsZero() {
				return false, errors.New("Sentry lists an issue without an id or without the time it was first seen")
			}
			// Times are compared to the second, which is how exactly they were asked for.
			if p.New && i.FirstSeen.Before(since.Truncate(time.Second)) {
				continue
			}
			found = append(found, i)
		}
		all = len(found) <= max(p.Max, enough)
		return !all, nil
	})
	return found, all, err
}

func (p *issues) judge(ctx context.Context, env *check.Env, found []issue, all bool, since time.Time) (check.Outcome, error) {
	what := "issues"
	if p.New {
		what = "new issues"
	}
	number := strconv.Itoa(len(found))
	if !all {
		number = "at least " + number
	}
	where := strings.Join(filled(p.Environment), ", ")
	if where == "" {
		where = "any environment"
	}
	if !since.IsZero() {
		where += " since " + since.UTC().Format(time.RFC3339)
	}
	o := check.Passf("%s %s in %s, at most %d accepted", number, what, where, p.Max)
	if len(found) > p.Max {
		worst := found[0]
		o = check.Failf("%s: %s (%s, %s events)", o.Reason, short(worst.Title, 120), short(worst.ShortID, 60), short(worst.Count, 20))
	}
	o.Facts = map[string]string{"issues": strconv.Itoa(len(found)), "query": p.search()}
	for i, one := range found[:min(len(found), 20)] {
		o = o.With(fmt.Sprintf("issue.%02d", i+1), short(fmt.Sprintf("%s %s %s %s", one.ShortID, one.Level, one.Title, one.Permalink), 300))
	}
	text, err := json.MarshalIndent(append([]issue{}, found...), "", " ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the issues: %w", err)
	}
	artefact, err := env.Store("issues.json", bytes.NewReader(text))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the issues: %w", err)
	}
	o.Artefacts = []check.Artefact{artefact}
	return o, ctx.Err()
}
