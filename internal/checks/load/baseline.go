package load

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxPast is how many earlier runs are looked through for one of another release
	// under the same load.
	maxPast = 20
	// enough is the fewest slices on each side for the test of chance.
	enough = 8
)

// memory is what a run remembers for the comparison; times are in microseconds.
type memory struct {
	// Load identifies what was measured.
	Load string `json:"load"`
	// P50 and P95 are those of all judged requests; the lists those of each slice.
	P50    int64   `json:"p50"`
	P95    int64   `json:"p95"`
	Each50 []int64 `json:"each50,omitempty"`
	Each95 []int64 `json:"each95,omitempty"`
}

// fact is the name under which this item's memory is kept.
func fact(env *check.Env) string { return "load." + env.Run.Item }

// identity is the digest of what makes two tests the same.
func (p *load) identity() string {
	type asked struct {
		Name, Method, URL, Body string
		Weight                  int
	}
	var all []asked
	for i := range p.Targets {
		t := &p.Targets[i]
		all = append(all, asked{t.name(), t.Method, t.URL, t.Body, t.Weight})
	}
	return digest(all, p.Exclude, p.Rate.String(), p.For, p.Ramp)
}

func digest(of ...any) string {
	text, err := json.Marshal(of)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// remember gives what a later run compares itself with.
func (r *result) remember() (memory, bool) {
	p50, ok := r.total.quantile(50)
	p95, ok95 := r.total.quantile(95)
	if !ok || !ok95 {
		return memory{}, false
	}
	m := memory{Load: r.load, P50: p50.Microseconds(), P95: p95.Microseconds()}
	for _, s := range r.slices {
		a, ok := s.quantile(50)
		b, _ := s.quantile(95)
		if ok {
			m.Each50, m.Each95 = append(m.Each50, a.Microseconds()), append(m.Each95, b.Microseconds())
		}
	}
	return m, true
}

// compare adds the comparison with the last release to an outcome. Only what passed
// is remembered: a slow release is no measure for the next one.
func (p *load) compare(ctx context.Context, env *check.Env, r *result, o check.Outcome) (check.Outcome, error) {
	now, ok := r.remember()
	if !ok {
		if p.Baseline != "" && o.Verdict == check.Pass {
			return o, fmt.Errorf("baseline: the result does not say p50 and p95")
		}
		return o, nil
	}
	if p.Baseline != "" {
		before, release, err := last(ctx, env, r.load)
		switch {
		case err != nil:
			return o, err
		case release == "":
			o.Reason += "; no earlier release passed under the same load, so that there is nothing to compare with"
		default:
			c := contrast{now: now, before: before, alpha: p.Alpha, effect: float64(p.MinEffect)}
			o = c.add(o, release)
		}
	}
	if o.Verdict != check.Pass {
		return o, nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return o, err
	}
	o.Sets = map[string]string{fact(env): string(text)}
	return o, nil
}

// last finds what the newest other release measured under the same load; no release
// when there is none.
func last(ctx context.Context, env *check.Env, load string) (memory, string, error) {
	past, err := env.Ledger.History(ctx, "", fact(env), maxPast)
	if err != nil {
		return memory{}, "", fmt.Errorf("read the last release's latencies: %w", err)
	}
	for _, one := range past {
		if one.Release == env.Run.Release {
			continue // a second run of this release is no earlier release
		}
		var m memory
		if err := json.Unmarshal([]byte(one.Value), &m); err != nil || m.P50 <= 0 || m.P95 < m.P50 || len(m.Each50) != len(m.Each95) {
			return m, "", fmt.Errorf("what %s remembers as %s cannot be read", one.Release, fact(env))
		}
		if m.Load == load {
			return m, one.Release, nil
		}
	}
	return memory{}, "", nil
}

// contrast compares two memories.
type contrast struct {
	now, before   memory
	alpha, effect float64
}

// add puts the comparison into an outcome. Requests that follow each other depend on
// each other, so each slice of time counts once: its p50 and p95. Two questions are
// asked, so each may be wrong half as often.
func (c contrast) add(o check.Outcome, release string) check.Outcome {
	var told, worse []string
	tested := len(c.now.Each50) >= enough && len(c.before.Each50) >= enough
	for _, one := range []struct {
		name        string
		now, before int64
		each, past  []int64
	}{
		{"p50", c.now.P50, c.before.P50, c.now.Each50, c.before.Each50},
		{"p95", c.now.P95, c.before.P95, c.now.Each95, c.before.Each95},
	} {
		change := float64(one.now-one.before) / float64(one.before)
		text := fmt.Sprintf("%s %+.1f%% since %s (%s, was %s", one.name, 100*change, release, micro(one.now), micro(one.before))
		chance := 0.0
		if tested {
			chance = greater(one.each, one.past)
			text += fmt.Sprintf(", p=%.2g", chance)
			o = o.With(one.name+".chance", fmt.Sprintf("%.3g", chance))
		} else {
			text += ", without a test of chance"
		}
		o = o.With(one.name+".before", micro(one.before).String()).With(one.name+".change", fmt.Sprintf("%+.1f%%", 100*change))
		told = append(told, text+")")
		if change >= c.effect && chance <= c.alpha/2 {
			worse = append(worse, text+")")
		}
	}
	o = o.With("baseline", release)
	switch {
	case len(worse) == 0:
		o.Reason += "; " + strings.Join(told, ", ")
	case o.Verdict == check.Fail:
		o.Reason += "; " + strings.Join(worse, ", ")
	default:
		o.Verdict, o.Reason = check.Fail, "slower than the last release: "+strings.Join(worse, ", ")
	}
	return o
}

func micro(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// greater is the Mann–Whitney U test of whether x tends to be greater than y: the
// chance that two samples of one source would look at least so different, by the
// normal approximation with ties and continuity correction.
func greater(x, y []int64) float64 {
	type ranked struct {
		value int64
		ofX   bool
	}
	var all []ranked
	for _, v := range x {
		all = append(all, ranked{v, true})
	}
	for _, v := range y {
		all = append(all, ranked{v, false})
	}
	slices.SortFunc(all, func(a, b ranked) int { return int(min(max(a.value-b.value, -1), 1)) })
	n, m, sum, ties := float64(len(x)), float64(len(y)), 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].value == all[i].value {
			j++
		}
		t, rank := float64(j-i), float64(i+j+1)/2
		ties += t*t*t - t
		for ; i < j; i++ {
			if all[i].ofX {
				sum += rank
			}
		}
	}
	variance := n * m / 12 * ((n + m + 1) - ties/((n+m)*(n+m-1)))
	if variance <= 0 { // all values are the same
		return 1
	}
	distance := sum - n*(n+1)/2 - n*m/2 - 0.5
	return 0.5 * math.Erfc(distance/math.Sqrt(2*variance))
}
