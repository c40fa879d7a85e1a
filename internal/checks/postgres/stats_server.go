package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
)

// locks looks for sessions of this database that have waited for a lock too long.
// waitstart is when the wait began, and NULL for an instant after that.
// https://www.postgresql.org/docs/current/view-pg-locks.html
func (p *stats) locks(ctx context.Context, _ *check.Env, c *pg.Conn) (*sight, error) {
	major, err := c.Major(ctx)
	if err != nil {
		return nil, err
	}
	if major < 14 {
		return nil, fmt.Errorf("PostgreSQL %d does not say how long a lock has been waited for; 14 does", major)
	}
	s := newSight()
	all, err := c.Int(ctx, "SELECT count(*) FROM pg_locks")
	if err != nil {
		return nil, fmt.Errorf("ask for the locks: %w", err)
	}
	if all == 0 { // the question itself holds some
		return nil, errors.New("the server shows no lock, not even that of the question")
	}
	t, err := c.Query(ctx, maxGroups, `SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename, '?'),
		coalesce(max(extract(epoch FROM clock_timestamp() - l.waitstart)), 0), max(coalesce(l.relation::regclass::text, l.locktype))
		FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()
		GROUP BY 1, 2 ORDER BY 3 DESC`)
	if err != nil {
		return nil, fmt.Errorf("ask who waits: %w", err)
	}
	longest := 0.0
	for i, r := range t.Rows {
		waited, err := strconv.ParseFloat(r[2].Text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no time", r[2].Text)
		}
		longest = max(longest, waited)
		if waited <= p.MaxWait.Seconds() {
			continue
		}
		told := fmt.Sprintf("%s (process %s) has waited %.1f s for a lock on %s", r[1].Text, r[0].Text, waited, r[3].Text)
		if i < 5 {
			who, err := c.Blockers(ctx, r[0].Text)
			if err != nil {
				return nil, err
			}
			if who != "" {
				told += ", behind " + who
			}
		}
		s.miss("%s; at most %s is accepted", told, p.MaxWait)
	}
	s.number("locks", float64(all))
	s.number("waiting", float64(len(t.Rows)))
	s.number("longest", longest)
	s.saw = fmt.Sprintf("of %d locks, %d are waited for, the longest for %.1f s; at most %s is accepted", all, len(t.Rows), longest, p.MaxWait)
	return s, nil
}

// lag is how far one replica is behind.
type lag struct {
	name, state string
	// bytes is how much of what was written at the first look was missing then;
	// seconds is how long it took until nothing of it was missing.
	bytes, seconds float64
	caughtUp       bool
}

// replication looks at the replicas that are connected to this server. How far they
// are is measured: what the server had written at the first look must have been
// replayed after max_lag. The server's own replay_lag stays as it was when a
// replica's replay is paused or stuck, and is not asked for.
func (p *stats) replication(ctx context.Context, env *check.Env, c *pg.Conn) (*sight, error) {
	standby, err := c.Value(ctx, "SELECT pg_is_in_recovery()")
	if err != nil {
		return nil, fmt.Errorf("ask whether it is a primary: %w", err)
	}
	if standby != "f" {
		return nil, errors.New("the server is a replica itself: ask the primary")
	}
	written, err := c.Value(ctx, "SELECT pg_current_wal_lsn()")
	if err != nil {
		return nil, fmt.Errorf("ask what is written: %w", err)
	}
	start := env.Now()
	first, err := lags(ctx, c, written)
	if err != nil {
		return nil, err
	}
	for now := first; slices.ContainsFunc(first, func(l lag) bool { return !l.caughtUp }) && env.Now().Sub(start) <= p.MaxLag; {
		if err := env.Sleep(ctx, min(200*time.Millisecond, p.MaxLag/10)); err != nil {
			return nil, err
		}
		if now, err = lags(ctx, c, written); err != nil {
			return nil, err
		}
		for i := range first {
			l := &first[i]
			if !l.caughtUp && slices.ContainsFunc(now, func(n lag) bool { return n.name == l.name && n.caughtUp }) {
				l.caughtUp = true
			}
			if !l.caughtUp || l.seconds == 0 && l.bytes > 0 {
				l.seconds = env.Now().Sub(start).Seconds()
			}
		}
	}
	return p.judgeReplicas(first), nil
}

// lags asks what each replica misses of what was written; a copy that is being made
// is no replica.
// https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW
func lags(ctx context.Context, c *pg.Conn, written string) ([]lag, error) {
	t, err := c.Query(ctx, maxGroups, `SELECT coalesce(nullif(application_name, ''), host(client_addr), '?'), state,
		pg_wal_lsn_diff($1::pg_lsn, replay_lsn) FROM pg_stat_replication WHERE state <> 'backup' ORDER BY 1`, written)
	if err != nil {
		return nil, fmt.Errorf("ask for the replicas: %w", err)
	}
	var found []lag
	for _, r := range t.Rows {
		one := lag{name: r[0].Text, state: r[1].Text}
		if !r[2].Null { // NULL: it has replayed nothing yet
			if one.bytes, err = strconv.ParseFloat(r[2].Text, 64); err != nil {
				return nil, fmt.Errorf("%q is no number of bytes", r[2].Text)
			}
			one.bytes, one.caughtUp = max(one.bytes, 0), one.bytes <= 0
		}
		found = append(found, one)
	}
	return found, nil
}

func (p *stats) judgeReplicas(found []lag) *sight {
	s := newSight()
	for _, name := range p.Replicas {
		if !slices.ContainsFunc(found, func(l lag) bool { return l.name == name }) {
			s.miss("replica %s is not connected", name)
		}
	}
	if len(found) < p.MinReplicas {
		s.miss("%d replicas are connected, want at least %d", len(found), p.MinReplicas)
	}
	most, longest := 0.0, 0.0
	for _, l := range found {
		most, longest = max(most, l.bytes), max(longest, l.seconds)
		s.facts["replica."+l.name] = fmt.Sprintf("%s, %s behind, %.1f s until it had replayed that", l.state, bytesText(l.bytes), l.seconds)
		if l.state != "streaming" {
			s.miss("replica %s is not streaming but in %s", l.name, l.state)
		}
		if !l.caughtUp {
			s.miss("replica %s has not replayed after %s what was written before", l.name, p.MaxLag)
			s.facts["replica."+l.name] = fmt.Sprintf("%s, %s behind, and still so after %s", l.state, bytesText(l.bytes), p.MaxLag)
		}
		if l.bytes > float64(p.MaxLagBytes) {
			s.miss("replica %s is %s of log behind, at most %s is accepted", l.name, bytesText(l.bytes), bytesText(float64(p.MaxLagBytes)))
		}
	}
	s.number("replicas", float64(len(found)))
	s.number("lag_bytes", most)
	s.number("lag_seconds", longest)
	s.saw = fmt.Sprintf("%d replicas are connected and had replayed everything after at most %.1f s (%s)", len(found), longest, bytesText(most))
	return s
}

// indexes looks for indexes that a failed build has left behind, which is wrong, and
// for those that nothing has used, which is worth knowing.
func (p *stats) indexes(ctx context.Context, _ *check.Env, c *pg.Conn) (*sight, error) {
	s := newSight()
	all, err := c.Int(ctx, "SELECT count(*) FROM pg_stat_user_indexes")
	if err != nil {
		return nil, fmt.Errorf("count the indexes: %w", err)
	}
	if all == 0 {
		return nil, errors.New("the database has no index: is it the right one?")
	}
	invalid, err := c.InvalidIndexes(ctx)
	if err != nil {
		return nil, err
	}
	building, err := c.Query(ctx, maxGroups, `SELECT format('%I.%I', n.nspname, k.relname) FROM pg_stat_progress_create_index b
		JOIN pg_class k ON k.oid = b.index_relid JOIN pg_namespace n ON n.oid = k.relnamespace WHERE b.datname = current_database()`)
	if err != nil {
		return nil, fmt.Errorf("ask what is being built: %w", err)
	}
	for _, r := range building.Rows {
		name := strings.TrimPrefix(r[0].Text, "public.")
		s.facts["building."+name] = "yes"
		invalid = slices.DeleteFunc(invalid, func(other string) bool { return other == name })
	}
	for _, name := range invalid {
		s.miss("index %s is invalid: a failed build has left it, every write keeps it up and no query uses it; DROP INDEX CONCURRENTLY, then build it again", name)
	}
	t, err := c.Query(ctx, maxGroups, `SELECT format('%I.%I', s.schemaname, s.indexrelname), pg_relation_size(s.indexrelid),
		coalesce((SELECT to_char(stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM pg_stat_database WHERE datname = current_database()), '')
		FROM pg_stat_user_indexes s JOIN pg_index i USING (indexrelid) WHERE s.idx_scan = 0 AND NOT i.indisunique AND NOT i.indisprimary AND i.indisvalid
		AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = s.indexrelid) ORDER BY 2 DESC, 1`)
	if err != nil {
		return nil, fmt.Errorf("ask which indexes are used: %w", err)
	}
	unused := 0.0
	for i, r := range t.Rows {
		size, err := strconv.ParseFloat(r[1].Text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no size", r[1].Text)
		}
		unused += size
		if i < 20 {
			s.facts["unused."+strings.TrimPrefix(r[0].Text, "public.")] = bytesText(size)
		}
		if r[2].Text != "" {
			s.facts["counted_since"] = r[2].Text
		}
	}
	s.number("indexes", float64(all))
	s.number("invalid", float64(len(invalid)))
	s.number("unused", float64(len(t.Rows)))
	s.number("unused_bytes", unused)
	s.saw = fmt.Sprintf("all %d indexes are valid; %d of them (%s) were not used since the server began to count", all, len(t.Rows), bytesText(unused))
	return s, nil
}
