package shim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTimeout is scenario F38.
func TestTimeout(t *testing.T) {
	limits := Options{Timeout: 50 * time.Millisecond, Grace: 50 * time.Millisecond}
	book := filepath.Join(t.TempDir(), "ledger")
	for _, test := range []struct {
		name      string
		job       job
		abandoned bool
	}{
		{"command", job{Do: "run", Argv: []string{"sleep", "60"}}, false},
		{"command that ignores the signal", job{Do: "run", Argv: []string{"sh", "-c", "trap '' TERM; sleep 60 & wait; wait"}}, false},
		{"handler that ignores its context", job{Do: "effect, then hang", File: book, Text: "x"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := begin(t, t.TempDir(), number(1), test.job, limits)
			result := finish(t, a, Finished)
			if !result.TimedOut || result.Stopped || result.Abandoned != test.abandoned || len(result.Leftover) > 0 {
				t.Errorf("got %+v", result)
			}
			until(t, "the lock is free", func() bool { held, err := a.lockHeld(); return err == nil && !held })
		})
	}
}

func TestStop(t *testing.T) {
	for name, argv := range map[string][]string{
		"obedient": {"sh", "-c", "echo up; sleep 60"},
		"stubborn": {"sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"},
		"escaped":  {"sh", "-c", "setsid sleep 60 & echo up; wait"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			a := begin(t, root, number(1), job{Do: "run", Argv: argv}, Options{Grace: time.Minute})
			until(t, "the command runs", func() bool { return read(t, a, 0) == "up\n" })
			// A restarted runner must be able to stop it just as well.
			again, _, err := Open(root, number(1))
			if err != nil {
				t.Fatal(err)
			}
			if state, err := again.Stop(t.Context(), 50*time.Millisecond); err != nil || state != Finished {
				t.Fatalf("%s, %v", state, err)
			}
			if result := finish(t, again, Finished); !result.Stopped || result.TimedOut || len(result.Leftover) > 0 {
				t.Errorf("got %+v", result)
			}
			if _, err := again.Stop(t.Context(), 0); !errors.Is(err, ErrNotRunning) {
				t.Errorf("a second stop: %v", err)
			}
		})
	}
}

func TestStopWithoutShim(t *testing.T) {
	a := begin(t, t.TempDir(), number(1), job{Do: "run", Argv: []string{"sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"}}, Options{})
	until(t, "the command runs", func() bool { return read(t, a, 0) == "up\n" })
	kill(t, a)
	if state, err := a.Stop(t.Context(), 20*time.Millisecond); err != nil || state != InDoubt {
		t.Errorf("%s, %v", state, err)
	}
}

func TestStopAtOnce(t *testing.T) {
	a := begin(t, t.TempDir(), number(1), job{Do: "run", Argv: []string{"sleep", "60"}}, Options{})
	if state, err := a.Stop(t.Context(), 10*time.Second); err != nil || state != Finished {
		t.Errorf("%s, %v", state, err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	a := begin(t, root, number(1), job{Do: "run", Argv: []string{"sleep", "60"}}, Options{})
	again, state, err := Open(root, number(1))
	if err != nil || state != Running {
		t.Fatalf("%s, %v", state, err)
	}
	for _, one := range []*Attempt{a, again} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, state, err := one.Wait(ctx); state != Running || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s, %v", state, err)
		}
		cancel()
	}
	if _, err := a.Stop(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestDaemon is scenario F37: the result counts although the lock stays held.
func TestDaemon(t *testing.T) {
	root := t.TempDir()
	a := begin(t, root, number(1), job{Do: "leave", Argv: []string{"setsid", "sleep", "60"}}, Options{})
	result := finish(t, a, Finished)
	if len(result.Leftover) != 1 {
		t.Fatalf("left over: %+v", result.Leftover)
	}
	again, state, err := Open(root, number(1))
	if err != nil || state != Finished {
		t.Errorf("%s, %v", state, err)
	}
	if held, err := again.lockHeld(); err != nil || !held {
		t.Errorf("lock held: %t, %v", held, err)
	}
	finish(t, again, Finished)
	if err := signalProcess(result.Leftover[0], 9); err != nil {
		t.Fatal(err)
	}
	until(t, "the lock is free", func() bool { held, err := again.lockHeld(); return err == nil && !held })
}

func TestFence(t *testing.T) {
	now := Boottime()
	for _, test := range []struct {
		name  string
		fence uint64
		text  string
		lease Lease
		want  string
	}{
		{name: "no lease", fence: 7},
		{name: "no fence", lease: Lease{Epoch: 1}},
		{name: "our own fence", fence: 7, lease: Lease{Epoch: 7, Expires: now + time.Hour}},
		{name: "newer lease", fence: 8, lease: Lease{Epoch: 7}, want: "a newer lease was taken: fence 8, ours 7"},
		{name: "ended", lease: Lease{Epoch: 7, Expires: now - time.Second}, want: "the lease ended"},
		{name: "unreadable", text: "eight", lease: Lease{Epoch: 7}, want: "read fence"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, book := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
			if test.fence > 0 {
				if err := errors.Join(RaiseFence(root, test.fence), RaiseFence(root, test.fence-1)); err != nil {
					t.Fatal(err)
				}
			}
			if test.text != "" {
				if err := os.WriteFile(filepath.Join(root, fenceName), []byte(test.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			a := begin(t, root, number(1), job{Do: "effect", File: book, Text: "x"}, Options{Lease: test.lease})
			result := finish(t, a, Finished)
			if !strings.Contains(result.Fenced, test.want) || (result.Fenced == "") != (test.want == "") {
				t.Errorf("fenced: %q", result.Fenced)
			}
			effects := 1
			if test.want != "" {
				effects = 0
			}
			if n := ledger(t, book, "x"); n != effects {
				t.Errorf("the effect happened %d times", n)
			}
		})
	}
}
