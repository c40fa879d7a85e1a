package logs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxKinds bounds how many kinds of lines are kept as evidence, maxFacts how
	// many are told of in the facts.
	maxKinds, maxFacts = 200, 10
)

// judge holds what was seen against what is accepted. The first that is not
// accepted is the reason, with the line that it is about.
func (p *query) judge(env *check.Env, s sight) (check.Outcome, error) {
	var known map[string]bool
	if s.before != nil {
		known = map[string]bool{}
		for _, l := range s.before.count {
			known[signature(l)] = true
		}
	}
	all := kinds(s.count, known)
	o, err := p.verdict(s, all)
	if err != nil {
		return o, err
	}
	o = o.With("lines", strconv.Itoa(s.any)).With("count", strconv.Itoa(len(s.count))).With("kinds", strconv.Itoa(len(all)))
	if s.before != nil {
		o = o.With("before.lines", strconv.Itoa(s.before.any)).With("before.count", strconv.Itoa(len(s.before.count)))
	}
	for i, k := range all[:min(len(all), maxFacts)] {
		mark := ""
		if k.New {
			mark = " new"
		}
		o = o.With(fmt.Sprintf("kind.%02d", i+1), short(fmt.Sprintf("%d x %s%s: %s", k.Count, k.Level, mark, k.Signature), 400))
	}
	for i, g := range p.groups(s.count) {
		o = o.With(fmt.Sprintf("group.%02d", i+1), g)
	}
	text, err := json.MarshalIndent(append([]kind{}, all[:min(len(all), maxKinds)]...), "", " ")
	if err != nil {
		return o, fmt.Errorf("write the digest: %w", err)
	}
	artefact, err := env.Store("log-digest.json", bytes.NewReader(text))
	if err != nil {
		return o, fmt.Errorf("keep the digest: %w", err)
	}
	o.Artefacts = []check.Artefact{artefact}
	return o, nil
}

func (p *query) verdict(s sight, all []kind) (check.Outcome, error) {
	n := len(s.count)
	var wrong, right []string
	say := func(fine bool, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); fine {
			right = append(right, text)
		} else {
			wrong = append(wrong, text)
		}
	}
	if p.Max != nil || p.MaxShare == nil && p.NewSignatures == nil && p.Ratio == 0 {
		most := 0
		if p.Max != nil {
			most = *p.Max
		}
		say(n <= most, "%d %s, at most %d accepted", n, p.what(), most)
	}
	if p.MaxShare != nil {
		part := float64(n) / float64(s.any)
		say(part <= float64(*p.MaxShare), "%.3g %% of the lines are %s (%d of %d), at most %.3g %% accepted", 100*part, p.what(), n, s.any, 100*float64(*p.MaxShare))
	}
	if p.NewSignatures != nil {
		fresh := 0
		for _, k := range all {
			if k.New {
				fresh++
			}
		}
		say(fresh <= *p.NewSignatures, "%d new kinds among %d %s, at most %d accepted", fresh, n, p.what(), *p.NewSignatures)
	}
	if p.Ratio > 0 && s.before != nil {
		now, before := float64(n)/s.window.minutes(), float64(len(s.before.count))/s.before.window.minutes()
		if before == 0 && n > 0 && p.Floor == 0 {
			return check.Outcome{}, fmt.Errorf("%d %s, none in the time before: no ratio to nothing can be told; write with floor how many are accepted", n, p.what())
		}
		say(n <= p.Floor || now <= p.Ratio*before, "%.3g %s a minute, %.3g in the time before, at most %.3g times as many accepted", now, p.what(), before, p.Ratio)
	}
	seen := fmt.Sprintf(" (%d lines in all)", s.any)
	if len(wrong) == 0 {
		return check.Passf("%s%s", strings.Join(right, "; "), seen), nil
	}
	o := check.Failf("%s%s", strings.Join(wrong, "; "), seen)
	if len(all) > 0 {
		o.Reason += ": " + short(all[0].Sample, 200)
	}
	return o, nil
}

// groups tells how the lines that count are spread over a field's values.
func (p *query) groups(lines []line) []string {
	if p.GroupBy == "" || len(lines) == 0 {
		return nil
	}
	count := map[string]int{}
	for _, l := range lines {
		count[l.field(p.GroupBy)]++
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
	var out []string
	for _, name := range names[:min(len(names), maxFacts)] {
		told := name
		if told == "" {
			told = "(without " + p.GroupBy + ")"
		}
		out = append(out, short(fmt.Sprintf("%d x %s", count[name], told), 300))
	}
	return out
}
