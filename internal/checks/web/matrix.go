package web

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// matrix says who may do what.
type matrix struct {
	Roles     map[string]role `param:"roles" doc:"who asks, by name"`
	Endpoints []endpoint      `param:"endpoints" doc:"requests, each asked by every role"`
}

// role is somebody who asks.
type role struct {
	Auth    auth              `param:"auth" doc:"credentials" default:""`
	Headers map[string]string `param:"headers" doc:"headers to send, with {{names}}" default:""`
}

// endpoint is a request with the status that each role must get.
type endpoint struct {
	request
	Expect map[string][]status `param:"expect" doc:"statuses that are right, by role; * for all others"`
}

func (m *matrix) validate(base string, known []string) error {
	if len(m.Roles) == 0 || len(m.Endpoints) == 0 {
		return errors.New("matrix: want at least one role and one endpoint")
	}
	if len(m.Roles)*len(m.Endpoints) > maxRequests {
		return fmt.Errorf("matrix: more than %d requests", maxRequests)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Roles)) {
		for header, value := range m.Roles[name].Headers {
			if bad := unknown(known, value); bad != "" {
				return fmt.Errorf("matrix: role %s: {{%s}} is used before a step captures it", name, bad)
			}
			if !headerName(header) || !headerValue(value) {
				return fmt.Errorf("matrix: role %s: %q is not a header", name, header)
			}
		}
	}
	for i := range m.Endpoints {
		e := &m.Endpoints[i]
		if err := errors.Join(address(base, &e.request), e.validate(base != "")); err != nil {
			return fmt.Errorf("matrix: %s %s: %w", e.Method, e.URL, err)
		}
		if bad := unknown(known, e.texts()...); bad != "" {
			return fmt.Errorf("matrix: %s %s: {{%s}} is used before a step captures it", e.Method, e.URL, bad)
		}
		for _, name := range slices.Sorted(maps.Keys(m.Roles)) {
			if len(e.of(name)) == 0 {
				return fmt.Errorf("matrix: %s %s: expect does not say what role %s must get", e.Method, e.URL, name)
			}
		}
		for name := range e.Expect {
			if _, found := m.Roles[name]; !found && name != "*" {
				return fmt.Errorf("matrix: %s %s: there is no role %s", e.Method, e.URL, name)
			}
		}
	}
	return nil
}

func (e *endpoint) of(role string) []status {
	if want, found := e.Expect[role]; found {
		return want
	}
	return e.Expect["*"]
}

// matrix asks every endpoint as every role and gives all that differ.
func (c *conversation) matrix(ctx context.Context) (string, error) {
	m := c.flow.Matrix
	if m == nil {
		return "", nil
	}
	var misses []string
	cells := 0
	for i := range m.Endpoints {
		e := &m.Endpoints[i]
		for _, name := range slices.Sorted(maps.Keys(m.Roles)) {
			who := m.Roles[name]
			s := step{Name: name, request: e.request, Expect: expectation{Status: e.of(name)}}
			s.Headers = maps.Clone(e.Headers)
			if s.Headers == nil {
				s.Headers = map[string]string{}
			}
			maps.Copy(s.Headers, who.Headers)
			if !who.Auth.none() {
				s.Auth = who.Auth
			}
			// A role brings its own credentials: no cookies of the steps or another role.
			miss, err := c.ask(ctx, &s, nil)
			if err != nil {
				return "", err
			}
			cells++
			if miss != "" {
				misses = append(misses, fmt.Sprintf("%s: %s %s %s", name, e.Method, e.URL, miss))
			}
		}
	}
	c.facts["matrix"] = fmt.Sprintf("%d cells, %d differ", cells, len(misses))
	if len(misses) == 0 {
		return "", nil
	}
	const most = 10
	more := ""
	if len(misses) > most {
		more = fmt.Sprintf("; and %d more", len(misses)-most)
	}
	return fmt.Sprintf("%d of %d cells of the matrix differ: %s%s", len(misses), cells, strings.Join(misses[:min(len(misses), most)], "; "), more), nil
}

// none tells that no credentials are given.
func (a *auth) none() bool { return a.Bearer.IsZero() && a.Basic == nil && len(a.Headers) == 0 }
