package web

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/examples/tulia/internal/metric"
)

type idKey struct{}

// maxRequestID bounds an id that a client chose: it goes into every log line.
const maxRequestID = 64

// requestTimeout bounds the work on one request, waiting for a database connection included.
const requestTimeout = 10 * time.Second

// requestID gives every request an id, the client's own if it sent a printable one, and echoes it. It sets the
// request's time limit too: below observe the request may not be replaced.
func requestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-ID")
		unprintable := func(c rune) bool { return c <= ' ' || c > '~' }
		if id == "" || len(id) > maxRequestID || strings.ContainsFunc(id, unprintable) {
			id = rand.Text()
		}
		w.Header().Set("X-Request-ID", id)
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), idKey{}, id), requestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func idOf(r *http.Request) string {
	id, _ := r.Context().Value(idKey{}).(string)
	return id
}

// trailingSlash makes /v1/orders/ the same as /v1/orders, without a redirect that would lose the body.
func trailingSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			r.URL.Path = strings.TrimSuffix(r.URL.Path, "/")
			r.URL.RawPath = ""
		}
		next.ServeHTTP(w, r)
	})
}

// status remembers what was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	if s.code == 0 {
		s.code = code
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Write(b []byte) (int, error) {
	if s.code == 0 {
		s.code = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// observe counts and logs every request. Below it nobody may replace the request: the mux writes the matched
// pattern into it.
func (s *Server) observe(requests *metric.Requests, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		requests.Begin()
		seen := &status{ResponseWriter: w}
		next.ServeHTTP(seen, r)
		if seen.code == 0 {
			seen.code = http.StatusOK
		}
		took := time.Since(start)
		_, route, _ := strings.Cut(r.Pattern, " ")
		if route == "" {
			route = "unmatched"
		}
		requests.Done(route, r.Method, seen.code, took)
		s.Log.Info("request", "method", r.Method, "path", r.URL.Path, "status", seen.code,
			"ms", float64(took.Microseconds())/1000, "client", s.client(r), "request_id", idOf(r))
	})
}

// recovered answers 500 where a handler panicked.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				s.Log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
				s.fail(w, r, no(http.StatusInternalServerError, "INTERNAL", "something went wrong"))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// headers go on every answer. The version shows which of two running releases answered.
func (s *Server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Tulia-Version", s.Version)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// allowedHost answers 400 to a Host that is not ours. ".example.com" allows every host under it.
func (s *Server) allowedHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.ToLower(host)
		ours := slices.ContainsFunc(s.Config.AllowedHosts, func(allowed string) bool {
			return allowed == "*" || allowed == host || allowed[0] == '.' && strings.HasSuffix(host, allowed)
		})
		if !ours {
			s.fail(w, r, no(http.StatusBadRequest, "INVALID_HOST", "this host is not served here"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// cors answers preflight requests and marks answers for the configured origins; others get no mark, and browsers
// then refuse them.
func (s *Server) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		w.Header().Add("Vary", "Origin")
		allowed := origin != "" && (slices.Contains(s.Config.CORSOrigins, origin) || slices.Contains(s.Config.CORSOrigins, "*"))
		if allowed {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Expose-Headers", "X-Request-ID")
		}
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, r)
			return
		}
		if !allowed {
			s.fail(w, r, forbidden("this origin is not allowed"))
			return
		}
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Tenant-ID, X-Request-ID")
		w.Header().Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	})
}

// client returns the address that a request came from, past the proxies that we trust.
func (s *Server) client(r *http.Request) string {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if slices.Contains(s.Config.Proxies, peer) {
		// The last entry is the one that the trusted proxy itself wrote; those before it are the client's claim.
		forwarded := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
		if last := strings.TrimSpace(forwarded[len(forwarded)-1]); net.ParseIP(last) != nil {
			return last
		}
	}
	return peer
}
