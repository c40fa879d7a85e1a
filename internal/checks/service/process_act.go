package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dotenv"
)

const (
	// maxEnvFile bounds a file of environment variables, in bytes.
	maxEnvFile = 256 << 10
	// termWait is how long a program has to end when nothing else is said.
	termWait = 10 * time.Second
	// killWait is how long the kernel may take to end a killed process.
	killWait = 5 * time.Second
)

// start starts a program. An instance that the pid file does not know of would
// become a second one, so it is refused instead.
func (p *processes) start(ctx context.Context, u *unit) (string, error) {
	supervisor, ok := p.host.(check.Supervisor)
	if !ok {
		return "", fmt.Errorf("host %s cannot start programs that stay", p.host.Name())
	}
	strangers, err := processesOf(ctx, p.host, u)
	if err != nil {
		return "", err
	}
	if len(strangers) > 0 {
		return "", &refused{fmt.Sprintf("runs already, but %s does not know of it (%s)", u.PIDFile, strings.Join(strangers, ", "))}
	}
	env, err := p.environ(ctx, u)
	if err != nil {
		return "", err
	}
	argv, err := check.Args(u.Argv, false)
	if err != nil {
		return "", err
	}
	_, err = supervisor.Start(ctx, check.Detached{
		Command: check.Command{Argv: argv, Dir: u.Dir, Env: env, User: u.User}, Log: u.log(), PIDFile: u.PIDFile, Key: p.env.Key,
	})
	if err != nil && ctx.Err() == nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, exec.ErrNotFound)) {
		return "", &refused{fmt.Sprintf("could not be started: %v", err)}
	}
	return "started", err
}

// stop ends a program in good order, and at once when that takes too long.
func (p *processes) stop(ctx context.Context, u *unit, st status) (string, []string, error) {
	did := wasStopped
	if st.phase == up {
		var err error
		if did, err = p.end(ctx, u, st); err != nil {
			return "", nil, err
		}
	}
	left, err := p.left(ctx, u, st.phase == up)
	if err != nil || len(left) > 0 {
		return did, left, err
	}
	return did, nil, p.forget(ctx, u)
}

// wasStopped is said of a unit that did not run before it was to be stopped.
const wasStopped = "was not running"

// left lists what still runs of a unit. Workers may need a moment after their
// master.
func (p *processes) left(ctx context.Context, u *unit, wait bool) ([]string, error) {
	end := p.work.env.Now().Add(p.patience())
	for {
		found, err := processesOf(ctx, p.host, u)
		if err != nil || len(found) == 0 || !wait || !p.work.env.Now().Before(end) {
			return found, err
		}
		if err := p.work.env.Sleep(ctx, min(p.Every, 50*time.Millisecond)); err != nil {
			return nil, err
		}
	}
}

func (p *processes) patience() time.Duration {
	if p.StopTimeout != nil {
		return *p.StopTimeout
	}
	return termWait
}

func (p *processes) end(ctx context.Context, u *unit, st status) (string, error) {
	start := p.work.env.Now()
	if err := p.signal(ctx, st, check.Terminate); err != nil {
		return "", err
	}
	ended, err := p.ends(ctx, u, st, p.patience())
	if err != nil || ended {
		return fmt.Sprintf("stopped after %s", p.work.env.Now().Sub(start).Round(time.Millisecond)), err
	}
	if err := p.signal(ctx, st, check.Kill); err != nil {
		return "", err
	}
	ended, err = p.ends(ctx, u, st, killWait)
	if err == nil && !ended {
		err = fmt.Errorf("pid %d still runs after SIGKILL", st.process.PID)
	}
	return fmt.Sprintf("killed, because it did not end within %s", p.patience()), err
}

// ends waits until the process is no more, for at most the time given.
func (p *processes) ends(ctx context.Context, u *unit, was status, limit time.Duration) (bool, error) {
	end := p.work.env.Now().Add(limit)
	for {
		st, err := p.look(ctx, u)
		if err != nil {
			return false, err
		}
		if st.phase != up || restartsSince(was.instances, st.instances) > 0 {
			return true, nil
		}
		if !p.work.env.Now().Before(end) {
			return false, nil
		}
		if err := p.work.env.Sleep(ctx, min(p.Every, 50*time.Millisecond)); err != nil {
			return false, err
		}
	}
}

// signal sends SIGKILL to the whole group, so that no worker outlives its
// master; the others go to the master, which knows how to pass them on.
func (p *processes) signal(ctx context.Context, st status, s check.Signal) error {
	supervisor, ok := p.host.(check.Supervisor)
	if !ok {
		return fmt.Errorf("host %s cannot signal programs", p.host.Name())
	}
	// A program that was not started here may share its group with others.
	group := s == check.Kill && st.process.Key != ""
	err := supervisor.Signal(ctx, st.process, s, group)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (p *processes) restart(ctx context.Context, u *unit, st status) (string, error) {
	did, left, err := p.stop(ctx, u, st)
	if err == nil && len(left) > 0 {
		err = &refused{fmt.Sprintf("has an instance that still runs (%s)", strings.Join(left, ", "))}
	}
	if err == nil {
		_, err = p.start(ctx, u)
	}
	return did + ", started again", err
}

func (p *processes) reload(ctx context.Context, _ *unit, st status) error {
	return p.signal(ctx, st, check.Reload)
}

func (p *processes) forget(ctx context.Context, u *unit) error {
	result, err := p.host.Exec(ctx, check.Command{Argv: []string{"rm", "-f", "--", u.PIDFile}})
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("rm ended with exit %d", result.Code)
	}
	if err != nil {
		return fmt.Errorf("remove the pid file of %s: %w", u.Name, err)
	}
	return nil
}

func (p *processes) tail(ctx context.Context, u *unit, _ status) []byte {
	result, err := p.host.Exec(ctx, check.Command{Argv: []string{"tail", "-n", tailLines, "--", u.log()}})
	if err != nil || result.Code != 0 {
		return nil
	}
	return result.Stdout
}

// environ gathers a unit's environment; what is written in the list wins over
// the file.
func (w *work) environ(ctx context.Context, u *unit) ([]string, error) {
	var env []string
	if u.EnvFile != "" {
		text, err := w.host.ReadFile(ctx, u.EnvFile, maxEnvFile)
		if err != nil {
			return nil, fmt.Errorf("read the environment of %s: %w", u.Name, err)
		}
		vars, err := dotenv.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("read the environment of %s: %s: %w", u.Name, u.EnvFile, err)
		}
		env = append(env, pairs(vars)...)
	}
	env = append(env, pairs(u.Env)...)
	for _, name := range slices.Sorted(maps.Keys(u.SecretEnv)) {
		value, err := w.env.Secret(ctx, u.SecretEnv[name])
		if err != nil {
			return nil, err
		}
		env = append(env, name+"="+value.Reveal())
		if !value.IsZero() {
			w.secrets = append(w.secrets, value)
		}
	}
	return env, nil
}
