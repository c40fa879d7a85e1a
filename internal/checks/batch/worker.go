package batch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
)

// worker goes through the table over one session, and watches over another.
type worker struct {
	*job
	env    *check.Env
	server *postgres.Server
	// c does the work and has the job's lock; eye looks at the server meanwhile.
	c, eye *postgres.Conn
	pid    string // of c, on the server
	rel    relation
	s      state
	// size is how many rows the next batch has.
	size             int
	done             int64 // rows of this attempt
	retried, batches int
	replicas         int64
	paused           time.Duration
	marks            []mark
	answers          []time.Duration
	began, told      time.Time
}

func (w *worker) close() {
	for _, c := range []*postgres.Conn{w.c, w.eye} {
		if c != nil {
			c.Close()
		}
	}
	w.c, w.eye = nil, nil
}

// open starts both sessions and takes the lock. The text says why it may not.
func (w *worker) open(ctx context.Context) (string, error) {
	w.close()
	var err error
	if w.eye, err = w.server.Open(ctx, postgres.Options{ReadOnly: true, StatementTimeout: w.UntilTimeout, LockTimeout: w.LockTimeout, Plain: true}); err != nil {
		return "", err
	}
	// The statement runs with the server's settings. Keys are written as text.
	if w.c, err = w.server.Open(ctx, postgres.Options{LockTimeout: w.LockTimeout, StatementTimeout: w.BatchTimeout, Plain: true}); err != nil {
		return "", err
	}
	for _, sql := range []string{"SET DateStyle = 'ISO'", "SET bytea_output = 'hex'", "SET row_security = off"} {
		if _, err := w.c.Exec(ctx, sql); err != nil {
			return "", fmt.Errorf("prepare session: %w", err)
		}
	}
	if w.pid, err = w.c.Value(ctx, "SELECT pg_backend_pid()"); err != nil {
		return "", fmt.Errorf("prepare session: %w", err)
	}
	got, err := w.c.Value(ctx, lockSQL, w.name())
	if err != nil {
		return "", fmt.Errorf("take the job's lock: %w", err)
	}
	if got == "t" {
		return "", nil
	}
	who, err := holder(ctx, w.eye, w.name())
	return "the job is at work already: " + who, err
}

// begin looks before anything is changed. The text says what is in the way.
func (w *worker) begin(ctx context.Context) (string, error) {
	refusal, err := w.open(ctx)
	if err == nil && refusal == "" {
		err = w.look(ctx)
	}
	if refusedAs, ok := errors.AsType[*errRefused](err); ok {
		return refusedAs.why, nil
	}
	if postgres.Code(err) != "" && ctx.Err() == nil && w.c != nil && !w.c.Closed() && !w.eye.Closed() {
		return err.Error(), nil // the server has said no
	}
	return refusal, err
}

// look finds the table and the job, and begins a new one.
func (w *worker) look(ctx context.Context) error {
	var err error
	if w.rel, err = w.relation(ctx, w.c); err != nil {
		return err
	}
	if columns, err := placeholders(w.Statement); err != nil || columns != len(w.rel.columns) || !compares(w.Statement, w.rel.names()) {
		return refuse("the statement's bounds are not of %s, the key of %s", strings.Join(w.rel.names(), ", "), w.rel.from)
	}
	if _, err := w.strain(ctx); err != nil {
		return err
	}
	left, err := w.left(ctx, w.eye)
	if err != nil {
		return err
	}
	var found bool
	if w.s, found, err = read(ctx, w.c, w.name()); err != nil {
		return err
	}
	switch {
	case found && w.s.Statement != w.digest():
		return refuse("the job %s was begun with another statement", w.name())
	case found:
		return nil
	case left == "":
		w.s.Finished = true // nothing was left before the job was even begun
		return nil
	}
	if err := w.try(ctx); err != nil {
		return err
	}
	if err := w.c.Script(ctx, checkpointSchema); err != nil {
		return fmt.Errorf("create the jobs' table: %w", err)
	}
	if err := w.create(ctx, w.c, w.rel, w.env.Run.ID, w.env.Run.Item); err != nil {
		return err
	}
	w.s, _, err = read(ctx, w.c, w.name())
	return err
}

// try lets the server plan the statement for a range without rows.
func (w *worker) try(ctx context.Context) error {
	first, _, err := w.rel.ends(ctx, w.c)
	if err != nil || first == nil {
		return err
	}
	if _, err := w.c.Query(ctx, 10_000, "EXPLAIN "+w.Statement, append(first, first...)...); err != nil {
		return fmt.Errorf("plan the statement: %w", err)
	}
	return nil
}

// work does batch after batch until the end, and asks whether anything is left.
func (w *worker) work(ctx context.Context) (check.Outcome, error) {
	w.began, w.told = w.env.Now(), w.env.Now()
	if w.s.Batches > 0 && !w.s.Finished {
		fmt.Fprintf(w.env.Log, "%s: going on after %d rows in %d batches\n", w.name(), w.s.Rows, w.s.Batches)
	}
	failed := 0
	for !w.s.Finished {
		failure, err := w.wait(ctx)
		if err == nil && failure == "" {
			err = w.batch(ctx)
		}
		if failure == "" && err != nil {
			failed++
			failure, err = w.again(ctx, err, failed)
		} else {
			failed = 0
		}
		if err != nil {
			return check.Outcome{}, err
		}
		if failure != "" {
			return w.outcome(check.Failf("%s; %d rows in %d batches are done, and running again goes on from there", failure, w.s.Rows, w.s.Batches)), nil
		}
		if failed == 0 && !w.s.Finished {
			if err := w.env.Sleep(ctx, w.Pause); err != nil {
				return check.Outcome{}, err
			}
		}
	}
	left, err := w.left(ctx, w.eye)
	if err != nil {
		return check.Outcome{}, err
	}
	if left != "" {
		return w.outcome(check.Failf("all %d rows in %d batches are done, and %s: rows that were added or changed meanwhile, or that the statement leaves out", w.s.Rows, w.s.Batches, left)), nil
	}
	if w.s.Batches == 0 {
		return w.outcome(check.Passf("nothing is left to do")), nil
	}
	return w.outcome(check.Passf("%d rows in %d batches, %d changed, in %.1f s; nothing is left", w.s.Rows, w.s.Batches, w.s.Changed, w.s.Seconds)), nil
}

// again decides what an error means: "" and nil to try again, a text for a
// failure that is certain.
func (w *worker) again(ctx context.Context, err error, failed int) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if refused, ok := errors.AsType[*errRefused](err); ok {
		return refused.why, nil
	}
	if failed > w.Retries {
		if postgres.Code(err) == "" || w.c.Closed() {
			return "", fmt.Errorf("%d tries: %w", failed, err)
		}
		return fmt.Sprintf("%v, rolled back, after %d tries", err, failed), nil
	}
	w.retried++
	pause := 50 * time.Millisecond << min(failed-1, 6)
	pause = pause/2 + time.Duration(rand.Int64N(int64(pause)+1))
	switch code := postgres.Code(err); {
	case w.c.Closed() || w.eye.Closed():
		fmt.Fprintf(w.env.Log, "%v; connecting again in %s\n", err, pause.Round(time.Millisecond))
		return "", w.reconnect(ctx, pause)
	case code == postgres.LockNotAvailable || code == postgres.DeadlockDetected || code == postgres.SerializeFailure:
		fmt.Fprintf(w.env.Log, "%v; again in %s\n", err, pause.Round(time.Millisecond))
	case code == postgres.QueryCanceled && w.size > 1 && errors.Is(err, errSlow):
		w.size = max(w.size/4, 1)
		fmt.Fprintf(w.env.Log, "a batch took longer than %s: smaller ones of %d rows\n", w.BatchTimeout, w.size)
	case code != "":
		return fmt.Sprintf("%v, rolled back", err), nil
	default:
		return "", err
	}
	return "", w.env.Sleep(ctx, pause)
}

// reconnect opens new sessions. The old one's end may take a while to reach the
// server, which keeps its lock until then.
func (w *worker) reconnect(ctx context.Context, pause time.Duration) error {
	var last error
	for range w.Retries + 1 {
		if err := w.env.Sleep(ctx, pause); err != nil {
			return err
		}
		refusal, err := w.open(ctx)
		if err == nil && refusal == "" {
			return nil
		}
		if last = err; err == nil {
			last = errors.New(refusal)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		pause = min(2*pause, 5*time.Second)
	}
	return fmt.Errorf("connect again: %w", last)
}

// outcome adds the facts.
func (w *worker) outcome(o check.Outcome) check.Outcome {
	o.Facts = map[string]string{
		"rows": strconv.FormatInt(w.s.Rows, 10), "changed": strconv.FormatInt(w.s.Changed, 10), "batches": strconv.FormatInt(w.s.Batches, 10),
		"seconds": seconds(w.s.Seconds), "longest_batch": seconds(w.s.Longest), "last_size": strconv.Itoa(w.size),
		"rows_now": strconv.FormatInt(w.done, 10), "retried": strconv.Itoa(w.retried), "waited": seconds(w.paused.Seconds()), "replicas": strconv.FormatInt(w.replicas, 10),
	}
	o.Sets = map[string]string{"batches.rows": o.Facts["rows"], "batches.seconds": o.Facts["seconds"], "batches.longest": o.Facts["longest_batch"]}
	return o
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 3, 64) }

// progress tells how far it is, every few seconds.
func (w *worker) progress() {
	now := w.env.Now()
	if now.Sub(w.told) < 5*time.Second && !w.s.Finished {
		return
	}
	w.told = now
	rate := float64(w.done) / max(now.Sub(w.began).Seconds(), 0.001)
	text := fmt.Sprintf("%s: %d rows in %d batches", w.name(), w.s.Rows, w.s.Batches)
	if left := w.rel.rows - float64(w.s.Rows); left > 0 && rate > 0 && !w.s.Finished {
		text += fmt.Sprintf(" of about %.0f (%.0f %%), about %s left", w.rel.rows, 100*float64(w.s.Rows)/w.rel.rows, time.Duration(left/rate*float64(time.Second)).Round(time.Second))
	}
	fmt.Fprintf(w.env.Log, "%s; %.0f rows/s, next %d rows, longest batch %s s\n", text, rate, w.size, seconds(w.s.Longest))
}
