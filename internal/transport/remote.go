package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"sync/atomic"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
)

// stopTime bounds how long stopping a program on another host may take, beyond
// the time that the program itself is given.
const stopTime = 5 * time.Second

// Remote is another host: a machine over ssh, or a container. A POSIX shell there
// starts programs; nothing is installed.
type Remote struct {
	name string
	// dir is where relative paths and programs start; "" is the login's or the
	// container's own.
	dir string
	// via gives the program of this machine that starts a shell there as a user
	// ("" is the login's own) with the words that follow: sh -c and the reader.
	via func(ctx context.Context, user string) ([]string, error)
	// from is the checkout, where the paths of keys and compose files begin; keep
	// names variables of this machine that the program in via needs.
	from string
	keep []string
	// Prepare, when set, adjusts every program of this machine just before it starts.
	Prepare func(*exec.Cmd)
}

// Name is the host's name in the configuration.
func (r *Remote) Name() string { return r.name }

// Exec runs a program there and waits for its end. The environment is that of the
// login or container and what the command adds. When ctx ends, the program's group
// there gets SIGTERM and, three seconds later, SIGKILL, and the answer is ctx's
// error. A program that ends while something it started still holds its output
// open is waited for three seconds longer; its Result is then marked as truncated.
//
// An exit code of 128+n is what a shell says of a program that signal n ended: it
// is given as both. Not having reached the host, not having started the program
// and having lost the connection are errors, never exit codes.
func (r *Remote) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if err := ctx.Err(); err != nil {
		return check.Result{}, err
	}
	return r.run(ctx, c, true)
}

// run runs a program; stops says whether it is stopped there when ctx ends.
func (r *Remote) run(ctx context.Context, c check.Command, stops bool) (check.Result, error) {
	s, err := newSession(c, r.dir)
	if err != nil {
		return check.Result{}, err
	}
	argv, err := r.via(ctx, c.User)
	if err != nil {
		return check.Result{}, fmt.Errorf("reach %s: %w", r.name, err)
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := r.command(inner, argv, s)
	if err != nil {
		return check.Result{}, fmt.Errorf("reach %s: %w", r.name, err)
	}
	var stopped error
	cmd.Cancel = func() error {
		if stops && s.err.running() {
			stopped = r.stop(ctx, c.User, s.err.who())
		}
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	var lingers atomic.Bool
	s.err.ended = func() { // something that the program left behind holds its output
		timer := time.AfterFunc(killGrace, func() { lingers.Store(true); cancel() })
		context.AfterFunc(inner, func() { timer.Stop() })
	}
	start := time.Now()
	if err = cmd.Start(); err == nil {
		go s.feed(inner)
		err = cmd.Wait()
	}
	if cmd.Process != nil && inner.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	result := s.result(time.Since(start), lingers.Load() || errors.Is(err, exec.ErrWaitDelay))
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("run %s on %s: %w", c.Argv[0], r.name, cause)
		if stopped != nil {
			err = fmt.Errorf("%w; whether it has ended there is not known: %w", err, stopped)
		}
		return result, err
	}
	return result, s.judge(r.name, c.Argv[0], err)
}

// command makes this machine's end of a session ready.
func (r *Remote) command(ctx context.Context, argv []string, s *session) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	env, err := environ(r.keeps(), nil)
	if err != nil {
		return nil, err
	}
	cmd.Env, cmd.Dir, cmd.WaitDelay = env, r.from, killGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = s.out, s.err
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if r.Prepare != nil {
		r.Prepare(cmd)
	}
	return cmd, nil
}

// keeps gives the variables of this machine that the host's program needs.
func (r *Remote) keeps() []string {
	var env []string
	for _, name := range r.keep {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// path gives a path as it is seen from dir. It never begins with a dash.
func (r *Remote) path(p string) string {
	switch {
	case path.IsAbs(p):
		return p
	case r.dir != "":
		return path.Join(r.dir, p)
	}
	return "./" + p
}
