// Package ledger holds the types that read and write the run's own record:
// facts and the results of other items.
package ledger

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed run.fact.md
var factDoc string

// Fact is the type run.fact.
var Fact = check.Define[fact](check.Desc{
	Name: "run.fact", Summary: "a fact of the run is there and as expected, or is set", Doc: factDoc,
})

// fact sets facts, or judges one.
type fact struct {
	Set      map[string]string `param:"set" doc:"facts to remember; now stands for the present time" default:""`
	Fact     string            `param:"fact,short" doc:"the fact to judge" default:""`
	With     map[string]string `param:"with" doc:"other facts that expect uses: its variable, the fact's name" default:""`
	Expect   check.Expression  `param:"expect" doc:"condition over value and the variables under with" default:""`
	InFuture bool              `param:"in_future" doc:"the fact is a time, or an interval that begins, after now" default:"false"`
	InWindow bool              `param:"in_window" doc:"the fact is an interval (start/end) that now is within" default:"false"`
	MaxAge   time.Duration     `param:"max_age" doc:"the fact is a time not longer ago than this" default:"0s"`
}

// Validate holds the rules between parameters.
func (f *fact) Validate() error {
	judges := !f.Expect.IsZero() || f.InFuture || f.InWindow || f.MaxAge > 0 || len(f.With) > 0
	switch {
	case (f.Fact == "") == (len(f.Set) == 0):
		return errors.New("needs either fact or set")
	case len(f.Set) > 0 && judges:
		return errors.New("set goes with no condition")
	case f.InFuture && (f.InWindow || f.MaxAge > 0):
		return errors.New("in_future excludes in_window and max_age")
	case len(f.With) > 0 && f.Expect.IsZero():
		return errors.New("with is for expect")
	}
	if _, taken := f.With["value"]; taken {
		return errors.New("with: value is the fact itself")
	}
	for name, value := range f.Set {
		if name == "" || strings.TrimSpace(value) == "" {
			return fmt.Errorf("set: %q has no value", name)
		}
	}
	return nil
}

// Traits tells setting from judging. Setting is a note in the record that may be
// repeated, since a fact that is there stays.
func (f *fact) Traits() check.Traits {
	if len(f.Set) > 0 {
		return check.Traits{
			Kind: check.Action, Class: check.Idempotent, Effect: check.Record,
			Does: "notes " + strings.Join(slices.Sorted(maps.Keys(f.Set)), ", "), Target: "record",
		}
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Does: "judges the fact " + f.Fact, Target: "record"}
}

// Run sets the facts, or judges the one.
func (f *fact) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	if len(f.Set) > 0 {
		return f.set(env), nil
	}
	return f.judge(env)
}

// set never replaces a fact: after a crash, the time that was noted first is the
// true one.
func (f *fact) set(env *check.Env) check.Outcome {
	var noted []string
	sets, facts := map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(f.Set)) {
		value := f.Set[name]
		if value == "now" {
			value = env.Now().UTC().Format(time.RFC3339Nano)
		}
		if before, there := env.Ledger.Fact(name); there {
			facts[name], value = before, before+" (noted before)"
		} else {
			sets[name], facts[name] = value, value
		}
		noted = append(noted, name+" = "+value)
	}
	outcome := check.Passf("noted %s", strings.Join(noted, ", "))
	outcome.Sets, outcome.Facts = sets, facts
	return outcome
}

func (f *fact) judge(env *check.Env) (check.Outcome, error) {
	text, err := lookup(env, f.Fact)
	if err != nil {
		return check.Outcome{}, err
	}
	vars := map[string]any{"value": value(text)}
	facts := map[string]string{f.Fact: text}
	shown := []string{f.Fact + " = " + text}
	for _, name := range slices.Sorted(maps.Keys(f.With)) {
		other, err := lookup(env, f.With[name])
		if err != nil {
			return check.Outcome{}, err
		}
		vars[name], facts[f.With[name]] = value(other), other
		shown = append(shown, f.With[name]+" = "+other)
	}
	miss, err := f.missed(env.Now(), text, vars)
	if err != nil {
		return check.Outcome{Facts: facts}, err
	}
	outcome := check.Passf("%s", strings.Join(shown, ", "))
	if miss != "" {
		outcome = check.Failf("%s: %s", strings.Join(shown, ", "), miss)
	}
	outcome.Facts = facts
	return outcome, nil
}

func (f *fact) missed(now time.Time, text string, vars map[string]any) (string, error) {
	if !f.Expect.IsZero() {
		ok, err := f.Expect.Eval(vars)
		if err != nil {
			return "", err
		}
		if !ok {
			return "want " + f.Expect.String(), nil
		}
	}
	if !f.InFuture && !f.InWindow && f.MaxAge == 0 {
		return "", nil
	}
	start, end, err := interval(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.Fact, err)
	}
	switch {
	case f.InWindow && end.IsZero():
		return "", fmt.Errorf("%s: %q is not an interval start/end", f.Fact, text)
	case f.InWindow && (now.Before(start) || !now.Before(end)):
		return fmt.Sprintf("it is %s, outside of it", now.UTC().Format(time.RFC3339)), nil
	case f.InFuture && !start.After(now):
		return fmt.Sprintf("it is %s, so that is not in the future", now.UTC().Format(time.RFC3339)), nil
	case f.MaxAge > 0 && start.After(now):
		return "that is in the future", nil
	case f.MaxAge > 0 && now.Sub(start) > f.MaxAge:
		return fmt.Sprintf("that is %s ago, want at most %s", now.Sub(start).Round(time.Second), f.MaxAge), nil
	}
	return "", nil
}

// lookup gives a fact; an empty one counts as not supplied.
func lookup(env *check.Env, name string) (string, error) {
	text, ok := env.Ledger.Fact(name)
	if !ok || strings.TrimSpace(text) == "" {
		return "", &check.NotSupplied{What: "the fact " + name}
	}
	return text, nil
}

// value gives numbers and true or false as such, so that expressions can reckon
// with them, and a duration ("1m30s") in seconds.
func value(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	if digits := strings.TrimPrefix(text, "-"); strings.Trim(digits, "0123456789") == "" {
		return text // an id longer than any number would equal its neighbours
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n
	}
	if text == "true" || text == "false" {
		return text == "true"
	}
	if d, err := time.ParseDuration(text); err == nil {
		return d.Seconds()
	}
	return text
}

// interval reads a time in RFC 3339, or two of them joined by "/" (ISO 8601).
func interval(text string) (start, end time.Time, err error) {
	first, second, two := strings.Cut(text, "/")
	if start, err = time.Parse(time.RFC3339, first); err != nil {
		return start, end, fmt.Errorf("%q is not a time such as 2026-03-01T14:00:00Z", first)
	}
	if !two {
		return start, end, nil
	}
	if end, err = time.Parse(time.RFC3339, second); err != nil {
		return start, end, fmt.Errorf("%q is not a time such as 2026-03-01T14:00:00Z", second)
	}
	if !end.After(start) {
		return start, end, fmt.Errorf("%q ends before it begins", text)
	}
	return start, end, nil
}
