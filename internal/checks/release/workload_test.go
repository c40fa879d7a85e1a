package release_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/release"
)

// cluster is kubectl for exactly the words that the type uses, as
// kubernetes.io/docs/reference/kubectl/generated describes get, annotate and set
// image.
type cluster struct {
	*standIn
	image       string
	annotations map[string]string
	breaks      bool
	left        int
	after       bool
}

func (c *cluster) Exec(ctx context.Context, cmd check.Command) (check.Result, error) {
	if err := ctx.Err(); err != nil {
		return check.Result{}, err
	}
	if c.breaks {
		if c.left--; c.left < 0 {
			if c.after && c.left == -1 {
				c.kubectl(cmd.Argv)
			}
			return check.Result{}, errLost
		}
	}
	return c.kubectl(cmd.Argv), nil
}

func (c *cluster) kubectl(argv []string) check.Result {
	words, found := strings.CutPrefix(strings.Join(argv, " "), "kubectl --context=prod --namespace=tulia ")
	last := argv[len(argv)-1]
	switch {
	case !found:
	case words == "get deployment/web --output=json":
		var notes []string
		for name, value := range c.annotations {
			notes = append(notes, fmt.Sprintf("%q: %q", name, value))
		}
		return check.Result{Stdout: []byte(fmt.Sprintf(
			`{"kind": "Deployment", "metadata": {"annotations": {%s}}, "spec": {"template": {"spec": {"containers": [{"name": "log", "image": "log:1"}, {"name": "web", "image": %q}]}}}}`,
			strings.Join(notes, ", "), c.image))}
	case strings.HasPrefix(words, "annotate --overwrite deployment/web allclear.dev/before-"):
		name, value, _ := strings.Cut(last, "=")
		c.annotations[name] = value
		return check.Result{}
	case strings.HasPrefix(words, "set image deployment/web web="):
		c.image = strings.TrimPrefix(last, "web=")
		return check.Result{}
	}
	return failed("unknown words: " + strings.Join(argv, " "))
}

func TestImageOfAWorkload(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	want := repository + "@" + digest
	params := func(more string) string {
		return "{image: '" + repository + ":1.2.3', do: switch, digest: '" + digest + "', workload: {resource: deployment/web, container: web, namespace: tulia, context: prod}" + more + "}"
	}
	c := &cluster{}
	env := checktest.NewEnv(t)
	env.Host = func(string) (check.Host, error) { return c, nil }
	inst, problems := checktest.Decode(release.Image, params(""), nil)
	if inst == nil {
		t.Fatal(problems)
	}
	undo := func() string {
		outcome, err := inst.Undoer().Undo(t.Context(), env, check.Outcome{})
		if err != nil {
			return "error: " + err.Error()
		}
		return string(outcome.Verdict) + ": " + outcome.Reason
	}
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			*c = cluster{image: "old:1", annotations: map[string]string{}, breaks: true, left: n, after: after}
			_, got := do(t, env, params(""))
			done := c.left >= 0
			c.breaks = false
			if !done {
				checktest.Match(t, "error: ...connection lost", got)
			}
			progress, _, err := inst.Prober().Probe(t.Context(), env)
			if err != nil || (progress == check.Done) != (c.image == want) {
				t.Fatalf("broken at call %d: probe: %s, %v, but it has %s", n, progress, err, c.image)
			}
			_, got = do(t, env, params(""))
			checktest.Match(t, "pass: deployment/web ...", got)
			if got := undo(); got != "pass: deployment/web has old:1 again" || c.image != "old:1" {
				t.Fatalf("broken at call %d: undo: %s, it has %s", n, got, c.image)
			}
			if done {
				break
			}
		}
	}
	_, got := do(t, env, params(""))
	checktest.Match(t, "pass: deployment/web is given "+want, got)
	_, got = do(t, env, params(""))
	checktest.Match(t, "pass: deployment/web has "+want+" already", got)
	c.image = "third:1"
	checktest.Match(t, "fail: deployment/web has third:1 since, and keeps it", undo())
	env.Key = "another"
	checktest.Match(t, "pass: deployment/web was not switched by this item", undo())
	_, got = do(t, env, strings.Replace(params(""), "container: web", "container: app", 1))
	checktest.Match(t, "fail: deployment/web has no container app", got)
	_, got = do(t, env, strings.Replace(params(""), "deployment/web", "deployment/none", 1))
	checktest.Match(t, "error: kubectl get: exit 1: ...", got)
	if said, err := inst.Runner.(check.Examiner).Examine(t.Context(), env); err != nil || said != "kubectl answers" {
		t.Errorf("examine: %s, %v", said, err)
	}
	for bad, why := range map[string]string{
		strings.Replace(params(""), "deployment/web", "pod/web", 1): "want deployment/NAME",
		strings.Replace(params(""), "deployment/web", "-x", 1):      "want deployment/NAME",
		strings.Replace(params(""), "do: switch", "do: pull", 1):    "workload is for do: switch",
		params(", on: [a, b]"): "workload is for do: switch",
		strings.Replace(params(""), "container: web", "container: -x", 1): "is no name",
	} {
		_, problems := checktest.Decode(release.Image, bad, nil)
		if !strings.Contains(problems.Error(), why) {
			t.Errorf("%s: %v, want %s", bad, problems, why)
		}
	}
}
