package load

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// limit is a latency that a percentile must not exceed.
type limit struct {
	percentile float64
	max        time.Duration
}

// needs is how many latencies a percentile must be taken from: with fewer it is
// just the slowest one.
func (l limit) needs() int64 {
	switch {
	case l.percentile >= 99:
		return 100
	case l.percentile >= 95:
		return 20
	}
	return 10
}

func limitsOf(p50, p95, p99 time.Duration) []limit {
	var out []limit
	for _, l := range []limit{{50, p50}, {95, p95}, {99, p99}} {
		if l.max > 0 {
			out = append(out, l)
		}
	}
	return out
}

// judge holds the result against the limits. What says nothing about the system is
// an error: a generator that was late, no answer at all, answers that refuse the
// one who asks, too few requests.
func (p *load) judge(r *result) (check.Outcome, error) {
	if err := p.usable(r); err != nil {
		return check.Outcome{}, err
	}
	misses, err := hold(r.total, "", limitsOf(p.P50, p.P95, p.P99), float64(p.Errors))
	for i := range p.Targets {
		t := &p.Targets[i]
		part := r.part(t.name())
		if part == nil {
			err = errors.Join(err, fmt.Errorf("the result holds nothing called %q", t.name()))
			continue
		}
		share := 1.0
		if t.Errors != nil {
			share = float64(*t.Errors)
		}
		own, unknown := hold(part, t.name()+": ", limitsOf(t.P50, t.P95, t.P99), share)
		misses, err = append(misses, own...), errors.Join(err, unknown)
	}
	if len(misses) > 0 {
		return check.Failf("%s", short(strings.Join(misses, "; "), 1000)), nil
	}
	if err != nil {
		return check.Outcome{}, err
	}
	return check.Passf("%s", p.summary(r)), nil
}

// usable tells whether the result is one.
func (p *load) usable(r *result) error {
	t := r.total
	switch {
	case r.lag != nil && r.late() > p.maxLag():
		return fmt.Errorf("requests were sent late: the 99th percentile by %s, at most %s is accepted: this machine cannot send %s, so that its own delay was measured", r.late().Round(time.Millisecond), p.maxLag(), p.Rate)
	case t.requests == 0:
		return errors.New("the result holds no request that is judged")
	case t.answers() == 0:
		why := r.first
		if why == nil {
			why = errors.New("no answer came")
		}
		return fmt.Errorf("none of %d requests was answered: %w", t.requests, why)
	}
	for i, s := range r.parts {
		if denied := s.statuses[http.StatusUnauthorized] + s.statuses[http.StatusForbidden]; r.judged[i] && 2*denied > s.requests && !p.wanted(s.name, http.StatusUnauthorized, http.StatusForbidden) {
			return fmt.Errorf("%s: %d of %d requests were refused (401 or 403): give auth what is allowed to ask", s.name, denied, s.requests)
		}
	}
	if limited := t.statuses[http.StatusTooManyRequests]; float64(limited) > float64(p.Errors)*float64(t.requests) && !p.wanted("", http.StatusTooManyRequests) {
		return fmt.Errorf("%d of %d requests were answered with 429: a rate limit was measured, and not what it protects: let this address pass it, or lower the rate", limited, t.requests)
	}
	if t.requests < int64(p.MinRequests) {
		return fmt.Errorf("only %d requests, at least %d are needed to judge", t.requests, p.MinRequests)
	}
	return nil
}

// wanted tells whether a target (or any, without a name) expects one of the statuses.
func (p *load) wanted(name string, statuses ...int) bool {
	for i := range p.Targets {
		t := &p.Targets[i]
		for _, status := range statuses {
			if (name == "" || t.name() == name) && t.accepts(status) {
				return true
			}
		}
	}
	return false
}

// part gives a target's series by its name.
func (r *result) part(name string) *series {
	for _, s := range r.parts {
		if s.name == name {
			return s
		}
	}
	return nil
}

// hold gives what of a series is beyond its limits; an error when a percentile is
// not known or comes from too few requests.
func hold(s *series, name string, limits []limit, share float64) ([]string, error) {
	var misses []string
	var errs []error
	if s.share() > share {
		misses = append(misses, fmt.Sprintf("%s%s of %d requests failed%s, at most %s is accepted", name, percent(s.share()), s.requests, s.why(), percent(share)))
	}
	for _, l := range limits {
		d, ok := s.quantile(l.percentile)
		switch {
		case !ok && s.latency == nil:
			errs = append(errs, fmt.Errorf("%sthe result does not say the %vth percentile", name, l.percentile))
		case s.measured() < l.needs():
			errs = append(errs, fmt.Errorf("%sonly %d latencies were measured, and the %vth percentile needs %d", name, s.measured(), l.percentile, l.needs()))
		case d > l.max:
			misses = append(misses, fmt.Sprintf("%sp%v is %s, at most %s is accepted", name, l.percentile, d.Round(time.Microsecond), l.max))
		}
	}
	return misses, errors.Join(errs...)
}

// why lists how requests failed.
func (s *series) why() string {
	var out []string
	if text := s.statusText(); text != "" {
		out = append(out, "status "+text)
	}
	for _, kind := range []string{notSent, timedOut, refused, closed, other} {
		if n := s.kinds[kind]; n > 0 {
			out = append(out, fmt.Sprintf("%s: %d", kind, n))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

// summary says in one line what was measured.
func (p *load) summary(r *result) string {
	text := fmt.Sprintf("%d requests", r.total.requests)
	if p.Import == nil {
		text += fmt.Sprintf(" at %s", p.Rate)
	}
	for _, q := range []float64{50, 95, 99} {
		if d, ok := r.total.quantile(q); ok {
			text += fmt.Sprintf(", p%v %s", q, d.Round(time.Microsecond))
		}
	}
	return text + fmt.Sprintf(", %s failed", percent(r.total.share()))
}
