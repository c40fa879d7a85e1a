// Package service holds the type that looks at an application's processes and
// starts, stops and restarts them.
package service

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

//go:embed service.md
var serviceDoc string

// Service is the type service.
var Service = check.Define[service](check.Desc{
	Name: "service", Summary: "units run, stay up and are healthy, or are started, stopped, restarted", Doc: serviceDoc,
})

// service looks at units or acts on them, in the order in which they are listed.
type service struct {
	Units       []unit        `param:"units" doc:"the units, in the order in which they are acted on"`
	Do          string        `param:"do" doc:"what to do; nothing but looking when left out" default:"" enum:"start,stop,restart,reload"`
	Driver      string        `param:"driver" doc:"what runs the units" default:"process" enum:"process"`
	State       string        `param:"state" doc:"what they must be when only looked at" default:"running" enum:"running,stopped"`
	Stable      time.Duration `param:"stable" doc:"how long the same process must stay up" default:"2s"`
	Restarts    int           `param:"restarts" doc:"how many restarts are allowed in that time" default:"0"`
	Consecutive int           `param:"consecutive" doc:"how many health probes in a row must succeed" default:"3"`
	Within      time.Duration `param:"healthy_within" doc:"time to become healthy after a start" default:"90s"`
	Every       time.Duration `param:"every" doc:"pause between two looks" default:"500ms"`
	Rolling     bool          `param:"rolling" doc:"with do: restart, each unit must be healthy before the next is touched" default:"false"`
	StopTimeout time.Duration `param:"stop_timeout" doc:"time to end after SIGTERM, before SIGKILL" default:"10s"`
	Holds       string        `param:"holds" doc:"with do: stop, the resource that must be given back by starting again" default:""`
	Releases    string        `param:"releases" doc:"with do: start or restart, the resource that is given back" default:""`
	On          string        `param:"on" doc:"host of the units; this machine when left out" default:""`
}

// unit is one program that runs all the time.
type unit struct {
	Name      string                `param:"name" doc:"what people call it"`
	Argv      []check.Arg           `param:"run" doc:"the program and its arguments; it must stay in the foreground" default:""`
	Dir       string                `param:"dir" doc:"working directory; the checkout when left out" default:""`
	Env       map[string]string     `param:"env" doc:"environment variables to add" default:""`
	EnvFile   string                `param:"env_file" doc:"file of NAME=value lines to add" default:""`
	SecretEnv map[string]secret.Ref `param:"secret_env" doc:"environment variables whose values are secrets" default:""`
	User      string                `param:"user" doc:"run as this user" default:""`
	PIDFile   string                `param:"pid_file" doc:"file that keeps which process it is"`
	Log       string                `param:"log" doc:"file that receives its output; beside the pid file when left out" default:""`
	Healthy   health                `param:"healthy" doc:"how to tell that it works" default:""`
	Exactly   *int                  `param:"exactly" doc:"how many instances may run on the host in all" default:""`
	Match     *regexp.Regexp        `param:"match" doc:"regular expression (RE2) for the command line of its instances; the program and its arguments when left out" default:""`
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
	case s.Do != "" && s.State != "running":
		return errors.New("state is for looking only")
	case s.Rolling && s.Do != "restart":
		return errors.New("rolling is for do: restart")
	case s.Holds != "" && s.Do != "stop":
		return errors.New("holds is for do: stop")
	case s.Releases != "" && s.Do != "start" && s.Do != "restart":
		return errors.New("releases is for do: start and do: restart")
	case s.Consecutive < 1 || s.Every <= 0 || s.Restarts < 0:
		return errors.New("consecutive must be at least 1, every more than 0, restarts not negative")
	}
	seen := map[string]bool{}
	for i := range s.Units {
		u := &s.Units[i]
		if seen[u.Name] || seen[u.PIDFile] {
			return fmt.Errorf("unit %s: its name or pid_file stands there twice", u.Name)
		}
		seen[u.Name], seen[u.PIDFile] = true, true
		if s.State == "stopped" && len(u.Argv) == 0 && u.Match == nil {
			return fmt.Errorf("unit %s: state: stopped needs run or match: a pid file that is not there proves nothing", u.Name)
		}
		if err := u.validate(s.Do); err != nil {
			return fmt.Errorf("unit %s: %w", u.Name, err)
		}
	}
	return nil
}

func (u *unit) validate(do string) error {
	switch {
	case u.Name == "" || u.PIDFile == "":
		return errors.New("name and pid_file may not be empty")
	case len(u.Argv) == 0 && (do == "start" || do == "stop" || do == "restart"):
		return errors.New("needs run, to be started (again)")
	case len(u.Argv) == 0 && u.Match == nil && u.Exactly != nil:
		return errors.New("exactly needs run or match, to tell instances")
	case u.Healthy.URL != "" && len(u.Healthy.Argv) > 0:
		return errors.New("healthy: url and run exclude each other")
	}
	for name := range u.SecretEnv {
		if _, twice := u.Env[name]; twice {
			return fmt.Errorf("%s is in env and in secret_env", name)
		}
	}
	_, err := check.Args(u.Argv, false)
	if err == nil {
		_, err = check.Args(u.Healthy.Argv, false)
	}
	return err
}

// Traits tells looking from acting.
func (s *service) Traits() check.Traits {
	t := check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "looks at " + s.names(), Target: s.names()}
	if s.Do == "" {
		return t
	}
	t.Supervises = true
	t.Kind, t.Class, t.Effect, t.Does = check.Action, check.Probed, check.Changes, s.Do+"s "+s.names()
	t.Holds, t.Releases = s.Holds, s.Releases
	switch s.Do {
	case "start":
		t.Undo = "stops what it started"
	case "stop":
		t.Does, t.Undo = "stops "+s.names(), "starts what it stopped"
	case "reload":
		t.Class = check.Idempotent
	}
	return t
}

func (s *service) names() string {
	var names []string
	for _, u := range s.Units {
		names = append(names, u.Name)
	}
	return strings.Join(names, ", ")
}

// Run looks at the units or acts on them.
func (s *service) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	w, err := s.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	switch s.Do {
	case "start":
		return w.startAll(ctx, s.Units)
	case "stop":
		return w.stopAll(ctx, s.Units)
	case "restart":
		return w.restartAll(ctx)
	case "reload":
		return w.reloadAll(ctx)
	}
	if s.State == "stopped" {
		return w.lookStopped(ctx)
	}
	return w.lookRunning(ctx, s.Units)
}

// Probe tells whether the units are as the action should have left them. A
// restart is known by the attempt that stands in the pid file.
func (s *service) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	if s.Do == "" || s.Do == "reload" {
		return "", check.Outcome{}, fmt.Errorf("nothing tells whether do: %s was done", s.Do)
	}
	w, err := s.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	done, facts := 0, map[string]string{}
	for i := range s.Units {
		u := &s.Units[i]
		st, err := w.driver.status(ctx, u)
		if err != nil {
			return "", check.Outcome{}, err
		}
		facts["unit."+u.Name] = st.String()
		if s.Do == "stop" && !st.running || s.Do == "start" && st.running || s.Do == "restart" && st.running && st.key == env.Key {
			done++
		}
	}
	outcome := check.Passf("%d of %d units as %s leaves them", done, len(s.Units), s.Do)
	outcome.Facts = facts
	switch done {
	case 0:
		return check.NotDone, outcome, nil
	case len(s.Units):
		return w.confirm(ctx, outcome)
	}
	return check.Partly, outcome, nil
}

// confirm looks closer at what seems done: a unit that only just runs, or an
// instance that nobody knows of, is not done.
func (w *work) confirm(ctx context.Context, seen check.Outcome) (check.Progress, check.Outcome, error) {
	look := func() (check.Outcome, error) { return w.lookRunning(ctx, w.Units) }
	if w.Do == "stop" {
		look = func() (check.Outcome, error) { return w.lookStopped(ctx) }
	}
	closer, err := look()
	if err != nil {
		return "", seen, err
	}
	if closer.Verdict == check.Fail {
		return check.Partly, closer, nil
	}
	return check.Done, closer, nil
}

// Undo starts what was stopped, or stops what was started.
func (s *service) Undo(ctx context.Context, env *check.Env, done check.Outcome) (check.Outcome, error) {
	w, err := s.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	switch s.Do {
	case "stop":
		var units []unit
		for _, u := range s.Units {
			if done.Facts["unit."+u.Name] != wasStopped { // only what ran before runs again
				units = append(units, u)
			}
		}
		return w.startAll(ctx, units)
	case "start":
		var units []unit
		for _, u := range s.Units {
			st, err := w.driver.status(ctx, &u)
			if err != nil {
				return check.Outcome{}, err
			}
			if st.running && st.key == env.Key {
				units = append(units, u)
			}
		}
		return w.stopAll(ctx, units)
	}
	return check.Outcome{}, fmt.Errorf("do: %s is not taken back", s.Do)
}
