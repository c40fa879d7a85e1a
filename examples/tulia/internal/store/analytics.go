package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Overview is a tenant's business in numbers.
type Overview struct {
	Customers    int   `json:"customers"`
	Orders       int   `json:"orders"`
	RevenueCents int64 `json:"revenue_cents"` // of paid orders
	Appointments int   `json:"appointments"`  // booked, from now on
	Messages     int   `json:"messages"`
}

// Day is one day (UTC) of orders.
type Day struct {
	Date       string `json:"date"`
	Orders     int    `json:"orders"`
	TotalCents int64  `json:"total_cents"`
}

// Messaging is how the messages of the last 30 days fared.
type Messaging struct {
	Queued         int     `json:"queued"`
	Delivered      int     `json:"delivered"`
	AverageSeconds float64 `json:"average_seconds"` // from queued to delivered; 0 if none was
}

// Funnel is how far customers came.
type Funnel struct {
	Messaged int `json:"messaged"`
	Ordered  int `json:"ordered"`
	Paid     int `json:"paid"`
}

// Overview counts the tenant's business.
func (s *Store) Overview(ctx context.Context, tenant string) (Overview, error) {
	var o Overview
	row := s.pool.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM customers WHERE tenant_id = $1::uuid),
		(SELECT count(*) FROM orders WHERE tenant_id = $1::uuid),
		(SELECT coalesce(sum(total_cents), 0)::bigint FROM orders WHERE tenant_id = $1::uuid AND status = 'paid'),
		(SELECT count(*) FROM appointments WHERE tenant_id = $1::uuid AND status = 'booked' AND starts_at > now()),
		(SELECT count(*) FROM messages WHERE tenant_id = $1::uuid)`, tenant)
	return o, row.Scan(&o.Customers, &o.Orders, &o.RevenueCents, &o.Appointments, &o.Messages)
}

// Daily returns one row for each of the last days, oldest first, days without orders included.
func (s *Store) Daily(ctx context.Context, tenant string, days int) ([]Day, error) {
	rows, err := s.pool.Query(ctx, `SELECT d::date::text, count(o.id)::int, coalesce(sum(o.total_cents), 0)::bigint
		FROM generate_series($2::date - $3::int + 1, $2::date, interval '1 day') d
		LEFT JOIN orders o ON o.tenant_id = $1::uuid AND o.created_at >= d AND o.created_at < d + interval '1 day'
		GROUP BY d ORDER BY d`, tenant, time.Now().UTC(), days)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Day])
}

// Messaging counts the tenant's messages of the last 30 days.
func (s *Store) Messaging(ctx context.Context, tenant string) (Messaging, error) {
	var m Messaging
	row := s.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE status = 'queued'),
		count(*) FILTER (WHERE status = 'delivered'),
		coalesce(extract(epoch FROM avg(delivered_at - created_at)), 0)::float8
		FROM messages WHERE tenant_id = $1::uuid AND created_at > now() - interval '30 days'`, tenant)
	return m, row.Scan(&m.Queued, &m.Delivered, &m.AverageSeconds)
}

// Funnel counts the tenant's customers by how far they came.
func (s *Store) Funnel(ctx context.Context, tenant string) (Funnel, error) {
	var f Funnel
	row := s.pool.QueryRow(ctx, `SELECT
		(SELECT count(DISTINCT customer_id) FROM messages WHERE tenant_id = $1::uuid),
		(SELECT count(DISTINCT customer_id) FROM orders WHERE tenant_id = $1::uuid),
		(SELECT count(DISTINCT customer_id) FROM orders WHERE tenant_id = $1::uuid AND status = 'paid')`, tenant)
	return f, row.Scan(&f.Messaged, &f.Ordered, &f.Paid)
}
