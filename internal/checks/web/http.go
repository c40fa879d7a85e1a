package web

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed http.md
var httpDoc string

// HTTP is the type http.
var HTTP = check.Define[httpCheck](check.Desc{
	Name:    "http",
	Summary: "every answer to the request is as expected",
	Doc:     httpDoc,
})

// maxRequests bounds how many requests one check may send.
const maxRequests = 1000

type httpCheck struct {
	request
	connection
	Expect      expectation  `param:"expect" doc:"what every answer must be; without a status, 2xx" default:""`
	Twice       *expectation `param:"twice" doc:"ask a second time, and what that answer must be (a cache's hit)" default:""`
	Consecutive int          `param:"consecutive" doc:"answers in a row that must be as expected; the first other one ends the check" default:"1"`
	Repeat      int          `param:"repeat" doc:"how often to ask; all answers are kept, and all must be as expected" default:"1"`
	Distinct    *distinct    `param:"distinct" doc:"different values that a header must show over all answers" default:""`
	Cases       []httpCase   `param:"cases" doc:"variants of the request, each with its own expectation" default:""`
}

// distinct asks that answers come from several servers.
type distinct struct {
	Header string `param:"header,short" doc:"header that names the server"`
	Min    int    `param:"min" doc:"least number of different values" default:"2"`
}

// httpCase changes the request for one question.
type httpCase struct {
	Name    string            `param:"name" doc:"name in messages and evidence"`
	Headers map[string]string `param:"headers" doc:"headers to send beside the request's" default:""`
	Host    string            `param:"host" doc:"Host header to send" default:""`
	URL     string            `param:"url" doc:"address to ask instead" default:""`
	Expect  *expectation      `param:"expect" doc:"what this answer must be, instead of the common expectation" default:""`
}

// Validate holds the rules between the parameters.
func (p *httpCheck) Validate() error {
	errs := []error{p.request.validate(false), p.connection.validate(), p.Expect.validate(p.Method)}
	if p.Twice != nil {
		errs = append(errs, p.Twice.validate(p.Method))
	}
	for _, c := range p.Cases {
		r, expect := c.of(p)
		if err := errors.Join(r.validate(false), expect.validate(r.Method)); err != nil {
			errs = append(errs, fmt.Errorf("case %s: %w", c.Name, err))
		}
	}
	rounds := max(p.Consecutive, p.Repeat)
	switch {
	case p.Consecutive < 1 || p.Repeat < 1:
		errs = append(errs, errors.New("consecutive and repeat are at least 1"))
	case p.Consecutive > 1 && p.Repeat > 1:
		errs = append(errs, errors.New("give only one of consecutive and repeat"))
	case rounds*max(len(p.Cases), 1)*max(len(p.Resolve), 1) > maxRequests:
		errs = append(errs, fmt.Errorf("more than %d requests", maxRequests))
	case p.Distinct != nil && p.Distinct.Min < 1:
		errs = append(errs, errors.New("distinct: min is at least 1"))
	case p.Distinct != nil && p.Distinct.Min > rounds*max(len(p.Cases), 1)*max(len(p.Resolve), 1):
		errs = append(errs, fmt.Errorf("distinct: %d different answers need at least as many requests: set repeat", p.Distinct.Min))
	}
	return errors.Join(errs...)
}

// of gives the request and the expectation of a case.
func (c *httpCase) of(p *httpCheck) (request, *expectation) {
	r, expect := p.request, &p.Expect
	if c.Expect != nil {
		expect = c.Expect
	}
	if c.URL != "" {
		r.URL = c.URL
	}
	if c.Host != "" {
		r.Host = c.Host
	}
	r.Headers = maps.Clone(p.request.Headers)
	if r.Headers == nil {
		r.Headers = map[string]string{}
	}
	maps.Copy(r.Headers, c.Headers)
	return r, expect
}

// Traits says what is asked.
func (p *httpCheck) Traits() check.Traits {
	effect := check.Reads
	if !slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, p.Method) {
		effect = check.Traffic
	}
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: effect, Pool: check.Network,
		Does: "asks " + p.Method + " " + p.URL, Target: p.URL,
	}
}

// attempt is one line of the evidence.
type attempt struct {
	Case    string            `json:"case,omitempty"`
	Address string            `json:"address,omitempty"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Miss    string            `json:"miss,omitempty"`
	Error   string            `json:"error,omitempty"`
	Facts   map[string]string `json:"facts,omitempty"`
	Header  http.Header       `json:"header,omitempty"`
}

// session is one run of the check.
type session struct {
	*httpCheck
	env      *check.Env
	mask     *mask
	attempts []attempt
	last     answer
	// values counts what the distinct header showed.
	values map[string]int
}

// Run sends the requests and judges the answers.
func (p *httpCheck) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	s := &session{httpCheck: p, env: env, mask: &mask{}, values: map[string]int{}}
	miss, err := s.all(ctx)
	outcome := s.outcome(miss)
	if err != nil {
		return outcome, hideError(err, s.mask)
	}
	return s.keep(outcome)
}

// all asks everything that is to be asked and gives the first miss.
func (s *session) all(ctx context.Context) (string, error) {
	addresses := s.Resolve
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	cases := s.Cases
	if len(cases) == 0 {
		cases = []httpCase{{}}
	}
	first := ""
	for _, address := range addresses {
		via, err := s.transport(ctx, s.env, address)
		if err != nil {
			return "", err
		}
		for _, c := range cases {
			for range max(s.Consecutive, s.Repeat) {
				miss, err := s.once(ctx, via, address, c)
				if err != nil {
					return "", err
				}
				if first == "" {
					first = miss
				}
				if miss != "" && s.Consecutive > 1 {
					return first, nil
				}
			}
		}
	}
	if d := s.Distinct; first == "" && d != nil && len(s.values) < d.Min {
		return fmt.Sprintf("%s header %s showed %d different values in %d answers, want at least %d",
			s.URL, d.Header, len(s.values), len(s.attempts), d.Min), nil
	}
	return first, nil
}

// once asks one question, and a second time if Twice says so.
func (s *session) once(ctx context.Context, via http.RoundTripper, address string, c httpCase) (string, error) {
	r, expect := c.of(s.httpCheck)
	miss, err := s.ask(ctx, via, address, c.Name, &r, expect)
	if miss != "" || err != nil || s.Twice == nil {
		return miss, err
	}
	miss, err = s.ask(ctx, via, address, strings.TrimSpace(c.Name+" second time"), &r, s.Twice)
	if miss != "" {
		miss = "the second time: " + miss
	}
	return miss, err
}

// ask sends one request, judges the answer and notes both.
func (s *session) ask(ctx context.Context, via http.RoundTripper, address, name string, r *request, expect *expectation) (string, error) {
	out, err := r.build(ctx, s.env, s.mask)
	if err != nil {
		return "", err
	}
	// A new connection each time: a pooled one would always reach the same server.
	out.Close = s.Distinct != nil
	a, err := send(ctx, s.env, via, nil, out, r.Follow)
	s.last = a
	miss, found := finding(err)
	switch {
	case found:
		err = nil
	case err != nil:
	case a.status == http.StatusTooManyRequests && !expect.accepts(a.status):
		err = later(a, s.env.Now())
	default:
		miss, err = expect.judge(a)
	}
	note := attempt{Case: name, Address: address, Method: r.Method, URL: r.URL, Facts: a.facts(), Header: a.shown(), Miss: miss}
	if err != nil {
		note.Error = err.Error()
	}
	s.attempts = append(s.attempts, note)
	if s.Distinct != nil {
		if value := a.header.Get(s.Distinct.Header); value != "" {
			s.values[value]++
		}
	}
	if miss != "" {
		miss = s.where(r, name, address) + " " + miss
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", s.where(r, name, address), err)
	}
	return miss, err
}

// where names a question in messages.
func (s *session) where(r *request, name, address string) string {
	text := r.Method + " " + r.URL
	if name != "" {
		text = name + ": " + text
	}
	if address != "" {
		text += " at " + address
	}
	return text
}

func (s *session) outcome(miss string) check.Outcome {
	o := check.Passf("%s %s answered %d", s.Method, s.URL, s.last.status)
	if n := len(s.attempts); n > 1 {
		o = check.Passf("%s %s: all %d answers are as expected", s.Method, s.URL, n)
	}
	if miss != "" {
		o = check.Failf("%s", s.mask.hide(miss))
	}
	o.Target = s.URL
	o.Facts = map[string]string{"requests": strconv.Itoa(len(s.attempts))}
	for i := range s.attempts {
		a := s.attempts[len(s.attempts)-1-i]
		// The facts are those of the answer that decided.
		if (miss == "" && i == 0) || a.Miss != "" {
			maps.Copy(o.Facts, a.Facts)
		}
	}
	for value, n := range s.values {
		o.Facts["distinct."+shorten(value)] = strconv.Itoa(n)
	}
	if s.TLS.Insecure != "" {
		o.Facts["tls.insecure"] = s.TLS.Insecure
	}
	for name, value := range o.Facts {
		o.Facts[name] = s.mask.hide(value)
	}
	return o
}

// keep stores every attempt and the last body.
func (s *session) keep(o check.Outcome) (check.Outcome, error) {
	for name, content := range map[string][]byte{"body": s.last.body, "answers.json": s.table()} {
		if len(content) == 0 {
			continue
		}
		kept, err := s.env.Store(name, bytes.NewReader([]byte(s.mask.hide(string(content)))))
		if err != nil {
			return o, fmt.Errorf("keep %s: %w", name, err)
		}
		o.Artefacts = append(o.Artefacts, kept)
	}
	slices.SortFunc(o.Artefacts, func(a, b check.Artefact) int { return strings.Compare(a.Name, b.Name) })
	return o, nil
}

func (s *session) table() []byte {
	text, err := json.MarshalIndent(s.attempts, "", "  ")
	if err != nil {
		return nil
	}
	return text
}
