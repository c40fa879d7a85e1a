package service_test

import (
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
)

func TestKubernetesConforms(t *testing.T) {
	t.Parallel()
	conform(t, func(t *testing.T) *place {
		p, _ := newCluster(t)
		return p
	}, "start, stop and back", "rolling", "a unit that ends at once")
}

// How a workload stands is told by its controller's figures, the generation that
// they are of, its conditions and its pods.
func TestKubernetesStates(t *testing.T) {
	t.Parallel()
	p, c := newCluster(t)
	web := c.workloads["deployments/web"]
	p.do(t, "pass: started: web...", "k1", "do: start", p.one)
	whole := *web
	for _, s := range []struct {
		name          string
		change        func()
		look, stopped string
	}{
		{"not observed", func() { web.held = true }, "fail: web does not run as it should: not settled, 2 of 2 pods updated, 2 ready, 2 available; generation 2 is not yet observed", "fail: web is not settled..."},
		{"gave up", func() {
			web.pods[0].ready, web.pods[0].waiting = false, "ImagePullBackOff"
			web.conditions = []map[string]string{{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "it has timed out"}}
		}, "fail: web does not run as it should: failed, 2 of 2 pods updated, 1 ready, 1 available; ProgressDeadlineExceeded: it has timed out; pod web-h0-... app waits: ImagePullBackOff (back-off 10s)", "fail: web is failed..."},
		{"no quota", func() {
			web.replicas = 3
			web.conditions = []map[string]string{{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}}
		}, "fail: web does not run as it should: not settled, 2 of 3 pods updated...; FailedCreate: exceeded quota", "fail: ..."},
		{"crash loop", func() {
			web.pods[1].ready, web.pods[1].waiting, web.pods[1].restarts = false, "CrashLoopBackOff", 7
		}, "fail: web does not run as it should: not settled, ...app waits: CrashLoopBackOff, 7 restarts, the last after Error, exit 3; its log ends: the last words", "fail: ..."},
		{"old pods", func() { web.pods[0].template = "old" }, "fail: web does not run as it should: not settled, 1 of 2 pods updated...", "fail: ..."},
		{"last pod is ending", func() { web.replicas = 0; web.pods = web.pods[:1]; web.pods[0].ending = true }, "fail: web does not run as it should: not settled...is ending", "fail: web is not settled, ...is ending"},
		{"none", func() { web.replicas = 0; web.pods = nil }, "fail: web does not run: scaled to none", "pass: stopped: web"},
	} {
		*web = whole
		web.pods = nil
		for _, pod := range whole.pods {
			again := *pod
			web.pods = append(web.pods, &again)
		}
		s.change()
		p.do(t, s.look, "", "state: running", p.one)
		p.do(t, s.stopped, "", "state: stopped", p.one)
		if t.Failed() {
			t.Fatal(s.name)
		}
	}
}

func TestKubernetesHealthAndImage(t *testing.T) {
	t.Parallel()
	p, c := newCluster(t)
	p.do(t, "pass: started: web, statefulset/db; only seen to run, without a health check: web", "k1", "do: start", p.one, p.two)
	p.do(t, "error: web: runs, but has no health check...", "", "state: healthy", p.one, p.two)
	p.do(t, "pass: running for 0s without a restart: statefulset/db", "", "state: healthy", "{name: statefulset/db, image: 'app:1'}")
	p.do(t, "fail: statefulset/db runs, but no container of it has image app@sha256:aaa", "", "state: healthy", "{name: statefulset/db, image: 'app@sha256:aaa'}")
	p.do(t, "fail: web has 2 instances (pod web-..., pod web-...), want exactly 3", "", "state: running", "{name: web, exactly: 3}")
	p.do(t, "pass: restarted: daemonset/agent...", "k2", "do: restart", "daemonset/agent")
	c.forbidden = true
	p.do(t, "error: look at web: kubectl ended with exit 1: Error from server (Forbidden): ...", "", "state: running", p.one)
	p.do(t, "error: look at web: kubectl ended with exit 1: Error from server (Forbidden): ...", "", "state: stopped", p.one)
}

// What is stopped comes back with as many pods as it had, also when nobody says
// how many.
func TestKubernetesKeepsTheNumberOfPods(t *testing.T) {
	t.Parallel()
	p, c := newCluster(t)
	p.do(t, "fail: web has no pods, and how many there should be is not known: give exactly", "k0", "do: start", "web")
	p.do(t, "pass: ...", "k1", "do: start", "{name: web, exactly: 3}")
	done, stop := p.do(t, "pass: stopped: web", "k2", "do: stop", "web")
	p.undo(t, stop, "k2", done)
	if n := len(c.workloads["deployments/web"].pods); n != 3 {
		t.Errorf("%d pods came back, %v", n, c.patches)
	}
	if i := slices.IndexFunc(c.patches, func(s string) bool { return strings.HasPrefix(s, `scale{"spec":{"replicas":0}}`) }); i < 1 || !strings.Contains(c.patches[i-1], `"allclear.dev/replicas":"3"`) {
		t.Errorf("how many there were is not kept before they are ended: %q", c.patches)
	}
}

func TestKubernetesThatCannotRestart(t *testing.T) {
	t.Parallel()
	p, c := newCluster(t)
	web, db := c.workloads["deployments/web"], c.workloads["statefulsets/db"]
	p.do(t, "fail: web has no pods to restart: it is scaled to none", "k1", "do: restart", p.one)
	p.do(t, "pass: ...", "k2", "do: start", p.one, p.two)
	web.paused = true
	p.do(t, "fail: web is paused: kubectl rollout resume it first; not touched: statefulset/db", "k3", "do: restart", p.one, p.two)
	db.strategy = "OnDelete"
	p.do(t, "fail: statefulset/db has the update strategy OnDelete...", "k4", "do: restart", p.two)
	db.strategy, db.partition = "RollingUpdate", 1
	p.do(t, "fail: statefulset/db has a partition...", "k5", "do: restart", p.two)
	web.paused, web.lingers = false, true
	p.do(t, "fail: web is not healthy after 100ms: still what ran before the restart: running, 2 of 2 pods updated...; pod web-... is ending; pod web-... is ending", "k6", "do: restart, healthy_within: 100ms", p.one)
	p.probe(t, p.instance(t, "do: restart", p.one), "k6", check.Partly)
	web.pods = web.pods[:2]
	p.probe(t, p.instance(t, "do: restart", p.one), "k6", check.Done)
}
