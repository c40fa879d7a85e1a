package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Withdrawal is money that a tenant takes out. Two people have to agree to it.
type Withdrawal struct {
	ID          string  `json:"id"`
	AmountCents int64   `json:"amount_cents"`
	Status      string  `json:"status"`
	InitiatedBy string  `json:"initiated_by"`
	ApprovedBy  *string `json:"approved_by"`
}

// Event is a payment provider's webhook. Received counts how often it came; its effect happened once.
type Event struct {
	ID        string    `json:"event_id"`
	Type      string    `json:"type"`
	OrderID   string    `json:"order_id"`
	Received  int       `json:"received"`
	CreatedAt time.Time `json:"created_at"`
}

// InitiateWithdrawal stores a withdrawal that waits for a second person.
func (s *Store) InitiateWithdrawal(ctx context.Context, tenant, user string, cents int64) (Withdrawal, error) {
	id := uuid.NewString()
	_, err := s.pool.Exec(ctx, `INSERT INTO withdrawals (id, tenant_id, amount_cents, initiated_by)
		VALUES ($1::uuid, $2::uuid, $3, $4::uuid)`, id, tenant, cents, user)
	if err != nil {
		return Withdrawal{}, one(err)
	}
	return s.Withdrawal(ctx, tenant, id)
}

// Withdrawal returns one withdrawal, or ErrNotFound.
func (s *Store) Withdrawal(ctx context.Context, tenant, id string) (Withdrawal, error) {
	var w Withdrawal
	row := s.pool.QueryRow(ctx, `SELECT id::text, amount_cents, status, initiated_by::text, approved_by::text
		FROM withdrawals WHERE tenant_id = $1::uuid AND id = $2::uuid`, tenant, id)
	return w, one(row.Scan(&w.ID, &w.AmountCents, &w.Status, &w.InitiatedBy, &w.ApprovedBy))
}

// ApproveWithdrawal approves it as user. ErrNotFound: there is none; ErrConflict: user initiated it, or it is
// approved already.
func (s *Store) ApproveWithdrawal(ctx context.Context, tenant, id, user string) (Withdrawal, error) {
	tag, err := s.pool.Exec(ctx, `UPDATE withdrawals SET status = 'approved', approved_by = $3::uuid
		WHERE tenant_id = $1::uuid AND id = $2::uuid AND status = 'pending' AND initiated_by <> $3::uuid`,
		tenant, id, user)
	if err != nil {
		return Withdrawal{}, err
	}
	w, err := s.Withdrawal(ctx, tenant, id)
	if err == nil && tag.RowsAffected() == 0 {
		return w, ErrConflict
	}
	return w, err
}

// RecordPayment stores a webhook and marks its order paid, both or neither. first is false for a replay, which
// only counts. ErrConflict: the tenant has no such order, or it was cancelled.
func (s *Store) RecordPayment(ctx context.Context, tenant string, e Event) (first bool, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var received int
		err := tx.QueryRow(ctx, `INSERT INTO webhook_events (tenant_id, event_id, type, order_id)
			SELECT tenant_id, $2, $3, id FROM orders WHERE tenant_id = $1::uuid AND id = $4::uuid
			ON CONFLICT (tenant_id, event_id) DO UPDATE SET received = webhook_events.received + 1
			RETURNING received`, tenant, e.ID, e.Type, e.OrderID).Scan(&received)
		if one(err) == ErrNotFound {
			return ErrConflict
		}
		if err != nil || received > 1 {
			return one(err)
		}
		first = true
		tag, err := tx.Exec(ctx, `UPDATE orders SET status = 'paid', updated_at = now()
			WHERE id = $1::uuid AND status IN ('placed', 'paid')`, e.OrderID)
		if err == nil && tag.RowsAffected() == 0 {
			return ErrConflict
		}
		return err
	})
	return first && err == nil, err
}

// Event returns one webhook, or ErrNotFound.
func (s *Store) Event(ctx context.Context, tenant, id string) (Event, error) {
	var e Event
	row := s.pool.QueryRow(ctx, `SELECT event_id, type, order_id::text, received, created_at FROM webhook_events
		WHERE tenant_id = $1::uuid AND event_id = $2`, tenant, id)
	return e, one(row.Scan(&e.ID, &e.Type, &e.OrderID, &e.Received, &e.CreatedAt))
}
