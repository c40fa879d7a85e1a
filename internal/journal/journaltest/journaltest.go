// Package journaltest holds what every journal.Log must do, as tests.
package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"

	"allclear.dev/allclear/internal/journal"
)

// Open opens the log of one store. After Close it opens the same store again.
type Open func() (journal.Log, error)

// Run runs the tests. fresh makes an empty store for each of them.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *store)
	}{
		{"an empty log", testEmpty},
		{"events come back as they went in", testAppend},
		{"a reopened log goes on", testReopen},
		{"an append is all or nothing", testAllOrNothing},
		{"an unexpected tail is a conflict", testConflict},
		{"a lower epoch is refused", testEpoch},
		{"what may not be stored", testRefused},
		{"runs are listed newest first, by page", testRuns},
		{"reading from the middle", testReadAfter},
		{"proofs hold and heads only grow", testProofs},
		{"the log verifies", testVerify},
		{"appends at once", testConcurrent},
		{"of appends with one expectation one wins", testRace},
		{"an ended context stores nothing", testContext},
		{"the caller's buffers stay the caller's", testBuffers},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &store{t: t, open: fresh(t)}
			s.reopen()
			t.Cleanup(func() {
				if err := s.log.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test.run(t, s)
		})
	}
}

// store is a log under test.
type store struct {
	t    *testing.T
	open Open
	log  journal.Log
}

// reopen closes the log and opens it again.
func (s *store) reopen() {
	s.t.Helper()
	if s.log != nil {
		if err := s.log.Close(); err != nil {
			s.t.Fatalf("close: %v", err)
		}
	}
	log, err := s.open()
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	s.log = log
}

// append appends bodies that must be accepted.
func (s *store) append(run string, expected, epoch uint64, bodies ...string) []journal.Event {
	s.t.Helper()
	raw := make([][]byte, len(bodies))
	for i, body := range bodies {
		raw[i] = []byte(body)
	}
	events, err := s.log.Append(s.t.Context(), run, expected, epoch, raw...)
	if err != nil {
		s.t.Fatalf("append to %s after %d: %v", run, expected, err)
	}
	if len(events) != len(bodies) {
		s.t.Fatalf("append gave %d events for %d bodies", len(events), len(bodies))
	}
	return events
}

// bodies reads a run's bodies.
func (s *store) bodies(run string, after uint64) []string {
	s.t.Helper()
	var out []string
	for _, event := range collect(s.t, s.log.Read(s.t.Context(), run, after)) {
		out = append(out, string(event.Body))
	}
	return out
}

// head reads the head.
func (s *store) head() journal.Checkpoint {
	s.t.Helper()
	head, err := s.log.Head(s.t.Context())
	if err != nil {
		s.t.Fatalf("head: %v", err)
	}
	return head
}

// collect reads a sequence to its end.
func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var out []T
	for v, err := range seq {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		out = append(out, v)
	}
	return out
}

func testEmpty(t *testing.T, s *store) {
	ctx := t.Context()
	if tail, err := s.log.Tail(ctx, "r1"); err != nil || tail != (journal.Tail{}) {
		t.Errorf("tail of no run: %v, %v", tail, err)
	}
	if got := s.bodies("r1", 0); got != nil {
		t.Errorf("events of no run: %q", got)
	}
	if runs, err := s.log.Runs(ctx, journal.Page{}); err != nil || len(runs) != 0 {
		t.Errorf("runs: %v, %v", runs, err)
	}
	if head := s.head(); head.Size != 0 || head.Root != (&journal.Tree{}).Root() {
		t.Errorf("head of the empty log: %v", head)
	}
}

func testAppend(t *testing.T, s *store) {
	const first = `{"plan_digest":"sha256:00ff","text":"<&>é\n","type":"run.started"}`
	events := append(s.append("r1", 0, 1, first), s.append("r1", 1, 1, `{"n":2}`, `{"n":3}`)...)
	prev := journal.Genesis("r1", "sha256:00ff")
	for i, event := range events {
		if event.Run != "r1" || event.Seq != uint64(i)+1 || event.Epoch != 1 || event.Prev != prev {
			t.Errorf("event %d is %+v", i+1, event)
		}
		if prev = journal.Hash("r1", event.Seq, event.Prev, event.Body); prev != event.Hash {
			t.Errorf("event %d has another hash than its content", i+1)
		}
	}
	if got, want := s.bodies("r1", 0), []string{first, `{"n":2}`, `{"n":3}`}; !slices.Equal(got, want) {
		t.Errorf("read back %q", got)
	}
	read := collect(t, s.log.Read(t.Context(), "r1", 0))
	for i := range read {
		if !same(read[i], events[i]) {
			t.Errorf("event %d reads as %+v, was %+v", i+1, read[i], events[i])
		}
	}
	if tail, err := s.log.Tail(t.Context(), "r1"); err != nil || tail != events[2].Tail() {
		t.Errorf("tail %+v, %v", tail, err)
	}
}

// same compares two events.
func same(a, b journal.Event) bool {
	return a.Run == b.Run && a.Seq == b.Seq && a.Epoch == b.Epoch && a.Prev == b.Prev && a.Hash == b.Hash && bytes.Equal(a.Body, b.Body)
}

func testReopen(t *testing.T, s *store) {
	s.append("r1", 0, 1, `{"n":1}`)
	s.append("r2", 0, 4, `{"n":1}`)
	before := s.head()
	s.reopen()
	if got := s.head(); got != before {
		t.Errorf("head %v after reopening, was %v", got, before)
	}
	s.append("r1", 1, 1, `{"n":2}`)
	s.append("r2", 1, 4, `{"n":2}`)
	s.reopen()
	if got := s.bodies("r1", 0); !slices.Equal(got, []string{`{"n":1}`, `{"n":2}`}) {
		t.Errorf("r1 reads %q", got)
	}
	_, err := s.log.Append(t.Context(), "r2", 2, 3, []byte(`{}`))
	if !errors.Is(err, journal.ErrEpoch) {
		t.Errorf("a lower epoch after reopening: %v", err)
	}
	verify(t, s.log)
}

func testAllOrNothing(t *testing.T, s *store) {
	s.append("r1", 0, 1, `{"n":1}`)
	head := s.head()
	_, err := s.log.Append(t.Context(), "r1", 1, 1, []byte(`{"n":2}`), []byte(`{"n": 3}`))
	if err == nil {
		t.Fatal("a body that is not canonical was stored")
	}
	if got := s.head(); got != head {
		t.Errorf("head is %v after a refused append, was %v", got, head)
	}
}

func testConflict(t *testing.T, s *store) {
	events := s.append("r1", 0, 1, `{"n":1}`, `{"n":2}`)
	for _, expected := range []uint64{0, 1, 3, 1 << 40} {
		_, err := s.log.Append(t.Context(), "r1", expected, 1, []byte(`{}`))
		var conflict *journal.ConflictError
		if !errors.Is(err, journal.ErrConflict) || !errors.As(err, &conflict) {
			t.Fatalf("append after %d: %v", expected, err)
		}
		if conflict.Actual != events[1].Tail() || conflict.Expected != expected || conflict.Run != "r1" {
			t.Errorf("conflict is %+v", conflict)
		}
	}
	if _, err := s.log.Append(t.Context(), "r2", 1, 1, []byte(`{}`)); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("append after event 1 of a run without events: %v", err)
	}
	if got := s.bodies("r1", 0); len(got) != 2 {
		t.Errorf("the run has %q", got)
	}
}

func testEpoch(t *testing.T, s *store) {
	s.append("r1", 0, 2, `{"n":1}`)
	s.append("r1", 1, 5, `{"n":2}`)
	for _, expected := range []uint64{1, 2} {
		_, err := s.log.Append(t.Context(), "r1", expected, 4, []byte(`{}`))
		var epoch *journal.EpochError
		if !errors.Is(err, journal.ErrEpoch) || !errors.As(err, &epoch) || epoch.Epoch != 4 || epoch.Current != 5 {
			t.Errorf("append of epoch 4 after %d: %v", expected, err)
		}
	}
	s.append("r1", 2, 5, `{"n":3}`)
	s.append("r2", 0, 1, `{"n":1}`) // another run has its own epochs
}

func testRefused(t *testing.T, s *store) {
	big := append(append([]byte(`"`), bytes.Repeat([]byte("x"), journal.MaxBody)...), '"')
	for name, call := range map[string]struct {
		run    string
		bodies [][]byte
	}{
		"no body":         {"r1", nil},
		"empty body":      {"r1", [][]byte{{}}},
		"not JSON":        {"r1", [][]byte{[]byte("hello")}},
		"a fraction":      {"r1", [][]byte{[]byte(`{"n":1.5}`)}},
		"unsorted":        {"r1", [][]byte{[]byte(`{"b":1,"a":2}`)}},
		"twice":           {"r1", [][]byte{[]byte(`{"a":1,"a":2}`)}},
		"too long":        {"r1", [][]byte{big}},
		"no run":          {"", [][]byte{[]byte(`{}`)}},
		"line in run":     {"r1\n2", [][]byte{[]byte(`{}`)}},
		"run is too long": {string(bytes.Repeat([]byte("r"), journal.MaxRun+1)), [][]byte{[]byte(`{}`)}},
	} {
		if _, err := s.log.Append(t.Context(), call.run, 0, 1, call.bodies...); err == nil {
			t.Errorf("%s: stored", name)
		}
	}
	if head := s.head(); head.Size != 0 {
		t.Errorf("the log has %d events", head.Size)
	}
}

func testConcurrent(t *testing.T, s *store) {
	const appenders, each = 16, 10
	var group sync.WaitGroup
	for n := range appenders {
		group.Go(func() {
			run := fmt.Sprintf("r%d", n)
			for i := range uint64(each) {
				if _, err := s.log.Append(t.Context(), run, i, 1, fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
					t.Errorf("%s/%d: %v", run, i, err)
				}
			}
		})
	}
	group.Wait()
	if head := s.head(); head.Size != appenders*each {
		t.Errorf("the log has %d events", head.Size)
	}
	for n := range appenders {
		if got := s.bodies(fmt.Sprintf("r%d", n), 0); len(got) != each {
			t.Errorf("r%d has %d events", n, len(got))
		}
	}
	verify(t, s.log)
}

func testRace(t *testing.T, s *store) {
	const appenders = 12
	won := make(chan int, appenders)
	var group sync.WaitGroup
	for n := range appenders {
		group.Go(func() {
			_, err := s.log.Append(t.Context(), "r1", 0, 1, fmt.Appendf(nil, `{"n":%d}`, n))
			if err == nil {
				won <- n
			} else if !errors.Is(err, journal.ErrConflict) {
				t.Errorf("appender %d: %v", n, err)
			}
		})
	}
	group.Wait()
	if len(won) != 1 {
		t.Fatalf("%d appenders won", len(won))
	}
	if got, want := s.bodies("r1", 0), []string{fmt.Sprintf(`{"n":%d}`, <-won)}; !slices.Equal(got, want) {
		t.Errorf("stored %q, the winner wrote %q", got, want)
	}
}

func testContext(t *testing.T, s *store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.log.Append(ctx, "r1", 0, 1, []byte(`{}`)); err == nil {
		// The append may have begun before the context was looked at; then it is there.
		if s.head().Size != 1 {
			t.Error("an append without an error stored nothing")
		}
	} else if !errors.Is(err, context.Canceled) || s.head().Size != 0 {
		t.Errorf("append: %v, the log has %d events", err, s.head().Size)
	}
	for _, err := range s.log.Read(ctx, "r1", 0) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("read: %v", err)
		}
	}
}

func testBuffers(t *testing.T, s *store) {
	body := []byte(`{"n":1}`)
	events, err := s.log.Append(t.Context(), "r1", 0, 1, body)
	if err != nil {
		t.Fatal(err)
	}
	body[5], events[0].Body[5] = '8', '9'
	if got := s.bodies("r1", 0); got[0] != `{"n":1}` {
		t.Errorf("stored %q", got)
	}
}
