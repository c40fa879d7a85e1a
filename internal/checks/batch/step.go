package batch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"allclear.dev/allclear/internal/postgres"
)

// errSlow marks a batch that the server ended for its length, not for a person.
var errSlow = errors.New("it took too long")

// batch does one range: its rows and the job's new position are one transaction.
func (w *worker) batch(ctx context.Context) error {
	start := w.env.Now()
	blockers := w.watch(ctx)
	err := w.transaction(ctx, start)
	held := blockers()
	if err == nil {
		w.progress()
		return nil
	}
	took := w.env.Now().Sub(start)
	if !w.c.Closed() && ctx.Err() == nil {
		if _, back := w.c.Exec(ctx, "ROLLBACK"); back != nil {
			return fmt.Errorf("roll back: %w", errors.Join(back, err))
		}
	}
	switch postgres.Code(err) {
	case postgres.QueryCanceled:
		if took >= w.BatchTimeout {
			return fmt.Errorf("batch of %d rows: %w: %w", w.size, errSlow, err)
		}
	case postgres.LockNotAvailable, postgres.DeadlockDetected:
		if held != "" {
			return fmt.Errorf("batch of %d rows: %w (blocked by %s)", w.size, err, held)
		}
	}
	return fmt.Errorf("batch of %d rows: %w", w.size, err)
}

// transaction reads where the job stands, does the next range and moves the job
// on.
func (w *worker) transaction(ctx context.Context, start time.Time) error {
	if _, err := w.c.Exec(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED"); err != nil {
		return err
	}
	s, found, err := load(ctx, w.c, w.name(), "FOR UPDATE")
	if err != nil {
		return err
	}
	switch {
	case !found:
		return refuse("the job %s is gone from the database", w.name())
	case s.Statement != w.digest():
		return refuse("the job %s was begun anew with another statement", w.name())
	case s.Finished || s.Position == nil:
		return w.finish(ctx, s)
	}
	to, rows, err := w.rel.next(ctx, w.c, s.Position, s.Stop, w.size)
	if err != nil {
		return err
	}
	changed, err := w.c.Exec(ctx, w.Statement, append(append([]string{}, s.Position...), to...)...)
	if err != nil {
		return err
	}
	if !w.c.InTransaction() {
		return refuse("the statement ended the transaction that it was run in")
	}
	if most := 2*int64(w.PerKey)*rows + 1000; w.PerKey > 0 && changed > most {
		return refuse("the statement changed %d rows for a range of %d: it does not keep to its bounds (or per_key is too small)", changed, rows)
	}
	last := strings.Join(to, "\x00") == strings.Join(s.Stop, "\x00")
	took := w.env.Now().Sub(start)
	if err := advance(ctx, w.c, w.name(), s.Position, to, rows, changed, took.Seconds(), last); err != nil {
		return err
	}
	if _, err := w.c.Exec(ctx, "COMMIT"); err != nil {
		return err
	}
	s.Rows, s.Changed, s.Batches, s.Position, s.Finished = s.Rows+rows, s.Changed+changed, s.Batches+1, to, last
	s.Seconds, s.Longest = s.Seconds+took.Seconds(), max(s.Longest, took.Seconds())
	w.s, w.done, w.batches = s, w.done+rows, w.batches+1
	w.adapt(w.env.Now().Sub(start))
	return nil
}

// finish ends a job that has nothing to do, or that has ended already.
func (w *worker) finish(ctx context.Context, s state) error {
	if _, err := w.c.Exec(ctx, "UPDATE allclear.batches SET finished = coalesce(finished, clock_timestamp()) WHERE name = $1", w.name()); err != nil {
		return err
	}
	if _, err := w.c.Exec(ctx, "COMMIT"); err != nil {
		return err
	}
	w.s, w.s.Finished = s, true
	return nil
}

// adapt makes the next batch as large as the target time allows, by what this one
// took; no more than twice and no less than a quarter at a time.
func (w *worker) adapt(took time.Duration) {
	if took <= 0 {
		took = time.Microsecond
	}
	next := float64(w.size) * min(max(float64(w.Target)/float64(took), 0.25), 2)
	w.size = int(min(max(next, 1), float64(w.MaxBatch)))
}

// blockersSQL names the sessions that a session waits for; not their queries,
// which may hold anything.
const blockersSQL = `SELECT string_agg(format('session %s of %s (%s, %s, transaction since %s s)', a.pid, a.usename, a.application_name, coalesce(a.state, '?'),
  coalesce(round(extract(epoch FROM clock_timestamp() - a.xact_start))::text, '?')), '; ')
FROM unnest(pg_blocking_pids($1::int)) AS b(pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid`

// watch looks, while a batch is going on, who it waits for: after a lock timeout
// it is too late to ask. The function that it gives ends the watch and names the
// sessions seen last.
func (w *worker) watch(ctx context.Context) func() string {
	var seen string
	var wg sync.WaitGroup
	watching, stop := context.WithCancel(ctx)
	wg.Go(func() {
		for {
			if err := w.env.Sleep(watching, w.LockTimeout/4); err != nil {
				return
			}
			// Not with the watch's own end, which would cut the session.
			t, err := w.eye.Query(ctx, 1, blockersSQL, w.pid)
			if err != nil {
				return // the next use of the session tells
			}
			if len(t.Rows) == 1 && !t.Rows[0][0].Null {
				seen = t.Rows[0][0].Text
			}
		}
	})
	return func() string {
		stop()
		wg.Wait()
		return seen
	}
}
