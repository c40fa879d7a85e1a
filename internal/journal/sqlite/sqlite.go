// Package sqlite keeps a journal in one SQLite file.
//
// One process writes; a lock file sees to that. Appends that arrive together share
// one transaction, one sync of the database's log and one sync of the anchor.
// The anchor is the head of the Merkle log, kept in two small files beside the
// database, written in turn and synced before an append is acknowledged: SQLite
// itself cannot tell that a disk lost its last transactions, since what is left is
// a valid database, and the anchor can.
//
// In the data directory:
//
//	lock                 who writes
//	journal.db           the database, in WAL mode
//	anchor.a, anchor.b   the head, in turn
//	ballast              room that is given back when the disk is full
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"allclear.dev/allclear/internal/journal"
)

// DefaultBallast is the size of the ballast file, in bytes.
const DefaultBallast = 16 << 20

// Options are the choices of the writer. The zero value is right for production.
type Options struct {
	// Ballast is the size of the ballast file in bytes; 0 means DefaultBallast, less
	// than 0 none.
	Ballast int64
	// Now is the clock for the lock file; nil means time.Now.
	Now func() time.Time
}

// Log is a journal that this process writes to.
type Log struct {
	*View
	writer    *writer
	lock      *os.File
	closeOnce sync.Once
	closeErr  error
}

// The package's types keep the contract.
var (
	_ journal.Log    = (*Log)(nil)
	_ journal.Reader = (*View)(nil)
)

// Open opens the journal in a directory for writing, and makes both if they do not
// exist. It fails with ErrLocked if another process writes, ErrTruncated if
// acknowledged events are missing, and ErrCorrupt if database and anchors do not
// fit together; it never repairs.
func Open(ctx context.Context, dir string, opts Options) (*Log, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Ballast == 0 {
		opts.Ballast = DefaultBallast
	}
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	lock, err := takeLock(dir, opts.Now())
	if err != nil {
		return nil, err
	}
	log, err := openLocked(ctx, dir, opts)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	log.lock = lock
	return log, nil
}

// openLocked opens the parts; the lock is held.
func openLocked(ctx context.Context, dir string, opts Options) (*Log, error) {
	anchors, err := openAnchors(dir, !exists(filepath.Join(dir, databaseName)))
	if err != nil {
		return nil, err
	}
	if err := createDatabase(dir); err != nil {
		return nil, errors.Join(err, anchors.close())
	}
	w, err := newWriter(ctx, dir, anchors)
	if err != nil {
		return nil, errors.Join(err, anchors.close())
	}
	view, err := openView(ctx, dir)
	if err != nil {
		return nil, errors.Join(err, w.shut())
	}
	w.ballast = newBallast(dir, opts.Ballast)
	return &Log{View: view, writer: w}, nil
}

// Append stores events; see journal.Log. A context that ends before the append has
// begun ends it with nothing stored; after that, Append waits for the outcome.
func (l *Log) Append(ctx context.Context, run string, expected, epoch uint64, bodies ...[]byte) ([]journal.Event, error) {
	if err := journal.CheckAppend(run, bodies); err != nil {
		return nil, err
	}
	return l.writer.queue.submit(ctx, &request{run: run, expected: expected, epoch: epoch, bodies: bodies})
}

// Close waits for running appends, closes the database and gives back the lock. The
// writer's connection is closed last: only that one can move the WAL into the
// database file.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.writer.queue.close()
		l.closeErr = errors.Join(l.View.Close(), l.writer.shut(), l.lock.Close())
	})
	return l.closeErr
}

// exists tells whether there is a file with the name; if that cannot be told, it
// says yes, which is the careful answer for a database.
func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, os.ErrNotExist)
}

// createDatabase makes the empty file of a new journal, readable by its owner only;
// SQLite gives its other files the same mode. An existing file is not touched:
// closing it would drop the locks that SQLite may have on it in this process.
func createDatabase(dir string) error {
	file, err := os.OpenFile(filepath.Join(dir, databaseName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make database: %w", err)
	}
	return file.Close()
}

// prepareDir makes the directory, or refuses one that others can write to or that
// lies on a file system without reliable locks.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at data directory: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("data directory %s has mode %04o: others can write to it (chmod 700)", dir, mode)
	}
	return checkFileSystem(dir)
}
