package postgres

import (
	"context"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
)

// globalsOf is the file of roles and tablespaces beside an archive.
func globalsOf(archive string) string { return archive + ".globals.sql" }

// keepGlobals writes the server's roles and tablespaces, which a dump of one
// database does not hold. They are no secret: passwords are left out.
func (p *backup) keepGlobals(ctx context.Context, host check.Host, tools pg.Tools, server *pg.Server, s *sidecar) (string, error) {
	if !p.Globals {
		return "", nil
	}
	file := s.Path
	if len(p.EncryptTo) > 0 {
		file += sealedSuffix
	}
	s.Globals = globalsOf(file)
	r, err := tools.Globals(ctx, server, s.Globals)
	if err != nil {
		return "", err
	}
	failure, err := pg.Failure(r)
	if failure != "" {
		failure = "pg_dumpall failed: " + failure
	}
	if failure != "" || err != nil {
		return failure, err
	}
	// On a full disk pg_dumpall 15 ends with 0 and half a file.
	tail, err := slice(ctx, host, "tail", s.Globals)
	if err != nil {
		return "", err
	}
	if !strings.Contains(tail, "-- PostgreSQL database cluster dump complete") {
		return "the file of roles does not end with the line that pg_dumpall writes last: it was cut (is the disk full?)", nil
	}
	s.GlobalsSHA256, err = sumOf(ctx, host, s.Globals)
	return "", err
}

// rolesThere names the roles that own something in a backup, or may use it, and are
// not on the server.
func rolesThere(ctx context.Context, server *pg.Server, s sidecar) (string, error) {
	c, err := server.Open(ctx, pg.Options{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer c.Close()
	missing, err := c.RolesMissing(ctx, s.Roles)
	if err != nil || len(missing) == 0 {
		return "", err
	}
	from := "keep them with globals: true"
	if s.Globals != "" {
		from = "they are in " + s.Globals
	}
	return fmt.Sprintf("the server has no role %s, which owns or may use what is in the backup; create it first (%s)", pg.Shorten(missing, 5), from), nil
}
