package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	driver "modernc.org/sqlite"

	"allclear.dev/allclear/internal/journal"
)

const (
	databaseName = "journal.db"
	// formatVersion is kept in user_version; a database with another one is not
	// written to.
	formatVersion = 1
)

// schema are the tables. All only grow, which the triggers hold against a careless
// hand; against a careful one there are the chain, the log and its anchors.
//
// journal has the events by run. log has their global order, which is the order of
// the Merkle log's leaves; its batch is the size of the log before the commit that
// wrote the row, and its inner are the inner hashes that the leaf completed, lowest
// level first, one behind the other: with the leaf before them what
// golang.org/x/mod/sumdb/tlog calls the stored hashes. Each further table would cost
// every append another page in the WAL.
// runs has the index of each run's first event, so that a list of runs reads no
// other events.
const schema = `
CREATE TABLE IF NOT EXISTS journal(
  run TEXT NOT NULL, seq INTEGER NOT NULL CHECK(seq > 0), idx INTEGER NOT NULL, epoch INTEGER NOT NULL,
  prev BLOB NOT NULL CHECK(length(prev) = 32), hash BLOB NOT NULL CHECK(length(hash) = 32), body BLOB NOT NULL,
  PRIMARY KEY(run, seq)) STRICT;
CREATE TABLE IF NOT EXISTS log(
  idx INTEGER PRIMARY KEY, run TEXT NOT NULL, seq INTEGER NOT NULL,
  leaf BLOB NOT NULL CHECK(length(leaf) = 32), inner BLOB NOT NULL, batch INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS runs(first INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE) STRICT;
CREATE TRIGGER IF NOT EXISTS journal_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS journal_delete BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS log_update BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;
CREATE TRIGGER IF NOT EXISTS log_delete BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;
CREATE TRIGGER IF NOT EXISTS runs_update BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'the list of runs only grows'); END;
CREATE TRIGGER IF NOT EXISTS runs_delete BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'the list of runs only grows'); END;
PRAGMA user_version = 1;
`

// openDatabase opens the pool of the writer (one connection) or of readers. The
// writer syncs the WAL at every commit: synchronous=NORMAL may lose the last ones
// at a power loss.
func openDatabase(dir string, readOnly bool) (*sql.DB, error) {
	query := url.Values{"_pragma": {
		"busy_timeout(5000)", "foreign_keys(ON)", "cell_size_check(ON)", "trusted_schema(OFF)",
	}}
	if readOnly {
		query.Set("mode", "ro")
		query.Add("_pragma", "query_only(ON)")
	} else {
		query.Set("_txlock", "immediate")
		query.Add("_pragma", "journal_mode(WAL)")
		query.Add("_pragma", "synchronous(FULL)")
	}
	path, err := filepath.Abs(filepath.Join(dir, databaseName))
	if err != nil {
		return nil, fmt.Errorf("name database: %w", err)
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(4)
	if !readOnly {
		db.SetMaxOpenConns(1)
	}
	return db, nil
}

// checkVersion refuses a database of another program or a later version.
func checkVersion(ctx context.Context, db *sql.DB, allowNew bool) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read format version: %w", classify(err))
	}
	if version == formatVersion || version == 0 && allowNew {
		return nil
	}
	return fmt.Errorf("the journal has format %d, this program knows format %d", version, formatVersion)
}

// SQLite's result codes (https://www.sqlite.org/rescode.html) that are not handled
// like any other error.
const (
	codeFull        = 13
	codeCorrupt     = 11
	codeNotADB      = 26
	codeIOErr       = 10
	codeIOErrFsync  = 10 | 4<<8
	codeIOErrDirSyn = 10 | 5<<8
)

// code is SQLite's extended result code of an error, or 0.
func code(err error) int {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// classify makes an error that says the file is damaged a *journal.CorruptError.
func classify(err error) error {
	switch code(err) & 0xff {
	case codeCorrupt, codeNotADB:
		return &journal.CorruptError{Reason: "the database file is damaged", Cause: err}
	}
	return err
}

// syncFailed tells whether a sync failed. After that the kernel may have dropped
// what was to be written and say so only once, so that the same file handles never
// tell the truth again.
func syncFailed(err error) bool {
	return code(err) == codeIOErrFsync || code(err) == codeIOErrDirSyn
}
