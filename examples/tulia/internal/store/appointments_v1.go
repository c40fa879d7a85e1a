//go:build !v3

package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const reminderColumn = `NULL::timestamptz`

func insertAppointment(ctx context.Context, pool *pgxpool.Pool, id, tenant, service, customer string, at, end time.Time) (pgconn.CommandTag, error) {
	return pool.Exec(ctx, `INSERT INTO appointments (id, tenant_id, service_id, customer_id, starts_at, ends_at)
		SELECT $1::uuid, tenant_id, $3::uuid, id, $5, $6 FROM customers WHERE tenant_id = $2::uuid AND id = $4::uuid`,
		id, tenant, service, customer, at, end)
}
