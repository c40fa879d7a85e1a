package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"allclear.dev/allclear/examples/tulia/internal/store"
	"allclear.dev/allclear/examples/tulia/internal/token"
)

// actor is who asks, and in which tenant.
type actor struct {
	store.User
	Tenant string
	Role   string
}

// scopes returns what a role may do.
func scopes(role string) []string {
	read := []string{"customers:read", "orders:read", "appointments:read", "messages:read"}
	write := []string{"orders:write", "appointments:write", "messages:send"}
	switch role {
	case "analyst":
		return append(read, "analytics:view")
	case "agent":
		return append(read, write...)
	case "manager", "admin":
		return append(append(read, write...), "analytics:view", "withdrawals:initiate", "withdrawals:approve")
	}
	return nil
}

// authenticate returns the user of the bearer token.
func (s *Server) authenticate(r *http.Request) (store.User, error) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return store.User{}, unauthenticated("log in first")
	}
	return s.tokenUser(r, bearer, token.Access)
}

// tokenUser returns the user of a token for use.
func (s *Server) tokenUser(r *http.Request, text, use string) (store.User, error) {
	claims, err := token.Parse(s.Config.SecretKey, text, use, s.Now())
	if err != nil {
		return store.User{}, unauthenticated("the token is invalid or has expired")
	}
	u, err := s.Store.UserByID(r.Context(), claims.Subject)
	if err == store.ErrNotFound {
		return store.User{}, unauthenticated("the user is gone")
	}
	return u, err
}

// user wraps a handler that needs a login and no tenant.
func (s *Server) user(h func(http.ResponseWriter, *http.Request, store.User) error) http.HandlerFunc {
	return s.plain(func(w http.ResponseWriter, r *http.Request) error {
		u, err := s.authenticate(r)
		if err != nil {
			return err
		}
		return h(w, r, u)
	})
}

// member wraps a handler that acts in a tenant and needs scope there.
func (s *Server) member(scope string, h func(http.ResponseWriter, *http.Request, actor) error) http.HandlerFunc {
	return s.user(func(w http.ResponseWriter, r *http.Request, u store.User) error {
		id := r.Header.Get("X-Tenant-ID")
		if id == "" {
			return no(http.StatusUnauthorized, "MISSING_TENANT_ID", "the header X-Tenant-ID is missing")
		}
		tenant, err := uuid.Parse(id)
		if err != nil {
			return no(http.StatusBadRequest, "INVALID_TENANT_ID", "the header X-Tenant-ID is not an id")
		}
		role, err := s.Store.Role(r.Context(), tenant.String(), u.ID)
		if err == store.ErrNotFound {
			return forbidden("you do not belong to this tenant")
		}
		if err != nil {
			return err
		}
		if !slices.Contains(scopes(role), scope) {
			return forbidden("your role lacks " + scope)
		}
		return h(w, r, actor{User: u, Tenant: tenant.String(), Role: role})
	})
}
