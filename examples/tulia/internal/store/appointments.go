package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Service is something that can be booked.
type Service struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Minutes    int    `json:"minutes"`
	PriceCents int64  `json:"price_cents"`
}

// Appointment is a booked service. ReminderAt is when the customer is reminded; only v3 knows it.
type Appointment struct {
	ID         string     `json:"id"`
	ServiceID  string     `json:"service_id"`
	CustomerID string     `json:"customer_id"`
	StartsAt   time.Time  `json:"starts_at"`
	EndsAt     time.Time  `json:"ends_at"`
	Status     string     `json:"status"`
	ReminderAt *time.Time `json:"reminder_at,omitempty"`
}

const appointmentColumns = `id::text, service_id::text, customer_id::text, starts_at, ends_at, status, ` + reminderColumn

// Opening hours, in UTC.
const (
	opens  = 9 * time.Hour
	closes = 17 * time.Hour
)

// Services returns what the tenant offers, by name.
func (s *Store) Services(ctx context.Context, tenant string) ([]Service, error) {
	rows, err := s.pool.Query(ctx, `SELECT id::text, name, minutes, price_cents FROM services
		WHERE tenant_id = $1::uuid ORDER BY name`, tenant)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Service])
}

func (s *Store) service(ctx context.Context, tenant, id string) (Service, error) {
	var v Service
	row := s.pool.QueryRow(ctx, `SELECT id::text, name, minutes, price_cents FROM services
		WHERE tenant_id = $1::uuid AND id = $2::uuid`, tenant, id)
	return v, one(row.Scan(&v.ID, &v.Name, &v.Minutes, &v.PriceCents))
}

// Slots returns the free starting times of a service on the day (UTC) of day, or ErrNotFound.
func (s *Store) Slots(ctx context.Context, tenant, service string, day time.Time) ([]time.Time, error) {
	offered, err := s.service(ctx, tenant, service)
	if err != nil {
		return nil, err
	}
	midnight := day.UTC().Truncate(24 * time.Hour)
	rows, err := s.pool.Query(ctx, `SELECT starts_at FROM appointments WHERE service_id = $1::uuid
		AND status = 'booked' AND starts_at >= $2 AND starts_at < $3`, service, midnight, midnight.Add(24*time.Hour))
	if err != nil {
		return nil, err
	}
	taken := map[int64]bool{}
	booked, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, err
	}
	for _, at := range booked {
		taken[at.Unix()] = true
	}
	length := time.Duration(offered.Minutes) * time.Minute
	free := []time.Time{}
	for at := midnight.Add(opens); !at.Add(length).After(midnight.Add(closes)); at = at.Add(length) {
		if !taken[at.Unix()] {
			free = append(free, at)
		}
	}
	return free, nil
}

// IsSlot tells whether a service of that length may start at that time.
func (v Service) IsSlot(at time.Time) bool {
	since := at.Sub(at.UTC().Truncate(24 * time.Hour))
	length := time.Duration(v.Minutes) * time.Minute
	return since >= opens && since+length <= closes && (since-opens)%length == 0
}

// Book takes a slot. ErrNotFound: no such service, or not a slot of it; ErrConflict: the slot is taken;
// ErrForeign: the customer is not one of the tenant's.
func (s *Store) Book(ctx context.Context, tenant, service, customer string, at time.Time) (Appointment, error) {
	offered, err := s.service(ctx, tenant, service)
	if err != nil {
		return Appointment{}, err
	}
	if !offered.IsSlot(at) {
		return Appointment{}, ErrNotFound
	}
	id := uuid.NewString()
	end := at.Add(time.Duration(offered.Minutes) * time.Minute)
	tag, err := insertAppointment(ctx, s.pool, id, tenant, service, customer, at, end)
	if err != nil {
		return Appointment{}, one(err)
	}
	if tag.RowsAffected() == 0 {
		return Appointment{}, ErrForeign
	}
	return s.Appointment(ctx, tenant, id)
}

// Appointment returns one appointment, or ErrNotFound.
func (s *Store) Appointment(ctx context.Context, tenant, id string) (Appointment, error) {
	var a Appointment
	row := s.pool.QueryRow(ctx, `SELECT `+appointmentColumns+` FROM appointments
		WHERE tenant_id = $1::uuid AND id = $2::uuid`, tenant, id)
	return a, one(row.Scan(&a.ID, &a.ServiceID, &a.CustomerID, &a.StartsAt, &a.EndsAt, &a.Status, &a.ReminderAt))
}

// CancelAppointment frees the slot; cancelling twice changes nothing. ErrNotFound: there is none.
func (s *Store) CancelAppointment(ctx context.Context, tenant, id string) (Appointment, error) {
	err := affected(s.pool.Exec(ctx, `UPDATE appointments SET status = 'cancelled'
		WHERE tenant_id = $1::uuid AND id = $2::uuid`, tenant, id))
	if err != nil {
		return Appointment{}, err
	}
	return s.Appointment(ctx, tenant, id)
}
