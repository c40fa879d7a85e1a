package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"allclear.dev/allclear/internal/journal"
)

// View looks at a journal, in the writer's process or in another one, while it
// writes or when nobody does. It sees each event as soon as it is committed.
type View struct {
	db        *sql.DB
	dir       string
	closeOnce sync.Once
	closeErr  error
}

// OpenReadOnly opens a journal to look at it. It fails with ErrTruncated or
// ErrCorrupt, like Open, where database and anchors do not fit together, so that a
// short journal never passes for a whole one.
func OpenReadOnly(ctx context.Context, dir string) (*View, error) {
	found, err := findAnchors(dir) // before the database, which only grows
	if err != nil {
		return nil, err
	}
	view, err := openView(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := view.check(ctx, found); err != nil {
		return nil, errors.Join(err, view.Close())
	}
	return view, nil
}

// OpenDamaged opens a journal without asking whether it is whole: for Verify and
// for an export of what is left.
func OpenDamaged(ctx context.Context, dir string) (*View, error) { return openView(ctx, dir) }

// openView opens the pool and looks at the format.
func openView(ctx context.Context, dir string) (*View, error) {
	if err := present(dir); err != nil {
		return nil, err
	}
	db, err := openDatabase(dir, true)
	if err != nil {
		return nil, err
	}
	if err := checkVersion(ctx, db, false); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &View{db: db, dir: dir}, nil
}

// present tells a journal that was taken away from one that never was: the error
// is fs.ErrNotExist only when no anchor speaks of events.
func present(dir string) error {
	_, err := os.Stat(filepath.Join(dir, databaseName))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	found, anchorErr := findAnchors(dir)
	if anchorErr != nil {
		return anchorErr
	}
	if len(found) > 0 && found[0].size > 0 {
		return &journal.TruncatedError{Anchored: found[0].size}
	}
	return err
}

// Close closes the pool.
func (v *View) Close() error {
	v.closeOnce.Do(func() { v.closeErr = v.db.Close() })
	return v.closeErr
}

// check applies the start-up rule as far as a reader can.
func (v *View) check(ctx context.Context, found []anchor) error {
	db, err := readStored(ctx, v.db)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return &journal.CorruptError{Reason: "neither anchor.a nor anchor.b can be read"}
	}
	return found[0].check(db, true, rootAt(ctx, v.db))
}

// Anchors gives the heads that are kept outside the database, newest first: what
// Verify should hold the events against. Their Origin is empty.
func (v *View) Anchors() ([]journal.Checkpoint, error) {
	found, err := findAnchors(v.dir)
	if err != nil {
		return nil, err
	}
	heads := make([]journal.Checkpoint, len(found))
	for i, a := range found {
		heads[i] = journal.Checkpoint{Size: a.size, Root: a.root}
	}
	return heads, nil
}

// Verify holds everything in the journal against its anchors and any other heads
// that are known. The anchors are read first, so that a writer may go on.
func (v *View) Verify(ctx context.Context, heads ...journal.Checkpoint) ([]journal.Finding, error) {
	anchored, err := v.Anchors()
	if err != nil {
		return nil, err
	}
	findings, err := journal.Verify(v.Entries(ctx, 0), append(anchored, heads...)...)
	if err == nil && len(anchored) == 0 {
		findings = append(findings, journal.Finding{Kind: journal.CutOff, Index: journal.Unlogged, Detail: "neither anchor.a nor anchor.b can be read: whether the tail is whole cannot be told"})
	}
	return findings, err
}

// Tail gives the end of a run.
func (v *View) Tail(ctx context.Context, run string) (journal.Tail, error) {
	return readTail(ctx, v.db, run)
}

// Head gives the head of the log. Its Origin is empty: the caller knows it.
func (v *View) Head(ctx context.Context) (journal.Checkpoint, error) {
	db, err := readStored(ctx, v.db)
	if err != nil {
		return journal.Checkpoint{}, err
	}
	root, err := rootAt(ctx, v.db)(db.size)
	return journal.Checkpoint{Size: db.size, Root: root}, err
}

// Runs lists runs, newest first. Each costs three look-ups.
func (v *View) Runs(ctx context.Context, page journal.Page) ([]journal.RunInfo, error) {
	before := int64(1<<63 - 1)
	if page.Before != "" {
		err := v.db.QueryRowContext(ctx, "SELECT first FROM runs WHERE run = ?", page.Before).Scan(&before)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("run %s is not in the journal", page.Before)
		}
		if err != nil {
			return nil, fmt.Errorf("find run: %w", classify(err))
		}
	}
	limit := -1
	if page.Limit > 0 {
		limit = page.Limit
	}
	rows, err := v.db.QueryContext(ctx, `
		SELECT r.first, r.run, (SELECT max(seq) FROM journal t WHERE t.run = r.run), substr(j.body, 1, ?)
		FROM runs r LEFT JOIN journal j ON j.run = r.run AND j.seq = 1
		WHERE r.first < ? ORDER BY r.first DESC LIMIT ?`, journal.MaxBody+1, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", classify(err))
	}
	defer rows.Close()
	var infos []journal.RunInfo
	for rows.Next() {
		var info journal.RunInfo
		var events sql.Null[uint64] // a damaged journal has runs without events
		if err := rows.Scan(&info.Index, &info.Run, &events, &info.First); err != nil {
			return nil, fmt.Errorf("list runs: %w", classify(err))
		}
		info.Events = events.V
		infos = append(infos, info)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list runs: %w", classify(err))
	}
	return infos, nil
}

// Inclusion proves that an event is in the log.
func (v *View) Inclusion(ctx context.Context, run string, seq, size uint64) (journal.Inclusion, error) {
	if err := v.atMost(ctx, size); err != nil {
		return journal.Inclusion{}, err
	}
	var index uint64
	err := v.db.QueryRowContext(ctx, "SELECT idx FROM journal WHERE run = ? AND seq = ?", run, seq).Scan(&index)
	if errors.Is(err, sql.ErrNoRows) {
		return journal.Inclusion{}, fmt.Errorf("run %s has no event %d", run, seq)
	}
	if err != nil {
		return journal.Inclusion{}, fmt.Errorf("find event: %w", classify(err))
	}
	return journal.ProveInclusion(index, size, nodeReader(ctx, v.db))
}

// Consistency proves that the log only grew.
func (v *View) Consistency(ctx context.Context, old, new uint64) ([][sha256.Size]byte, error) {
	if err := v.atMost(ctx, new); err != nil {
		return nil, err
	}
	return journal.ProveConsistency(old, new, nodeReader(ctx, v.db))
}

// atMost refuses a size that the log has not reached.
func (v *View) atMost(ctx context.Context, size uint64) error {
	db, err := readStored(ctx, v.db)
	if err == nil && size > db.size {
		err = fmt.Errorf("the log has %d entries, not %d", db.size, size)
	}
	return err
}

// querier is a pool or a connection.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readStored reads the end of the log.
func readStored(ctx context.Context, db querier) (stored, error) {
	var s stored
	err := db.QueryRowContext(ctx, "SELECT idx + 1, batch FROM log ORDER BY idx DESC LIMIT 1").Scan(&s.size, &s.batch)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s, fmt.Errorf("read end of log: %w", classify(err))
	}
	return s, nil
}

// readTail reads the end of a run.
func readTail(ctx context.Context, db querier, run string) (journal.Tail, error) {
	var tail journal.Tail
	var hash []byte
	err := db.QueryRowContext(ctx, "SELECT seq, epoch, hash FROM journal WHERE run = ? ORDER BY seq DESC LIMIT 1", run).
		Scan(&tail.Seq, (*signed)(&tail.Epoch), &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return journal.Tail{}, nil
	}
	if err != nil {
		return journal.Tail{}, fmt.Errorf("read tail: %w", classify(err))
	}
	copy(tail.Hash[:], hash)
	return tail, nil
}

// rootAt computes the root of the log at a size from the stored hashes.
func rootAt(ctx context.Context, db querier) func(uint64) ([sha256.Size]byte, error) {
	return func(size uint64) ([sha256.Size]byte, error) {
		tree, err := journal.RestoreTree(size, nodeReader(ctx, db))
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		return tree.Root(), nil
	}
}

// nodeReader reads stored hashes of the log.
func nodeReader(ctx context.Context, db querier) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			var hash []byte
			// Hash n of a level was completed by the last of its 2^level leaves.
			level, n := tlog.SplitStoredHashIndex(index)
			err := db.QueryRowContext(ctx, "SELECT iif(?1 = 0, leaf, substr(inner, 32 * ?1 - 31, 32)) FROM log WHERE idx = ?2", level, (n+1)<<level-1).Scan(&hash)
			if errors.Is(err, sql.ErrNoRows) || err == nil && len(hash) != len(out[i]) {
				return nil, &journal.CorruptError{Reason: fmt.Sprintf("hash %d of the log is missing", index)}
			}
			if err != nil {
				return nil, fmt.Errorf("read hash %d of the log: %w", index, classify(err))
			}
			copy(out[i][:], hash)
		}
		return out, nil
	})
}

// pageRows is how many rows one query of a sequence reads: between two queries no
// snapshot is held, so that a slow reader does not keep the WAL from being reset.
const pageRows = 256

// Read gives the events of a run, checked.
func (v *View) Read(ctx context.Context, run string, after uint64) iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		tail, err := v.tailAt(ctx, run, after)
		for err == nil {
			var page []journal.Entry
			page, err = v.rows(ctx, selectRun, run, tail.Seq, pageRows)
			for _, entry := range page {
				if err := entry.Event.Check(tail); err != nil {
					yield(journal.Event{}, err)
					return
				}
				tail = entry.Event.Tail()
				if !yield(entry.Event, nil) {
					return
				}
			}
			if err == nil && len(page) < pageRows {
				return
			}
		}
		yield(journal.Event{}, err)
	}
}

// tailAt is the tail of a run as it was after an event: what the next one must
// continue.
func (v *View) tailAt(ctx context.Context, run string, seq uint64) (journal.Tail, error) {
	if seq == 0 {
		return journal.Tail{}, nil
	}
	page, err := v.rows(ctx, selectRun, run, seq-1, 1)
	if err != nil {
		return journal.Tail{}, err
	}
	if len(page) == 0 || page[0].Seq != seq {
		return journal.Tail{Seq: seq}, nil // nothing may follow an event that is not there
	}
	return page[0].Event.Tail(), nil
}
