package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// requestTimeout is when an answer counts as lost.
const requestTimeout = 10 * time.Second

// refreshEvery is well below the life of an access token.
const refreshEvery = 5 * time.Minute

// generator sends requests and hands their fate to the tally.
type generator struct {
	options
	client  *http.Client
	tally   *tally
	access  atomic.Pointer[string]
	refresh string
	order   atomic.Pointer[string] // the last order placed
	message atomic.Pointer[string] // the last message sent
}

func newGenerator(o options) *generator {
	transport := &http.Transport{
		MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
	return &generator{
		options: o, tally: newTally(o.rate, time.Now()),
		client: &http.Client{
			Transport: transport, Timeout: requestTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// login gets the first tokens.
func (g *generator) login(ctx context.Context, password string) error {
	return g.authenticate(ctx, "/v1/auth/login", map[string]string{"email": g.email, "password": password})
}

func (g *generator) authenticate(ctx context.Context, path string, in map[string]string) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := g.request(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var t tokens
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&t); err != nil || resp.StatusCode != http.StatusOK || t.Access == "" {
		return fmt.Errorf("got status %d", resp.StatusCode)
	}
	g.access.Store(&t.Access)
	g.refresh = t.Refresh
	return nil
}

// keepLoggedIn renews the tokens until ctx ends. A failure is tried again soon: maintenance may be on.
func (g *generator) keepLoggedIn(ctx context.Context) {
	wait := refreshEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = refreshEvery
		if err := g.authenticate(ctx, "/v1/auth/refresh", map[string]string{"refresh_token": g.refresh}); err != nil {
			wait = 5 * time.Second
		}
	}
}

func (g *generator) keepWriting(ctx context.Context) error {
	tick := time.NewTicker(g.every)
	defer tick.Stop()
	for {
		if err := g.tally.write(g.out, false, time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// send lets request n go at start + n÷rate until ctx ends, and returns when all answers are in.
func (g *generator) send(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for n := 0; ; n++ {
		due := start.Add(time.Duration(n) * time.Second / time.Duration(g.rate))
		if !due.Before(start.Add(g.length)) {
			return
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !g.tally.begin() {
			continue
		}
		// Answers that are on their way when the time is over still count, so ctx does not cancel them.
		all.Go(func() { g.one(context.WithoutCancel(ctx), n, due) })
	}
}

// one sends request n and records its fate.
func (g *generator) one(ctx context.Context, n int, due time.Time) {
	var writes atomic.Int32
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { writes.Add(1) }})
	method, path, in, keep := g.pick(n)
	req, err := g.request(ctx, method, path, in)
	if err != nil {
		g.tally.end(due, time.Now(), result{err: err})
		return
	}
	resp, err := g.client.Do(req)
	r := result{err: err}
	if err == nil {
		r.status, r.version = resp.StatusCode, resp.Header.Get("X-Tulia-Version")
		r.maintenance = resp.Header.Get("X-Maintenance") == "on"
		r.err = readBody(resp, keep)
	}
	// net/http sends a request again whose kept connection was closed under it: seen here, or it would hide.
	r.retried = writes.Load() > 1
	g.tally.end(due, time.Now(), r)
}

// readBody reads an answer to its end, so that the connection can be kept, and keeps the id of what was made.
func readBody(resp *http.Response, keep *atomic.Pointer[string]) error {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return errors.Join(errCutOff, err)
	}
	var made struct {
		ID string `json:"id"`
	}
	if keep != nil && resp.StatusCode < 300 && json.Unmarshal(body, &made) == nil && made.ID != "" {
		keep.Store(&made.ID)
	}
	return nil
}

func (g *generator) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Host = g.host
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Tenant-ID", g.tenant)
	if access := g.access.Load(); access != nil {
		req.Header.Set("Authorization", "Bearer "+*access)
	}
	return req, nil
}

// pick returns request n of a mix of 20, one in ten of them a write. keep is where the id of what it makes goes.
func (g *generator) pick(n int) (method, path string, body []byte, keep *atomic.Pointer[string]) {
	switch n % 20 {
	case 0:
		text := fmt.Sprintf(`{"customer_id":%q,"items":[{"name":"soap","quantity":1,"unit_cents":300}]}`, g.customer)
		return http.MethodPost, "/v1/orders", []byte(text), &g.order
	case 10:
		return http.MethodPost, "/v1/messages/send", fmt.Appendf(nil, `{"customer_id":%q,"body":"hello"}`, g.customer), &g.message
	case 3, 13:
		if id := g.order.Load(); id != nil {
			return http.MethodGet, "/v1/orders/" + *id, nil, nil
		}
	case 6, 16:
		if id := g.message.Load(); id != nil {
			return http.MethodGet, "/v1/messages/" + *id, nil, nil
		}
	case 8:
		return http.MethodGet, "/v1/services", nil, nil
	case 12:
		day := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
		return http.MethodGet, "/v1/services/availability?service_id=" + g.service + "&date=" + day, nil, nil
	case 18:
		return http.MethodGet, "/v1/auth/me", nil, nil
	}
	return http.MethodGet, "/v1/orders?limit=5", nil, nil
}
