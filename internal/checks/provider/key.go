// Package provider holds the type that asks a provider whether it accepts a key,
// and what the key is good for.
package provider

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

//go:embed key.md
var keyDoc string

// Key is the type provider.key.
var Key = check.Define[key](check.Desc{
	Name:    "provider.key",
	Summary: "the provider accepts the key, and the key is good for what it is needed for",
	Doc:     keyDoc,
})

// The providers.
const (
	openAI    = "openai"
	anthropic = "anthropic"
	gemini    = "gemini"
	sendGrid  = "sendgrid"
	stripe    = "stripe"
	twilio    = "twilio"
)

type key struct {
	Provider   string     `param:"provider" doc:"whose key it is" enum:"openai,anthropic,gemini,sendgrid,stripe,twilio"`
	Key        secret.Ref `param:"key" doc:"the key; when left out the provider's usual variable: env:OPENAI_API_KEY, env:ANTHROPIC_API_KEY, env:GEMINI_API_KEY, env:SENDGRID_API_KEY, env:STRIPE_SECRET_KEY or env:TWILIO_AUTH_TOKEN" default:""`
	Account    string     `param:"account" doc:"the account that the token belongs to (Twilio, AC…)" default:""`
	API        string     `param:"api" doc:"address of the API; the provider's own when left out" default:""`
	Models     []string   `param:"models" doc:"ids of models that the key must be able to use (OpenAI, Anthropic, Gemini)" default:""`
	Scopes     []string   `param:"scopes" doc:"scopes that the key must have (SendGrid: mail.send)" default:""`
	Mode       string     `param:"mode" doc:"whether it must be a key for real money (Stripe)" default:"any" enum:"any,live,test"`
	SpendProbe bool       `param:"spend_probe" doc:"also lets the first of models write one token, which costs a fraction of a cent and shows that the quota is not used up" default:"false"`
}

// vendor is what the providers differ in.
type vendor struct {
	name, base, env string
	header          func(p *key, text string) http.Header
	look            func(ctx context.Context, p *key, c *rest.Client) (seen, error)
}

func vendors() map[string]vendor {
	bearer := func(_ *key, text string) http.Header { return http.Header{"Authorization": {"Bearer " + text}} }
	return map[string]vendor{
		openAI: {"OpenAI", "https://api.openai.com", "OPENAI_API_KEY", bearer, lookOpenAI},
		anthropic: {"Anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", func(_ *key, text string) http.Header {
			return http.Header{"X-Api-Key": {text}, "Anthropic-Version": {"2023-06-01"}}
		}, lookAnthropic},
		gemini: {"Gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY", func(_ *key, text string) http.Header {
			return http.Header{"X-Goog-Api-Key": {text}}
		}, lookGemini},
		sendGrid: {"SendGrid", "https://api.sendgrid.com", "SENDGRID_API_KEY", bearer, lookSendGrid},
		stripe:   {"Stripe", "https://api.stripe.com", "STRIPE_SECRET_KEY", bearer, lookStripe},
		twilio: {"Twilio", "https://api.twilio.com", "TWILIO_AUTH_TOKEN", func(p *key, text string) http.Header {
			r := http.Request{Header: http.Header{}}
			r.SetBasicAuth(p.Account, text)
			return r.Header
		}, lookTwilio},
	}
}

// Validate holds the rules between the parameters, and settles which key is meant
// so that it is known before the run.
func (p *key) Validate() error {
	v := vendors()[p.Provider]
	if p.Key.IsZero() {
		p.Key = secret.Ref{Scheme: "env", Name: v.env}
	}
	if p.API == "" {
		p.API = v.base
	}
	if err := rest.CheckBase(p.API); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	writes := p.Provider == openAI || p.Provider == anthropic || p.Provider == gemini
	switch {
	case len(p.Models) > 0 && !writes:
		return errors.New("models: only OpenAI, Anthropic and Gemini have models")
	case p.SpendProbe && len(p.Models) == 0:
		return errors.New("spend_probe: needs models, whose first one is asked")
	case len(p.Scopes) > 0 && p.Provider != sendGrid:
		return errors.New("scopes: only SendGrid tells the scopes of a key")
	case p.Mode != "any" && p.Provider != stripe:
		return errors.New("mode: only Stripe has keys for tests")
	case (p.Provider == twilio) != (p.Account != ""):
		return errors.New("account: goes with provider: twilio, and provider: twilio with account")
	case p.Account != "" && !regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`).MatchString(p.Account):
		return fmt.Errorf("account: want the account's SID (AC and 32 hex digits), got %.60q", p.Account)
	}
	for _, m := range p.Models {
		if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$`).MatchString(m) || strings.Contains(m, "..") {
			return fmt.Errorf("models: %.60q is no id of a model", m)
		}
	}
	return nil
}

// Traits says whether something is spent.
func (p *key) Traits() check.Traits {
	name := vendors()[p.Provider].name
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "asks " + name + " whether it accepts the key", Target: name,
	}
	if p.SpendProbe {
		t.Effect = check.Traffic
		t.Does += ", and lets a model write one token"
	}
	return t
}

// seen is what a provider told.
type seen struct {
	// models and scopes are what the key may use; nil when the provider tells none.
	models, scopes []string
	// miss says what is certainly wrong; empty when nothing is.
	miss   string
	facts  map[string]string
	header http.Header
}

// Run asks the provider.
func (p *key) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	v := vendors()[p.Provider]
	value, err := env.Secret(ctx, p.Key)
	if err != nil {
		return check.Outcome{}, err
	}
	text := strings.TrimSpace(value.Reveal())
	if text == "" || strings.ContainsAny(text, "\r\n\x00") {
		return check.Outcome{}, fmt.Errorf("the key %s is not one line of text", p.Key)
	}
	c, err := rest.New(env, v.name, p.API, v.header(p, text))
	if err != nil {
		return check.Outcome{}, err
	}
	start := env.Now()
	s, err := v.look(ctx, p, c)
	took := env.Now().Sub(start)
	if denied, ok := errors.AsType[*rejected](err); ok {
		return p.facts(check.Failf("%s does not accept the key %s: %s", v.name, p.Key, denied.why), s, took), nil
	}
	if rest.IsStatus(err, http.StatusUnauthorized) { // whose message may quote the key
		return check.Outcome{}, fmt.Errorf("%s answered 401, but not with what it says about a key that is not valid: is something between here and there?", v.name)
	}
	if rest.IsStatus(err, http.StatusForbidden) {
		return check.Outcome{}, fmt.Errorf("a restricted key may not be asked about, though it may be good for what it is made for: %w", err)
	}
	if err != nil {
		return check.Outcome{}, err
	}
	o, err := p.judge(v, s)
	if err != nil || o.Verdict == check.Fail || !p.SpendProbe {
		return p.facts(o, s, took), err
	}
	return p.spend(ctx, c, p.facts(o, s, took))
}

// judge compares what the key is good for with what it is needed for.
func (p *key) judge(v vendor, s seen) (check.Outcome, error) {
	if s.miss != "" {
		return check.Failf("%s accepts the key %s, but %s", v.name, p.Key, s.miss), nil
	}
	for _, of := range []struct {
		what       string
		want, have []string
	}{{"model", p.Models, s.models}, {"scope", p.Scopes, s.scopes}} {
		var missing []string
		for _, w := range of.want {
			if !slices.Contains(of.have, w) {
				missing = append(missing, w)
			}
		}
		if len(missing) > 0 {
			return check.Failf("the key %s has %s, but not %s", p.Key, plural(len(of.have), of.what), strings.Join(missing, ", ")), nil
		}
	}
	said := v.name + " accepts the key " + p.Key.String()
	switch {
	case s.models != nil:
		said += ", which may use " + plural(len(s.models), "model")
	case s.scopes != nil:
		said += ", which has " + plural(len(s.scopes), "scope")
	}
	if wanted := append(slices.Clone(p.Models), p.Scopes...); len(wanted) > 0 {
		said += ", with " + strings.Join(wanted, ", ")
	}
	return check.Passf("%s", said), nil
}

// facts adds what was told, and the limits that stand in the header.
func (p *key) facts(o check.Outcome, s seen, took time.Duration) check.Outcome {
	o = o.With("key", p.Key.String()).With("latency", took.Round(time.Millisecond).String())
	for _, name := range slices.Sorted(maps.Keys(s.facts)) {
		o = o.With(name, s.facts[name])
	}
	if s.models != nil {
		o = o.With("models", strconv.Itoa(len(s.models)))
	}
	if s.scopes != nil {
		o = o.With("scopes", strconv.Itoa(len(s.scopes)))
	}
	return limits(o, s.header)
}

// limits keeps the header's lines about limits and the organisation; a provider
// has about a dozen of them.
func limits(o check.Outcome, header http.Header) check.Outcome {
	const most = 20
	kept := 0
	for _, name := range slices.Sorted(maps.Keys(header)) {
		lower := strings.ToLower(name)
		if kept < most && (strings.Contains(lower, "ratelimit") || strings.HasSuffix(lower, "-organization") || strings.HasSuffix(lower, "-organization-id")) {
			o = o.With("header."+lower, short(header.Get(name)))
			kept++
		}
	}
	return o
}

func short(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if runes := []rune(text); len(runes) > 100 {
		return string(runes[:99]) + "…"
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
