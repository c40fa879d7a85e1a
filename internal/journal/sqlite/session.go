package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"allclear.dev/allclear/internal/journal"
)

// session is the writer's connection with its statements. After an error it is
// closed and another one opened.
type session struct {
	db   *sql.DB
	conn *sql.Conn
	// The statements of a commit.
	begin, commit, rollback, event, log, run *sql.Stmt
}

// openSession opens the database and makes the tables if they are missing. With
// settle it moves what is in the WAL into the database file: that writes and syncs
// it again, so that what is read is on the disk and not only in the kernel's memory.
func openSession(ctx context.Context, dir string, settle bool) (*session, error) {
	db, err := openDatabase(dir, false)
	if err != nil {
		return nil, err
	}
	s := &session{db: db}
	if err := s.open(ctx, settle); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// open takes the connection and prepares it.
func (s *session) open(ctx context.Context, settle bool) (err error) {
	if err := checkVersion(ctx, s.db, true); err != nil {
		return err
	}
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return fmt.Errorf("open database: %w", classify(err))
	}
	if settle {
		if err := s.emptyWAL(ctx); err != nil {
			return err
		}
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.begin, "BEGIN IMMEDIATE"}, {&s.commit, "COMMIT"}, {&s.rollback, "ROLLBACK"},
		{&s.event, "INSERT INTO journal(run, seq, idx, epoch, prev, hash, body) VALUES(?, ?, ?, ?, ?, ?, ?)"},
		{&s.log, "INSERT INTO log(idx, run, seq, leaf, inner, batch) VALUES(?, ?, ?, ?, ?, ?)"},
		{&s.run, "INSERT INTO runs(first, run) VALUES(?, ?)"},
	} {
		if *p.stmt, err = s.conn.PrepareContext(ctx, p.text); err != nil {
			return fmt.Errorf("prepare statement: %w", classify(err))
		}
	}
	return nil
}

// emptyWAL moves the write-ahead log into the database file. On a full disk it stays
// as it is: its commits were synced, and no failed sync ends with a full disk.
func (s *session) emptyWAL(ctx context.Context) error {
	var busy, frames, moved int
	err := s.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	switch {
	case code(err)&0xff == codeFull:
		return nil
	case err != nil:
		return fmt.Errorf("empty write-ahead log: %w", classify(err))
	case busy != 0:
		return errors.New("empty write-ahead log: another program reads the database and does not end")
	}
	return nil
}

// migrate makes the tables of a new database, in one transaction.
func (s *session) migrate(ctx context.Context) error {
	var tables int
	if err := s.conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'").Scan(&tables); err != nil {
		return fmt.Errorf("look at tables: %w", classify(err))
	}
	if tables > 0 {
		return nil
	}
	if _, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE;"+schema+"COMMIT;"); err != nil {
		return fmt.Errorf("make tables: %w", classify(err))
	}
	return nil
}

// close closes the connection. Its statements do not go with it, and SQLite keeps
// the files open until they are closed, too.
func (s *session) close() error {
	var errs []error
	for _, stmt := range []*sql.Stmt{s.begin, s.commit, s.rollback, s.event, s.log, s.run} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	return errors.Join(append(errs, s.db.Close())...)
}

// write stores a commit. After an error its outcome is unknown.
func (s *session) write(next *staged) error {
	ctx := context.Background()
	if _, err := s.begin.ExecContext(ctx); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := s.insert(ctx, next); err != nil {
		// The connection is closed next, which rolls back what this does not.
		_, _ = s.rollback.ExecContext(ctx)
		return err
	}
	if _, err := s.commit.ExecContext(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// insert writes the rows of a commit.
func (s *session) insert(ctx context.Context, next *staged) error {
	for i, e := range next.events {
		index, leaf, inner := next.end.batch+uint64(i), next.stored[i][0], make([]byte, 0, 64)
		for _, hash := range next.stored[i][1:] {
			inner = append(inner, hash[:]...)
		}
		if _, err := s.event.ExecContext(ctx, e.Run, int64(e.Seq), int64(index), int64(e.Epoch), e.Prev[:], e.Hash[:], e.Body); err != nil {
			return fmt.Errorf("insert event: %w", err)
		}
		if _, err := s.log.ExecContext(ctx, int64(index), e.Run, int64(e.Seq), leaf[:], inner, int64(next.end.batch)); err != nil {
			return fmt.Errorf("insert log entry: %w", err)
		}
		if e.Seq == 1 {
			if _, err := s.run.ExecContext(ctx, int64(index), e.Run); err != nil {
				return fmt.Errorf("insert run: %w", err)
			}
		}
	}
	return nil
}

// checkBatch reads the last commit's events, holds them against the log, and gives
// the hash of the last one.
func (s *session) checkBatch(ctx context.Context, end stored) (head [32]byte, err error) {
	rows, err := s.conn.QueryContext(ctx, selectLog, int64(end.batch), -1)
	if err != nil {
		return head, fmt.Errorf("read last commit: %w", classify(err))
	}
	defer rows.Close()
	for rows.Next() {
		entry, err := scanEntry(rows)
		if err != nil {
			return head, fmt.Errorf("read last commit: %w", classify(err))
		}
		leaf := journal.Leaf(entry.Hash)
		if journal.Hash(entry.Run, entry.Seq, entry.Prev, entry.Body) != entry.Hash || !bytes.Equal(leaf[:], entry.Leaf) {
			return head, &journal.CorruptError{Run: entry.Run, Seq: entry.Seq, Reason: "the event of the last commit is not what the log says"}
		}
		head = entry.Hash
	}
	if err := rows.Err(); err != nil {
		return head, fmt.Errorf("read last commit: %w", classify(err))
	}
	return head, nil
}
