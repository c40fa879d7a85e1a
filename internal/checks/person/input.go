package person

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"regexp"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed input.md
var inputDoc string

// Input is the type input.
var Input = check.Define[input](check.Desc{
	Name: "input", Summary: "a named person gives a value that later items use", Doc: inputDoc,
})

// input is a blank that somebody fills in.
type input struct {
	Fact     string         `param:"fact,short" doc:"name of the fact that the value becomes, such as release.ticket"`
	Question string         `param:"question" doc:"what is asked; the item's own text when left out" default:""`
	Roles    []string       `param:"role" doc:"who may give it; anyone listed when left out" default:""`
	Match    *regexp.Regexp `param:"match" doc:"regular expression (RE2) that the whole value must match" default:""`
	Choice   []string       `param:"choices" doc:"values to choose from" default:""`
	Expires  time.Duration  `param:"expires" doc:"how long the value stands; for the run when left out" default:"0s"`
	beside
}

var factName = regexp.MustCompile(`^[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+$`)

// Validate holds the rules between parameters.
func (in *input) Validate() error {
	switch {
	case !factName.MatchString(in.Fact):
		return fmt.Errorf("fact: %q is not a name such as release.ticket", in.Fact)
	case in.Match != nil && len(in.Choice) > 0:
		return errors.New("match and choices exclude each other")
	}
	return errors.Join(distinct("role", in.Roles), distinct("choices", in.Choice))
}

// Traits says who is asked for what.
func (in *input) Traits() check.Traits {
	p := &check.Person{Roles: in.Roles, Evidence: []string{"text"}, MinText: 1, Expires: in.Expires, Choice: in.Choice, Fact: in.Fact}
	if in.Match != nil {
		p.Match = in.Match.String()
	}
	return check.Traits{
		Kind: check.Attest, Class: check.Pure, Effect: check.Human, Does: "asks " + who(in.Roles) + " for " + in.Fact, Target: who(in.Roles), Person: p,
	}
}

// Run gathers what is shown beside the question.
func (in *input) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	return in.gather(ctx, env, in.Question)
}
