package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// cleanupTries is how often a cleanup step is sent when its outcome is unknown,
	// and cleanupPause how long is waited in between.
	cleanupTries, cleanupPause = 3, 500 * time.Millisecond
	// minCookie is the least length at which a cookie's value is masked; shorter
	// ones are flags.
	minCookie = 8
)

// conversation is one run of a flow.
type conversation struct {
	flow     *flow
	env      *check.Env
	via      http.RoundTripper
	jar      http.CookieJar
	mask     *mask
	values   values
	facts    map[string]string
	attempts []attempt
	sent     int
}

// Run sends the steps, asks the matrix and cleans up, whatever happened before.
func (p *flow) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	c := &conversation{flow: p, env: env, mask: &mask{}, values: values{}, facts: map[string]string{}}
	if err := c.prepare(ctx); err != nil {
		return check.Outcome{}, hideError(err, c.mask)
	}
	miss, err := c.steps(ctx)
	if miss == "" && err == nil {
		miss, err = c.matrix(ctx)
	}
	left, unknown := c.cleanup(ctx)
	outcome := c.outcome(miss, left, unknown)
	switch {
	case err != nil && (left != "" || unknown != nil):
		err = fmt.Errorf("%w; cleanup: %s", err, strings.TrimSpace(left+" "+text(unknown)))
	case err == nil && miss == "" && left == "" && unknown != nil:
		err = fmt.Errorf("cleanup: %w", unknown)
	}
	if err != nil {
		return outcome, hideError(err, c.mask)
	}
	table, err := json.MarshalIndent(c.attempts, "", "  ")
	if err != nil {
		return outcome, err
	}
	// The evidence of a run that was cancelled during its cleanup is still kept.
	kept, err := env.Store("flow.json", bytes.NewReader([]byte(c.mask.hide(string(table)))))
	if err != nil {
		return outcome, fmt.Errorf("keep flow.json: %w", err)
	}
	outcome.Artefacts = []check.Artefact{kept}
	return outcome, ctx.Err()
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// prepare gives every name that is known before the first step its value.
func (c *conversation) prepare(ctx context.Context) error {
	now := c.env.Now()
	sum := sha256.Sum256([]byte(c.env.Key + now.String()))
	c.values.text("unique", "allclear-"+hex.EncodeToString(sum[:5]))
	c.values.text("timestamp", strconv.FormatInt(now.Unix(), 10))
	fixed := maps.Clone(c.values)
	for name, written := range c.flow.Vars {
		value, err := fixed.expand(written, plain)
		if err != nil {
			return err
		}
		c.values.text(name, value)
	}
	for name, ref := range c.flow.Secrets {
		value, err := c.env.Secret(ctx, ref)
		if err != nil {
			return err
		}
		if value.IsZero() {
			return fmt.Errorf("secret %s is empty", ref)
		}
		c.mask.add(value.Reveal())
		c.values.text(name, value.Reveal())
	}
	if c.flow.Cookies {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return err
		}
		c.jar = jar
	}
	reach := connection{TLS: c.flow.TLS}
	var err error
	c.via, err = reach.transport(ctx, c.env, c.flow.Resolve)
	return err
}

// steps sends the steps until one is not as expected.
func (c *conversation) steps(ctx context.Context) (string, error) {
	for i := range c.flow.Steps {
		s := &c.flow.Steps[i]
		miss, err := c.step(ctx, s)
		if err != nil {
			return "", fmt.Errorf("step %d (%s): %w", i+1, s.Name, err)
		}
		if miss != "" {
			return fmt.Sprintf("step %d (%s): %s %s %s", i+1, s.Name, s.Method, s.URL, miss), nil
		}
	}
	return "", nil
}

// step asks once, or again and again until the answer is as expected.
func (c *conversation) step(ctx context.Context, s *step) (string, error) {
	miss, err := c.ask(ctx, s, c.jar)
	if s.Poll == nil {
		return miss, err
	}
	for end := c.env.Now().Add(s.Poll.For); miss != "" && err == nil && c.env.Now().Before(end); {
		if err := c.env.Sleep(ctx, s.Poll.Every); err != nil {
			return "", err
		}
		miss, err = c.ask(ctx, s, c.jar)
	}
	if miss != "" {
		miss += fmt.Sprintf(", for %s", s.Poll.For)
	}
	return miss, err
}

// ask sends one request, judges the answer and captures from it.
func (c *conversation) ask(ctx context.Context, s *step, jar http.CookieJar) (string, error) {
	r, err := s.request.filled(c.values)
	if err != nil {
		return "", err
	}
	expect, err := s.Expect.filled(c.values)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(r.URL, "/") {
		r.URL = strings.TrimRight(c.flow.Base, "/") + r.URL
	}
	out, err := r.build(ctx, c.env, c.mask)
	if err != nil {
		return "", err
	}
	if s.Sign != nil {
		if err := s.Sign.apply(ctx, c.env, &r, out, c.mask); err != nil {
			return "", err
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err // nothing was sent, so there is nothing to clean up
	}
	c.sent++
	a, err := send(ctx, c.env, c.via, jar, out, r.Follow)
	for _, cookie := range (&http.Response{Header: a.header}).Cookies() {
		if len(cookie.Value) >= minCookie {
			c.mask.add(cookie.Value)
		}
	}
	miss, found := finding(err)
	switch {
	case found:
		err = nil
	case err != nil:
	case a.status == http.StatusTooManyRequests && !expect.accepts(a.status):
		err = later(a, c.env.Now())
	default:
		if miss, err = expect.judge(a); miss == "" && err == nil {
			miss, err = c.capture(s, a)
		}
	}
	c.note(s, r, a, miss, err)
	return miss, err
}

// note keeps what was seen of one request.
func (c *conversation) note(s *step, r request, a answer, miss string, err error) {
	c.attempts = append(c.attempts, attempt{Case: s.Name, Method: r.Method, URL: r.URL, Miss: miss, Error: text(err), Facts: a.facts(), Header: a.shown()})
	// Facts are for a few steps; flow.json holds all of them.
	const most = 50
	if len(c.attempts) <= most {
		c.facts[fmt.Sprintf("request.%02d", len(c.attempts))] = fmt.Sprintf("%s: %s %s gave %d in %s", s.Name, r.Method, s.URL, a.status, a.took.Round(time.Millisecond))
	}
}

// capture keeps values of an answer for the steps after it.
func (c *conversation) capture(s *step, a answer) (string, error) {
	var doc any
	for _, name := range slices.Sorted(maps.Keys(s.Capture)) {
		from := s.Capture[name]
		kind, rest, special := strings.Cut(from, ":")
		value, found := "", false
		switch {
		case special && kind == "header":
			value = a.header.Get(rest)
			found = value != ""
		case special && kind == "cookie":
			for _, cookie := range (&http.Response{Header: a.header}).Cookies() {
				if cookie.Name == rest {
					value, found = cookie.Value, cookie.Value != ""
				}
			}
		default:
			if a.cut {
				return "", fmt.Errorf("the body is longer than %d bytes", maxBody)
			}
			if doc == nil {
				var err error
				if doc, err = check.FromJSON(a.body); err != nil {
					return "", fmt.Errorf("the answer is not JSON: %w", err)
				}
			}
			node, there := lookup(doc, from)
			if !there || node == nil || node == "" {
				return fmt.Sprintf("has no %s to capture", from), nil
			}
			shown, isText := node.(string)
			if !isText {
				shown = canonical(node)
			}
			c.remember(name, captured{shown, json.RawMessage(canonical(node))})
			continue
		}
		if !found {
			return fmt.Sprintf("has no %s to capture", from), nil
		}
		c.values.text(name, value)
		c.remember(name, c.values[name])
	}
	return "", nil
}

func (c *conversation) remember(name string, value captured) {
	c.values[name] = value
	if slices.Contains(c.flow.Show, name) {
		c.facts["captured."+name] = shorten(value.text)
		return
	}
	c.mask.add(value.text)
}

// cleanup sends every cleanup step, with a time limit of its own, so that a
// cancelled run leaves no test data. It gives what is certainly left, and what is
// not known.
func (c *conversation) cleanup(ctx context.Context) (left string, unknown error) {
	if c.sent == 0 || len(c.flow.Cleanup) == 0 {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.flow.CleanupWithin)
	defer cancel()
	var misses []string
	var errs []error
	for i := range c.flow.Cleanup {
		s := c.flow.Cleanup[i]
		if len(s.Expect.Status) == 0 {
			s.Expect.Status = []status{{200, 299}, {404, 404}, {410, 410}}
		}
		miss, err := c.persist(ctx, &s)
		if lost, ok := errors.AsType[*missing](err); ok {
			// What was never captured was never made, or its making is already an error.
			c.facts["cleanup."+s.Name] = "not needed: " + lost.Error()
			continue
		}
		c.facts["cleanup."+s.Name] = "done"
		if miss != "" || err != nil {
			c.facts["cleanup."+s.Name] = "failed"
		}
		if miss != "" {
			misses = append(misses, s.Name+": "+miss)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
		}
	}
	return strings.Join(misses, "; "), errors.Join(errs...)
}

// persist sends a cleanup step again while its outcome is unknown.
func (c *conversation) persist(ctx context.Context, s *step) (string, error) {
	for try := 1; ; try++ {
		miss, err := c.step(ctx, s)
		if _, lost := errors.AsType[*missing](err); err == nil || lost || try == cleanupTries {
			return miss, err
		}
		if c.env.Sleep(ctx, cleanupPause) != nil {
			return miss, err
		}
	}
}

func (c *conversation) outcome(miss, left string, unknown error) check.Outcome {
	o := check.Passf("all %d requests went as expected", c.sent)
	var reasons []string
	if miss != "" {
		reasons = append(reasons, miss)
	}
	if left != "" {
		reasons = append(reasons, "test data may be left: cleanup: "+left)
	}
	if miss != "" && unknown != nil {
		reasons = append(reasons, "test data may be left: cleanup: "+unknown.Error())
	}
	if len(reasons) > 0 {
		o = check.Failf("%s", c.mask.hide(strings.Join(reasons, "; ")))
	}
	o.Facts = map[string]string{"requests": strconv.Itoa(c.sent)}
	for name, value := range c.facts {
		o.Facts[name] = c.mask.hide(value)
	}
	return o
}
