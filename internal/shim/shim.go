// Package shim runs one action in a process of its own that outlives the
// runner and keeps the result.
//
// The runner starts the same binary again as "allclear __shim DIR". That
// process, the shim, reads the job from DIR, runs the handler that its caller
// gave to [Main], and stores the result. Whatever happens to the runner, [Open]
// can later tell from the directory what became of the attempt.
//
// # The attempt file
//
// An attempt is one file, ROOT/RUN/ITEM@TARGET+ATTEMPT (names escaped), mode
// 0600, of at most three lines of JSON:
//
//	{"intent":…}   who, the job, the time limit, the lease; written by the runner
//	{"started":…}  the shim's pid, start time and boot id; written just before
//	               the handler is called
//	{"result":…}   how it ended
//
// The file itself is flocked by the runner. The lock is inherited by the shim and
// by every process that the handler starts, through a file that is open for
// reading only, so that it is free only when nothing of the attempt is left.
// Beside it, with ".out" after the name, is the first 64 MiB of what the handler
// wrote, if it wrote anything.
//
// What the file says after any crash, in the order of the rules:
//
//	result  lock held  started  state
//	yes     any        any      Finished
//	no      yes        any      Running
//	no      no         no       NeverStarted
//	no      no         yes      InDoubt
//
// A line counts when its end is there. Anything after the intent, even a torn
// line, counts as started.
//
// Some programs (sudo, daemons) close inherited files. The lock therefore also
// counts as held while a process of the shim's session is alive: same boot id,
// and the shim's pid not in use by a process that started at another time. A
// program that closes its files and also leaves the session is not seen.
//
// # What is synced
//
// A killed process loses nothing that it wrote, so syncs matter only to power
// loss. The table needs three:
//
//  1. the file, after the started line and before the handler: a handler that ran
//     must not look like one that did not. The intent becomes durable with it;
//  2. the run's directory, which holds the file's name, before the handler;
//  3. the file, after the result and before anybody is told of it.
//
// The output is synced before the result if there is any, and ROOT once per run.
// One file instead of a directory of them matters too: creating a file can cost
// more than a sync.
package shim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Verb is the first argument of a process that is a shim: when os.Args[1] is
// Verb, the program calls Main with the arguments after it, before anything else.
const Verb = "__shim"

// Limits of what passes through an attempt.
const (
	// MaxOutput is how much of the output is kept, in bytes.
	MaxOutput = 64 << 20
	// MaxStdin is how much Options.Stdin may hold: it must fit into a pipe that
	// nobody reads yet.
	MaxStdin = 60 << 10
	// MaxJob is how long the job may be, in bytes.
	MaxJob = 4 << 20
	// MaxResult is how long the bytes returned by a handler may be.
	MaxResult = 4 << 20
	// MaxLine is the longest line that Lines gives in one piece.
	MaxLine = 64 << 10
	// DefaultGrace is how long a handler may take to end after it was told to.
	DefaultGrace = 10 * time.Second
)

const (
	// outSuffix makes the name of an attempt's output from that of the attempt.
	outSuffix = ".out"
	// fenceName begins with a dot, which no escaped name does.
	fenceName = ".fence"
)

// ErrOtherJob means that the attempt exists and was made for a different job.
var ErrOtherJob = errors.New("the attempt exists with another job")

// ErrNotRunning means that there is nothing to stop.
var ErrNotRunning = errors.New("the attempt is not running")

// ID names an attempt: the run, the item of its checklist, the target that the
// item is applied to (empty if there is only one) and the attempt's number,
// which counts from 1.
type ID struct {
	Run     string `json:"run"`
	Item    string `json:"item"`
	Target  string `json:"target,omitempty"`
	Attempt int    `json:"attempt"`
}

// String renders the ID for messages: run/item@target#attempt.
func (id ID) String() string {
	target := ""
	if id.Target != "" {
		target = "@" + id.Target
	}
	return fmt.Sprintf("%s/%s%s#%d", id.Run, id.Item, target, id.Attempt)
}

// path gives the attempt's file under root.
func (id ID) path(root string) (string, error) {
	if id.Run == "" || id.Item == "" || id.Attempt < 1 {
		return "", fmt.Errorf("attempt %s: want a run, an item and a number from 1", id)
	}
	name := escape(id.Item) + "@" + escape(id.Target)
	return filepath.Join(root, escape(id.Run), fmt.Sprintf("%s+%d", name, id.Attempt)), nil
}

// escape makes any text a part of one file name: letters, digits, "-", "_" and
// inner dots stay, other bytes become %XX. Long names end in a digest.
func escape(text string) string {
	const longest = 100
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() <= longest {
		return b.String()
	}
	sum := sha256.Sum256([]byte(text))
	return b.String()[:longest-33] + "=" + hex.EncodeToString(sum[:16])
}

// Options say how an attempt is run.
type Options struct {
	// Executable is the command line of the shim before the directory. Empty
	// means this program again, with Verb.
	Executable []string
	// Env is the shim's environment as in os.Environ; nil means this process's.
	Env []string
	// Stdin holds what the handler needs and nobody may store, secrets above
	// all; the handler gets it from Stdin. At most MaxStdin bytes.
	Stdin []byte
	// Timeout is how long the handler may run; zero means without limit.
	Timeout time.Duration
	// Grace is the time between telling the handler to end, at the timeout or at
	// Stop, and killing what it started. Zero means DefaultGrace.
	Grace time.Duration
	// Lease is checked just before the handler is called.
	Lease Lease
}

// State is what is known about an attempt.
type State int

// The states of an attempt. Only Finished has a Result.
const (
	// NeverStarted means that the handler was never called and nothing happened:
	// the same attempt may be started.
	NeverStarted State = iota
	// Running means that a process of the attempt is alive.
	Running
	// Finished means that the result is stored.
	Finished
	// InDoubt means that the handler was called, nothing of it is left, and
	// there is no result: it may or may not have had its effect.
	InDoubt
)

// String gives the state's name as messages have it.
func (s State) String() string {
	switch s {
	case NeverStarted:
		return "never started"
	case Running:
		return "running"
	case Finished:
		return "finished"
	case InDoubt:
		return "in doubt"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// Result is how an attempt ended, as stored in the attempt file.
type Result struct {
	ID ID `json:"id"`
	// Bytes is what the handler returned; at most MaxResult.
	Bytes []byte `json:"bytes,omitempty"`
	// Error is the text of the error that the handler returned.
	Error string `json:"error,omitempty"`
	// TimedOut says that the time limit passed before the handler returned: the
	// outcome of an action that is not pure is in doubt, whatever Error says.
	TimedOut bool `json:"timed_out,omitempty"`
	// Stopped says the same of a handler that was told to stop.
	Stopped bool `json:"stopped,omitempty"`
	// Abandoned says that the handler did not return even after what it had
	// started was killed. It is set together with TimedOut or Stopped.
	Abandoned bool `json:"abandoned,omitempty"`
	// Fenced says why the handler was not called at all; nothing happened.
	Fenced string `json:"fenced,omitempty"`
	// Output describes what the handler wrote.
	Output Output `json:"output"`
	// Leftover lists processes that were still alive at the end.
	Leftover []Process `json:"leftover,omitempty"`
	// Started and Ended are wall-clock times of the handler, in UTC.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// Elapsed is the handler's duration by a clock that suspend does not stop, in
	// nanoseconds.
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Output describes a captured output. Stored differs from Bytes if it was cut.
type Output struct {
	// Bytes is the length of the whole stream.
	Bytes int64 `json:"bytes"`
	// Stored is how many of them were kept.
	Stored int64 `json:"stored"`
	// SHA256 is the hexadecimal digest of the whole stream, empty for no output.
	SHA256 string `json:"sha256,omitempty"`
}

// Process is one process on this machine. Ticks is its start time in clock
// ticks since boot; together with the pid it names one process for good.
type Process struct {
	PID   int    `json:"pid"`
	Ticks uint64 `json:"ticks"`
	Name  string `json:"name,omitempty"`
}

// record is one line of the attempt file; exactly one of its fields is set.
type record struct {
	Intent  *intent  `json:"intent,omitempty"`
	Started *started `json:"started,omitempty"`
	Result  *Result  `json:"result,omitempty"`
}

// intent is what the runner writes for the shim.
type intent struct {
	ID      ID            `json:"id"`
	Job     []byte        `json:"job"`
	Timeout time.Duration `json:"timeout_ns,omitempty"`
	Grace   time.Duration `json:"grace_ns"`
	Lease   Lease         `json:"lease"`
	BootID  string        `json:"boot_id"`
	At      time.Time     `json:"at"`
}

// started is what the shim writes just before it calls the handler.
type started struct {
	Process
	BootID string    `json:"boot_id"`
	At     time.Time `json:"at"`
}

// Attempt is one attempt, seen from the runner.
type Attempt struct {
	// Path is the attempt's file, absolute.
	Path string
	// ID is the attempt's name.
	ID ID
	// boot is the id of the running boot.
	boot string
	// done is closed when the shim that this process started has ended or has
	// stored its result; nil if this process did not start it.
	done chan struct{}
	// complaint is what that shim said about why it could not start the handler.
	// It is set before done is closed.
	complaint string
}
