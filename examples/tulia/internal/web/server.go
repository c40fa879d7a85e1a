// Package web answers HTTP requests.
package web

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"allclear.dev/allclear/examples/tulia/internal/config"
	"allclear.dev/allclear/examples/tulia/internal/metric"
	"allclear.dev/allclear/examples/tulia/internal/store"
	"allclear.dev/allclear/examples/tulia/internal/work"
	"allclear.dev/allclear/examples/tulia/static"
)

// Server is the web process. All fields are required.
type Server struct {
	Config   config.Config
	Store    *store.Store
	Redis    redis.UniversalClient
	Queue    *work.Queue
	Log      *slog.Logger
	Version  string
	Revision string
	Schema   int64 // the lowest schema version that this build can run on
	Now      func() time.Time
}

// Handler returns the whole application.
func (s *Server) Handler() (http.Handler, error) {
	mux := http.NewServeMux()
	requests := metric.NewRequests()
	mux.HandleFunc("GET /metrics", s.metrics(requests))
	mux.HandleFunc("GET /v1/health", s.health)
	mux.HandleFunc("GET /v1/health/live", s.live)
	s.accountRoutes(mux)
	s.businessRoutes(mux)
	s.adminRoutes(mux)
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static.Files)))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, notFound()) })

	broken, err := s.faults(mux)
	if err != nil {
		return nil, err
	}
	// From the inside out.
	var h http.Handler = s.cors(broken)
	h = s.headers(s.allowedHost(h))
	h = s.observe(requests, s.recovered(h))
	return requestID(trailingSlash(h)), nil
}

// accountRoutes are about who somebody is.
func (s *Server) accountRoutes(mux router) {
	mux.HandleFunc("POST /v1/auth/login", s.limited(s.login))
	mux.HandleFunc("POST /v1/auth/refresh", s.plain(s.refresh))
	mux.HandleFunc("GET /v1/auth/me", s.user(s.me))
}

// businessRoutes are what a tenant's people do; each names the scope that it takes.
func (s *Server) businessRoutes(mux router) {
	mux.HandleFunc("GET /v1/customers", s.member("customers:read", s.customers))
	mux.HandleFunc("GET /v1/orders", s.member("orders:read", s.orders))
	mux.HandleFunc("POST /v1/orders", s.member("orders:write", s.placeOrder))
	mux.HandleFunc("GET /v1/orders/{id}", s.member("orders:read", s.order))
	mux.HandleFunc("POST /v1/orders/{id}/cancel", s.member("orders:write", s.cancelOrder))
	mux.HandleFunc("GET /v1/services", s.member("appointments:read", s.services))
	mux.HandleFunc("GET /v1/services/availability", s.member("appointments:read", s.availability))
	mux.HandleFunc("POST /v1/services/appointments", s.member("appointments:write", s.book))
	mux.HandleFunc("GET /v1/services/appointments/{id}", s.member("appointments:read", s.appointment))
	mux.HandleFunc("POST /v1/services/appointments/{id}/cancel", s.member("appointments:write", s.cancelAppointment))
	mux.HandleFunc("POST /v1/messages/send", s.member("messages:send", s.sendMessage))
	mux.HandleFunc("GET /v1/messages/{id}", s.member("messages:read", s.message))
	mux.HandleFunc("GET /v1/analytics/overview", s.member("analytics:view", s.overview))
	mux.HandleFunc("GET /v1/analytics/daily", s.member("analytics:view", s.daily))
	mux.HandleFunc("GET /v1/analytics/messaging", s.member("analytics:view", s.messaging))
	mux.HandleFunc("GET /v1/analytics/funnel", s.member("analytics:view", s.funnel))
	mux.HandleFunc("POST /v1/withdrawals", s.member("withdrawals:initiate", s.initiateWithdrawal))
	mux.HandleFunc("POST /v1/withdrawals/{id}/approve", s.member("withdrawals:approve", s.approveWithdrawal))
	mux.HandleFunc("POST /v1/webhooks/payments", s.plain(s.paymentWebhook))
	mux.HandleFunc("GET /v1/webhooks/events/{id}", s.member("orders:read", s.webhookEvent))
}

// adminRoutes are for superusers.
func (s *Server) adminRoutes(mux router) {
	mux.HandleFunc("GET /v1/admin/tenants", s.user(s.adminTenants))
	mux.HandleFunc("GET /admin/login/{$}", s.adminLoginPage)
	mux.HandleFunc("POST /admin/login/{$}", s.limited(s.adminLogin))
	mux.HandleFunc("GET /admin/{$}", s.plain(s.adminHome))
}
