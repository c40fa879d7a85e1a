// Package seed fills an empty database with made-up tenants, so that there is something to look at and to test.
package seed

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"allclear.dev/allclear/examples/tulia/internal/seal"
	"allclear.dev/allclear/examples/tulia/internal/store"
	"allclear.dev/allclear/examples/tulia/internal/token"
)

// Superuser is the address of the one user who sees all tenants.
const Superuser = "root@tulia.example"

// Result says what was made. Ids depend on names only, so that seeding again makes nothing new.
type Result struct {
	Superuser string   `json:"superuser"`
	Tenants   []Tenant `json:"tenants"`
}

// Tenant is one tenant with a user per role.
type Tenant struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Users     map[string]string `json:"users"` // address by role
	Customers []string          `json:"customers"`
	Service   string            `json:"service"`
}

func names() []string { return []string{"acme", "globex", "smoke"} }
func roles() []string { return []string{"admin", "manager", "analyst", "agent"} }

func id(kind, name string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://tulia.example/"+kind+"/"+name)).String()
}

// Run makes the tenants acme, globex and smoke, with customers, a service and orders orders each. All users get
// password. It may run again.
func Run(ctx context.Context, db *store.Store, box *seal.Box, password string, orders int, now time.Time) (Result, error) {
	result := Result{Superuser: Superuser}
	users := []store.User{{Email: Superuser, Superuser: true}}
	for _, name := range names() {
		t := Tenant{ID: id("tenant", name), Name: name, Users: map[string]string{}, Service: id("service", name)}
		for _, role := range roles() {
			email := role + "@" + name + ".example"
			t.Users[role] = email
			users = append(users, store.User{Email: email})
		}
		result.Tenants = append(result.Tenants, t)
	}
	if err := addUsers(ctx, db, users, password); err != nil {
		return Result{}, err
	}
	for i := range result.Tenants {
		if err := fill(ctx, db, box, &result.Tenants[i], orders, now); err != nil {
			return Result{}, fmt.Errorf("seed tenant %s: %w", result.Tenants[i].Name, err)
		}
	}
	return result, nil
}

// addUsers hashes the password once for all users: it is the same one, and hashing is slow on purpose.
func addUsers(ctx context.Context, db *store.Store, users []store.User, password string) error {
	hash, err := token.HashPassword(password)
	if err != nil {
		return err
	}
	for _, u := range users {
		u.ID, u.PasswordHash = id("user", u.Email), hash
		if err := db.AddUser(ctx, u); err != nil {
			return fmt.Errorf("add user: %w", err)
		}
	}
	return nil
}

func fill(ctx context.Context, db *store.Store, box *seal.Box, t *Tenant, orders int, now time.Time) error {
	if err := db.AddTenant(ctx, t.ID, t.Name); err != nil {
		return err
	}
	for role, email := range t.Users {
		if err := db.AddMember(ctx, t.ID, id("user", email), role); err != nil {
			return err
		}
	}
	for n, person := range []string{"Amina", "Boris", "Chidi", "Dana", "Emeka"} {
		c := store.Customer{ID: id("customer", t.Name+"/"+person), Name: person}
		if err := db.AddCustomer(ctx, t.ID, c, box.Seal(fmt.Sprintf("+1555010%d", n))); err != nil {
			return err
		}
		t.Customers = append(t.Customers, c.ID)
	}
	haircut := store.Service{ID: t.Service, Name: "Haircut", Minutes: 30, PriceCents: 2500}
	if err := db.AddService(ctx, t.ID, haircut); err != nil {
		return err
	}
	return db.AddHistory(ctx, t.ID, id("user", t.Users["agent"]), orders, now)
}
