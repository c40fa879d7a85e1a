package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
type processes struct{ *work }

// log is the unit's log file.
func (u *unit) log() string {
	if u.Log != "" {
		return u.Log
	}
	return strings.TrimSuffix(u.PIDFile, path.Ext(u.PIDFile)) + ".log"
}

// look reads the pid file and compares it with the process that has the pid
// now. A pid that belongs to a later start, or to another boot, is not the unit.
func (p *processes) look(ctx context.Context, u *unit) (status, error) {
	stopped := status{phase: down}
	text, err := p.host.ReadFile(ctx, u.PIDFile, maxPIDFile)
	if gone(err) {
		return stopped, nil
	}
	if err != nil {
		return status{}, fmt.Errorf("read the pid file of %s: %w", u.Name, err)
	}
	kept, err := check.ParsePIDFile(text)
	if err != nil {
		return status{}, fmt.Errorf("read the pid file of %s: %w", u.Name, err)
	}
	now, err := statOf(ctx, p.host, kept.PID)
	if gone(err) {
		return stopped, nil
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
		if err := kept.OwnPIDFile(ctx, p.host, u.PIDFile, now); err != nil {
			return status{}, fmt.Errorf("read the pid file of %s: %w", u.Name, err)
		}
		kept.Ticks, kept.Boot = now.Ticks, id
	}
	if now.Ended() || now.Ticks != kept.Ticks || kept.Boot != id {
		return stopped, nil
	}
	life := fmt.Sprint(kept.PID, " ", kept.Ticks, " ", kept.Boot)
	return status{
		phase: up, why: fmt.Sprintf("pid %d, started at tick %s", kept.PID, kept.Ticks), process: kept,
		instances: []instance{{ID: "process", Life: life, Start: life}},
	}, nil
}

func statOf(ctx context.Context, host check.Host, pid int) (check.Stat, error) {
	text, err := host.ReadFile(ctx, fmt.Sprintf("/proc/%d/stat", pid), maxProc)
	if err != nil {
		return check.Stat{}, err
	}
	return check.ParseStat(text)
}

// gone reports whether an error means that there is no such file or process;
// reading /proc of a process that ends meanwhile gives ESRCH.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// instances looks through all processes of the host.
func (p *processes) instances(ctx context.Context, u *unit, _ status) ([]string, error) {
	return processesOf(ctx, p.host, u)
}

// processesOf looks through all processes of a host for those that are the unit's.
// A process whose parent is one as well is its worker, not an instance.
func processesOf(ctx context.Context, host check.Host, u *unit) ([]string, error) {
	if len(u.Argv) == 0 && u.Match == nil {
		return nil, nil
	}
	// Only the names are listed: looking into the folder of a process that ends
	// meanwhile is an error of the listing, but means nothing.
	paths, err := host.Glob(ctx, "/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	if len(paths) == 0 {
		return nil, errors.New("list the processes: none is shown")
	}
	found := map[int]check.Stat{}
	for _, path := range paths {
		line, err := host.ReadFile(ctx, path+"/cmdline", maxProc)
		if gone(err) {
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
		st, err := statOf(ctx, host, pid)
		if err != nil && !gone(err) {
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
	var names []string
	for _, pid := range top {
		names = append(names, fmt.Sprint("pid ", pid))
	}
	return names, nil
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
