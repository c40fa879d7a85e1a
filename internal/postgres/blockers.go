package postgres

import (
	"context"
	"fmt"
	"strings"
)

// Blockers says who keeps a server process waiting for a lock, by
// pg_blocking_pids, which knows which modes conflict and who queues before it. ""
// when nobody does. What they run is shortened; it may hold what the log redacts.
func (c *Conn) Blockers(ctx context.Context, pid string) (string, error) {
	t, err := c.Query(ctx, 5, `SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename, a.backend_type), coalesce(a.state, ''),
		coalesce(extract(epoch FROM clock_timestamp() - a.xact_start)::int, 0), left(regexp_replace(coalesce(a.query, ''), '\s+', ' ', 'g'), 80)
		FROM pg_stat_activity a WHERE a.pid = ANY (pg_blocking_pids($1::int)) ORDER BY a.xact_start`, pid)
	if err != nil {
		return "", fmt.Errorf("ask who is in the way: %w", err)
	}
	var out []string
	for _, r := range t.Rows {
		out = append(out, fmt.Sprintf("process %s (%s, %s, its transaction %s s old: %s)", r[0].Text, r[1].Text, r[2].Text, r[3].Text, r[4].Text))
	}
	return strings.Join(out, "; "), nil
}

// Progress says how far a server process is with building an index, clustering or
// vacuuming, as pg_stat_progress_* tells it; "" when it does none of these.
func (c *Conn) Progress(ctx context.Context, pid string) (string, error) {
	t, err := c.Query(ctx, 1, `SELECT what, phase, CASE WHEN total > 0 THEN 100 * done / total END FROM (
		SELECT pid, lower(command) || ' on ' || relid::regclass AS what, phase, greatest(blocks_done, tuples_done) AS done,
			CASE WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END AS total FROM pg_stat_progress_create_index WHERE datname = current_database()
		UNION ALL SELECT pid, lower(command) || ' on ' || relid::regclass, phase, heap_blks_scanned, heap_blks_total FROM pg_stat_progress_cluster WHERE datname = current_database()
		UNION ALL SELECT pid, 'vacuum on ' || relid::regclass, phase, heap_blks_scanned, heap_blks_total FROM pg_stat_progress_vacuum WHERE datname = current_database()
		) AS p WHERE pid = $1::int`, pid)
	if err != nil {
		return "", fmt.Errorf("ask how far it is: %w", err)
	}
	if len(t.Rows) == 0 {
		return "", nil
	}
	r := t.Rows[0]
	if r[2].Null {
		return r[0].Text + ": " + r[1].Text, nil
	}
	return fmt.Sprintf("%s: %s, %s %%", r[0].Text, r[1].Text, r[2].Text), nil
}

// InvalidIndexes lists the indexes of the session's database that a failed build
// has left behind: every write keeps them up, no query uses them.
func (c *Conn) InvalidIndexes(ctx context.Context) ([]string, error) {
	t, err := c.Query(ctx, 1000, `SELECT format('%I.%I', n.nspname, k.relname) FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid
		JOIN pg_namespace n ON n.oid = k.relnamespace WHERE (NOT i.indisvalid OR NOT i.indisready) AND k.relkind = 'i' AND n.nspname !~ '^pg_' ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("look for invalid indexes: %w", err)
	}
	var out []string
	for _, r := range t.Rows {
		out = append(out, strings.TrimPrefix(r[0].Text, "public."))
	}
	return out, nil
}
