package forge_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest/resttest"
)

// labStore is what GitLab keeps of one release.
type labStore struct {
	*world
	mu    sync.Mutex
	sends int
}

const labRelease = labRepo + "/releases/v1.3.0"

func newLabStore(t *testing.T) *labStore {
	s := &labStore{}
	s.world = newWorld(t, "gitlab", []resttest.Route{
		{Method: "GET", Path: labRepo, Docs: labDocs + "projects/#retrieve-a-project"},
		{Method: "GET", Path: labRepo + "/repository/tags/{tag}", Docs: labDocs + "tags/#retrieve-a-tag"},
		{Method: "GET", Path: labRelease, Docs: labDocs + "releases/#get-a-release-by-a-tag-name"},
		{Method: "GET", Path: labRepo + "/releases", Docs: labDocs + "releases/#list-releases", Query: []string{"order_by", "sort", "per_page"}},
		{
			Method: "POST", Path: labRepo + "/releases", Docs: labDocs + "releases/#create-a-release",
			Body:  []string{"name", "tag_name", "tag_message", "description", "ref", "milestones", "assets", "released_at"},
			Needs: []string{"tag_name"}, Answer: s.create,
		},
		{
			Method: "POST", Path: labRelease + "/assets/links", Docs: labDocs + "releases/links/#create-a-release-link",
			Body: []string{"name", "url", "direct_asset_path", "link_type"}, Needs: []string{"name", "url"}, Answer: s.link,
		},
	})
	s.set(labRepo, `{"path_with_namespace":"group/sub/shop","permissions":{"project_access":null,"group_access":{"access_level":30}}}`)
	s.set(labRepo+"/repository/tags/v1.3.0", `{"name":"v1.3.0","commit":{"id":"`+shaC+`"}}`)
	s.set(labRepo+"/releases", `[{"tag_name":"v1.3.0"}]`)
	return s
}

func (s *labStore) create(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.sends++
	s.mu.Unlock()
	release := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&release); err != nil || release["ref"] != nil {
		s.t.Errorf("%v, %v", release, err)
	}
	if release["assets"] == nil {
		release["assets"] = map[string]any{"links": []any{}}
	}
	release["released_at"], release["_links"] = "2026-02-01T12:00:00Z", map[string]any{"self": "https://gitlab.example.com/r"}
	text, err := json.Marshal(release)
	if err != nil {
		s.t.Error(err)
	}
	s.set(labRelease, string(text))
	resttest.JSON(201, string(text))(w, r)
}

func (s *labStore) link(w http.ResponseWriter, r *http.Request) {
	s.sends++
	s.set(labRelease, strings.Replace(s.texts[labRelease], `"links":[]`, `"links":[{"name":"a.gz","url":"https://example.com/a.gz"}]`, 1))
	resttest.JSON(201, `{"id":1,"name":"a.gz","url":"https://example.com/a.gz"}`)(w, r)
}

func TestReleaseOnGitLab(t *testing.T) {
	s := newLabStore(t)
	a := newAction(t, s.params(withTag+", state: published, latest: true"))
	a.probe(check.NotDone)
	o := a.run("pass: v1.3.0 is published: publish it")
	if o.Facts["url"] == "" || o.Facts["published_at"] == "" || len(o.Artefacts) != 1 {
		t.Errorf("%v", o)
	}
	a.probe(check.Done)
	a.run("pass: v1.3.0 is published already, as wanted")
	a.undo("fail: a release that was published is not taken back...")
	if s.sends != 1 {
		t.Errorf("%d changes", s.sends)
	}
	const link = ", state: published, assets: [{name: a.gz, url: 'https://example.com/a.gz'}]"
	a.want(s.params(withTag + link))
	a.probe(check.Partly)
	a.run("pass: v1.3.0 is published: add the link a.gz")
	a.probe(check.Done)
	a.want(s.params(withTag + strings.Replace(link, "/a.gz", "/b.gz", 1)))
	a.run("fail: v1.3.0 has another link a.gz already, which is not replaced")
	a.want(s.params(withTag + ", state: published, from: text, text: Other"))
	a.run("fail: v1.3.0 is published already, with other notes or another title...")
	a.want(s.params(withTag + ", state: published, from: kept"))
	a.run("pass: v1.3.0 is published already, as wanted")
	s.set(labRepo+"/releases", `[{"tag_name":"v2"}]`)
	a.want(s.params(withTag + ", state: published, latest: true"))
	a.run("error: v1.3.0 is not the release with the latest date...")
}

func TestReleaseWithLinksOnGitLabIsOneRequest(t *testing.T) {
	s := newLabStore(t)
	a := newAction(t, s.params(withTag+", state: published, assets: [{name: a.gz, url: 'https://example.com/a.gz'}]"))
	a.run("pass: v1.3.0 is published: publish it")
	a.probe(check.Done)
	if s.sends != 1 {
		t.Errorf("%d changes", s.sends)
	}
}

func TestGitLabHasNoDrafts(t *testing.T) {
	s := newLabStore(t)
	kept := map[string]string{}
	a := newAction(t, s.params(withTag+", min_chars: 10"), func(e *check.Env) { keep(e, kept) })
	a.run("pass: the notes of v1.3.0, ... characters, are kept as evidence; GitLab has no drafts, so nothing was sent")
	if kept["release-notes.md"] != notes || len(s.Calls()) != 0 {
		t.Errorf("%q, %d requests", kept["release-notes.md"], len(s.Calls()))
	}
	a.probe(check.NotDone)
	a.undo("pass: nothing was sent...")
	a.want(s.params(withTag + ", min_chars: 9999"))
	a.run("fail: the notes of v1.3.0 have ... characters, fewer than 9999")
}

func TestWhatStandsInTheWayOnGitLab(t *testing.T) {
	for want, change := range map[string][2]string{
		"fail: there is no tag v1.3.0 at GitLab ...: push it first":            {labRepo + "/repository/tags/v1.3.0", ""},
		"fail: the tag v1.3.0 is at dddddddddddd, the release at cccccccccccc": {labRepo + "/repository/tags/v1.3.0", `{"commit":{"id":"` + shaD + `"}}`},
		"error: the tag leads to no commit":                                    {labRepo + "/repository/tags/v1.3.0", `{}`},
		"error: the answer is of another release":                              {labRelease, `{"tag_name":"v1"}`},
	} {
		s := newLabStore(t)
		if s.set(change[0], change[1]); change[1] == "" {
			delete(s.texts, change[0])
		}
		newAction(t, s.params(withTag+", state: published")).run(want)
	}
	s := newLabStore(t)
	newAction(t, s.params(withTag+", state: published, from: kept")).run("fail: there is no release v1.3.0 whose notes are kept")
	s.Fail(resttest.JSON(404, `{"message":"404 Project Not Found"}`))
	newAction(t, s.params(withTag+", state: published")).run("error: ...is repo right, and may the token see it?")
}

func TestReleaseOnGitLabNeverClaimsWhatItDoesNotKnow(t *testing.T) {
	s := newLabStore(t)
	a := newAction(t, s.params(withTag+", state: published, latest: true"))
	for n := 1; n <= 4; n++ { // tag, release, create, latest
		for _, fault := range resttest.Faults() {
			if fault.Name == "hang" {
				continue
			}
			delete(s.texts, labRelease)
			s.failAt, s.fault = n, fault.Answer
			if o, err := a.inst.Runner.Run(t.Context(), a.env); err == nil && o.Verdict == check.Pass {
				t.Errorf("request %d, %s: %s", n, fault.Name, o.Reason)
			}
		}
	}
}

func TestReleaseOnGitLabExaminesWithoutEffect(t *testing.T) {
	s := newLabStore(t)
	a := newAction(t, s.params(withTag+", state: published"))
	if said, err := a.inst.Runner.(check.Examiner).Examine(t.Context(), a.env); err != nil || !strings.Contains(said, "may write releases") {
		t.Errorf("%q, %v", said, err)
	}
	for _, text := range []string{`{"permissions":{"project_access":{"access_level":20},"group_access":null}}`, `{}`} {
		s.set(labRepo, text)
		if said, err := a.inst.Runner.(check.Examiner).Examine(t.Context(), a.env); err == nil {
			t.Errorf("%s: %q", text, said)
		}
	}
	a.want(s.params(withTag))
	if said, err := a.inst.Runner.(check.Examiner).Examine(t.Context(), a.env); err != nil || said == "" {
		t.Errorf("%q, %v", said, err)
	}
	if s.sends != 0 {
		t.Errorf("%d changes", s.sends)
	}
}
