package migrations

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/postgres"
)

// The tools whose version table is read and kept.
const (
	toolSQL     = "sql"
	toolMigrate = "golang-migrate"
)

// maxVersions bounds the rows of a version table.
const maxVersions = 100_000

// table is the version table of one tool.
//
// golang-migrate (v4, database/postgres) keeps one row (version bigint primary
// key, dirty boolean): the version that the database is at or, while dirty, the
// one it is being brought to; no row means none. "sql" keeps one row per applied
// version; of its columns only version must exist.
type table struct {
	tool   string
	schema string // "" means the current schema
	name   string
}

func newTable(tool, name string) table {
	if schema, rest, found := strings.Cut(name, "."); found {
		return table{tool: tool, schema: schema, name: rest}
	}
	return table{tool: tool, name: name}
}

func (t table) quoted() string {
	if t.schema == "" {
		return postgres.Quote(t.name)
	}
	return postgres.Quote(t.schema) + "." + postgres.Quote(t.name)
}

// state is what a version table says.
type state struct {
	tool string
	// Exists is false when there is no version table yet.
	Exists bool
	// Applied lists the versions that are in, ascending; golang-migrate tells the
	// last one only.
	Applied []int64
	// Dirty tells that a migration was begun and not finished: DirtyAt.
	Dirty   bool
	DirtyAt int64
	// sums are the digests of applied migrations, where the table keeps them.
	sums map[int64]string
	// columns are the table's columns.
	columns []string
}

// Current is the highest version that is in, or none.
func (s state) Current() int64 {
	if len(s.Applied) == 0 {
		return none
	}
	return s.Applied[len(s.Applied)-1]
}

func (s state) has(version int64) bool {
	if s.tool == toolMigrate {
		return version <= s.Current()
	}
	_, found := slices.BinarySearch(s.Applied, version)
	return found
}

// read gives what the version table says.
func (t table) read(ctx context.Context, c *postgres.Conn) (state, error) {
	s := state{tool: t.tool, sums: map[int64]string{}}
	found, err := c.Query(ctx, 1, "SELECT to_regclass($1)", t.quoted())
	if err != nil {
		return s, fmt.Errorf("look for table %s: %w", t.name, err)
	}
	if found.Rows[0][0].Null {
		return s, t.elsewhere(ctx, c)
	}
	rows, err := c.Query(ctx, maxVersions, "SELECT * FROM "+t.quoted())
	if err != nil {
		return s, fmt.Errorf("read table %s: %w", t.name, err)
	}
	if rows.More {
		return s, fmt.Errorf("read table %s: more than %d rows", t.name, maxVersions)
	}
	s.Exists = true
	for _, column := range rows.Columns {
		s.columns = append(s.columns, column.Name)
	}
	if err := t.shape(s, len(rows.Rows)); err != nil {
		return s, err
	}
	for _, row := range rows.Rows {
		if err := s.add(row); err != nil {
			return s, fmt.Errorf("read table %s: %w", t.name, err)
		}
	}
	slices.Sort(s.Applied)
	return s, nil
}

// shape refuses a table that belongs to another tool.
func (t table) shape(s state, rows int) error {
	isMigrate := slices.Equal(s.columns, []string{"version", "dirty"})
	switch {
	case !slices.Contains(s.columns, "version"):
		return fmt.Errorf("table %s has no column version", t.name)
	case t.tool == toolMigrate && !isMigrate:
		return fmt.Errorf("table %s has the columns %s, want version, dirty: it is not golang-migrate's", t.name, strings.Join(s.columns, ", "))
	case t.tool == toolMigrate && rows > 1:
		return fmt.Errorf("table %s has %d rows, want one: it is not golang-migrate's", t.name, rows)
	case t.tool == toolSQL && isMigrate:
		return fmt.Errorf("table %s is golang-migrate's: say tool: golang-migrate", t.name)
	}
	return nil
}

// elsewhere is an error when a table that was not found, and whose schema was not
// said, lies in a schema that the session does not search: taken for a database
// without migrations, it would get all of them again.
func (t table) elsewhere(ctx context.Context, c *postgres.Conn) error {
	if t.schema != "" {
		return nil
	}
	found, err := c.Query(ctx, 1, `SELECT n.nspname FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace
		WHERE k.relname = $1 AND k.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' ORDER BY 1`, t.name)
	if err != nil {
		return fmt.Errorf("look for table %s: %w", t.name, err)
	}
	if len(found.Rows) > 0 {
		schema := found.Rows[0][0].Text
		return fmt.Errorf("table %s is in schema %s: say table: %s.%s", t.name, schema, schema, t.name)
	}
	return nil
}

func (s *state) add(row []postgres.Cell) error {
	cell := func(name string) string {
		if i := slices.Index(s.columns, name); i >= 0 {
			return row[i].Text
		}
		return ""
	}
	version, err := strconv.ParseInt(cell("version"), 10, 64)
	if err != nil {
		return fmt.Errorf("version %q is not a number", cell("version"))
	}
	if cell("dirty") == "t" {
		if s.Dirty {
			return fmt.Errorf("two versions are dirty: %d and %d", s.DirtyAt, version)
		}
		s.Dirty, s.DirtyAt = true, version
		return nil
	}
	if version == none {
		return nil
	}
	s.Applied = append(s.Applied, version)
	s.sums[version] = cell("sha256")
	return nil
}

// create makes the version table.
func (t table) create(ctx context.Context, c *postgres.Conn) error {
	columns := "(version bigint not null primary key, dirty boolean not null)"
	if t.tool == toolSQL {
		columns = "(version bigint PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, dirty boolean NOT NULL DEFAULT false, applied_at timestamptz NOT NULL DEFAULT now())"
	}
	if _, err := c.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+t.quoted()+" "+columns); err != nil {
		return fmt.Errorf("create table %s: %w", t.name, err)
	}
	return nil
}

// step is one migration in one direction.
type step struct {
	migration
	up bool
	// target is the version that the database is at afterwards.
	target int64
}

func (s step) file() string {
	if s.up {
		return s.Name + ".up.sql"
	}
	return s.Name + ".down.sql"
}

func (s step) text() string {
	if s.up {
		return s.Up
	}
	return s.Down
}

// mark notes that a step has begun (dirty) or is done. The statements of
// golang-migrate's table do what its SetVersion does, with DELETE for TRUNCATE:
// the end is the same, and readers of the version do not have to wait.
func (t table) mark(ctx context.Context, c *postgres.Conn, s step, columns []string, dirty bool) error {
	var sql string
	var args []string
	switch {
	case t.tool == toolMigrate && !dirty && s.target == none:
		sql = "DELETE FROM " + t.quoted()
	case t.tool == toolMigrate:
		sql = "WITH gone AS (DELETE FROM " + t.quoted() + " WHERE version <> $1) INSERT INTO " + t.quoted() +
			" (version, dirty) VALUES ($1, $2) ON CONFLICT (version) DO UPDATE SET dirty = excluded.dirty"
		args = []string{strconv.FormatInt(s.target, 10), strconv.FormatBool(dirty)}
	case dirty && !slices.Contains(columns, "dirty"):
		return nil // a table without the column cannot tell; the run's own record does
	case !s.up && !dirty:
		sql, args = "DELETE FROM "+t.quoted()+" WHERE version::bigint = $1", []string{strconv.FormatInt(s.Version, 10)}
	case !s.up:
		sql, args = "UPDATE "+t.quoted()+" SET dirty = true WHERE version = $1", []string{strconv.FormatInt(s.Version, 10)}
	default:
		sql, args = t.insert(s, columns, dirty)
	}
	if _, err := c.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("note version %s in table %s: %w", versionText(s.target), t.name, err)
	}
	return nil
}

// insert writes the row of an applied version with those of our columns that the
// table has.
func (t table) insert(s step, columns []string, dirty bool) (string, []string) {
	values := map[string]string{"version": strconv.FormatInt(s.Version, 10), "name": s.Name, "sha256": hash(s.Up), "dirty": strconv.FormatBool(dirty)}
	var names, places, sets, args []string
	for _, column := range []string{"version", "name", "sha256", "dirty"} {
		if !slices.Contains(columns, column) {
			continue
		}
		args = append(args, values[column])
		names, places = append(names, column), append(places, "$"+strconv.Itoa(len(args)))
		sets = append(sets, column+" = excluded."+column)
	}
	return "INSERT INTO " + t.quoted() + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") +
		") ON CONFLICT (version) DO UPDATE SET " + strings.Join(sets, ", "), args
}

// lockSalt is golang-migrate's (database/util.go), so that its lock and ours
// exclude each other.
const lockSalt uint32 = 1486364155

// lockIDs are the advisory locks that golang-migrate takes for this table: opened
// by URL it names the database with a slash before it, given a connection without.
func (t table) lockIDs(database, schema string) []string {
	var out []string
	for _, name := range []string{database, "/" + database} {
		sum := crc32.ChecksumIEEE([]byte(schema + "\x00" + t.name + "\x00" + name))
		out = append(out, strconv.FormatUint(uint64(sum*lockSalt), 10))
	}
	return out
}

// locks gives the advisory locks of the table in the session's database.
func (t table) locks(ctx context.Context, c *postgres.Conn) ([]string, error) {
	rows, err := c.Query(ctx, 1, "SELECT current_database(), coalesce(nullif($1, ''), current_schema())", t.schema)
	if err != nil {
		return nil, fmt.Errorf("ask for the schema: %w", err)
	}
	if rows.Rows[0][1].Null {
		return nil, errors.New("the session has no schema to create objects in (search_path)")
	}
	return t.lockIDs(rows.Rows[0][0].Text, rows.Rows[0][1].Text), nil
}

// lockHolder names the session that has an advisory lock, "" when none has.
func lockHolder(ctx context.Context, c *postgres.Conn, id string) (string, error) {
	t, err := c.Query(ctx, 1, `SELECT a.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'local'), to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS')
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid::bigint = $1
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`, id)
	if err != nil {
		return "", fmt.Errorf("ask who has the migration lock: %w", err)
	}
	if len(t.Rows) == 0 {
		return "", nil
	}
	r := t.Rows[0]
	return fmt.Sprintf("process %s (%s) from %s, connected since %s", r[0].Text, r[1].Text, r[2].Text, r[3].Text), nil
}
