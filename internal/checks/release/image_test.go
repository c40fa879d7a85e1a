package release_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/release"
)

const (
	commit  = "1111111111111111111111111111111111111111"
	earlier = "2222222222222222222222222222222222222222"
)

// world is a registry, an engine and what runs on it.
type world interface {
	// repository is the image's name without a tag.
	repository() string
	// publish puts an image under a tag and gives its digest.
	publish(t *testing.T, tag, revision string) string
	// start runs containers of a compose service from a tag that the engine has.
	start(t *testing.T, service, tag string)
	stop(t *testing.T, service string)
	host(env *check.Env)
	// params are what an item needs to reach the engine.
	params() string
}

func do(t *testing.T, env *check.Env, params string) (check.Outcome, string) {
	t.Helper()
	inst, problems := checktest.Decode(release.Image, params, nil)
	if inst == nil {
		t.Fatal(problems.Error())
	}
	outcome, err := inst.Runner.Run(t.Context(), env)
	if ledger, ok := env.Ledger.(*checktest.Ledger); ok && outcome.Sets != nil {
		if ledger.Facts == nil {
			ledger.Facts = map[string]string{}
		}
		maps.Copy(ledger.Facts, outcome.Sets)
	}
	if err != nil {
		return outcome, "error: " + err.Error()
	}
	return outcome, string(outcome.Verdict) + ": " + outcome.Reason
}

// deployment is what every engine must do: pull, switch, run, prove, go back.
func deployment(t *testing.T, w world) {
	env := checktest.NewEnv(t)
	env.Run.Revision, env.Run.PreviousRev = commit, earlier
	w.host(env)
	is := func(tag, more, want string) check.Outcome {
		t.Helper()
		outcome, got := do(t, env, fmt.Sprintf("{image: '%s:%s'%s%s}", w.repository(), tag, more, w.params()))
		checktest.Match(t, want, got)
		return outcome
	}
	probe := func(tag string, want check.Progress) {
		t.Helper()
		inst, _ := checktest.Decode(release.Image, fmt.Sprintf("{image: '%s:%s', do: switch%s}", w.repository(), tag, w.params()), nil)
		if got, _, err := inst.Prober().Probe(t.Context(), env); err != nil || got != want {
			t.Errorf("probe: %s, %v, want %s", got, err, want)
		}
	}
	old := w.publish(t, "1.2.2", earlier)
	next := w.publish(t, "1.2.3", commit)
	wrong := w.publish(t, "1.2.3-other", earlier)
	const runs = ", project: tulia, services: [web]"

	is("1.2.2", runs, "error: the digest of ... was not supplied")
	is("1.2.3", ", do: switch, digest: '"+next+"'", "fail: local: there is no image ...: pull it first")
	outcome := is("1.2.2", ", do: pull", "pass: ...:1.2.2 is "+old)
	if outcome.Facts["revision"] != earlier || !strings.HasPrefix(outcome.Facts["local image id"], "sha256:") {
		t.Errorf("facts: %v", outcome.Facts)
	}
	is("1.2.2", ", do: switch", "pass: ...:live is "+old)
	is("1.2.2", runs, "fail: want "+old+": service web on local does not run")
	w.start(t, "web", "live")
	is("1.2.2", runs, "pass: 1 of 1 run ...@"+old)

	env.Key = "allclear/r-2/switch/1"
	env.Ledger = &checktest.Ledger{} // the next run
	is("1.2.3", ", do: pull, digest: '"+wrong+"'", "fail: ...:1.2.3 was built from "+earlier+", want "+commit)
	is("1.2.3", ", do: pull, digest: 'sha256:"+strings.Repeat("0", 64)+"'", "fail: local: docker pull: ...")
	is("9.9.9", ", do: pull", "fail: local: docker pull: ...")
	is("1.2.3", ", do: pull, digest: '"+next+"'", "pass: ...")
	is("1.2.3", ", do: pull", "pass: ...:1.2.3 is "+next) // again, by the digest that is remembered
	probe("1.2.3", check.NotDone)
	is("1.2.3", ", do: switch", "pass: ...:live is "+next)
	is("1.2.3", ", do: switch", "pass: ...:live is "+next+" already")
	probe("1.2.3", check.Done)
	is("1.2.3", runs, "fail: want "+next+": ... on local runs ...@"+old)
	w.stop(t, "web")
	w.start(t, "web", "live")
	is("1.2.3", runs, "pass: 1 of 1 run ...@"+next)
	is("1.2.3", ", containers: [nobody]", "fail: want "+next+": container nobody on local does not run")

	inst, _ := checktest.Decode(release.Image, fmt.Sprintf("{image: '%s:1.2.3', do: switch%s}", w.repository(), w.params()), nil)
	for range 2 {
		outcome, err := inst.Undoer().Undo(t.Context(), env, check.Outcome{})
		if err != nil || !strings.Contains(outcome.Reason, "is what it was before on local") {
			t.Errorf("undo: %v, %v", outcome, err)
		}
	}
	probe("1.2.3", check.NotDone)
	is("1.2.2", ", do: switch, digest: '"+old+"'", "pass: ...:live is "+old+" already")
	env.Key = "allclear/r-3/switch/1"
	if outcome, err := inst.Undoer().Undo(t.Context(), env, check.Outcome{}); err != nil || !strings.HasSuffix(outcome.Reason, "was not switched by this item") {
		t.Errorf("another attempt's undo: %v, %v", outcome, err)
	}
	said, err := inst.Runner.(check.Examiner).Examine(t.Context(), env)
	if err != nil || said != "docker answers" {
		t.Errorf("examine: %s, %v", said, err)
	}
}

func TestImageDeployment(t *testing.T) { deployment(t, newStandIn()) }

// Wherever the connection breaks, the tag is the one image's or the other's, and
// the undo finds the way back.
func TestImageSwitchSurvivesEveryBreak(t *testing.T) {
	s := newStandIn()
	s.publish(t, "1.2.2", "")
	s.publish(t, "1.2.3", "")
	env := checktest.NewEnv(t)
	s.host(env)
	do(t, env, "{image: 'registry.example.com/tulia:1.2.2', do: pull}")
	do(t, env, "{image: 'registry.example.com/tulia:1.2.2', do: switch}")
	was := s.refs["registry.example.com/tulia:live"]
	env.Ledger = &checktest.Ledger{}
	env.Key = "another"
	do(t, env, "{image: 'registry.example.com/tulia:1.2.3', do: pull}")
	const params = "{image: 'registry.example.com/tulia:1.2.3', do: switch}"
	inst, _ := checktest.Decode(release.Image, params, nil)
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			s.breaks, s.left, s.after = true, n, after
			_, got := do(t, env, params)
			done := s.left >= 0
			s.breaks = false
			if done {
				checktest.Match(t, "pass: ...", got)
			} else {
				checktest.Match(t, "error: ...connection lost", got)
			}
			_, again := do(t, env, params)
			checktest.Match(t, "pass: ...", again)
			if _, err := inst.Undoer().Undo(t.Context(), env, check.Outcome{}); err != nil || s.refs["registry.example.com/tulia:live"] != was {
				t.Fatalf("broken at call %d: the undo leaves %s, %v", n, s.refs["registry.example.com/tulia:live"], err)
			}
			if done {
				break
			}
		}
	}
}

func TestImageWhatRuns(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	other := "sha256:" + strings.Repeat("b", 64)
	pod := func(name, imageID, more string) string {
		return fmt.Sprintf(`{"metadata": {"name": %q%s}, "status": {"phase": "Running", "containerStatuses": [{"name": "web", "imageID": %q, "state": {"running": {}}}]}}`, name, more, imageID)
	}
	says := func(code int, stdout string) func(*check.Env) {
		return func(env *check.Env) {
			env.Host = func(string) (check.Host, error) { return answers{code, stdout}, nil }
		}
	}
	list := func(items ...string) func(*check.Env) {
		return says(0, `{"kind": "List", "items": [`+strings.Join(items, ",")+`]}`)
	}
	const repo = "registry.example.com/tulia"
	params := func(more string) string {
		return "{image: '" + repo + ":1.2.3', digest: '" + digest + "', " + more + "}"
	}
	web := params("pods: {selector: app=web, container: web}")
	compose := params("services: [web], project: tulia")
	file := func(text string) func(*check.Env) {
		return func(env *check.Env) {
			if err := os.WriteFile(filepath.Join(env.Dir, "digest"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	checktest.Run(t, release.Image, []checktest.Case{
		{Name: "pods", Params: web, Env: list(pod("web-1", repo+"@"+digest, ""), pod("web-2", "docker-pullable://"+repo+"@"+digest, "")), Want: "pass: 2 of 2 run " + repo + "@" + digest},
		{Name: "another pod", Params: web, Env: list(pod("web-1", repo+"@"+digest, ""), pod("web-2", repo+"@"+other, "")), Want: "fail: want " + digest + ": pod web-2 on web-1 runs " + repo + "@" + other},
		{Name: "another repository", Params: web, Env: list(pod("web-1", "other.example.com/tulia@"+digest, "")), Want: "fail: ..."},
		{Name: "a pod that is being deleted", Params: web, Env: list(pod("web-1", repo+"@"+digest, ""), pod("web-2", repo+"@"+other, `, "deletionTimestamp": "2026-01-01T00:00:00Z"`)), Want: "pass: 1 of 1 ..."},
		{Name: "no container of that name", Params: params("pods: {selector: app=web, container: app}"), Env: list(pod("web-1", repo+"@"+digest, "")), Want: "fail: ...does not run the container app"},
		{Name: "no pods", Params: web, Env: list(), Want: "fail: want " + digest + ": pods app=web on web-1 do not run"},
		{Name: "the id of a configuration", Params: web, Env: list(pod("web-1", "docker://"+digest, "")), Want: "error: ...which is no digest of a registry"},
		{Name: "no list", Params: web, Env: says(0, `{}`), Want: "error: ...kind is \"\""},
		{Name: "malformed list", Params: web, Env: says(0, `{"kind": "List", "items": [{]`), Want: "error: ...read kubectl get pods: ..."},
		{Name: "forbidden", Params: web, Env: says(1, ""), Want: "error: ...kubectl get pods: exit 1: it says no"},
		{Name: "docker does not answer", Params: compose, Env: says(1, ""), Want: "error: ...docker ps: exit 1: it says no"},
		{Name: "malformed inspect", Params: compose, Env: says(0, "abc\n"), Want: "error: ...read docker inspect: ..."},
		{Name: "malformed digest file", Params: "{image: 'a/b:1', digest_file: digest, services: [web], project: p}", Env: file("latest\n"), Want: "error: digest holds \"latest\", which is no digest"},
		{Name: "no digest file", Params: "{image: 'a/b:1', digest_file: digest, services: [web], project: p}", Want: "error: ...no such file..."},
		{Name: "a fact that is no digest", Params: "{image: 'a/b:1', services: [web], project: p}", Env: func(env *check.Env) {
			env.Ledger = &checktest.Ledger{Facts: map[string]string{"image.digest": "x"}}
		}, Want: "error: the fact image.digest holds \"x\", which is no digest"},
		{Name: "unknown host", Params: params("services: [web], project: p, on: [web-9]"), Want: `error: unknown host "web-9"`},
		{Name: "no tag", Params: "{image: 'localhost:5000/a', do: pull}", Want: "problem: ...has no tag..."},
		{Name: "an option", Params: "{image: '-x:1', do: pull}", Want: "problem: ...is no image with a tag..."},
		{Name: "a bad digest", Params: "{image: 'a:1', digest: 'sha256:1', do: pull}", Want: "problem: ...want sha256: and 64..."},
		{Name: "nothing to look at", Params: "{image: 'a:1'}", Want: "problem: ...needs services, containers or pods..."},
		{Name: "looking and doing", Params: "{image: 'a:1', do: pull, containers: [a]}", Want: "problem: ...are for looking..."},
		{Name: "no project", Params: "{image: 'a:1', services: [a]}", Want: "problem: ...need their project..."},
		{Name: "a filter in a name", Params: "{image: 'a:1', services: ['a=b'], project: p}", Want: "problem: ...is no name..."},
		{Name: "two digests", Params: "{image: 'a:1', digest: '" + digest + "', digest_file: x, do: pull}", Want: "problem: ...exclude each other..."},
	})
	checktest.Page(t, release.Image)
}

// What docker prints otherwise than documented is no digest.
func TestImagePullNeedsADigest(t *testing.T) {
	env := checktest.NewEnv(t)
	for stdout, want := range map[string]string{
		"":        "error: web-1: docker pull told 0 digests",
		"Digest:": "error: web-1: docker pull told 0 digests",
		"Digest: sha256:" + strings.Repeat("a", 64) + "\nDigest: sha256:" + strings.Repeat("b", 64): "error: web-1: docker pull told 2 digests",
	} {
		env.Host = func(string) (check.Host, error) { return answers{0, stdout}, nil }
		_, got := do(t, env, "{image: 'a:1', do: pull}")
		checktest.Match(t, want, got)
	}
	file := filepath.Join(env.Dir, "digest")
	s := newStandIn()
	digest := s.publish(t, "1.2.3", commit)
	s.host(env)
	local := checktest.NewEnv(t).Host
	env.Host = func(name string) (check.Host, error) {
		h, err := local("")
		return reads{s, h}, err
	}
	env.Run.Revision = commit
	if err := errors.Join(os.WriteFile(file, []byte("registry.example.com/tulia@"+digest+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, got := do(t, env, "{image: 'registry.example.com/tulia:1.2.3', do: pull, digest_file: '"+file+"'}")
	checktest.Match(t, "pass: ...:1.2.3 is "+digest, got)
}
