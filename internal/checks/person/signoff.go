package person

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"slices"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed signoff.md
var signoffDoc string

// Signoff is the type signoff.
var Signoff = check.Define[signoff](check.Desc{
	Name: "signoff", Summary: "a named role decides whether the run goes on", Doc: signoffDoc,
})

// signoff is a role's decision.
type signoff struct {
	Roles     []string      `param:"role,short" doc:"who decides; any one of several roles"`
	Question  string        `param:"question" doc:"what is asked; the item's own text when left out" default:""`
	NotSameAs []string      `param:"not_same_as" doc:"roles or items whose person may not decide here" default:""`
	Choice    []string      `param:"choice" doc:"the decisions offered, the one to go on first; approve and reject when left out" default:""`
	Expires   time.Duration `param:"expires" doc:"how long the decision stands; for the run when left out" default:"0s"`
	beside
}

// Validate holds the rules between parameters.
func (s *signoff) Validate() error {
	if len(s.Roles) == 0 {
		return errors.New("role names nobody")
	}
	for _, role := range s.NotSameAs {
		if len(s.Roles) == 1 && slices.Contains(s.Roles, role) {
			return errors.New("not_same_as names the only role that may decide")
		}
	}
	if len(s.Choice) == 1 {
		return errors.New("choice offers only one decision")
	}
	return errors.Join(distinct("role", s.Roles), distinct("not_same_as", s.NotSameAs), distinct("choice", s.Choice))
}

// Traits says who decides.
func (s *signoff) Traits() check.Traits {
	return check.Traits{
		Kind: check.Signoff, Class: check.Pure, Effect: check.Human, Does: "asks " + who(s.Roles) + " to decide", Target: who(s.Roles),
		Person: &check.Person{Roles: s.Roles, NotSameAs: s.NotSameAs, Expires: s.Expires, Choice: s.Choice},
	}
}

// Run gathers what is shown beside the question.
func (s *signoff) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	return s.gather(ctx, env, s.Question)
}
