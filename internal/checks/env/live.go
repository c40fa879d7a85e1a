package env

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// environment is where all variables of a deployed system are read. Of several
// sources, the later one counts, as with a container's env files.
type environment struct {
	On        string `param:"on" doc:"host to read it on" default:""`
	File      string `param:"file,short" doc:"dotenv file" default:""`
	Process   string `param:"process" doc:"name of a program; the environment of its oldest process counts" default:""`
	PIDFile   string `param:"pid_file" doc:"file with the pid of the process whose environment counts" default:""`
	Container string `param:"container" doc:"name of a container that docker inspect knows" default:""`
	Secret    string `param:"secret" doc:"name of a Kubernetes Secret" default:""`
	ConfigMap string `param:"config_map" doc:"name of a Kubernetes ConfigMap" default:""`
	Namespace string `param:"namespace" doc:"namespace of secret and config_map" default:""`
	Context   string `param:"context" doc:"kubectl's context; its own when left out" default:""`
}

// validate holds the rules between the parameters.
func (e *environment) validate() error {
	given := 0
	for _, name := range []string{e.File, e.Process, e.PIDFile, e.Container, e.Secret, e.ConfigMap} {
		if name == "" {
			continue
		}
		given++
		if strings.HasPrefix(name, "-") || strings.ContainsAny(name, "\r\n\x00") {
			return fmt.Errorf("%q is no name", name)
		}
	}
	switch {
	case given != 1:
		return errors.New("give one of file, process, pid_file, container, secret and config_map")
	case (e.Namespace != "" || e.Context != "") && e.Secret == "" && e.ConfigMap == "":
		return errors.New("namespace and context go with secret and config_map")
	case strings.HasPrefix(e.Namespace, "-") || strings.HasPrefix(e.Context, "-"):
		return errors.New("namespace and context: no name begins with -")
	}
	return nil
}

// where names the environment in messages.
func (e *environment) where() string {
	at := ""
	if e.On != "" {
		at = " on " + e.On
	}
	switch {
	case e.Container != "":
		return "the container " + e.Container + at
	case e.Secret != "":
		return "the Secret " + e.Secret + at
	case e.ConfigMap != "":
		return "the ConfigMap " + e.ConfigMap + at
	}
	return (&source{On: e.On, File: e.File, Process: e.Process, PIDFile: e.PIDFile}).where()
}

// read gives every variable. None at all is an error: an application without
// configuration is a source that was not read.
func (e *environment) read(ctx context.Context, env *check.Env) (map[string]string, error) {
	host, err := env.Host(e.On)
	if err != nil {
		return nil, err
	}
	var vars map[string]string
	switch {
	case e.Container != "":
		vars, err = e.inspect(ctx, host)
	case e.Secret != "", e.ConfigMap != "":
		vars, err = e.cluster(ctx, host)
	default:
		vars, err = (&source{On: e.On, File: e.File, Process: e.Process, PIDFile: e.PIDFile}).all(ctx, host)
	}
	if err == nil && len(vars) == 0 {
		err = fmt.Errorf("%s has no variable at all", e.where())
	}
	return vars, err
}

// merge reads several sources into one.
func merge(ctx context.Context, env *check.Env, list []environment) (map[string]string, error) {
	all := map[string]string{}
	for i := range list {
		vars, err := list[i].read(ctx, env)
		if err != nil {
			return nil, err
		}
		for name, value := range vars {
			all[name] = value
		}
	}
	return all, nil
}

func places(list []environment) string {
	var out []string
	for i := range list {
		out = append(out, list[i].where())
	}
	return strings.Join(out, ", ")
}

// ask runs a program whose output is JSON. What it printed is never shown, since it
// holds values.
func ask[T any](ctx context.Context, host check.Host, where string, argv []string) (T, error) {
	var answer T
	r, err := host.Exec(ctx, check.Command{Argv: argv, Limit: maxSource})
	switch {
	case err != nil:
		return answer, fmt.Errorf("read %s: %w", where, err)
	case r.Code != 0 || r.Signal != "":
		return answer, fmt.Errorf("read %s: %s ended with code %d %s: %.200s", where, argv[0], r.Code, r.Signal, strings.TrimSpace(string(r.Stderr)))
	case r.Truncated:
		return answer, fmt.Errorf("read %s: more than %d bytes", where, maxSource)
	}
	if json.Unmarshal(r.Stdout, &answer) != nil {
		return answer, fmt.Errorf("read %s: the answer of %s is not the JSON that was asked for", where, argv[0])
	}
	return answer, nil
}

// inspect asks docker for the environment that a container was started with
// (https://docs.docker.com/reference/cli/docker/inspect/).
func (e *environment) inspect(ctx context.Context, host check.Host) (map[string]string, error) {
	list, err := ask[[]string](ctx, host, e.where(), []string{"docker", "inspect", "--type=container", "--format={{json .Config.Env}}", e.Container})
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	for _, entry := range list {
		name, value, ok := strings.Cut(entry, "=")
		if !ok {
			return nil, fmt.Errorf("read %s: an entry is not NAME=value", e.where())
		}
		vars[name] = value
	}
	return vars, nil
}

// cluster asks kubectl for a Secret or ConfigMap
// (https://kubernetes.io/docs/reference/kubectl/generated/kubectl_get/); the
// values of a Secret are in base64.
func (e *environment) cluster(ctx context.Context, host check.Host) (map[string]string, error) {
	argv := []string{"kubectl", "get", "secret", e.Secret, "--output=json"}
	if e.ConfigMap != "" {
		argv[2], argv[3] = "configmap", e.ConfigMap
	}
	if e.Namespace != "" {
		argv = append(argv, "--namespace="+e.Namespace)
	}
	if e.Context != "" {
		argv = append(argv, "--context="+e.Context)
	}
	object, err := ask[struct {
		Kind string            `json:"kind"`
		Data map[string]string `json:"data"`
	}](ctx, host, e.where(), argv)
	if err != nil {
		return nil, err
	}
	if want := map[bool]string{true: "ConfigMap", false: "Secret"}[e.ConfigMap != ""]; object.Kind != want {
		return nil, fmt.Errorf("read %s: the answer is no %s", e.where(), want)
	}
	if e.ConfigMap != "" {
		return object.Data, nil
	}
	vars := map[string]string{}
	for name, text := range object.Data {
		value, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %s is not in base64", e.where(), name)
		}
		vars[name] = string(value)
	}
	return vars, nil
}
