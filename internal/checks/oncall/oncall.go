// Package oncall holds the type that says who is on call over a window, and where
// nobody is.
package oncall

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

//go:embed oncall.md
var oncallDoc string

// OnCall is the type oncall.
var OnCall = check.Define[oncall](check.Desc{
	Name:    "oncall",
	Summary: "somebody is on call on every level, or for every role, over the whole window",
	Doc:     oncallDoc,
})

// maxWindow is the longest stretch that PagerDuty lists.
const maxWindow = 90 * 24 * time.Hour

// maxLevels bounds the levels that may be asked for; PagerDuty has no more rules
// in a policy.
const maxLevels = 20

type oncall struct {
	Provider  string            `param:"provider" doc:"whose API is asked" default:"pagerduty" enum:"pagerduty"`
	API       string            `param:"api" doc:"address of the API; https://api.eu.pagerduty.com for accounts in the EU" default:"https://api.pagerduty.com"`
	Token     secret.Ref        `param:"token" doc:"a REST API key; one that only reads is enough" default:"env:PAGERDUTY_TOKEN"`
	Policies  []string          `param:"policies" doc:"ids of escalation policies; each must have its levels" default:""`
	Schedules []string          `param:"schedules" doc:"ids of schedules; each must have somebody" default:""`
	Roles     map[string]string `param:"roles" doc:"id of a schedule by role; each role must have somebody" default:""`
	Window    check.Window      `param:"window" doc:"the time that is covered: a duration from now on, an interval, or the fact that holds one (plan.window)" default:"4h"`
	Levels    int               `param:"levels" doc:"escalation levels that must be covered, from the first on" default:"2"`
	NoGaps    bool              `param:"no_gaps" doc:"covered for the whole window; false looks only at its start" default:"true"`
	Distinct  bool              `param:"distinct" doc:"so many levels are so many people: one person on two levels counts once" default:"true"`
	Contacts  int               `param:"contacts" doc:"contact methods that everybody on call must have; 0 does not look" default:"1"`
	TestPage  secret.Ref        `param:"test_page" doc:"an integration (routing) key: once everything is covered, a page is triggered with it and resolved; nobody is paged when left out" default:""`
	Events    string            `param:"events_api" doc:"address of the Events API; https://events.eu.pagerduty.com for accounts in the EU" default:"https://events.pagerduty.com"`
	Severity  string            `param:"severity" doc:"severity of the test page" default:"critical" enum:"critical,error,warning,info"`
}

// Validate holds the rules between the parameters.
func (p *oncall) Validate() error {
	if len(p.Policies)+len(p.Schedules)+len(p.Roles) == 0 {
		return errors.New("policies, schedules, roles: name at least one of them")
	}
	name := regexp.MustCompile(`^[A-Za-z0-9]{1,40}$`)
	for _, ids := range [][]string{p.Policies, p.Schedules, slices.Sorted(maps.Values(p.Roles))} {
		for _, id := range ids {
			if !name.MatchString(id) {
				return fmt.Errorf("%.60q is no id: take it from the address of the schedule or policy (PI7DH85)", id)
			}
		}
	}
	switch {
	case p.Levels < 1 || p.Levels > maxLevels:
		return fmt.Errorf("levels: want 1 to %d", maxLevels)
	case p.Contacts < 0:
		return errors.New("contacts: must not be negative")
	}
	if err := rest.CheckBase(p.API); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	if err := rest.CheckBase(p.Events); err != nil {
		return fmt.Errorf("events_api: %w", err)
	}
	return nil
}

// Traits says whether somebody is paged.
func (p *oncall) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "looks up who is on call over " + p.Window.String(), Target: "PagerDuty",
	}
	if !p.TestPage.IsZero() {
		t.Kind, t.Class, t.Effect = check.Action, check.Keyed, check.Message
		t.Does += ", then sends a test page and resolves it"
		t.Irreversible = "whoever was paged was paged"
	}
	return t
}

// Run looks up who is on call and, where it is asked for, sends the test page.
func (p *oncall) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	o, err := p.covered(ctx, env)
	if err != nil || o.Verdict != check.Pass || p.TestPage.IsZero() {
		return o, err
	}
	return p.page(ctx, env, o)
}

// Examine looks up who is on call and whether the routing key is there; nobody is
// paged.
func (p *oncall) Examine(ctx context.Context, env *check.Env) (string, error) {
	if !p.TestPage.IsZero() {
		if _, err := p.routingKey(ctx, env); err != nil {
			return "", err
		}
	}
	o, err := p.covered(ctx, env)
	return o.Reason, err
}

// covered reads the on-calls and decides.
func (p *oncall) covered(ctx context.Context, env *check.Env) (check.Outcome, error) {
	var s shift
	var err error
	if s.start, s.end, err = p.Window.In(env); err != nil {
		return check.Outcome{}, err
	}
	switch length := s.end.Sub(s.start); {
	case length > maxWindow:
		return check.Outcome{}, fmt.Errorf("the window is %s long; PagerDuty lists at most 90 days", length)
	case !s.end.After(env.Now()):
		return check.Outcome{}, fmt.Errorf("the window ended at %s; who was on call then helps nobody", stamp(s.end))
	}
	c, err := p.client(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	entries, err := p.read(ctx, c, s)
	if err != nil {
		return check.Outcome{}, err
	}
	missing, err := p.judge(s, entries)
	if err != nil {
		return check.Outcome{}, err
	}
	o := check.Passf("%s covered from %s to %s: %s", p.subject(), stamp(s.start), stamp(s.end), people(entries))
	if !p.NoGaps {
		o = check.Passf("%s covered at %s: %s", p.subject(), stamp(s.start), people(at(entries, s.start)))
	}
	if len(missing) > 0 {
		o = check.Failf("%s", some(missing, 5))
	}
	return p.evidence(env, s, entries, o)
}

// subject names what is covered.
func (p *oncall) subject() string {
	var parts []string
	if len(p.Policies)+len(p.Schedules) > 0 {
		parts = append(parts, plural(p.Levels, "level"))
	}
	if len(p.Roles) > 0 {
		parts = append(parts, "the roles "+strings.Join(slices.Sorted(maps.Keys(p.Roles)), ", "))
	}
	if len(parts) == 1 && p.Levels == 1 && len(p.Roles) == 0 {
		return parts[0] + " is"
	}
	return strings.Join(parts, " and ") + " are"
}

// client makes the client of the REST API
// (https://developer.pagerduty.com/docs/authentication).
func (p *oncall) client(ctx context.Context, env *check.Env) (*rest.Client, error) {
	token, err := p.text(ctx, env, p.Token, "token")
	if err != nil {
		return nil, err
	}
	return rest.New(env, "PagerDuty", p.API, http.Header{
		"Authorization": {"Token token=" + token},
		"Accept":        {"application/vnd.pagerduty+json;version=2"},
	})
}

func (p *oncall) text(ctx context.Context, env *check.Env, ref secret.Ref, what string) (string, error) {
	value, err := env.Secret(ctx, ref)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(value.Reveal())
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return "", fmt.Errorf("the %s %s is not one line of text", what, ref)
	}
	return text, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// some joins the first n texts and counts the rest.
func some(texts []string, n int) string {
	if len(texts) > n {
		return fmt.Sprintf("%s; and %d more", strings.Join(texts[:n], "; "), len(texts)-n)
	}
	return strings.Join(texts, "; ")
}
