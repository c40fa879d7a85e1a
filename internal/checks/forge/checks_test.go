package forge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/forge"
	"allclear.dev/allclear/internal/rest/resttest"
)

const (
	hubRuns     = "/repos/example/shop/commits/" + shaC + "/check-runs"
	hubStatuses = "/repos/example/shop/commits/" + shaC + "/status"
)

func hubRun(name, status, conclusion string) string {
	if conclusion != "null" {
		conclusion = fmt.Sprintf("%q", conclusion)
	}
	return fmt.Sprintf(`{"name":%q,"status":%q,"conclusion":%s,"head_sha":%q,"html_url":"https://github.example.com/run","app":{"slug":"github-actions"}}`, name, status, conclusion, shaC)
}

func hubRunList(total int, runs ...string) string {
	return fmt.Sprintf(`{"total_count":%d,"check_runs":[%s]}`, total, strings.Join(runs, ","))
}

func hubStatusList(total int, statuses ...string) string {
	return fmt.Sprintf(`{"state":"pending","sha":%q,"total_count":%d,"statuses":[%s]}`, shaC, total, strings.Join(statuses, ","))
}

// hubCI is a commit with three checks on two pages and one status, all green.
func hubCI(t *testing.T) *world {
	w := newWorld(t, "github", []resttest.Route{
		{Method: "GET", Path: "/repos/example/shop", Docs: hubDocs + "repos/repos#get-a-repository"},
		{Method: "GET", Path: "/repos/example/shop/commits/{ref}", Docs: hubDocs + "commits/commits#get-a-commit", Query: []string{"per_page"}},
		{Method: "GET", Path: "/repos/example/shop/commits/{ref}/check-runs", Docs: hubDocs + "checks/runs#list-check-runs-for-a-git-reference", Query: []string{"check_name", "status", "filter", "per_page", "page", "app_id"}},
		{Method: "GET", Path: "/repos/example/shop/commits/{ref}/status", Docs: hubDocs + "commits/statuses#get-the-combined-status-for-a-specific-reference", Query: []string{"per_page", "page"}},
	})
	w.set("/repos/example/shop", `{"full_name":"example/shop"}`).set("/repos/example/shop/commits/"+shaC, `{"sha":"`+shaC+`"}`)
	w.set("/repos/example/shop/commits/v1.3.0", `{"sha":"`+shaC+`"}`)
	w.set(hubRuns, hubRunList(3, hubRun("lint", "completed", "success"), hubRun("test (3.12)", "completed", "success")))
	w.set(hubRuns+"#2", hubRunList(3, hubRun("test (3.13)", "completed", "success")))
	w.set(hubStatuses, hubStatusList(1, `{"context":"ci/deploy-preview","state":"success","target_url":null}`))
	return w
}

func TestChecksOnGitHub(t *testing.T) {
	third := func(status, conclusion string) *world {
		return hubCI(t).set(hubRuns+"#2", hubRunList(3, hubRun("test (3.13)", status, conclusion)))
	}
	status := func(word string) *world {
		return hubCI(t).set(hubStatuses, hubStatusList(1, `{"context":"ci/x","state":"`+word+`"}`))
	}
	none := hubRunList(0)
	bare := hubCI(t).set(hubStatuses, hubStatusList(0))
	empty := hubCI(t).set(hubRuns, none).set(hubRuns+"#2", none).set(hubStatuses, hubStatusList(0))
	green := hubCI(t)
	tests := `require: ["test (*)"]`
	cases := []checktest.Case{
		{Name: "green", Params: green.params(""), Want: "pass: 4 checks succeeded on 1.3.0 (cccccccccccc)", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["succeeded"] != "4" || o.Facts["commit"] != shaC || len(o.Artefacts) != 1 {
				t.Errorf("%v", o)
			}
		}},
		{Name: "by the tag", Params: green.params("ref: v1.3.0"), Want: "pass: 4 checks succeeded on v1.3.0 (cccccccccccc)"},
		{Name: "required", Params: green.params(tests), Want: "pass: 2 checks succeeded on 1.3.0 (cccccccccccc)"},
		{Name: "no status at all, which GitHub calls pending", Params: bare.params(""), Want: "pass: 3 checks succeeded..."},
		{Name: "of an app", Params: green.params("app: github-actions"), Want: "pass: 3 checks succeeded..."},
		{Name: "of another app", Params: green.params("app: circleci"), Want: "error: nothing was run on 1.3.0 ..."},
		{Name: "nothing", Params: empty.params(""), Want: "error: nothing was run on 1.3.0 (cccccccccccc): GitHub at ... knows no check, job or status of it"},
		{Name: "missing", Params: green.params("require: [e2e, lint]"), Want: "error: not there on 1.3.0 (cccccccccccc): e2e (there are: lint; test (3.12); test (3.13); ci/deploy-preview)"},
		{Name: "failed", Params: third("completed", "failure").params(""), Want: "fail: 1 of 4 failed on 1.3.0 (cccccccccccc): test (3.13) (failure)"},
		{Name: "failed, and another is missing", Params: third("completed", "timed_out").params("require: [e2e, 'test*']"), Want: "fail: 1 of 2 failed on ...: test (3.13) (timed_out)"},
		{Name: "another failed", Params: third("completed", "failure").params("require: lint"), Want: "pass: 1 check succeeded..."},
		{Name: "cancelled", Params: third("completed", "cancelled").params(""), Want: "fail: ...(cancelled)"},
		{Name: "running", Params: third("in_progress", "null").params(""), Want: "error: still running on ...: test (3.13) (in_progress) (try again in 30s)"},
		{Name: "missing while others run", Params: third("queued", "null").params("require: e2e"), Want: "error: not there on ... (try again in 30s)"},
		{Name: "skipped", Params: third("completed", "skipped").params(""), Want: "error: tested nothing on ...: test (3.13) (skipped) (allow_neutral: true accepts that)"},
		{Name: "skipped, accepted", Params: third("completed", "skipped").params("allow_neutral: true"), Want: "pass: 3 checks succeeded on ..., 1 tested nothing"},
		{Name: "all skipped, accepted", Params: third("completed", "neutral").params("allow_neutral: true, require: 'test (3.13)'"), Want: "error: nothing succeeded on ..."},
		{Name: "stale", Params: third("completed", "stale").params(""), Want: "error: ended on ... without a result: test (3.13) (stale); run it again"},
		{Name: "no conclusion", Params: third("completed", "null").params(""), Want: "error: ...unknown state..."},
		{Name: "a new conclusion", Params: third("completed", "blessed").params(""), Want: `error: ...unknown state "blessed"`},
		{Name: "a new status", Params: third("dreaming", "null").params(""), Want: `error: ...unknown state "dreaming"`},
		{Name: "a page is missing", Params: hubCI(t).set(hubRuns+"#2", none).set(hubRuns, hubRunList(3, hubRun("lint", "completed", "success"))).params(""), Want: "error: ..."},
		{Name: "fewer runs than told", Params: hubCI(t).set(hubRuns+"#2", hubRunList(3)).params(""), Want: "error: ...tells of 3 check runs and lists 2"},
		{Name: "fewer statuses than told", Params: hubCI(t).set(hubStatuses, hubStatusList(2)).params(""), Want: "error: ...tells of 2 statuses and lists 0"},
		{Name: "status failed", Params: status("error").params(""), Want: "fail: 1 of 4 failed on ...: ci/x (error)"},
		{Name: "status pending", Params: status("pending").params(""), Want: "error: still running..."},
		{Name: "a new state of a status", Params: status("blessed").params(""), Want: "error: ...unknown state..."},
		{Name: "of another commit", Params: hubCI(t).set(hubStatuses, strings.ReplaceAll(hubStatusList(0), shaC, shaB)).params(""), Want: "error: ...of this commit..."},
		{Name: "nothing required", Params: green.params("require: ['*']"), Want: "problem: ...requires nothing..."},
		{Name: "bad ref", Params: green.params("ref: 'a..b'"), Want: "problem: ...names no commit..."},
	}
	for i := range cases {
		cases[i].Env = run
	}
	checktest.Run(t, forge.Checks, cases)
	checktest.Page(t, forge.Checks)
	green.eachFault(forge.Checks, green.params(""), 4)
}

const (
	labPipelines = labRepo + "/pipelines"
	labStatuses  = labCommits + "/" + shaC + "/statuses"
)

func labPipeline(id int, source, status string) string {
	return fmt.Sprintf(`{"id":%d,"sha":%q,"ref":"main","source":%q,"status":%q,"web_url":"https://gitlab.example.com/p"}`, id, shaC, source, status)
}

func labJob(pipeline int, name, status string, mayFail bool) string {
	return fmt.Sprintf(`{"sha":%q,"name":%q,"status":%q,"allow_failure":%t,"pipeline_id":%d,"target_url":null}`, shaC, name, status, mayFail, pipeline)
}

func labCI(t *testing.T) *world {
	paged := []string{"per_page", "page"}
	w := newWorld(t, "gitlab", []resttest.Route{
		{Method: "GET", Path: labRepo, Docs: labDocs + "projects/"},
		{Method: "GET", Path: labCommits + "/{sha}", Docs: labDocs + "commits/#retrieve-a-commit"},
		{Method: "GET", Path: labCommits + "/{sha}/statuses", Docs: labDocs + "commits/#list-commit-statuses", Query: paged},
		{Method: "GET", Path: labPipelines, Docs: labDocs + "pipelines/#list-project-pipelines", Query: append(paged, "sha"), Needs: []string{"sha"}},
	})
	w.set(labRepo, `{"path_with_namespace":"group/sub/shop"}`).set(labCommits+"/"+shaC, `{"id":"`+shaC+`"}`)
	w.set(labPipelines, `[`+labPipeline(9, "push", "success")+`]`).set(labPipelines+"#2", `[`+labPipeline(7, "push", "failed")+`]`)
	w.set(labStatuses, `[`+labJob(9, "unit", "success", false)+`]`).set(labStatuses+"#2", `[`+labJob(7, "unit", "failed", false)+`]`)
	return w
}

func TestChecksOnGitLab(t *testing.T) {
	jobs := func(list ...string) *world {
		return labCI(t).set(labStatuses, "["+strings.Join(list, ",")+"]")
	}
	pipelines := func(list ...string) *world {
		return labCI(t).set(labPipelines, "["+strings.Join(list, ",")+"]")
	}
	green := labCI(t)
	audit := jobs(labJob(9, "unit", "success", false), labJob(9, "audit", "failed", true))
	nothing := jobs().set(labStatuses+"#2", "[]").set(labPipelines, "[]").set(labPipelines+"#2", "[]")
	cases := []checktest.Case{
		{Name: "the newest pipeline is green", Params: green.params(""), Want: "pass: 2 checks succeeded on 1.3.0 (cccccccccccc)"},
		{Name: "required", Params: green.params("require: unit"), Want: "pass: 1 check succeeded on 1.3.0 (cccccccccccc)"},
		{Name: "allowed to fail", Params: audit.params(""), Want: "pass: 2 checks succeeded on 1.3.0 (cccccccccccc); not succeeded, but allowed to fail: audit (failed)", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["may_fail"] != "audit (failed)" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "allowed to fail, but required", Params: audit.params("require: audit"), Want: "fail: 1 of 1 failed on ...: audit (failed)"},
		{Name: "failed", Params: jobs(labJob(9, "unit", "canceled", false)).params(""), Want: "fail: 1 of 2 failed on ...: unit (canceled)"},
		{Name: "two sources", Params: pipelines(labPipeline(9, "push", "success"), labPipeline(8, "schedule", "failed")).params(""), Want: "fail: 1 of 3 failed on ...: pipeline 8 of main (failed)"},
		{Name: "running", Params: pipelines(labPipeline(9, "push", "running")).params(""), Want: "error: still running on ...: pipeline 9 of main (running) (try again in 30s)"},
		{Name: "by hand", Params: jobs(labJob(9, "e2e", "manual", false)).params("require: e2e"), Want: "error: tested nothing on ...: e2e (manual) ..."},
		{Name: "skipped pipeline", Params: pipelines(labPipeline(9, "push", "skipped")).set(labStatuses, "[]").params("allow_neutral: true"), Want: "error: nothing succeeded on ..."},
		{Name: "a pipeline is no job", Params: green.params("require: 'pipeline*'"), Want: "error: not there on ..."},
		{Name: "nothing", Params: nothing.params(""), Want: "error: nothing was run on ..."},
		{Name: "a new word", Params: jobs(labJob(9, "unit", "blessed", false)).params(""), Want: `error: ...unknown state "blessed"`},
		{Name: "a new word of a pipeline", Params: pipelines(labPipeline(9, "push", "blessed")).params(""), Want: `error: ...unknown state "blessed"`},
		{Name: "app", Params: green.params("app: x"), Want: "problem: ...only GitHub has apps..."},
	}
	for i := range cases {
		cases[i].Env = run
	}
	checktest.Run(t, forge.Checks, cases)
	green.eachFault(forge.Checks, green.params(""), 5)
}

func TestARunningCheckIsAskedForAgain(t *testing.T) {
	w := hubCI(t).set(hubRuns+"#2", hubRunList(3, hubRun("e2e", "queued", "null")))
	env := checktest.NewEnv(t)
	run(env)
	inst, problems := checktest.Decode(forge.Checks, w.params(""), nil)
	if inst == nil {
		t.Fatal(problems)
	}
	_, err := inst.Runner.Run(t.Context(), env)
	if later, ok := errors.AsType[*check.RetryLater](err); !ok || later.After != 30*time.Second {
		t.Errorf("%v", err)
	}
}
