package postgres

import (
	"context"
	"fmt"
	"path"
	"slices"

	"allclear.dev/allclear/internal/check"
)

// maxRoles bounds how many roles are looked at.
const maxRoles = 10_000

// RolesUsed lists the roles that own something in the session's database, the
// database itself, or were granted something there, sorted.
func (c *Conn) RolesUsed(ctx context.Context) ([]string, error) {
	t, err := c.Query(ctx, maxRoles, `SELECT DISTINCT r.rolname FROM pg_roles r JOIN pg_shdepend d ON d.refobjid = r.oid AND d.refclassid = 'pg_authid'::regclass
		WHERE (d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
			OR d.classid = 'pg_database'::regclass AND d.objid = (SELECT oid FROM pg_database WHERE datname = current_database()))
		AND r.rolname !~ '^pg_' ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("list the roles that are used: %w", err)
	}
	var out []string
	for _, row := range t.Rows {
		out = append(out, row[0].Text)
	}
	return out, nil
}

// RolesMissing gives those of the names that are no roles of the server.
func (c *Conn) RolesMissing(ctx context.Context, names []string) ([]string, error) {
	t, err := c.Query(ctx, maxRoles, "SELECT rolname FROM pg_roles")
	if err != nil {
		return nil, fmt.Errorf("list roles: %w", err)
	}
	there := map[string]bool{}
	for _, row := range t.Rows {
		there[row[0].Text] = true
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return there[name] }), nil
}

// Globals writes the server's roles and tablespaces into a new file, without
// passwords.
func (t Tools) Globals(ctx context.Context, s *Server, file string) (check.Result, error) {
	dbname, env := s.CommandLine()
	return t.host.Exec(ctx, check.Command{Env: env, Argv: []string{path.Join(t.dir, "pg_dumpall"), "--dbname=" + dbname, "--no-password", "--globals-only", "--no-role-passwords", "--file=" + file}})
}
