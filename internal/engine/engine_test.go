package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/secret"
)

// scripted answers as its parameter says and notes each time it is asked.
type scripted struct {
	Answer string `param:"answer,short" doc:"what to answer"`
}

func (s *scripted) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	calls, err := os.OpenFile(filepath.Join(env.Dir, env.Run.Item), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return check.Outcome{}, err
	}
	defer calls.Close()
	if _, err := calls.WriteString("."); err != nil {
		return check.Outcome{}, err
	}
	switch s.Answer {
	case "late": // it does not look at its context
		_ = env.Sleep(context.WithoutCancel(ctx), time.Hour)
	case "panic":
		panic("nobody expected this")
	case "error":
		return check.Passf("it says pass too"), errors.New("the monitor is away")
	case "nothing":
		return check.Outcome{}, nil
	case "fail":
		return check.Failf("three of five"), nil
	}
	return check.Passf("five of five"), nil
}

// bench is a run on an empty table: its journal, its folder, its plan.
type bench struct {
	t    *testing.T
	dir  string
	log  *journal.Memory
	plan *run.Plan
}

// newBench plans a run of checks with the answers given, in order: "late 5s" is
// an answer and the item's time limit.
func newBench(t *testing.T, answers ...string) *bench {
	t.Helper()
	p := &run.Plan{Project: "p", Environment: "test", Phases: []run.Phase{{ID: "pre"}}}
	for n, answer := range answers {
		word, limit, _ := strings.Cut(answer, " ")
		it := run.Item{
			ID: fmt.Sprintf("pre.i%d", n), Phase: "pre", Gate: "pre", Kind: run.Check, Type: "scripted", Class: run.Pure,
			Params: fmt.Sprintf(`{"answer": %q}`, word), Applies: run.Applies,
		}
		if limit != "" {
			it.Timeout, _ = time.ParseDuration(limit)
		}
		p.Items = append(p.Items, it)
	}
	return &bench{t: t, dir: t.TempDir(), log: journal.NewMemory(), plan: p}
}

func (b *bench) begin() *bench {
	b.t.Helper()
	if err := run.Order(b.plan); err != nil {
		b.t.Fatal(err)
	}
	started := run.Event{Type: run.RunStarted, Run: "r1", Plan: b.plan, Actor: "eve", Epoch: 1, At: time.Now().UTC()}
	if err := Begin(b.t.Context(), b.log, started); err != nil {
		b.t.Fatal(err)
	}
	return b
}

// engine makes a driver of the run over a journal, the bench's own by default.
func (b *bench) engine(log journal.Log) *Engine {
	redactor := secret.NewRedactor(nil)
	typ := check.Define[scripted](check.Desc{Name: "scripted", Summary: "it answers", Doc: "It answers."})
	return New(Options{
		World: &World{
			Types: map[string]*check.Type{"scripted": typ}, Dir: b.dir, DataDir: b.dir, Redactor: redactor,
			Secrets: &secret.Resolver{Redactor: redactor, Dir: b.dir},
		},
		Log: log, Run: "r1", Attempts: filepath.Join(b.dir, "attempts"),
	})
}

// state is the run as its journal has it.
func (b *bench) state() run.State {
	b.t.Helper()
	s, _, err := Replay(b.t.Context(), b.log, "r1")
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// calls counts how often an item was asked.
func (b *bench) calls(item string) int {
	text, _ := os.ReadFile(filepath.Join(b.dir, item))
	return len(text)
}

// drive drives the run for a time of the test's clock and gives how it stands.
func (b *bench) drive(e *Engine, length time.Duration) (run.State, error) {
	ctx, cancel := context.WithTimeoutCause(b.t.Context(), length, errEnough)
	defer cancel()
	return e.Drive(ctx)
}

var errEnough = errors.New("enough")

// TestNoAnswerIsInconclusive holds the law that what could not be found out is no
// verdict, whatever a type does instead of answering.
func TestNoAnswerIsInconclusive(t *testing.T) {
	for answer, want := range map[string]string{
		"late 5s": "no answer within 5s",
		"late":    "no answer within 1m0s",
		"panic":   "the type panicked: nobody expected this",
		"error":   "the monitor is away",
		"nothing": "type scripted gave no verdict",
	} {
		t.Run(answer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, answer, "pass").begin()
				// Long enough for the late answer to come, and to be dropped.
				s, err := b.drive(b.engine(b.log), 2*time.Hour)
				if !errors.Is(err, errEnough) {
					t.Fatalf("the run ended: %v", err)
				}
				_, st := s.Of("pre.i0")
				if st.Status != run.Inconclusive || !strings.Contains(st.Reason, want) {
					t.Fatalf("%s: %q, want inconclusive: %q", st.Status, st.Reason, want)
				}
				if s.Status() != run.RunHeld {
					t.Fatalf("the run is %s: %s", s.Status(), s.Advise())
				}
			})
		})
	}
}

// TestRunIsOver shows that Drive gives the state that the run ended in.
func TestRunIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "pass", "pass").begin()
		s, err := b.engine(b.log).Drive(t.Context())
		if err != nil || !s.Closed || s.Status() != run.RunDone || b.calls("pre.i0") != 1 {
			t.Fatalf("closed %v, %s, %v, %d calls", s.Closed, s.Status(), err, b.calls("pre.i0"))
		}
	})
}

// keeper is a lease that is kept until a time.
type keeper struct {
	until time.Time
	hang  bool
}

func (k *keeper) Renew(ctx context.Context) error {
	if time.Now().Before(k.until) {
		return nil
	}
	if k.hang {
		<-ctx.Done()
	}
	return errors.New("the target does not answer")
}
func (k *keeper) Token() uint64                 { return 7 }
func (k *keeper) Release(context.Context) error { return nil }

// TestLostLeaseStops shows that a run stops before the lease, which nobody
// renews, has run out, and not at the first failure.
func TestLostLeaseStops(t *testing.T) {
	for _, hang := range []bool{false, true} {
		t.Run(fmt.Sprintf("hang %v", hang), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, "fail").begin()
				e := b.engine(b.log)
				begun := time.Now()
				e.Lease = &keeper{until: begun.Add(time.Hour), hang: hang}
				s, err := e.Drive(t.Context())
				if !errors.Is(err, ErrLeaseLost) || s.Closed {
					t.Fatalf("got %v", err)
				}
				// The last renewal was within 15 s before the hour; the lease lasts 60 s.
				if lasted := time.Since(begun); lasted < time.Hour+15*time.Second || lasted > time.Hour+time.Minute {
					t.Fatalf("it stopped after %s", lasted)
				}
				if s.Epoch < 7 {
					t.Fatalf("epoch %d is below the lease's token", s.Epoch)
				}
			})
		})
	}
}

// frail is a journal whose n-th append fails, stored or not.
type frail struct {
	*journal.Memory
	mu     sync.Mutex
	left   int
	stored bool
	err    error
}

func (f *frail) Append(ctx context.Context, id string, expected, epoch uint64, bodies ...[]byte) ([]journal.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	if f.left != 0 {
		return f.Memory.Append(ctx, id, expected, epoch, bodies...)
	}
	if f.stored {
		if _, err := f.Memory.Append(ctx, id, expected, epoch, bodies...); err != nil {
			return nil, err
		}
	}
	return nil, f.err
}

// TestJournalFailsAtEveryAppend fails the first, the second, … append of a run,
// once with the events stored and once without, and takes the run up again: it
// ends as it would have, and nothing was begun that the journal does not know.
func TestJournalFailsAtEveryAppend(t *testing.T) {
	for _, stored := range []bool{false, true} {
		for n := 1; ; n++ {
			fails := false
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, "pass", "pass", "fail")
				// One after the other, so that no two results share an append.
				b.plan.Items[1].Needs, b.plan.Items[2].Needs = []string{"pre.i0"}, []string{"pre.i1"}
				b.begin()
				f := &frail{Memory: b.log, left: n, stored: stored, err: errors.New("input/output error")}
				_, err := b.drive(b.engine(f), time.Hour)
				fails = f.left <= 0
				if fails && (err == nil || !strings.Contains(err.Error(), "append to the journal: input/output error")) {
					t.Fatalf("append %d: %v", n, err)
				}
				s, _ := b.drive(b.engine(b.log), time.Hour)
				for item, want := range map[string]run.Status{"pre.i0": run.Pass, "pre.i1": run.Pass, "pre.i2": run.Fail} {
					if _, st := s.Of(item); st.Status != want {
						t.Fatalf("append %d, stored %v: %s is %s, want %s", n, stored, item, st.Status, want)
					}
				}
			})
			if !fails {
				if n < 4 {
					t.Fatalf("only %d appends were made to fail", n-1)
				}
				break
			}
		}
	}
}

// TestFullDiskPauses shows that a run on a full disk is paused, in the room kept
// for that, and goes on only when a person says so.
func TestFullDiskPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "pass", "pass")
		b.plan.Items[1].Needs = []string{"pre.i0"}
		b.begin()
		f := &frail{Memory: b.log, left: 2, err: fmt.Errorf("%w: 0 bytes left", journal.ErrFull)}
		if _, err := b.drive(b.engine(f), time.Hour); !errors.Is(err, journal.ErrFull) {
			t.Fatalf("got %v", err)
		}
		s, err := b.drive(b.engine(b.log), time.Hour)
		if !errors.Is(err, errEnough) || s.Status() != run.RunPaused || s.PauseReason != "the disk is full" {
			t.Fatalf("%v, %s: %s", err, s.Status(), s.PauseReason)
		}
		if b.calls("pre.i1") != 0 {
			t.Fatal("something began while the run was paused")
		}
		e := b.engine(b.log)
		accepted := make(chan error, 1)
		go func() { accepted <- e.Submit(t.Context(), run.Event{Type: run.Unpaused, Actor: "ana"}) }()
		if s, err = e.Drive(t.Context()); err != nil || s.Status() != run.RunDone {
			t.Fatalf("%v, %s", err, s.Status())
		}
		if err := <-accepted; err != nil {
			t.Fatal(err)
		}
	})
}

// TestFencedDriverStops shows that a driver whose run was taken over cannot go on.
func TestFencedDriverStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "fail").begin()
		first, stop := context.WithCancel(t.Context())
		defer stop()
		old := b.engine(b.log)
		ended := make(chan error, 1)
		go func() {
			_, err := old.Drive(first)
			ended <- err
		}()
		synctest.Wait()
		if _, err := b.drive(b.engine(b.log), time.Minute); !errors.Is(err, errEnough) {
			t.Fatalf("the second driver: %v", err)
		}
		err := old.Submit(t.Context(), run.Event{Type: run.Paused, Actor: "ana"})
		if err == nil {
			t.Fatal("a fenced driver took a request")
		}
		if err := <-ended; !errors.Is(err, journal.ErrConflict) && !errors.Is(err, journal.ErrEpoch) {
			t.Fatalf("it ended with %v", err)
		}
		if s := b.state(); s.Paused {
			t.Fatal("the refused request is in the journal")
		}
	})
}

// TestRepeatedRequest shows that a request counts once, before and after the
// run's process was replaced, and that a refused one stays refused.
func TestRepeatedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "fail", "pass").begin()
		retry := run.Event{Type: run.Retried, Item: "pre.i0", Actor: "ana", Request: "one"}
		bad := run.Event{Type: run.Unpaused, Actor: "ana", Request: "two"}
		for range 2 { // the second time in a new process
			ctx, stop := context.WithCancel(t.Context())
			e := b.engine(b.log)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = e.Drive(ctx)
			}()
			synctest.Wait()
			for range 2 {
				if err := e.Submit(ctx, retry); err != nil {
					t.Errorf("the repeat: %v", err)
				}
				if err := e.Submit(ctx, bad); err == nil {
					t.Error("a refused request was accepted when it was repeated")
				}
			}
			synctest.Wait()
			stop()
			<-ended
		}
		if b.calls("pre.i0") != 2 {
			t.Fatalf("the item was asked %d times, want twice", b.calls("pre.i0"))
		}
	})
}

// TestWatchKeepsItsGrid drives a watch of a quarter of an hour of which one
// answer never comes.
func TestWatchKeepsItsGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "pass")
		b.plan.Items[0].Kind = run.Watch
		b.plan.Items[0].Watch = &run.WatchRule{For: 15 * time.Minute, Every: time.Minute, MaxErrors: 1, MinSamples: 10, Coverage: 95}
		b.begin()
		begun := time.Now()
		s, err := b.engine(b.log).Drive(t.Context())
		if err != nil || s.Status() != run.RunDone || b.calls("pre.i0") != 16 {
			t.Fatalf("%v, %s, %d samples", err, s.Status(), b.calls("pre.i0"))
		}
		if lasted := time.Since(begun); lasted != 15*time.Minute {
			t.Fatalf("it lasted %s", lasted)
		}
	})
}

// TestWatchGapIsInconclusive shows that time in which nobody looked is not time
// that went well.
func TestWatchGapIsInconclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "pass")
		b.plan.Items[0].Kind = run.Watch
		b.plan.Items[0].Watch = &run.WatchRule{For: 15 * time.Minute, Every: time.Minute, MaxErrors: 3, MinSamples: 2, Coverage: 95}
		b.begin()
		if _, err := b.drive(b.engine(b.log), 4*time.Minute+time.Second); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute) // the machine is down
		s, err := b.drive(b.engine(b.log), time.Hour)
		_, st := s.Of("pre.i0")
		if !errors.Is(err, errEnough) || st.Status != run.Inconclusive || !strings.Contains(st.Reason, "samples answered, want 95 %") {
			t.Fatalf("%v, %s: %s", err, st.Status, st.Reason)
		}
	})
}
