package kubernetes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/kubernetes"
)

func TestPage(t *testing.T) { checktest.Page(t, kubernetes.Object) }

// kubectl puts a program of that name on the search path, which wants exactly
// these words and answers with a text and an exit code.
func kubectl(t *testing.T, words, answer, rest string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\n[ \"$*\" = '" + words + "' ] || { echo \"unknown: $*\" >&2; exit 64; }\ncat <<'EOT'\n" + answer + "\nEOT\n" + rest + "\n"
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

const (
	one  = "get deployment web --output=json --ignore-not-found=true --namespace=shop --context=prod"
	ask  = "{kind: deployment, name: web, namespace: shop, context: prod"
	pods = "get pods --selector=app=web --output=json --ignore-not-found=true"
)

func deployment(generation, status string) string {
	return `{"kind": "Deployment", "metadata": {"name": "web", "generation": ` + generation + `, "resourceVersion": "77"}, "spec": {"replicas": 3}, "status": {` + status + `}}`
}

func TestObject(t *testing.T) {
	whole := `"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3`
	pod := func(name, phase string) string {
		return `{"kind": "Pod", "metadata": {"name": "` + name + `", "resourceVersion": "1"}, "status": {"phase": "` + phase + `"}}`
	}
	list := func(items ...string) string { return `{"kind": "List", "items": [` + strings.Join(items, ",") + `]}` }
	for _, c := range []struct {
		name, words, answer, rest, params, want string
	}{
		{"there", one, deployment("4", whole), "", ask + "}", "pass: deployment/web in shop: 1 as they must be"},
		{"rolled out", one, deployment("4", whole), "", ask + ", rollout: true, expect: object.spec.replicas == 3}", "pass: ..."},
		{"not so", one, deployment("4", whole), "", ask + ", expect: object.spec.replicas > 3}", "fail: deployment/web: not so: object.spec.replicas > 3"},
		{"not seen yet", one, deployment("5", whole), "", ask + ", rollout: true}", "fail: deployment/web: the controller has seen generation 4, and 5 is the latest"},
		{"old ones left", one, deployment("4", `"observedGeneration": 4, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 4`), "", ask + ", rollout: true}", "fail: ...3 of 3 updated, 4 available, 4 in all"},
		{"not available", one, deployment("4", `"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3`), "", ask + ", rollout: true}", "fail: ...0 available..."},
		{"no progress", one, deployment("4", whole+`, "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]`), "", ask + ", rollout: true}", "fail: ...it makes no progress: timed out"},
		{"no status", one, `{"kind": "Deployment", "metadata": {"name": "web"}}`, "", ask + ", rollout: true}", "error: deployment/web: it tells no status of a rollout"},
		{"scaled to nothing", one, `{"kind": "Deployment", "metadata": {"name": "web", "generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}}`, "", ask + ", rollout: true}", "error: deployment/web: it is scaled to 0, which shows nothing of a rollout"},
		{"no rollout", one, `{"kind": "Ingress", "metadata": {"name": "web", "generation": 1}, "status": {"observedGeneration": 1}}`, "", ask + ", rollout: true}", "error: ...a Ingress has no rollout..."},
		{"stateful", one, `{"kind": "StatefulSet", "metadata": {"name": "web", "generation": 1}, "spec": {"replicas": 2}, "status": {"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "a"}}`, "", ask + ", rollout: true}", "pass: ..."},
		{"stateful on the way", one, `{"kind": "StatefulSet", "metadata": {"name": "web", "generation": 1}, "spec": {"replicas": 2}, "status": {"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"}}`, "", ask + ", rollout: true}", "fail: ...an earlier revision is left"},
		{"daemons", one, `{"kind": "DaemonSet", "metadata": {"name": "web", "generation": 1}, "status": {"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}}`, "", ask + ", rollout: true}", "fail: ...3 of 3 nodes updated, 2 available"},
		{"daemons nowhere", one, `{"kind": "DaemonSet", "metadata": {"name": "web", "generation": 1}, "status": {"observedGeneration": 1}}`, "", ask + ", rollout: true}", "error: ...wanted on no node..."},
		{"missing", one, "", "", ask + "}", "fail: deployment/web in shop: 0 there, want at least 1"},
		{"absent", one, "", "", ask + ", absent: true}", "pass: deployment/web in shop is not there"},
		{"there although absent", one, deployment("4", whole), "", ask + ", absent: true}", "fail: deployment/web in shop is there"},
		{"refused", one, "", "echo 'Error from server (Forbidden): deployments.apps \"web\" is forbidden' >&2; exit 1", ask + ", absent: true}", "error: kubectl get ended with exit 1: Error from server (Forbidden)..."},
		{"malformed", one, `{"kind": "Depl`, "", ask + "}", "error: ...something else than JSON..."},
		{"another object", one, strings.ReplaceAll(deployment("4", whole), `"web"`, `"other"`), "", ask + "}", "error: ...another object..."},
		{"a field that is not there", one, deployment("4", whole), "", ask + ", expect: object.spec.nothing > 1}", "error: ...there is no field..."},
		{"several", pods, list(pod("web-1", "Running"), pod("web-2", "Running")), "", `{kind: pods, selector: app=web, min: 2, expect: object.status.phase == "Running"}`, "pass: pods with app=web: 2 as they must be"},
		{"one of several", pods, list(pod("web-1", "Running"), pod("web-2", "Pending")), "", `{kind: pods, selector: app=web, expect: object.status.phase == "Running"}`, "fail: pod/web-2: not so: ..."},
		{"too few", pods, list(), "", `{kind: pods, selector: app=web}`, "fail: pods with app=web: 0 there, want at least 1"},
		{"no list", pods, "", "", `{kind: pods, selector: app=web, absent: true}`, "error: ...something else than JSON..."},
		{"no items", pods, `{"kind": "Status"}`, "", `{kind: pods, selector: app=web, absent: true}`, "error: ...no list of objects"},
		{"killed", one, deployment("4", whole), "kill -9 $$", ask + "}", "error: ..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			kubectl(t, c.words, c.answer, c.rest)
			checktest.Run(t, kubernetes.Object, []checktest.Case{{Name: "run", Params: c.params, Want: c.want}})
		})
	}
}

func TestItHangs(t *testing.T) {
	kubectl(t, one, "", "exec sleep 60")
	checktest.Run(t, kubernetes.Object, []checktest.Case{{Name: "run", Params: ask + "}", Timeout: 200 * time.Millisecond, Want: "error: ..."}})
}

func TestItSaysTooMuch(t *testing.T) {
	kubectl(t, one, "", "yes | head -c 20000000")
	checktest.Run(t, kubernetes.Object, []checktest.Case{{Name: "run", Params: ask + "}", Want: "error: ...more than 16 MiB..."}})
}

func TestMistakes(t *testing.T) {
	checktest.Run(t, kubernetes.Object, []checktest.Case{
		{Name: "no kubectl", Params: "{kind: pods, name: web}", Env: func(*check.Env) { t.Setenv("PATH", t.TempDir()) }, Want: "error: ..."},
		{Name: "both", Params: "{kind: pods, name: a, selector: b=c}", Want: "problem: ...either name or selector..."},
		{Name: "an option as a kind", Params: "{kind: --raw, name: a}", Want: "problem: ...is no kind..."},
		{Name: "an option as a name", Params: "{kind: pods, name: --all}", Want: "problem: ...is not a name..."},
		{Name: "an option as a namespace", Params: "{kind: pods, name: a, namespace: -A}", Want: "problem: ...cannot be one..."},
		{Name: "none", Params: "{kind: pods, selector: a=b, min: 0}", Want: "problem: ...write absent: true..."},
		{Name: "absent and more", Params: "{kind: pods, name: a, absent: true, rollout: true}", Want: "problem: ...nothing else can be asked..."},
	})
}
