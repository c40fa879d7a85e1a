package oncall

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// judge gives what is missing. Overrides and time zones are in the intervals
// already: the API has reckoned them.
func (p *oncall) judge(s shift, entries []entry) ([]string, error) {
	if !p.NoGaps {
		s.end = s.start.Add(time.Second)
	}
	var missing []string
	nobody := func(who, schedule string) {
		on := func(e entry) bool { return e.Schedule == schedule }
		for _, gap := range s.gaps(pick(entries, on), func(now []entry) bool { return len(now) > 0 }) {
			missing = append(missing, who+" has nobody "+p.when(gap))
		}
	}
	for _, id := range p.Schedules {
		nobody("schedule "+named(entries, id), id)
	}
	for _, role := range slices.Sorted(maps.Keys(p.Roles)) {
		nobody("role "+role, p.Roles[role])
	}
	for _, id := range p.Policies {
		missing = append(missing, p.levels(s, "policy "+policy(entries, id), pick(entries, func(e entry) bool { return e.Policy == id }))...)
	}
	if len(p.Policies) == 0 && len(p.Schedules) > 0 {
		missing = append(missing, p.anyPolicy(s, entries)...)
	}
	return append(missing, p.unreachable(entries)...), nil
}

// anyPolicy looks for one policy in which the people of the schedules stand on
// all levels; it says what the best one is missing.
func (p *oncall) anyPolicy(s shift, entries []entry) []string {
	byPolicy := map[string][]entry{}
	for _, e := range entries {
		if slices.Contains(p.Schedules, e.Schedule) {
			byPolicy[e.Policy] = append(byPolicy[e.Policy], e)
		}
	}
	if len(byPolicy) == 0 {
		return nil // that nobody is on the schedules is said already
	}
	var best []string
	for i, id := range slices.Sorted(maps.Keys(byPolicy)) {
		missing := p.levels(s, "policy "+policy(entries, id)+", of these schedules,", byPolicy[id])
		if i == 0 || len(missing) < len(best) {
			best = missing
		}
	}
	return best
}

// levels says which levels have gaps, and where so many levels are fewer people.
func (p *oncall) levels(s shift, who string, entries []entry) []string {
	var missing []string
	for level := 1; level <= p.Levels; level++ {
		on := func(e entry) bool { return e.Level == level }
		for _, gap := range s.gaps(pick(entries, on), func(now []entry) bool { return len(now) > 0 }) {
			missing = append(missing, fmt.Sprintf("%s has nobody on level %d %s", who, level, p.when(gap)))
		}
	}
	if len(missing) > 0 || !p.Distinct {
		return missing
	}
	upTo := pick(entries, func(e entry) bool { return e.Level <= p.Levels })
	for _, gap := range s.gaps(upTo, p.enough) {
		missing = append(missing, fmt.Sprintf("%s has fewer than %d different people on its levels %s: %s", who, p.Levels, p.when(gap), people(at(upTo, gap.start))))
	}
	return missing
}

// enough tells whether every level adds a person to those before it.
func (p *oncall) enough(now []entry) bool {
	seen := map[string]bool{}
	for level := 1; level <= p.Levels; level++ {
		for _, e := range now {
			if e.Level == level {
				seen[e.Person] = true
			}
		}
		if len(seen) < level {
			return false
		}
	}
	return true
}

// gaps gives the stretches of the window in which those who are on call then do
// not suffice.
func (s shift) gaps(entries []entry, suffice func(now []entry) bool) []shift {
	edges := []time.Time{s.start, s.end}
	for _, e := range entries {
		for _, t := range []time.Time{e.From, e.Until} {
			if t.After(s.start) && t.Before(s.end) {
				edges = append(edges, t)
			}
		}
	}
	slices.SortFunc(edges, time.Time.Compare)
	edges = slices.CompactFunc(edges, time.Time.Equal)
	var out []shift
	for i := range len(edges) - 1 {
		if suffice(at(entries, edges[i])) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].end.Equal(edges[i]) {
			out[n-1].end = edges[i+1]
			continue
		}
		out = append(out, shift{edges[i], edges[i+1]})
	}
	return out
}

// at gives those who are on call at a moment.
func at(entries []entry, t time.Time) []entry {
	return pick(entries, func(e entry) bool { return !e.From.After(t) && e.Until.After(t) })
}

func pick(entries []entry, fits func(entry) bool) []entry {
	var out []entry
	for _, e := range entries {
		if fits(e) {
			out = append(out, e)
		}
	}
	return out
}

// unreachable says who has too few contact methods.
func (p *oncall) unreachable(entries []entry) []string {
	var out []string
	for _, e := range entries {
		n := 0
		for _, of := range e.Contacts {
			n += of
		}
		said := fmt.Sprintf("%s has %s, fewer than %d", e.PersonName, plural(n, "contact method"), p.Contacts)
		if n < p.Contacts && !slices.Contains(out, said) {
			out = append(out, said)
		}
	}
	return out
}

func (p *oncall) when(gap shift) string {
	if !p.NoGaps {
		return "at " + stamp(gap.start)
	}
	return "from " + stamp(gap.start) + " to " + stamp(gap.end)
}

// named and policy give the name of a schedule or policy, its id when nobody is on
// it.
func named(entries []entry, id string) string {
	for _, e := range entries {
		if e.Schedule == id {
			return e.Name
		}
	}
	return id
}

func policy(entries []entry, id string) string {
	for _, e := range entries {
		if e.Policy == id {
			return e.PolicyName
		}
	}
	return id
}

// people names who is on call, by level.
func people(entries []entry) string {
	byLevel := map[int][]string{}
	for _, e := range entries {
		if !slices.Contains(byLevel[e.Level], e.PersonName) {
			byLevel[e.Level] = append(byLevel[e.Level], e.PersonName)
		}
	}
	var out []string
	for _, level := range slices.Sorted(maps.Keys(byLevel)) {
		names := slices.Sorted(slices.Values(byLevel[level]))
		out = append(out, fmt.Sprintf("level %d %s", level, strings.ReplaceAll(some(names, 5), "; ", ", ")))
	}
	return some(out, 5)
}

// evidence keeps every on-call.
func (p *oncall) evidence(env *check.Env, s shift, entries []entry, o check.Outcome) (check.Outcome, error) {
	slices.SortStableFunc(entries, func(a, b entry) int {
		if c := strings.Compare(a.Policy, b.Policy); c != 0 {
			return c
		}
		if a.Level != b.Level {
			return a.Level - b.Level
		}
		return a.From.Compare(b.From)
	})
	text, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the list of on-calls: %w", err)
	}
	kept, err := env.Store("oncalls.json", bytes.NewReader(append(text, '\n')))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the list of on-calls: %w", err)
	}
	o.Artefacts = []check.Artefact{kept}
	o = o.With("window", check.Interval(s.start, s.end)).With("oncalls", strconv.Itoa(len(entries)))
	o = o.With("now", people(at(entries, env.Now())))
	for _, role := range slices.Sorted(maps.Keys(p.Roles)) {
		var who []string
		for _, e := range entries {
			if e.Schedule == p.Roles[role] && !slices.Contains(who, e.PersonName) {
				who = append(who, e.PersonName)
			}
		}
		o = o.With("role."+role, some(who, 10))
	}
	return o, nil
}
