package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// compose is the driver for the services of a compose project, by docker compose
// (docs.docker.com/reference/cli/docker/compose) and docker inspect.
type compose struct {
	tool
	*work
}

// docker gives the docker program's words.
func (c *compose) docker(words ...string) []string {
	argv := []string{"docker"}
	if c.Context != "" {
		argv = append(argv, "--context="+c.Context)
	}
	return append(argv, words...)
}

func (c *compose) compose(ctx context.Context, words ...string) ([]byte, error) {
	argv := c.docker("compose")
	if c.Project != "" {
		argv = append(argv, "--project-name="+c.Project)
	}
	for _, file := range c.Files {
		argv = append(argv, "--file="+file)
	}
	return c.run(ctx, append(argv, words...)...)
}

// listed is a container as docker compose ps shows it.
type listed struct {
	ID      string `json:"ID"`
	Service string `json:"Service"`
}

// parseListed reads what docker compose ps --format json prints: an array up to
// 2.20, an object on each line since 2.21 (docker/compose issue 10958).
func parseListed(text []byte) ([]listed, error) {
	text = bytes.TrimSpace(text)
	var all []listed
	if bytes.HasPrefix(text, []byte("[")) {
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, err
		}
	} else {
		for d := json.NewDecoder(bytes.NewReader(text)); ; {
			var one listed
			err := d.Decode(&one)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
	}
	for _, one := range all {
		if one.ID == "" || one.Service == "" {
			return nil, errors.New("a container without ID or Service")
		}
	}
	return all, nil
}

// container is what docker inspect tells of one (docs.docker.com/reference/api/engine,
// ContainerInspect).
type container struct {
	ID           string `json:"Id"`
	Name         string `json:"Name"`
	Image        string `json:"Image"`
	RestartCount *int   `json:"RestartCount"`
	State        struct {
		Status    string    `json:"Status"`
		ExitCode  int       `json:"ExitCode"`
		OOMKilled bool      `json:"OOMKilled"`
		Error     string    `json:"Error"`
		StartedAt time.Time `json:"StartedAt"`
		Health    *struct {
			Status string `json:"Status"`
		} `json:"Health"`
	} `json:"State"`
	Config struct {
		Image  string            `json:"Image"`
		Labels map[string]string `json:"Labels"`
	} `json:"Config"`
}

// containers gives those of a service, without the ones of docker compose run. A
// container may be replaced between being listed and being asked for, so this is
// tried again.
func (c *compose) containers(ctx context.Context, u *unit) ([]container, error) {
	const tries = 3
	for n := 1; ; n++ {
		found, err := c.inspect(ctx, u)
		end, ok := errors.AsType[*ended](err)
		if err == nil || !ok || n == tries || !strings.Contains(strings.ToLower(end.stderr), "no such container") {
			return found, err
		}
		if err := c.work.env.Sleep(ctx, c.Every); err != nil {
			return nil, err
		}
	}
}

func (c *compose) inspect(ctx context.Context, u *unit) ([]container, error) {
	text, err := c.compose(ctx, "ps", "--all", "--no-trunc", "--format=json", u.Name)
	if err != nil {
		return nil, err
	}
	list, err := parseListed(text)
	if err != nil {
		return nil, fmt.Errorf("read docker compose ps: %w", err)
	}
	var ids []string
	for _, one := range list {
		if one.Service != u.Name {
			return nil, fmt.Errorf("docker compose ps shows service %q when asked for %q", one.Service, u.Name)
		}
		ids = append(ids, one.ID)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	text, err = c.run(ctx, c.docker(append([]string{"inspect", "--type=container"}, ids...)...)...)
	if err != nil {
		return nil, err
	}
	var found []container
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fmt.Errorf("read docker inspect: %w", err)
	}
	if len(found) != len(ids) {
		return nil, fmt.Errorf("docker inspect tells of %d containers when asked for %d", len(found), len(ids))
	}
	for _, one := range found {
		if one.ID == "" || one.State.Status == "" || one.RestartCount == nil {
			return nil, errors.New("docker inspect leaves out Id, State.Status or RestartCount")
		}
	}
	return slices.DeleteFunc(found, func(one container) bool {
		return strings.EqualFold(one.Config.Labels["com.docker.compose.oneoff"], "true")
	}), nil
}

func (c *compose) look(ctx context.Context, u *unit) (status, error) {
	found, err := c.containers(ctx, u)
	if end, ok := errors.AsType[*ended](err); ok && strings.Contains(end.stderr, "no such service") {
		return status{phase: missing, why: "is not known to compose (no such service)"}, nil
	}
	if err != nil {
		return status{}, fmt.Errorf("look at %s: %w", u.Name, err)
	}
	if len(found) == 0 {
		return c.absent(ctx, u)
	}
	st := containersStatus(found)
	if st.off, err = c.otherImage(ctx, u, found); err != nil {
		return status{}, fmt.Errorf("look at the image of %s: %w", u.Name, err)
	}
	return st, nil
}

// absent tells a service that has no container from one that does not exist: an
// empty list alone proves nothing, because without its file docker compose takes
// any name.
func (c *compose) absent(ctx context.Context, u *unit) (status, error) {
	text, err := c.compose(ctx, "config", "--services")
	if err != nil {
		return status{}, fmt.Errorf("%s has no container, and whether there is such a service is not known: %w", u.Name, err)
	}
	services := strings.Fields(string(text))
	switch {
	case len(services) == 0:
		return status{}, fmt.Errorf("%s has no container, and docker compose config lists no services", u.Name)
	case !slices.Contains(services, u.Name):
		return status{phase: missing, why: "is not known to compose, which has " + strings.Join(services, ", ")}, nil
	}
	return status{phase: down, why: "no container"}, nil
}

// containersStatus makes one status of a service's containers: the one that
// stands worst decides.
func containersStatus(found []container) status {
	var st status
	var said []string
	worst := func(p phase, one container) {
		rank := []phase{"", up, changing, down, broken}
		if slices.Index(rank, p) > slices.Index(rank, st.phase) {
			st.phase = p
			st.logs = []string{one.ID}
		}
	}
	for _, one := range found {
		text := strings.TrimPrefix(one.Name, "/") + " " + one.State.Status
		runs := true
		switch one.State.Status {
		case "running":
			worst(up, one)
			text += " since " + one.State.StartedAt.UTC().Format(time.RFC3339Nano)
		case "restarting", "removing":
			worst(changing, one)
			text += ", " + one.end()
		case "created", "exited", "dead":
			worst(down, one)
			runs = false
			text += ", " + one.end()
		default: // paused, and what is not known yet
			worst(broken, one)
		}
		if *one.RestartCount > 0 {
			text += fmt.Sprintf(", %d restarts", *one.RestartCount)
		}
		said = append(said, text)
		if runs {
			st.instances = append(st.instances, instance{ID: one.ID, Life: one.ID, Start: one.State.StartedAt.UTC().Format(time.RFC3339Nano), Restarts: *one.RestartCount})
			st.health = worstHealth(st.health, one)
		}
	}
	// Some containers run and others do not: the service is not stopped.
	if st.phase == down && len(st.instances) > 0 {
		st.phase = broken
	}
	slices.Sort(said)
	st.why = strings.Join(said, "; ")
	return st
}

// end says how a container's program ended.
func (c container) end() string {
	text := fmt.Sprintf("exit %d", c.State.ExitCode)
	if c.State.OOMKilled {
		text += ", out of memory"
	}
	if c.State.Error != "" {
		text += ", " + lastLines([]byte(c.State.Error))
	}
	return text
}

// worstHealth joins what the containers' own health checks say: healthy only when
// each is. A container without a check says nothing.
func worstHealth(so string, one container) string {
	if one.State.Health == nil || one.State.Health.Status == "none" || one.State.Health.Status == "" {
		return so
	}
	if so != "" && so != "healthy" {
		return so
	}
	return one.State.Health.Status
}

// otherImage says when a container runs another image than it must. A digest may
// stand in the container's configuration or be one of those that its image has.
func (c *compose) otherImage(ctx context.Context, u *unit, found []container) (string, error) {
	if u.Image == "" {
		return "", nil
	}
	for _, one := range found {
		if one.Config.Image == u.Image {
			continue
		}
		var digests []string
		if strings.Contains(u.Image, "@sha256:") {
			text, err := c.run(ctx, c.docker("image", "inspect", "--format={{json .RepoDigests}}", one.Image)...)
			if err != nil {
				return "", err
			}
			if err := json.Unmarshal(text, &digests); err != nil {
				return "", fmt.Errorf("read docker image inspect: %w", err)
			}
		}
		if !slices.Contains(digests, u.Image) {
			return fmt.Sprintf("%s has image %s, not %s", strings.TrimPrefix(one.Name, "/"), one.Config.Image, u.Image), nil
		}
	}
	return "", nil
}

// timeout is the option of up and stop; left out, the compose file decides.
func (c *compose) timeout() []string {
	if c.StopTimeout == nil {
		return nil
	}
	return []string{"--timeout=" + strconv.Itoa(int(c.StopTimeout.Seconds()))}
}

// up makes the service's containers run as the compose file says now; nothing is
// built, and no other service is touched.
func (c *compose) up(ctx context.Context, u *unit, more ...string) error {
	words := append([]string{"up", "--detach", "--no-deps", "--no-build"}, c.timeout()...)
	_, err := c.compose(ctx, append(append(words, more...), u.Name)...)
	return err
}

func (c *compose) start(ctx context.Context, u *unit) (string, error) {
	return "started", c.up(ctx, u)
}

func (c *compose) stop(ctx context.Context, u *unit, st status) (string, []string, error) {
	if st.stopped() {
		return wasStopped, nil, nil
	}
	if _, err := c.compose(ctx, append(append([]string{"stop"}, c.timeout()...), u.Name)...); err != nil {
		return "", nil, err
	}
	now, err := c.look(ctx, u)
	if err != nil {
		return "", nil, err
	}
	left, err := c.instances(ctx, u, now)
	return "stopped", left, err
}

// restart makes new containers, also when neither image nor configuration was
// changed: docker compose restart would keep the old ones.
func (c *compose) restart(ctx context.Context, u *unit, _ status) (string, error) {
	return "made anew", c.up(ctx, u, "--force-recreate")
}

func (c *compose) reload(ctx context.Context, u *unit, _ status) error {
	_, err := c.compose(ctx, "kill", "--signal=SIGHUP", u.Name)
	return err
}

func (c *compose) instances(_ context.Context, _ *unit, st status) ([]string, error) {
	var names []string
	for _, i := range st.instances {
		names = append(names, "container "+i.ID[:min(len(i.ID), 12)])
	}
	return names, nil
}

func (c *compose) tail(ctx context.Context, _ *unit, st status) []byte {
	if len(st.logs) == 0 {
		return nil
	}
	r, err := c.tool.host.Exec(ctx, c.command(c.docker("logs", "--tail="+tailLines, st.logs[0])))
	if err != nil || r.Code != 0 {
		return nil
	}
	return append(append(r.Stdout, '\n'), r.Stderr...)
}
