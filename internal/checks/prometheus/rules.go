package prometheus

import (
	"cmp"
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

//go:embed prometheus.rules.md
var rulesDoc string

// Rules is the type prometheus.rules.
var Rules = check.Define[rules](check.Desc{
	Name: "prometheus.rules", Summary: "alerting rules are loaded, evaluated, and reach a receiver that notifies somebody", Doc: rulesDoc,
})

type rules struct {
	server
	Require       []required    `param:"require" doc:"rules that must be there; without, every alerting rule is looked at" default:""`
	Alertmanagers int           `param:"alertmanagers" doc:"how many Alertmanagers Prometheus must know; 0 for a ruler that does not tell (Mimir, Thanos)" default:"1"`
	Alertmanager  *alertmanager `param:"alertmanager" doc:"Alertmanager whose routes are followed" default:""`
	Firing        string        `param:"firing" doc:"whether any alerting rule may be firing" default:"any" enum:"any,none"`
	Ignore        []string      `param:"ignore" doc:"rules that may fire all the same, such as Watchdog" default:""`
	Runbook       bool          `param:"runbook" doc:"the rules must have the annotation runbook_url" default:"false"`
	Test          bool          `param:"test" doc:"send an alert with the labels of the first rule in require to Alertmanager, which notifies people, and see it there" default:"false"`
}

// required is a rule that must be there, and how.
type required struct {
	Name     string            `param:"name,short" doc:"name of the alert"`
	For      *time.Duration    `param:"for" doc:"how long its condition must hold" default:""`
	Severity string            `param:"severity" doc:"its label severity" default:""`
	Labels   map[string]string `param:"labels" doc:"further labels that the rule must set" default:""`
	With     map[string]string `param:"with" doc:"labels that its series bring, to follow the routes with" default:""`
}

// Validate holds the rules between the parameters.
func (p *rules) Validate() error {
	if err := p.server.validate(); err != nil {
		return err
	}
	for _, r := range p.Require {
		if r.Name == "" {
			return errors.New("require: a rule needs its name")
		}
	}
	switch {
	case p.Alertmanagers < 0:
		return errors.New("alertmanagers: want a number from 0")
	case p.Test && (p.Alertmanager == nil || len(p.Require) == 0):
		return errors.New("test goes with alertmanager and require, whose first rule gives the labels")
	case len(p.Ignore) > 0 && p.Firing != "none":
		return errors.New("ignore goes with firing: none")
	}
	if p.Alertmanager != nil {
		return p.Alertmanager.validate()
	}
	return nil
}

// Traits says what is read, and sent. Alertmanager takes two alerts with the same
// labels as one.
func (p *rules) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network, Target: p.URL,
		Does: "asks Prometheus for its alerting rules",
	}
	if p.Test && p.Alertmanager != nil && len(p.Require) > 0 {
		t.Kind, t.Class, t.Effect, t.Target = check.Action, check.Keyed, check.Message, p.Alertmanager.URL
		t.Does = "sends a test alert with the labels of " + p.Require[0].Name + " to Alertmanager, which notifies people"
	}
	return t
}

// group is a group of rules as Prometheus tells of it.
// https://prometheus.io/docs/prometheus/latest/querying/api/#rules
type group struct {
	Name     string  `json:"name"`
	File     string  `json:"file"`
	Interval float64 `json:"interval"`
	Rules    []rule  `json:"rules"`
}

type rule struct {
	Type           string            `json:"type"`
	Name           string            `json:"name"`
	State          string            `json:"state"`
	Health         string            `json:"health"`
	LastError      string            `json:"lastError"`
	Duration       float64           `json:"duration"`
	Labels         map[string]string `json:"labels"`
	Annotations    map[string]string `json:"annotations"`
	LastEvaluation time.Time         `json:"lastEvaluation"`
	// group is where it stands, interval how often that is evaluated.
	group    string
	interval time.Duration
	with     map[string]string
}

// Run looks at the rules, follows their routes, and sends the test alert last.
func (p *rules) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	o, found, err := p.look(ctx, env)
	if err != nil || o.Verdict == check.Fail || !p.Test {
		return o, err
	}
	return p.Alertmanager.test(ctx, env, o, found[0])
}

// Probe tells whether the test alert of this attempt is at Alertmanager.
func (p *rules) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	if p.Alertmanager == nil {
		return "", check.Outcome{}, errors.New("without alertmanager nothing is sent")
	}
	return p.Alertmanager.probe(ctx, env)
}

// Examine looks at everything but sends nothing.
func (p *rules) Examine(ctx context.Context, env *check.Env) (string, error) {
	o, _, err := p.look(ctx, env)
	if err == nil && o.Verdict == check.Fail {
		err = errors.New(o.Reason)
	}
	return o.Reason, err
}

// look does everything that only reads.
func (p *rules) look(ctx context.Context, env *check.Env) (check.Outcome, []rule, error) {
	c, err := p.open(ctx, env)
	if err != nil {
		return check.Outcome{}, nil, err
	}
	all, err := loaded(ctx, c)
	if err != nil {
		return check.Outcome{}, nil, err
	}
	found, wrong := p.choose(all)
	for _, r := range found {
		bad, err := r.trouble(env.Now())
		if err != nil {
			return check.Outcome{}, nil, err
		}
		if p.Runbook && r.Annotations["runbook_url"] == "" {
			bad = append(bad, r.Name+" has no runbook_url")
		}
		wrong = append(wrong, bad...)
	}
	wrong = append(wrong, p.firing(all)...)
	told := fmt.Sprintf("%d alerting rules are loaded, %d looked at", len(all), len(found))
	o := check.Outcome{Facts: ruleFacts(all, found)}
	if p.Alertmanagers > 0 {
		known, err := alertmanagers(ctx, c)
		if err != nil {
			return o, nil, err
		}
		if o.Facts["alertmanagers"] = short(strings.Join(known, ", "), 300); len(known) < p.Alertmanagers {
			wrong = append(wrong, fmt.Sprintf("Prometheus knows %d Alertmanagers, at least %d wanted", len(known), p.Alertmanagers))
		}
	}
	if p.Alertmanager != nil {
		lost, facts, err := p.Alertmanager.follow(ctx, env, found)
		if err != nil {
			return o, nil, err
		}
		wrong = append(wrong, lost...)
		for name, value := range facts {
			o.Facts[name] = value
		}
		told += ", each reaches a receiver"
	}
	if o.Verdict, o.Reason = check.Pass, told; len(wrong) > 0 {
		o.Verdict, o.Reason = check.Fail, short(strings.Join(wrong, "; "), 1000)
	}
	return o, found, ctx.Err()
}

// loaded lists the alerting rules.
func loaded(ctx context.Context, c *rest.Client) ([]rule, error) {
	data, err := ask[struct {
		Groups *[]group `json:"groups"`
	}](ctx, c, "/api/v1/rules", url.Values{"type": {"alert"}})
	if err != nil {
		return nil, err
	}
	if data.Groups == nil {
		return nil, errors.New("Prometheus answered without the groups of rules")
	}
	var out []rule
	for _, g := range *data.Groups {
		for _, r := range g.Rules {
			if r.Type != "alerting" {
				continue
			}
			if r.Name == "" || r.Health == "" || r.State == "" {
				return nil, fmt.Errorf("Prometheus answered with a rule of the group %.60q without name, health or state", g.Name)
			}
			r.group, r.interval = g.Name, time.Duration(g.Interval*float64(time.Second))
			out = append(out, r)
		}
	}
	return out, nil
}

// alertmanagers lists those that Prometheus sends to.
// https://prometheus.io/docs/prometheus/latest/querying/api/#alertmanagers
func alertmanagers(ctx context.Context, c *rest.Client) ([]string, error) {
	data, err := ask[struct {
		Active *[]struct {
			URL string `json:"url"`
		} `json:"activeAlertmanagers"`
	}](ctx, c, "/api/v1/alertmanagers", nil)
	if err != nil {
		return nil, err
	}
	if data.Active == nil {
		return nil, errors.New("Prometheus answered without its Alertmanagers")
	}
	var out []string
	for _, a := range *data.Active {
		out = append(out, a.URL)
	}
	return out, nil
}

// choose gives the rules that are looked at, in the order of require, and says
// which are not there as they must be.
func (p *rules) choose(all []rule) (found []rule, wrong []string) {
	if len(p.Require) == 0 {
		if len(all) == 0 {
			wrong = append(wrong, "no alerting rule is loaded")
		}
		return all, wrong
	}
	for _, want := range p.Require {
		same := slices.DeleteFunc(slices.Clone(all), func(r rule) bool { return r.Name != want.Name })
		if len(same) == 0 {
			wrong = append(wrong, "the rule "+want.Name+" is not loaded")
			continue
		}
		// Rules of one name differ by severity: the one that fits best is meant.
		slices.SortStableFunc(same, func(a, b rule) int { return cmp.Compare(len(want.differs(a)), len(want.differs(b))) })
		best := same[0]
		best.with = want.With
		found, wrong = append(found, best), append(wrong, want.differs(best)...)
	}
	return found, wrong
}

// differs says how a rule is not as it must be.
func (want required) differs(r rule) []string {
	var out []string
	if held := time.Duration(r.Duration * float64(time.Second)); want.For != nil && held != *want.For {
		out = append(out, fmt.Sprintf("%s waits for %s, want %s", r.Name, held, *want.For))
	}
	labels := map[string]string{}
	for name, value := range want.Labels {
		labels[name] = value
	}
	if want.Severity != "" {
		labels["severity"] = want.Severity
	}
	for name, value := range labels {
		if got, ok := r.Labels[name]; !ok || got != value {
			out = append(out, fmt.Sprintf("%s has the label %s=%q, want %q", r.Name, name, got, value))
		}
	}
	slices.Sort(out)
	return out
}

// trouble says what keeps a rule from working. One that was not evaluated yet
// shows nothing either way.
func (r rule) trouble(now time.Time) ([]string, error) {
	switch {
	case r.Health == "err":
		return []string{r.Name + " cannot be evaluated: " + short(r.LastError, 200)}, nil
	case r.Health != "ok" || r.LastEvaluation.IsZero():
		return nil, fmt.Errorf("the rule %s was not evaluated yet (health %.40q)", r.Name, r.Health)
	}
	// Three intervals, for an evaluation that took long.
	if age, most := now.Sub(r.LastEvaluation), max(3*r.interval, time.Minute); age > most {
		return []string{fmt.Sprintf("%s was last evaluated %s ago, although its group %s is every %s", r.Name, age.Round(time.Second), short(r.group, 60), r.interval)}, nil
	}
	return nil, nil
}

// firing lists what fires and may not.
func (p *rules) firing(all []rule) []string {
	if p.Firing != "none" {
		return nil
	}
	var names []string
	for _, r := range all {
		if r.State == "firing" && !slices.Contains(p.Ignore, r.Name) {
			names = append(names, r.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []string{"firing: " + strings.Join(slices.Compact(names), ", ")}
}

// ruleFacts tells of the rules that are looked at, and of their runbooks.
func ruleFacts(all, found []rule) map[string]string {
	facts := map[string]string{"rules": strconv.Itoa(len(all)), "looked_at": strconv.Itoa(len(found))}
	without := 0
	for i, r := range found {
		runbook := r.Annotations["runbook_url"]
		if runbook == "" {
			without++
		}
		if i < 100 {
			facts[fmt.Sprintf("rule.%02d", i+1)] = short(fmt.Sprintf("%s (%s) for %s severity %s: %s", r.Name, r.group, time.Duration(r.Duration*float64(time.Second)), cmp.Or(r.Labels["severity"], "none"), r.State), 300)
		}
		if i < 100 && runbook != "" {
			facts["runbook."+short(r.Name, 80)] = short(runbook, 300)
		}
	}
	facts["without_runbook"] = strconv.Itoa(without)
	return facts
}
