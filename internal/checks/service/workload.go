package service

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// workloadObject is a Deployment, StatefulSet or DaemonSet, in the parts that tell
// how it stands (kubernetes.io/docs/reference/kubernetes-api/workload-resources).
type workloadObject struct {
	Kind     string     `json:"kind"`
	Metadata objectMeta `json:"metadata"`
	Spec     struct {
		Replicas       *int     `json:"replicas"`
		Paused         bool     `json:"paused"`
		Selector       selector `json:"selector"`
		UpdateStrategy struct {
			Type          string `json:"type"`
			RollingUpdate struct {
				Partition int `json:"partition"`
			} `json:"rollingUpdate"`
		} `json:"updateStrategy"`
		Template struct {
			Metadata objectMeta `json:"metadata"`
			Spec     struct {
				Containers []podContainer `json:"containers"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration int64 `json:"observedGeneration"`
		// Of deployments and stateful sets.
		Replicas          int         `json:"replicas"`
		UpdatedReplicas   int         `json:"updatedReplicas"`
		ReadyReplicas     int         `json:"readyReplicas"`
		AvailableReplicas *int        `json:"availableReplicas"`
		Conditions        []condition `json:"conditions"`
		// Of daemon sets.
		Desired   int `json:"desiredNumberScheduled"`
		Updated   int `json:"updatedNumberScheduled"`
		Ready     int `json:"numberReady"`
		Available int `json:"numberAvailable"`
	} `json:"status"`
}

type objectMeta struct {
	Name              string            `json:"name"`
	UID               string            `json:"uid"`
	Generation        int64             `json:"generation"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	DeletionTimestamp *time.Time        `json:"deletionTimestamp"`
	OwnerReferences   []struct {
		Kind       string `json:"kind"`
		Name       string `json:"name"`
		UID        string `json:"uid"`
		Controller bool   `json:"controller"`
	} `json:"ownerReferences"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type podContainer struct {
	Image     string    `json:"image"`
	Readiness *struct{} `json:"readinessProbe"`
}

// pod is a Pod
// (kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1).
type pod struct {
	Metadata objectMeta `json:"metadata"`
	Status   struct {
		Phase      string            `json:"phase"`
		Conditions []condition       `json:"conditions"`
		Init       []containerStatus `json:"initContainerStatuses"`
		Containers []containerStatus `json:"containerStatuses"`
	} `json:"status"`
}

type containerStatus struct {
	Name         string         `json:"name"`
	Ready        bool           `json:"ready"`
	RestartCount int            `json:"restartCount"`
	State        containerState `json:"state"`
	Last         containerState `json:"lastState"`
}

type containerState struct {
	Waiting *struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"waiting"`
	Terminated *struct {
		ExitCode int    `json:"exitCode"`
		Reason   string `json:"reason"`
	} `json:"terminated"`
}

// controls reports whether a pod is the workload's: its controller is the workload,
// or for a deployment one of the replica sets that are named after it and their
// template.
func (o *workloadObject) controls(p pod) bool {
	for _, owner := range p.Metadata.OwnerReferences {
		if !owner.Controller {
			continue
		}
		if o.Kind == "Deployment" {
			return owner.Kind == "ReplicaSet" && owner.Name == o.Metadata.Name+"-"+p.Metadata.Labels["pod-template-hash"]
		}
		return owner.UID == o.Metadata.UID
	}
	return false
}

// wanted is how many pods there should be.
func (o *workloadObject) wanted() int {
	switch {
	case o.Kind == "DaemonSet":
		return o.Status.Desired
	case o.Spec.Replicas == nil:
		return 1 // the default of the API
	}
	return *o.Spec.Replicas
}

// cannotRestart says why a rollout would not replace every pod, if so.
func (o *workloadObject) cannotRestart() string {
	switch {
	case o.Spec.Paused:
		return "is paused: kubectl rollout resume it first"
	case o.wanted() == 0:
		return "has no pods to restart: it is scaled to none"
	case o.Spec.UpdateStrategy.Type == "OnDelete":
		return "has the update strategy OnDelete: a rollout replaces no pod of it"
	case o.Spec.UpdateStrategy.RollingUpdate.Partition > 0:
		return fmt.Sprintf("has a partition: a rollout replaces no pod below number %d", o.Spec.UpdateStrategy.RollingUpdate.Partition)
	}
	return ""
}

// counts are the workload's own figures, whatever its kind.
type counts struct{ all, updated, ready, available int }

func (o *workloadObject) counts() counts {
	s := &o.Status
	if o.Kind == "DaemonSet" {
		return counts{s.Desired, s.Updated, s.Ready, s.Available}
	}
	c := counts{s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.ReadyReplicas}
	switch {
	case s.AvailableReplicas != nil:
		c.available = *s.AvailableReplicas
	case o.Kind == "Deployment":
		c.available = 0 // left out when there is none; stateful sets had none before 1.22
	}
	return c
}

// status tells how the workload stands with these pods. The figures alone are not
// believed: they are those of an older generation until the controller has seen
// the newest.
func (o *workloadObject) status(pods []pod) status {
	st := status{mark: o.Spec.Template.Metadata.Annotations[restartedAt]}
	alive := 0
	for _, p := range pods {
		i := instance{ID: p.Metadata.Name, Life: p.Metadata.UID, Start: p.Metadata.UID, Ending: p.Metadata.DeletionTimestamp != nil}
		for _, c := range p.Status.Containers {
			i.Restarts += c.RestartCount
		}
		if !i.Ending {
			alive++
		}
		st.instances = append(st.instances, i)
	}
	want, c := o.wanted(), o.counts()
	st.phase = o.phase(want, c, alive, len(pods))
	st.why = o.words(want, c, pods)
	st.logs = worstLog(pods)
	asks := func(c podContainer) bool { return c.Readiness != nil }
	if st.phase == up && slices.ContainsFunc(o.Spec.Template.Spec.Containers, asks) {
		st.health = "healthy" // every pod is ready
	}
	return st
}

func (o *workloadObject) phase(want int, c counts, alive, all int) phase {
	// Under OnDelete and below a partition, old pods are meant to stay.
	updated := want - o.Spec.UpdateStrategy.RollingUpdate.Partition
	if o.Spec.UpdateStrategy.Type == "OnDelete" {
		updated = 0
	}
	switch {
	case o.Status.ObservedGeneration < o.Metadata.Generation:
		return changing
	case want == 0 && all == 0 && c.all == 0:
		return down
	case want == 0:
		return changing
	case o.exceeded():
		return broken
	case c.all != want, c.updated < updated, c.ready < want, c.available < want, alive != want:
		return changing
	}
	return up
}

// exceeded reports that a deployment has given up waiting for progress
// (kubernetes.io/docs/concepts/workloads/controllers/deployment, "Failed Deployment").
func (o *workloadObject) exceeded() bool {
	return slices.ContainsFunc(o.Status.Conditions, func(c condition) bool {
		return c.Type == "Progressing" && c.Status == "False" && c.Reason == "ProgressDeadlineExceeded"
	})
}

// words says how the workload stands, and what is wrong with which pod.
func (o *workloadObject) words(want int, c counts, pods []pod) string {
	if want == 0 && len(pods) == 0 {
		return "scaled to none"
	}
	said := []string{fmt.Sprintf("%d of %d pods updated, %d ready, %d available", c.updated, want, c.ready, c.available)}
	if o.Status.ObservedGeneration < o.Metadata.Generation {
		said = append(said, fmt.Sprintf("generation %d is not yet observed", o.Metadata.Generation))
	}
	if at := o.Spec.Template.Metadata.Annotations[restartedAt]; at != "" {
		said = append(said, "restarted at "+at)
	}
	for _, c := range o.Status.Conditions {
		if c.Status == "False" && c.Type == "Progressing" || c.Status == "True" && c.Type == "ReplicaFailure" {
			said = append(said, c.Reason+": "+lastLines([]byte(c.Message)))
		}
	}
	const mostPods = 5
	for _, p := range pods {
		if text := p.words(); text != "" && len(said) < mostPods {
			said = append(said, text)
		}
	}
	return strings.Join(said, "; ")
}

// words says what is not in order with a pod.
func (p pod) words() string {
	var said []string
	if p.Metadata.DeletionTimestamp != nil {
		said = append(said, "is ending")
	}
	for _, c := range p.Status.Conditions {
		if c.Type == "PodScheduled" && c.Status == "False" {
			said = append(said, c.Reason+": "+lastLines([]byte(c.Message)))
		}
	}
	for _, c := range slices.Concat(p.Status.Init, p.Status.Containers) {
		if text := c.words(); text != "" {
			said = append(said, c.Name+" "+text)
		}
	}
	if len(said) == 0 {
		return ""
	}
	return "pod " + p.Metadata.Name + " " + strings.Join(said, ", ")
}

func (c containerStatus) words() string {
	var text string
	switch {
	case c.State.Waiting != nil && c.State.Waiting.Reason != "PodInitializing":
		text = "waits: " + c.State.Waiting.Reason
		if c.Last.Terminated == nil && c.State.Waiting.Message != "" {
			text += " (" + lastLines([]byte(c.State.Waiting.Message)) + ")"
		}
	case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
		text = fmt.Sprintf("ended: %s, exit %d", c.State.Terminated.Reason, c.State.Terminated.ExitCode)
	}
	if last := c.Last.Terminated; last != nil && c.RestartCount > 0 {
		text += fmt.Sprintf(", %d restarts, the last after %s, exit %d", c.RestartCount, last.Reason, last.ExitCode)
	}
	return strings.TrimPrefix(text, ", ")
}

// worstLog gives kubectl's words for the log that tells most: of a container that
// does not run the time before, else of one that is not ready.
func worstLog(pods []pod) []string {
	var waiting, unready []string
	for _, p := range pods {
		for _, c := range slices.Concat(p.Status.Init, p.Status.Containers) {
			words := []string{p.Metadata.Name, "--container=" + c.Name}
			switch {
			case c.Last.Terminated != nil && c.State.Waiting != nil:
				waiting = append(words, "--previous")
			case !c.Ready && c.State.Waiting == nil:
				unready = words
			}
		}
	}
	if waiting != nil {
		return waiting
	}
	return unready
}
