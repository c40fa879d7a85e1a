package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
)

// maxGroups bounds how many groups of sessions, pools or replicas are read.
const maxGroups = 1000

// connections compares what is used, and what may be demanded, with what the server
// has for ordinary roles: max_connections without what it keeps for superusers and,
// from PostgreSQL 16 on, for roles with pg_use_reserved_connections.
// https://www.postgresql.org/docs/current/runtime-config-connection.html
func (p *stats) connections(ctx context.Context, env *check.Env, c *pg.Conn) (*sight, error) {
	s := newSight()
	t, err := c.Query(ctx, 1, `SELECT current_setting('max_connections')::int AS max_connections,
		current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS used,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state = 'active') AS active,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state = 'idle') AS idle,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%') AS idle_in_transaction`)
	if err != nil {
		return nil, fmt.Errorf("ask for the connections: %w", err)
	}
	n, err := numbersOf(t, 6)
	if err != nil {
		return nil, err
	}
	room, free := n[0]-n[1], 1-float64(p.Headroom)
	for i, name := range []string{"max", "reserved", "used", "active", "idle", "idle_in_transaction"} {
		s.number(name, n[i])
	}
	s.number("room", room)
	if err := applications(ctx, c, s); err != nil {
		return nil, err
	}
	accepted := math.Floor(room * free)
	s.saw = fmt.Sprintf("%v of %v connections are in use (%v without the reserved %v), at most %v are accepted", n[2], n[0], room, n[1], accepted)
	if n[2] > accepted {
		s.miss("%s", s.saw)
	}
	if p.Demand != nil {
		demand, err := p.Demand.eval(p.With)
		if err != nil {
			return nil, fmt.Errorf("demand: %w", err)
		}
		s.number("demand", demand)
		told := fmt.Sprintf("%s = %v connections may be opened", p.Demand.text, demand)
		if demand > accepted {
			s.miss("%s, and at most %v of %v fit with %v%% to spare", told, accepted, room, 100*float64(p.Headroom))
		}
		s.saw += "; " + told
	}
	if !p.PgBouncer.IsZero() {
		if err := p.pools(ctx, env, s); err != nil {
			return nil, fmt.Errorf("pgbouncer: %w", err)
		}
	}
	return s, nil
}

// applications notes the sessions by what opened them and what they do, and how many
// sessions of this database the server has ended since its counters began.
func applications(ctx context.Context, c *pg.Conn, s *sight) error {
	t, err := c.Query(ctx, maxGroups, `SELECT coalesce(nullif(application_name, ''), usename, '?'), coalesce(state, '?'), count(*)
		FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2`)
	if err != nil {
		return fmt.Errorf("ask who is connected: %w", err)
	}
	for i, r := range t.Rows {
		if i == 30 {
			break
		}
		s.facts["by."+r[0].Text+"."+r[1].Text] = r[2].Text
	}
	major, err := c.Major(ctx)
	if err != nil || major < 14 {
		return err
	}
	fatal, err := c.Int(ctx, "SELECT coalesce(sessions_fatal, 0) FROM pg_stat_database WHERE datname = current_database()")
	if err != nil {
		return fmt.Errorf("ask for ended sessions: %w", err)
	}
	s.number("fatal", float64(fatal))
	return nil
}

// pools reads PgBouncer's pools: cl_waiting are clients without a connection and
// maxwait is how long the first of them has waited.
// https://www.pgbouncer.org/usage.html#show-pools
func (p *stats) pools(ctx context.Context, env *check.Env, s *sight) error {
	server, err := p.server(ctx, env, p.PgBouncer, "pgbouncer")
	if err != nil {
		return err
	}
	t, err := server.Console(ctx, maxGroups, "SHOW POOLS")
	if err != nil {
		return err
	}
	pools, waiting := 0, 0.0
	for i := range t.Rows {
		n := map[string]float64{}
		for _, name := range []string{"cl_active", "cl_waiting", "sv_active", "sv_idle", "maxwait"} {
			cell, ok := t.Cell(i, name)
			v, err := strconv.ParseFloat(cell.Text, 64)
			if !ok || err != nil {
				return fmt.Errorf("SHOW POOLS says %q as %s, want a number", cell.Text, name)
			}
			n[name] = v
		}
		database, _ := t.Cell(i, "database")
		user, _ := t.Cell(i, "user")
		if database.Text == "pgbouncer" { // the console itself
			continue
		}
		pools++
		waiting += n["cl_waiting"]
		s.facts["pool."+database.Text+"."+user.Text] = fmt.Sprintf("clients: %v active, %v waiting (longest %v s); servers: %v active, %v idle",
			n["cl_active"], n["cl_waiting"], n["maxwait"], n["sv_active"], n["sv_idle"])
		if wait := time.Duration(n["maxwait"] * float64(time.Second)); n["cl_waiting"] > 0 && wait > p.MaxWait {
			s.miss("%v clients of PgBouncer's pool %s/%s wait for a connection, the first for %s, at most %s is accepted", n["cl_waiting"], database.Text, user.Text, wait, p.MaxWait)
		}
	}
	if pools == 0 {
		return errors.New("there is no pool: no application has connected through it")
	}
	s.number("waiting", waiting)
	s.saw += fmt.Sprintf("; %v clients wait in %d pools of PgBouncer", waiting, pools)
	return nil
}
