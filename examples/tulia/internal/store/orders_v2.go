//go:build v2 || v3

package store

import (
	"cmp"
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const channelColumn = `channel`

func insertOrder(ctx context.Context, tx pgx.Tx, id, tenant, user string, total int64, n NewOrder) (pgconn.CommandTag, error) {
	return tx.Exec(ctx, `INSERT INTO orders (id, tenant_id, customer_id, total_cents, created_by, channel)
		SELECT $1::uuid, tenant_id, id, $4, $5::uuid, $6 FROM customers WHERE tenant_id = $2::uuid AND id = $3::uuid`,
		id, tenant, n.CustomerID, total, user, cmp.Or(n.Channel, "api"))
}
