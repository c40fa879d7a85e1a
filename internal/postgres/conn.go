package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Conn is one session. Values travel as text both ways.
type Conn struct{ pg *pgconn.PgConn }

// Cell is one value of a result.
type Cell struct {
	// Text is the value as PostgreSQL writes it; empty for NULL.
	Text string
	Null bool
}

// Column is one column of a result.
type Column struct {
	Name string
	// Type is the type's number in the catalog (pg_type.oid).
	Type uint32
}

// Table is a result.
type Table struct {
	Columns []Column
	Rows    [][]Cell
	// More tells that there were more rows than the limit.
	More bool
	// Affected is how many rows a statement changed, where it says so.
	Affected int64
}

// MaxCell bounds one value that is kept, in bytes; a longer one is an error.
const MaxCell = 1 << 20

// Query runs one statement and keeps at most limit rows. The arguments stand for
// $1, $2 … and take the types of their places.
func (c *Conn) Query(ctx context.Context, limit int, sql string, args ...string) (Table, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	t, err := collect(c.pg.ExecParams(ctx, sql, values, nil, nil, nil), limit)
	if err = c.ended(ctx, err); err != nil {
		return Table{}, err
	}
	return t, nil
}

// collect reads a result to its end.
func collect(rr *pgconn.ResultReader, limit int) (Table, error) {
	var t Table
	for _, f := range rr.FieldDescriptions() {
		t.Columns = append(t.Columns, Column{Name: f.Name, Type: f.DataTypeOID})
	}
	var tooLong error
	for rr.NextRow() {
		if len(t.Rows) >= limit {
			t.More = true
			continue
		}
		row := make([]Cell, len(rr.Values()))
		for i, v := range rr.Values() {
			if len(v) > MaxCell && tooLong == nil {
				tooLong = fmt.Errorf("a value of column %s is longer than %d bytes", t.Columns[i].Name, MaxCell)
			}
			if tooLong == nil {
				row[i] = Cell{Text: string(v), Null: v == nil}
			}
		}
		t.Rows = append(t.Rows, row)
	}
	tag, err := rr.Close()
	if err == nil {
		err = tooLong
	}
	if err != nil {
		return Table{}, err
	}
	t.Affected = tag.RowsAffected()
	return t, nil
}

// Exec runs one statement and gives the number of rows it changed.
func (c *Conn) Exec(ctx context.Context, sql string, args ...string) (int64, error) {
	t, err := c.Query(ctx, 0, sql, args...)
	return t.Affected, err
}

// Script runs a text that may hold several statements, as one implicit
// transaction unless it has its own.
func (c *Conn) Script(ctx context.Context, sql string) error {
	rr := c.pg.Exec(ctx, sql)
	for rr.NextResult() {
		reader := rr.ResultReader()
		for reader.NextRow() { // what a script selects is nobody's
		}
		if _, err := reader.Close(); err != nil {
			break
		}
	}
	return c.ended(ctx, rr.Close())
}

// Value gives the one value of a query that has exactly one row and column. No
// row, several, or NULL is an error.
func (c *Conn) Value(ctx context.Context, sql string, args ...string) (string, error) {
	t, err := c.Query(ctx, 2, sql, args...)
	if err != nil {
		return "", err
	}
	if len(t.Rows) != 1 || len(t.Columns) != 1 {
		return "", fmt.Errorf("want one value, got %d rows of %d columns", len(t.Rows), len(t.Columns))
	}
	if t.Rows[0][0].Null {
		return "", errors.New("want one value, got NULL")
	}
	return t.Rows[0][0].Text, nil
}

// Int gives the one whole number of a query.
func (c *Conn) Int(ctx context.Context, sql string, args ...string) (int64, error) {
	text, err := c.Value(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("want a whole number, got %q", text)
	}
	return n, nil
}

// Major is the server's major version, 15 of 15.4.
func (c *Conn) Major(ctx context.Context) (int, error) {
	n, err := c.Int(ctx, "SELECT current_setting('server_version_num')")
	if err != nil {
		return 0, fmt.Errorf("ask the server's version: %w", err)
	}
	return int(n / 10000), nil
}

// ResetLocal takes back, within the open transaction, the role and search path
// that statements may have set.
func (c *Conn) ResetLocal(ctx context.Context) error {
	for _, sql := range []string{"RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET search_path"} {
		if _, err := c.Exec(ctx, sql); err != nil {
			return fmt.Errorf("reset session: %w", err)
		}
	}
	return nil
}

// InTransaction reports whether an explicit transaction is open and healthy.
func (c *Conn) InTransaction() bool { return c.pg.TxStatus() == 'T' }

// Closed reports whether the session has ended.
func (c *Conn) Closed() bool { return c.pg.IsClosed() }

// Close ends the session; what was not committed is rolled back.
func (c *Conn) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
	defer cancel()
	_ = c.pg.Close(ctx) // nothing depends on how a session says goodbye
}

// ended gives a statement's error; the context's own cause comes first.
func (c *Conn) ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Code gives the SQLSTATE of a server's error, or "" (appendix A of the
// PostgreSQL manual).
func Code(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}

// Message gives a server's error with its line and column in the text that was
// sent, and the detail.
func Message(err error, sql string) string {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err.Error()
	}
	text := fmt.Sprintf("%s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	if runes := []rune(sql); pgErr.Position > 0 && int(pgErr.Position) <= len(runes) {
		line := 1
		for _, r := range runes[:pgErr.Position-1] {
			if r == '\n' {
				line++
			}
		}
		text += fmt.Sprintf(", line %d", line)
	}
	return text
}

// The SQLSTATEs that callers decide by.
const (
	LockNotAvailable = "55P03"
	QueryCanceled    = "57014"
	UndefinedTable   = "42P01"
	undefinedSchema  = "3F000"
	UndefinedColumn  = "42703"
	UndefinedFunc    = "42883"
	DeadlockDetected = "40P01"
	SerializeFailure = "40001"
	DuplicateDB      = "42P04"
	NoSuchDatabase   = "3D000"
)

// Snapshot opens a read-only transaction that sees one instant and gives the
// snapshot's name, under which pg_dump sees the same instant. It lasts until the
// session ends.
func (c *Conn) Snapshot(ctx context.Context) (name string, at time.Time, err error) {
	if _, err := c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return "", time.Time{}, fmt.Errorf("begin: %w", err)
	}
	t, err := c.Query(ctx, 1, "SELECT pg_export_snapshot(), to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
	if err != nil {
		return "", time.Time{}, fmt.Errorf("export snapshot: %w", err)
	}
	at, err = time.Parse(time.RFC3339Nano, t.Rows[0][1].Text)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read the snapshot's time: %w", err)
	}
	return t.Rows[0][0].Text, at, nil
}
