// Package notify holds the type that tells people what happens.
package notify

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/receipt"
	"allclear.dev/allclear/internal/rest"
)

//go:embed notify.md
var notifyDoc string

// Notify is the type notify.
var Notify = check.Define[notification](check.Desc{
	Name:    "notify",
	Summary: "every target has taken the message",
	Doc:     notifyDoc,
})

type notification struct {
	To       []target            `param:"to" doc:"targets: slack:#channel, slack-webhook:env:NAME, teams:env:NAME, pagerduty:env:NAME, email:ADDRESS (several with commas, or email:csv:PATH), webhook:https://…, webhook:env:NAME (or file:, cmd:) for an address that is secret, file:PATH"`
	Template string              `param:"template" doc:"what the message says" default:"" enum:"start,completion,rollback-start,rollback-done,downtime,test"`
	Text     string              `param:"text" doc:"the message, instead of a template or after it" default:""`
	TextFile string              `param:"text_file" doc:"file with the message, in which {{release}}, {{environment}} and so on are filled in" default:""`
	Facts    []string            `param:"facts" doc:"facts of the run to add" default:""`
	Attach   []string            `param:"attach" doc:"items whose results are added with their sha256, or file:PATH, whose sha256 is added and which is kept as evidence" default:""`
	Mode     string              `param:"mode" doc:"test marks the message as one that asks for nothing" default:"send" enum:"send,test"`
	Confirm  []string            `param:"confirm" doc:"items that must have passed before anything is sent, such as attestations of two people" default:""`
	AckRoles map[string][]string `param:"ack_roles" doc:"by role, mail addresses or Slack ids of which one must react to the message in Slack" default:""`
	Format   string              `param:"format" doc:"body of a webhook: all fields, or only the text as chat systems take it" default:"allclear" enum:"allclear,chat"`
	Slack    slackSettings       `param:"slack" doc:"how Slack is reached" default:""`
	Email    mailSettings        `param:"email" doc:"how mail is sent" default:""`
	Pager    pageSettings        `param:"pagerduty" doc:"what PagerDuty is told" default:""`
	Hook     hookSettings        `param:"webhook" doc:"what webhooks get" default:""`
}

// Validate holds the rules between the parameters.
func (p *notification) Validate() error {
	switch {
	case len(p.To) == 0:
		return errors.New("to: name at least one target")
	case p.Template == "" && strings.TrimSpace(p.Text) == "" && p.TextFile == "":
		return errors.New("give template, text or text_file")
	case len(p.Text) > maxText:
		return fmt.Errorf("text: longer than %d bytes", maxText)
	case len(p.AckRoles) > 0 && !p.has(toSlack):
		return errors.New("ack_roles: only a target slack:#channel can be asked who reacted")
	case p.Mode == "test" && p.has(toPagerDuty) && p.Pager.event() == trigger:
		return errors.New("mode: a test does not wake anybody: use pagerduty: {event: change}")
	case p.Hook.Body != "" && p.Format == "chat":
		return errors.New("format and webhook.body are two ways to say what a webhook gets")
	}
	for role, people := range p.AckRoles {
		if len(split(people)) == 0 {
			return fmt.Errorf("ack_roles: nobody is named for %s", role)
		}
	}
	for i, t := range p.To {
		if slices.Contains(p.To[:i], t) {
			return fmt.Errorf("to: %s is given twice", t)
		}
	}
	return p.settings()
}

// settings looks at what belongs to the kinds of targets that are there.
func (p *notification) settings() error {
	if p.has(toEmail) {
		if err := p.Email.validate(); err != nil {
			return err
		}
	}
	if p.has(toSlack) {
		if err := rest.CheckBase(p.Slack.api()); err != nil {
			return fmt.Errorf("slack.api: %w", err)
		}
	}
	if err := p.Pager.validate(); err != nil {
		return err
	}
	return p.Hook.validate()
}

func (p *notification) has(kind string) bool {
	return slices.ContainsFunc(p.To, func(t target) bool { return t.kind == kind })
}

// keyed tells whether a target drops what it gets twice.
func (p *notification) keyed(t target) bool {
	switch t.kind {
	case toWebhook:
		return p.Format != "chat" && p.Hook.Body == ""
	case toPagerDuty:
		return p.Pager.event() != change
	}
	return false
}

// Traits tells what may be repeated. Where a target drops repeats, anything. Else
// what was sent is looked up: in the file, or in the receipts.
func (p *notification) Traits() check.Traits {
	class := check.Keyed
	switch {
	case !slices.ContainsFunc(p.To, func(t target) bool { return t.kind != toFile }),
		slices.ContainsFunc(p.To, func(t target) bool { return t.kind != toFile && !p.keyed(t) }),
		len(p.AckRoles) > 0:
		class = check.Probed
	}
	return check.Traits{
		Kind: check.Action, Class: class, Effect: check.Message, Pool: check.Network,
		Does: "sends a message to " + p.names() + p.preview(), Target: p.names(),
	}
}

func (p *notification) names() string {
	var names []string
	for _, t := range p.To {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// preview shows in the plan what is known of the message before the run.
func (p *notification) preview() string {
	const most = 160
	var parts []string
	if p.Mode == "test" {
		parts = append(parts, "as a test")
	}
	if p.Template != "" {
		parts = append(parts, "template "+p.Template)
	}
	if p.TextFile != "" {
		parts = append(parts, "text of "+p.TextFile)
	}
	if text := strings.Join(strings.Fields(p.Text), " "); text != "" {
		if len(text) > most {
			text = strings.ToValidUTF8(text[:most], "") + "…"
		}
		parts = append(parts, "“"+text+"”")
	}
	return ": " + strings.Join(parts, ", ")
}

// Run sends the message to every target that has not taken it in this run. A
// target that refuses it makes the item fail; one of which nothing certain is
// known makes an error.
func (p *notification) Run(ctx context.Context, env *check.Env) (out check.Outcome, err error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	if missing, err := p.unconfirmed(ctx, env); missing != "" || err != nil {
		return check.Failf("%s: nothing was sent", missing), err
	}
	c, err := p.compose(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	book, err := receipt.Open(ctx, env, once(env))
	if err != nil {
		return check.Outcome{}, err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	r := &round{p: p, env: env, book: book, composed: c, facts: c.facts}
	out, err = r.all(ctx)
	if err != nil || out.Verdict != check.Pass || len(p.AckRoles) == 0 {
		return out, err
	}
	return p.acknowledged(ctx, env, book.All(), out)
}

// unconfirmed names the first item that must have passed and has not.
func (p *notification) unconfirmed(ctx context.Context, env *check.Env) (string, error) {
	for _, id := range p.Confirm {
		results, err := env.Ledger.Items(ctx, check.Query{Patterns: []string{id}})
		if err != nil {
			return "", fmt.Errorf("look up confirm: %w", err)
		}
		if len(results.Items) == 0 {
			return "", fmt.Errorf("confirm: there is no item %s", id)
		}
		for _, it := range results.Items {
			if it.Verdict != "pass" && it.Verdict != "done" {
				return fmt.Sprintf("%s is %s", it.ID, it.Verdict), nil
			}
		}
	}
	return "", nil
}

// round is one attempt to reach every target.
type round struct {
	p        *notification
	env      *check.Env
	book     *receipt.Book
	composed composed
	facts    map[string]string

	refused  []string
	unknown  []error
	wait     time.Duration
	outcomes []mailed
}

func (r *round) all(ctx context.Context) (check.Outcome, error) {
	for _, t := range r.p.To {
		switch t.kind {
		case toFile:
			m := r.composed.to(r.env, t)
			r.facts["id."+t.String()] = m.ID
			r.note(t.String(), appendOnce(ctx, r.env, t.name, m, r.facts))
		case toEmail:
			r.note(t.String(), r.mail(ctx, t))
		default:
			r.deliver(ctx, t)
		}
	}
	return r.outcome()
}

// note keeps what could not be found out about a target.
func (r *round) note(to string, err error) {
	if err == nil {
		return
	}
	if later, ok := errors.AsType[*check.RetryLater](err); ok {
		r.wait, err = max(r.wait, later.After), later.Err
	}
	r.unknown = append(r.unknown, fmt.Errorf("%s: %w", to, err))
}

func (r *round) outcome() (check.Outcome, error) {
	o := check.Passf("%s took the message", r.p.names())
	if len(r.refused) > 0 {
		o = check.Failf("%s", strings.Join(r.refused, "; "))
	}
	o.Facts, o.Artefacts = r.facts, r.composed.artefacts
	if err := r.evidence(&o); err != nil {
		return o, err
	}
	if err := errors.Join(r.unknown...); err != nil {
		if r.wait > 0 {
			err = &check.RetryLater{After: r.wait, Err: err}
		}
		return o, err
	}
	return o, nil
}

// Probe tells by the files and the receipts which targets have taken the message.
func (p *notification) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	entries, err := receipt.Read(env, once(env))
	if err != nil {
		return "", check.Outcome{}, err
	}
	names, err := p.receipts(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	all, done := 0, 0
	for _, t := range p.To {
		if t.kind == toFile {
			found, err := contains(ctx, env, t.name, id(env, t))
			if err != nil {
				return "", check.Outcome{}, err
			}
			all++
			done += map[bool]int{true: 1}[found]
			continue
		}
		for _, to := range names[t] {
			all++
			switch entry := entries[to]; {
			case entry.State == receipt.Taken:
				done++
			case entry.State == receipt.Sending && !p.keyed(t):
				return "", check.Outcome{}, fmt.Errorf("whether %s took the message is not known: look there; if it did not, say so and retry the item: what the others took is not sent again", to)
			}
		}
	}
	switch {
	case done == 0:
		return check.NotDone, check.Failf("%s: nobody has taken the message", p.names()), nil
	case done < all:
		return check.Partly, check.Failf("%d of %d have taken the message; a retry of the item sends it to the others alone", done, all), nil
	}
	o := check.Passf("%s: all %d have taken the message", p.names(), all)
	if len(p.AckRoles) == 0 {
		return check.Done, o, nil
	}
	missing, facts, err := p.acks(ctx, env, entries)
	if err != nil {
		return "", check.Outcome{}, err
	}
	if o.Facts = facts; len(missing) > 0 {
		return check.Partly, check.Failf("the message was taken, and nobody has reacted for %s", strings.Join(missing, ", ")), nil
	}
	return check.Done, o, nil
}

// receipts gives, by target, the names under which receipts are kept.
func (p *notification) receipts(ctx context.Context, env *check.Env) (map[target][]string, error) {
	out := map[target][]string{}
	for _, t := range p.To {
		out[t] = []string{t.String()}
		if t.kind != toEmail {
			continue
		}
		people, err := p.people(ctx, env, t)
		if err != nil {
			return nil, err
		}
		out[t] = nil
		for _, who := range people {
			out[t] = append(out[t], toEmail+":"+who)
		}
	}
	return out, nil
}

// split takes lists apart that came as one text, from a variable.
func split(texts []string) []string {
	var out []string
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}
