package forge_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/forge"
	"allclear.dev/allclear/internal/rest/resttest"
)

const changelog = `# Changelog

## [Unreleased]

## [1.3.0] - 2026-02-01

### Added

- A basket ([#12]).

` + "```\n## [0.0.1] in a block of code\n```" + `

## [1.2.0] - 2026-01-01

- Old.

## 1.1.0 - 2025-12-01 [YANKED]

- Wrong.

[1.3.0]: https://github.example.com/compare/v1.2.0...v1.3.0
[#12]: https://github.example.com/issues/12
`

const notes = "### Added\n\n- A basket ([#12]).\n\n```\n## [0.0.1] in a block of code\n```\n\n[#12]: https://github.example.com/issues/12"

// checkout gives a run's env with a changelog and a file to release.
func checkout(e *check.Env) {
	run(e)
	for name, text := range map[string]string{"CHANGELOG.md": changelog, "shop.tar.gz": "content"} {
		if err := os.WriteFile(filepath.Join(e.Dir, name), []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
}

// action is one release to be made in one world.
type action struct {
	t    *testing.T
	env  *check.Env
	inst *check.Instance
}

func newAction(t *testing.T, params string, change ...func(*check.Env)) *action {
	t.Helper()
	a := &action{t: t, env: checktest.NewEnv(t)}
	checkout(a.env)
	for _, f := range change {
		f(a.env)
	}
	a.want(params)
	return a
}

// want decodes the parameters for the same world.
func (a *action) want(params string) {
	a.t.Helper()
	inst, problems := checktest.Decode(forge.Release, params, nil)
	if inst == nil {
		a.t.Fatal(problems)
	}
	a.inst = inst
}

func (a *action) run(want string) check.Outcome {
	a.t.Helper()
	o, err := a.inst.Runner.Run(a.t.Context(), a.env)
	return a.match(want, o, err)
}

func (a *action) undo(want string) {
	a.t.Helper()
	o, err := a.inst.Undoer().Undo(a.t.Context(), a.env, check.Outcome{})
	a.match(want, o, err)
}

func (a *action) match(want string, o check.Outcome, err error) check.Outcome {
	a.t.Helper()
	got := string(o.Verdict) + ": " + o.Reason
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(a.t, want, got)
	return o
}

func (a *action) probe(want check.Progress) {
	a.t.Helper()
	if p, o, err := a.inst.Prober().Probe(a.t.Context(), a.env); p != want || err != nil {
		a.t.Errorf("probe: %s, %v, %v; want %s", p, o, err, want)
	}
}

const withTag = "tag: v1.3.0"

func TestADraftIsPreparedOncePublishedAndNotTakenBack(t *testing.T) {
	s := newHubStore(t)
	a := newAction(t, s.params(withTag+", min_chars: 10"))
	a.probe(check.NotDone)
	o := a.run("pass: v1.3.0 is draft: create the draft")
	if o.Facts["state"] != "draft" || o.Facts["notes.characters"] == "" || len(o.Artefacts) != 1 {
		t.Errorf("%v", o)
	}
	body := s.releases[0]["body"].(string)
	if !strings.HasPrefix(body, notes+"\n\n<!-- allclear ") || s.releases[0]["target_commitish"] != shaC {
		t.Errorf("%v", s.releases[0])
	}
	a.probe(check.Done)
	a.run("pass: v1.3.0 is draft already, as wanted")
	if s.sends != 1 {
		t.Errorf("%d changes", s.sends)
	}
	s.releases[0]["body"] = strings.ReplaceAll(body, "\n", "\r\n") // as GitHub may give it back
	a.probe(check.Done)

	publish := newAction(t, s.params(withTag+", state: published, from: kept, latest: true"), func(e *check.Env) { e.Key += "/publish" })
	publish.probe(check.NotDone)
	o = publish.run("pass: v1.3.0 is published: publish it")
	if o.Facts["published_at"] == "" || o.Facts["state"] != "published" || s.latest != "v1.3.0" {
		t.Errorf("%v", o)
	}
	publish.probe(check.Done)
	publish.run("pass: v1.3.0 is published already, as wanted")
	publish.undo("fail: a release that was published is not taken back: ...")
	a.undo("fail: v1.3.0 was published since and stays...")
	s.latest = "v9"
	publish.probe(check.NotDone)
	publish.run("pass: v1.3.0 is published: make it the latest")
}

func TestADraftIsTakenBackOnlyByWhoMadeIt(t *testing.T) {
	s := newHubStore(t)
	a := newAction(t, s.params(withTag))
	a.run("pass: ...")
	other := newAction(t, s.params(withTag), func(e *check.Env) { e.Key += "/other" })
	other.undo("fail: the draft v1.3.0 was not made by this item and stays")
	body := s.releases[0]["body"].(string)
	s.releases[0]["body"] = "Better words. " + body
	a.undo("fail: somebody changed the notes...")
	a.run("fail: the draft v1.3.0 has other notes, which somebody wrote...")
	a.probe(check.NotDone)
	other.want(s.params(withTag + ", from: kept"))
	other.run("pass: v1.3.0 is draft already, as wanted")
	s.releases[0]["body"] = body
	other.want(s.params(withTag + ", from: text, text: Other words"))
	other.run("pass: v1.3.0 is draft: change the draft") // nobody wrote those notes
	other.undo("fail: ...not made by this item...")
	a.undo("pass: the draft v1.3.0 is deleted again")
	a.undo("pass: there is no release v1.3.0 any more")
}

func TestFilesAreUploadedBeforePublishing(t *testing.T) {
	s := newHubStore(t)
	params := s.params(withTag + ", state: published, assets: [shop.tar.gz]")
	a := newAction(t, params)
	o := a.run("pass: v1.3.0 is published: create the draft, upload shop.tar.gz, publish it")
	if len(o.Facts["sha256.shop.tar.gz"]) != 64 {
		t.Errorf("%v", o.Facts)
	}
	a.probe(check.Done)
	a.run("pass: v1.3.0 is published already, as wanted")
	s.assets[0]["digest"] = "sha256:00"
	a.run("fail: v1.3.0 has another file shop.tar.gz already, which is not replaced")
	s.assets[0]["digest"] = ""
	a.run("error: v1.3.0 has a file shop.tar.gz of the same size...")
	s.assets[0]["state"] = "starter"
	a.probe(check.Partly)
	a.run("pass: v1.3.0 is published: remove the unfinished shop.tar.gz, upload shop.tar.gz")
	sends := s.sends
	for want, more := range map[string]string{
		"fail: shop.tar.gz has the SHA-256 ..., want 00...": "{file: shop.tar.gz, sha256: " + strings.Repeat("0", 64) + "}",
		"fail: there is no file gone.gz":                    "gone.gz",
	} {
		a.want(s.params(withTag + ", assets: [" + more + "]"))
		a.run(want)
	}
	if s.sends != sends {
		t.Error("something was changed although a file was wrong")
	}
}

func TestALostAnswerIsInDoubtAndActsOnce(t *testing.T) {
	s := newHubStore(t)
	s.lose = true
	a := newAction(t, s.params(withTag+", state: published"))
	a.run("error: create the draft: ...")
	a.probe(check.Partly)
	a.run("pass: v1.3.0 is published: publish it")
	if len(s.releases) != 1 || s.sends != 2 {
		t.Errorf("%d releases, %d changes", len(s.releases), s.sends)
	}
}

func TestWhatStandsInTheWay(t *testing.T) {
	for want, change := range map[string]func(s *hubStore, e *check.Env) string{
		"fail: there is no tag v1.3.0 at GitHub ..., and GitHub would put it on the newest commit: push it first": func(s *hubStore, _ *check.Env) string {
			delete(s.texts, "/repos/example/shop/commits/tags/v1.3.0")
			return "state: published"
		},
		"fail: there is no tag v1.3.0 at GitHub ..., and the release's commit is not known: push it first": func(s *hubStore, e *check.Env) string {
			delete(s.texts, "/repos/example/shop/commits/tags/v1.3.0")
			e.Run.Revision = ""
			return ""
		},
		"fail: the tag v1.3.0 is at cccccccccccc, the release at dddddddddddd": func(_ *hubStore, e *check.Env) string { e.Run.Revision = shaD; return "" },
		"fail: there are 2 releases for v1.3.0: ...": func(s *hubStore, _ *check.Env) string {
			one := map[string]any{"id": 1, "tag_name": "v1.3.0", "draft": true}
			s.releases = append(s.releases, one, one)
			return ""
		},
		"fail: v1.3.0 is published already, with other notes...": func(s *hubStore, _ *check.Env) string {
			s.releases = append(s.releases, map[string]any{"id": 1, "tag_name": "v1.3.0", "draft": false, "name": "v1.3.0", "body": "Mine."})
			return ""
		},
		"fail: there is no release v1.3.0 whose notes are kept":        func(*hubStore, *check.Env) string { return "from: kept" },
		"fail: the notes of v1.3.0 have 2 characters, fewer than 200":  func(*hubStore, *check.Env) string { return "from: text, text: Hi, min_chars: 200" },
		"fail: CHANGELOG.md: no section 7 (there are: Unreleased; ...": func(*hubStore, *check.Env) string { return "section: 7" },
		"fail: CHANGELOG.md: the section v1.1.0 is marked as yanked":   func(*hubStore, *check.Env) string { return "section: v1.1.0" },
		"fail: the notes of v1.3.0 have 0 characters, fewer than 1":    func(*hubStore, *check.Env) string { return "section: unreleased" },
		"fail: TWICE.md: 2 sections 1.3.0": func(_ *hubStore, e *check.Env) string {
			if err := os.WriteFile(filepath.Join(e.Dir, "TWICE.md"), []byte(changelog+"\n## v1.3.0\n"), 0o600); err != nil {
				panic(err)
			}
			return "file: TWICE.md"
		},
		"fail: there is no file NOTES.md":                     func(*hubStore, *check.Env) string { return "from: file, file: NOTES.md" },
		"error: the release of this run (or give section)...": func(_ *hubStore, e *check.Env) string { e.Run.Release = ""; return "" },
		"error: ...release without number, tag or state": func(s *hubStore, _ *check.Env) string {
			s.releases = append(s.releases, map[string]any{"id": 1})
			return ""
		},
		"error: secret env:TOKEN: not set":                               func(_ *hubStore, e *check.Env) string { checktest.SetSecrets(e, nil); return "" },
		"pass: v1.3.0 is draft: create the draft":                        func(*hubStore, *check.Env) string { return "section: 1.2.0, prerelease: true, name: Shop 1.3" },
		"error: create the draft: ...made something else than the draft": func(s *hubStore, _ *check.Env) string { return "" },
	} {
		t.Run(want, func(t *testing.T) {
			s := newHubStore(t)
			env := checktest.NewEnv(t)
			checkout(env)
			params := change(s, env)
			a := &action{t: t, env: env}
			a.want(s.params(withTag + ", " + params))
			if strings.HasSuffix(want, "something else than the draft") {
				want += " v1.3.0"
				s.failAt, s.fault = 3, resttest.JSON(201, `{"id":1,"tag_name":"v1.3.0","draft":false}`)
			}
			a.run(want)
		})
	}
}

func TestReleaseNeverClaimsWhatItDoesNotKnow(t *testing.T) {
	s := newHubStore(t)
	a := newAction(t, s.params(withTag+", state: published, latest: true, assets: [shop.tar.gz]"))
	fail := func(n int, fault resttest.Fault) {
		s.failAt, s.fault = n, fault.Answer
		s.releases, s.assets, s.latest = nil, nil, ""
		o, err := a.inst.Runner.Run(a.t.Context(), a.env)
		if err == nil && o.Verdict == check.Pass {
			t.Errorf("request %d, %s: %s", n, fault.Name, o.Reason)
		}
	}
	const requests = 6 // list, tag, create, upload, publish, latest
	for n := 1; n <= requests; n++ {
		for _, fault := range resttest.Faults() {
			if fault.Name != "hang" {
				fail(n, fault)
			}
		}
	}
	a.run("pass: ...")
	for n := 1; n <= 4; n++ { // list, tag, files, latest
		for _, fault := range resttest.Faults() {
			if fault.Name == "hang" {
				continue
			}
			s.failAt, s.fault = n, fault.Answer
			if p, _, err := a.inst.Prober().Probe(a.t.Context(), a.env); err == nil && p == check.Done {
				t.Errorf("probe, request %d, %s: %s", n, fault.Name, p)
			}
		}
	}
	s.Fail(resttest.Faults()[15].Answer)
	ctx, stop := context.WithTimeout(t.Context(), 50e6)
	defer stop()
	if o, err := a.inst.Runner.Run(ctx, a.env); err == nil {
		t.Errorf("hang: %v", o)
	}
}

func TestReleaseExaminesWithoutEffect(t *testing.T) {
	s := newHubStore(t)
	for text, want := range map[string]string{
		`{"permissions":{"push":true}}`:  "",
		`{"permissions":{"push":false}}`: "may only read example/shop",
		`{}`:                             "does not tell what the token may do",
	} {
		s.set("/repos/example/shop", text)
		a := newAction(t, s.params(withTag))
		said, err := a.inst.Runner.(check.Examiner).Examine(t.Context(), a.env)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || want == "" && said == "" {
			t.Errorf("%s: %q, %v", text, said, err)
		}
	}
	s.set("/repos/example/shop", `{"permissions":{"push":true}}`)
	a := newAction(t, s.params(withTag+", section: 7"))
	if said, err := a.inst.Runner.(check.Examiner).Examine(t.Context(), a.env); err != nil || !strings.Contains(said, "not there yet: CHANGELOG.md: no section 7") {
		t.Errorf("%q, %v", said, err)
	}
	if s.sends != 0 {
		t.Errorf("%d changes", s.sends)
	}
}

func TestReleaseParameters(t *testing.T) {
	var cases []checktest.Case
	for params, want := range map[string]string{
		"from: text":                             "text: goes with from: text",
		"text: x":                                "text: goes with from: text",
		"from: file":                             "from: file needs it",
		"from: kept, file: x":                    "do not go with from: kept",
		"latest: true":                           "never the latest",
		"min_chars: -1":                          "min_chars must not be negative",
		"tag: 'a b'":                             "tag: ",
		"assets: [{url: 'https://example.com'}]": "on GitHub an asset is a file",
		"assets: [a, x/a]":                       "given twice",
		"assets: ['a b.gz']":                     "GitHub renames",
		"assets: [{file: a, sha256: AB}]":        "64 hexadecimal digits",
		"provider: gitlab, assets: [a]":          "on GitLab an asset is a link",
		"provider: gitlab, assets: [{url: 'https://example.com/a'}]": "a link needs a name",
		"provider: gitlab, assets: [{name: a, url: 'ftp://a'}]":      "want an http or https address",
		"provider: gitlab, from: kept":                               "GitLab has no drafts",
		"provider: gitlab, state: published, prerelease: true":       "are GitHub's",
	} {
		if !strings.Contains(params, "tag:") {
			params += ", tag: v1"
		}
		cases = append(cases, checktest.Case{Name: params, Params: "{repo: a/b, " + params + "}", Want: "problem: ..." + want + "..."})
	}
	s := newHubStore(t)
	cases = append(cases, checktest.Case{Name: "draft", Params: s.params(withTag), Env: checkout, Once: true, Want: "pass: v1.3.0 is draft: create the draft"})
	checktest.Run(t, forge.Release, cases)
	checktest.Page(t, forge.Release)
	inst, problems := checktest.Decode(forge.Release, "{repo: a/b, tag: v1, provider: gitlab}", nil)
	if inst == nil || inst.Traits.Effect != check.Record || fmt.Sprint(inst.Secrets()) != "[env:GITLAB_TOKEN]" {
		t.Errorf("%v, %v", inst, problems)
	}
}

// hosted sends what is meant for GitHub itself to the stand-in.
type hosted struct {
	*hubStore
	hosts map[string]int
}

// RoundTrip maps each of GitHub's servers to its path of the stand-in.
func (h hosted) RoundTrip(r *http.Request) (*http.Response, error) {
	h.hosts[r.URL.Host]++
	path, known := map[string]string{"api.github.com": "/api/v3", "uploads.github.com": "/api/uploads"}[r.URL.Host]
	if !known || r.URL.Scheme != "https" {
		return nil, fmt.Errorf("nobody is at %s", r.URL)
	}
	r.URL.Scheme, r.URL.Host, r.URL.Path = "http", strings.TrimPrefix(h.URL, "http://"), path+r.URL.Path
	return http.DefaultTransport.RoundTrip(r)
}

func TestGitHubItselfIsTheDefault(t *testing.T) {
	h := hosted{newHubStore(t), map[string]int{}}
	a := newAction(t, "{repo: example/shop, tag: v1.3.0, assets: [shop.tar.gz]}", func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:GITHUB_TOKEN": token})
		e.HTTP = h
	})
	a.run("pass: v1.3.0 is draft: create the draft, upload shop.tar.gz")
	if h.hosts["api.github.com"] != 3 || h.hosts["uploads.github.com"] != 1 {
		t.Errorf("%v", h.hosts)
	}
}
