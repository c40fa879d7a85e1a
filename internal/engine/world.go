// Package engine is the shell around the decision core: it appends events,
// steps the core, does what the core asks for, and turns every result into the
// next event.
package engine

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
	"allclear.dev/allclear/internal/transport"
)

const (
	// dialTimeout bounds how long a connection may take to open.
	dialTimeout = 10 * time.Second
	// maxArtefact bounds a file kept as evidence.
	maxArtefact = 64 << 20
)

// World is what every attempt shares: where files are, which secrets and types
// there are. It is the same in the run's process and in an action's own.
type World struct {
	// Types are the built-in types by name.
	Types map[string]*check.Type
	// Dir is the checkout; DataDir the environment's data directory.
	Dir, DataDir string
	// Secrets fetches references; Redactor removes what was fetched from text.
	Secrets  *secret.Resolver
	Redactor *secret.Redactor
	// Bypass is added to HTTP requests during maintenance.
	Bypass http.Header
	// Discard keeps no evidence, only its digest: for a look that is not recorded.
	Discard bool
	// Hosts are the machines and containers that can be reached, by their names.
	Hosts map[string]transport.Spec
	// Prepare adjusts programs before they start; may be nil.
	Prepare func(*exec.Cmd)
}

// Instance decodes a plan's frozen parameters with the values the run knows.
func (w *World) Instance(typeName, params string, vars check.Vars) (*check.Instance, error) {
	typ, ok := w.Types[typeName]
	if !ok {
		return nil, fmt.Errorf("this allclear has no type %q: the plan was made by another version", typeName)
	}
	var doc yaml.Node
	if params != "" {
		if err := yaml.Unmarshal([]byte(params), &doc); err != nil {
			return nil, fmt.Errorf("read frozen parameters: %w", err)
		}
	}
	var node *yaml.Node
	if len(doc.Content) > 0 {
		node = doc.Content[0]
	}
	inst, problems := typ.Decode(node, check.Source{File: "plan", Vars: vars, Frozen: true})
	if inst == nil {
		return nil, problems
	}
	if len(inst.Missing) > 0 {
		return nil, &check.NotSupplied{What: inst.Missing[0]}
	}
	if len(inst.Deferred) > 0 {
		return nil, &check.NotSupplied{What: inst.Deferred[0]}
	}
	return inst, nil
}

// Env gives the world as one attempt of a type may reach it.
func (w *World) Env(info check.RunInfo, key string, ledger check.Ledger, maintenance bool, log io.Writer) *check.Env {
	dialer := &net.Dialer{Timeout: dialTimeout}
	var bypass http.Header
	if maintenance {
		bypass = w.Bypass
	}
	local := &transport.Local{Dir: w.Dir, Prepare: w.Prepare}
	return &check.Env{
		Now: time.Now, Sleep: sleep, Dial: dialer.DialContext,
		HTTP: &bypassing{header: bypass, next: &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: 4, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: 10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}},
		HTTPOver: func(t *http.Transport) http.RoundTripper { return &bypassing{header: bypass, next: t} },
		Host:     transport.World{Local: local, Specs: w.Hosts}.Host,
		Secret:   w.Secrets.Resolve, Store: w.store, Log: log,
		Dir: w.Dir, DataDir: w.DataDir, Run: info, Ledger: ledger, Key: key,
	}
}

// bypassing adds the maintenance bypass to requests.
type bypassing struct {
	header http.Header
	next   http.RoundTripper
}

func (b *bypassing) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(b.header) > 0 {
		r = r.Clone(r.Context())
		for name, values := range b.header {
			if r.Header.Get(name) == "" {
				r.Header[name] = values
			}
		}
	}
	return b.next.RoundTrip(r)
}

// CloseIdleConnections gives back the connections that an attempt has left open:
// with many items they would add up.
func (b *bypassing) CloseIdleConnections() {
	if t, ok := b.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return ctx.Err()
	}
}

// store keeps a file as evidence under its digest, redacted and bounded.
func (w *World) store(name string, content io.Reader) (check.Artefact, error) {
	if w.Discard {
		return DigestBlob(name, content, w.Redactor)
	}
	return StoreBlob(filepath.Join(w.DataDir, "blobs"), name, content, w.Redactor)
}

// removeQuietly removes a temporary file whose content is not needed any more.
func removeQuietly(path string) { _ = os.Remove(path) }
