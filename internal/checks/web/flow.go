package web

import (
	_ "embed" // the page
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

//go:embed flow.md
var flowDoc string

// Flow is the type http.flow.
var Flow = check.Define[flow](check.Desc{
	Name:    "http.flow",
	Summary: "a conversation of several requests goes as expected, and its test data is cleaned up",
	Doc:     flowDoc,
})

type flow struct {
	Base          string                `param:"base" doc:"address that the steps' paths are added to" default:""`
	Steps         []step                `param:"steps" doc:"requests, one after the other; the first that is not as expected ends the flow" default:""`
	Matrix        *matrix               `param:"matrix" doc:"who may do what, asked after the steps" default:""`
	Cleanup       []step                `param:"cleanup" doc:"requests that take the test data away; always sent, also after a failure or when the run is cancelled" default:""`
	CleanupWithin time.Duration         `param:"cleanup_within" doc:"time for the cleanup" default:"30s"`
	Vars          map[string]string     `param:"vars" doc:"texts that {{name}} stands for" default:""`
	Secrets       map[string]secret.Ref `param:"secrets" doc:"secrets that {{name}} stands for" default:""`
	Show          []string              `param:"show" doc:"captured names that may be seen; all others are masked" default:""`
	Cookies       bool                  `param:"cookies" doc:"keep cookies from step to step" default:"true"`
	Resolve       string                `param:"resolve" doc:"address (host or host:port) to connect to instead of looking names up" default:""`
	TLS           tlsOptions            `param:"tls" doc:"trust other than the system's" default:""`
}

// step is one request of a flow.
type step struct {
	Name string `param:"name" doc:"name in messages and evidence"`
	request
	Expect  expectation       `param:"expect" doc:"what the answer must be; without a status, 2xx (in cleanup also 404 and 410)" default:""`
	Capture map[string]string `param:"capture" doc:"values to keep by name: a path in the JSON answer, header:NAME or cookie:NAME" default:""`
	Sign    *sign             `param:"sign" doc:"signature over the request, as webhooks carry it" default:""`
	Poll    *poll             `param:"poll" doc:"ask again until the answer is as expected, for what takes its time" default:""`
}

// poll bounds how a step is asked again.
type poll struct {
	Every time.Duration `param:"every" doc:"pause between two requests" default:"2s"`
	For   time.Duration `param:"for" doc:"how long to ask"`
}

// builtin are the names that every flow knows.
func builtin() []string { return []string{"unique", "timestamp"} }

// Validate holds the rules between the parameters: above all, that no step uses a
// value before another one has captured it.
func (p *flow) Validate() error {
	if len(p.Steps) == 0 && p.Matrix == nil {
		return errors.New("give steps or matrix")
	}
	if len(p.Steps)+len(p.Cleanup) > maxRequests {
		return fmt.Errorf("more than %d steps", maxRequests)
	}
	known := builtin()
	for name, text := range p.Vars {
		if bad := unknown(builtin(), text); bad != "" {
			return fmt.Errorf("vars: %s uses {{%s}}, which is not known here", name, bad)
		}
		known = append(known, name)
	}
	for name := range p.Secrets {
		known = append(known, name)
	}
	taken := slices.Clone(known)
	var errs []error
	for i := range p.Steps {
		errs = append(errs, p.Steps[i].validate(p.Base, known))
		for name := range p.Steps[i].Capture {
			if slices.Contains(taken, name) {
				errs = append(errs, fmt.Errorf("step %s: capture: the name %s is taken by vars, secrets or allclear", p.Steps[i].Name, name))
			}
			known = append(known, name)
		}
	}
	if p.Matrix != nil {
		errs = append(errs, p.Matrix.validate(p.Base, known))
	}
	for i := range p.Cleanup {
		errs = append(errs, p.Cleanup[i].validate(p.Base, known))
	}
	for _, name := range p.Show {
		if !slices.Contains(known, name) || slices.Contains(taken, name) {
			errs = append(errs, fmt.Errorf("show: no step captures %s", name))
		}
	}
	c := connection{TLS: p.TLS}
	return errors.Join(append(errs, c.validate())...)
}

// unknown gives the first name that texts use and the list does not hold.
func unknown(known []string, texts ...string) string {
	for _, name := range uses(texts...) {
		if !slices.Contains(known, name) {
			return name
		}
	}
	return ""
}

func (s *step) validate(base string, known []string) error {
	errs := []error{address(base, &s.request), s.request.validate(base != ""), s.Expect.validate(s.Method)}
	if bad := unknown(known, append(s.request.texts(), s.Expect.texts()...)...); bad != "" {
		errs = append(errs, fmt.Errorf("{{%s}} is used before a step captures it", bad))
	}
	if s.Sign != nil {
		errs = append(errs, s.Sign.validate())
	}
	for name, from := range s.Capture {
		if len(uses("{{"+name+"}}")) == 0 {
			errs = append(errs, fmt.Errorf("capture: %q is not a name", name))
		}
		kind, rest, special := strings.Cut(from, ":")
		if special && (kind == "header" || kind == "cookie") && rest != "" {
			continue
		}
		if _, err := parsePath(from); err != nil {
			errs = append(errs, fmt.Errorf("capture: %w", err))
		}
	}
	if s.Poll != nil && (s.Poll.Every < 10*time.Millisecond || s.Poll.For < s.Poll.Every) {
		errs = append(errs, errors.New("poll: want every of at least 10ms, and for at least as long"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("step %s: %w", s.Name, err)
	}
	return nil
}

// address checks that what a server answers cannot choose the host.
func address(base string, r *request) error {
	if base != "" {
		if err := (&request{URL: base}).validate(false); err != nil {
			return fmt.Errorf("base: %w", err)
		}
	}
	scheme, rest, absolute := strings.Cut(r.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	if absolute && len(uses(scheme, host))+len(uses(base)) > 0 {
		return errors.New("url: a captured value cannot name the host")
	}
	return nil
}

// Traits tells that a flow sends traffic and may create test data, which it takes
// away again; it may be repeated.
func (p *flow) Traits() check.Traits {
	target := p.Base
	if target == "" && len(p.Steps) > 0 {
		target = p.Steps[0].URL
	}
	cells := 0
	if p.Matrix != nil {
		cells = len(p.Matrix.Endpoints) * len(p.Matrix.Roles)
	}
	return check.Traits{
		Kind: check.Check, Class: check.Idempotent, Effect: check.Traffic, Pool: check.Network, Target: target,
		Does: fmt.Sprintf("sends %d requests to %s, and %d to clean up", len(p.Steps)+cells, target, len(p.Cleanup)),
	}
}
