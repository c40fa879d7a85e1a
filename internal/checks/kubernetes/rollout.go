package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
)

// workload is what the status of a Deployment, StatefulSet or DaemonSet tells of
// its rollout (kubernetes.io/docs/reference/kubernetes-api/workload-resources).
type workload struct {
	Spec struct {
		Replicas *int64 `json:"replicas"`
		Paused   bool   `json:"paused"`
	} `json:"spec"`
	Status *struct {
		ObservedGeneration int64       `json:"observedGeneration"`
		Replicas           int64       `json:"replicas"`
		Updated            int64       `json:"updatedReplicas"`
		Ready              int64       `json:"readyReplicas"`
		Available          int64       `json:"availableReplicas"`
		Desired            int64       `json:"desiredNumberScheduled"`
		UpdatedScheduled   int64       `json:"updatedNumberScheduled"`
		NumberAvailable    int64       `json:"numberAvailable"`
		CurrentRevision    string      `json:"currentRevision"`
		UpdateRevision     string      `json:"updateRevision"`
		Conditions         []condition `json:"conditions"`
	} `json:"status"`
}

type condition struct {
	Type, Status, Reason, Message string
}

// rollout says how far a workload is, as kubectl rollout status judges it: the
// controller has seen the latest generation, everything is of it, nothing of an
// earlier one is left, and all of it is available.
func (t thing) rollout() (state string, complete bool, err error) {
	var w workload
	if err := json.Unmarshal(t.text, &w); err != nil {
		return "", false, fmt.Errorf("read the status: %w", err)
	}
	if w.Status == nil || t.Meta.Generation == 0 {
		return "", false, errors.New("it tells no status of a rollout")
	}
	if w.Status.ObservedGeneration < t.Meta.Generation {
		return fmt.Sprintf("the controller has seen generation %d, and %d is the latest", w.Status.ObservedGeneration, t.Meta.Generation), false, nil
	}
	if t.Kind != "DaemonSet" && w.wanted() == 0 {
		return "", false, errors.New("it is scaled to 0, which shows nothing of a rollout")
	}
	switch t.Kind {
	case "Deployment":
		return w.deployment()
	case "StatefulSet":
		return w.statefulSet()
	case "DaemonSet":
		return w.daemonSet()
	}
	return "", false, fmt.Errorf("a %s has no rollout: Deployment, StatefulSet and DaemonSet have one", t.Kind)
}

// wanted is the number of replicas; the API server fills a missing one with 1.
func (w *workload) wanted() int64 {
	if w.Spec.Replicas == nil {
		return 1
	}
	return *w.Spec.Replicas
}

func (w *workload) deployment() (string, bool, error) {
	for _, c := range w.Status.Conditions {
		if c.Type == "Progressing" && c.Reason == "ProgressDeadlineExceeded" {
			return "it makes no progress: " + c.Message, false, nil
		}
	}
	s, want := w.Status, w.wanted()
	state := fmt.Sprintf("%d of %d updated, %d available, %d in all", s.Updated, want, s.Available, s.Replicas)
	if w.Spec.Paused {
		return "it is paused: " + state, false, nil
	}
	return state, s.Updated == want && s.Replicas == want && s.Available == want, nil
}

func (w *workload) statefulSet() (string, bool, error) {
	s, want := w.Status, w.wanted()
	state := fmt.Sprintf("%d of %d updated, %d ready", s.Updated, want, s.Ready)
	if s.UpdateRevision != s.CurrentRevision {
		return state + ", an earlier revision is left", false, nil
	}
	// Once all are of the current revision, updatedReplicas may be left out.
	return state, s.Ready == want && s.Replicas == want && s.UpdateRevision != "", nil
}

func (w *workload) daemonSet() (string, bool, error) {
	s := w.Status
	state := fmt.Sprintf("%d of %d nodes updated, %d available", s.UpdatedScheduled, s.Desired, s.NumberAvailable)
	if s.Desired == 0 {
		return state, false, errors.New("it is wanted on no node, which shows nothing")
	}
	return state, s.UpdatedScheduled == s.Desired && s.NumberAvailable == s.Desired, nil
}
