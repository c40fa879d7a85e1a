package forge_test

import (
	"fmt"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/forge"
	"allclear.dev/allclear/internal/rest/resttest"
)

const (
	labDocs = "https://docs.gitlab.com/api/"
	labRepo = "/projects/group%2Fsub%2Fshop"
)

func labReviews() []resttest.Route {
	paged := []string{"per_page", "page"}
	mr := labRepo + "/merge_requests/{iid}"
	return []resttest.Route{
		{Method: "GET", Path: labRepo, Docs: labDocs + "projects/"},
		{Method: "GET", Path: labRepo + "/repository/commits/{sha}", Docs: labDocs + "commits/#retrieve-a-commit", Query: []string{"stats"}},
		{Method: "GET", Path: labRepo + "/repository/commits", Docs: labDocs + "commits/#list-all-repository-commits", Query: []string{"ref_name", "per_page", "page"}, Needs: []string{"ref_name"}},
		{Method: "GET", Path: labRepo + "/repository/merge_base", Docs: labDocs + "repositories/#retrieve-merge-base", Query: []string{"refs[]"}, Needs: []string{"refs[]"}},
		{Method: "GET", Path: labRepo + "/repository/commits/{sha}/diff", Docs: labDocs + "commits/#retrieve-commit-diff", Query: paged},
		{Method: "GET", Path: labRepo + "/repository/commits/{sha}/merge_requests", Docs: labDocs + "commits/#list-merge-requests-associated-with-a-commit", Query: paged},
		{Method: "GET", Path: mr + "/approvals", Docs: labDocs + "merge_request_approvals/"},
		{Method: "GET", Path: mr + "/reviewers", Docs: labDocs + "merge_requests/#retrieve-merge-request-reviewers"},
		{Method: "GET", Path: mr + "/versions", Docs: labDocs + "merge_requests/#retrieve-merge-request-diff-versions", Query: paged},
		{Method: "GET", Path: mr + "/commits", Docs: labDocs + "merge_requests/#retrieve-merge-request-commits", Query: paged},
		{Method: "GET", Path: "/groups/{group}/members/all", Docs: labDocs + "group_members/", Query: paged},
	}
}

const (
	labCommits = labRepo + "/repository/commits"
	labRequest = labRepo + "/merge_requests/3"
)

// lab is a project on GitLab: release 1.3.0 is two commits (shaC, shaB) after
// 1.2.0, both by request 3 of ada, which bob approved.
func lab(t *testing.T) *world {
	w := newWorld(t, "gitlab", labReviews())
	w.set(labRepo, `{"path_with_namespace":"group/sub/shop"}`)
	for _, sha := range []string{shaA, shaB, shaC} {
		w.set(labCommits+"/"+sha, fmt.Sprintf(`{"id":%q,"stats":{"total":2}}`, sha))
		w.set(labCommits+"/"+sha+"/merge_requests", `[{"iid":3,"state":"merged","web_url":"https://gitlab.example.com/3","author":{"username":"ada"},"target_branch":"main","sha":"`+tip1+`"},{"iid":4,"state":"closed"}]`)
		w.set(labCommits+"/"+sha+"/diff", `[{"old_path":"app/a.py","new_path":"app/a.py","diff":"@@ -1,2 +1,2 @@\n-x\n"}]`)
		w.set(labCommits+"/"+sha+"/diff#2", `[{"old_path":"b.py","new_path":"app/b.py","diff":"--- a\n+++ b\n@@ -1,2 +1,2 @@\n+x\n \n"}]`)
	}
	w.set(labRepo+"/repository/merge_base", `{"id":"`+shaA+`"}`)
	w.set(labCommits, `[{"id":"`+shaC+`","title":"Fix basket"}]`).set(labCommits+"#2", `[{"id":"`+shaB+`","title":"Add basket"}]`)
	w.set(labRequest+"/approvals", approvedBy("bob", "Bob B", "2026-01-02T12:00:00Z"))
	w.set(labRequest+"/reviewers", `[{"user":{"username":"bob"},"state":"approved"}]`)
	w.set(labRequest+"/versions", `[{"created_at":"2026-01-02T11:00:00Z"}]`).set(labRequest+"/versions#2", `[{"created_at":"2026-01-01T11:00:00Z"}]`)
	w.set(labRequest+"/commits", `[{"author_name":"Ada A","committer_name":"Ada A"}]`)
	return w
}

func approvedBy(login, name, at string) string {
	return fmt.Sprintf(`{"approved_by":[{"user":{"username":%q,"name":%q},"approved_at":%q}]}`, login, name, at)
}

func TestApprovalsOnGitLab(t *testing.T) {
	covered := "pass: 2 commits from 1.2.0 (aaaaaaaaaaaa) to 1.3.0 (cccccccccccc): 2 to be reviewed, all covered by 1 merged request with at least 1 approval each"
	group := "/groups/group%2Fdba/members/all"
	change := func(path, text string) *world { return lab(t).set(path, text) }
	base, approvals, commits := labRepo+"/repository/merge_base", labRequest+"/approvals", labRequest+"/commits"
	cut := change(labCommits+"/"+shaB, `{"id":"`+shaB+`","stats":{"total":90000}}`).set(labCommits+"/"+shaB+"/merge_requests", "[]")
	noTime := strings.Replace(approvedBy("bob", "Bob B", "x"), `,"approved_at":"x"`, "", 1)
	cases := []checktest.Case{
		{Name: "covered", Params: lab(t).params(""), Want: covered},
		{Name: "same commit", Params: lab(t).params("base: release"), Want: "pass: no commits to review: ..."},
		{Name: "behind", Params: change(base, `{"id":"`+shaC+`"}`).params(""), Want: "error: ...head is behind base..."},
		{Name: "diverged", Params: change(base, `{"id":"`+shaD+`"}`).params(""), Want: covered},
		{Name: "nothing in between, which cannot be", Params: change(labCommits, `[]`).set(labCommits+"#2", `[]`).params(""), Want: "error: ...does not hold head itself"},
		{Name: "nobody approved", Params: change(approvals, `{"approved_by":[]}`).params(""), Want: "fail: ...!3 has 0 of 1 approval..."},
		{Name: "nobody is told", Params: change(approvals, `{"approved":true}`).params(""), Want: "error: ...does not tell who approved"},
		{Name: "before the last push", Params: change(approvals, approvedBy("bob", "Bob B", "2026-01-02T10:59:59Z")).params(""), Want: "fail: ...bob approved before the last push..."},
		{Name: "no time told", Params: change(approvals, noTime).params(""), Want: "error: ...does not tell when it was approved (after_last_push: false..."},
		{Name: "no time wanted", Params: change(approvals, noTime).params("after_last_push: false"), Want: covered},
		{Name: "no version told", Params: change(labRequest+"/versions", `[]`).set(labRequest+"/versions#2", `[]`).params(""), Want: "error: ...its last push is not known"},
		{Name: "wrote part of it", Params: change(commits, `[{"author_name":"Ada A"},{"author_name":"bob b"}]`).params(""), Want: "fail: ...bob wrote part of it..."},
		{Name: "asks for changes", Params: change(labRequest+"/reviewers", `[{"user":{"username":"dan"},"state":"requested_changes"}]`).params(""), Want: "fail: ...has 1 of 1 approval; dan asked for changes..."},
		{Name: "pushed directly", Params: change(labCommits+"/"+shaB+"/merge_requests", `[]`).params(""), Want: "fail: 1 of 2 commits not covered: bbbbbbbbbbbb (Add basket): no merged request brought it"},
		{Name: "renamed out of the paths", Params: lab(t).params("paths: ['b.py']"), Want: covered},
		{Name: "other paths", Params: lab(t).params("paths: [docs/**]"), Want: "pass: the files of 2 commits ... were read, and none touches docs/**"},
		{Name: "a list that is cut counts", Params: cut.params("paths: [docs/**]"), Want: "fail: 1 of 1 commit not covered: bbbbbbbbbbbb ...it counts)"},
		{Name: "by a group", Params: change(group, `[{"username":"bob","state":"active"}]`).params("by_team: group/dba"), Want: covered},
		{Name: "blocked member", Params: change(group, `[{"username":"bob","state":"blocked"}]`).params("by_team: group/dba"), Want: "error: team group/dba has no member..."},
	}
	for i := range cases {
		cases[i].Env = run
	}
	checktest.Run(t, forge.Approvals, cases)
	w := change(group, `[{"username":"bob","state":"active"}]`)
	w.eachFault(forge.Approvals, w.params("by_team: group/dba, paths: [app/**]"), 19)
}
