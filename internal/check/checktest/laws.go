package checktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
)

// patience is how long a broken world is waited for in a law.
const patience = 250 * time.Millisecond

// use counts how an Env was used, so that each law is held only by the types
// that it concerns.
type use struct{ network, host atomic.Int64 }

// watched gives a copy of env that counts.
func watched(env *check.Env) (*check.Env, *use) {
	u, out := &use{}, *env
	out.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		u.network.Add(1)
		return env.Dial(ctx, network, address)
	}
	out.HTTP = roundTripper(func(r *http.Request) (*http.Response, error) {
		u.network.Add(1)
		return env.HTTP.RoundTrip(r)
	})
	out.Host = func(name string) (check.Host, error) {
		u.host.Add(1)
		return env.Host(name)
	}
	return &out, u
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// faults holds the laws of a broken world on a case that passes in a whole one:
// silence, a closed connection, garbage and an endless answer are errors, and so
// is a host that hangs or cannot be reached. None is ever a verdict.
func faults(t *testing.T, env *check.Env, inst *check.Instance, u *use) {
	t.Helper()
	if u.network.Load() > 0 {
		for name, server := range map[string]func(net.Conn){
			"a network that hangs":               hang,
			"no data":                            func(c net.Conn) { _ = c.Close() },
			"malformed answer":                   garbage,
			"endless answer":                     endless,
			"an HTTP answer that is cut":         cut,
			"an HTTP answer of endless headers":  endlessHeaders,
			"an HTTP answer that never finishes": unfinished,
		} {
			broken := *env
			broken.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return pipe(ctx, server) }
			broken.HTTP = &http.Transport{DialContext: broken.Dial, DisableKeepAlives: true}
			noVerdict(t, name, &broken, inst)
		}
	}
	if u.host.Load() > 0 {
		for name, host := range map[string]check.Host{
			"a host that hangs":              silentHost{},
			"a host that cannot be reached":  silentHost{err: errors.New("no route to host")},
			"a host that ends a read midway": silentHost{err: io.ErrUnexpectedEOF},
		} {
			broken := *env
			broken.Host = func(string) (check.Host, error) { return host, nil }
			noVerdict(t, name, &broken, inst)
		}
	}
}

func noVerdict(t *testing.T, law string, env *check.Env, inst *check.Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	start := time.Now()
	outcome, err := inst.Runner.Run(ctx, env)
	if err == nil {
		t.Errorf("law: %s: got %s: %s, want an error", law, outcome.Verdict, outcome.Reason)
	}
	if took := time.Since(start); took > patience+5*time.Second {
		t.Errorf("law: %s: ended after %s, although its context ended after %s", law, took, patience)
	}
	noSecret(t, env, outcome, err)
}

// pipe gives a connection to a server in this process that takes whatever is
// sent to it.
func pipe(ctx context.Context, server func(net.Conn)) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	context.AfterFunc(ctx, func() { _ = far.Close() })
	go func() { _, _ = io.Copy(io.Discard, far) }()
	go server(far)
	return near, nil
}

func hang(net.Conn) {}

func garbage(c net.Conn) {
	_, _ = c.Write(bytes.Repeat([]byte{0x00, 0xff, '$', '9', '\r', '\n', 'x'}, 100))
	_ = c.Close()
}

func endless(c net.Conn) { flood(c, bytes.Repeat([]byte("A"), 1<<16)) }

func endlessHeaders(c net.Conn) {
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
	flood(c, bytes.Repeat([]byte("X-A: a\r\n"), 1<<13))
}

func flood(c net.Conn, block []byte) {
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

func cut(c net.Conn) {
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"status\":")
	_ = c.Close()
}

func unfinished(c net.Conn) {
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
}

// silentHost answers nothing: it waits for the context's end, or gives err.
type silentHost struct{ err error }

func (silentHost) Name() string { return "silent" }

func (h silentHost) wait(ctx context.Context) error {
	if h.err != nil {
		return h.err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (h silentHost) Exec(ctx context.Context, _ check.Command) (check.Result, error) {
	return check.Result{}, h.wait(ctx)
}

func (h silentHost) ReadFile(ctx context.Context, _ string, _ int64) ([]byte, error) {
	return nil, h.wait(ctx)
}

func (h silentHost) Lstat(ctx context.Context, _ string) (check.FileInfo, error) {
	return check.FileInfo{}, h.wait(ctx)
}

func (h silentHost) Glob(ctx context.Context, _ string) ([]string, error) {
	return nil, h.wait(ctx)
}

// cancelled holds the law that a cancelled context gives an error and no verdict.
func cancelled(t *testing.T, env *check.Env, inst *check.Instance) {
	t.Helper()
	if inst.Traits.Kind == check.Attest || inst.Traits.Kind == check.Signoff || inst.Traits.Effect == check.Record {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if outcome, err := inst.Runner.Run(ctx, env); err == nil {
		t.Errorf("law: cancelled: got %s: %s, want an error", outcome.Verdict, outcome.Reason)
	}
}

// noSecret holds the law that no secret stands in what a type says.
func noSecret(t *testing.T, env *check.Env, o check.Outcome, err error) {
	t.Helper()
	text := o.Reason + fmt.Sprint(o.Facts, o.Sets, o.Target, o.Artefacts)
	if err != nil {
		text += err.Error()
	}
	for _, s := range secretsOf(env) {
		if strings.Contains(text, s) {
			t.Errorf("law: no secret shows: the outcome holds one: %s", strings.ReplaceAll(text, s, "<<SECRET>>"))
		}
	}
}
