package vendors

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// release is one of GitHub's (https://docs.github.com/en/rest/releases/releases).
type release struct {
	ID         int     `json:"id"`
	Tag        string  `json:"tag_name"`
	Name       string  `json:"name"`
	Body       string  `json:"body"`
	Draft      bool    `json:"draft"`
	Prerelease bool    `json:"prerelease"`
	URL        string  `json:"html_url"`
	At         *string `json:"published_at"`
	assets     []asset
}

type asset struct {
	ID     int    `json:"id"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Size   int    `json:"size"`
	Digest string `json:"digest"`
}

// change is what a release is made with or changed to; what is left out stays.
type change struct {
	Name, Body        *string
	Draft, Prerelease *bool
}

func (s *Server) releaseRoutes() map[string]http.HandlerFunc {
	const repo = "/github/repos/{owner}/{name}/releases"
	return map[string]http.HandlerFunc{
		"GET " + repo: func(w http.ResponseWriter, _ *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			reply(w, http.StatusOK, append([]*release{}, s.releases...))
		},
		"POST " + repo:             s.draft,
		"GET " + repo + "/latest":  s.latest,
		"PATCH " + repo + "/{id}":  s.found(s.alter),
		"DELETE " + repo + "/{id}": s.found(s.drop),
		"GET " + repo + "/{id}/assets": s.found(func(w http.ResponseWriter, _ *http.Request, e *release) {
			reply(w, http.StatusOK, append([]asset{}, e.assets...))
		}),
		"POST " + repo + "/{id}/assets": s.found(s.upload),
	}
}

// found looks for the release of an address, and holds the lock while it is worked on.
func (s *Server) found(do func(http.ResponseWriter, *http.Request, *release)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.releases {
			if fmt.Sprint(e.ID) == r.PathValue("id") {
				do(w, r, e)
				return
			}
		}
		missing(w)
	}
}

func (s *Server) draft(w http.ResponseWriter, r *http.Request) {
	var c struct {
		Tag string `json:"tag_name"`
		change
	}
	if !read(w, r, &c) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &release{ID: s.next(), Tag: c.Tag}
	e.URL = s.page(r, "releases", e.ID)
	e.take(c.change)
	s.releases = append(s.releases, e)
	reply(w, http.StatusCreated, e)
}

func (s *Server) alter(w http.ResponseWriter, r *http.Request, e *release) {
	var c change
	if read(w, r, &c) {
		e.take(c)
		reply(w, http.StatusOK, e)
	}
}

func (e *release) take(c change) {
	if c.Name != nil {
		e.Name = *c.Name
	}
	if c.Body != nil {
		e.Body = *c.Body
	}
	if c.Prerelease != nil {
		e.Prerelease = *c.Prerelease
	}
	if c.Draft != nil {
		e.Draft = *c.Draft
	}
	if !e.Draft && e.At == nil {
		now := stamp(time.Now())
		e.At = &now
	}
}

func (s *Server) drop(w http.ResponseWriter, _ *http.Request, e *release) {
	s.releases = slices.DeleteFunc(s.releases, func(one *release) bool { return one == e })
	w.WriteHeader(http.StatusNoContent)
}

// latest is the one that was published last.
func (s *Server) latest(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Backward(s.releases) {
		if !e.Draft {
			reply(w, http.StatusOK, e)
			return
		}
	}
	missing(w)
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request, e *release) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
	if err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"message": "the file is cut"})
		return
	}
	sum := sha256.Sum256(content)
	a := asset{ID: s.next(), Name: r.URL.Query().Get("name"), State: "uploaded", Size: len(content), Digest: "sha256:" + hex.EncodeToString(sum[:])}
	e.assets = append(e.assets, a)
	reply(w, http.StatusCreated, a)
}
