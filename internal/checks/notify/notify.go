// Package notify holds the type that tells people what happens.
package notify

import (
	"context"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

//go:embed notify.md
var notifyDoc string

// Notify is the type notify.
var Notify = check.Define[notification](check.Desc{
	Name:    "notify",
	Summary: "every target has taken the message",
	Doc:     notifyDoc,
})

// maxText bounds a message, in bytes.
const maxText = 32 << 10

type notification struct {
	To       []target `param:"to" doc:"targets: webhook:https://…, webhook:env:NAME (or file:, cmd:) for an address that is secret, file:PATH"`
	Template string   `param:"template" doc:"what the message says" default:"" enum:"start,completion,rollback-start,rollback-done,downtime,test"`
	Text     string   `param:"text" doc:"the message, instead of a template or after it" default:""`
	Facts    []string `param:"facts" doc:"facts of the run to add" default:""`
	Format   string   `param:"format" doc:"body of a webhook: all fields, or only the text as chat systems take it" default:"allclear" enum:"allclear,chat"`
}

// target is where a message goes.
type target struct {
	// file is a path; webhook an address, or ref where it is kept.
	file, webhook string
	ref           secret.Ref
}

// UnmarshalText reads a target.
func (t *target) UnmarshalText(text []byte) error {
	kind, rest, _ := strings.Cut(string(text), ":")
	switch {
	case rest == "":
	case kind == "file":
		*t = target{file: rest}
		return nil
	case kind == "webhook" && (strings.HasPrefix(rest, "http://") || strings.HasPrefix(rest, "https://")):
		u, err := url.Parse(rest)
		if err != nil || u.Host == "" {
			return errors.New("not an address")
		}
		if u.User != nil {
			return errors.New("an address with a password is a secret: write webhook:env:NAME")
		}
		*t = target{webhook: rest}
		return nil
	case kind == "webhook":
		ref, err := secret.ParseRef(rest)
		if err != nil {
			return err
		}
		*t = target{ref: ref}
		return nil
	}
	return errors.New("want webhook:https://…, webhook:env:NAME or file:PATH")
}

// String names the target in messages; an address that is secret is named by its
// reference.
func (t target) String() string {
	switch {
	case t.file != "":
		return "file:" + t.file
	case t.webhook != "":
		return "webhook:" + t.webhook
	}
	return "webhook:" + t.ref.String()
}

// Validate holds the rules between the parameters.
func (p *notification) Validate() error {
	if len(p.To) == 0 {
		return errors.New("to: name at least one target")
	}
	if p.Template == "" && strings.TrimSpace(p.Text) == "" {
		return errors.New("give template or text")
	}
	if len(p.Text) > maxText {
		return fmt.Errorf("text: longer than %d bytes", maxText)
	}
	for i, t := range p.To {
		if slices.Contains(p.To[:i], t) {
			return fmt.Errorf("to: %s is given twice", t)
		}
	}
	return nil
}

// Traits tells what may be repeated: a file is looked at first, a webhook gets
// the same key each time. A chat system drops no repeats.
func (p *notification) Traits() check.Traits {
	class := check.Probed
	if slices.ContainsFunc(p.To, func(t target) bool { return t.file == "" }) {
		class = check.Keyed
		if p.Format == "chat" {
			class = check.Unsafe
		}
	}
	return check.Traits{
		Kind: check.Action, Class: class, Effect: check.Message, Pool: check.Network,
		Does: "sends a message to " + p.names(), Target: p.names(),
	}
}

func (p *notification) names() string {
	var names []string
	for _, t := range p.To {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// message is what is sent. It is the same for every repetition in one run.
type message struct {
	ID          string            `json:"id"`
	Template    string            `json:"template,omitempty"`
	Text        string            `json:"text"`
	Project     string            `json:"project"`
	Environment string            `json:"environment"`
	Release     string            `json:"release"`
	Run         string            `json:"run"`
	Item        string            `json:"item"`
	Starter     string            `json:"starter"`
	Facts       map[string]string `json:"facts,omitempty"`
}

// id is the key by which a target knows a repeated message.
func id(env *check.Env, t target) string {
	sum := sha256.Sum256([]byte(env.Key + "\n" + t.String()))
	return hex.EncodeToString(sum[:16])
}

// compose makes the message for one target.
func (p *notification) compose(env *check.Env, t target) (message, error) {
	r := env.Run
	m := message{
		ID: id(env, t), Template: p.Template, Project: r.Project, Environment: r.Environment,
		Release: r.Release, Run: r.ID, Item: r.Item, Starter: r.Starter,
	}
	lines := []string{}
	if p.Template != "" {
		lines = append(lines, sentence(p.Template, r))
	}
	if p.Text != "" {
		lines = append(lines, p.Text)
	}
	for _, name := range p.Facts {
		value, known := env.Ledger.Fact(name)
		if !known {
			return m, &check.NotSupplied{What: name}
		}
		if m.Facts == nil {
			m.Facts = map[string]string{}
		}
		m.Facts[name] = value
		lines = append(lines, name+": "+value)
	}
	m.Text = strings.Join(lines, "\n")
	if len(m.Text) > maxText {
		return m, fmt.Errorf("the message is longer than %d bytes", maxText)
	}
	return m, nil
}

// sentence gives a template's words.
func sentence(template string, r check.RunInfo) string {
	what := fmt.Sprintf("%s %s to %s", r.Project, r.Release, r.Environment)
	at := r.StartedAt.UTC().Format("2006-01-02 15:04 UTC")
	switch template {
	case "start":
		return fmt.Sprintf("Deployment of %s started by %s (run %s, %s).", what, r.Starter, r.ID, at)
	case "completion":
		return fmt.Sprintf("Deployment of %s is complete (run %s, started %s).", what, r.ID, at)
	case "rollback-start":
		return fmt.Sprintf("Rollback of %s to %s started (run %s).", what, before(r), r.ID)
	case "rollback-done":
		return fmt.Sprintf("Rollback of %s is done: %s is live again (run %s).", what, before(r), r.ID)
	case "downtime":
		return fmt.Sprintf("%s in %s goes into maintenance for the deployment of %s (run %s).", r.Project, r.Environment, r.Release, r.ID)
	}
	return fmt.Sprintf("Test message of %s in %s (run %s). Nothing to do.", r.Project, r.Environment, r.ID)
}

func before(r check.RunInfo) string {
	if r.Previous == "" {
		return "the version before"
	}
	return r.Previous
}

// body gives what a webhook gets.
func (p *notification) body(m message) ([]byte, error) {
	if p.Format == "chat" {
		return json.Marshal(struct {
			Text string `json:"text"`
		}{m.Text})
	}
	return json.Marshal(m)
}

// Run sends the message to every target. A target that refuses it makes the item
// fail; one of which nothing certain is known makes an error, and what the others
// took is not sent to them as something new when the item is repeated.
func (p *notification) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	facts := map[string]string{}
	var refused []string
	var unknown []error
	var wait time.Duration
	for _, t := range p.To {
		miss, err := p.deliver(ctx, env, t, facts)
		if later, ok := errors.AsType[*check.RetryLater](err); ok {
			wait, err = max(wait, later.After), later.Err
		}
		if err != nil {
			unknown = append(unknown, fmt.Errorf("%s: %w", t, err))
		}
		if miss != "" {
			refused = append(refused, fmt.Sprintf("%s %s", t, miss))
		}
	}
	o := check.Passf("%s took the message", p.names())
	if len(refused) > 0 {
		o = check.Failf("%s", strings.Join(refused, "; "))
	}
	o.Facts = facts
	if err := errors.Join(unknown...); err != nil {
		if wait > 0 {
			err = &check.RetryLater{After: wait, Err: err}
		}
		return o, err
	}
	return o, nil
}

func (p *notification) deliver(ctx context.Context, env *check.Env, t target, facts map[string]string) (string, error) {
	m, err := p.compose(env, t)
	if err != nil {
		return "", err
	}
	facts["id."+t.String()] = m.ID
	if t.file != "" {
		return "", appendOnce(ctx, env, t.file, m, facts)
	}
	return p.post(ctx, env, t, m, facts)
}

// Probe tells whether the message stands in every file. A webhook cannot be
// asked.
func (p *notification) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	done := 0
	for _, t := range p.To {
		if t.file == "" {
			return "", check.Outcome{}, fmt.Errorf("%s cannot be asked whether it took the message", t)
		}
		found, err := contains(ctx, env, t.file, id(env, t))
		if err != nil {
			return "", check.Outcome{}, err
		}
		if found {
			done++
		}
	}
	switch done {
	case len(p.To):
		return check.Done, check.Passf("%s: the message is there", p.names()), nil
	case 0:
		return check.NotDone, check.Failf("%s: the message is not there", p.names()), nil
	}
	return check.Partly, check.Failf("the message is in %d of %d files", done, len(p.To)), nil
}
