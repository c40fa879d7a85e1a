package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"allclear.dev/allclear/internal/check"
)

// Start starts a program in a session of its own that outlives allclear. Its
// output is appended to the log; the pid file is on disk before Start returns.
// When the pid file cannot be written, the program is stopped again.
func (l *Local) Start(ctx context.Context, d check.Detached) (check.Process, error) {
	if err := ctx.Err(); err != nil {
		return check.Process{}, err
	}
	// Not ctx: the program must not end with it.
	cmd, err := l.command(context.WithoutCancel(ctx), d.Command)
	if err != nil {
		return check.Process{}, err
	}
	log, err := os.OpenFile(l.path(d.Log), os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o640)
	if err != nil {
		return check.Process{}, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		return check.Process{}, fmt.Errorf("start %s: %w", d.Argv[0], err)
	}
	p := check.Process{PID: cmd.Process.Pid, Key: d.Key}
	p.Ticks, p.Boot, err = identify(p.PID)
	if err == nil {
		err = writePID(l.path(d.PIDFile), p)
	}
	if err != nil {
		_ = syscall.Kill(-p.PID, syscall.SIGKILL)
		_ = cmd.Wait()
		return check.Process{}, fmt.Errorf("start %s: %w", d.Argv[0], err)
	}
	go func() { _ = cmd.Wait() }() // so that an ended program does not stay as a zombie
	return p, nil
}

// Signal sends a signal to exactly the process that was started: a pid that now
// belongs to another one is os.ErrProcessDone. With group, the whole process
// group of the process gets it.
func (l *Local) Signal(ctx context.Context, p check.Process, signal check.Signal, group bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	number, known := map[check.Signal]syscall.Signal{
		check.Terminate: syscall.SIGTERM, check.Kill: syscall.SIGKILL, check.Reload: syscall.SIGHUP,
	}[signal]
	if !known || p.PID <= 1 {
		return fmt.Errorf("signal %q to pid %d is not allowed", signal, p.PID)
	}
	// The handle pins the process, so that the pid cannot change hands between the
	// comparison and the signal.
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return os.ErrProcessDone
	}
	defer func() { _ = handle.Release() }()
	ticks, boot, err := identify(p.PID)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	if err != nil {
		return err
	}
	if ticks != p.Ticks || boot != p.Boot {
		return os.ErrProcessDone
	}
	if group {
		return syscall.Kill(-p.PID, number)
	}
	return handle.Signal(number)
}

// identify gives what tells a process from a later one with the same pid: its
// start in clock ticks since boot (field 22 of /proc/pid/stat, proc(5)) and the
// boot it belongs to.
func identify(pid int) (ticks, boot string, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	info, err := check.ParseStat(stat)
	if err != nil {
		return "", "", err
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", "", err
	}
	return info.Ticks, strings.TrimSpace(string(id)), nil
}

// writePID puts the file in place in one step that survives a power cut.
func writePID(path string, p check.Process) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("create the pid file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	defer dir.Close()
	return dir.Sync()
}
