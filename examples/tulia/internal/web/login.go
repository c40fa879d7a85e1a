package web

import (
	"net/http"
	"strconv"
	"time"

	"allclear.dev/allclear/examples/tulia/internal/store"
	"allclear.dev/allclear/examples/tulia/internal/token"
)

// How long tokens last.
const (
	accessLife  = 15 * time.Minute
	refreshLife = 24 * time.Hour
)

// limitWindow is the time that LOGIN_RATE_LIMIT counts in.
const limitWindow = time.Minute

// limited lets each address through LOGIN_RATE_LIMIT times a minute. The count is in Redis, so that all web
// processes share it; without Redis nobody logs in.
func (s *Server) limited(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return s.plain(func(w http.ResponseWriter, r *http.Request) error {
		window := s.Now().Truncate(limitWindow)
		key := "tulia:login:" + s.client(r) + ":" + strconv.FormatInt(window.Unix(), 10)
		pipe := s.Redis.TxPipeline()
		count := pipe.Incr(r.Context(), key)
		pipe.Expire(r.Context(), key, 2*limitWindow)
		if _, err := pipe.Exec(r.Context()); err != nil {
			s.Log.Error("redis unavailable", "error", err.Error(), "request_id", idOf(r))
			return unavailable("logins cannot be counted at the moment")
		}
		if count.Val() > int64(s.Config.LoginLimit) {
			left := window.Add(limitWindow).Sub(s.Now())
			w.Header().Set("Retry-After", strconv.Itoa(int(left.Seconds())+1))
			return no(http.StatusTooManyRequests, "RATE_LIMITED", "too many logins from your address")
		}
		return h(w, r)
	})
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	if err := decode(w, r, &in); err != nil {
		return err
	}
	u, err := s.checkPassword(r, in.Email, in.Password)
	if err != nil {
		return err
	}
	return s.replyTokens(w, u)
}

// checkPassword returns the user. A wrong address and a wrong password give the same answer.
func (s *Server) checkPassword(r *http.Request, email, password string) (store.User, error) {
	u, err := s.Store.UserByEmail(r.Context(), email)
	if err != nil && err != store.ErrNotFound {
		return store.User{}, err
	}
	if err != nil || !token.PasswordMatches(u.PasswordHash, password) {
		return store.User{}, no(http.StatusUnauthorized, "INVALID_CREDENTIALS", "address or password is wrong")
	}
	return u, nil
}

func (s *Server) refresh(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Token string `json:"refresh_token"`
	}
	if err := decode(w, r, &in); err != nil {
		return err
	}
	u, err := s.tokenUser(r, in.Token, token.Refresh)
	if err != nil {
		return err
	}
	return s.replyTokens(w, u)
}

func (s *Server) replyTokens(w http.ResponseWriter, u store.User) error {
	access, err := s.sign(u, token.Access, accessLife)
	if err != nil {
		return err
	}
	refresh, err := s.sign(u, token.Refresh, refreshLife)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{
		"access_token": access, "refresh_token": refresh, "token_type": "Bearer",
		"expires_in": int(accessLife.Seconds()),
	})
}

func (s *Server) sign(u store.User, use string, life time.Duration) (string, error) {
	now := s.Now()
	return token.Sign(s.Config.SecretKey, token.Claims{
		Subject: u.ID, Use: use, Issued: now.Unix(), Expires: now.Add(life).Unix(),
	})
}

func (s *Server) me(w http.ResponseWriter, r *http.Request, u store.User) error {
	memberships, err := s.Store.Memberships(r.Context(), u.ID)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"user": u, "memberships": memberships})
}
