package sql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"allclear.dev/allclear/internal/postgres"
)

// checksums finds pages that were read and were not what had been written. The
// server counts them per database and once for what all databases share.
func checksums(ctx context.Context, c *postgres.Conn, a *answers) error {
	on, err := c.Value(ctx, "SELECT current_setting('data_checksums')")
	if err != nil {
		return fmt.Errorf("ask for page checksums: %w", err)
	}
	if on != "on" {
		return &notHere{"page checksums are " + on}
	}
	return a.none(ctx, c, list{"checksum failures", "pages that failed their checksum", `SELECT coalesce(datname, 'shared objects'), checksum_failures || ' times, last at ' || checksum_last_failure
FROM pg_stat_database WHERE (datname = current_database() OR datid = 0) AND checksum_failures > 0`})
}

// hidden is an error when the server does not show what other users' sessions do.
func hidden(ctx context.Context, c *postgres.Conn) error {
	n, err := c.Int(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = '<insufficient privilege>'")
	if err != nil {
		return fmt.Errorf("look at the sessions: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("%d sessions of other users are hidden: the role needs pg_read_all_stats", n)
	}
	return nil
}

// leftoversSQL lists transactions that hold their locks and snapshots although
// nobody works in them, and locks of applications that should have ended.
const leftoversSQL = `SELECT format('session %s of %s (%s)', s.pid, s.usename, s.application_name), format('idle in transaction for %s s', extract(epoch FROM clock_timestamp() - s.state_change)::bigint)
FROM pg_stat_activity s WHERE s.datname = current_database() AND s.state LIKE 'idle in transaction%' AND s.pid <> pg_backend_pid()
AND clock_timestamp() - s.state_change > $1::interval
UNION ALL SELECT format('prepared transaction %s of %s', gid, owner), format('for %s s', extract(epoch FROM clock_timestamp() - prepared)::bigint)
FROM pg_prepared_xacts WHERE database = current_database()
UNION ALL SELECT DISTINCT format('session %s of %s (%s)', s.pid, s.usename, s.application_name), format('has a lock on %s', coalesce(l.relation::regclass::text, 'an ' || l.locktype || ' lock'))
FROM pg_locks l JOIN pg_stat_activity s ON s.pid = l.pid
WHERE s.application_name = ANY ($2::text[]) AND s.pid <> pg_backend_pid() AND s.datname = current_database() AND l.locktype IN ('relation', 'advisory') ORDER BY 1, 2`

func leftovers(ctx context.Context, c *postgres.Conn, a *answers) error {
	if err := hidden(ctx, c); err != nil {
		return err
	}
	locks, err := c.Value(ctx, "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' AND d.datname = current_database()")
	if err != nil {
		return fmt.Errorf("count advisory locks: %w", err)
	}
	a.facts["advisory locks"] = locks
	return a.none(ctx, c, list{"leftovers", "left behind", leftoversSQL}, interval(a.Idle), array(a.Applications))
}

// interval writes a duration as PostgreSQL reads it.
func interval(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }

// analyzeSQL lists the tables with rows for which the planner guesses, because
// they or a column have no statistics (a rewrite or a change of type throws them
// away), and those in which too many rows are dead. When a table was last
// analyzed is not asked: the server forgets it in a crash, the statistics not.
const analyzeSQL = `SELECT c.oid::regclass::text, concat_ws(', ',
  CASE WHEN m.missing = m.columns AND (c.reltuples <> 0 OR c.relpages = 0) THEN 'never analyzed'
    WHEN m.missing > 0 AND c.reltuples > 0 THEN 'no statistics of ' || m.names END,
  CASE WHEN s.n_dead_tup > $3::bigint AND s.n_dead_tup > $2::float8 * (s.n_live_tup + s.n_dead_tup) THEN format('%s of %s rows are dead', s.n_dead_tup, s.n_live_tup + s.n_dead_tup) END) AS wrong
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_stat_all_tables s ON s.relid = c.oid
CROSS JOIN LATERAL (SELECT count(*) AS columns, count(*) FILTER (WHERE p.attname IS NULL) AS missing,
    string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum) FILTER (WHERE p.attname IS NULL) AS names
  FROM pg_attribute t LEFT JOIN pg_stats p ON p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = t.attname
  WHERE t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped AND coalesce(t.attstattarget, -1) <> 0) AS m
WHERE c.relkind IN ('r', 'm') AND pg_relation_size(c.oid) > 0 AND ` + ours + ` AND ` + limited

// hiddenStatisticsSQL counts the tables whose statistics the role may not see.
const hiddenStatisticsSQL = `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND NOT has_table_privilege(c.oid, 'SELECT') AND ` + ours + ` AND ` + limited

// fewDead is how many dead rows are never worth a word.
const fewDead = "1000"

func analyze(ctx context.Context, c *postgres.Conn, a *answers) error {
	n, err := c.Int(ctx, hiddenStatisticsSQL, a.oids)
	if err != nil {
		return fmt.Errorf("look for hidden statistics: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("the statistics of %d tables are hidden: the role may not read them", n)
	}
	return a.none(ctx, c, list{"tables to analyze", "tables that need ANALYZE or VACUUM", "SELECT * FROM (" + analyzeSQL + ") AS q WHERE wrong <> '' ORDER BY 1"},
		a.oids, strconv.FormatFloat(float64(a.Dead), 'g', -1, 64), fewDead)
}

// replicasSQL lists what follows this server and how many bytes of log it has not
// replayed yet, of those written before $1.
const replicasSQL = `SELECT format('%s (%s)', application_name, coalesce(host(client_addr), 'local')), state,
  greatest(pg_wal_lsn_diff($1::pg_lsn, coalesce(replay_lsn, flush_lsn)), 0)
FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup' ORDER BY 1`

// lookAgain is how often replicas are looked at while they catch up.
const lookAgain = 20 * time.Millisecond

// behind waits, no longer than a replica may be behind, until every replica has
// replayed what is written now, and lists those that have not. The server's own
// replay_lag is not asked: it stands still when replaying does.
func behind(ctx context.Context, c *postgres.Conn, a *answers) ([]string, error) {
	now, err := c.Value(ctx, "SELECT pg_current_wal_flush_lsn()")
	if err != nil {
		return nil, fmt.Errorf("ask for the end of the log: %w", err)
	}
	for start := a.now(); ; {
		t, err := c.Query(ctx, maxObjects, replicasSQL, now)
		if err != nil {
			return nil, fmt.Errorf("list replicas: %w", err)
		}
		a.facts["replicas"] = strconv.Itoa(len(t.Rows))
		waited := a.now().Sub(start)
		var late []string
		for _, row := range t.Rows {
			if row[1].Null {
				return nil, fmt.Errorf("how far %s is cannot be seen: the role needs pg_read_all_stats", row[0].Text)
			}
			if row[1].Text != "streaming" || row[2].Null || row[2].Text != "0" {
				late = append(late, fmt.Sprintf("%s (%s, %s bytes after %s)", row[0].Text, row[1].Text, row[2].Text, waited.Round(time.Millisecond)))
			}
		}
		if len(late) == 0 || waited >= a.Lag {
			a.facts["lag"] = fmt.Sprintf("%.3f s", waited.Seconds())
			return late, nil
		}
		if err := a.sleep(ctx, lookAgain); err != nil {
			return nil, err
		}
	}
}

// replication decides about replicas and the slots that keep log for them.
func replication(ctx context.Context, c *postgres.Conn, a *answers) error {
	standby, err := c.Value(ctx, "SELECT pg_is_in_recovery()")
	if err != nil {
		return fmt.Errorf("ask for the server's role: %w", err)
	}
	if standby == "t" {
		return errors.New("this server is a replica itself: ask the primary")
	}
	late, err := behind(ctx, c, a)
	if err != nil {
		return err
	}
	slots, err := c.Int(ctx, "SELECT count(*) FROM pg_replication_slots")
	if err != nil {
		return fmt.Errorf("count slots: %w", err)
	}
	a.facts["replication slots"] = strconv.FormatInt(slots, 10)
	if slots == 0 && a.facts["replicas"] == "0" {
		return errors.New("no replica is connected and no replication slot waits for one")
	}
	a.note(len(late) == 0, "replicas that are behind: %s", postgres.Shorten(late, 10))
	return a.none(ctx, c, list{"bad slots", "replication slots that keep too much log or lost it", `SELECT slot_name, concat_ws(', ', CASE WHEN NOT active THEN 'not in use' END, 'log ' || wal_status,
  pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn) || ' bytes kept')
FROM pg_replication_slots WHERE wal_status IN ('unreserved', 'lost') OR pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn) > $1::numeric ORDER BY 1`},
		strconv.FormatInt(int64(a.SlotWAL), 10))
}
