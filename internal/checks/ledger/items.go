package ledger

import (
	"cmp"
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed run.items.md
var itemsDoc string

// Items is the type run.items.
var Items = check.Define[items](check.Desc{
	Name: "run.items", Summary: "other items, here or in another environment's run, are all green", Doc: itemsDoc,
})

// items rolls the results of other items up into one.
type items struct {
	Patterns    []string      `param:"items,short" doc:"ids or patterns of items (deploy.smoke.**)" default:""`
	Rerun       []string      `param:"rerun" doc:"instead of items: checks of this run to run again now" default:""`
	Environment string        `param:"env" doc:"environment whose newest finished run is read; this run when left out" default:""`
	SameVersion bool          `param:"same_version" doc:"only a run of the release that is being deployed" default:"false"`
	MaxAge      time.Duration `param:"max_age" doc:"longest time since that run ended" default:"0s"`
	AllowWaived bool          `param:"allow_waived" doc:"let waived items count" default:"false"`
}

// The statuses of a run of which items may be green although the whole is not.
const rolledBack, aborted = "rolled back", "aborted"

// Validate holds the rules between parameters.
func (i *items) Validate() error {
	switch {
	case (len(i.Patterns) == 0) == (len(i.Rerun) == 0):
		return errors.New("needs either items or rerun")
	case len(i.Rerun) > 0 && i.Environment != "":
		return errors.New("rerun is for this run: it goes with no env")
	case i.Environment == "" && (i.SameVersion || i.MaxAge > 0):
		return errors.New("same_version and max_age are for the run of another environment: give env")
	case slices.Contains(slices.Concat(i.Patterns, i.Rerun), ""):
		return errors.New("an empty pattern matches nothing")
	}
	return nil
}

// Traits says that only the record is read.
func (i *items) Traits() check.Traits {
	does := "rolls up " + strings.Join(i.Patterns, ", ")
	if len(i.Rerun) > 0 {
		does = "runs " + strings.Join(i.Rerun, ", ") + " again"
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Does: does, Target: cmp.Or(i.Environment, "this run")}
}

// Run gathers the results and judges them together.
func (i *items) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	results, err := i.gather(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	if err := i.fits(env, results); err != nil {
		return check.Outcome{}, err
	}
	if i.Environment != "" && results.Status == rolledBack {
		return check.Failf("run %s in %s was rolled back: what it proved is not live there any more", results.Run, i.Environment), nil
	}
	outcome, err := judge(results, i.AllowWaived)
	outcome.Target = results.Environment
	return outcome.With("run", results.Run).With("release", results.Release), err
}

// gather asks for each pattern by itself, so that one that matches nothing does
// not hide behind the others.
func (i *items) gather(ctx context.Context, env *check.Env) (check.Results, error) {
	if len(i.Rerun) > 0 {
		results, err := env.Ledger.Rerun(ctx, i.Rerun)
		return without(results, env.Run.Item), err
	}
	query := check.Query{Environment: i.Environment, MaxAge: i.MaxAge}
	if i.SameVersion {
		if query.Release = env.Run.Release; query.Release == "" {
			return check.Results{}, &check.NotSupplied{What: "the release of this run"}
		}
	}
	var all check.Results
	for n, pattern := range i.Patterns {
		query.Patterns = []string{pattern}
		results, err := env.Ledger.Items(ctx, query)
		if err != nil {
			return all, err
		}
		results = without(results, env.Run.Item)
		if len(results.Items) == 0 {
			return all, fmt.Errorf("no item matches %s", pattern)
		}
		if n > 0 && results.Run != all.Run {
			return all, fmt.Errorf("run %s ended while run %s was being read", results.Run, all.Run)
		}
		results.Items = append(all.Items, results.Items...)
		all = without(results, env.Run.Item)
	}
	return all, nil
}

// without leaves out the item that asks, which is pending while it does, and
// items that two patterns found.
func without(r check.Results, own string) check.Results {
	seen, kept := map[string]bool{}, []check.ItemResult{}
	for _, item := range r.Items {
		if (item.ID != own || r.Environment != "") && !seen[item.ID] {
			seen[item.ID] = true
			kept = append(kept, item)
		}
	}
	r.Items = kept
	return r
}

// fits does not take the ledger's word for which run it gave.
func (i *items) fits(env *check.Env, r check.Results) error {
	switch {
	case len(r.Items) == 0:
		return errors.New("no item matches: nothing was measured")
	case i.Environment != "" && r.Environment != i.Environment:
		return fmt.Errorf("the record gave a run in %q, want %q", r.Environment, i.Environment)
	case i.SameVersion && r.Release != env.Run.Release:
		return fmt.Errorf("the record gave a run of release %q, want %q", r.Release, env.Run.Release)
	case i.Environment != "" && r.Status == aborted:
		return fmt.Errorf("run %s in %s was aborted: the environment may be half deployed", r.Run, i.Environment)
	case i.MaxAge > 0 && r.FinishedAt.IsZero():
		return fmt.Errorf("run %s has no end", r.Run)
	case i.MaxAge > 0 && r.FinishedAt.After(env.Now().Add(time.Minute)): // clocks differ a little
		return fmt.Errorf("run %s ended in the future, at %s: a clock is wrong", r.Run, r.FinishedAt.UTC().Format(time.RFC3339))
	case i.MaxAge > 0 && env.Now().Sub(r.FinishedAt) > i.MaxAge:
		return fmt.Errorf("run %s ended %s ago, want at most %s", r.Run, env.Now().Sub(r.FinishedAt).Round(time.Second), i.MaxAge)
	}
	return nil
}
