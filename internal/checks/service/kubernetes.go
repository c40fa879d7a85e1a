package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// kubernetes is the driver for the workloads of a cluster, by kubectl
// (kubernetes.io/docs/reference/kubectl).
type kubernetes struct {
	tool
	*work
}

// replicasKept is the annotation that keeps how many pods a workload had before it
// was scaled to none.
const replicasKept = "allclear.dev/replicas"

// restartedAt is the annotation of the pod template that kubectl rollout restart
// sets.
const restartedAt = "kubectl.kubernetes.io/restartedAt"

// workload gives what kind of object a unit is and its name.
func (u *unit) workload() (kind, name string) {
	kind, name, found := strings.Cut(u.Name, "/")
	if !found {
		return "deployment", u.Name
	}
	return kind, name
}

// resource names the unit's object for kubectl.
func (u *unit) resource() string {
	kind, name := u.workload()
	return kind + ".apps/" + name
}

func (k *kubernetes) kubectl(ctx context.Context, words ...string) ([]byte, error) {
	argv := []string{"kubectl"}
	if k.Context != "" {
		argv = append(argv, "--context="+k.Context)
	}
	if k.Namespace != "" {
		argv = append(argv, "--namespace="+k.Namespace)
	}
	return k.run(ctx, append(argv, words...)...)
}

func (k *kubernetes) look(ctx context.Context, u *unit) (status, error) {
	o, err := k.object(ctx, u)
	if end, ok := errors.AsType[*ended](err); ok && strings.Contains(end.stderr, "(NotFound)") {
		return status{phase: missing, why: "is not known to the cluster (NotFound)"}, nil
	}
	if err != nil {
		return status{}, fmt.Errorf("look at %s: %w", u.Name, err)
	}
	pods, err := k.pods(ctx, o)
	if err != nil {
		return status{}, fmt.Errorf("look at the pods of %s: %w", u.Name, err)
	}
	st := o.status(pods)
	if u.Image != "" && !slices.ContainsFunc(o.Spec.Template.Spec.Containers, func(c podContainer) bool { return c.Image == u.Image }) {
		st.off = "no container of it has image " + u.Image
	}
	return st, nil
}

func (k *kubernetes) object(ctx context.Context, u *unit) (*workloadObject, error) {
	text, err := k.kubectl(ctx, "get", u.resource(), "--output=json")
	if err != nil {
		return nil, err
	}
	var o workloadObject
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("read kubectl get: %w", err)
	}
	kind, name := u.workload()
	switch {
	case strings.ToLower(o.Kind) != kind || o.Metadata.Name != name:
		return nil, fmt.Errorf("kubectl get gives %q %q when asked for %s", o.Kind, o.Metadata.Name, u.Name)
	case o.Metadata.UID == "" || o.Metadata.Generation < 1 || len(o.Spec.Template.Spec.Containers) == 0:
		return nil, errors.New("kubectl get leaves out uid, generation or containers")
	case len(o.Spec.Selector.MatchLabels)+len(o.Spec.Selector.MatchExpressions) == 0:
		return nil, errors.New("it selects no pods")
	}
	return &o, nil
}

// pods gives those that the workload controls, the ending ones too. Its labels
// alone might be another's as well.
func (k *kubernetes) pods(ctx context.Context, o *workloadObject) ([]pod, error) {
	selector, err := o.Spec.Selector.text()
	if err != nil {
		return nil, err
	}
	text, err := k.kubectl(ctx, "get", "pods", "--selector="+selector, "--output=json")
	if err != nil {
		return nil, err
	}
	var list struct {
		Kind  string `json:"kind"`
		Items []pod  `json:"items"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read kubectl get pods: %w", err)
	}
	if !strings.HasSuffix(list.Kind, "List") || list.Items == nil {
		return nil, errors.New("kubectl get pods gives no list")
	}
	for _, p := range list.Items {
		if p.Metadata.Name == "" || p.Metadata.UID == "" || p.Status.Phase == "" {
			return nil, errors.New("kubectl get pods leaves out name, uid or phase")
		}
	}
	return slices.DeleteFunc(list.Items, func(p pod) bool {
		// One that ended and is kept does not run.
		return !o.controls(p) || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed"
	}), nil
}

// scale sets how many pods there should be.
func (k *kubernetes) scale(ctx context.Context, u *unit, replicas int) error {
	_, err := k.kubectl(ctx, "scale", u.resource(), "--replicas="+strconv.Itoa(replicas))
	return err
}

// start scales to as many pods as wanted, or as there were before stop.
func (k *kubernetes) start(ctx context.Context, u *unit) (string, error) {
	o, err := k.object(ctx, u)
	if err != nil {
		return "", err
	}
	replicas, err := strconv.Atoi(o.Metadata.Annotations[replicasKept])
	if u.Exactly != nil {
		replicas, err = *u.Exactly, nil
	}
	if err != nil || replicas < 1 {
		return "", &refused{"has no pods, and how many there should be is not known: give exactly"}
	}
	return fmt.Sprintf("scaled to %d", replicas), k.scale(ctx, u, replicas)
}

// stop scales to none, keeping how many pods there were on the object itself, and
// waits until the last one is gone.
func (k *kubernetes) stop(ctx context.Context, u *unit, st status) (string, []string, error) {
	if st.stopped() {
		return wasStopped, nil, nil
	}
	o, err := k.object(ctx, u)
	if err != nil {
		return "", nil, err
	}
	if n := o.wanted(); n > 0 {
		if _, err := k.kubectl(ctx, "annotate", u.resource(), replicasKept+"="+strconv.Itoa(n), "--overwrite"); err != nil {
			return "", nil, err
		}
		if err := k.scale(ctx, u, 0); err != nil {
			return "", nil, err
		}
	}
	end := k.work.env.Now().Add(k.Within)
	for {
		if st, err = k.look(ctx, u); err != nil {
			return "", nil, err
		}
		if st.stopped() {
			return "scaled to none", nil, nil
		}
		if !k.work.env.Now().Before(end) {
			return "", nil, fmt.Errorf("after %s it is %s", k.Within, st)
		}
		if err := k.work.env.Sleep(ctx, k.Every); err != nil {
			return "", nil, err
		}
	}
}

// restart replaces the pods as the workload's own strategy has it; whether that
// can replace all of them is looked at before.
func (k *kubernetes) restart(ctx context.Context, u *unit, _ status) (string, error) {
	o, err := k.object(ctx, u)
	if err != nil {
		return "", err
	}
	if why := o.cannotRestart(); why != "" {
		return "", &refused{why}
	}
	_, err = k.kubectl(ctx, "rollout", "restart", u.resource())
	return "rolled out anew", err
}

func (k *kubernetes) reload(context.Context, *unit, status) error {
	return &refused{"has no reload"}
}

func (k *kubernetes) instances(_ context.Context, _ *unit, st status) ([]string, error) {
	var names []string
	for _, i := range st.instances {
		if !i.Ending {
			names = append(names, "pod "+i.ID)
		}
	}
	return names, nil
}

// tail shows the log of the pod that is worst off, before its last crash if it
// does not run.
func (k *kubernetes) tail(ctx context.Context, _ *unit, st status) []byte {
	if len(st.logs) == 0 {
		return nil
	}
	text, err := k.kubectl(ctx, append([]string{"logs", "--tail=" + tailLines}, st.logs...)...)
	if err != nil {
		return nil
	}
	return text
}

// selector is a LabelSelector
// (kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector).
type selector struct {
	MatchLabels      map[string]string `json:"matchLabels"`
	MatchExpressions []struct {
		Key      string   `json:"key"`
		Operator string   `json:"operator"`
		Values   []string `json:"values"`
	} `json:"matchExpressions"`
}

// text gives the selector in kubectl's words.
func (s selector) text() (string, error) {
	var terms []string
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		terms = append(terms, key+"="+s.MatchLabels[key])
	}
	for _, e := range s.MatchExpressions {
		switch e.Operator {
		case "In", "NotIn":
			terms = append(terms, fmt.Sprintf("%s %s (%s)", e.Key, strings.ToLower(e.Operator), strings.Join(e.Values, ",")))
		case "Exists":
			terms = append(terms, e.Key)
		case "DoesNotExist":
			terms = append(terms, "!"+e.Key)
		default:
			return "", fmt.Errorf("its selector has the unknown operator %.40q", e.Operator)
		}
	}
	return strings.Join(terms, ","), nil
}
