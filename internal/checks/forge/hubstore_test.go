package forge_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	"allclear.dev/allclear/internal/rest/resttest"
)

// hubStore is what GitHub keeps of releases.
type hubStore struct {
	*world
	mu       sync.Mutex
	releases []map[string]any
	assets   []map[string]any
	latest   string
	// lose leaves changes without an answer.
	lose bool
	// sends counts changes.
	sends int
	// digests tells that the server tells the SHA-256 of files.
	digests bool
}

func newHubStore(t *testing.T) *hubStore {
	s := &hubStore{digests: true}
	releases := "/repos/example/shop/releases"
	change := []string{"tag_name", "target_commitish", "name", "body", "draft", "prerelease", "make_latest"}
	page := hubDocs + "releases/releases"
	s.world = newWorld(t, "github", []resttest.Route{
		{Method: "GET", Path: "/repos/example/shop", Docs: hubDocs + "repos/repos#get-a-repository"},
		{Method: "GET", Path: "/repos/example/shop/commits/tags/{tag}", Docs: hubDocs + "commits/commits#get-a-commit", Query: []string{"per_page"}},
		{Method: "GET", Path: releases, Docs: page + "#list-releases", Query: []string{"per_page", "page"}, Answer: s.list},
		{Method: "GET", Path: releases + "/latest", Docs: page + "#get-the-latest-release", Answer: s.newest},
		{Method: "POST", Path: releases, Docs: page + "#create-a-release", Body: change, Needs: []string{"tag_name", "body"}, Answer: s.create},
		{Method: "PATCH", Path: releases + "/{id}", Docs: page + "#update-a-release", Body: change, Answer: s.patch},
		{Method: "DELETE", Path: releases + "/{id}", Docs: page + "#delete-a-release", Answer: s.remove},
		{Method: "GET", Path: releases + "/{id}/assets", Docs: hubDocs + "releases/assets#list-release-assets", Query: []string{"per_page", "page"}, Answer: s.files},
		{Method: "POST", Path: "/api/uploads" + releases + "/{id}/assets", Docs: hubDocs + "releases/assets#upload-a-release-asset", Query: []string{"name", "label"}, Needs: []string{"name"}, Lines: true, Answer: s.upload},
		{Method: "DELETE", Path: releases + "/assets/{id}", Docs: hubDocs + "releases/assets#delete-a-release-asset", Answer: s.removeFile},
	})
	s.set("/repos/example/shop", `{"full_name":"example/shop","permissions":{"push":true}}`)
	s.set("/repos/example/shop/commits/tags/v1.3.0", `{"sha":"`+shaC+`"}`)
	return s
}

func (s *hubStore) reply(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		s.t.Error(err)
	}
	if s.lose && status != http.StatusOK || s.lose && s.sends > 0 {
		s.lose = false
		w.Header().Set("Content-Length", "99")
		return
	}
	resttest.JSON(status, string(text))(w, nil)
}

func (s *hubStore) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.releases == nil {
		s.releases = []map[string]any{}
	}
	s.reply(w, 200, s.releases)
}

func (s *hubStore) newest(w http.ResponseWriter, _ *http.Request) {
	if s.latest == "" {
		resttest.JSON(404, `{"message":"Not Found"}`)(w, nil)
		return
	}
	s.reply(w, 200, map[string]any{"id": 1, "tag_name": s.latest})
}

func (s *hubStore) create(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends++
	release := map[string]any{"id": len(s.releases) + 1, "html_url": "https://github.example.com/r", "published_at": nil, "prerelease": false}
	if err := json.NewDecoder(r.Body).Decode(&release); err != nil {
		s.t.Error(err)
	}
	s.releases = append(s.releases, release)
	s.reply(w, 201, release)
}

func (s *hubStore) patch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends++
	release := s.releases[0]
	if err := json.NewDecoder(r.Body).Decode(&release); err != nil {
		s.t.Error(err)
	}
	if release["draft"] == false {
		release["published_at"] = "2026-02-01T12:00:00Z"
	}
	if release["make_latest"] == "true" {
		s.latest = release["tag_name"].(string)
	}
	s.reply(w, 200, release)
}

func (s *hubStore) remove(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends++
	s.releases = nil
	w.WriteHeader(http.StatusNoContent)
}

func (s *hubStore) files(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.assets == nil {
		s.assets = []map[string]any{}
	}
	s.reply(w, 200, s.assets)
}

func (s *hubStore) upload(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends++
	content, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "application/octet-stream" {
		s.t.Errorf("%v, %s", err, r.Header.Get("Content-Type"))
	}
	a := map[string]any{"id": 5, "name": r.URL.Query().Get("name"), "state": "uploaded", "size": len(content)}
	if s.digests {
		sum := sha256.Sum256(content)
		a["digest"] = "sha256:" + hex.EncodeToString(sum[:])
	}
	s.assets = append(s.assets, a)
	s.reply(w, 201, a)
}

func (s *hubStore) removeFile(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.assets = nil
	w.WriteHeader(http.StatusNoContent)
}
