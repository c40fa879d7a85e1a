package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// Console asks the administration console of PgBouncer (its database pgbouncer) one
// question and keeps at most limit rows of the answer. The console understands the
// simple protocol and SHOW only, and refuses settings that it does not know.
// https://www.pgbouncer.org/usage.html
func (s *Server) Console(ctx context.Context, limit int, show string) (Table, error) {
	config := s.config.Copy()
	config.RuntimeParams = map[string]string{"application_name": applicationName}
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return Table{}, fmt.Errorf("connect to %s: %w", s.Name(), s.cause(ctx, err))
	}
	c := &Conn{pg: pg}
	defer c.Close()
	answer := pg.Exec(ctx, show)
	if !answer.NextResult() {
		return Table{}, errors.Join(c.ended(ctx, answer.Close()), fmt.Errorf("%s gives no answer", show))
	}
	t, err := collect(answer.ResultReader(), limit)
	if err = c.ended(ctx, errors.Join(err, answer.Close())); err != nil {
		return Table{}, err
	}
	return t, nil
}

// Cell gives a row's value in the column of a name; false when there is none.
func (t Table) Cell(row int, column string) (Cell, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == column })
	if i < 0 || row < 0 || row >= len(t.Rows) {
		return Cell{}, false
	}
	return t.Rows[row][i], true
}
