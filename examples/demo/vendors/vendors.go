// Package vendors is a stand-in for the services that the demo's checklist asks and that cannot run on one machine: a
// forge, an error tracker, a chat, a CDN, and those who watch the application and wake people. It speaks as much of their protocols as the demo needs and keeps everything in
// memory. What it says of commits and errors is true: it reads the demo's repository and the application's log.
package vendors

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options are what the stand-in serves from.
type Options struct {
	Token  string // the only token that it accepts
	Repo   string // bare repository behind the forge
	Name   string // owner/name of that repository
	Log    string // the application's log, whose errors the error tracker shows
	Static string // folder that the CDN serves
	// Watched is the address that is watched from outside, Prometheus and Dashboard what the dashboard shows.
	Watched, Prometheus, Dashboard string
	// Author and Reviewers are accounts of the forge; the reviewers are on call too.
	Author    string
	Reviewers []string
}

// Server is all of them behind one address.
type Server struct {
	Options
	mux *http.ServeMux

	mu       sync.Mutex
	number   int // of the newest release, issue or deploy
	releases []*release
	issues   []*issue
	deployed map[string]*known
	events   map[string]bool
	messages []Message
	cached   map[string]bool
}

// New makes the stand-in.
func New(o Options) *Server {
	s := &Server{
		Options: o, mux: http.NewServeMux(), deployed: map[string]*known{}, events: map[string]bool{}, cached: map[string]bool{},
	}
	for _, routes := range []map[string]http.HandlerFunc{s.forge(), s.releaseRoutes(), s.issueRoutes(), s.sentry(), s.chat(), s.cdn(), s.watch(), s.grafana()} {
		for pattern, handler := range routes {
			s.mux.HandleFunc(pattern, handler)
		}
	}
	return s
}

// ServeHTTP lets in who has the token. The CDN and what applications report to need none.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	open := strings.HasPrefix(r.URL.Path, "/cdn/") || r.URL.Path == "/alerts" || r.URL.Path == "/channel" || strings.HasSuffix(r.URL.Path, "/envelope/")
	_, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given = strings.TrimPrefix(given, "token=") // PagerDuty's way
	if _, password, basic := r.BasicAuth(); basic {
		given = password
	}
	if !open && given != s.Token {
		reply(w, http.StatusUnauthorized, map[string]string{"message": "Bad credentials"})
		return
	}
	s.mux.ServeHTTP(w, r)
}

// next gives a new number. The caller holds the lock.
func (s *Server) next() int {
	s.number++
	return s.number
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // who asked is gone, or reads it
}

func missing(w http.ResponseWriter) {
	reply(w, http.StatusNotFound, map[string]string{"message": "Not Found"})
}

// read takes a request's JSON, or answers that it is none.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into)
	if err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"message": "Problems parsing JSON"})
	}
	return err == nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
