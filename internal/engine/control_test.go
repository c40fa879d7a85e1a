package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/run"
)

// serve drives a run that waits for people and takes requests for it.
func serve(t *testing.T) (dataDir string) {
	t.Helper()
	b := newBench(t, "fail").begin()
	e := b.engine(b.log)
	held := make(chan struct{}, 10) // nothing is being looked at any more
	e.Notify = func(context.Context, run.Effect, *run.State) { held <- struct{}{} }
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan struct{}, 2)
	go func() {
		_, _ = e.Drive(ctx)
		ended <- struct{}{}
	}()
	go func() {
		if err := e.ServeControl(ctx, b.dir, func() { close(ready) }); err != nil {
			t.Error(err)
		}
		ended <- struct{}{}
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		<-ended
	})
	<-ready
	<-held
	return b.dir
}

// say sends bytes to the control socket and gives what comes back.
func say(t *testing.T, dataDir, text string) string {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(dataDir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, text) }()
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	return string(answer)
}

// TestControlRefuses sends what no client sends.
func TestControlRefuses(t *testing.T) {
	dir := serve(t)
	for name, c := range map[string]struct{ send, want string }{
		"no JSON":          {"hello\n", "read request: "},
		"an unknown field": {`{"type":"run.paused","sudo":true}`, `unknown field \"sudo\"`},
		"another type":     {`{"type":7}`, "read request: "},
		"an engine's word": {`{"type":"check.finished","item":"pre.i0","attempt":1,"verdict":"pass"}`, "is not a request"},
		"nothing":          {`{}`, "is not a request"},
		"two megabytes":    {`{"type":"run.paused","reason":"` + strings.Repeat("x", 2<<20) + `"}`, "the request is too long"},
		"deep nesting":     {strings.Repeat("[", 100_000), "read request: "},
		"what cannot be":   {`{"type":"run.unpaused","actor":"ana"}`, "the run is not paused"},
	} {
		t.Run(name, func(t *testing.T) {
			got := say(t, dir, c.send)
			if !strings.Contains(got, c.want) || !strings.Contains(got, `"ok":false`) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if !Alive(dir) {
		t.Fatal("the run's process does not answer any more")
	}
}

// TestSlowClientBlocksNobody keeps connections open that say nothing while
// another client is served.
func TestSlowClientBlocksNobody(t *testing.T) {
	dir := serve(t)
	for range 50 {
		conn, err := net.Dial("unix", filepath.Join(dir, socketName))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if err := Request(t.Context(), dir, run.Event{Type: run.Paused, Actor: "ana"}); err != nil {
		t.Fatal(err)
	}
	var refused *Refused
	if err := Request(t.Context(), dir, run.Event{Type: run.Paused, Actor: "ana"}); !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
}

// TestNobodyListens tells a run without a process from a refusal.
func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	if err := Request(t.Context(), dir, run.Event{Type: run.Paused, Actor: "ana"}); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("got %v", err)
	}
	if Alive(dir) {
		t.Fatal("an empty folder is alive")
	}
}
