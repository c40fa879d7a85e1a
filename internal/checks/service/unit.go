package service

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// unit is one program that runs all the time, or what a driver runs it as.
type unit struct {
	Name      string                `param:"name,short" doc:"what people call it; with the other drivers the systemd unit, the compose service, or kind/name (deployment when there is no kind)"`
	Argv      []check.Arg           `param:"run" doc:"the program and its arguments; it must stay in the foreground" default:""`
	Dir       string                `param:"dir" doc:"working directory; the checkout when left out" default:""`
	Env       map[string]string     `param:"env" doc:"environment variables to add" default:""`
	EnvFile   string                `param:"env_file" doc:"file of NAME=value lines to add" default:""`
	SecretEnv map[string]secret.Ref `param:"secret_env" doc:"environment variables whose values are secrets" default:""`
	User      string                `param:"user" doc:"run as this user" default:""`
	PIDFile   string                `param:"pid_file" doc:"file that keeps which process it is" default:""`
	Log       string                `param:"log" doc:"file that receives its output; beside the pid file when left out" default:""`
	Healthy   health                `param:"healthy" doc:"how to tell that it works" default:""`
	Exactly   *int                  `param:"exactly" doc:"how many instances (processes on the host, containers, pods) may run in all" default:""`
	Match     *regexp.Regexp        `param:"match" doc:"regular expression (RE2) for the command line of its instances; the program and its arguments when left out" default:""`
	Image     string                `param:"image" doc:"with driver: compose or kubernetes, the image that it must run, best as name@sha256:…" default:""`
}

// health is a probe of a unit.
type health struct {
	URL    string      `param:"url,short" doc:"address that answers when it works" default:""`
	Status []int       `param:"status" doc:"status codes that count" default:"200"`
	Argv   []check.Arg `param:"run" doc:"instead of url: a program that ends with 0 when it works" default:""`
}

func (h health) given() bool { return h.URL != "" || len(h.Argv) > 0 }

// Validate holds the rules between parameters.
func (s *service) Validate() error {
	switch {
	case len(s.Units) == 0:
		return errors.New("units lists nothing")
	case s.Do != "" && s.State == "stopped", s.Do == "stop" && s.State != "running":
		return errors.New("state: stopped is for looking only, and do: stop needs no state")
	case s.Rolling && s.Do != "restart":
		return errors.New("rolling is for do: restart")
	case s.Holds != "" && s.Do != "stop":
		return errors.New("holds is for do: stop")
	case s.Releases != "" && s.Do != "start" && s.Do != "restart":
		return errors.New("releases is for do: start and do: restart")
	case s.Consecutive < 1 || s.Every <= 0 || s.Restarts < 0:
		return errors.New("consecutive must be at least 1, every more than 0, restarts not negative")
	}
	if err := s.validateDriver(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range s.Units {
		u := &s.Units[i]
		if seen[u.Name] || u.PIDFile != "" && seen[u.PIDFile] {
			return fmt.Errorf("unit %s: its name or pid_file stands there twice", u.Name)
		}
		seen[u.Name], seen[u.PIDFile] = true, true
		if err := s.validateUnit(u); err != nil {
			return fmt.Errorf("unit %s: %w", u.Name, err)
		}
	}
	return nil
}

// validateDriver holds which parameters belong to which driver, so that none is
// written and does nothing.
func (s *service) validateDriver() error {
	for _, p := range []struct {
		name    string
		given   bool
		drivers string
	}{
		{"stop_timeout", s.StopTimeout != nil, "process compose"},
		{"scope", s.Scope != "system", "systemd"},
		{"project", s.Project != "", "compose"},
		{"files", len(s.Files) > 0, "compose"},
		{"dir", s.Dir != "", "compose"},
		{"context", s.Context != "", "compose kubernetes"},
		{"namespace", s.Namespace != "", "kubernetes"},
		{"env", len(s.Env) > 0, "systemd compose kubernetes"},
		{"user", s.User != "", "systemd compose kubernetes"},
	} {
		if p.given && !strings.Contains(p.drivers, s.Driver) {
			return fmt.Errorf("%s is not for driver: %s", p.name, s.Driver)
		}
	}
	for _, word := range append([]string{s.Project, s.Context, s.Namespace}, s.Files...) {
		if strings.HasPrefix(word, "-") {
			return fmt.Errorf("%q begins with -", word)
		}
	}
	if s.Driver == byCompose && s.StopTimeout != nil && (*s.StopTimeout <= 0 || *s.StopTimeout%time.Second != 0) {
		return errors.New("stop_timeout is in whole seconds with driver: compose")
	}
	if s.Driver == byKubernetes && s.Do == "reload" {
		return errors.New("driver: kubernetes has no reload; a restart replaces the pods one after the other")
	}
	return nil
}

func (s *service) validateUnit(u *unit) error {
	if u.Name == "" {
		return errors.New("name may not be empty")
	}
	if u.Healthy.URL != "" && len(u.Healthy.Argv) > 0 {
		return errors.New("healthy: url and run exclude each other")
	}
	if _, err := check.Args(u.Healthy.Argv, false); err != nil {
		return err
	}
	if s.Driver == byProcess {
		return s.validateProcess(u)
	}
	for _, p := range []struct {
		name  string
		given bool
	}{
		{"run", len(u.Argv) > 0}, {"pid_file", u.PIDFile != ""}, {"log", u.Log != ""}, {"dir", u.Dir != ""}, {"user", u.User != ""},
		{"env", len(u.Env) > 0}, {"env_file", u.EnvFile != ""}, {"secret_env", len(u.SecretEnv) > 0},
	} {
		if p.given {
			return fmt.Errorf("%s is for driver: process; %s knows how the unit is run", p.name, s.Driver)
		}
	}
	switch s.Driver {
	case bySystemd:
		return s.validateSystemd(u)
	case byCompose:
		return s.validateCompose(u)
	}
	return s.validateKubernetes(u)
}

func (s *service) validateProcess(u *unit) error {
	acts := s.Do == "start" || s.Do == "stop" || s.Do == "restart"
	switch {
	case u.PIDFile == "":
		return errors.New("driver: process needs pid_file")
	case s.State == "stopped" && len(u.Argv) == 0 && u.Match == nil:
		return errors.New("state: stopped needs run or match: a pid file that is not there proves nothing")
	case len(u.Argv) == 0 && acts:
		return errors.New("needs run, to be started (again)")
	case len(u.Argv) == 0 && u.Match == nil && u.Exactly != nil:
		return errors.New("exactly needs run or match, to tell instances")
	case s.State == "healthy" && !u.Healthy.given():
		return errors.New("state: healthy needs healthy, to tell that it works")
	case u.Image != "":
		return errors.New("image is for containers")
	}
	for name := range u.SecretEnv {
		if _, twice := u.Env[name]; twice {
			return fmt.Errorf("%s is in env and in secret_env", name)
		}
	}
	_, err := check.Args(u.Argv, false)
	return err
}

func (s *service) validateSystemd(u *unit) error {
	name := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9:_.\\@-]*$`) // systemd.unit(5), without globs
	switch {
	case !name.MatchString(u.Name):
		return errors.New("is not the name of a systemd unit")
	case regexp.MustCompile(`\.(target|socket|timer|path|mount|slice|scope|device|swap|automount)$`).MatchString(u.Name):
		return errors.New("only service units run a program that can be looked at")
	case u.Exactly != nil && u.Match == nil:
		return errors.New("exactly needs match: systemd runs a unit once, and match finds what it does not know of")
	case s.State == "healthy" && !u.Healthy.given():
		return errors.New("state: healthy needs healthy: systemd tells only whether it runs")
	case u.Image != "":
		return errors.New("image is for containers")
	}
	return nil
}

func (s *service) validateCompose(u *unit) error {
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(u.Name):
		return errors.New("is not the name of a compose service")
	case u.Match != nil:
		return errors.New("match is for processes: docker compose knows its containers")
	}
	return nil
}

func (s *service) validateKubernetes(u *unit) error {
	kind, name := u.workload()
	switch {
	case kind != "deployment" && kind != "statefulset" && kind != "daemonset":
		return errors.New("is not deployment/NAME, statefulset/NAME or daemonset/NAME")
	case !regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`).MatchString(name):
		return errors.New("is not the name of a Kubernetes object")
	case kind == "daemonset" && (s.Do == "start" || s.Do == "stop"):
		return errors.New("a daemonset runs wherever there is a node: it cannot be started or stopped")
	case u.Match != nil:
		return errors.New("match is for processes: the cluster knows its pods")
	case u.Exactly != nil && *u.Exactly < 1 && s.Do != "":
		return errors.New("exactly must be at least 1")
	}
	return nil
}
