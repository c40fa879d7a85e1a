package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Message is a text to a customer: queued until the worker has handed it to the provider.
type Message struct {
	ID          string     `json:"id"`
	CustomerID  string     `json:"customer_id"`
	Status      string     `json:"status"`
	ProviderSID *string    `json:"provider_sid"`
	CreatedAt   time.Time  `json:"created_at"`
	DeliveredAt *time.Time `json:"delivered_at"`
}

// QueueMessage stores a message that is to be sent. ErrForeign: the customer is not one of the tenant's.
func (s *Store) QueueMessage(ctx context.Context, tenant, customer, body string) (Message, error) {
	id := uuid.NewString()
	tag, err := s.pool.Exec(ctx, `INSERT INTO messages (id, tenant_id, customer_id, body)
		SELECT $1::uuid, tenant_id, id, $4 FROM customers WHERE tenant_id = $2::uuid AND id = $3::uuid`,
		id, tenant, customer, body)
	if err != nil {
		return Message{}, one(err)
	}
	if tag.RowsAffected() == 0 {
		return Message{}, ErrForeign
	}
	return s.Message(ctx, tenant, id)
}

// Message returns one message, or ErrNotFound.
func (s *Store) Message(ctx context.Context, tenant, id string) (Message, error) {
	var m Message
	row := s.pool.QueryRow(ctx, `SELECT id::text, customer_id::text, status, provider_sid, created_at, delivered_at
		FROM messages WHERE tenant_id = $1::uuid AND id = $2::uuid`, tenant, id)
	return m, one(row.Scan(&m.ID, &m.CustomerID, &m.Status, &m.ProviderSID, &m.CreatedAt, &m.DeliveredAt))
}

// Recipient returns the sealed phone number that a queued message goes to. ErrNotFound: it is not queued any more.
func (s *Store) Recipient(ctx context.Context, message string) ([]byte, error) {
	var sealed []byte
	row := s.pool.QueryRow(ctx, `SELECT c.phone_sealed FROM messages m JOIN customers c ON c.id = m.customer_id
		WHERE m.id = $1::uuid AND m.status = 'queued'`, message)
	return sealed, one(row.Scan(&sealed))
}

// MarkDelivered records the provider's receipt. ErrNotFound: somebody else did.
func (s *Store) MarkDelivered(ctx context.Context, message, sid string) error {
	return affected(s.pool.Exec(ctx, `UPDATE messages SET status = 'delivered', provider_sid = $2, delivered_at = now()
		WHERE id = $1::uuid AND status = 'queued'`, message, sid))
}

// Overdue returns up to limit messages that have been queued for longer than age: their job was lost.
func (s *Store) Overdue(ctx context.Context, age time.Duration, limit int) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT id::text FROM messages
		WHERE status = 'queued' AND created_at < now() - make_interval(secs => $1) ORDER BY created_at LIMIT $2`,
		age.Seconds(), limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
