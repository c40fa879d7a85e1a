package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Host is a machine or container, reached in exactly one way.
type Host struct {
	SSH      string   `param:"ssh,short" doc:"destination as ssh takes it: a name of ~/.ssh/config, host or user@host" default:""`
	Port     int      `param:"port" doc:"ssh: the port, where ssh's own configuration does not say" default:"0"`
	Identity string   `param:"identity" doc:"ssh: file of a private key; ssh's own choice when left out" default:""`
	Jump     string   `param:"jump" doc:"ssh: hosts to jump over, as ProxyJump takes them" default:""`
	Config   string   `param:"ssh_config" doc:"ssh: a file instead of ~/.ssh/config" default:""`
	Docker   string   `param:"docker" doc:"a running container's name or id" default:""`
	Compose  *Compose `param:"compose" doc:"a running service of a compose project" default:""`
	Kubectl  *Kubectl `param:"kubectl" doc:"a container of a running pod" default:""`
	Dir      string   `param:"dir" doc:"where relative paths and programs start there; where the login or container starts when left out" default:""`
}

// Compose is a service of a compose project.
type Compose struct {
	Project string   `param:"project" doc:"the project's name" default:""`
	Files   []string `param:"file" doc:"compose files, from the checkout on; those that docker compose finds when left out" default:""`
	Service string   `param:"service,short" doc:"the service's name"`
	Index   int      `param:"index" doc:"which of the service's containers, from 1" default:"0"`
}

// Kubectl is a container of a pod.
type Kubectl struct {
	Context   string `param:"context" doc:"context of the kubeconfig; the current one when left out" default:""`
	Namespace string `param:"namespace" doc:"the namespace; the context's own when left out" default:""`
	Pod       string `param:"pod,short" doc:"a pod's name, or kind/name such as deployment/app" default:""`
	Selector  string `param:"selector" doc:"labels; the first running pod that has them is taken" default:""`
	Container string `param:"container" doc:"the pod's container; its default one when left out" default:""`
}

// hosts holds that every host is reached in one way that can be written down.
func (v *validator) hosts(path []string, hosts map[string]Host) {
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		parent := append(slices.Clone(path), "hosts")
		v.short(parent, "host", name)
		if name == "local" || name == "localhost" {
			v.key(parent, name, "host %q is this machine and needs no entry", name)
		}
		v.host(append(parent, name), hosts[name])
	}
}

// groups holds that every group names hosts, each once, and has a name of its own.
func (v *validator) groups(path []string, env Environment) {
	parent := append(slices.Clone(path), "groups")
	for _, name := range slices.Sorted(maps.Keys(env.Groups)) {
		v.short(parent, "group", name)
		if _, host := env.Hosts[name]; host || name == "local" || name == "localhost" {
			v.key(parent, name, "group %q has the name of a host", name)
		}
		if len(env.Groups[name]) == 0 {
			v.key(parent, name, "group %q has no hosts", name)
		}
		seen := map[string]bool{}
		for i, host := range env.Groups[name] {
			at := append(slices.Clone(parent), name, strconv.Itoa(i))
			if _, known := env.Hosts[host]; !known && host != "local" {
				p := v.at(at, "groups: the environment has no host %q", host)
				p.Allowed = append(slices.Sorted(maps.Keys(env.Hosts)), "local")
			}
			if seen[host] {
				v.at(at, "groups: %q stands in %s twice", host, name)
			}
			seen[host] = true
		}
	}
}

// Addresses gives for each host the address or name that it is reached by.
func (e Environment) Addresses() map[string]string {
	out := map[string]string{}
	for name, h := range e.Hosts {
		_, address, found := strings.Cut(h.SSH, "@")
		switch {
		case h.Docker != "":
			address = h.Docker
		case h.Compose != nil:
			address = h.Compose.Service
		case h.Kubectl != nil:
			address = h.Kubectl.Pod
		case !found:
			address = h.SSH
		}
		out[name] = address
	}
	return out
}

func (v *validator) host(path []string, h Host) {
	at := func(keys ...string) []string { return append(slices.Clone(path), keys...) }
	ways := 0
	for _, given := range []bool{h.SSH != "", h.Docker != "", h.Compose != nil, h.Kubectl != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		p := v.at(path, "a host is reached in one way, this one in %d", ways)
		p.Allowed = []string{"ssh", "docker", "compose", "kubectl"}
	}
	if h.SSH == "" {
		for key, given := range map[string]bool{"port": h.Port != 0, "identity": h.Identity != "", "jump": h.Jump != "", "ssh_config": h.Config != ""} {
			if given {
				v.at(at(key), "%s: is for hosts that ssh reaches", key)
			}
		}
	}
	if h.Port < 0 || h.Port > 65535 {
		v.at(at("port"), "port: want a number from 1 to 65535")
	}
	if c := h.Compose; c != nil {
		v.word(at("compose", "service"), c.Service)
		v.word(at("compose", "project"), c.Project)
		if c.Index < 0 {
			v.at(at("compose", "index"), "index: containers are counted from 1")
		}
	}
	if k := h.Kubectl; k != nil {
		if (k.Pod == "") == (k.Selector == "") {
			v.at(at("kubectl"), "kubectl: name either pod or selector")
		}
		for key, word := range map[string]string{"context": k.Context, "namespace": k.Namespace, "pod": k.Pod, "selector": k.Selector, "container": k.Container} {
			v.word(at("kubectl", key), word)
		}
	}
	for key, word := range map[string]string{"ssh": h.SSH, "jump": h.Jump, "docker": h.Docker, "dir": h.Dir} {
		v.word(at(key), word)
	}
}

// word holds that a text can stand among a program's arguments without being
// taken for an option.
func (v *validator) word(path []string, text string) {
	if strings.HasPrefix(text, "-") || strings.ContainsAny(text, "\n\r") || key(path) != "dir" && strings.ContainsAny(text, " \t") {
		v.at(path, "%s: %q is not a name", key(path), text)
	}
}

func key(path []string) string { return path[len(path)-1] }
