package check

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
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
