// Package tracker holds the type that asks issue trackers and help desks what is
// open, and creates an issue there: GitHub, GitLab, Jira, Zendesk and Linear.
package tracker

import (
	"cmp"
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

//go:embed tracker.issues.md
var issuesDoc string

// Issues is the type tracker.issues.
var Issues = check.Define[issues](check.Desc{
	Name: "tracker.issues", Summary: "the issues are as few, and as far, as they should be; or one is created", Doc: issuesDoc,
})

type issues struct {
	Provider string     `param:"provider" doc:"where the issues are" enum:"github,gitlab,jira,zendesk,linear"`
	URL      string     `param:"url" doc:"address of the API; the provider's public one when left out (Jira and Zendesk: the site's)" default:""`
	Token    secret.Ref `param:"token" doc:"token; GITHUB_TOKEN, GITLAB_TOKEN, JIRA_API_TOKEN, ZENDESK_API_TOKEN or LINEAR_API_KEY when left out" default:""`
	User     string     `param:"user" doc:"e-mail address that the token belongs to (Jira, Zendesk); without it the token is an OAuth one" default:""`
	Project  string     `param:"project" doc:"owner/name (GitHub), path or id (GitLab), key (Jira), team's key (Linear)" default:""`
	Do       string     `param:"do" doc:"look for issues, or create one" default:"find" enum:"find,create"`

	Query     string       `param:"query" doc:"search in the provider's own language" default:""`
	Since     check.Moment `param:"since" doc:"only issues created since: a duration, a time, or a fact (run.started_at)" default:""`
	Max       *int         `param:"max" doc:"how many issues there may be" default:""`
	Min       int          `param:"min" doc:"how many there must be" default:"0"`
	Untriaged *int         `param:"untriaged" doc:"how many of them may have nobody who takes care" default:""`
	Each      []condition  `param:"each" doc:"what each must have: assignee, due, milestone, labels, priority, closed, or several with \"or\"" default:""`
	LinkedTo  string       `param:"linked_to" doc:"issue that each must be linked to" default:""`
	Also      string       `param:"also" doc:"count incidents since then too" default:"" enum:"pagerduty"`
	AlsoURL   string       `param:"also_url" doc:"address of the API for also" default:"https://api.pagerduty.com"`
	AlsoToken secret.Ref   `param:"also_token" doc:"token for also; PAGERDUTY_TOKEN when left out" default:""`

	Title    string   `param:"title" doc:"title of the issue that is created" default:""`
	Body     string   `param:"body" doc:"its text" default:""`
	Template string   `param:"template" doc:"file of the checkout with its text, instead of body" default:""`
	Labels   []string `param:"labels" doc:"its labels" default:""`
	Assignee string   `param:"assignee" doc:"who takes care: user name (GitHub, GitLab), account id (Jira), e-mail address (Zendesk, Linear)" default:""`
	Type     string   `param:"issue_type" doc:"type of issue in Jira" default:"Task"`
	Fact     string   `param:"fact" doc:"fact that holds the new issue's id for later items, such as tracker.rca" default:""`
}

// Validate holds the rules between the parameters.
func (p *issues) Validate() error {
	if p.URL == "" && publicURL(p.Provider) == "" {
		return fmt.Errorf("url: say the address of your %s", p.Provider)
	}
	if err := rest.CheckBase(p.base()); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	for _, path := range []string{"/graphql", "/api/v4", "/rest/api/3", "/api/v2"} {
		if p.Provider != "github" && strings.HasSuffix(strings.TrimRight(p.URL, "/"), path) {
			return fmt.Errorf("url: leave out %s at its end", path)
		}
	}
	if err := p.checkProject(); err != nil {
		return err
	}
	if p.Do == "create" {
		return p.checkCreate()
	}
	return p.checkFind()
}

func (p *issues) checkProject() error {
	ok := false
	switch p.Provider {
	case "github":
		owner, name, cut := strings.Cut(p.Project, "/")
		ok = cut && plain(owner) && plain(name)
	case "gitlab":
		ok = p.Project != "" && !slices.ContainsFunc(strings.Split(p.Project, "/"), func(s string) bool { return !plain(s) })
	case "zendesk":
		if p.Project != "" {
			return errors.New("project: Zendesk has none; narrow the query")
		}
		return nil
	default:
		ok = plain(p.Project) && !strings.ContainsAny(p.Project, ".")
	}
	if !ok {
		return fmt.Errorf("project: want it as %s writes it in addresses, got %q", p.Provider, p.Project)
	}
	return nil
}

// plain tells whether a text can stand in an address and in a query as one name.
func plain(s string) bool {
	return s != "" && len(s) <= 100 && s[0] != '-' && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

func (p *issues) checkFind() error {
	switch {
	case p.Title+p.Body+p.Template+p.Assignee+p.Fact != "" || len(p.Labels) > 0:
		return errors.New("title, body, template, labels, assignee and fact go with do: create")
	case p.Max == nil && p.Min == 0 && p.Untriaged == nil && len(p.Each) == 0 && p.LinkedTo == "":
		return errors.New("say what should be: max, min, untriaged, each or linked_to")
	case p.Max != nil && *p.Max < 0 || p.Min < 0 || p.Untriaged != nil && *p.Untriaged < 0:
		return errors.New("max, min and untriaged: want a number from 0")
	case p.Max != nil && *p.Max < p.Min:
		return errors.New("max is less than min")
	case (len(p.Each) > 0 || p.LinkedTo != "") && p.Min == 0 && p.Max == nil:
		return errors.New("min: say how many there must be; of no issues everything is true")
	case p.Also == "" && !p.AlsoToken.IsZero():
		return errors.New("also_token goes with also")
	case p.Also != "" && (p.Since.IsZero() || p.Max == nil):
		return errors.New("also goes with since and max")
	case p.Provider != "gitlab" && strings.TrimSpace(p.Query) == "" && p.Since.IsZero():
		return errors.New("query: say what to look for")
	}
	if p.LinkedTo != "" && !plain(strings.TrimPrefix(p.LinkedTo, "#")) {
		return fmt.Errorf("linked_to: want an issue's number or key, got %q", p.LinkedTo)
	}
	if p.Also != "" {
		if err := rest.CheckBase(p.AlsoURL); err != nil {
			return fmt.Errorf("also_url: %w", err)
		}
	}
	return checkQuery(p.Provider, p.Query)
}

func (p *issues) checkCreate() error {
	switch {
	case p.Query+p.LinkedTo+p.Also != "" || !p.Since.IsZero() || p.Max != nil || p.Min != 0 || p.Untriaged != nil || len(p.Each) > 0:
		return errors.New("query, since, max, min, untriaged, each, linked_to and also go with do: find")
	case strings.TrimSpace(p.Title) == "" || len(p.Title) > 200 || strings.ContainsAny(p.Title, "\r\n"):
		return errors.New("title: want one line of up to 200 characters")
	case (p.Body == "") == (p.Template == ""):
		return errors.New("give body or template, one of them")
	case len(p.Body) > maxText:
		return fmt.Errorf("body: longer than %d bytes", maxText)
	case p.Fact != "" && !strings.Contains(p.Fact, "."):
		return errors.New("fact: want a name with a dot, such as tracker.rca")
	}
	for _, label := range p.Labels {
		if strings.TrimSpace(label) == "" || strings.ContainsAny(label, ",\r\n") || p.Provider == "jira" && strings.Contains(label, " ") {
			return fmt.Errorf("labels: %q is none", label)
		}
	}
	return nil
}

// Traits tells looking from creating.
func (p *issues) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: strings.TrimSpace("looks for issues in " + p.name() + ": " + p.Query), Target: cmp.Or(p.Project, p.base()),
	}
	if p.Do == "create" {
		t.Kind, t.Class, t.Effect = check.Action, check.Probed, check.Changes
		t.Does = fmt.Sprintf("creates an issue in %s: %s", p.name(), p.Title)
		t.Undo = "closes the issue"
	}
	return t
}

// name is what people call the provider.
func (p *issues) name() string {
	return map[string]string{"github": "GitHub", "gitlab": "GitLab", "jira": "Jira", "zendesk": "Zendesk", "linear": "Linear"}[p.Provider]
}

// publicURL is the address that everybody uses; a site of one's own has none.
func publicURL(provider string) string {
	return map[string]string{"github": "https://api.github.com", "gitlab": "https://gitlab.com", "linear": "https://api.linear.app"}[provider]
}

func (p *issues) base() string { return cmp.Or(p.URL, publicURL(p.Provider)) }

// tokenRef is where the token is, by the provider's own habit if nothing is said.
func (p *issues) tokenRef() secret.Ref {
	if !p.Token.IsZero() {
		return p.Token
	}
	names := map[string]string{"github": "GITHUB_TOKEN", "gitlab": "GITLAB_TOKEN", "jira": "JIRA_API_TOKEN", "zendesk": "ZENDESK_API_TOKEN", "linear": "LINEAR_API_KEY"}
	return secret.Ref{Scheme: "env", Name: names[p.Provider]}
}

// open makes a client and the tracker that speaks through it.
func (p *issues) open(ctx context.Context, env *check.Env) (tracker, error) {
	value, err := env.Secret(ctx, p.tokenRef())
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(value.Reveal())
	c, err := rest.New(env, p.name(), p.base(), p.header(token))
	if err != nil {
		return nil, err
	}
	switch p.Provider {
	case "github":
		return &github{c, p.Project}, nil
	case "gitlab":
		return &gitlab{c, p.Project}, nil
	case "jira":
		return &jira{c, p.Project, p.Type, env}, nil
	case "zendesk":
		return &zendesk{c}, nil
	}
	return &linear{c, p.Project}, nil
}

// Run looks or creates.
func (p *issues) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	t, err := p.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	if p.Do == "create" {
		return p.create(ctx, env, t)
	}
	return p.find(ctx, env, t)
}
