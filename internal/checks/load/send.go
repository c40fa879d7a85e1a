package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxBody bounds how much of an answer is read, in bytes; a longer one is an
	// error, because its time would not be that of the whole.
	maxBody = 16 << 20
	// leastPatience and mostPatience bound how long an answer is waited for.
	leastPatience, mostPatience = 5 * time.Second, 30 * time.Second
)

// name is what the target is called.
func (t *target) name() string {
	if t.Name != "" {
		return t.Name
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return t.Method + " " + t.URL
	}
	return strings.TrimSpace(t.Method + " " + u.EscapedPath())
}

// host is whom the target asks.
func (t *target) host() string {
	u, err := url.Parse(t.URL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func (t *target) validate() error {
	u, err := url.Parse(t.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return fmt.Errorf("targets: want http:// or https:// and a host, got %q", t.URL)
	case u.User != nil:
		return errors.New("targets: a password belongs in auth, not in the address")
	case t.Weight < 1 || t.Weight > 1000:
		return errors.New("weight: want 1 to 1000")
	}
	for name, value := range t.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("headers: %q is not a header", name)
		}
	}
	for _, status := range t.Status {
		if status < 100 || status > 599 {
			return fmt.Errorf("status: %d is none", status)
		}
	}
	return nil
}

// accepts tells whether a status is right.
func (t *target) accepts(status int) bool {
	if len(t.Status) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(t.Status, status)
}

// patience is how long an answer is waited for: far beyond every limit, so that
// giving up never makes a percentile better.
func (p *load) patience() time.Duration {
	limit := p.slowest()
	if limit == 0 {
		return mostPatience
	}
	return max(min(max(10*limit, leastPatience), mostPatience), 2*limit)
}

// generator sends the requests of one test.
type generator struct {
	*load
	env     *check.Env
	via     http.RoundTripper
	headers http.Header
	start   time.Time
	mu      sync.Mutex
	result  *result
}

// send runs the test. Requests start when they are due, whatever the earlier ones
// do (an open model): a target that slows down is asked as often as before, and a
// request's latency counts from when it was due, not from when it could be sent.
func (p *load) send(ctx context.Context, env *check.Env) (*result, error) {
	if end, ok := ctx.Deadline(); ok && end.Sub(env.Now()) < p.Ramp+p.For {
		return nil, fmt.Errorf("the item's timeout ends in %s, before the load of %s: set timeout to more than that", end.Sub(env.Now()).Round(time.Second), p.Ramp+p.For)
	}
	headers, err := p.Auth.headers(ctx, env)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: env.Dial, ForceAttemptHTTP2: true, MaxConnsPerHost: p.MaxInflight, MaxIdleConnsPerHost: p.MaxInflight,
		MaxIdleConns: p.MaxInflight, MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: p.patience(), DisableCompression: true,
	}
	defer transport.CloseIdleConnections()
	g := &generator{load: p, env: env, via: transport, headers: headers, start: env.Now(), result: p.newResult()}
	if env.HTTPOver != nil {
		g.via = env.HTTPOver(transport)
	}
	if err := g.all(ctx); err != nil {
		return nil, fmt.Errorf("the load ended after %s of %s: %w", env.Now().Sub(g.start).Round(time.Millisecond), p.Ramp+p.For, err)
	}
	return g.result, nil
}

// headers gives the headers that hold secrets.
func (a auth) headers(ctx context.Context, env *check.Env) (http.Header, error) {
	out := http.Header{}
	refs := a.Headers
	if !a.Bearer.IsZero() {
		token, err := env.Secret(ctx, a.Bearer)
		if err != nil {
			return nil, err
		}
		out.Set("Authorization", "Bearer "+token.Reveal())
	}
	for name, ref := range refs {
		value, err := env.Secret(ctx, ref)
		if err != nil {
			return nil, err
		}
		out.Set(name, value.Reveal())
	}
	for name, values := range out {
		if value := strings.TrimPrefix(values[0], "Bearer "); value == "" || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("auth: the secret of %s is empty or cannot stand in a header", name)
		}
	}
	return out, nil
}

// all starts every request when it is due and waits for the answers.
func (g *generator) all(ctx context.Context) error {
	var answers sync.WaitGroup
	defer answers.Wait()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	free := make(chan struct{}, g.MaxInflight)
	plan, order := g.schedule(), newTurns(g.Targets)
	for k := range plan.total() {
		due := plan.due(k)
		if wait := due - g.env.Now().Sub(g.start); wait > 0 {
			if err := g.env.Sleep(ctx, wait); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t := order.next()
		select {
		case free <- struct{}{}:
			answers.Go(func() {
				g.one(ctx, t, due)
				<-free
			})
		default:
			g.note(sample{target: t, due: due, kind: notSent})
		}
	}
	answers.Wait()
	return context.Cause(ctx)
}

// one sends a request and notes what came of it.
func (g *generator) one(ctx context.Context, t int, due time.Duration) {
	s := sample{target: t, due: due, lag: g.env.Now().Sub(g.start) - due}
	ctx, stop := context.WithTimeout(ctx, g.patience())
	defer stop()
	status, err := g.ask(ctx, &g.Targets[t])
	s.latency = g.env.Now().Sub(g.start) - due
	switch {
	case err != nil:
		s.kind, s.err = kindOf(err), err
	default:
		s.status, s.kind = status, answered
		s.ok = g.Targets[t].accepts(status)
	}
	g.note(s)
}

// onceOnly is a body that cannot be had again, so that the transport does not repeat
// a request behind our back when the server breaks the connection: that is an error
// to be counted.
type onceOnly struct{ io.Reader }

// ask sends one request and reads its whole answer.
func (g *generator) ask(ctx context.Context, t *target) (int, error) {
	r, err := http.NewRequestWithContext(ctx, t.Method, t.URL, onceOnly{strings.NewReader(t.Body)})
	if err != nil {
		return 0, err
	}
	r.ContentLength = int64(len(t.Body))
	r.Header.Set("User-Agent", "allclear")
	for name, value := range t.Headers {
		r.Header.Set(name, value)
		if strings.EqualFold(name, "Host") {
			r.Host = value
		}
	}
	for name, values := range g.headers {
		r.Header[name] = values
	}
	response, err := g.via.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxBody+1))
	if err == nil && n > maxBody {
		err = fmt.Errorf("the answer is longer than %d bytes", maxBody)
	}
	return response.StatusCode, err
}

func (g *generator) note(s sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.result.add(s)
}

// The ways in which a request ends.
const (
	answered = ""
	notSent  = "not sent"
	timedOut = "no answer in time"
	refused  = "connection refused"
	closed   = "connection closed"
	other    = "other error"
)

// kindOf sorts an error of a request.
func kindOf(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return timedOut
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return closed
	}
	return other
}
