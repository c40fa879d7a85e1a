package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Supervisor is a Host that can start programs which outlive allclear.
type Supervisor interface {
	// Start starts a program in a session of its own. Its pid file is durable
	// before Start returns.
	Start(ctx context.Context, d Detached) (Process, error)
	// Signal sends a signal to exactly this process, or to its whole group. A
	// process that is no more is os.ErrProcessDone.
	Signal(ctx context.Context, p Process, s Signal, group bool) error
}

// Detached is a program to start and leave running. Of the Command its Argv,
// Dir, Env and User count.
type Detached struct {
	Command
	// Log receives standard output and error, appended.
	Log string
	// PIDFile keeps the Process as JSON.
	PIDFile string
	// Key is the attempt that starts it.
	Key string
}

// Process identifies a running program for as long as the machine runs: a pid
// alone is given to another program sooner or later.
type Process struct {
	PID int `json:"pid"`
	// Ticks is the start in clock ticks since boot; Boot is the kernel's boot id.
	Ticks string `json:"start_ticks"`
	Boot  string `json:"boot_id"`
	// Key is the attempt that started it.
	Key string `json:"key,omitempty"`
}

// Signal is what a running program can be told.
type Signal string

// The signals: end in good order, end at once, read the configuration again.
const (
	Terminate Signal = "TERM"
	Kill      Signal = "KILL"
	Reload    Signal = "HUP"
)

// Stat is what /proc/pid/stat tells, by the fields of proc(5).
type Stat struct {
	PID, Parent int
	// State is one letter: R, S, D run, Z has ended.
	State   string
	Threads int
	Ticks   string
}

// Ended reports whether the process has ended and is only waiting to be
// collected by its parent. While other threads of it are still ending, its files
// and ports are not free yet.
func (s Stat) Ended() bool { return (s.State == "Z" || s.State == "X") && s.Threads <= 1 }

// ParseStat reads /proc/pid/stat. The program's name stands in parentheses and
// may hold anything, parentheses and spaces included.
func ParseStat(text []byte) (Stat, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return Stat{}, fmt.Errorf("process status %.40q is malformed", text)
	}
	fields := strings.Fields(string(text[end+1:]))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:open])))
	if err != nil || len(fields) < 20 {
		return Stat{}, fmt.Errorf("process status %.40q is malformed", text)
	}
	parent, err := strconv.Atoi(fields[1])
	threads, err2 := strconv.Atoi(fields[17])
	if err != nil || err2 != nil {
		return Stat{}, fmt.Errorf("process status %.40q is malformed", text)
	}
	return Stat{PID: pid, Parent: parent, State: fields[0], Threads: threads, Ticks: fields[19]}, nil
}

// Began tells when the process was started, from the text of /proc/stat, whose
// "btime" is the time of the boot (proc(5)). Ticks are hundredths of a second:
// the kernel's USER_HZ is 100 for programs.
func (s Stat) Began(procStat []byte) (time.Time, error) {
	const perSecond = 100
	for line := range strings.Lines(string(procStat)) {
		text, found := strings.CutPrefix(line, "btime ")
		if !found {
			continue
		}
		boot, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		ticks, err2 := strconv.ParseInt(s.Ticks, 10, 64)
		if err != nil || err2 != nil {
			return time.Time{}, fmt.Errorf("the time of the boot %.20q or of the process's start %.20q is malformed", text, s.Ticks)
		}
		return time.Unix(boot, 0).Add(time.Duration(ticks) * time.Second / perSecond), nil
	}
	return time.Time{}, errors.New("/proc/stat does not tell the time of the boot")
}

// maxProcFile bounds a file of /proc, in bytes.
const maxProcFile = 1 << 20

// ParsePIDFile reads what a pid file says: a number, as most programs write it, or
// the Process that a Supervisor has kept. Of the number alone Ticks and Boot are
// empty.
func ParsePIDFile(text []byte) (Process, error) {
	text = bytes.TrimSpace(text)
	var p Process
	pid, err := strconv.Atoi(string(text))
	if err == nil {
		p.PID = pid
	} else if err := json.Unmarshal(text, &p); err != nil || p.Ticks == "" || p.Boot == "" {
		return p, fmt.Errorf("%.60q is malformed", text)
	}
	if p.PID <= 1 {
		return p, fmt.Errorf("pid %d cannot be a program's", p.PID)
	}
	return p, nil
}

// OwnPIDFile refuses a pid that was given out again since its file was written: s
// is the process that has it now. A Supervisor's file tells which start it means;
// any other cannot have been written by a process that was started later. A minute
// is left for clocks that were set. What a link's own date says is not known.
func (p Process) OwnPIDFile(ctx context.Context, host Host, path string, s Stat) error {
	another := fmt.Errorf("pid %d was started after %s was written: it is another program's now", p.PID, path)
	if p.Ticks != "" {
		boot, err := host.ReadFile(ctx, "/proc/sys/kernel/random/boot_id", maxProcFile)
		if err == nil && (p.Ticks != s.Ticks || p.Boot != strings.TrimSpace(string(boot))) {
			err = another
		}
		return err
	}
	info, err := host.Lstat(ctx, path)
	if err != nil || !info.Mode.IsRegular() {
		return err
	}
	text, err := host.ReadFile(ctx, "/proc/stat", maxProcFile)
	if err != nil {
		return err
	}
	began, err := s.Began(text)
	if err == nil && began.After(info.ModTime.Add(time.Minute)) {
		err = another
	}
	return err
}
