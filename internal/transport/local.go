// Package transport is how a type reaches a host: this machine, another one over
// ssh, or a container.
package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// defaultLimit bounds each output stream kept in memory.
	defaultLimit = 1 << 20
	// killGrace is how long a program may take to end after SIGTERM, and how long
	// its output may stay open after it has ended.
	killGrace = 3 * time.Second
)

// Local is this machine.
type Local struct {
	// Dir is where relative paths and programs start.
	Dir string
	// Prepare, when set, adjusts every program just before it starts; the engine
	// uses it to tie programs to the attempt that runs them.
	Prepare func(*exec.Cmd)
}

// Name is "local".
func (l *Local) Name() string { return "local" }

// Exec runs a program in a process group of its own with a minimal environment.
// When ctx ends, the group gets SIGTERM and, three seconds later, SIGKILL, and
// the answer is ctx's error. A program that ends while something it started
// still holds its output open is waited for three seconds longer; its Result is
// then marked as truncated.
func (l *Local) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if err := ctx.Err(); err != nil {
		return check.Result{}, err
	}
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	stdout, stderr := &capped{limit: limit, also: c.Stdout}, &capped{limit: limit, also: c.Stderr}
	cmd, err := l.command(ctx, c)
	if err != nil {
		return check.Result{}, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Stdin), stdout, stderr
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killGrace
	if l.Prepare != nil {
		l.Prepare(cmd)
	}
	start := time.Now()
	err = cmd.Run()
	if cmd.Process != nil && ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whatever of the group is left
	}
	result := check.Result{
		Stdout: stdout.buf.Bytes(), Stderr: stderr.buf.Bytes(),
		Truncated: stdout.cut || stderr.cut, Took: time.Since(start),
	}
	return ended(ctx, cmd, result, err)
}

// command makes the program ready to start, with everything checked.
func (l *Local) command(ctx context.Context, c check.Command) (*exec.Cmd, error) {
	if err := validArgv(c.Argv); err != nil {
		return nil, err
	}
	if strings.ContainsRune(c.Dir, 0) {
		return nil, errors.New("the directory holds a NUL byte")
	}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir = l.path(c.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	own, err := runAs(cmd, c.User)
	if err != nil {
		return nil, err
	}
	cmd.Env, err = environ(own, c.Env)
	return cmd, err
}

// ended tells a program's end from not knowing how it ended.
func ended(ctx context.Context, cmd *exec.Cmd, result check.Result, err error) (check.Result, error) {
	if ctx.Err() != nil {
		return result, fmt.Errorf("run %s: %w", cmd.Args[0], context.Cause(ctx))
	}
	if errors.Is(err, exec.ErrWaitDelay) { // it ended well; a child kept its output open
		result.Truncated = true
		return result, nil
	}
	if err == nil {
		return result, nil
	}
	exit, exited := errors.AsType[*exec.ExitError](err)
	if !exited {
		if _, missing := os.Stat(cmd.Dir); cmd.Dir != "" && missing != nil { // the system blames the program
			err = missing
		}
		return result, fmt.Errorf("run %s: %w", cmd.Args[0], err)
	}
	result.Code = exit.ExitCode()
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		result.Signal = status.Signal().String()
	}
	return result, nil
}

func validArgv(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return errors.New("no program given")
	}
	for _, a := range argv {
		if strings.ContainsRune(a, 0) {
			return errors.New("an argument holds a NUL byte")
		}
	}
	return nil
}

// runAs makes the program another user's and gives the environment that goes
// with that user.
func runAs(cmd *exec.Cmd, name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("run as %s: %w", name, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("run as %s: %w", name, err)
	}
	groups, err := groupsOf(u)
	if err != nil {
		return nil, fmt.Errorf("run as %s: %w", name, err)
	}
	if int(uid) != syscall.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: groups[0], Groups: groups}
	}
	return []string{"HOME=" + u.HomeDir, "USER=" + u.Username, "LOGNAME=" + u.Username}, nil
}

// groupsOf gives a user's groups, the primary one first.
func groupsOf(u *user.User) ([]uint32, error) {
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	var groups []uint32
	for _, id := range append([]string{u.Gid}, ids...) {
		gid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, err
		}
		groups = append(groups, uint32(gid))
	}
	return groups, nil
}

func (l *Local) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(l.Dir, p)
}
