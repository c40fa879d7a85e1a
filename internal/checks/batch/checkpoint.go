package batch

import (
	"context"
	"fmt"
	"strconv"

	"allclear.dev/allclear/internal/postgres"
)

// checkpointSchema makes the table of the jobs. The lock is that of the lease's
// table, since both make the schema.
const checkpointSchema = `DO $$ BEGIN
  IF to_regclass('allclear.batches') IS NULL THEN
    PERFORM pg_advisory_xact_lock(7310870969309884012);
    CREATE SCHEMA IF NOT EXISTS allclear;
    CREATE TABLE IF NOT EXISTS allclear.batches (
      name text PRIMARY KEY,
      statement text NOT NULL, relation text NOT NULL, key text[] NOT NULL,
      position text[], stop text[],
      rows bigint NOT NULL DEFAULT 0, changed bigint NOT NULL DEFAULT 0, batches bigint NOT NULL DEFAULT 0,
      seconds float8 NOT NULL DEFAULT 0, longest float8 NOT NULL DEFAULT 0,
      run text NOT NULL, item text NOT NULL,
      started timestamptz NOT NULL DEFAULT clock_timestamp(), latest timestamptz, finished timestamptz);
  END IF;
END $$`

// state is where a job stands.
type state struct {
	// Statement is the digest of the statement it was begun with.
	Statement string
	// Position is the first key that is not done; Stop is the first that is not the
	// job's. Both are nil of a table that was empty.
	Position, Stop         []string
	Rows, Changed, Batches int64
	// Seconds is the time that the batches took; Longest that of the longest.
	Seconds, Longest float64
	Finished         bool
}

// read gives a job's state, or that there is none.
func read(ctx context.Context, c *postgres.Conn, name string) (state, bool, error) {
	t, err := c.Query(ctx, 1, "SELECT to_regclass('allclear.batches')")
	if err != nil {
		return state{}, false, fmt.Errorf("look for the job: %w", err)
	}
	if t.Rows[0][0].Null {
		return state{}, false, nil
	}
	return load(ctx, c, name, "")
}

// load reads the job's row, if need be with a lock on it.
func load(ctx context.Context, c *postgres.Conn, name, lock string) (state, bool, error) {
	t, err := c.Query(ctx, 1, "SELECT statement, rows, changed, batches, seconds, longest, finished IS NOT NULL FROM allclear.batches WHERE name = $1 "+lock, name)
	if err != nil {
		return state{}, false, fmt.Errorf("read the job: %w", err)
	}
	if len(t.Rows) == 0 {
		return state{}, false, nil
	}
	row := t.Rows[0]
	s := state{Statement: row[0].Text, Finished: row[6].Text == "t"}
	for i, into := range []*int64{&s.Rows, &s.Changed, &s.Batches} {
		if *into, err = strconv.ParseInt(row[1+i].Text, 10, 64); err != nil {
			return state{}, false, fmt.Errorf("read the job: %w", err)
		}
	}
	for i, into := range []*float64{&s.Seconds, &s.Longest} {
		if *into, err = strconv.ParseFloat(row[4+i].Text, 64); err != nil {
			return state{}, false, fmt.Errorf("read the job: %w", err)
		}
	}
	for column, into := range map[string]*[]string{"position": &s.Position, "stop": &s.Stop} {
		values, err := c.Query(ctx, 100, "SELECT v FROM allclear.batches, unnest("+column+") WITH ORDINALITY AS k(v, n) WHERE name = $1 ORDER BY n", name)
		if err != nil {
			return state{}, false, fmt.Errorf("read the job: %w", err)
		}
		for _, row := range values.Rows {
			*into = append(*into, row[0].Text)
		}
	}
	return s, true, nil
}

// create writes a new job down.
func (p *job) create(ctx context.Context, c *postgres.Conn, r relation, run, item string) error {
	first, stop, err := r.ends(ctx, c)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, `INSERT INTO allclear.batches (name, statement, relation, key, position, stop, run, item)
		VALUES ($1, $2, $3, $4, nullif($5, '{}')::text[], nullif($6, '{}')::text[], $7, $8)`,
		p.name(), p.digest(), r.from, array(r.names()), array(first), array(stop), run, item)
	if err != nil {
		return fmt.Errorf("write the job down: %w", err)
	}
	return nil
}

// advance moves the job on, within the transaction that has done the rows. It is
// an error unless the job stands where the rows were taken from.
func advance(ctx context.Context, c *postgres.Conn, name string, from, to []string, rows, changed int64, seconds float64, last bool) error {
	n, err := c.Exec(ctx, `UPDATE allclear.batches SET position = $3::text[], rows = rows + $4::bigint, changed = changed + $5::bigint, batches = batches + 1,
		seconds = seconds + $6::float8, longest = greatest(longest, $6::float8), latest = clock_timestamp(), finished = CASE WHEN $7::boolean THEN clock_timestamp() END
		WHERE name = $1 AND position = $2::text[] AND finished IS NULL`,
		name, array(from), array(to), strconv.FormatInt(rows, 10), strconv.FormatInt(changed, 10),
		strconv.FormatFloat(seconds, 'f', 6, 64), strconv.FormatBool(last))
	if err != nil {
		return fmt.Errorf("move the job on: %w", err)
	}
	if n != 1 {
		return refuse("somebody else has moved the job %s on", name)
	}
	return nil
}

// lockSQL takes the lock of a job for the session.
const lockSQL = "SELECT pg_try_advisory_lock(hashtextextended('allclear.batches ' || $1, 0))"

// holder tells which session has the lock of a job; "" means none.
func holder(ctx context.Context, c *postgres.Conn, name string) (string, error) {
	t, err := c.Query(ctx, 1, `SELECT format('session %s of %s (%s), since %s s', a.pid, a.usename, a.application_name, coalesce(extract(epoch FROM clock_timestamp() - a.backend_start)::bigint::text, '?'))
FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database() LEFT JOIN pg_stat_activity a ON a.pid = l.pid
CROSS JOIN LATERAL (SELECT hashtextextended('allclear.batches ' || $1, 0)) AS h(key)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
AND (l.classid::bigint << 32) | l.objid::bigint = h.key`, name)
	if err != nil {
		return "", fmt.Errorf("ask who is at the job: %w", err)
	}
	if len(t.Rows) == 0 {
		return "", nil
	}
	return t.Rows[0][0].Text, nil
}
