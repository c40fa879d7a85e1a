package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Customer is a person that a tenant sells to. The phone number is kept sealed.
type Customer struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Customers returns up to limit of the tenant's customers, by name.
func (s *Store) Customers(ctx context.Context, tenant string, limit int) ([]Customer, error) {
	rows, err := s.pool.Query(ctx,
		`SELECT id::text, name FROM customers WHERE tenant_id = $1::uuid ORDER BY name LIMIT $2`, tenant, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Customer])
}

// AddCustomer adds a customer unless there is one with that id.
func (s *Store) AddCustomer(ctx context.Context, tenant string, c Customer, phone []byte) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO customers (id, tenant_id, name, phone_sealed)
		VALUES ($1::uuid, $2::uuid, $3, $4) ON CONFLICT DO NOTHING`, c.ID, tenant, c.Name, phone)
	return err
}

// AddService adds a service unless there is one with that id.
func (s *Store) AddService(ctx context.Context, tenant string, v Service) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO services (id, tenant_id, name, minutes, price_cents)
		VALUES ($1::uuid, $2::uuid, $3, $4, $5) ON CONFLICT DO NOTHING`, v.ID, tenant, v.Name, v.Minutes, v.PriceCents)
	return err
}

// AddHistory makes count orders of the tenant's customers over the 30 days before now, a third of them from a
// delivered message, unless the tenant has orders.
func (s *Store) AddHistory(ctx context.Context, tenant, user string, count int, now time.Time) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var exists bool
		row := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM orders WHERE tenant_id = $1::uuid)`, tenant)
		if err := row.Scan(&exists); err != nil || exists {
			return err
		}
		_, err := tx.Exec(ctx, `WITH people AS (
			SELECT array_agg(id ORDER BY id) AS ids FROM customers WHERE tenant_id = $1::uuid
		), plan AS (
			SELECT n, gen_random_uuid() AS order_id, CASE WHEN n % 3 = 0 THEN gen_random_uuid() END AS message_id,
				ids[1 + n % cardinality(ids)] AS customer_id,
				$4::timestamptz - (n::float8 / $3) * interval '30 days' AS at, 500 + (n * 37 % 9000) AS cents
			FROM people, generate_series(1, $3::int) n
		), sent AS (
			INSERT INTO messages (id, tenant_id, customer_id, body, status, provider_sid, created_at, delivered_at)
			SELECT message_id, $1::uuid, customer_id, 'order please', 'delivered', 'sandbox-' || n, at, at + interval '2 seconds'
			FROM plan WHERE message_id IS NOT NULL RETURNING id
		), placed AS (
			INSERT INTO orders (id, tenant_id, customer_id, status, total_cents, created_by, created_at, updated_at, message_id)
			SELECT order_id, $1::uuid, customer_id, CASE WHEN n % 5 = 0 THEN 'placed' ELSE 'paid' END, cents, $2::uuid, at, at, message_id
			FROM plan RETURNING id
		)
		INSERT INTO order_items (order_id, line, name, quantity, unit_cents)
		SELECT order_id, 1, 'goods', 1, cents FROM plan`, tenant, user, count, now)
		return err
	})
}
