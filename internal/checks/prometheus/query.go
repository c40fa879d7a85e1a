package prometheus

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

//go:embed prometheus.query.md
var queryDoc string

// Query is the type prometheus.query.
var Query = check.Define[query](check.Desc{
	Name: "prometheus.query", Summary: "what Prometheus measured is within the limits, or as it was before", Doc: queryDoc,
})

// maxSteps is how many samples of a series Prometheus gives at most.
// https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
const maxSteps = 11000

type query struct {
	server
	Expr        string           `param:"expr,short" doc:"PromQL; every series that it gives is judged"`
	Since       check.Moment     `param:"since" doc:"judge all samples since: a duration (15m), a time, or a fact (deploy.started_at); the latest value alone when left out" default:""`
	Step        time.Duration    `param:"step" doc:"time between two samples of since" default:"30s"`
	Max         *float64         `param:"max" doc:"greatest value accepted" default:""`
	Min         *float64         `param:"min" doc:"least value accepted" default:""`
	Expect      check.Expression `param:"expect" doc:"what must hold of every value, over value and labels" default:""`
	Each        *each            `param:"each" doc:"what must all have a series" default:""`
	AtLeast     *atLeast         `param:"at_least" doc:"how much must have been measured" default:""`
	Volume      string           `param:"volume" doc:"PromQL that gives one number: how much traffic there was" default:""`
	MinRequests float64          `param:"min_requests" doc:"least volume at which the values mean anything" default:"0"`
	Absent      string           `param:"absent" doc:"what it means that there is no value; zero needs exists" default:"inconclusive" enum:"inconclusive,zero"`
	Exists      string           `param:"exists" doc:"PromQL that is greater than 0 whenever the metric would be there if anything had happened" default:""`
	Compare     *compare         `param:"compare" doc:"compare what was measured since then with a time before" default:""`
}

// each names what must have a series.
type each struct {
	Label string   `param:"label" doc:"label that tells them apart" default:"instance"`
	Of    []string `param:"of" doc:"its values, each of which must have a series"`
}

// atLeast is how much proves that it was measured.
type atLeast struct {
	Series  int `param:"series" doc:"series" default:"1"`
	Samples int `param:"samples" doc:"steps with a value; four of five when left out" default:"0"`
}

// Validate holds the rules between the parameters.
func (p *query) Validate() error {
	if err := p.server.validate(); err != nil {
		return err
	}
	for _, e := range []struct{ name, text string }{{"expr", p.Expr}, {"volume", p.Volume}, {"exists", p.Exists}} {
		if e.text != "" || e.name == "expr" {
			if err := checkExpr(e.name, e.text); err != nil {
				return err
			}
		}
	}
	switch {
	case filters(p.Expr):
		return errFilter
	case p.Max == nil && p.Min == nil && p.Expect.IsZero() && p.Each == nil && p.Compare == nil:
		return errors.New("say what is accepted: max, min, expect, each or compare")
	case p.Max != nil && p.Min != nil && *p.Max < *p.Min:
		return errors.New("max is less than min")
	case (p.Volume == "") != (p.MinRequests == 0) || p.MinRequests < 0:
		return errors.New("volume goes with min_requests, a number above 0")
	case (p.Absent == "zero") != (p.Exists != ""):
		return errors.New("absent: zero goes with exists, which proves that the metric would be there")
	case p.Absent == "zero" && p.Each != nil:
		return errors.New("absent: zero and each do not go together")
	case p.Each != nil && (len(p.Each.Of) == 0 || p.Each.Label == ""):
		return errors.New("each: name the label and at least one value in of")
	case p.AtLeast != nil && (p.AtLeast.Series < 1 || p.AtLeast.Samples < 0):
		return errors.New("at_least: want at least 1 series, and 0 samples or more")
	case p.Step < time.Second:
		return errors.New("step: want at least 1s")
	case p.Since.Ago() > 0 && p.Since.Ago() < p.Step:
		return errors.New("since is shorter than step")
	case p.Since.Ago() > maxSteps*p.Step:
		return fmt.Errorf("since holds more than %d steps: make step longer", maxSteps)
	case p.Compare != nil && p.Since.IsZero():
		return errors.New("compare goes with since")
	}
	if p.Compare != nil {
		if err := p.Compare.validate(); err != nil {
			return fmt.Errorf("compare: %w", err)
		}
	}
	if !p.Expect.IsZero() {
		return p.Expect.Only("value", "labels")
	}
	return nil
}

// Traits says what is read.
func (p *query) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "asks Prometheus for " + short(p.Expr, 200), Target: p.URL,
	}
}

// Run measures and judges.
func (p *query) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	c, err := p.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	w, err := p.window(env)
	if err != nil {
		return check.Outcome{}, err
	}
	volume, err := p.traffic(ctx, c, w)
	if err != nil {
		return check.Outcome{}, err
	}
	found, err := p.measure(ctx, c, w)
	if err != nil {
		return check.Outcome{}, err
	}
	o, err := p.judge(found, w)
	if err == nil && p.Compare != nil {
		o, err = p.against(ctx, env, c, found, w, o)
	}
	if err != nil {
		return check.Outcome{}, err
	}
	o = o.With("expr", short(p.Expr, 400)).With("until", w.end.UTC().Format(time.RFC3339))
	if w.step > 0 {
		o = o.With("since", w.start.UTC().Format(time.RFC3339))
	}
	if p.Volume != "" {
		o = o.With("volume", number(volume))
		o.Reason += fmt.Sprintf("; volume %s, at least %s wanted", number(volume), number(p.MinRequests))
	}
	text, err := json.Marshal(found)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the series: %w", err)
	}
	artefact, err := env.Store("series.json", bytes.NewReader(text))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the series: %w", err)
	}
	o.Artefacts = append(o.Artefacts, artefact)
	return o, ctx.Err()
}

// window is the time that is judged. Just after since, when no step lies between,
// it is this moment.
func (p *query) window(env *check.Env) (window, error) {
	now := env.Now()
	if p.Since.IsZero() {
		return window{end: now}, nil
	}
	since, err := p.Since.In(env)
	if err != nil {
		return window{}, err
	}
	w, err := p.steps(since, now)
	if err == nil && w.start.After(w.end) {
		w = window{start: now, end: now}
	}
	return w, err
}

// steps gives the steps between two moments. They lie on multiples of step since
// 1970, where caches and VictoriaMetrics move them anyway.
func (p *query) steps(since, until time.Time) (window, error) {
	step := p.Step.Milliseconds()
	first, last := since.UnixMilli()/step, until.UnixMilli()/step
	if first*step < since.UnixMilli() {
		first++
	}
	if last-first >= maxSteps {
		return window{}, fmt.Errorf("%s holds more than %d steps of %s: make step longer", until.Sub(since).Round(time.Second), maxSteps, p.Step)
	}
	return window{start: time.UnixMilli(first * step), end: time.UnixMilli(last * step), step: time.Duration(step) * time.Millisecond}, nil
}

// traffic asks how much there was to measure at the end of a window. Too little,
// or no answer, means that the values say nothing.
func (p *query) traffic(ctx context.Context, c *rest.Client, w window) (float64, error) {
	if p.Volume == "" {
		return 0, nil
	}
	found, err := measured(ctx, c, p.Volume, window{end: w.end})
	if err != nil {
		return 0, fmt.Errorf("volume: %w", err)
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("volume: %s gives %d series, want one: is the metric there, and is it summed up?", short(p.Volume, 200), len(found))
	}
	v := found[0].Samples[0].value
	if !finite(v) || v < p.MinRequests {
		return v, fmt.Errorf("volume is %s at %s, at least %s wanted: too little traffic to judge", number(v), w.end.UTC().Format(time.RFC3339), number(p.MinRequests))
	}
	return v, nil
}

// measure asks for the series of a window and sees to it that they were measured.
func (p *query) measure(ctx context.Context, c *rest.Client, w window) ([]series, error) {
	found, err := measured(ctx, c, p.Expr, w)
	if err != nil {
		return nil, err
	}
	if p.Absent == "zero" {
		if found, err = p.zeros(ctx, c, w, found); err != nil {
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s gives no series: nothing was measured", short(p.Expr, 200))
	}
	want := atLeast{Series: 1}
	if p.AtLeast != nil {
		want = *p.AtLeast
	}
	if len(found) < want.Series {
		return nil, fmt.Errorf("%s gives %d series, at least %d wanted", short(p.Expr, 200), len(found), want.Series)
	}
	if want.Samples == 0 {
		want.Samples = int(math.Ceil(0.8 * float64(len(w.times()))))
	}
	for _, group := range p.groups(found) {
		if err := covered(group, w, want.Samples); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// zeros puts 0 where there is no value although exists proves that there would
// have been one if anything had happened.
func (p *query) zeros(ctx context.Context, c *rest.Client, w window, found []series) ([]series, error) {
	proof, err := measured(ctx, c, p.Exists, w)
	if err != nil {
		return nil, fmt.Errorf("exists: %w", err)
	}
	proven := map[int64]bool{}
	for _, s := range proof {
		for _, one := range s.Samples {
			if finite(one.value) && one.value > 0 {
				proven[w.key(one)] = true
			}
		}
	}
	if len(proven) == 0 {
		return nil, fmt.Errorf("exists: %s is nowhere greater than 0, so that no value of expr does not mean zero", short(p.Exists, 200))
	}
	if len(found) == 0 {
		found = []series{{Labels: map[string]string{}}}
	}
	for i, s := range found {
		filled, there := slices.Clone(s.Samples), map[int64]bool{}
		for _, one := range s.Samples {
			there[w.key(one)] = true
		}
		for _, at := range w.times() {
			if key := at.UnixMilli(); proven[key] && !there[key] {
				filled = append(filled, sample{at: at})
			}
		}
		slices.SortFunc(filled, func(a, b sample) int { return a.at.Compare(b.at) })
		found[i].Samples = filled
	}
	return found, nil
}

// groups are the series of which each must have been measured for itself: those
// of each value of each, or all together, because after a deployment some end
// where others begin.
func (p *query) groups(found []series) [][]series {
	if p.Each == nil {
		return [][]series{found}
	}
	var out [][]series
	for _, name := range p.Each.Of {
		var group []series
		for _, s := range found {
			if s.Labels[p.Each.Label] == name {
				group = append(group, s)
			}
		}
		if len(group) > 0 { // whoever has none is named by judge
			out = append(out, group)
		}
	}
	return out
}

// covered tells whether series together have a number in enough steps, to the
// end, and each in most of its own samples.
func covered(group []series, w window, want int) error {
	steps := map[int64]bool{}
	var newest time.Time
	for _, s := range group {
		none := 0
		for _, one := range s.Samples {
			if !finite(one.value) {
				none++
				continue
			}
			steps[one.at.UnixMilli()] = true
			if one.at.After(newest) {
				newest = one.at
			}
		}
		if none*5 > len(s.Samples) {
			return fmt.Errorf("%d of %d samples of %s are no number (NaN or Inf): a division by zero, where there was no traffic?", none, len(s.Samples), short(s.name(), 200))
		}
	}
	late := w.end.Sub(newest)
	switch {
	case len(steps) < want:
		return fmt.Errorf("%d of %d steps have a value%s, at least %d wanted", len(steps), len(w.times()), of(group), want)
	case w.step > 0 && late > max(2*w.step, time.Minute):
		return fmt.Errorf("the newest value%s is %s old: is it still measured?", of(group), late.Round(time.Second))
	}
	return nil
}

// of names a group that is one series.
func of(group []series) string {
	if len(group) != 1 {
		return ""
	}
	return " in " + short(group[0].name(), 200)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// limits says in words what is accepted.
func (p *query) limits() string {
	var out []string
	if p.Max != nil {
		out = append(out, "at most "+number(*p.Max))
	}
	if p.Min != nil {
		out = append(out, "at least "+number(*p.Min))
	}
	if !p.Expect.IsZero() {
		out = append(out, p.Expect.String())
	}
	return strings.Join(out, " and ")
}
