package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// User is somebody who can log in.
type User struct {
	ID           string `json:"id"`
	Email        string `json:"email"`
	PasswordHash string `json:"-"`
	Superuser    bool   `json:"superuser"`
}

// Membership is a user's role in one tenant.
type Membership struct {
	TenantID string `json:"tenant_id"`
	Tenant   string `json:"tenant"`
	Role     string `json:"role"`
}

// Tenant is one customer of the application, whose data nobody else sees.
type Tenant struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Users     int       `json:"users"`
	CreatedAt time.Time `json:"created_at"`
}

// UserByEmail returns the user with that address, or ErrNotFound.
func (s *Store) UserByEmail(ctx context.Context, email string) (User, error) {
	return s.user(ctx, `email = lower($1)`, email)
}

// UserByID returns the user, or ErrNotFound.
func (s *Store) UserByID(ctx context.Context, id string) (User, error) {
	return s.user(ctx, `id = $1::uuid`, id)
}

func (s *Store) user(ctx context.Context, where, value string) (User, error) {
	var u User
	row := s.pool.QueryRow(ctx, `SELECT id::text, email, password_hash, superuser FROM users WHERE `+where, value)
	return u, one(row.Scan(&u.ID, &u.Email, &u.PasswordHash, &u.Superuser))
}

// Role returns the user's role in the tenant, or ErrNotFound for a stranger.
func (s *Store) Role(ctx context.Context, tenant, user string) (string, error) {
	var role string
	row := s.pool.QueryRow(ctx,
		`SELECT role FROM memberships WHERE tenant_id = $1::uuid AND user_id = $2::uuid`, tenant, user)
	return role, one(row.Scan(&role))
}

// Memberships returns the user's roles, by tenant name.
func (s *Store) Memberships(ctx context.Context, user string) ([]Membership, error) {
	rows, err := s.pool.Query(ctx, `SELECT t.id::text AS tenant_id, t.name AS tenant, m.role
		FROM memberships m JOIN tenants t ON t.id = m.tenant_id WHERE m.user_id = $1::uuid ORDER BY t.name`, user)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Membership])
}

// Tenants returns all tenants, by name.
func (s *Store) Tenants(ctx context.Context) ([]Tenant, error) {
	rows, err := s.pool.Query(ctx, `SELECT t.id::text, t.name, count(m.user_id)::int AS users, t.created_at
		FROM tenants t LEFT JOIN memberships m ON m.tenant_id = t.id GROUP BY t.id ORDER BY t.name`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Tenant])
}

// AddTenant adds a tenant unless it is there.
func (s *Store) AddTenant(ctx context.Context, id, name string) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO tenants (id, name) VALUES ($1::uuid, $2) ON CONFLICT DO NOTHING`, id, name)
	return err
}

// AddUser adds a user unless the address is taken.
func (s *Store) AddUser(ctx context.Context, u User) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO users (id, email, password_hash, superuser)
		VALUES ($1::uuid, $2, $3, $4) ON CONFLICT DO NOTHING`, u.ID, u.Email, u.PasswordHash, u.Superuser)
	return err
}

// AddMember gives the user a role in the tenant unless there is one.
func (s *Store) AddMember(ctx context.Context, tenant, user, role string) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO memberships (tenant_id, user_id, role)
		VALUES ($1::uuid, $2::uuid, $3) ON CONFLICT DO NOTHING`, tenant, user, role)
	return err
}
