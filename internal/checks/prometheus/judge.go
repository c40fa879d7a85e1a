package prometheus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// maxFacts bounds how many series are told of in the facts.
const maxFacts = 20

// tally is what was seen of all values.
type tally struct {
	samples, beyond, series int
	lowest, highest         float64
	// worst is the first series with a value beyond the limits, and that value.
	worst      string
	worstValue float64
}

// judge holds every value of every series against the limits.
func (p *query) judge(found []series, w window) (check.Outcome, error) {
	t, facts := tally{}, map[string]string{}
	for i, s := range found {
		beyond := t.beyond
		for _, one := range s.Samples {
			if !finite(one.value) {
				continue
			}
			if err := p.count(&t, s, one.value); err != nil {
				return check.Outcome{}, err
			}
		}
		if t.beyond > beyond {
			t.series++
		}
		if i < maxFacts {
			facts[fmt.Sprintf("series.%02d", i+1)] = describe(s)
		}
	}
	o := p.verdict(t, len(found), w)
	if missing := p.missing(found); len(missing) > 0 {
		lack := check.Failf("no series with %s %s (%d of %d have one)", p.Each.Label, short(strings.Join(missing, ", "), 300), len(p.Each.Of)-len(missing), len(p.Each.Of))
		if len(missing) == len(p.Each.Of) {
			return o, fmt.Errorf("%s, although %d series were found: is it the right label?", lack.Reason, len(found))
		}
		if o.Verdict == check.Fail {
			lack.Reason += "; " + o.Reason
		}
		o = lack
		facts["missing"] = short(strings.Join(missing, ", "), 1000)
	}
	facts["series"], facts["samples"] = strconv.Itoa(len(found)), strconv.Itoa(t.samples)
	facts["lowest"], facts["highest"] = number(t.lowest), number(t.highest)
	o.Facts = facts
	return o, nil
}

// count takes one value into the tally.
func (p *query) count(t *tally, s series, v float64) error {
	if t.samples == 0 {
		t.lowest, t.highest = v, v
	}
	t.samples++
	t.lowest, t.highest = min(t.lowest, v), max(t.highest, v)
	fine := (p.Max == nil || v <= *p.Max) && (p.Min == nil || v >= *p.Min)
	if fine && !p.Expect.IsZero() {
		labels := make(map[string]any, len(s.Labels))
		for name, value := range s.Labels {
			labels[name] = value
		}
		var err error
		if fine, err = p.Expect.Eval(map[string]any{"value": v, "labels": labels}); err != nil {
			return err
		}
	}
	if fine {
		return nil
	}
	t.beyond++
	over := p.Max != nil && v > *p.Max && v > t.worstValue
	under := p.Min != nil && v < *p.Min && v < t.worstValue
	if t.worst == "" || over || under {
		t.worst, t.worstValue = s.name(), v
	}
	return nil
}

func (p *query) verdict(t tally, count int, w window) check.Outcome {
	seen := number(t.lowest)
	if t.highest != t.lowest {
		seen += " to " + number(t.highest)
	}
	seen += fmt.Sprintf(" in %d series", count)
	if w.step > 0 {
		seen += fmt.Sprintf(" (%d samples)", t.samples)
	}
	accepted := ""
	if limits := p.limits(); limits != "" {
		accepted = ", accepted is " + limits
	}
	if t.beyond == 0 {
		return check.Passf("%s%s", seen, accepted)
	}
	return check.Failf("%s in %s%s; %d of %d values in %d of %d series are beyond", number(t.worstValue), short(t.worst, 200), accepted, t.beyond, t.samples, t.series, count)
}

// missing lists what should have a series and has none.
func (p *query) missing(found []series) []string {
	if p.Each == nil {
		return nil
	}
	var out []string
	for _, name := range p.Each.Of {
		if !slices.ContainsFunc(found, func(s series) bool { return s.Labels[p.Each.Label] == name }) {
			out = append(out, name)
		}
	}
	return out
}

// describe tells of a series in one line.
func describe(s series) string {
	last, lowest, highest, some := 0.0, 0.0, 0.0, false
	for _, one := range s.Samples {
		if !finite(one.value) {
			continue
		}
		if !some {
			lowest, highest, some = one.value, one.value, true
		}
		last, lowest, highest = one.value, min(lowest, one.value), max(highest, one.value)
	}
	return short(fmt.Sprintf("%s %s (%s to %s, %d samples)", s.name(), number(last), number(lowest), number(highest), len(s.Samples)), 400)
}
