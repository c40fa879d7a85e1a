package tracker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// draft puts together the issue to create, the same at each repetition.
func (p *issues) draft(ctx context.Context, env *check.Env) (draft, error) {
	d := draft{title: p.Title, body: p.Body, assignee: p.Assignee, labels: p.Labels, mark: markOf(env)}
	if p.Template != "" {
		host, err := env.Host("")
		if err != nil {
			return d, err
		}
		path := p.Template
		if !filepath.IsAbs(path) {
			path = filepath.Join(env.Dir, path)
		}
		text, err := host.ReadFile(ctx, path, maxText)
		if err != nil {
			return d, fmt.Errorf("read template: %w", err)
		}
		if d.body = strings.TrimSpace(strings.ToValidUTF8(string(text), "")); d.body == "" {
			return d, fmt.Errorf("the template %s is empty", p.Template)
		}
	}
	r := env.Run
	d.body = strings.TrimRight(d.body, "\n") + fmt.Sprintf("\n\nRun %s of %s %s in %s, item %s. Reference: %s", r.ID, r.Project, r.Release, r.Environment, r.Item, d.mark.word)
	return d, nil
}

// create makes the issue unless it is there already.
func (p *issues) create(ctx context.Context, env *check.Env, t tracker) (check.Outcome, error) {
	d, err := p.draft(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	there, err := t.mine(ctx, d.mark)
	if err != nil {
		return check.Outcome{}, err
	}
	if len(there) > 0 {
		return p.created(there[0]), nil
	}
	made, err := t.create(ctx, d)
	if refused, ok := errors.AsType[*rest.Refused](err); ok && !isLimit(err) {
		return check.Failf("%v", refused), nil
	}
	if no, ok := errors.AsType[refusal](err); ok {
		return check.Failf("%v", no), nil
	}
	if err != nil {
		return check.Outcome{}, err
	}
	if made.ID == "" || made.ID == "#0" {
		return check.Outcome{}, fmt.Errorf("%s took the issue, but did not say which one it is", p.name())
	}
	return p.created(made), nil
}

func isLimit(err error) bool {
	_, limit := errors.AsType[*check.RetryLater](err)
	return limit
}

// created says what is there. GitHub drops an assignee whom it does not know
// without a word; nobody would take care then.
func (p *issues) created(t ticket) check.Outcome {
	o := check.Passf("%s is created: %s", t.ID, t.URL)
	if p.Assignee != "" && t.Assignee == "" {
		o = check.Failf("%s is created, but %s assigned it to nobody: may %s be assigned there?", t.ID, p.name(), p.Assignee)
	}
	o.Facts = map[string]string{"issue": t.ID, "url": t.URL, "title": p.Title, "assignee": assigned(t)}
	if p.Fact != "" {
		o.Sets = map[string]string{p.Fact: t.ID}
	}
	return o
}

// Probe looks for the issue by its mark.
func (p *issues) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	t, err := p.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	there, err := t.mine(ctx, markOf(env))
	if err != nil {
		return "", check.Outcome{}, err
	}
	if len(there) == 0 {
		return check.NotDone, check.Failf("no issue of this item is there"), nil
	}
	o := p.created(there[0])
	if o.Verdict == check.Fail {
		return check.Partly, o, nil
	}
	return check.Done, o, nil
}

// Undo closes what carries this item's mark, and nothing else.
func (p *issues) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	t, err := p.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	there, err := t.mine(ctx, markOf(env))
	if err != nil {
		return check.Outcome{}, err
	}
	var ids []string
	for _, one := range there {
		ids = append(ids, one.ID)
		if one.Closed {
			continue
		}
		if err := t.end(ctx, one); err != nil {
			return check.Outcome{}, err
		}
	}
	if len(ids) == 0 {
		return check.Passf("there is no issue of this item"), nil
	}
	return check.Passf("%s is closed", strings.Join(ids, ", ")), nil
}

// Examine tries a search, and asks what the token can do before one is created.
func (p *issues) Examine(ctx context.Context, env *check.Env) (string, error) {
	t, err := p.open(ctx, env)
	if err != nil {
		return "", err
	}
	if p.Do == "create" {
		if _, err := p.draft(ctx, env); err != nil {
			return "", err
		}
		return t.examine(ctx)
	}
	o, err := p.find(ctx, env, t)
	if err != nil {
		return "", err
	}
	if o.Verdict == check.Fail {
		return "answers; would fail now: " + o.Reason, nil
	}
	return "would pass now: " + o.Reason, nil
}
