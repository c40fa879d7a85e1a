package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
)

// fakeDocker answers as docker and docker compose do (docs.docker.com/reference/cli),
// for the command lines of the driver and no others.
type fakeDocker struct {
	check.Host
	t *testing.T
	// array prints docker compose ps as it was before 2.21.
	array    bool
	noFile   bool
	made     int
	services map[string]*fakeService
}

type fakeService struct {
	bad        bool
	health     string
	fails      string
	scale      int
	containers []*fakeContainer
}

type fakeContainer struct {
	id, state, health, image string
	exit, restarts           int
	started                  time.Time
	oneoff                   bool
}

func (f *fakeDocker) Exec(ctx context.Context, cmd check.Command) (check.Result, error) {
	argv := cmd.Argv
	if argv[0] != "docker" {
		return f.Host.Exec(ctx, cmd)
	}
	if !slices.Equal(cmd.Env, []string{"DOCKER_HOST=unix:///run/other.sock"}) || cmd.User != "deploy" {
		f.t.Errorf("docker runs with %q as %q", cmd.Env, cmd.User)
	}
	line := strings.Join(argv[1:], " ")
	for prefix, answer := range map[string]func(string) check.Result{
		"--context=far inspect --type=container ":                                                   f.inspect,
		"--context=far image inspect --format={{json .RepoDigests}} ":                               f.digests,
		"--context=far logs --tail=5 ":                                                              func(string) check.Result { return said("the last words\n") },
		"--context=far compose --project-name=shop --file=a.yml ps --all --no-trunc --format=json ": f.ps,
		"--context=far compose --project-name=shop --file=a.yml config --services":                  f.config,
		"--context=far compose --project-name=shop --file=a.yml stop ":                              f.stop,
		"--context=far compose --project-name=shop --file=a.yml kill --signal=SIGHUP ":              func(string) check.Result { return check.Result{} },
		"--context=far compose --project-name=shop --file=a.yml up --detach --no-deps --no-build ":  f.up,
	} {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return answer(rest), ctx.Err()
		}
	}
	f.t.Errorf("docker is not run so: %s", line)
	return check.Result{Code: 125}, ctx.Err()
}

func said(text string) check.Result { return check.Result{Stdout: []byte(text)} }

func (f *fakeDocker) known(name string) (*fakeService, check.Result) {
	if s := f.services[name]; s != nil {
		return s, check.Result{}
	}
	if f.noFile {
		return &fakeService{}, check.Result{}
	}
	return nil, check.Result{Code: 1, Stderr: []byte("no such service: " + name + "\n")}
}

func (f *fakeDocker) config(string) check.Result {
	if f.noFile {
		return check.Result{Code: 1, Stderr: []byte("no configuration file provided: not found\n")}
	}
	return said("web\nworker\nbad\n")
}

func (f *fakeDocker) ps(name string) check.Result {
	s, r := f.known(name)
	if s == nil {
		return r
	}
	rows := []string{}
	for _, c := range s.containers {
		rows = append(rows, fmt.Sprintf(`{"ID":%q,"Name":"shop-%s","Service":%q,"State":%q,"Publishers":[]}`, c.id, name, name, c.state))
	}
	if f.array {
		return said("[" + strings.Join(rows, ",") + "]\n")
	}
	return said(strings.Join(rows, "\n"))
}

func (f *fakeDocker) inspect(ids string) check.Result {
	var out []map[string]any
	for id := range strings.SplitSeq(ids, " ") {
		for name, s := range f.services {
			for _, c := range s.containers {
				if c.id != id {
					continue
				}
				state := map[string]any{"Status": c.state, "ExitCode": c.exit, "OOMKilled": c.exit == 137, "Error": "", "StartedAt": c.started}
				if c.health != "" {
					state["Health"] = map[string]any{"Status": c.health}
				}
				out = append(out, map[string]any{
					"Id": c.id, "Name": "/shop-" + name, "Image": "sha256:image-id", "RestartCount": c.restarts, "State": state,
					"Config": map[string]any{"Image": c.image, "Labels": map[string]string{"com.docker.compose.oneoff": strings.ToUpper(fmt.Sprint(c.oneoff)[:1]) + fmt.Sprint(c.oneoff)[1:]}},
				})
			}
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		f.t.Fatal(err)
	}
	return check.Result{Stdout: text}
}

func (f *fakeDocker) digests(id string) check.Result {
	if id != "sha256:image-id" {
		return check.Result{Code: 1, Stderr: []byte("Error: No such image: " + id + "\n")}
	}
	return said(`["app@sha256:aaa"]` + "\n")
}

func (f *fakeDocker) stop(name string) check.Result {
	s, r := f.known(name)
	if s == nil {
		return r
	}
	for _, c := range s.containers {
		c.state, c.exit = "exited", 143
	}
	return check.Result{}
}

func (f *fakeDocker) up(line string) check.Result {
	name, force := strings.CutPrefix(line, "--force-recreate ")
	name, _ = strings.CutPrefix(name, "--timeout=30 --force-recreate ")
	s, r := f.known(name)
	switch {
	case s == nil:
		return r
	case s.fails != "":
		return check.Result{Code: 1, Stderr: []byte(" Container shop-web-1  Creating\n" + s.fails + "\n")}
	}
	if force {
		s.containers = nil
	}
	for len(s.containers) < max(1, s.scale) {
		f.made++
		s.containers = append(s.containers, &fakeContainer{id: fmt.Sprintf("%064x", f.made), state: "created", image: "app:1"})
	}
	for _, c := range s.containers {
		if c.state != "running" {
			f.made++
			c.state, c.health, c.started = "running", s.health, time.Unix(int64(f.made), 5)
		}
		if s.bad {
			c.state, c.exit, c.restarts = "restarting", 3, 4
		}
	}
	return check.Result{}
}

func newFakeDocker(t *testing.T) (*place, *fakeDocker) {
	env := checktest.NewEnv(t)
	local, err := env.Host("")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeDocker{Host: local, t: t, services: map[string]*fakeService{"web": {}, "worker": {scale: 2}, "bad": {bad: true}}}
	env.Host = func(string) (check.Host, error) { return f, nil }
	p := &place{
		env: env, params: "driver: compose, project: shop, files: [a.yml], context: far, user: deploy, env: {DOCKER_HOST: 'unix:///run/other.sock'}",
		one: "{name: web}", two: "{name: worker, exactly: 2}", bad: "{name: bad}", nobody: "{name: webb}",
		crash:  func(*testing.T) { f.services["web"].containers[0].restarts++ },
		spoilt: []string{garbage, half, exits, byASignal, tooMuch},
	}
	return p.quick(), f
}

func TestComposeAsItsStandIn(t *testing.T) {
	t.Parallel()
	for name, array := range map[string]bool{"lines": false, "array": true} {
		t.Run(name, func(t *testing.T) {
			conform(t, func(t *testing.T) *place {
				p, f := newFakeDocker(t)
				f.array = array
				return p
			})
		})
	}
}

func TestComposeStates(t *testing.T) {
	p, f := newFakeDocker(t)
	web := f.services["web"]
	at := time.Unix(1e9, 0)
	for name, c := range map[string]struct {
		containers    []*fakeContainer
		look, stopped string
	}{
		"never made":              {nil, "fail: web does not run: no container", "pass: ..."},
		"only a one-off":          {[]*fakeContainer{{id: "r", state: "running", oneoff: true, started: at}}, "fail: web does not run: no container", "pass: ..."},
		"ended":                   {[]*fakeContainer{{id: "a", state: "exited", exit: 137}}, "fail: web does not run: shop-web exited, exit 137, out of memory; its log ends: the last words", "pass: ..."},
		"one of two ended":        {[]*fakeContainer{{id: "a", state: "running", started: at}, {id: "b", state: "exited", exit: 1}}, "fail: web does not run as it should: failed, shop-web exited, exit 1; shop-web running...", "fail: web is failed..."},
		"between two starts":      {[]*fakeContainer{{id: "a", state: "restarting", exit: 3, restarts: 9}}, "fail: web does not run as it should: not settled, shop-web restarting, exit 3, 9 restarts...", "fail: web is not settled..."},
		"paused":                  {[]*fakeContainer{{id: "a", state: "paused"}}, "fail: web does not run as it should: failed, shop-web paused...", "fail: web is failed..."},
		"starting is not healthy": {[]*fakeContainer{{id: "a", state: "running", health: "starting", started: at}}, "fail: web runs, but its health check says: starting...", "fail: web runs (container a)"},
		"unhealthy":               {[]*fakeContainer{{id: "a", state: "running", health: "healthy", started: at}, {id: "b", state: "running", health: "unhealthy", started: at}}, "fail: web runs, but its health check says: unhealthy...", "fail: web runs (container a, container b)"},
	} {
		t.Run(name, func(t *testing.T) {
			web.containers = c.containers
			p.do(t, c.look, "", "state: running", p.one)
			p.do(t, c.stopped, "", "state: stopped", p.one)
		})
	}
}

func TestComposeHealth(t *testing.T) {
	p, f := newFakeDocker(t)
	web := f.services["web"]
	p.do(t, "pass: started: web; only seen to run, without a health check: web", "k1", "do: start", p.one)
	p.do(t, "error: web: runs, but has no health check: give the unit healthy, or the service a health check of its own", "", "state: healthy", p.one)
	p.do(t, "error: web: runs, but has no health check...", "k1", "do: restart, state: healthy", p.one)
	web.health = "starting"
	p.do(t, "fail: web is not healthy after 100ms: starting...", "k2", "do: restart, healthy_within: 100ms", p.one)
	web.containers[0].health = "healthy"
	p.do(t, "pass: running for 60ms without a restart: web", "", "state: healthy", p.one)
	p.do(t, "fail: worker has 2 instances (container ..., container ...), want exactly 1", "k3", "do: start", "{name: worker, exactly: 1}")
}

func TestComposeImage(t *testing.T) {
	p, _ := newFakeDocker(t)
	p.do(t, "pass: ...", "k1", "do: restart, stop_timeout: 30s", "{name: web, image: 'app:1'}")
	p.do(t, "pass: ...", "", "state: running", "{name: web, image: 'app@sha256:aaa'}")
	p.do(t, "fail: web runs, but shop-web has image app:1, not app@sha256:bbb...", "", "state: running", "{name: web, image: 'app@sha256:bbb'}")
	p.do(t, "fail: web is not healthy after 50ms: shop-web has image app:1, not app:2...", "k2", "do: restart, healthy_within: 50ms", "{name: web, image: 'app:2'}")
}

// Without its file docker compose takes any name, and an empty list proves nothing.
func TestComposeWithoutItsFile(t *testing.T) {
	p, f := newFakeDocker(t)
	f.noFile = true
	p.do(t, "error: webb has no container, and whether there is such a service is not known: docker ended with exit 1: no configuration file provided: not found", "", "state: stopped", p.nobody)
}

func TestComposeThatSaysNo(t *testing.T) {
	p, f := newFakeDocker(t)
	p.do(t, "pass: ...", "k1", "do: start", p.one)
	f.services["web"].fails = "Error response from daemon: No such image: app:9"
	p.do(t, "fail: web: docker ended with exit 1: Container shop-web-1  Creating / Error response from daemon: No such image: app:9; it is running...", "k2", "do: restart", p.one)
	p.do(t, "pass: reloaded: web...", "k3", "do: reload", p.one)
}
