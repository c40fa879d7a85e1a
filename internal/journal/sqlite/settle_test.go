package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"allclear.dev/allclear/internal/journal"
)

// openLog opens a journal until the test ends.
func openLog(t *testing.T) *Log {
	t.Helper()
	log, err := Open(t.Context(), t.TempDir(), Options{Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return log
}

// stageOne stages one event of a new run.
func stageOne(t *testing.T, w *writer, run string) *staged {
	t.Helper()
	next, err := w.stage([]*request{{run: run, epoch: 1, bodies: [][]byte{[]byte(`{"n":1}`)}}})
	if err != nil || len(next.events) != 1 {
		t.Fatalf("stage: %v", err)
	}
	return next
}

// errOdd is an error of a commit that says nothing about its outcome.
var errOdd = errors.New("odd")

// TestSettleStored: the commit is there although it ended with an error (F06).
func TestSettleStored(t *testing.T) {
	log := openLog(t)
	w := log.writer
	next := stageOne(t, w, "r1")
	if err := w.session.write(next); err != nil {
		t.Fatal(err)
	}
	if err := w.settle(next, errOdd); err != nil {
		t.Fatalf("settle: %v", err)
	}
	w.accept(next)
	if err := w.anchors.write(anchor{size: 1, root: next.tree.Root(), head: next.events[0].Hash}); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, log, "r1", 1)
	if _, err := log.Append(t.Context(), "r1", 1, 1, []byte(`{"n":2}`)); err != nil {
		t.Errorf("the next append: %v", err)
	}
	wantEvents(t, log, "r1", 2)
}

// TestSettleNotStored: nothing is there; the same bytes are written once more (F07).
func TestSettleNotStored(t *testing.T) {
	log := openLog(t)
	next := stageOne(t, log.writer, "r1")
	if err := log.writer.settle(next, errOdd); err != nil {
		t.Fatalf("settle: %v", err)
	}
	log.writer.accept(next)
	wantEvents(t, log, "r1", 1)
}

// TestSettleConflict: something else is there, which only a second writer can have
// done. Nothing is written any more.
func TestSettleConflict(t *testing.T) {
	log := openLog(t)
	w := log.writer
	next, other := stageOne(t, w, "r1"), stageOne(t, w, "r2")
	if err := w.session.write(other); err != nil {
		t.Fatal(err)
	}
	if err := w.settle(next, errOdd); !errors.Is(err, journal.ErrCorrupt) || !errors.Is(err, journal.ErrUncertain) {
		t.Fatalf("settle: %v", err)
	}
	if _, err := log.Append(t.Context(), "r3", 0, 1, []byte(`{}`)); !errors.Is(err, journal.ErrUncertain) {
		t.Errorf("an append after that: %v", err)
	}
}

// wantEvents counts the events of a run and verifies the journal.
func wantEvents(t *testing.T, log *Log, run string, want int) {
	t.Helper()
	got := 0
	for _, err := range log.Read(t.Context(), run, 0) {
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	if got != want {
		t.Errorf("run %s has %d events, want %d", run, got, want)
	}
	if findings, err := journal.Verify(log.Entries(t.Context(), 0)); err != nil || len(findings) > 0 {
		t.Errorf("verify: %v, %v", findings, err)
	}
}

// TestQueue holds a commit until others wait, ends the context of one of them, and
// sees who is committed together.
func TestQueue(t *testing.T) {
	begun, goOn := make(chan []*request), make(chan struct{})
	q := newQueue(func(batch []*request) {
		begun <- batch
		<-goOn
		for _, r := range batch {
			r.err = errors.New(r.run)
		}
	})
	var group sync.WaitGroup
	submit := func(ctx context.Context, name string, want error) {
		group.Go(func() {
			_, err := q.submit(ctx, &request{run: name})
			if want == nil && (err == nil || err.Error() != name) || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	submit(t.Context(), "first", nil)
	if batch := <-begun; len(batch) != 1 {
		t.Errorf("first batch has %d requests", len(batch))
	}
	ctx, cancel := context.WithCancel(t.Context())
	submit(ctx, "gone", context.Canceled)
	waitFor(q, 1)
	cancel()
	waitFor(q, 0)
	for i := range 5 {
		submit(t.Context(), fmt.Sprint("second ", i), nil)
	}
	waitFor(q, 5)
	goOn <- struct{}{}
	if batch := <-begun; len(batch) != 5 {
		t.Errorf("second batch has %d requests", len(batch))
	}
	goOn <- struct{}{}
	group.Wait()
	q.close()
	if _, err := q.submit(t.Context(), &request{}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("submit after close: %v", err)
	}
}

// waitFor yields until n requests wait.
func waitFor(q *queue, n int) {
	for {
		q.mu.Lock()
		waiting := len(q.waiting)
		q.mu.Unlock()
		if waiting == n {
			return
		}
		runtime.Gosched()
	}
}
