package prometheus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// compare says what is compared with what was measured before, and which
// difference counts.
type compare struct {
	Offset      time.Duration `param:"offset" doc:"compare with the same time so much earlier: 168h is the same hour last week" default:"0s"`
	Before      check.Moment  `param:"before" doc:"compare with the time before a moment: a fact (run.started_at), a time, a duration" default:""`
	Window      time.Duration `param:"window" doc:"how long before that moment" default:"1h"`
	Worse       string        `param:"worse" doc:"which direction is worse" default:"higher" enum:"higher,lower,both"`
	Ratio       float64       `param:"ratio" doc:"how many times as much (worse: higher) or as little (lower) is accepted on average" default:"0"`
	MinEffect   check.Share   `param:"min_effect" doc:"smallest change of the average that counts, as a part of what it was" default:"0"`
	Alpha       float64       `param:"alpha" doc:"a change counts only if chance would give it more rarely (Mann-Whitney U)" default:"0"`
	Independent int           `param:"independent" doc:"fewest independent samples on each side for alpha" default:"30"`
	AbsFloor    float64       `param:"abs_floor" doc:"a change of the average smaller than this never counts" default:"0"`
}

func (c *compare) validate() error {
	switch {
	case (c.Offset == 0) == c.Before.IsZero():
		return errors.New("give offset or before, one of them")
	case c.Window < time.Minute:
		return errors.New("window: want at least 1m")
	case (c.Ratio == 0) == (c.MinEffect == 0):
		return errors.New("give ratio or min_effect, one of them: without, the smallest change would count")
	case c.Ratio != 0 && c.Ratio <= 1:
		return errors.New("ratio: want a number above 1, such as 2")
	case c.MinEffect >= 1 && c.Worse != "higher":
		return errors.New("min_effect: less than nothing cannot be left; want below 100%")
	case c.Alpha < 0 || c.Alpha > 0.2:
		return errors.New("alpha: want a number from 0 to 0.2, such as 0.01")
	case c.Independent < 8:
		return errors.New("independent: want at least 8; with fewer the test cannot tell anything")
	case c.AbsFloor < 0:
		return errors.New("abs_floor: want a number from 0")
	}
	return nil
}

// baseline is the window that w is compared with.
func (p *query) baseline(env *check.Env, w window) (window, error) {
	if p.Compare.Offset > 0 {
		if p.Compare.Offset < w.end.Sub(w.start) {
			return window{}, fmt.Errorf("compare: the time %s earlier overlaps with what is judged, %s", p.Compare.Offset, w.end.Sub(w.start))
		}
		if w.step == 0 {
			return window{end: w.end.Add(-p.Compare.Offset)}, nil
		}
		return p.steps(w.start.Add(-p.Compare.Offset), w.end.Add(-p.Compare.Offset))
	}
	until, err := p.Compare.Before.In(env)
	if err != nil {
		return window{}, err
	}
	if until.After(w.start) {
		return window{}, fmt.Errorf("compare: the time before %s overlaps with what is judged, since %s", until.UTC().Format(time.RFC3339), w.start.UTC().Format(time.RFC3339))
	}
	return p.steps(until.Add(-p.Compare.Window), until)
}

// against measures the time before and compares each series with its own past. o
// is the verdict about the limits, which stands when it is a failure.
func (p *query) against(ctx context.Context, env *check.Env, c *rest.Client, now []series, w window, o check.Outcome) (check.Outcome, error) {
	b, err := p.baseline(env, w)
	if err != nil {
		return o, err
	}
	if _, err := p.traffic(ctx, c, b); err != nil {
		return o, fmt.Errorf("before: %w", err)
	}
	before, err := p.measure(ctx, c, b)
	if err != nil {
		return o, fmt.Errorf("before, until %s: %w", b.end.UTC().Format(time.RFC3339), err)
	}
	pairs, err := pair(now, before)
	if err != nil {
		return o, err
	}
	var worst *change
	for _, one := range pairs {
		ch, err := p.Compare.change(one.now, one.before)
		if err != nil {
			return o, fmt.Errorf("%s: %w", short(one.name, 200), err)
		}
		ch.name = one.name
		if worst == nil || ch.worse && !worst.worse || ch.worse == worst.worse && ch.size() > worst.size() {
			worst = &ch
		}
	}
	o = o.With("before.since", b.start.UTC().Format(time.RFC3339)).With("before.until", b.end.UTC().Format(time.RFC3339)).
		With("average", number(worst.now)).With("before.average", number(worst.before))
	if p.Compare.Alpha > 0 {
		o = o.With("p", number(worst.p)).With("greater_share", number(worst.share))
	}
	told := worst.String()
	if len(pairs) > 1 {
		told += " in " + short(worst.name, 200)
	}
	switch {
	case o.Verdict == check.Fail:
		o.Reason += "; " + told
	case worst.worse:
		o.Verdict, o.Reason = check.Fail, told
	default:
		o.Reason = told + "; " + o.Reason
	}
	return o, nil
}

// twin is a series and its past.
type twin struct {
	name        string
	now, before []float64
}

// pair finds for each series its past. One that is new or gone cannot be
// compared, and nobody would notice.
func pair(now, before []series) ([]twin, error) {
	past := map[string][]float64{}
	for _, s := range before {
		past[s.name()] = values(s)
	}
	var out []twin
	for _, s := range now {
		old, ok := past[s.name()]
		if !ok {
			return nil, fmt.Errorf("%s was not there before, so that there is nothing to compare with: sum up what changes its labels", short(s.name(), 200))
		}
		delete(past, s.name())
		out = append(out, twin{s.name(), values(s), old})
	}
	for name := range past {
		return nil, fmt.Errorf("%s was there before and is not now, so that it cannot be compared: sum up what changes its labels", short(name, 200))
	}
	return out, nil
}

func values(s series) []float64 {
	var out []float64
	for _, one := range s.Samples {
		if finite(one.value) {
			out = append(out, one.value)
		}
	}
	return out
}

// change is how a series differs from its past.
type change struct {
	name        string
	now, before float64
	// p is what the rank test gave, share how often a value of now is greater than
	// one of before; both without a test are -1.
	p, share float64
	alpha    float64
	worse    bool
}

// size is how far the averages are apart, as a part of what it was.
func (c change) size() float64 {
	if c.before == 0 {
		if c.now == 0 {
			return 0
		}
		return math.MaxFloat64
	}
	return math.Abs(c.now-c.before) / math.Abs(c.before)
}

// String tells of the change.
func (c change) String() string {
	text := fmt.Sprintf("%s on average, %s before", number(c.now), number(c.before))
	if c.before > 0 {
		text += fmt.Sprintf(" (%+.1f %%)", 100*(c.now-c.before)/c.before)
	}
	if c.p >= 0 {
		text += fmt.Sprintf(", p = %.2g, alpha %s", c.p, number(c.alpha))
	}
	return text
}

// change compares. What cannot be told is an error: a ratio to nothing, or a test
// with too little in it.
func (c *compare) change(now, before []float64) (change, error) {
	if len(now) == 0 || len(before) == 0 {
		return change{}, errors.New("there is no value to compare")
	}
	ch := change{now: mean(now), before: mean(before), p: -1, share: -1, alpha: c.Alpha}
	if ch.now < 0 || ch.before < 0 {
		return ch, errors.New("the average is below 0, where neither a ratio nor a part means anything")
	}
	up, down := 1+float64(c.MinEffect), 1-float64(c.MinEffect)
	if c.Ratio > 0 {
		up, down = c.Ratio, 1/c.Ratio
	}
	higher, lower := ch.now > ch.before*up, ch.now < ch.before*down
	if ch.before == 0 && higher && c.Worse != "lower" && c.AbsFloor == 0 {
		return ch, fmt.Errorf("%s on average, 0 before: no ratio to nothing can be told; write with abs_floor how much counts", number(ch.now))
	}
	counts := math.Abs(ch.now-ch.before) > c.AbsFloor || c.AbsFloor == 0
	ch.worse = counts && (higher && c.Worse != "lower" || lower && c.Worse != "higher")
	if c.Alpha == 0 {
		return ch, nil
	}
	ne, be := independent(now), independent(before)
	if least := min(ne, be); least < float64(c.Independent) {
		return ch, fmt.Errorf("%d and %d samples are worth %.0f and %.0f independent ones, at least %d wanted: look at a longer time, at shorter rates, or leave alpha out", len(now), len(before), ne, be, c.Independent)
	}
	inflation := max(float64(len(now))/ne, float64(len(before))/be)
	over, share := rankTest(now, before, inflation)
	under, _ := rankTest(before, now, inflation)
	ch.share = share
	switch c.Worse {
	case "higher":
		ch.p = over
	case "lower":
		ch.p = under
	default:
		ch.p = min(1, 2*min(over, under))
	}
	ch.worse = ch.worse && ch.p < c.Alpha
	return ch, nil
}
