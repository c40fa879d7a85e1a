// Package transport is how a type reaches a host: this machine, another one over
// ssh, or a container.
package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

const (
	// defaultLimit bounds each output stream kept in memory.
	defaultLimit = 1 << 20
	// killGrace is how long a program may take to end after SIGTERM.
	killGrace = 3 * time.Second
	// maxGlob bounds how many paths a pattern may match.
	maxGlob = 100_000
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
// the answer is ctx's error.
func (l *Local) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if err := validArgv(c.Argv); err != nil {
		return check.Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return check.Result{}, err
	}
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	stdout, stderr := &capped{limit: limit, also: c.Stdout}, &capped{limit: limit, also: c.Stderr}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir = l.path(c.Dir)
	cmd.Env = append(baseEnv(), c.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Stdin), stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killGrace
	if err := runAs(cmd, c.User); err != nil {
		return check.Result{}, err
	}
	if l.Prepare != nil {
		l.Prepare(cmd)
	}
	start := time.Now()
	err := cmd.Run()
	if cmd.Process != nil && ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whatever of the group is left
	}
	result := check.Result{
		Stdout: stdout.buf.Bytes(), Stderr: stderr.buf.Bytes(),
		Truncated: stdout.cut || stderr.cut, Took: time.Since(start),
	}
	return ended(ctx, cmd, result, err)
}

// ended tells a program's end from not knowing how it ended.
func ended(ctx context.Context, cmd *exec.Cmd, result check.Result, err error) (check.Result, error) {
	if ctx.Err() != nil {
		return result, fmt.Errorf("run %s: %w", cmd.Args[0], context.Cause(ctx))
	}
	if err == nil {
		return result, nil
	}
	exit, exited := errors.AsType[*exec.ExitError](err)
	if !exited {
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

// baseEnv is what every program gets: enough to find programs, files and the
// locale, and nothing that changes how an interpreter or linker behaves.
func baseEnv() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func runAs(cmd *exec.Cmd, name string) error {
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("run as %s: %w", name, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return fmt.Errorf("run as %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return fmt.Errorf("run as %s: %w", name, err)
	}
	if int(uid) != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return nil
}

func (l *Local) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(l.Dir, p)
}

// ReadFile gives a file's content, at most limit bytes.
func (l *Local) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(l.path(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: longer than %d bytes", path, limit)
	}
	return data, nil
}

// Lstat describes a file without following a link.
func (l *Local) Lstat(ctx context.Context, path string) (check.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return check.FileInfo{}, err
	}
	info, err := os.Lstat(l.path(path))
	if err != nil {
		return check.FileInfo{}, err
	}
	out := check.FileInfo{Path: path, Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.Owner, out.Group = strconv.FormatUint(uint64(st.Uid), 10), strconv.FormatUint(uint64(st.Gid), 10)
		if u, err := user.LookupId(out.Owner); err == nil {
			out.Owner = u.Username
		}
		if g, err := user.LookupGroupId(out.Group); err == nil {
			out.Group = g.Name
		}
	}
	return out, nil
}

// Glob lists the paths that match a pattern, relative to Dir unless the pattern
// is absolute. Links are not followed.
func (l *Local) Glob(ctx context.Context, pattern string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !doublestar.ValidatePathPattern(pattern) {
		return nil, fmt.Errorf("pattern %q: %w", pattern, doublestar.ErrBadPattern)
	}
	base := l.Dir
	if filepath.IsAbs(pattern) {
		base = "/"
	}
	found, err := doublestar.Glob(os.DirFS(base), strings.TrimPrefix(filepath.Clean(pattern), "/"), doublestar.WithNoFollow())
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	if len(found) > maxGlob {
		return nil, fmt.Errorf("pattern %q: matches more than %d paths", pattern, maxGlob)
	}
	if base == "/" {
		for i := range found {
			found[i] = "/" + found[i]
		}
	}
	return found, nil
}

// capped keeps the first bytes of a stream and passes all of it on.
type capped struct {
	buf   bytes.Buffer
	limit int64
	cut   bool
	also  io.Writer
}

func (c *capped) Write(p []byte) (int, error) {
	if c.also != nil {
		if _, err := c.also.Write(p); err != nil {
			return 0, err
		}
	}
	keep := min(int64(len(p)), c.limit-int64(c.buf.Len()))
	if keep < int64(len(p)) {
		c.cut = true
	}
	if keep > 0 {
		c.buf.Write(p[:keep])
	}
	return len(p), nil
}
