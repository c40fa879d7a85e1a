package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5/pgconn"
)

// Raw opens a session with the server's credentials and hands its connection
// over, for a proxy. The settings are those of the proxy's client.
func (s *Server) Raw(ctx context.Context, settings map[string]string) (*pgconn.HijackedConn, error) {
	config := s.config.Copy()
	maps.Copy(config.RuntimeParams, settings)
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.Name(), s.cause(ctx, err))
	}
	raw, err := hijack(ctx, pg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take over the connection to %s: %w", s.Name(), err), pg.Close(ctx))
	}
	return raw, nil
}

func hijack(ctx context.Context, pg *pgconn.PgConn) (*pgconn.HijackedConn, error) {
	if err := pg.SyncConn(ctx); err != nil {
		return nil, err
	}
	return pg.Hijack()
}
