package postgres

import (
	"context"
	"fmt"
)

// MayCreateDatabases is an error that says what to grant when the role that s
// connects as may not make databases.
func MayCreateDatabases(ctx context.Context, s *Server) error {
	c, err := s.Open(ctx, Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Value(ctx, "SELECT CASE WHEN rolcreatedb OR rolsuper THEN '' ELSE quote_ident(rolname) END FROM pg_roles WHERE rolname = current_user")
	if err != nil {
		return fmt.Errorf("ask what the role may do: %w", err)
	}
	if answer != "" {
		return fmt.Errorf("role %s may not make databases on %s: ALTER ROLE %s CREATEDB, or give a server with one that may as scratch", answer, s.Name(), answer)
	}
	return nil
}
