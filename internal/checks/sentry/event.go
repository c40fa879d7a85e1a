package sentry

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

//go:embed sentry.event.md
var eventDoc string

// Event is the type sentry.event.
var Event = check.Define[event](check.Desc{
	Name: "sentry.event", Summary: "Sentry has taken a test event, and shows it", Doc: eventDoc,
})

type event struct {
	URL         string     `param:"url" doc:"address of Sentry, without /api/0, for roundtrip; a server of one's own too" default:"https://sentry.io"`
	Token       secret.Ref `param:"token" doc:"auth token for the API, for roundtrip; SENTRY_AUTH_TOKEN when left out" default:""`
	DSN         secret.Ref `param:"dsn" doc:"the DSN that the application uses" default:"env:SENTRY_DSN"`
	Mode        string     `param:"mode" doc:"accept: the event was taken; roundtrip: it can be read back" default:"accept" enum:"accept,roundtrip"`
	Org         string     `param:"org" doc:"organization, for roundtrip" default:""`
	Project     string     `param:"project" doc:"project that the DSN must lead to, for roundtrip" default:""`
	Environment string     `param:"environment" doc:"environment written into the event" default:""`
	Release     string     `param:"release" doc:"release written into the event, exactly as the application writes it" default:""`
	AlertRules  int        `param:"alert_rules" doc:"least number of active issue alert rules of the project, for roundtrip" default:"0"`
}

// Validate holds the rules between the parameters.
func (p *event) Validate() error {
	if err := checkURL(p.URL); err != nil {
		return err
	}
	if p.Mode == "accept" {
		if p.Org != "" || p.Project != "" || p.AlertRules != 0 || !p.Token.IsZero() {
			return errors.New("org, project, token and alert_rules go with mode: roundtrip")
		}
		return nil
	}
	if p.AlertRules < 0 {
		return errors.New("alert_rules: want a number from 0")
	}
	return errors.Join(checkSlug("org", p.Org), checkSlug("project", p.Project))
}

// Traits says that a message is sent. It may be sent again: each one is an event
// of its own at the lowest level.
func (p *event) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Check, Class: check.Idempotent, Effect: check.Message, Pool: check.Network,
		Does: "sends a test event to Sentry", Target: p.DSN.String(),
	}
	if p.Mode == "roundtrip" {
		t.Does, t.Target = t.Does+" and looks for it", p.Org+"/"+p.Project
	}
	return t
}

// open makes a client of the API. Only a round trip has a token, so that taking
// an event asks for none.
func (p *event) open(ctx context.Context, env *check.Env) (*rest.Client, error) {
	a := account{URL: p.URL, Token: p.Token}
	if a.Token.IsZero() {
		a.Token = secret.Ref{Scheme: "env", Name: "SENTRY_AUTH_TOKEN"}
	}
	return a.open(ctx, env)
}

// Run sends the event and, in a round trip, waits until it can be read.
func (p *event) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	d, miss, err := p.dsnOf(ctx, env)
	if err != nil || miss != "" {
		return check.Failf("%s", miss), err
	}
	o := check.Passf("Sentry took the event").With("dsn", d.masked())
	var c *rest.Client
	if p.Mode == "roundtrip" {
		if c, err = p.open(ctx, env); err != nil {
			return check.Outcome{}, err
		}
		if o, err = p.belongs(ctx, c, d, o); err != nil || o.Verdict == check.Fail {
			return o, err
		}
	}
	id, sent := eventID(env), env.Now()
	if o, err = p.send(ctx, env, d, id, o); err != nil || o.Verdict == check.Fail || c == nil {
		return o, err
	}
	return p.await(ctx, env, c, id, sent, o)
}

// belongs compares the DSN's project with the one named, and counts its rules.
func (p *event) belongs(ctx context.Context, c *rest.Client, d dsn, o check.Outcome) (check.Outcome, error) {
	found, err := findProject(ctx, c, p.Org, p.Project)
	if err != nil {
		return check.Outcome{}, err
	}
	if found.ID != d.project {
		return check.Failf("the DSN leads to project %s, but %s/%s is %s", d.project, p.Org, p.Project, found.ID).With("dsn", d.masked()), nil
	}
	if p.AlertRules == 0 {
		return o, nil
	}
	names, err := alertRules(ctx, c, p.Org, found.Slug)
	if err != nil {
		return check.Outcome{}, err
	}
	o = o.With("alert_rules", short(strings.Join(names, ", "), 500))
	if len(names) < p.AlertRules {
		miss := check.Failf("%s/%s has %d active alert rules, want at least %d", p.Org, p.Project, len(names), p.AlertRules)
		miss.Facts = o.Facts
		return miss, nil
	}
	return o, nil
}

// alertRules names the active issue alert rules of a project.
// https://docs.sentry.io/api/alerts/list-a-projects-issue-alert-rules/
func alertRules(ctx context.Context, c *rest.Client, org, project string) ([]string, error) {
	type rule struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Status string `json:"status"`
	}
	var names []string
	err := list(ctx, c, "/api/0/projects/"+org+"/"+project+"/rules/", nil, func(page []rule) (bool, error) {
		for _, r := range page {
			if r.ID == "" {
				return false, errors.New("Sentry lists an alert rule without an id")
			}
			if r.Status == "" || r.Status == "active" {
				names = append(names, r.Name)
			}
		}
		return false, nil
	})
	return names, err
}

// eventID makes the id of this event: another one at each attempt, because Sentry
// drops an id that it has seen, and finding an earlier event would prove nothing.
func eventID(env *check.Env) string {
	sum := sha256.Sum256([]byte(env.Key + "\n" + strconv.FormatInt(env.Now().UnixNano(), 10)))
	return hex.EncodeToString(sum[:16])
}

// content is an event as Sentry takes it.
// https://develop.sentry.dev/sdk/foundations/transport/event-payloads/
type content struct {
	EventID     string            `json:"event_id"`
	Timestamp   string            `json:"timestamp"`
	Platform    string            `json:"platform"`
	Level       string            `json:"level"`
	Logger      string            `json:"logger"`
	Logentry    logentry          `json:"logentry"`
	Fingerprint []string          `json:"fingerprint"`
	Tags        map[string]string `json:"tags"`
	Environment string            `json:"environment,omitempty"`
	Release     string            `json:"release,omitempty"`
}

type logentry struct {
	Formatted string `json:"formatted"`
}

// envelope writes the event in the form that the server takes: three lines of
// JSON. https://develop.sentry.dev/sdk/foundations/transport/envelopes/
func (p *event) envelope(env *check.Env, id string) ([]byte, error) {
	at := env.Now().UTC().Format(time.RFC3339)
	body, err := json.Marshal(content{
		EventID: id, Timestamp: at, Platform: "other", Level: "debug", Logger: "allclear",
		Logentry:    logentry{"Test event of the deployment checklist. Nothing to do."},
		Fingerprint: []string{"allclear"},
		Tags:        map[string]string{"allclear": "true", "allclear.run": env.Run.ID},
		Environment: p.Environment, Release: p.Release,
	})
	if err != nil {
		return nil, fmt.Errorf("write event: %w", err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `{"event_id":%q,"sent_at":%q}`+"\n", id, at)
	fmt.Fprintf(&out, `{"type":"event","length":%d,"content_type":"application/json"}`+"\n", len(body))
	out.Write(append(body, '\n'))
	return out.Bytes(), nil
}

// send posts the event. A refusal by Sentry itself, which has a detail, is the
// answer that the application gets too. A limit is not known to be for good.
func (p *event) send(ctx context.Context, env *check.Env, d dsn, id string, o check.Outcome) (check.Outcome, error) {
	c, err := d.ingest(env)
	if err != nil {
		return check.Outcome{}, err
	}
	text, err := p.envelope(env, id)
	if err != nil {
		return check.Outcome{}, err
	}
	path := "/api/" + d.project + "/envelope/"
	a, err := c.Do(ctx, http.MethodPost, c.Base+path, nil, text)
	if refused, ok := err.(*rest.Refused); ok {
		var said struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(a.Body, &said) == nil && said.Detail != "" {
			miss := check.Failf("Sentry refused the event with %d: %s", refused.Status, short(said.Detail, 200))
			miss.Facts = o.With("status", strconv.Itoa(refused.Status)).Facts
			return miss, nil
		}
	}
	if later, busy := errors.AsType[*check.RetryLater](err); busy {
		later.After = max(later.After, limited(a.Header.Get("X-Sentry-Rate-Limits")))
	}
	if err != nil {
		return check.Outcome{}, err
	}
	var taken struct {
		ID string `json:"id"`
	}
	if err := rest.Decode(c, path, a.Body, &taken); err != nil {
		return check.Outcome{}, err
	}
	if strings.ReplaceAll(taken.ID, "-", "") != id {
		return check.Outcome{}, fmt.Errorf("Sentry answered %d, but not with the id of the event", a.Status)
	}
	if after := limited(a.Header.Get("X-Sentry-Rate-Limits")); after > 0 {
		return check.Outcome{}, &check.RetryLater{After: after, Err: errors.New("Sentry drops errors at the moment, because there were too many")}
	}
	return o.With("event_id", id).With("status", strconv.Itoa(a.Status)), nil
}

// limited reads how long events of category error are dropped, which a server may
// also say in an answer with 200: "60:error;default:organization, 2700::key".
// https://develop.sentry.dev/sdk/foundations/transport/rate-limiting/
func limited(header string) time.Duration {
	after := time.Duration(0)
	for quota := range strings.SplitSeq(header, ",") {
		fields := strings.Split(strings.TrimSpace(quota), ":")
		seconds, err := strconv.ParseFloat(fields[0], 64)
		if err != nil || len(fields) < 2 || seconds <= 0 {
			continue
		}
		if fields[1] == "" || slices.Contains(strings.Split(fields[1], ";"), "error") {
			after = max(after, time.Duration(min(seconds, 3600)*float64(time.Second)))
		}
	}
	return after
}

// await asks for the event until it is there or the item's time is up.
// https://docs.sentry.io/api/events/retrieve-an-event-for-a-project/
func (p *event) await(ctx context.Context, env *check.Env, c *rest.Client, id string, sent time.Time, o check.Outcome) (check.Outcome, error) {
	type stored struct {
		EventID string `json:"eventID"`
		GroupID string `json:"groupID"`
	}
	const longest = 10 * time.Second
	pause := time.Second
	for {
		e, err := rest.Get[stored](ctx, c, "/api/0/projects/"+p.Org+"/"+p.Project+"/events/"+id+"/", nil)
		wait := pause
		later, busy := errors.AsType[*check.RetryLater](err)
		switch {
		case ctx.Err() != nil:
			return o, fmt.Errorf("Sentry took event %s, but did not show it within %s: %w", id, env.Now().Sub(sent).Round(time.Second), context.Cause(ctx))
		case busy:
			wait = later.After
		case rest.IsStatus(err, http.StatusNotFound):
			pause = min(2*pause, longest)
		case err != nil:
			return o, err
		case strings.ReplaceAll(e.EventID, "-", "") != id:
			return o, errors.New("Sentry answered the question for the event with another one")
		default:
			took := env.Now().Sub(sent).Round(100 * time.Millisecond)
			o.Reason = fmt.Sprintf("Sentry took the event and showed it in %s/%s after %s", p.Org, p.Project, took)
			o = o.With("found_after", took.String())
			if e.GroupID != "" {
				o = o.With("issue", c.Base+"/organizations/"+p.Org+"/issues/"+short(e.GroupID, 40)+"/")
			}
			return o, nil
		}
		if err := env.Sleep(ctx, wait); err != nil {
			return o, fmt.Errorf("Sentry took event %s, but did not show it within %s: %w", id, env.Now().Sub(sent).Round(time.Second), err)
		}
	}
}

// Examine looks at the DSN and, for a round trip, at the project; it sends nothing.
func (p *event) Examine(ctx context.Context, env *check.Env) (string, error) {
	d, miss, err := p.dsnOf(ctx, env)
	if err != nil {
		return "", err
	}
	if miss != "" {
		return "", errors.New(miss)
	}
	if p.Mode == "accept" {
		return "the DSN is one: " + d.masked(), nil
	}
	c, err := p.open(ctx, env)
	if err != nil {
		return "", err
	}
	o, err := p.belongs(ctx, c, d, check.Passf("the DSN leads to %s/%s", p.Org, p.Project))
	if err != nil {
		return "", err
	}
	if o.Verdict == check.Fail {
		return "", errors.New(o.Reason)
	}
	return o.Reason, nil
}
