package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxPIDFile and maxProc bound a pid file and a file of /proc, in bytes.
	maxPIDFile, maxProc = 4096, 1 << 20
)

// processes is the driver for programs that allclear itself starts.
type processes struct{ host check.Host }

// log is the unit's log file.
func (u *unit) log() string {
	if u.Log != "" {
		return u.Log
	}
	return strings.TrimSuffix(u.PIDFile, path.Ext(u.PIDFile)) + ".log"
}

// status reads the pid file and compares it with the process that has the pid
// now. A pid that belongs to a later start, or to another boot, is not the unit.
func (p *processes) status(ctx context.Context, u *unit) (status, error) {
	text, err := p.host.ReadFile(ctx, u.PIDFile, maxPIDFile)
	if missing(err) {
		return status{}, nil
	}
	if err != nil {
		return status{}, fmt.Errorf("read the pid file of %s: %w", u.Name, err)
	}
	kept, err := parsePID(text)
	if err != nil {
		return status{}, fmt.Errorf("read the pid file of %s: %w", u.Name, err)
	}
	now, err := p.stat(ctx, kept.PID)
	if missing(err) {
		return status{}, nil
	}
	if err != nil {
		return status{}, fmt.Errorf("look at pid %d of %s: %w", kept.PID, u.Name, err)
	}
	boot, err := p.host.ReadFile(ctx, "/proc/sys/kernel/random/boot_id", maxProc)
	if err != nil {
		return status{}, fmt.Errorf("read the boot id: %w", err)
	}
	id := strings.TrimSpace(string(boot))
	if kept.Ticks == "" { // written by the program itself, which knows only its pid
		if err := check.OwnPIDFile(ctx, p.host, u.PIDFile, now); err != nil {
			return status{}, fmt.Errorf("read the pid file of %s: %w", u.Name, err)
		}
		kept.Ticks, kept.Boot = now.Ticks, id
	}
	alive := !now.Ended() && now.Ticks == kept.Ticks && kept.Boot == id
	return status{running: alive, process: kept, key: kept.Key}, nil
}

func parsePID(text []byte) (check.Process, error) {
	text = bytes.TrimSpace(text)
	var p check.Process
	pid, err := strconv.Atoi(string(text))
	if err == nil {
		p.PID = pid
	} else if err := json.Unmarshal(text, &p); err != nil || p.Ticks == "" || p.Boot == "" {
		return p, fmt.Errorf("%.60q is malformed", text)
	}
	if p.PID <= 1 {
		return p, fmt.Errorf("pid %d cannot be a unit's", p.PID)
	}
	return p, nil
}

func (p *processes) stat(ctx context.Context, pid int) (check.Stat, error) {
	text, err := p.host.ReadFile(ctx, fmt.Sprintf("/proc/%d/stat", pid), maxProc)
	if err != nil {
		return check.Stat{}, err
	}
	return check.ParseStat(text)
}

// missing reports whether an error means that there is no such file or process;
// reading /proc of a process that ends meanwhile gives ESRCH.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

func (p *processes) start(ctx context.Context, u *unit, env []string, key string) error {
	supervisor, ok := p.host.(check.Supervisor)
	if !ok {
		return fmt.Errorf("host %s cannot start programs that stay", p.host.Name())
	}
	argv, err := check.Args(u.Argv, false)
	if err != nil {
		return err
	}
	_, err = supervisor.Start(ctx, check.Detached{
		Command: check.Command{Argv: argv, Dir: u.Dir, Env: env, User: u.User}, Log: u.log(), PIDFile: u.PIDFile, Key: key,
	})
	return err
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

// instances looks through all processes of the host. A process whose parent is
// one as well is its worker, not an instance.
func (p *processes) instances(ctx context.Context, u *unit) ([]int, error) {
	if len(u.Argv) == 0 && u.Match == nil {
		return nil, nil
	}
	// Only the names are listed: looking into the folder of a process that ends
	// meanwhile is an error of the listing, but means nothing.
	paths, err := p.host.Glob(ctx, "/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	if len(paths) == 0 {
		return nil, errors.New("list the processes: none is shown")
	}
	found := map[int]check.Stat{}
	for _, path := range paths {
		line, err := p.host.ReadFile(ctx, path+"/cmdline", maxProc)
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the processes: %w", err)
		}
		if !u.is(line) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil {
			return nil, fmt.Errorf("list the processes: %s is malformed", path)
		}
		st, err := p.stat(ctx, pid)
		if err != nil && !missing(err) {
			return nil, fmt.Errorf("list the processes: %w", err)
		}
		if err == nil && !st.Ended() {
			found[pid] = st
		}
	}
	var top []int
	for pid, st := range found {
		if _, worker := found[st.Parent]; !worker {
			top = append(top, pid)
		}
	}
	slices.Sort(top)
	return top, nil
}

// is reports whether a command line (words ended by NUL) is the unit's. An
// interpreter may stand before the program, and the program with its whole path.
func (u *unit) is(line []byte) bool {
	words := strings.TrimRight(string(line), "\x00")
	if u.Match != nil {
		return words != "" && u.Match.MatchString(strings.ReplaceAll(words, "\x00", " "))
	}
	var argv []string
	for _, a := range u.Argv {
		argv = append(argv, a.Text)
	}
	before, ok := strings.CutSuffix(words, strings.Join(argv, "\x00"))
	return ok && (before == "" || strings.HasSuffix(before, "\x00") || strings.HasSuffix(before, "/"))
}
