// Package load holds the type that sends HTTP requests at a constant rate, or reads
// what another load generator measured, and judges latency and errors.
package load

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

//go:embed http.load.md
var loadDoc string

// Load is the type http.load.
var Load = check.Define[load](check.Desc{
	Name:    "http.load",
	Summary: "under the given rate of requests, latency and errors stay within their limits and are no worse than in the last release",
	Doc:     loadDoc,
})

const (
	// maxRate is the most that this one machine is allowed to send, in requests per
	// second.
	maxRate = 1000
	// maxFor bounds ramp and for together, maxRequests what they may send.
	maxFor, maxRequests = time.Hour, 1_000_000
	// maxTargets bounds the list of targets; each has a histogram of its own.
	maxTargets = 100
	// leastLag is how late the 99th percentile of the requests may be sent in any
	// case. Beyond it the generator is what is measured.
	leastLag = 10 * time.Millisecond
	// lagShare is the part of the smallest limit that lateness may be where there are
	// limits only: latency counts from when a request was due, so that the
	// generator's own delay makes it larger and can let nothing pass.
	lagShare = 20
)

type load struct {
	Targets     []target      `param:"targets,short" doc:"what is asked for, in turn; of an import, the parts that have limits of their own" default:""`
	Rate        rate          `param:"rate" doc:"requests to start per second, as 20/s or 120/m, whatever the answers take" default:""`
	For         time.Duration `param:"for" doc:"how long to send at that rate; it is the load's own length and not the item's watch" default:"0s"`
	Ramp        time.Duration `param:"ramp" doc:"time before that in which the rate rises from 0; its latencies are not judged" default:"0s"`
	MaxInflight int           `param:"max_inflight" doc:"most requests without an answer at a time; one that is due beyond it is not sent and counts as an error" default:"100"`
	limits
	Exclude     []string    `param:"exclude" doc:"targets whose name or address holds one of these texts are asked but not judged" default:""`
	Auth        auth        `param:"auth" doc:"who asks; secrets are references" default:""`
	Baseline    string      `param:"baseline" doc:"compare p50 and p95 with those of the last release that passed this item under the same load" default:"" enum:"last release"`
	Alpha       float64     `param:"alpha" doc:"a change counts only if chance would give it more rarely (Mann-Whitney U)" default:"0.01"`
	MinEffect   check.Share `param:"min_effect" doc:"smallest growth of p50 or p95 that counts, as a part of what it was" default:"10%"`
	MinRequests int         `param:"min_requests" doc:"fewest requests that are enough to judge" default:"100"`
	ProdMax     rate        `param:"prod_max" doc:"highest rate in a protected environment" default:"5/s"`
	Protected   bool        `param:"protected" doc:"whether prod_max holds" default:"${env.protected}"`
	Import      *source     `param:"import" doc:"judge the result of another load generator instead of sending anything" default:""`
}

// target is one address that is asked for.
type target struct {
	URL     string            `param:"url,short" doc:"address to ask, http:// or https://" default:""`
	Name    string            `param:"name" doc:"name in messages and evidence; METHOD /path when left out" default:""`
	Method  string            `param:"method" doc:"HTTP method" default:"GET" enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"`
	Headers map[string]string `param:"headers" doc:"headers to send" default:""`
	Body    string            `param:"body" doc:"body to send, as it is" default:""`
	Weight  int               `param:"weight" doc:"how often it is asked, compared with the other targets" default:"1"`
	Status  []int             `param:"status" doc:"statuses that are right; 200 to 299 when left out" default:""`
	own
}

// limits are what all judged requests together must keep.
type limits struct {
	P50    time.Duration `param:"p50" doc:"longest acceptable median" default:""`
	P95    time.Duration `param:"p95" doc:"longest acceptable 95th percentile" default:""`
	P99    time.Duration `param:"p99" doc:"longest acceptable 99th percentile" default:""`
	Errors check.Share   `param:"errors" doc:"largest acceptable share of requests without a right answer" default:"1%"`
}

// own are the limits of one target.
type own struct {
	P50    time.Duration `param:"p50" doc:"longest acceptable median of this target" default:""`
	P95    time.Duration `param:"p95" doc:"longest acceptable 95th percentile of this target" default:""`
	P99    time.Duration `param:"p99" doc:"longest acceptable 99th percentile of this target" default:""`
	Errors *check.Share  `param:"errors" doc:"largest acceptable share of this target's requests without a right answer" default:""`
}

// auth says who asks.
type auth struct {
	Bearer  secret.Ref            `param:"bearer" doc:"token for Authorization: Bearer" default:""`
	Headers map[string]secret.Ref `param:"headers" doc:"headers whose values are secrets" default:""`
}

func (a auth) isZero() bool { return a.Bearer.IsZero() && len(a.Headers) == 0 }

// Validate holds the rules between the parameters.
func (p *load) Validate() error {
	errs := []error{p.common()}
	if p.Import != nil {
		errs = append(errs, p.imported())
	} else {
		errs = append(errs, p.sending())
	}
	return errors.Join(errs...)
}

// common are the rules for both ways of getting a result.
func (p *load) common() error {
	seen := map[string]bool{}
	for i := range p.Targets {
		t := &p.Targets[i]
		if name := t.name(); seen[name] {
			return fmt.Errorf("targets: two are called %q: give each a name", name)
		}
		seen[t.name()] = true
		if t.Errors != nil && *t.Errors > 1 {
			return errors.New("errors: want a share, 0% to 100%")
		}
	}
	switch {
	case len(p.Targets) > maxTargets:
		return fmt.Errorf("targets: more than %d", maxTargets)
	case p.Errors > 1:
		return errors.New("errors: want a share, 0% to 100%")
	case p.Alpha <= 0 || p.Alpha > 0.2:
		return errors.New("alpha: want a number above 0 and up to 0.2, such as 0.01")
	case p.MinEffect <= 0:
		return errors.New("min_effect: want more than 0%: the smallest change is found when there are enough requests")
	case p.MinRequests < 20:
		return errors.New("min_requests: want at least 20; fewer show no percentile")
	}
	for _, text := range p.Exclude {
		if text == "" {
			return errors.New("exclude: an empty text stands in every name")
		}
	}
	return nil
}

// sending are the rules for a test of its own.
func (p *load) sending() error {
	expected := p.schedule().total() - p.schedule().warm()
	switch {
	case len(p.Targets) == 0:
		return errors.New("targets: name at least one, or give import")
	case p.Rate <= 0 || p.For <= 0:
		return errors.New("rate and for: say how many requests to start and how long, as rate: 20/s and for: 5m")
	case p.Rate > maxRate:
		return fmt.Errorf("rate: %s is more than %d/s, which this one machine may send: use a load generator made for it, and import its result", p.Rate, maxRate)
	case p.Protected && p.Rate > p.ProdMax:
		return fmt.Errorf("rate: %s is more than prod_max, %s, in a protected environment: lower the rate, or raise prod_max on purpose", p.Rate, p.ProdMax)
	case p.For+p.Ramp > maxFor:
		return fmt.Errorf("for and ramp: more than %s", maxFor)
	case p.schedule().total() > maxRequests:
		return fmt.Errorf("rate and for: more than %d requests", maxRequests)
	case expected < p.MinRequests:
		return fmt.Errorf("rate and for: %s for %s is %d requests, fewer than min_requests, %d", p.Rate, p.For, expected, p.MinRequests)
	case p.MaxInflight < 1 || p.MaxInflight > 10_000:
		return errors.New("max_inflight: want 1 to 10000")
	}
	for i := range p.Targets {
		if err := p.Targets[i].validate(); err != nil {
			return err
		}
		if !p.Auth.isZero() && p.Targets[i].host() != p.Targets[0].host() {
			return fmt.Errorf("auth: %s and %s would both get the secret: give each host an item of its own", p.Targets[0].host(), p.Targets[i].host())
		}
	}
	if len(p.judged()) == 0 {
		return errors.New("exclude: every target is excluded, so that nothing would be judged")
	}
	return nil
}

// judged lists the names of the targets that are not excluded.
func (p *load) judged() []string {
	var out []string
	for i := range p.Targets {
		if t := &p.Targets[i]; !p.excluded(t.name(), t.URL) {
			out = append(out, t.name())
		}
	}
	return out
}

// excluded tells whether one of the names of a target holds an excluded text.
func (p *load) excluded(names ...string) bool {
	for _, text := range p.Exclude {
		for _, name := range names {
			if strings.Contains(name, text) {
				return true
			}
		}
	}
	return false
}

func (p *load) schedule() schedule { return schedule{rate: p.Rate, ramp: p.Ramp, length: p.For} }

// slowest gives the largest latency that any limit accepts; 0 without one.
func (p *load) slowest() time.Duration {
	out := max(p.P50, p.P95, p.P99)
	for i := range p.Targets {
		out = max(out, p.Targets[i].P50, p.Targets[i].P95, p.Targets[i].P99)
	}
	return out
}

// maxLag is how late the 99th percentile of the requests may be sent. What is
// compared with another release must not be blurred by the generator.
func (p *load) maxLag() time.Duration {
	least := time.Duration(0)
	limits := []time.Duration{p.P50, p.P95, p.P99}
	for i := range p.Targets {
		limits = append(limits, p.Targets[i].P50, p.Targets[i].P95, p.Targets[i].P99)
	}
	for _, limit := range limits {
		if limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	}
	if p.Baseline != "" {
		return leastLag
	}
	return max(least/lagShare, leastLag)
}

// Traits says what is sent, or what is read.
func (p *load) Traits() check.Traits {
	if p.Import != nil {
		return check.Traits{
			Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
			Does: "reads the result of " + p.Import.Format + " in " + p.Import.File, Target: p.Import.On,
		}
	}
	var hosts []string
	for i := range p.Targets {
		if host := p.Targets[i].host(); len(hosts) == 0 || hosts[len(hosts)-1] != host {
			hosts = append(hosts, host)
		}
	}
	on := strings.Join(hosts, ", ")
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Traffic, Pool: check.Network,
		Does: fmt.Sprintf("sends %s for %s to %s", p.Rate, p.For, on), Target: on,
	}
}

// Run gets a result, judges it and compares it.
func (p *load) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	var r *result
	var err error
	if p.Import != nil {
		r, err = p.read(ctx, env)
	} else {
		r, err = p.send(ctx, env)
	}
	if err != nil {
		return check.Outcome{}, err
	}
	o, err := p.judge(r)
	o.Facts = r.facts(p)
	kept, stored := r.keep(env)
	if stored != nil {
		return o, errors.Join(err, stored)
	}
	o.Artefacts = kept
	if err != nil {
		return o, err
	}
	if o, err = p.compare(ctx, env, r, o); err != nil {
		return o, err
	}
	return o, ctx.Err()
}
