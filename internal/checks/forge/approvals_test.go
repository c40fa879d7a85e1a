package forge_test

import (
	"fmt"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/forge"
	"allclear.dev/allclear/internal/rest/resttest"
)

const hubDocs = "https://docs.github.com/en/rest/"

// hubReviews gives the routes of GitHub that the approvals need.
func hubReviews() []resttest.Route {
	paged := []string{"per_page", "page"}
	return []resttest.Route{
		{Method: "GET", Path: "/repos/example/shop", Docs: hubDocs + "repos/repos#get-a-repository"},
		{Method: "GET", Path: "/repos/example/shop/commits/{ref}", Docs: hubDocs + "commits/commits#get-a-commit", Query: paged},
		{Method: "GET", Path: "/repos/example/shop/compare/{basehead}", Docs: hubDocs + "commits/commits#compare-two-commits", Query: paged},
		{Method: "GET", Path: "/repos/example/shop/commits/{sha}/pulls", Docs: hubDocs + "commits/commits#list-pull-requests-associated-with-a-commit", Query: paged},
		{Method: "GET", Path: "/repos/example/shop/pulls/{number}", Docs: hubDocs + "pulls/pulls#get-a-pull-request"},
		{Method: "GET", Path: "/repos/example/shop/pulls/{number}/reviews", Docs: hubDocs + "pulls/reviews#list-reviews-for-a-pull-request", Query: paged},
		{Method: "GET", Path: "/repos/example/shop/pulls/{number}/commits", Docs: hubDocs + "pulls/pulls#list-commits-on-a-pull-request", Query: paged},
		{Method: "GET", Path: "/orgs/{org}/teams/{slug}/members", Docs: hubDocs + "teams/members#list-team-members", Query: paged},
	}
}

// hub is a repository on GitHub: release 1.3.0 is two commits (shaB, shaC) after
// 1.2.0, both by request 7 of ada, which bob approved.
func hub(t *testing.T) *world {
	w := newWorld(t, "github", hubReviews())
	w.set("/repos/example/shop", `{"full_name":"example/shop"}`)
	for _, sha := range []string{shaA, shaB, shaC} {
		w.set("/repos/example/shop/commits/"+sha, fmt.Sprintf(`{"sha":%q,"files":[{"filename":"app/%s.py"}]}`, sha, sha[:1]))
	}
	w.set(compared, `{"status":"ahead","total_commits":2,"commits":[`+hubCommit(shaB, "Add basket\\n\\nLong text")+`]}`)
	w.set(compared+"#2", `{"status":"ahead","total_commits":2,"commits":[`+hubCommit(shaC, "Fix basket")+`]}`)
	w.set(pullsOf(shaB), `[`+pull(7, "ada", `"2026-01-02T00:00:00Z"`)+`]`)
	w.set(pullsOf(shaC), `[`+pull(9, "eve", "null")+`]`).set(pullsOf(shaC)+"#2", `[`+pull(7, "ada", `"2026-01-02T00:00:00Z"`)+`]`)
	w.set(reviews, `[`+said("bob", "APPROVED", tip1, "MEMBER")+`]`)
	w.set("/repos/example/shop/pulls/7/commits", `[{"sha":"x","author":{"login":"ada"},"committer":{"login":"web-flow"}},{"sha":"y","author":null,"committer":null}]`)
	return w
}

const (
	compared = "/repos/example/shop/compare/" + shaA + "..." + shaC
	reviews  = "/repos/example/shop/pulls/7/reviews"
)

func pullsOf(sha string) string { return "/repos/example/shop/commits/" + sha + "/pulls" }

func hubCommit(sha, message string) string {
	return fmt.Sprintf(`{"sha":%q,"commit":{"message":"%s"}}`, sha, message)
}

func pull(n int, author, merged string) string {
	return fmt.Sprintf(`{"number":%d,"html_url":"https://github.example.com/example/shop/pull/%d","merged_at":%s,"user":{"login":%q},"head":{"sha":%q},"base":{"ref":"main","repo":{"full_name":"Example/Shop"}}}`, n, n, merged, author, tip1)
}

func said(login, state, at, association string) string {
	return fmt.Sprintf(`{"user":{"login":%q,"type":"User"},"state":%q,"commit_id":%q,"author_association":%q}`, login, state, at, association)
}

func TestApprovalsOnGitHub(t *testing.T) {
	w := hub(t)
	covered := "pass: 2 commits from 1.2.0 (aaaaaaaaaaaa) to 1.3.0 (cccccccccccc): 2 to be reviewed, all covered by 1 merged request with at least 1 approval each"
	files := map[string]string{}
	checktest.Run(t, forge.Approvals, []checktest.Case{
		{Name: "covered", Params: w.params(""), Env: func(e *check.Env) { run(e); keep(e, files) }, Want: covered, Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["approvers"] != "bob" || o.Facts["commits"] != "2" || len(o.Artefacts) != 1 {
				t.Errorf("%v", o)
			}
			for _, part := range []string{`"commit": "` + shaB, `"title": "Add basket"`, `"request": "#7"`, `"login": "bob"`, `"counts": true`, `"author": "ada"`} {
				if !strings.Contains(files["approvals.json"], part) {
					t.Errorf("the evidence lacks %s:\n%s", part, files["approvals.json"])
				}
			}
		}},
		{Name: "wrong branch", Params: w.params("into: [release]"), Env: run, Want: "fail: 2 of 2 commits not covered: bbbbbbbbbbbb (Add basket): #7 was merged into main, not release; ..."},
		{Name: "two are needed", Params: w.params("min: 2"), Env: run, Want: "fail: ...#7 has 1 of 2 approvals; ..."},
		{Name: "by another", Params: w.params("by: carol"), Env: run, Want: "fail: ...#7 has 0 of 1 approval (bob is not among those whose approval counts); ..."},
		{Name: "by bob", Params: w.params("by: [BOB]"), Env: run, Want: covered},
		{Name: "no such head", Params: w.params("head: v9"), Env: run, Want: "error: GitHub at 127.0.0.1:... knows no commit v9 of example/shop: push it first"},
		{Name: "no token", Params: w.params(""), Want: "error: secret env:TOKEN: not set"},
		{Name: "first release", Params: w.params(""), Env: func(e *check.Env) { run(e); e.Run.Previous, e.Run.PreviousRev = "", "" }, Want: "error: the previous release ... was not supplied"},
		{Name: "bad repo", Params: "{repo: shop}", Want: "problem: ...want owner/name..."},
		{Name: "repo that leads elsewhere", Params: "{repo: ../shop}", Want: "problem: ...is no name of a repository..."},
		{Name: "none needed", Params: "{repo: a/b, min: 0}", Want: "problem: ...at least 1..."},
		{Name: "bad base", Params: "{repo: a/b, base: 'a..b'}", Want: "problem: ...names no commit..."},
		{Name: "bad api", Params: "{repo: a/b, api: 'https://x:y@z'}", Want: "problem: ...api: a password belongs in the token..."},
	})
	checktest.Page(t, forge.Approvals)
}

func TestReviewersLastWords(t *testing.T) {
	cases := []struct{ name, reviews, params, want string }{
		{"nobody", "", "", "fail: ...#7 has 0 of 1 approval; ..."},
		{"only a comment", said("bob", "COMMENTED", tip1, "MEMBER"), "", "fail: ...has 0 of 1..."},
		{"a comment after an approval", said("bob", "APPROVED", tip1, "MEMBER") + "," + said("bob", "COMMENTED", tip1, "MEMBER"), "", "pass: ..."},
		{"dismissed", said("bob", "DISMISSED", tip1, "MEMBER"), "", "fail: ...has 0 of 1..."},
		{"changed the mind", said("bob", "APPROVED", tip1, "MEMBER") + "," + said("bob", "CHANGES_REQUESTED", tip1, "MEMBER"), "", "fail: ...bob asked for changes..."},
		{"changed it back", said("bob", "CHANGES_REQUESTED", tip1, "MEMBER") + "," + said("bob", "APPROVED", tip1, "MEMBER"), "", "pass: ..."},
		{"another objects", said("bob", "APPROVED", tip1, "MEMBER") + "," + said("dan", "CHANGES_REQUESTED", tip1, "COLLABORATOR"), "", "fail: ...has 1 of 1 approval; dan asked for changes..."},
		{"a stranger objects", said("bob", "APPROVED", tip1, "MEMBER") + "," + said("dan", "CHANGES_REQUESTED", tip1, "NONE"), "by: bob", "pass: ..."},
		{"a stranger approves", said("bob", "APPROVED", tip1, "CONTRIBUTOR"), "", "fail: ...bob does not belong to the repository..."},
		{"before the last push", said("bob", "APPROVED", old1, "OWNER"), "", "fail: ...bob approved before the last push..."},
		{"before the last push, accepted", said("bob", "APPROVED", old1, "OWNER"), "after_last_push: false", "pass: ..."},
		{"the author", said("Ada", "APPROVED", tip1, "OWNER"), "", "fail: ...Ada wrote part of it..."},
		{"the author, accepted", said("Ada", "APPROVED", tip1, "OWNER"), "forbid_self: false", "pass: ..."},
		{"a program", strings.Replace(said("bot", "APPROVED", tip1, "MEMBER"), "User", "Bot", 1), "", "fail: ...bot is a program..."},
		{"an account that is gone", `{"user":null,"state":"APPROVED","commit_id":"` + tip1 + `","author_association":"MEMBER"}`, "", "fail: ...has 0 of 1..."},
		{"a new state", said("bob", "BLESSED", tip1, "MEMBER"), "", `error: commit bbbbbbbbbbbb: request #7: a review has the unknown state "BLESSED"`},
	}
	var all []checktest.Case
	for _, c := range cases {
		w := hub(t).set(reviews, "["+c.reviews+"]")
		all = append(all, checktest.Case{Name: c.name, Params: w.params(c.params), Env: run, Want: c.want})
	}
	checktest.Run(t, forge.Approvals, all)
}

func TestRangesOnGitHub(t *testing.T) {
	change := func(path, text string) *world { return hub(t).set(path, text) }
	same := hub(t)
	fifty := strings.TrimSuffix(strings.Repeat(`{"sha":"x","author":{"login":"ada"}},`, 250), ",")
	most := "/repos/example/shop/pulls/7"
	empty := func(status string) string { return `{"status":"` + status + `","total_commits":0,"commits":[]}` }
	one := func(w *world) *world { delete(w.texts, compared+"#2"); return w }
	cases := []checktest.Case{
		{Name: "same commit", Params: same.params("head: previous"), Want: "pass: no commits to review: 1.2.0 (aaaaaaaaaaaa) and 1.2.0 (aaaaaaaaaaaa) are the same commit, as GitHub at ... knows it"},
		{Name: "behind", Params: one(change(compared, empty("behind"))).params(""), Want: "error: from 1.2.0 (aaaaaaaaaaaa) to 1.3.0 (cccccccccccc): head is behind base..."},
		{Name: "identical, which it is not", Params: one(change(compared, empty("identical"))).params(""), Want: `error: ...has the status "identical"`},
		{Name: "empty", Params: one(change(compared, empty("ahead"))).params(""), Want: "error: ...does not hold head itself"},
		{Name: "a page is missing", Params: one(hub(t)).params(""), Want: "error: ...tells of 2 commits and lists 1"},
		{Name: "too many", Params: change(compared, `{"status":"ahead","total_commits":1001,"commits":[]}`).params(""), Want: "error: ...give a base that is nearer"},
		{Name: "pushed directly", Params: change(pullsOf(shaB), `[]`).params(""), Want: "fail: 1 of 2 commits not covered: bbbbbbbbbbbb (Add basket): no merged request brought it"},
		{Name: "merged in a fork", Params: change(pullsOf(shaB), strings.Replace("["+pull(7, "ada", `"2026-01-02T00:00:00Z"`)+"]", "Example/Shop", "fork/shop", 1)).params(""), Want: "fail: ...no merged request brought it"},
		{Name: "request without head", Params: change(pullsOf(shaB), `[{"number":7}]`).params(""), Want: "error: ...without number, head or repository"},
		{Name: "more authors than are told", Params: change(most+"/commits", "["+fifty+"]").set(most, `{"commits":251}`).params(""), Want: "error: ...it has more than the 250 commits...forbid_self: false..."},
		{Name: "250 authors and no more", Params: change(most+"/commits", "["+fifty+"]").set(most, `{"commits":250}`).params(""), Want: "pass: ..."},
	}
	gone := newWorld(t, "github", hubReviews())
	cases = append(cases, checktest.Case{Name: "the repository cannot be seen", Params: gone.params(""), Want: "error: ...404...is repo right, and may the token see it?"})
	for i := range cases {
		cases[i].Env = run
	}
	checktest.Run(t, forge.Approvals, cases)
}

func TestPathsOnGitHub(t *testing.T) {
	team := "/orgs/example/teams/db-reviewers/members"
	touching := func() *world {
		return hub(t).set("/repos/example/shop/commits/"+shaB, `{"sha":"`+shaB+`","files":[{"filename":"x"}]}`).
			set("/repos/example/shop/commits/"+shaB+"#2", `{"sha":"`+shaB+`","files":[{"filename":"b","previous_filename":"app/migrations/1.py"}]}`).
			set(pullsOf(shaC), `[]`).set(pullsOf(shaC)+"#2", `[]`).set(team, `[{"login":"carol"}]`).set(team+"#2", `[{"login":"Bob"}]`)
	}
	long := strings.TrimSuffix(strings.Repeat(`{"filename":"x"},`, 3000), ",")
	params := `paths: ["**/migrations/**"]`
	w, files := touching(), map[string]string{}
	checktest.Run(t, forge.Approvals, []checktest.Case{
		{Name: "one touches", Params: w.params(params + ", by_team: db-reviewers"), Env: func(e *check.Env) { run(e); keep(e, files) }, Want: "pass: 2 commits from ...: 1 to be reviewed, all covered by 1 merged request...", Check: func(t *testing.T, _ check.Outcome) {
			if text := files["approvals.json"]; !strings.Contains(text, `"app/migrations/1.py"`) || strings.Contains(text, `"app/c.py"`) {
				t.Errorf("the evidence holds other files:\n%s", text)
			}
		}},
		{Name: "none touches", Params: w.params("paths: docs/*"), Env: run, Want: "pass: the files of 2 commits from ... to ... were read, and none touches docs/*"},
		{Name: "team of another", Params: w.params("by_team: other/db"), Env: run, Want: "error: team other/db: ...404..."},
		{Name: "empty team", Params: touching().set(team, "[]").set(team+"#2", "[]").params("by_team: example/db-reviewers"), Env: run, Want: "error: team example/db-reviewers has no member that the token may see"},
		{Name: "a list that is cut counts", Params: touching().set("/repos/example/shop/commits/"+shaC, `{"sha":"`+shaC+`","files":[`+long+`]}`).params(params), Env: run, Want: "fail: 1 of 2 commits not covered: cccccccccccc (Fix basket): no merged request brought it (its list of files is too long to be told whole, so it counts)"},
		{Name: "bad pattern", Params: w.params("paths: '['"), Want: "problem: ...is not a pattern..."},
		{Name: "bad team", Params: w.params("by_team: a/b/c"), Want: "problem: ...is no team..."},
	})
	w.eachFault(forge.Approvals, w.params(params+", by_team: db-reviewers"), 10)
	hub := hub(t)
	hub.eachFault(forge.Approvals, hub.params(""), 9)
}
