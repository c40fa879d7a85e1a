package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Bounds of one switch. A request may run as long as HAProxy's timeout server.
const (
	healthyWithin = 30 * time.Second
	upWithin      = 10 * time.Second
	drainWithin   = 35 * time.Second
	stopWithin    = 10 * time.Second
	pause         = 50 * time.Millisecond
)

func (s *site) address(colour string) string {
	if colour == "blue" {
		return s.Blue
	}
	return s.Green
}

func other(colour string) string {
	if colour == "blue" {
		return "green"
	}
	return "blue"
}

// switchTo is what deploy/README.md describes. It may be repeated: what has been done already is not done again.
func (s *site) switchTo(ctx context.Context, version string, out io.Writer) error {
	if err := s.note(version, os.Getenv("ALLCLEAR_KEY")); err != nil {
		return err
	}
	live, err := s.live(ctx)
	if err != nil {
		return err
	}
	next := "blue"
	if live != "" {
		next = other(live)
		if s.version(ctx, live) == version {
			next, live = live, next
		}
	}
	if err := s.startWeb(ctx, next, version); err != nil {
		return err
	}
	if err := s.set(ctx, "set server web/"+next+" state ready"); err != nil {
		return err
	}
	err = until(ctx, upWithin, func() error {
		state, err := s.server(ctx, next)
		if err == nil && state.status != "UP" {
			err = fmt.Errorf("%s is %s", next, state.status)
		}
		return err
	})
	if err != nil {
		return err
	}
	old := other(next)
	if err := s.retire(ctx, old); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s serves %s at %s; %s is stopped\n", next, version, s.address(next), old)
	return nil
}

// note writes down that a switch has begun, with the key of the attempt that asked for it, so that one that is made twice
// can be seen.
func (s *site) note(version, key string) error {
	if key == "" {
		return nil // made by hand
	}
	line, err := json.Marshal(map[string]string{"at": time.Now().UTC().Format(time.RFC3339Nano), "version": version, "key": key})
	if err != nil {
		return fmt.Errorf("note the switch: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(s.Run, "switches.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("note the switch: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// retire takes a server out of the traffic, lets its requests finish and stops it.
func (s *site) retire(ctx context.Context, colour string) error {
	if err := s.set(ctx, "set server web/"+colour+" state drain"); err != nil {
		return err
	}
	err := until(ctx, drainWithin, func() error {
		state, err := s.server(ctx, colour)
		if err == nil && state.sessions != "0" {
			err = fmt.Errorf("%s has %s sessions", colour, state.sessions)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := s.set(ctx, "set server web/"+colour+" state maint"); err != nil {
		return err
	}
	return s.stopWeb(ctx, colour)
}

// is tells by its exit code whether version serves alone.
func (s *site) is(ctx context.Context, version string) error {
	live, err := s.live(ctx)
	switch {
	case err != nil:
		return err
	case live != "" && s.version(ctx, live) == version && s.version(ctx, other(live)) == "":
		return nil
	case s.version(ctx, "blue") == version || s.version(ctx, "green") == version:
		return status(exitPartly)
	}
	return status(exitNot)
}

// health is what a web server says of itself.
type health struct {
	Database, Cache, Schema, Version string
}

func (s *site) health(ctx context.Context, colour string) (health, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address(colour)+"/v1/health", nil)
	if err != nil {
		return health{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return health{}, err
	}
	defer resp.Body.Close()
	var h health
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&h); err != nil {
		return health{}, fmt.Errorf("read health of %s: %w", colour, err)
	}
	return h, nil
}

// version is what runs at an address; empty when nothing answers.
func (s *site) version(ctx context.Context, colour string) string {
	h, err := s.health(ctx, colour)
	if err != nil {
		return ""
	}
	return h.Version
}

// startWeb starts a version and waits until it could serve. Workers may be stopped meanwhile, so they do not count.
func (s *site) startWeb(ctx context.Context, colour, version string) error {
	if s.version(ctx, colour) != version {
		if err := s.stopWeb(ctx, colour); err != nil {
			return err
		}
		if err := s.spawn(colour, version); err != nil {
			return err
		}
	}
	return until(ctx, healthyWithin, func() error {
		h, err := s.health(ctx, colour)
		if err == nil && (h.Version != version || h.Database != "healthy" || h.Cache != "healthy" || h.Schema != "healthy") {
			err = fmt.Errorf("%s is not ready: %+v", colour, h)
		}
		return err
	})
}

// spawn starts a web server that outlives this program.
func (s *site) spawn(colour, version string) error {
	log, err := os.OpenFile(filepath.Join(s.Run, "web-"+colour+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open output: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.Releases, version, "bin", "tulia"), "-env", s.EnvFile, "web")
	cmd.Env = append(os.Environ(), "TULIA_ADDR="+s.address(colour))
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start web %s: %w", version, err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	// A server that dies at once would otherwise stay as a zombie and look alive.
	go func() { _ = cmd.Wait() }()
	return os.WriteFile(s.pidFile(colour), []byte(pid), 0o600)
}

func (s *site) pidFile(colour string) string { return filepath.Join(s.Run, "web-"+colour+".pid") }

// stopWeb stops the web server at an address, if one runs there.
func (s *site) stopWeb(ctx context.Context, colour string) error {
	pid, ok := s.pid(colour)
	if !ok {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop web %s: %w", colour, err)
	}
	return until(ctx, stopWithin, func() error {
		if pid, ok := s.pid(colour); ok {
			return fmt.Errorf("web %s (process %d) does not stop", colour, pid)
		}
		return nil
	})
}

// pid gives the process of a web server; a number that was given to another program since is not it.
func (s *site) pid(colour string) (int, bool) {
	text, err := os.ReadFile(s.pidFile(colour))
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, false
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	words := strings.Split(string(line), "\x00")
	return pid, err == nil && strings.HasPrefix(words[0], s.Releases) && len(words) > 3 && words[3] == "web"
}

// until asks again and again, and gives the last answer when the time is over.
func until(ctx context.Context, within time.Duration, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", within, err)
		case <-tick.C:
		}
	}
}
