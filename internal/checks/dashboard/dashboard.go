// Package dashboard holds the type that looks at dashboards in Grafana and
// Datadog: whether they are there and show data.
package dashboard

import (
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed dashboard.md
var dashboardDoc string

// Dashboard is the type dashboard.
var Dashboard = check.Define[dashboard](check.Desc{
	Name: "dashboard", Summary: "a dashboard is there, has panels, and enough of them show data", Doc: dashboardDoc,
})

// maxPanels bounds how many panels are asked for their data.
const maxPanels = 100

type dashboard struct {
	Grafana        *grafana      `param:"grafana" doc:"a dashboard in Grafana" default:""`
	Datadog        *datadog      `param:"datadog" doc:"a dashboard in Datadog" default:""`
	Window         time.Duration `param:"window" doc:"how far back there must be data" default:"15m"`
	PanelsWithData int           `param:"panels_with_data" doc:"fewest panels that must show data; 0 asks for none" default:"1"`
	Panels         []string      `param:"panels" doc:"titles of panels that must be there and, unless panels_with_data is 0, show data" default:""`
}

// board is a dashboard as it was found.
type board struct {
	id, title, url, version, updated string
	panels                           []panel
}

// panel is one part of a dashboard that can show data. ask gives whether it does;
// nil means that its data cannot be asked for.
type panel struct {
	title string
	ask   func(ctx context.Context, from, to time.Time) (bool, error)
}

// provider is where dashboards are. find gives nil and a reason when it is certain
// that there is none.
type provider interface {
	validate() error
	String() string
	find(ctx context.Context, env *check.Env) (*board, string, error)
}

func (p *dashboard) provider() (provider, error) {
	switch {
	case p.Grafana != nil && p.Datadog == nil:
		return p.Grafana, nil
	case p.Datadog != nil && p.Grafana == nil:
		return p.Datadog, nil
	}
	return nil, errors.New("name one provider: grafana or datadog")
}

// Validate holds the rules between the parameters.
func (p *dashboard) Validate() error {
	from, err := p.provider()
	if err != nil {
		return err
	}
	switch {
	case p.Window < time.Minute:
		return errors.New("window: want at least 1m")
	case p.PanelsWithData < 0 || p.PanelsWithData > maxPanels:
		return fmt.Errorf("panels_with_data: want 0 to %d", maxPanels)
	}
	return from.validate()
}

// Traits says what is read.
func (p *dashboard) Traits() check.Traits {
	t := check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network, Does: "looks at a dashboard and the data of its panels"}
	if from, err := p.provider(); err == nil {
		t.Target = from.String()
	}
	return t
}

// Run finds the dashboard and asks its panels for data until there is enough.
func (p *dashboard) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	from, err := p.provider()
	if err != nil {
		return check.Outcome{}, err
	}
	b, none, err := from.find(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	if b == nil {
		return check.Failf("%s", none), nil
	}
	facts := map[string]string{"id": b.id, "title": short(b.title, 200), "url": short(b.url, 300), "version": b.version, "updated": b.updated, "panels": strconv.Itoa(len(b.panels))}
	if len(b.panels) == 0 {
		o := check.Failf("the dashboard %s has no panel that could show anything", short(b.title, 100))
		o.Facts = facts
		return o, nil
	}
	s, err := p.look(ctx, env, b)
	if err != nil {
		return check.Outcome{}, err
	}
	for name, value := range s.facts() {
		facts[name] = value
	}
	o, err := p.judge(b, s)
	o.Facts = facts
	return o, err
}

// sight is what the panels showed, by their titles.
type sight struct{ data, empty, failed, unasked, missing []string }

func (s sight) facts() map[string]string {
	facts := map[string]string{}
	for name, titles := range map[string][]string{"with_data": s.data, "without_data": s.empty, "failed": s.failed, "not_asked": s.unasked, "missing": s.missing} {
		if len(titles) > 0 {
			facts[name] = short(strings.Join(titles, ", "), 1000)
		}
	}
	return facts
}

// look asks the panels that are wanted.
func (p *dashboard) look(ctx context.Context, env *check.Env, b *board) (sight, error) {
	var s sight
	wanted, there := map[string]bool{}, map[string]bool{}
	for _, title := range p.Panels {
		wanted[title] = true
	}
	to := env.Now()
	for i, one := range b.panels {
		there[one.title] = true
		switch {
		case p.PanelsWithData == 0 || len(wanted) > 0 && !wanted[one.title]:
			continue
		case one.ask == nil || i >= maxPanels:
			s.unasked = append(s.unasked, one.title)
			continue
		}
		some, err := one.ask(ctx, to.Add(-p.Window), to)
		if ctx.Err() != nil || fatal(err) {
			return s, errors.Join(err, ctx.Err())
		}
		switch {
		case err != nil:
			s.failed = append(s.failed, one.title+": "+short(err.Error(), 200))
		case some:
			s.data = append(s.data, one.title)
		default:
			s.empty = append(s.empty, one.title)
		}
	}
	for _, title := range p.Panels {
		if !there[title] {
			s.missing = append(s.missing, title)
		}
	}
	return s, nil
}

// judge decides. Where a panel could not be asked, too few with data is not known
// to be too few.
func (p *dashboard) judge(b *board, s sight) (check.Outcome, error) {
	name := short(b.title, 100)
	unknown := len(s.failed) + len(s.unasked)
	switch {
	case len(s.missing) > 0:
		return check.Failf("the dashboard %s has no panel %s", name, short(strings.Join(s.missing, ", "), 300)), nil
	case p.PanelsWithData == 0:
		return check.Passf("the dashboard %s has %d panels; their data was not asked for", name, len(b.panels)), nil
	case len(p.Panels) > 0 && len(s.empty) > 0:
		return check.Failf("panels of %s without data in %s: %s", name, p.Window, short(strings.Join(s.empty, ", "), 300)), nil
	case len(p.Panels) > 0 && unknown > 0 || len(s.data) < p.PanelsWithData && unknown > 0:
		return check.Outcome{}, fmt.Errorf("%d panels of %s show data, and of %d it could not be found out: %s", len(s.data), name, unknown, short(strings.Join(append(s.failed, s.unasked...), "; "), 300))
	case len(s.data) < p.PanelsWithData:
		return check.Failf("%d of %d panels of %s show data of the last %s, at least %d wanted", len(s.data), len(b.panels), name, p.Window, p.PanelsWithData), nil
	}
	return check.Passf("%d of %d panels of %s show data of the last %s", len(s.data), len(b.panels), name, p.Window), nil
}

// replaced puts values for variables into all texts of a JSON value.
func replaced(raw json.RawMessage, with *strings.Replacer) json.RawMessage {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if out, err := json.Marshal(with.Replace(text)); err == nil {
			return out
		}
		return raw
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) == nil && fields != nil {
		for name, value := range fields {
			fields[name] = replaced(value, with)
		}
		if out, err := json.Marshal(fields); err == nil {
			return out
		}
	}
	return raw
}

// short cuts what a service says for a message.
func short(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
