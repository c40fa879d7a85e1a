package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// Spec says how a host is reached. Exactly one of SSH, Docker, Compose and
// Kubectl is set.
type Spec struct {
	SSH     *SSH     `json:"ssh,omitempty"`
	Docker  *Docker  `json:"docker,omitempty"`
	Compose *Compose `json:"compose,omitempty"`
	Kubectl *Kubectl `json:"kubectl,omitempty"`
	// Dir is where relative paths and programs start there; empty means where the
	// login or the container starts.
	Dir string `json:"dir,omitempty"`
}

// Docker is a running container of the Docker Engine that docker reaches.
type Docker struct {
	Container string `json:"container"`
}

// Compose is a running service of a compose project.
type Compose struct {
	Project string `json:"project,omitempty"`
	// Files are compose files; none means those that docker compose finds itself.
	Files   []string `json:"files,omitempty"`
	Service string   `json:"service"`
	// Index chooses among the service's containers, from 1; 0 means the first.
	Index int `json:"index,omitempty"`
}

// Kubectl is a container of a running pod.
type Kubectl struct {
	Context   string `json:"context,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Pod is a pod's name, or kind/name (deployment/app); Selector are labels, of
	// whose running pods the first by name is taken.
	Pod       string `json:"pod,omitempty"`
	Selector  string `json:"selector,omitempty"`
	Container string `json:"container,omitempty"`
}

// World is every host that can be reached from here.
type World struct {
	// Local is this machine; its Dir is the checkout.
	Local *Local
	// Specs are the other hosts, by their names.
	Specs map[string]Spec
}

// Host gives a host by its name; "" is this machine.
func (w World) Host(name string) (check.Host, error) {
	spec, ok := w.Specs[name]
	if ok {
		return Open(name, spec, w.Local)
	}
	if name == "" || name == "local" || name == "localhost" {
		return w.Local, nil
	}
	if len(w.Specs) == 0 {
		return nil, fmt.Errorf("host %q: the environment names no hosts", name)
	}
	return nil, fmt.Errorf("host %q: the environment names %s", name, strings.Join(slices.Sorted(maps.Keys(w.Specs)), ", "))
}

// Open gives a host from this machine; nothing is connected yet.
func Open(name string, spec Spec, from *Local) (*Remote, error) {
	r := &Remote{name: name, dir: spec.Dir, from: from.Dir, Prepare: from.Prepare}
	var words []string
	switch {
	case spec.SSH != nil:
		words = []string{spec.SSH.To, spec.SSH.Jump}
		r.via = spec.SSH.via
	case spec.Docker != nil:
		words = []string{spec.Docker.Container}
		r.via, r.keep = spec.Docker.via, engineEnv()
	case spec.Compose != nil:
		words = []string{spec.Compose.Service, spec.Compose.Project}
		r.via, r.keep = spec.Compose.via, engineEnv()
	case spec.Kubectl != nil:
		k := spec.Kubectl
		words = []string{k.Pod, k.Selector, k.Container, k.Context, k.Namespace}
		r.keep = clusterEnv()
		r.via = func(ctx context.Context, user string) ([]string, error) { return k.via(ctx, r, user) }
	default:
		return nil, fmt.Errorf("host %q: it is not said how it is reached", name)
	}
	for _, word := range append(words, spec.Dir) {
		if strings.HasPrefix(word, "-") || strings.ContainsAny(word, "\x00\n\r") {
			return nil, fmt.Errorf("host %q: %q cannot be a name or directory", name, word)
		}
	}
	return r, nil
}

// engineEnv names what tells the docker program which engine to speak with
// (docs.docker.com/reference/cli/docker, "Environment variables").
func engineEnv() []string {
	return []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION"}
}

// clusterEnv names what tells kubectl, and the programs that it asks for
// credentials, which cluster to speak with.
func clusterEnv() []string {
	return []string{
		"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"CLOUDSDK_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CONFIG_DIR",
	}
}

// via is docs.docker.com/reference/cli/docker/container/exec.
func (d *Docker) via(_ context.Context, user string) ([]string, error) {
	argv := []string{"docker", "exec", "--interactive"}
	if user != "" {
		argv = append(argv, "--user="+user)
	}
	return append(argv, d.Container, "sh", "-c", reader), nil
}

// via is docs.docker.com/reference/cli/docker/compose/exec; -T gives no terminal,
// input stays open by default.
func (c *Compose) via(_ context.Context, user string) ([]string, error) {
	argv := []string{"docker", "compose"}
	if c.Project != "" {
		argv = append(argv, "--project-name="+c.Project)
	}
	for _, file := range c.Files {
		argv = append(argv, "--file="+file)
	}
	argv = append(argv, "exec", "-T")
	if user != "" {
		argv = append(argv, "--user="+user)
	}
	if c.Index > 0 {
		argv = append(argv, "--index="+strconv.Itoa(c.Index))
	}
	return append(argv, c.Service, "sh", "-c", reader), nil
}

// via is kubernetes.io/docs/reference/kubectl/generated/kubectl_exec.
func (k *Kubectl) via(ctx context.Context, r *Remote, user string) ([]string, error) {
	if user != "" {
		return nil, errors.New("kubectl exec cannot choose the user: the container's own is used")
	}
	pod := k.Pod
	if pod == "" {
		found, err := k.find(ctx, r)
		if err != nil {
			return nil, err
		}
		pod = found
	}
	argv := append(k.base(), "exec", "--stdin", pod)
	if k.Container != "" {
		argv = append(argv, "--container="+k.Container)
	}
	return append(argv, "--", "sh", "-c", reader), nil
}

func (k *Kubectl) base() []string {
	argv := []string{"kubectl"}
	if k.Context != "" {
		argv = append(argv, "--context="+k.Context)
	}
	if k.Namespace != "" {
		argv = append(argv, "--namespace="+k.Namespace)
	}
	return argv
}

// find gives the first running pod with the labels, by name
// (kubernetes.io/docs/reference/kubectl/generated/kubectl_get).
func (k *Kubectl) find(ctx context.Context, r *Remote) (string, error) {
	argv := append(k.base(), "get", "pods", "--selector="+k.Selector, "--field-selector=status.phase=Running", "--output=name")
	local := &Local{Dir: r.from, Prepare: func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, r.keeps()...)
		if r.Prepare != nil {
			r.Prepare(cmd)
		}
	}}
	result, err := local.Exec(ctx, check.Command{Argv: argv})
	if err != nil {
		return "", err
	}
	if result.Code != 0 || result.Truncated {
		return "", fmt.Errorf("kubectl get pods ended with code %d: %.300s", result.Code, strings.TrimSpace(string(result.Stderr)))
	}
	names := strings.Fields(string(result.Stdout))
	slices.Sort(names)
	if len(names) == 0 {
		return "", fmt.Errorf("no running pod has the labels %s", k.Selector)
	}
	return names[0], nil
}
