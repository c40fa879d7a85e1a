package sqlite

import (
	"context"
	"errors"
	"fmt"

	"allclear.dev/allclear/internal/journal"
)

// halt ends all writing: this append and every later one get the error.
func (w *writer) halt(err error) error {
	w.failed = err
	if w.session != nil {
		w.failed = errors.Join(err, w.session.close())
		w.session = nil
	}
	return w.failed
}

// errNotStored is the cause of a commit that failed twice.
var errNotStored = errors.New("nothing was stored")

// settle is the protocol after an error of a commit, whose outcome is unknown:
// close everything, open it again and look at the tail. Stored: nil. Not stored:
// the same bytes once more, or the error. Cannot be told: halt.
func (w *writer) settle(next *staged, cause error) error {
	for try := 0; ; try++ {
		closeErr := w.session.close()
		w.session = nil
		if syncFailed(cause) {
			return w.halt(&journal.UncertainError{Cause: cause})
		}
		if err := classify(cause); errors.Is(err, journal.ErrCorrupt) {
			return w.halt(err)
		}
		full := code(cause)&0xff == codeFull
		freed := int64(0)
		if full {
			freed = w.ballast.release()
		}
		isStored, err := w.reopen(next, !full)
		switch {
		case err != nil:
			return w.halt(&journal.UncertainError{Cause: errors.Join(cause, closeErr, err)})
		case isStored:
			return nil
		case full:
			return &journal.FullError{Cause: cause, Freed: freed}
		case try > 0:
			return fmt.Errorf("append: %w: %w", errNotStored, cause)
		}
		if cause = w.session.write(next); cause == nil {
			return nil
		}
	}
}

// reopen opens the database again and tells whether it holds the commit. Unless the
// disk is full, when no sync has failed and the room is needed, opening settles the
// WAL, so that what is seen is durable.
func (w *writer) reopen(next *staged, settle bool) (isStored bool, err error) {
	ctx := context.Background()
	if w.session, err = openSession(ctx, w.dir, settle); err != nil {
		return false, err
	}
	end, err := readStored(ctx, w.session.conn)
	if err != nil {
		return false, err
	}
	want := w.tree
	if end.size == next.end.size {
		want = next.tree
	}
	root, err := rootAt(ctx, w.session.conn)(end.size)
	if err != nil {
		return false, err
	}
	if end.size != want.Size() || root != want.Root() {
		return false, &journal.CorruptError{Reason: fmt.Sprintf("after an error the database holds %d other events than the %d that were written", end.size, want.Size())}
	}
	return want == next.tree, nil
}
