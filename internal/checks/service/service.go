// Package service holds the type that looks at an application's processes and
// starts, stops and restarts them, whoever runs them.
package service

import (
	"context"
	_ "embed" // the type's page
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed service.md
var serviceDoc string

// Service is the type service.
var Service = check.Define[service](check.Desc{
	Name: "service", Summary: "units run, stay up and are healthy, or are started, stopped, restarted", Doc: serviceDoc,
})

// The drivers.
const (
	byProcess    = "process"
	bySystemd    = "systemd"
	byCompose    = "compose"
	byKubernetes = "kubernetes"
)

// service looks at units or acts on them, in the order in which they are listed.
type service struct {
	Units       []unit            `param:"units" doc:"the units, in the order in which they are acted on"`
	Do          string            `param:"do" doc:"what to do; nothing but looking when left out" default:"" enum:"start,stop,restart,reload"`
	Driver      string            `param:"driver" doc:"what runs the units" default:"process" enum:"process,systemd,compose,kubernetes"`
	State       string            `param:"state" doc:"what they must be; healthy wants a health check of every unit" default:"running" enum:"running,healthy,stopped"`
	Stable      time.Duration     `param:"stable" doc:"how long the same process must stay up" default:"2s"`
	Restarts    int               `param:"restarts" doc:"how many restarts are allowed in that time" default:"0"`
	Consecutive int               `param:"consecutive" doc:"how many health probes in a row must succeed" default:"3"`
	Within      time.Duration     `param:"healthy_within" doc:"time to become healthy after a start; with driver: kubernetes also to end" default:"90s"`
	Every       time.Duration     `param:"every" doc:"pause between two looks" default:"500ms"`
	Rolling     bool              `param:"rolling" doc:"with do: restart, each unit must be healthy before the next is touched" default:"false"`
	StopTimeout *time.Duration    `param:"stop_timeout" doc:"time to end after SIGTERM, before SIGKILL, with driver: process (10s when left out) and compose (what the compose file says)" default:""`
	Holds       string            `param:"holds" doc:"with do: stop, the resource that must be given back by starting again" default:""`
	Releases    string            `param:"releases" doc:"with do: start or restart, the resource that is given back" default:""`
	On          string            `param:"on" doc:"host of the units or of the driver's program; this machine when left out" default:""`
	Scope       string            `param:"scope" doc:"with driver: systemd, the system's units or the user's own" default:"system" enum:"system,user"`
	Project     string            `param:"project" doc:"with driver: compose, the project's name" default:""`
	Files       []string          `param:"files" doc:"with driver: compose, its files; those that docker compose finds itself when left out" default:""`
	Context     string            `param:"context" doc:"with driver: compose or kubernetes, the context of docker or kubectl" default:""`
	Namespace   string            `param:"namespace" doc:"with driver: kubernetes, the namespace; the context's when left out" default:""`
	Dir         string            `param:"dir" doc:"with driver: compose, the folder of the compose file; the checkout when left out" default:""`
	Env         map[string]string `param:"env" doc:"environment variables for systemctl, docker or kubectl, such as DOCKER_HOST or KUBECONFIG" default:""`
	User        string            `param:"user" doc:"user as whom systemctl, docker or kubectl runs (sudo)" default:""`
}

// Traits tells looking from acting.
func (s *service) Traits() check.Traits {
	t := check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "looks at " + s.names(), Target: s.names()}
	if s.Do == "" {
		return t
	}
	// Only this machine can be made to keep a program running; the other drivers
	// keep theirs themselves.
	t.Supervises = s.Driver == byProcess
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
	if s.Driver != byProcess {
		t.Does += " (" + s.Driver + ")"
	}
	return t
}

func (s *service) names() string { return list(s.Units) }

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

// Examine looks at the units, which needs the driver's program, its connection
// and the units themselves, and changes nothing.
func (s *service) Examine(ctx context.Context, env *check.Env) (string, error) {
	w, err := s.open(ctx, env)
	if err != nil {
		return "", err
	}
	var seen []string
	for i := range s.Units {
		u := &s.Units[i]
		st, err := w.driver.look(ctx, u)
		if err != nil {
			return "", err
		}
		if st.phase == missing {
			return "", &refused{u.Name + " " + st.why}
		}
		seen = append(seen, u.Name+": "+string(st.phase))
	}
	return strings.Join(seen, ", "), nil
}
