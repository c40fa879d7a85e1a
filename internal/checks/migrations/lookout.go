package migrations

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"allclear.dev/allclear/internal/postgres"
)

// tellEvery is how often progress is told.
const tellEvery = time.Second

// lookout asks, on a connection of its own, how the worker's statements get on:
// who keeps them waiting, and how far a build is.
type lookout struct {
	conn   *postgres.Conn
	pid    string
	log    io.Writer
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu       sync.Mutex
	blockers string
}

// lookOut begins to look on. That it cannot is told and stops nothing: the
// migration does not depend on it.
func (w *worker) lookOut(ctx context.Context) *lookout {
	l := &lookout{log: w.env.Log, cancel: func() {}}
	if w.from == nil {
		return l
	}
	pid, err := w.c.Value(ctx, "SELECT pg_backend_pid()")
	if err == nil {
		l.pid = pid
		l.conn, err = w.from.Open(ctx, postgres.Options{ReadOnly: true, StatementTimeout: lookTimeout})
	}
	if err != nil {
		fmt.Fprintf(w.env.Log, "nobody looks on: %v\n", err)
		return l
	}
	ctx, l.cancel = context.WithCancel(ctx)
	// Several looks within the time that a lock is waited for.
	every := max(5*time.Millisecond, min(100*time.Millisecond, w.LockTimeout/6))
	l.wait.Go(func() { l.look(ctx, every) })
	return l
}

func (l *lookout) look(ctx context.Context, every time.Duration) {
	defer l.conn.Close()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	told, asked := "", time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		line, err := l.conn.Blockers(ctx, l.pid)
		if line != "" {
			l.mu.Lock()
			l.blockers = line
			l.mu.Unlock()
			line = "waits for " + line
		}
		if err == nil && line == "" && time.Since(asked) >= tellEvery {
			asked = time.Now()
			line, err = l.conn.Progress(ctx, l.pid)
		}
		if err != nil {
			return // the connection has gone, or the step is over
		}
		if line != "" && line != told {
			fmt.Fprintln(l.log, line)
			told = line
		}
	}
}

// stop ends it.
func (l *lookout) stop() {
	l.cancel()
	l.wait.Wait()
}

// taken tells who was last seen in the way since it was asked before.
func (l *lookout) taken() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blockers == "" {
		return ""
	}
	defer func() { l.blockers = "" }()
	return "; it waited for " + l.blockers
}
