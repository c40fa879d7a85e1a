package migrations

import (
	"cmp"
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

// worker applies steps over one session, which holds the lock.
type worker struct {
	*apply
	env     *check.Env
	from    *postgres.Server // where to look on from, or nil
	c       *postgres.Conn
	options postgres.Options
	table   table
	columns []string
	seconds map[string]string
	retried int
	invalid []string // indexes that were invalid before
}

// lock takes the advisory locks of the version table, or tells who has one.
func (w *worker) lock(ctx context.Context) (string, error) {
	ids, err := w.table.locks(ctx, w.c)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		got, err := w.c.Value(ctx, "SELECT pg_try_advisory_lock($1)", id)
		if err != nil {
			return "", fmt.Errorf("take the migration lock: %w", err)
		}
		if got == "t" {
			continue
		}
		holder, err := lockHolder(ctx, w.c, id)
		return cmp.Or(holder, "it has just finished"), err
	}
	return "", nil
}

// work reads the table again under the lock and carries out the steps.
func (w *worker) work(ctx context.Context, files []migration, target int64) (check.Outcome, error) {
	if err := w.table.create(ctx, w.c); err != nil {
		return check.Outcome{}, err
	}
	s, err := w.table.read(ctx, w.c)
	if err != nil {
		return check.Outcome{}, err
	}
	if trouble := compare(files, s).trouble(s, w.Table); trouble != "" {
		return check.Failf("%s; nothing was changed", trouble), nil
	}
	w.columns, w.seconds = s.columns, map[string]string{}
	steps := stepsTo(files, s, target)
	refusal, err := w.inTheWay(ctx, steps)
	if err != nil {
		return check.Outcome{}, err
	}
	if refusal != "" {
		return check.Failf("%s; nothing was changed", refusal), nil
	}
	if err := w.keep(w.env, s, target); err != nil {
		return check.Outcome{}, err
	}
	start := w.env.Now()
	for i, st := range steps {
		from := w.env.Now()
		failure, err := w.step(ctx, st)
		if err != nil {
			return check.Outcome{}, fmt.Errorf("apply %s (%d of %d): %w", st.file(), i+1, len(steps), err)
		}
		if failure != "" {
			o := check.Failf("%s failed (%d of %d were applied before): %s", st.file(), i, len(steps), failure)
			return w.finish(o, s, versionAfter(s, steps[:i]), i, start), nil
		}
		took := w.env.Now().Sub(from)
		w.seconds[st.Name] = seconds(took)
		fmt.Fprintf(w.env.Log, "%s %s\n", st.file(), took.Round(time.Millisecond))
	}
	o := check.Passf("at version %s, as wanted; nothing to do", versionText(target))
	if len(steps) > 0 {
		o = check.Passf("%d migrations in %s s, from version %s to %s", len(steps), seconds(w.env.Now().Sub(start)), versionText(s.Current()), versionText(target))
	}
	return w.finish(o, s, target, len(steps), start), nil
}

func versionAfter(s state, done []step) int64 {
	if len(done) == 0 {
		return s.Current()
	}
	return done[len(done)-1].target
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// finish adds the facts. The version before is that of the run's first attempt.
func (w *worker) finish(o check.Outcome, s state, after int64, count int, start time.Time) check.Outcome {
	o.Facts = w.seconds
	o.Facts["retried"] = strconv.Itoa(w.retried)
	o.Sets = map[string]string{"migrations.after": versionText(after)}
	if w.To == "before" {
		return o
	}
	o.Sets["migrations.before"] = versionText(s.Current())
	if rec, err := w.record(w.env); err == nil && rec.Before != "" {
		o.Sets["migrations.before"] = rec.Before
	}
	o.Sets["migration.seconds"] = seconds(w.env.Now().Sub(start))
	o.Sets["migration.count"] = strconv.Itoa(count)
	return o
}

// step carries out one file. A failure is for certain: the server said so and
// nothing of the file is still going on. An error leaves the outcome open.
func (w *worker) step(ctx context.Context, st step) (failure string, err error) {
	statements := split(st.text())
	m := modeOf(statements, st.text())
	l := w.lookOut(ctx)
	defer l.stop()
	for try := 0; ; try++ {
		err := w.attempt(ctx, st, m, statements)
		if err == nil {
			return "", nil
		}
		blockers := l.taken()
		left, known := errors.AsType[*leftoverError](err)
		switch {
		case known:
			return left.Error() + stillDirty(st), nil
		case w.c.Closed() || ctx.Err() != nil || postgres.Code(err) == "":
			return "", err
		case m != atomic || !passing(postgres.Code(err)) || try >= w.Retries:
			return w.explain(ctx, err, st, m, try) + blockers, nil
		}
		w.retried++
		pause := w.pause(try)
		fmt.Fprintf(w.env.Log, "%s: %v%s; again in %s\n", st.file(), err, blockers, pause.Round(time.Millisecond))
		if err := w.env.Sleep(ctx, pause); err != nil {
			return "", err
		}
	}
}

// attempt carries a file out once. Each attempt waits for locks for another time,
// so that two deployers do not meet in step.
func (w *worker) attempt(ctx context.Context, st step, m mode, statements []statement) error {
	options := w.options
	options.LockTimeout = options.LockTimeout/2 + time.Duration(rand.Int64N(int64(options.LockTimeout)/2+1))
	if err := w.c.Reset(ctx, options); err != nil {
		return err
	}
	if m == atomic {
		return w.atomic(ctx, st)
	}
	return w.open(ctx, st, m, statements)
}

// maxPause bounds the growing pause between two attempts.
const maxPause = 30 * time.Second

// pause doubles with every attempt, up to maxPause, with jitter.
func (w *worker) pause(try int) time.Duration {
	pause := min(w.Pause<<min(try, 16), max(maxPause, w.Pause))
	return pause/2 + time.Duration(rand.Int64N(int64(pause)/2+1))
}

// passing tells the errors that go away when a transaction is tried again.
func passing(code string) bool {
	return code == postgres.LockNotAvailable || code == postgres.DeadlockDetected || code == postgres.SerializeFailure
}

func stillDirty(st step) string {
	return fmt.Sprintf("; it does not run in a transaction, so part of it may be in: the table is left dirty at version %s", versionText(st.target))
}

func (w *worker) explain(ctx context.Context, err error, st step, m mode, tries int) string {
	text := postgres.Message(err, st.text())
	switch {
	case m != atomic:
		if left := w.leftovers(ctx); left != nil {
			text += "; " + left.Error()
		}
		text += stillDirty(st)
	case tries > 0:
		text += fmt.Sprintf("; rolled back, after %d tries", tries+1)
	default:
		text += "; rolled back"
	}
	return text
}

// atomic runs a file and its mark in one transaction.
func (w *worker) atomic(ctx context.Context, st step) error {
	if _, err := w.c.Exec(ctx, "BEGIN"); err != nil {
		return err
	}
	err := w.c.Script(ctx, st.text())
	if err == nil && !w.c.InTransaction() {
		return errors.New("the file ended the transaction that it was run in")
	}
	if err == nil {
		// The file may have set another role or path; the mark must not depend on it.
		if err = w.c.ResetLocal(ctx); err == nil {
			err = w.table.mark(ctx, w.c, st, w.columns, false)
		}
	}
	if err != nil {
		if ctx.Err() == nil && !w.c.Closed() {
			if _, back := w.c.Exec(ctx, "ROLLBACK"); back != nil {
				return fmt.Errorf("roll back: %w", errors.Join(back, ctx.Err()))
			}
		}
		return err
	}
	_, err = w.c.Exec(ctx, "COMMIT")
	return err
}

// open runs a file outside a transaction, between a dirty and a clean mark.
func (w *worker) open(ctx context.Context, st step, m mode, statements []statement) error {
	if err := w.table.mark(ctx, w.c, st, w.columns, true); err != nil {
		return err
	}
	if m == own {
		if err := w.c.Script(ctx, st.text()); err != nil {
			return err
		}
	} else if err := w.singly(ctx, statements); err != nil {
		return err
	}
	if err := w.c.Reset(ctx, w.options); err != nil {
		return err
	}
	if err := w.leftovers(ctx); err != nil {
		return err
	}
	return w.table.mark(ctx, w.c, st, w.columns, false)
}

// singly runs statements one by one. Those that build without blocking wait for
// locks as long as it takes: giving up leaves an invalid index behind.
func (w *worker) singly(ctx context.Context, statements []statement) error {
	for _, s := range statements {
		if strings.Contains(strings.ToUpper(s.bare), "CONCURRENTLY") {
			if _, err := w.c.Exec(ctx, "SET lock_timeout = 0"); err != nil {
				return err
			}
		}
		if err := w.c.Script(ctx, s.text); err != nil {
			return err
		}
		if err := w.c.Reset(ctx, w.options); err != nil {
			return err
		}
	}
	return nil
}
