package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Item is one line of an order.
type Item struct {
	Name      string `json:"name"`
	Quantity  int    `json:"quantity"`
	UnitCents int64  `json:"unit_cents"`
}

// Order is something that a customer bought. Channel says where it came from; v1 does not know it.
type Order struct {
	ID         string    `json:"id"`
	CustomerID string    `json:"customer_id"`
	Status     string    `json:"status"`
	TotalCents int64     `json:"total_cents"`
	Channel    string    `json:"channel,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	Items      []Item    `json:"items,omitempty"`
}

// NewOrder is what it takes to place an order.
type NewOrder struct {
	CustomerID string `json:"customer_id"`
	Channel    string `json:"channel"`
	Items      []Item `json:"items"`
}

const orderColumns = `id::text, customer_id::text, status, total_cents, ` + channelColumn + `, created_at`

func scanOrder(row pgx.Row) (Order, error) {
	var o Order
	err := row.Scan(&o.ID, &o.CustomerID, &o.Status, &o.TotalCents, &o.Channel, &o.CreatedAt)
	return o, one(err)
}

// Orders returns the tenant's newest orders without their items.
func (s *Store) Orders(ctx context.Context, tenant string, limit int) ([]Order, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+orderColumns+` FROM orders WHERE tenant_id = $1::uuid
		ORDER BY created_at DESC, id LIMIT $2`, tenant, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Order, error) { return scanOrder(row) })
}

// Order returns one order with its items, or ErrNotFound.
func (s *Store) Order(ctx context.Context, tenant, id string) (Order, error) {
	o, err := scanOrder(s.pool.QueryRow(ctx, `SELECT `+orderColumns+` FROM orders
		WHERE tenant_id = $1::uuid AND id = $2::uuid`, tenant, id))
	if err != nil {
		return Order{}, err
	}
	rows, err := s.pool.Query(ctx,
		`SELECT name, quantity, unit_cents FROM order_items WHERE order_id = $1::uuid ORDER BY line`, id)
	if err != nil {
		return Order{}, err
	}
	o.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Item])
	return o, err
}

// PlaceOrder stores an order of user for one of the tenant's customers. ErrForeign means that the customer is not
// one of them.
func (s *Store) PlaceOrder(ctx context.Context, tenant, user string, n NewOrder) (Order, error) {
	id := uuid.NewString()
	var total int64
	for _, item := range n.Items {
		total += int64(item.Quantity) * item.UnitCents
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := insertOrder(ctx, tx, id, tenant, user, total, n)
		if err != nil {
			return one(err)
		}
		if tag.RowsAffected() == 0 {
			return ErrForeign
		}
		for line, item := range n.Items {
			_, err := tx.Exec(ctx, `INSERT INTO order_items (order_id, line, name, quantity, unit_cents)
				VALUES ($1::uuid, $2, $3, $4, $5)`, id, line+1, item.Name, item.Quantity, item.UnitCents)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Order{}, err
	}
	return s.Order(ctx, tenant, id)
}

// CancelOrder cancels a placed order. ErrNotFound: there is none; ErrConflict: it is paid or already cancelled.
func (s *Store) CancelOrder(ctx context.Context, tenant, id string) (Order, error) {
	tag, err := s.pool.Exec(ctx, `UPDATE orders SET status = 'cancelled', updated_at = now()
		WHERE tenant_id = $1::uuid AND id = $2::uuid AND status = 'placed'`, tenant, id)
	if err != nil {
		return Order{}, err
	}
	o, err := s.Order(ctx, tenant, id)
	if err == nil && tag.RowsAffected() == 0 {
		return o, ErrConflict
	}
	return o, err
}
