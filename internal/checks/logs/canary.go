package logs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// canaryEvery is the time between two looks for the request.
	canaryEvery = 2 * time.Second
	// canaryMargin is how long before the item's timeout looking ends, so that what
	// was found can still be told.
	canaryMargin = 2 * time.Second
)

// canary is a request that the application must log.
type canary struct {
	URL     string            `param:"url,short" doc:"address of the request" default:"${env.url}"`
	Method  string            `param:"method" doc:"method" default:"GET" enum:"GET,HEAD,POST"`
	Header  string            `param:"header" doc:"header that carries the request's own id, and that the application logs" default:"X-Request-ID"`
	Headers map[string]string `param:"headers" doc:"further headers, such as a token that is refused: {Authorization: Bearer none}" default:""`
}

func (c *canary) validate(p *query) error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil:
		return errors.New("canary: url: want an http or https address without a password")
	case c.Header == "" || strings.ContainsAny(c.Header, " :\r\n"):
		return fmt.Errorf("canary: header: %q is no header's name", c.Header)
	case p.Max != nil || p.MaxShare != nil || p.NewSignatures != nil || p.Ratio != 0 || len(p.Pattern) > 0 || p.Level != unknown:
		return errors.New("canary looks for one line: max, pattern and the like do not go with it")
	}
	return nil
}

// run sends the request and looks for its line until the item's timeout is near.
func (c *canary) run(ctx context.Context, env *check.Env, p *query, from source) (check.Outcome, error) {
	id := "allclear-" + strings.ToLower(rand.Text())
	sent := env.Now()
	status, err := c.send(ctx, env, id)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("send the request to look for: %w", err)
	}
	// A second before, for clocks that differ a little.
	s, seen := span{start: sent.Add(-time.Second)}, 0
	for {
		s.end = env.Now().Add(time.Minute)
		found, err := from.read(ctx, env, s)
		if err != nil {
			return check.Outcome{}, err
		}
		seen = len(found)
		for _, l := range found {
			if strings.Contains(l.text, id) || contains(l.fields, id) {
				o := check.Passf("the request %s was answered %d, and its line was found after %s", id, status, env.Now().Sub(sent).Round(100*time.Millisecond))
				o.Facts = map[string]string{"id": id, "status": fmt.Sprint(status), "line": short(l.text, 400), "source": short(from.String(), 300)}
				return p.retained(ctx, env, from, o)
			}
		}
		if deadline, ok := ctx.Deadline(); ok && deadline.Sub(env.Now()) < canaryMargin+canaryEvery {
			break
		}
		if err := env.Sleep(ctx, canaryEvery); err != nil {
			return check.Outcome{}, err
		}
	}
	took := env.Now().Sub(sent).Round(time.Second)
	if seen < p.MinLines {
		return check.Outcome{}, fmt.Errorf("the request %s was answered %d, and %d lines of any kind came to %s in %s since", id, status, seen, short(from.String(), 200), took)
	}
	o := check.Failf("the request %s was answered %d, and none of the %d lines that came in %s since is its own: does the application log the header %s?", id, status, seen, took, c.Header)
	return o.With("id", id), ctx.Err()
}

func contains(fields map[string]string, id string) bool {
	for _, value := range fields {
		if strings.Contains(value, id) {
			return true
		}
	}
	return false
}

// send sends the request; every answer is one.
func (c *canary) send(ctx context.Context, env *check.Env, id string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, c.Method, c.URL, nil)
	if err != nil {
		return 0, errors.New("the address cannot be used")
	}
	for name, value := range c.Headers {
		r.Header.Set(name, value)
	}
	r.Header.Set(c.Header, id)
	r.Header.Set("User-Agent", "allclear")
	response, err := env.HTTP.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)); err != nil {
		return 0, err
	}
	return response.StatusCode, ctx.Err()
}
