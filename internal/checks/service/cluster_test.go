package service_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"allclear.dev/allclear/internal/check/checktest"
)

// cluster answers as a Kubernetes API server does for what kubectl asks on behalf
// of the driver (kubernetes.io/docs/reference/kubernetes-api), and for nothing
// else. Its controllers are done as soon as something was changed, unless held.
type cluster struct {
	t         *testing.T
	mu        sync.Mutex
	workloads map[string]*workload
	pods      int
	patches   []string
	forbidden bool
}

// workload is a deployment, stateful set or daemon set of the namespace shop.
type workload struct {
	plural, kind, name  string
	replicas            int
	probed, bad, paused bool
	strategy            string
	partition           int
	generation          int
	// held keeps the controllers from acting; lingers keeps replaced pods ending.
	held, lingers bool
	annotations   map[string]string
	template      map[string]string
	pods          []*fakePod
	conditions    []map[string]string
}

type fakePod struct {
	name, uid string
	restarts  int
	ready     bool
	ending    bool
	waiting   string
	template  string
}

func (w *workload) hash() string {
	if at := w.template["kubectl.kubernetes.io/restartedAt"]; at != "" {
		return "h" + strings.NewReplacer(":", "", "-", "", "+", "", "T", "", "Z", "").Replace(at)
	}
	return "h0"
}

// reconcile makes the pods what the specification says.
func (c *cluster) reconcile(w *workload) {
	if w.held {
		return
	}
	var old []*fakePod
	w.pods = slices.DeleteFunc(w.pods, func(p *fakePod) bool {
		replaced := p.template != w.generationOfTemplate()
		if p.ending = replaced; replaced && w.lingers {
			old = append(old, p)
		}
		return replaced
	})
	for len(w.pods) < w.replicas {
		c.pods++
		p := &fakePod{name: fmt.Sprintf("%s-%s-%d", w.name, w.hash(), c.pods), uid: fmt.Sprintf("uid-%d", c.pods), ready: !w.bad, template: w.generationOfTemplate()}
		if w.bad {
			p.waiting, p.restarts = "CrashLoopBackOff", 4
		}
		w.pods = append(w.pods, p)
	}
	w.pods = append(w.pods[:w.replicas], old...)
}

// generationOfTemplate changes when the pod template does.
func (w *workload) generationOfTemplate() string { return fmt.Sprint(w.template) }

func (w *workload) object() map[string]any {
	ready, updated, replicas := 0, 0, 0
	for _, p := range w.pods {
		if !p.ending {
			replicas++
		}
		if p.ready && !p.ending {
			ready++
		}
		if p.template == w.generationOfTemplate() && !p.ending {
			updated++
		}
	}
	container := map[string]any{"name": "app", "image": "app:1"}
	if w.probed {
		container["readinessProbe"] = map[string]any{"httpGet": map[string]any{"path": "/", "port": 80}}
	}
	observed := w.generation
	if w.held {
		observed--
	}
	spec := map[string]any{
		"selector": map[string]any{"matchLabels": map[string]string{"app": w.name}, "matchExpressions": []any{map[string]any{"key": "tier", "operator": "In", "values": []string{"a", "b"}}}},
		"template": map[string]any{"metadata": map[string]any{"labels": map[string]string{"app": w.name}, "annotations": w.template}, "spec": map[string]any{"containers": []any{container}}},
	}
	status := map[string]any{"observedGeneration": observed, "conditions": w.conditions}
	if w.kind == "DaemonSet" {
		status["desiredNumberScheduled"], status["currentNumberScheduled"], status["updatedNumberScheduled"], status["numberReady"], status["numberAvailable"], status["numberMisscheduled"] = w.replicas, w.replicas, updated, ready, ready, 0
	} else {
		spec["replicas"] = w.replicas
		status["replicas"], status["updatedReplicas"], status["readyReplicas"], status["availableReplicas"] = replicas, updated, ready, ready
	}
	if w.paused {
		spec["paused"] = true
	}
	if w.strategy != "" {
		spec["updateStrategy"] = map[string]any{"type": w.strategy, "rollingUpdate": map[string]any{"partition": w.partition}}
	}
	return map[string]any{
		"kind": w.kind, "apiVersion": "apps/v1", "spec": spec, "status": status,
		"metadata": map[string]any{"name": w.name, "namespace": "shop", "uid": "uid-of-" + w.name, "generation": w.generation, "annotations": w.annotations},
	}
}

func (w *workload) podObject(p *fakePod) map[string]any {
	owner := map[string]any{"apiVersion": "apps/v1", "kind": w.kind, "name": w.name, "uid": "uid-of-" + w.name, "controller": true}
	labels := map[string]string{"app": w.name, "tier": "a"}
	if w.kind == "Deployment" {
		hash := fmt.Sprintf("%x", len(p.template))
		labels["pod-template-hash"] = hash
		owner["kind"], owner["name"], owner["uid"] = "ReplicaSet", w.name+"-"+hash, "uid-of-its-replica-set"
	}
	state := map[string]any{"running": map[string]any{"startedAt": "2026-01-02T03:04:05Z"}}
	last := map[string]any{}
	if p.restarts > 0 {
		last = map[string]any{"terminated": map[string]any{"exitCode": 3, "reason": "Error"}}
	}
	if p.waiting != "" {
		state = map[string]any{"waiting": map[string]any{"reason": p.waiting, "message": "back-off 10s"}}
	}
	meta := map[string]any{"name": p.name, "namespace": "shop", "uid": p.uid, "labels": labels, "ownerReferences": []any{owner}}
	if p.ending {
		meta["deletionTimestamp"] = "2026-01-02T03:04:05Z"
	}
	return map[string]any{
		"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": map[string]any{"containers": []any{map[string]any{"name": "app", "image": "app:1"}}},
		"status": map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
			"name": "app", "ready": p.ready, "restartCount": p.restarts, "state": state, "lastState": last, "image": "app:1",
		}}},
	}
}

func (c *cluster) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if static, ok := discovery()[r.URL.Path]; ok && r.Method == http.MethodGet {
		answer(rw, http.StatusOK, static)
		return
	}
	if c.forbidden {
		failure(rw, http.StatusForbidden, "Forbidden", "deployments.apps is forbidden: User \"u\" cannot get resource")
		return
	}
	if r.URL.Path == "/api/v1/namespaces/shop" { // kubectl asks when something is not found
		answer(rw, http.StatusOK, map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"name": "shop"}})
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/shop/pods"); ok && r.Method == http.MethodGet {
		c.servePods(rw, r, rest)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/apis/apps/v1/namespaces/shop/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) < 2 || len(parts) > 3 {
		c.refuse(rw, r)
		return
	}
	w := c.workloads[parts[0]+"/"+parts[1]]
	switch {
	case w == nil:
		failure(rw, http.StatusNotFound, "NotFound", fmt.Sprintf("%s.apps %q not found", parts[0], parts[1]))
	case len(parts) == 2 && r.Method == http.MethodGet:
		answer(rw, http.StatusOK, w.object())
	case r.Method == http.MethodPatch:
		c.patch(rw, r, w, strings.Join(parts[2:], ""))
	case len(parts) == 3 && parts[2] == "scale" && r.Method == http.MethodGet:
		answer(rw, http.StatusOK, w.scale())
	default:
		c.refuse(rw, r)
	}
}

func (w *workload) scale() map[string]any {
	return map[string]any{
		"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": map[string]any{"name": w.name, "namespace": "shop", "uid": "uid-of-" + w.name},
		"spec": map[string]any{"replicas": w.replicas}, "status": map[string]any{"replicas": len(w.pods)},
	}
}

// patch takes the three changes that the driver makes, and no field more.
func (c *cluster) patch(rw http.ResponseWriter, r *http.Request, w *workload, sub string) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	var p struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Replicas *int `json:"replicas"`
			Template struct {
				Metadata struct {
					Annotations map[string]string `json:"annotations"`
				} `json:"metadata"`
			} `json:"template"`
		} `json:"spec"`
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	kind := r.Header.Get("Content-Type")
	if err := d.Decode(&p); err != nil || kind != "application/merge-patch+json" && kind != "application/strategic-merge-patch+json" {
		c.t.Errorf("a patch that is not known: %s %s (%v)", kind, text, err)
	}
	c.patches = append(c.patches, sub+string(text))
	maps.Copy(w.annotations, p.Metadata.Annotations)
	if p.Spec.Replicas != nil || len(p.Spec.Template.Metadata.Annotations) > 0 {
		w.generation++
	}
	for name, value := range p.Spec.Template.Metadata.Annotations {
		// Two rollouts within a second have the same time, and the second changes
		// nothing, as on a real server; the tests are quicker than that.
		w.template[name] = fmt.Sprintf("%s-%d", value, w.generation)
	}
	if p.Spec.Replicas != nil {
		w.replicas = *p.Spec.Replicas
	}
	c.reconcile(w)
	if sub == "scale" {
		answer(rw, http.StatusOK, w.scale())
		return
	}
	answer(rw, http.StatusOK, w.object())
}

func (c *cluster) servePods(rw http.ResponseWriter, r *http.Request, rest string) {
	q := r.URL.Query()
	if rest != "" {
		name, log := strings.CutSuffix(strings.TrimPrefix(rest, "/"), "/log")
		for _, w := range c.workloads {
			for _, p := range w.pods {
				switch {
				case p.name != name:
				case log && q.Get("tailLines") == "5" && q.Get("container") == "app":
					_, _ = io.WriteString(rw, "the last words\n")
					return
				case !log:
					answer(rw, http.StatusOK, w.podObject(p))
					return
				}
			}
		}
		c.refuse(rw, r)
		return
	}
	items := []any{}
	asked := q.Get("labelSelector")
	for _, w := range c.workloads {
		if asked == "app="+w.name+",tier in (a,b)" {
			for _, p := range w.pods {
				items = append(items, w.podObject(p))
			}
			// Its labels are another's too.
			stray := w.podObject(&fakePod{name: "stray", uid: "uid-stray", ready: true})
			stray["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "uid-j", "controller": true}}
			items = append(items, stray)
		}
	}
	if len(items) == 0 {
		c.t.Errorf("pods are asked for with the selector %q", asked)
	}
	answer(rw, http.StatusOK, map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "1"}, "items": items})
}

func (c *cluster) refuse(rw http.ResponseWriter, r *http.Request) {
	c.t.Errorf("the API server is not asked so: %s %s", r.Method, r.URL)
	failure(rw, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
}

func answer(rw http.ResponseWriter, code int, what any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(what)
}

func failure(rw http.ResponseWriter, code int, reason, message string) {
	answer(rw, code, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code})
}

// discovery is what kubectl reads first (kubernetes.io/docs/reference/using-api/api-concepts).
func discovery() map[string]any {
	verbs := []string{"get", "list", "patch", "update"}
	resource := func(name, kind string) map[string]any {
		return map[string]any{"name": name, "singularName": strings.ToLower(kind), "namespaced": true, "kind": kind, "verbs": verbs}
	}
	scale := func(of string) map[string]any {
		return map[string]any{"name": of + "/scale", "namespaced": true, "kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": verbs}
	}
	v := map[string]string{"groupVersion": "apps/v1", "version": "v1"}
	return map[string]any{
		"/api":     map[string]any{"kind": "APIVersions", "versions": []string{"v1"}},
		"/apis":    map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{map[string]any{"name": "apps", "versions": []any{v}, "preferredVersion": v}}},
		"/api/v1":  map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{resource("pods", "Pod")}},
		"/version": map[string]any{"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
		"/apis/apps/v1": map[string]any{"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": []any{
			resource("deployments", "Deployment"), resource("statefulsets", "StatefulSet"), resource("daemonsets", "DaemonSet"),
			scale("deployments"), scale("statefulsets"),
		}},
	}
}

func newCluster(t *testing.T) (*place, *cluster) {
	env := checktest.NewEnv(t)
	c := &cluster{t: t, workloads: map[string]*workload{}}
	for _, w := range []*workload{
		{plural: "deployments", kind: "Deployment", name: "web"}, {plural: "statefulsets", kind: "StatefulSet", name: "db", probed: true},
		{plural: "deployments", kind: "Deployment", name: "bad", bad: true}, {plural: "daemonsets", kind: "DaemonSet", name: "agent", replicas: 2},
	} {
		w.generation, w.annotations, w.template = 1, map[string]string{}, map[string]string{}
		c.workloads[w.plural+"/"+w.name] = w
		c.reconcile(w)
	}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	config := filepath.Join(env.Dir, "kubeconfig")
	text := "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: '" + server.URL + "'}}], users: [{name: u, user: {token: t}}], contexts: [{name: far, context: {cluster: c, user: u}}]}"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &place{
		env: env, single: true, params: fmt.Sprintf("driver: kubernetes, context: far, namespace: shop, env: {KUBECONFIG: '%s', KUBECACHEDIR: '%s'}", config, filepath.Join(env.Dir, "cache")),
		one: "{name: web, exactly: 2}", two: "{name: statefulset/db, exactly: 1}", bad: "{name: bad, exactly: 1}", nobody: "{name: webb, exactly: 1}",
		crash:  func(*testing.T) { c.mu.Lock(); defer c.mu.Unlock(); c.workloads["deployments/web"].pods[0].restarts++ },
		spoilt: []string{garbage, empty, half, exits, byASignal, tooMuch},
	}
	return p.quick(), c
}
