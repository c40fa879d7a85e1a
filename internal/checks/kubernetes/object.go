// Package kubernetes holds the type that looks at objects of a cluster.
package kubernetes

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed kubernetes.object.md
var objectDoc string

// Object is the type kubernetes.object.
var Object = check.Define[object](check.Desc{
	Name: "kubernetes.object", Summary: "objects of a cluster are there and as they must be, and rollouts are complete", Doc: objectDoc,
})

// object asks kubectl for objects of one kind.
type object struct {
	Kind      string           `param:"kind" doc:"kind or resource: deployment, ingress, certificates.cert-manager.io"`
	Name      string           `param:"name" doc:"the object's name" default:""`
	Selector  string           `param:"selector" doc:"labels of the objects, instead of a name" default:""`
	Namespace string           `param:"namespace" doc:"the namespace; the context's own when left out" default:""`
	Context   string           `param:"context" doc:"context of the kubeconfig; the current one when left out" default:""`
	Absent    bool             `param:"absent" doc:"there must be no such object" default:"false"`
	Min       int              `param:"min" doc:"how many objects there must be at least" default:"1"`
	Rollout   bool             `param:"rollout" doc:"every object is a workload whose rollout is complete" default:"false"`
	Expect    check.Expression `param:"expect" doc:"condition over object, which must hold for each" default:""`
	On        string           `param:"on" doc:"host that has kubectl; this machine when left out" default:""`
}

var (
	kindName   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.[a-z0-9-]+)*$`)
	objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.:-]*[a-z0-9])?$`) // kubernetes.io/docs/concepts/overview/working-with-objects/names
)

// Validate holds the rules between parameters.
func (o *object) Validate() error {
	switch {
	case !kindName.MatchString(o.Kind):
		return fmt.Errorf("kind: %q is no kind", o.Kind)
	case (o.Name == "") == (o.Selector == ""):
		return errors.New("give either name or selector")
	case o.Name != "" && !objectName.MatchString(o.Name):
		return fmt.Errorf("name: %q is not a name", o.Name)
	case o.Min < 1:
		return errors.New("min must be at least 1; for none write absent: true")
	case o.Absent && (o.Rollout || !o.Expect.IsZero() || o.Min > 1):
		return errors.New("absent: nothing else can be asked of what must not be there")
	case o.Name != "" && o.Min > 1:
		return errors.New("min is for selector: a name is of one object")
	}
	for key, word := range map[string]string{"selector": o.Selector, "namespace": o.Namespace, "context": o.Context} {
		if strings.HasPrefix(word, "-") || strings.ContainsAny(word, "\x00\n\r") {
			return fmt.Errorf("%s: %q cannot be one", key, word)
		}
	}
	return o.Expect.Only("object")
}

// Traits says that a program asks the cluster.
func (o *object) Traits() check.Traits {
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "looks at " + o.named(), Target: o.named()}
}

func (o *object) named() string {
	what := o.Kind + "/" + o.Name
	if o.Name == "" {
		what = o.Kind + " with " + o.Selector
	}
	if o.Namespace != "" {
		what += " in " + o.Namespace
	}
	return what
}

// Run asks for the objects and judges each.
func (o *object) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	found, err := o.get(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	if o.Absent {
		if len(found) > 0 {
			return check.Failf("%s is there", o.named()), nil
		}
		return check.Passf("%s is not there", o.named()), nil
	}
	if len(found) < o.Min {
		return check.Failf("%s: %d there, want at least %d", o.named(), len(found), o.Min), nil
	}
	facts := map[string]string{}
	var wrong []string
	for _, one := range found {
		miss, err := o.judge(one, facts)
		if err != nil {
			return check.Outcome{}, err
		}
		if miss != "" {
			wrong = append(wrong, one.name()+": "+miss)
		}
	}
	outcome := check.Passf("%s: %d as they must be", o.named(), len(found))
	if len(wrong) > 0 {
		outcome = check.Failf("%s", strings.Join(wrong, "; "))
	}
	outcome.Facts = facts
	return outcome, nil
}

func (o *object) judge(one thing, facts map[string]string) (string, error) {
	facts[one.name()] = "resource version " + one.Meta.ResourceVersion
	if o.Rollout {
		state, complete, err := one.rollout()
		if err != nil {
			return "", fmt.Errorf("%s: %w", one.name(), err)
		}
		facts[one.name()] = state
		if !complete {
			return state, nil
		}
	}
	if o.Expect.IsZero() {
		return "", nil
	}
	whole, err := check.FromJSON(one.text)
	if err != nil {
		return "", err
	}
	holds, err := o.Expect.Eval(map[string]any{"object": whole})
	if err != nil {
		return "", fmt.Errorf("%s: %w", one.name(), err)
	}
	if !holds {
		return "not so: " + o.Expect.String(), nil
	}
	return "", nil
}
