// Package statuspage holds the type that tells a maintenance on a status page:
// when it is planned, begins, goes on and ends.
package statuspage

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

//go:embed statuspage.md
var statuspageDoc string

// Statuspage is the type statuspage.
var Statuspage = check.Define[maintenance](check.Desc{
	Name:    "statuspage",
	Summary: "the maintenance stands on the status page: scheduled, begun, told about, or completed",
	Doc:     statuspageDoc,
})

// What is done.
const (
	schedule = "schedule"
	start    = "start"
	update   = "update"
	complete = "complete"
)

const (
	// resource is what start takes and complete gives back: a page that says that
	// maintenance is going on.
	resource = "statuspage"
	// factWindow and factIncident are what later items read.
	factWindow, factIncident = "plan.window", "statuspage.incident"
	// maxText and maxName are the service's limits, in characters.
	maxText, maxName = 25000, 255
)

type maintenance struct {
	Do         string       `param:"do,short" doc:"what to do" enum:"schedule,start,update,complete"`
	Page       string       `param:"page" doc:"id of the status page (from its address in the management view)"`
	API        string       `param:"api" doc:"address of the API" default:"https://api.statuspage.io"`
	Token      secret.Ref   `param:"token" doc:"the API key" default:"env:STATUSPAGE_API_KEY"`
	Name       string       `param:"name" doc:"title of the maintenance; \"Maintenance of PROJECT (ENVIRONMENT)\" when left out" default:""`
	Window     check.Window `param:"window" doc:"when: start/end, start/duration, or the fact that holds it (schedule)" default:""`
	Components []string     `param:"components" doc:"ids of the components that it concerns" default:""`
	Text       string       `param:"text" doc:"what people read; a plain sentence when left out, needed for update" default:""`
	Notify     bool         `param:"notify" doc:"subscribers are told" default:"true"`
	Remind     bool         `param:"remind" doc:"subscribers are reminded an hour before (schedule)" default:"true"`
	Auto       bool         `param:"auto_transitions" doc:"the service begins and completes it by the clock (schedule)" default:"false"`
}

// Validate holds the rules between the parameters.
func (m *maintenance) Validate() error {
	id := regexp.MustCompile(`^[A-Za-z0-9]{1,40}$`)
	if !id.MatchString(m.Page) {
		return fmt.Errorf("page: %.60q is no id of a page", m.Page)
	}
	for _, c := range m.Components {
		if !id.MatchString(c) {
			return fmt.Errorf("components: %.60q is no id of a component", c)
		}
	}
	if err := rest.CheckBase(m.API); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	switch {
	case (m.Do == schedule) != !m.Window.IsZero():
		return errors.New("window: goes with do: schedule, and do: schedule with window")
	case m.Window.Relative():
		return errors.New("window: a duration from now on is another one at every try: want start/end, start/duration or a fact")
	case m.Do != schedule && m.Auto:
		return errors.New("auto_transitions: is for do: schedule")
	case m.Do == update && strings.TrimSpace(m.Text) == "":
		return errors.New("text: do: update needs it")
	case m.Do == update && len(m.Components) > 0:
		return errors.New("components: are those that it was scheduled with")
	case len([]rune(m.Text)) > maxText, len([]rune(m.Name)) > maxName:
		return fmt.Errorf("text takes %d characters, name %d", maxText, maxName)
	}
	return nil
}

// Traits says what people will read, and what is given back.
func (m *maintenance) Traits() check.Traits {
	t := check.Traits{Kind: check.Action, Class: check.Probed, Effect: check.Message, Pool: check.Network, Target: "status page " + m.Page}
	told := " (subscribers are told)"
	if !m.Notify {
		told = " (nobody is told)"
	}
	switch m.Do {
	case schedule:
		t.Does, t.Undo = "schedules a maintenance for "+m.Window.String()+told, "says that the maintenance is called off"
	case start:
		t.Does, t.Holds, t.Undo = "says that the maintenance has begun"+told, resource, "says that the maintenance is completed"
	case update:
		t.Does, t.Irreversible = "adds a text to the maintenance"+told, "people have read it"
	default:
		t.Does, t.Releases, t.Irreversible = "says that the maintenance is completed"+told, resource, "people have read it"
	}
	return t
}

// Run brings the maintenance into the wanted state. What is so already is left as
// it is.
func (m *maintenance) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	j, err := m.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	now, err := j.find(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	step, miss := j.next(now)
	if miss == "" && step != nil && len(m.Components) > 0 {
		miss, err = j.unknownComponents(ctx)
	}
	switch {
	case err != nil:
		return check.Outcome{}, err
	case miss != "":
		return check.Failf("%s", miss), nil
	case step == nil:
		return j.outcome(check.Passf("%s, as wanted", now.title()), now), nil
	}
	return j.act(ctx, now, step)
}

// act sends the change and wants the answer to say that it was made.
func (j *job) act(ctx context.Context, now *incident, step *change) (check.Outcome, error) {
	after, err := j.send(ctx, now, step)
	if refused, ok := errors.AsType[*rest.Refused](err); ok {
		return check.Failf("could not %s: %v", j.Do, refused), nil
	}
	if err != nil {
		return check.Outcome{}, fmt.Errorf("%s: %w", j.Do, err)
	}
	return j.outcome(check.Passf("%s", after.title()), after), nil
}

// open settles the window and makes the client
// (https://developer.statuspage.io/#section/Authentication).
func (m *maintenance) open(ctx context.Context, env *check.Env) (*job, error) {
	j := &job{maintenance: m, env: env, name: m.Name}
	if j.name == "" {
		j.name = fmt.Sprintf("Maintenance of %s (%s)", env.Run.Project, env.Run.Environment)
	}
	var err error
	if m.Do == schedule {
		if j.from, j.until, err = m.Window.In(env); err != nil {
			return nil, err
		}
	}
	value, err := env.Secret(ctx, m.Token)
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(value.Reveal())
	if token == "" || strings.ContainsAny(token, "\r\n\x00") {
		return nil, fmt.Errorf("the token %s is not one line of text", m.Token)
	}
	j.client, err = rest.New(env, "Statuspage", m.API, http.Header{"Authorization": {"OAuth " + token}})
	return j, err
}

// outcome adds what was seen, and what later items read.
func (j *job) outcome(o check.Outcome, i *incident) check.Outcome {
	o = o.With("incident", i.ID).With("status", i.Status).With("url", line(i.Link)).With("components", i.components())
	o.Sets = map[string]string{factIncident: i.ID}
	if i.For != nil && i.Until != nil {
		window := check.Interval(*i.For, *i.Until)
		o = o.With("window", window)
		if j.Do == schedule {
			o.Sets[factWindow] = window
		}
	}
	return o
}

// Probe tells whether the maintenance is as wanted.
func (m *maintenance) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	j, err := m.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	now, err := j.find(ctx)
	if err != nil {
		return "", check.Outcome{}, err
	}
	step, miss := j.next(now)
	switch {
	case miss != "":
		return check.NotDone, check.Failf("%s", miss), nil
	case step == nil:
		return check.Done, j.outcome(check.Passf("%s, as wanted", now.title()), now), nil
	case now == nil:
		return check.NotDone, check.Failf("there is no maintenance of this run on the page"), nil
	}
	return check.NotDone, check.Failf("%s", now.title()), nil
}

// Undo of scheduling says that it is called off, of beginning that it is over:
// people who were told are told again. Only what carries this run's mark is
// changed.
func (m *maintenance) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	if m.Do != schedule && m.Do != start {
		return check.Outcome{}, errors.New("what people have read is not taken back")
	}
	j, err := m.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	now, err := j.find(ctx)
	switch {
	case err != nil:
		return check.Outcome{}, err
	case now == nil:
		return check.Passf("there is no maintenance of this run on the page"), nil
	case m.Do == schedule && !now.ours(env):
		return check.Passf("%s; somebody else scheduled it, so it stays", now.title()), nil
	case now.Status == completed:
		return check.Passf("%s already", now.title()), nil
	}
	text := "The maintenance is over."
	if m.Do == schedule && now.Status == scheduled {
		text = "The maintenance is called off."
	}
	return j.act(ctx, now, j.ending(now, text))
}

// Examine looks whether the token sees the page, its components and the
// maintenance; nothing is changed.
func (m *maintenance) Examine(ctx context.Context, env *check.Env) (string, error) {
	plain := *m
	plain.Do = start // which needs no window: the fact may come later
	j, err := plain.open(ctx, env)
	if err != nil {
		return "", err
	}
	miss, err := j.unknownComponents(ctx)
	if err == nil && miss != "" {
		err = errors.New(miss)
	}
	if err != nil {
		return "", err
	}
	return "the token sees the page and its components; whether it may change them shows when it does", nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// line makes a text of an answer fit for a sentence.
func line(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if runes := []rune(text); len(runes) > 120 {
		return string(runes[:119]) + "…"
	}
	return text
}
