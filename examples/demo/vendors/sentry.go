package vendors

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Slugs of the only project of the error tracker, and its number in DSNs.
const (
	sentryOrg     = "tulia"
	sentryProject = "api"
	sentryNumber  = "1"
)

// known is a release that the error tracker was told of.
type known struct {
	Version     string              `json:"version"`
	Released    *string             `json:"dateReleased"`
	CommitCount int                 `json:"commitCount"`
	LastEvent   *string             `json:"lastEvent"`
	Projects    []map[string]string `json:"projects"`
	deploys     []map[string]any
}

// sentry is Sentry's API (https://docs.sentry.io/api/) for one project. Its issues are the errors of the application's
// log, and its events the test events that it was sent.
func (s *Server) sentry() map[string]http.HandlerFunc {
	const project = "GET /sentry/api/0/projects/" + sentryOrg + "/{project}/"
	const releases = "/sentry/api/0/organizations/" + sentryOrg + "/releases/"
	return map[string]http.HandlerFunc{
		project: func(w http.ResponseWriter, r *http.Request) {
			if !slices.Contains([]string{sentryProject, sentryNumber}, r.PathValue("project")) {
				missing(w)
				return
			}
			reply(w, http.StatusOK, map[string]string{"id": sentryNumber, "slug": sentryProject})
		},
		project + "rules/": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, []map[string]string{{"id": "1", "name": "New errors to #deployments", "status": "active"}})
		},
		project + "events/{event}/": func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.events[r.PathValue("event")] {
				missing(w)
				return
			}
			reply(w, http.StatusOK, map[string]string{"eventID": r.PathValue("event"), "groupID": "1"})
		},
		"POST /sentry/api/" + sentryNumber + "/envelope/":           s.envelope,
		"GET /sentry/api/0/organizations/" + sentryOrg + "/issues/": s.errors,
		"POST " + releases:               s.tell,
		"GET " + releases + "{version}/": s.told(func(w http.ResponseWriter, _ *http.Request, k *known) { reply(w, http.StatusOK, k) }),
		"PUT " + releases + "{version}/": s.told(func(w http.ResponseWriter, _ *http.Request, k *known) { reply(w, http.StatusOK, k) }),
		"GET " + releases + "{version}/deploys/": s.told(func(w http.ResponseWriter, _ *http.Request, k *known) {
			reply(w, http.StatusOK, append([]map[string]any{}, k.deploys...))
		}),
		"POST " + releases + "{version}/deploys/": s.told(s.deploy),
	}
}

// envelope takes a test event: the first line tells its id
// (https://develop.sentry.dev/sdk/data-model/envelopes/).
func (s *Server) envelope(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	first, _, _ := bytes.Cut(text, []byte("\n"))
	var header struct {
		ID string `json:"event_id"`
	}
	if err != nil || json.Unmarshal(first, &header) != nil || header.ID == "" || !strings.Contains(r.Header.Get("X-Sentry-Auth"), "sentry_key="+s.Token) {
		reply(w, http.StatusForbidden, map[string]string{"detail": "bad envelope or key"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[header.ID] = true
	reply(w, http.StatusOK, map[string]string{"id": header.ID})
}

// group is an issue: all errors with the same message.
type group struct {
	ID        string    `json:"id"`
	ShortID   string    `json:"shortId"`
	Title     string    `json:"title"`
	Level     string    `json:"level"`
	Count     string    `json:"count"`
	Permalink string    `json:"permalink"`
	FirstSeen time.Time `json:"firstSeen"`
	LastSeen  time.Time `json:"lastSeen"`
	n         int
}

// errors lists the issues that were seen since start.
func (s *Server) errors(w http.ResponseWriter, r *http.Request) {
	groups, err := s.groups()
	if err != nil {
		reply(w, http.StatusInternalServerError, map[string]string{"detail": err.Error()})
		return
	}
	since, _ := time.Parse("2006-01-02T15:04:05", r.URL.Query().Get("start")) // without one: all
	found := slices.DeleteFunc(groups, func(g *group) bool { return g.LastSeen.Before(since) })
	reply(w, http.StatusOK, append([]*group{}, found...))
}

func (s *Server) groups() ([]*group, error) {
	file, err := os.Open(s.Log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var out []*group
	by := map[string]*group{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Time       time.Time
			Level, Msg string
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Level != "ERROR" {
			continue
		}
		g := by[line.Msg]
		if g == nil {
			id := strconv.Itoa(len(out) + 1)
			g = &group{ID: id, ShortID: "API-" + id, Title: line.Msg, Level: "error", Permalink: "http://localhost/issues/" + id, FirstSeen: line.Time.UTC()}
			by[line.Msg], out = g, append(out, g)
		}
		g.n++
		g.LastSeen, g.Count = line.Time.UTC(), strconv.Itoa(g.n)
	}
	return out, lines.Err()
}

func (s *Server) tell(w http.ResponseWriter, r *http.Request) {
	var c struct {
		Version  string
		Projects []string
		Refs     []struct{}
		Released *string `json:"dateReleased"`
	}
	if !read(w, r, &c) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.deployed[c.Version]
	if k == nil {
		k = &known{Version: c.Version, Released: c.Released}
		s.deployed[c.Version] = k
	}
	k.Projects, k.CommitCount = nil, len(c.Refs)
	for _, slug := range c.Projects {
		k.Projects = append(k.Projects, map[string]string{"slug": slug})
	}
	reply(w, http.StatusCreated, k)
}

// told looks for the release of an address, and holds the lock while it is worked on.
func (s *Server) told(do func(http.ResponseWriter, *http.Request, *known)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if k := s.deployed[r.PathValue("version")]; k != nil {
			do(w, r, k)
			return
		}
		missing(w)
	}
}

func (s *Server) deploy(w http.ResponseWriter, r *http.Request, k *known) {
	var d map[string]any
	if !read(w, r, &d) {
		return
	}
	d["id"] = strconv.Itoa(s.next())
	k.deploys = append(k.deploys, d)
	reply(w, http.StatusCreated, d)
}
