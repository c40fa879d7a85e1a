package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"allclear.dev/allclear/internal/journal"
)

// The queries that give entries. A body is read up to one byte more than the
// longest, which no hash fits, so that a damaged file cannot fill the memory.
const (
	selectRun = `
		SELECT j.idx, NULL, j.run, j.seq, j.epoch, j.prev, j.hash, substr(j.body, 1, 1048577)
		FROM journal j WHERE j.run = ? AND j.seq > ? ORDER BY j.seq LIMIT ?`
	selectLog = `
		SELECT l.idx, l.leaf, l.run, l.seq, j.epoch, j.prev, j.hash, substr(j.body, 1, 1048577)
		FROM log l LEFT JOIN journal j ON j.run = l.run AND j.seq = l.seq
		WHERE l.idx >= ? ORDER BY l.idx LIMIT ?`
	// selectUnlogged gives events that the log does not know, after a run and number.
	selectUnlogged = `
		SELECT NULL, NULL, j.run, j.seq, j.epoch, j.prev, j.hash, substr(j.body, 1, 1048577)
		FROM journal j LEFT JOIN log l ON l.run = j.run AND l.seq = j.seq
		WHERE (j.run, j.seq) > (?, ?) AND l.idx IS NULL
		ORDER BY j.run, j.seq LIMIT ?`
)

// Entries gives the log and then the events that the log does not know.
func (v *View) Entries(ctx context.Context, from uint64) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		found, next := uint64(0), from
		for {
			page, err := v.rows(ctx, selectLog, next, pageRows)
			for _, entry := range page {
				if entry.Body != nil {
					found++
				}
				if next = entry.Index + 1; !yield(entry, nil) {
					return
				}
			}
			if err != nil {
				yield(journal.Entry{}, err)
				return
			}
			if len(page) < pageRows {
				break
			}
		}
		if from == 0 {
			v.unlogged(ctx, next, found, yield)
		}
	}
}

// unlogged gives the events that the log does not know. A count tells cheaply that
// there are none; events that a writer added meanwhile stand in the log behind the
// part that was read and are counted out.
func (v *View) unlogged(ctx context.Context, size, found uint64, yield func(journal.Entry, error) bool) {
	var events uint64
	err := v.db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM journal) - (SELECT count(*) FROM log WHERE idx >= ?)", size).Scan((*signed)(&events))
	if err != nil {
		yield(journal.Entry{}, fmt.Errorf("count events: %w", classify(err)))
		return
	}
	if events == found {
		return
	}
	run, seq := "", uint64(0)
	for {
		page, err := v.rows(ctx, selectUnlogged, run, seq, pageRows)
		for _, entry := range page {
			if run, seq = entry.Run, entry.Seq; !yield(entry, nil) {
				return
			}
		}
		if err != nil {
			yield(journal.Entry{}, err)
		}
		if err != nil || len(page) < pageRows {
			return
		}
	}
}

// signed reads and writes SQLite's 64 bits as unsigned ones.
type signed uint64

// Scan takes an integer column.
func (s *signed) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("want an integer, got %T", v)
	}
	*s = signed(uint64(n))
	return nil
}

// rows runs one of the queries above.
func (v *View) rows(ctx context.Context, query string, args ...any) ([]journal.Entry, error) {
	rows, err := v.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", classify(err))
	}
	defer rows.Close()
	var entries []journal.Entry
	for rows.Next() {
		entry, err := scanEntry(rows)
		if err != nil {
			return entries, fmt.Errorf("read events: %w", classify(err))
		}
		entries = append(entries, entry)
	}
	if err := rows.Err(); err != nil {
		return entries, fmt.Errorf("read events: %w", classify(err))
	}
	return entries, nil
}

// scanEntry reads a row. A hash of another length than 32 bytes cannot be right and
// is cut or filled up with zeros.
func scanEntry(rows *sql.Rows) (journal.Entry, error) {
	var (
		entry        journal.Entry
		index, epoch sql.Null[int64]
		seq          int64
		prev, hash   []byte
	)
	if err := rows.Scan(&index, &entry.Leaf, &entry.Run, &seq, &epoch, &prev, &hash, &entry.Body); err != nil {
		return entry, err
	}
	entry.Index = journal.Unlogged
	if index.Valid {
		entry.Index = uint64(index.V)
	}
	entry.Seq, entry.Epoch = uint64(seq), uint64(epoch.V)
	if hash != nil && entry.Body == nil {
		entry.Body = []byte{} // an empty body is not a missing event
	}
	copy(entry.Prev[:], prev)
	copy(entry.Hash[:], hash)
	return entry, nil
}
