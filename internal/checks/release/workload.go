package release

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// workload names what runs an image on Kubernetes.
type workload struct {
	Resource  string `param:"resource,short" doc:"deployment/NAME, statefulset/NAME or daemonset/NAME" default:""`
	Container string `param:"container" doc:"name of the container that runs the image"`
	Namespace string `param:"namespace" doc:"namespace; the context's when left out" default:""`
	Context   string `param:"context" doc:"context of kubectl; the current one when left out" default:""`
}

func (w workload) given() bool { return w.Resource != "" }

func (w workload) validate() error {
	if !regexp.MustCompile(`^(deployment|statefulset|daemonset)/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`).MatchString(w.Resource) {
		return fmt.Errorf("workload: %.100q: want deployment/NAME, statefulset/NAME or daemonset/NAME", w.Resource)
	}
	return nil
}

// kubectl gives the program's first words.
func kubectl(context, namespace string) []string {
	argv := []string{"kubectl"}
	if context != "" {
		argv = append(argv, "--context="+context)
	}
	if namespace != "" {
		argv = append(argv, "--namespace="+namespace)
	}
	return argv
}

// kubectl runs kubectl where any other end than success means not knowing.
func (e engine) kubectl(ctx context.Context, w workload, words ...string) (check.Result, error) {
	result, err := e.run(ctx, append(kubectl(w.Context, w.Namespace), words...)...)
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("kubectl %s: %s", words[0], said(result))
	}
	return result, err
}

// spec is what a workload says about its image.
type spec struct {
	image string
	// before is the image that this attempt found there; "" when it found none.
	before string
}

// annotation keeps what a workload ran before this attempt.
func (i *image) annotation(key string) string {
	return "allclear.dev/" + strings.Replace(i.before(key), i.Live+"-", "", 1)
}

func (i *image) spec(ctx context.Context, env *check.Env, at engine) (spec, error) {
	result, err := at.kubectl(ctx, i.Workload, "get", i.Workload.Resource, "--output=json")
	if err != nil {
		return spec{}, err
	}
	var doc struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Name  string `json:"name"`
						Image string `json:"image"`
					} `json:"containers"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(result.Stdout, &doc); err != nil {
		return spec{}, fmt.Errorf("read kubectl get: %w", err)
	}
	for _, c := range doc.Spec.Template.Spec.Containers {
		if c.Name == i.Workload.Container && c.Image != "" {
			return spec{image: c.Image, before: doc.Metadata.Annotations[i.annotation(env.Key)]}, nil
		}
	}
	return spec{}, refuse("%s has no container %s", i.Workload.Resource, i.Workload.Container)
}

// roll gives a workload the image by its digest, after it was written down on the
// workload itself what it ran before.
func (i *image) roll(ctx context.Context, env *check.Env, at engine) (check.Outcome, error) {
	want, err := i.pinned(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	is, err := i.spec(ctx, env, at)
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Facts: map[string]string{"from": is.image, "to": want}}
	if is.image == want {
		outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("%s has %s already", i.Workload.Resource, want)
		return outcome, nil
	}
	if _, err := at.kubectl(ctx, i.Workload, "annotate", "--overwrite", i.Workload.Resource, i.annotation(env.Key)+"="+is.image); err != nil {
		return outcome, err
	}
	if err := i.set(ctx, env, at, want); err != nil {
		return outcome, err
	}
	fmt.Fprintf(env.Log, "%s: %s is given %s\n", at.Name(), i.Workload.Resource, want)
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("%s is given %s", i.Workload.Resource, want)
	return outcome, nil
}

// set changes the workload's image and sees that it did.
func (i *image) set(ctx context.Context, env *check.Env, at engine, image string) error {
	if _, err := at.kubectl(ctx, i.Workload, "set", "image", i.Workload.Resource, i.Workload.Container+"="+image); err != nil {
		return err
	}
	is, err := i.spec(ctx, env, at)
	if err == nil && is.image != image {
		err = fmt.Errorf("%s has %s, although it was just given %s: somebody else changes it", i.Workload.Resource, is.image, image)
	}
	return err
}

// pinned is the image by its digest, as a workload names it.
func (i *image) pinned(ctx context.Context, env *check.Env) (string, error) {
	digest, err := i.needed(ctx, env)
	if err != nil {
		return "", err
	}
	repository, _, err := split(i.Image)
	return repository + "@" + digest, err
}

// probeWorkload tells whether the workload has the image.
func (i *image) probeWorkload(ctx context.Context, env *check.Env, at engine) (check.Progress, check.Outcome, error) {
	want, err := i.pinned(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	is, err := i.spec(ctx, env, at)
	if err != nil {
		return "", check.Outcome{}, err
	}
	outcome := check.Passf("%s has %s", i.Workload.Resource, is.image)
	if is.image == want {
		return check.Done, outcome, nil
	}
	return check.NotDone, outcome, nil
}

// undoWorkload gives the workload back what this very attempt found there, if
// nobody has changed it since.
func (i *image) undoWorkload(ctx context.Context, env *check.Env, at engine) (check.Outcome, error) {
	want, err := i.pinned(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	is, err := i.spec(ctx, env, at)
	switch {
	case err != nil:
		return check.Outcome{}, err
	case is.before == "" || env.Key == "":
		return check.Passf("%s was not switched by this item", i.Workload.Resource), nil
	case is.image != want && is.image != is.before:
		return check.Outcome{}, refuse("%s has %s since, and keeps it", i.Workload.Resource, is.image)
	case is.image == want:
		if err := i.set(ctx, env, at, is.before); err != nil {
			return check.Outcome{}, err
		}
	}
	return check.Passf("%s has %s again", i.Workload.Resource, is.before), nil
}
