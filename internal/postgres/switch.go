package postgres

import (
	"context"
	"errors"
	"fmt"
)

// Switch puts the database beside into the place of server's own, which gets the
// name old: settings, grants and the deployment lease go along, no new sessions
// are let in, the present ones are ended, and both names change in one
// transaction. The text says why it was not done; an error leaves that open.
func Switch(ctx context.Context, server *Server, maintenance, beside, old string) (string, error) {
	name := server.Database()
	if err := carryOver(ctx, server, beside); err != nil {
		return "carry over: " + err.Error(), ctx.Err()
	}
	c, err := server.In(maintenance).Open(ctx, Options{})
	if err != nil {
		return "", fmt.Errorf("%w; database %s is untouched", err, name)
	}
	defer c.Close()
	if _, err := c.Exec(ctx, "ALTER DATABASE "+Quote(name)+" ALLOW_CONNECTIONS false"); err != nil {
		return refused(ctx, "close the database to new sessions", err)
	}
	err = c.terminate(ctx, name)
	if err == nil {
		err = c.rename(ctx, name, beside, old)
	}
	// Whatever has the name old or name now is opened again, also after a failure.
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	kept := name
	if err == nil {
		kept = old
	}
	_, open := c.Exec(again, "ALTER DATABASE "+Quote(kept)+" ALLOW_CONNECTIONS true")
	switch {
	case err != nil && open != nil:
		return "", fmt.Errorf("switch databases: %w", errors.Join(err, open))
	case err != nil:
		return refused(ctx, "switch databases", err)
	case open != nil:
		return "", fmt.Errorf("open the old database %s again: %w", old, open)
	}
	return "", nil
}

// refused tells a server's refusal from not knowing.
func refused(ctx context.Context, what string, err error) (string, error) {
	if Code(err) == "" || ctx.Err() != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Sprintf("%s: %v", what, err), nil
}

// rename gives both databases their new names, or neither.
func (c *Conn) rename(ctx context.Context, name, beside, old string) error {
	for _, sql := range []string{
		"BEGIN",
		"ALTER DATABASE " + Quote(name) + " RENAME TO " + Quote(old),
		"ALTER DATABASE " + Quote(beside) + " RENAME TO " + Quote(name),
		"COMMIT",
	} {
		if _, err := c.Exec(ctx, sql); err != nil {
			if ctx.Err() == nil && !c.Closed() {
				_, back := c.Exec(ctx, "ROLLBACK")
				return errors.Join(err, back)
			}
			return err
		}
	}
	return nil
}

// carryOverSQL writes the statements that give $1 the owner, settings and grants
// of the session's database, which a dump of its contents does not hold.
const carryOverSQL = `WITH d AS (SELECT oid, datdba, datacl FROM pg_database WHERE datname = current_database())
SELECT format('ALTER DATABASE %I OWNER TO %I', $1::text, pg_get_userbyid(datdba)) FROM d
UNION ALL SELECT CASE WHEN s.setrole = 0 THEN format('ALTER DATABASE %I SET %I = %s', $1::text, split_part(c, '=', 1), v)
  ELSE format('ALTER ROLE %I IN DATABASE %I SET %I = %s', pg_get_userbyid(s.setrole), $1::text, split_part(c, '=', 1), v) END
  FROM d JOIN pg_db_role_setting s ON s.setdatabase = d.oid, unnest(s.setconfig) c,
  LATERAL (SELECT CASE WHEN split_part(c, '=', 1) IN ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries', 'unix_socket_directories', 'DateStyle')
    THEN substr(c, strpos(c, '=') + 1) ELSE quote_literal(substr(c, strpos(c, '=') + 1)) END) AS q(v)
UNION ALL SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $1::text) FROM d WHERE datacl IS NOT NULL
UNION ALL SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, $1::text,
  CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
  CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM d, aclexplode(d.datacl) a WHERE a.grantee <> d.datdba`

// carryOver prepares the new database.
func carryOver(ctx context.Context, server *Server, beside string) error {
	from, err := server.Open(ctx, Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer from.Close()
	statements, err := from.Query(ctx, 10_000, carryOverSQL, beside)
	if err != nil {
		return fmt.Errorf("read the database's settings: %w", err)
	}
	leases, err := from.Query(ctx, 10_000, "SELECT environment, owner, run, token, heartbeat FROM allclear.lease")
	if err != nil && Code(err) != UndefinedTable && Code(err) != undefinedSchema {
		return fmt.Errorf("read the lease: %w", err)
	}
	to, err := server.In(beside).Open(ctx, Options{})
	if err != nil {
		return err
	}
	defer to.Close()
	for _, row := range statements.Rows {
		if _, err := to.Exec(ctx, row[0].Text); err != nil {
			return fmt.Errorf("%s: %w", row[0].Text, err)
		}
	}
	if len(leases.Rows) == 0 {
		return nil
	}
	if err := to.Script(ctx, leaseSchema); err != nil {
		return fmt.Errorf("create the lease's table: %w", err)
	}
	for _, r := range leases.Rows {
		if _, err := to.Exec(ctx, `INSERT INTO allclear.lease (environment, owner, run, token, heartbeat)
			VALUES ($1, nullif($2, ''), nullif($3, ''), $4, nullif($5, '')::timestamptz)`,
			r[0].Text, r[1].Text, r[2].Text, r[3].Text, r[4].Text); err != nil {
			return fmt.Errorf("carry over the lease: %w", err)
		}
	}
	return nil
}
