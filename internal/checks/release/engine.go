package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// revisionLabel is where an image tells the commit that it was built from
// (github.com/opencontainers/image-spec, annotations).
const revisionLabel = "org.opencontainers.image.revision"

// maxText bounds what docker and kubectl may answer, in bytes.
const maxText = 16 << 20

// refused is a failure that is certain.
type refused struct{ why string }

// Error says why.
func (r *refused) Error() string { return r.why }

func refuse(format string, args ...any) error { return &refused{fmt.Sprintf(format, args...)} }

// settle makes a certain failure a verdict; any other error stays one.
func settle(o check.Outcome, err error) (check.Outcome, error) {
	if _, certain := errors.AsType[*refused](err); certain {
		o.Verdict, o.Reason = check.Fail, err.Error()
		return o, nil
	}
	return o, err
}

// engine is a host with docker, or one from where kubectl reaches a cluster.
type engine struct {
	check.Host
	env []string
}

// run runs docker or kubectl and gives its result whatever the exit code.
func (e engine) run(ctx context.Context, argv ...string) (check.Result, error) {
	result, err := e.Exec(ctx, check.Command{Argv: argv, Env: append([]string{"LC_ALL=C"}, e.env...), Limit: maxText})
	switch {
	case err != nil:
		return result, fmt.Errorf("%s: %w", strings.Join(argv[:2], " "), err)
	case result.Signal != "" || result.Truncated:
		return result, fmt.Errorf("%s: ended early or said too much %s", strings.Join(argv[:2], " "), result.Signal)
	}
	return result, nil
}

// said is the last line of what a program complained about.
func said(result check.Result) string {
	lines := strings.Split(strings.TrimSpace(string(result.Stderr)), "\n")
	last := lines[len(lines)-1]
	return fmt.Sprintf("exit %d: %s", result.Code, last[:min(len(last), 300)])
}

// held is an image as docker image inspect tells of it
// (docs.docker.com/reference/api/engine, ImageInspect).
type held struct {
	ID          string   `json:"Id"`
	RepoTags    []string `json:"RepoTags"`
	RepoDigests []string `json:"RepoDigests"`
	Config      struct {
		Labels map[string]string `json:"Labels"`
	} `json:"Config"`
}

// absent is an image that the host does not have.
type absent struct{ ref string }

// Error names the image.
func (a *absent) Error() string { return "there is no image " + a.ref }

// image looks at an image that the host has.
func (e engine) image(ctx context.Context, ref string) (held, error) {
	result, err := e.run(ctx, "docker", "image", "inspect", ref)
	if err != nil {
		return held{}, err
	}
	if result.Code != 0 {
		if strings.Contains(strings.ToLower(string(result.Stderr)), "no such image") {
			return held{}, &absent{ref}
		}
		return held{}, fmt.Errorf("docker image inspect: %s", said(result))
	}
	var all []held
	if err := json.Unmarshal(result.Stdout, &all); err != nil {
		return held{}, fmt.Errorf("read docker image inspect: %w", err)
	}
	if len(all) != 1 || !isDigest(all[0].ID) {
		return held{}, fmt.Errorf("docker image inspect tells of %d images when asked for one", len(all))
	}
	return all[0], nil
}

// pullTag pulls by tag and gives the digest that docker pulled.
func (e engine) pullTag(ctx context.Context, ref string) (string, error) {
	result, err := e.run(ctx, "docker", "pull", ref)
	if err != nil {
		return "", err
	}
	if result.Code != 0 {
		return "", refuse("docker pull: %s", said(result))
	}
	found := regexp.MustCompile(`(?m)^Digest: (sha256:[0-9a-f]{64})$`).FindAllSubmatch(result.Stdout, -1)
	if len(found) != 1 {
		return "", fmt.Errorf("docker pull told %d digests", len(found))
	}
	return string(found[0][1]), nil
}

// pullDigest pulls exactly this image and gives it its tag.
func (e engine) pullDigest(ctx context.Context, ref, tag string) error {
	for _, argv := range [][]string{{"docker", "pull", "--quiet", ref}, {"docker", "tag", ref, tag}} {
		result, err := e.run(ctx, argv...)
		if err != nil {
			return err
		}
		if result.Code != 0 {
			return refuse("%s %s: %s", argv[0], argv[1], said(result))
		}
	}
	return nil
}

// running is something that runs, with the names of its image.
type running struct {
	name string
	// digests are repository@digest, as many as the image has.
	digests []string
	// wrong says why it does not run at all.
	wrong string
}

// containers finds the containers that are asked for, by docker ps and docker
// inspect (docs.docker.com/reference/api/engine, ContainerInspect). One that is not
// there is found as what is wrong.
func (e engine) containers(ctx context.Context, i *image) ([]running, error) {
	var all []running
	for _, service := range i.Services {
		found, err := e.listed(ctx, "service "+service, "label=com.docker.compose.project="+i.Project, "label=com.docker.compose.service="+service, "label=com.docker.compose.oneoff=False")
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	for _, name := range i.Containers {
		found, err := e.listed(ctx, "container "+name, "name=^/"+regexp.QuoteMeta(name)+"$")
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (e engine) listed(ctx context.Context, what string, filters ...string) ([]running, error) {
	argv := []string{"docker", "ps", "--no-trunc", "--quiet"}
	for _, f := range filters {
		argv = append(argv, "--filter="+f)
	}
	result, err := e.run(ctx, argv...)
	if err != nil {
		return nil, err
	}
	if result.Code != 0 {
		return nil, fmt.Errorf("docker ps: %s", said(result))
	}
	ids := strings.Fields(string(result.Stdout))
	if len(ids) == 0 {
		return []running{{name: what, wrong: "does not run"}}, nil
	}
	result, err = e.run(ctx, append([]string{"docker", "inspect", "--type=container"}, ids...)...)
	if err != nil {
		return nil, err
	}
	var found []struct {
		ID    string `json:"Id"`
		Name  string `json:"Name"`
		Image string `json:"Image"`
		State struct {
			Running *bool `json:"Running"`
		} `json:"State"`
	}
	if result.Code != 0 {
		return nil, fmt.Errorf("docker inspect: %s", said(result))
	}
	if err := json.Unmarshal(result.Stdout, &found); err != nil {
		return nil, fmt.Errorf("read docker inspect: %w", err)
	}
	if len(found) != len(ids) {
		return nil, fmt.Errorf("docker inspect tells of %d containers when asked for %d", len(found), len(ids))
	}
	var all []running
	for _, c := range found {
		if !slices.Contains(ids, c.ID) || !isDigest(c.Image) || c.State.Running == nil {
			return nil, fmt.Errorf("docker inspect: %s has no image, no state, or was not asked for", what)
		}
		r := running{name: strings.TrimPrefix(c.Name, "/")}
		if !*c.State.Running {
			r.wrong = "does not run"
		}
		img, err := e.image(ctx, c.Image)
		if err != nil {
			return nil, fmt.Errorf("the image of %s: %w", r.name, err)
		}
		// An image that was built here has no digest of a registry.
		if r.digests = img.RepoDigests; len(r.digests) == 0 {
			r.digests = []string{img.ID + " (from no registry)"}
		}
		all = append(all, r)
	}
	return all, nil
}

// pod is what kubectl get pods --output=json tells of one (kubernetes.io/docs,
// Pod v1 core).
type pod struct {
	Metadata struct {
		Name    string `json:"name"`
		Deleted string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Status struct {
		Phase      string `json:"phase"`
		Containers []struct {
			Name    string `json:"name"`
			ImageID string `json:"imageID"`
			State   struct {
				Running *struct{} `json:"running"`
			} `json:"state"`
		} `json:"containerStatuses"`
	} `json:"status"`
}

// pods finds the containers of the pods that have the labels. Pods that are being
// deleted or have ended do not count.
func (e engine) pods(ctx context.Context, p pods) ([]running, error) {
	result, err := e.run(ctx, append(kubectl(p.Context, p.Namespace), "get", "pods", "--selector="+p.Selector, "--output=json")...)
	if err != nil {
		return nil, err
	}
	if result.Code != 0 {
		return nil, fmt.Errorf("kubectl get pods: %s", said(result))
	}
	var list struct {
		Kind  string `json:"kind"`
		Items []pod  `json:"items"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(result.Stdout), &list); err != nil || list.Kind != "List" && list.Kind != "PodList" {
		return nil, fmt.Errorf("read kubectl get pods: %w", errors.Join(err, fmt.Errorf("kind is %.40q", list.Kind)))
	}
	var all []running
	for _, one := range list.Items {
		if one.Metadata.Deleted != "" || one.Status.Phase == "Succeeded" || one.Status.Phase == "Failed" {
			continue
		}
		r, err := one.container(p.Container)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return []running{{name: "pods " + p.Selector, wrong: "do not run"}}, nil
	}
	return all, nil
}

func (p pod) container(name string) (running, error) {
	r := running{name: "pod " + p.Metadata.Name, wrong: "does not run the container " + name}
	for _, c := range p.Status.Containers {
		if c.Name != name || c.State.Running == nil {
			continue
		}
		// Docker's runtime writes a scheme in front.
		id := strings.TrimPrefix(c.ImageID, "docker-pullable://")
		if !strings.Contains(id, "@sha256:") {
			return r, fmt.Errorf("%s tells its image as %.100q, which is no digest of a registry", r.name, c.ImageID)
		}
		return running{name: r.name, digests: []string{id}}, nil
	}
	return r, nil
}
