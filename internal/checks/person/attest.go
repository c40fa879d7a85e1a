// Package person holds the types that people resolve: attestations and
// sign-offs. Running them only gathers what is shown beside the question, so
// that no outcome of theirs has a verdict.
package person

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed attest.md
var attestDoc string

// Attest is the type attest.
var Attest = check.Define[attest](check.Desc{
	Name: "attest", Summary: "a named person states it, with evidence", Doc: attestDoc,
})

// attest is a person's statement.
type attest struct {
	Question string        `param:"question,short" doc:"what is asked; the item's own text when left out" default:""`
	Roles    []string      `param:"role" doc:"who may state it; anyone listed when left out" default:""`
	Evidence []string      `param:"evidence" doc:"what is accepted as evidence" default:"text" enum:"url,file,ticket,text"`
	MinText  int           `param:"text_min" doc:"least number of characters of a text" default:"1"`
	Choice   []string      `param:"choices" doc:"answers to choose from" default:""`
	Expires  time.Duration `param:"expires" doc:"how long the statement stands; for the run when left out" default:"0s"`
	beside
	CrossCheck check.Expression  `param:"cross_check" doc:"condition over the facts under cross_facts; whether it holds is shown" default:""`
	CrossFacts map[string]string `param:"cross_facts" doc:"facts that cross_check uses: its variable, the fact's name" default:""`
}

// Validate holds the rules between parameters.
func (a *attest) Validate() error {
	switch {
	case a.MinText < 1:
		return errors.New("text_min must be at least 1: an empty text is no evidence")
	case a.MinText > 1 && !slices.Contains(a.Evidence, "text"):
		return errors.New("text_min is for evidence: text")
	case a.CrossCheck.IsZero() != (len(a.CrossFacts) == 0):
		return errors.New("cross_check and cross_facts go together")
	}
	for _, name := range a.CrossCheck.Names() {
		if _, given := a.CrossFacts[name]; !given {
			return fmt.Errorf("cross_check uses %s, which cross_facts does not give", name)
		}
	}
	return errors.Join(distinct("role", a.Roles), distinct("choices", a.Choice), distinct("evidence", a.Evidence))
}

// Traits says who may state it and with what.
func (a *attest) Traits() check.Traits {
	return check.Traits{
		Kind: check.Attest, Class: check.Pure, Effect: check.Human, Does: "asks " + who(a.Roles), Target: who(a.Roles),
		Person: &check.Person{Roles: a.Roles, Evidence: a.Evidence, MinText: a.MinText, Expires: a.Expires, Choice: a.Choice},
	}
}

// Run gathers what is shown beside the question.
func (a *attest) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	outcome, err := a.gather(ctx, env, a.Question)
	if err != nil || a.CrossCheck.IsZero() {
		return outcome, err
	}
	return outcome.With("cross_check", a.cross(env)), nil
}

// cross tells whether the record agrees. It decides nothing: a person does,
// seeing what it says.
func (a *attest) cross(env *check.Env) string {
	vars := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(a.CrossFacts)) {
		text, ok := env.Ledger.Fact(a.CrossFacts[name])
		if !ok {
			return "not known: " + a.CrossFacts[name] + " was not supplied"
		}
		vars[name] = number(text)
	}
	holds, err := a.CrossCheck.Eval(vars)
	switch {
	case err != nil:
		return "not known: " + err.Error()
	case holds:
		return "holds: " + a.CrossCheck.String()
	}
	return "does not hold: " + a.CrossCheck.String()
}

func who(roles []string) string {
	if len(roles) == 0 {
		return "anyone listed"
	}
	return strings.Join(roles, " or ")
}

// distinct refuses repeats and empty entries, which a form could not tell apart.
func distinct(name string, list []string) error {
	seen := map[string]bool{}
	for _, entry := range list {
		if strings.TrimSpace(entry) == "" {
			return fmt.Errorf("%s: an entry is empty", name)
		}
		if seen[entry] {
			return fmt.Errorf("%s: %s stands there twice", name, entry)
		}
		seen[entry] = true
	}
	return nil
}
