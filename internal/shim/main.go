package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handler does one action inside the shim. job is what was given to Start; what
// is written to out, also from several goroutines, is captured, and what is
// returned, the error's text included, is stored: the handler takes care that
// neither holds a secret. ctx ends at the timeout and at Stop; context.Cause
// tells which. A panic is stored as an error.
type Handler func(ctx context.Context, job []byte, out io.Writer) (result []byte, err error)

// Causes with which a handler's context ends.
var (
	ErrTimeout = errors.New("the time limit passed")
	ErrStopped = errors.New("told to stop")
)

// Exit codes of a shim, for people who look at it; the runner reads the files.
const (
	exitStored  = 0
	exitRefused = 2
	exitLost    = 3
)

// The files that the runner hands to the shim, beside standard input.
const (
	lockFile   = 3
	reportFile = 4
)

// Main is the whole life of a shim: it checks that a runner started it, records
// the start, calls the handler once, and stores the result. args are the
// arguments after Verb, that is the attempt's file; stdin carries
// Options.Stdin. It returns the exit code.
//
// Call it before anything else in main: whatever comes before is paid by every
// action.
func Main(args []string, stdin io.Reader, handler Handler) int {
	return serve(args, stdin, handler, nowhere)
}

func serve(args []string, stdin io.Reader, handler Handler, reach at) int {
	s, err := enter(args, stdin, reach)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Verb, err)
		return exitRefused
	}
	defer s.report.Close()
	begun, err := s.begin()
	if err != nil {
		fmt.Fprintln(s.report, err)
		return exitRefused
	}
	result := Result{ID: s.intent.ID, Fenced: s.refusal()}
	if result.Fenced == "" {
		result = s.call(handler)
	}
	result.Started, result.Ended = begun, time.Now().UTC()
	if err := s.store(result); err != nil {
		return exitLost
	}
	return exitStored
}

// session is a shim at work.
type session struct {
	path    string
	file    *appender
	intent  intent
	stdin   []byte
	report  *os.File
	signals chan os.Signal
	reach   at
}

// enter takes over what the runner handed down. It refuses to work without the
// attempt's lock: then nobody would know that it is running.
func enter(args []string, stdin io.Reader, reach at) (*session, error) {
	if len(args) != 1 {
		return nil, errors.New("want the file of an attempt; only allclear itself starts this")
	}
	s := &session{path: args[0], reach: reach, signals: make(chan os.Signal, 4)}
	if err := s.inheritLock(); err != nil {
		return nil, err
	}
	unix.CloseOnExec(reportFile)
	s.report = os.NewFile(reportFile, "report")
	var err error
	if s.stdin, err = io.ReadAll(io.LimitReader(stdin, MaxStdin)); err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	known, err := readContents(s.path)
	switch {
	case err != nil:
		return nil, err
	case known.intent == nil:
		return nil, errors.New("the attempt has no intent")
	case known.begun:
		return nil, errors.New("the attempt was started before")
	}
	s.intent = *known.intent
	if s.file, err = openAppender(s.path); err != nil {
		return nil, err
	}
	return s, s.reach("entered")
}

// inheritLock checks file 3 and makes every child inherit it, whatever extra
// files it is started with.
func (s *session) inheritLock() error {
	var ours, theirs unix.Stat_t
	if err := errors.Join(unix.Fstat(lockFile, &ours), unix.Stat(s.path, &theirs)); err != nil {
		return fmt.Errorf("find the attempt's lock: %w", err)
	}
	if ours.Dev != theirs.Dev || ours.Ino != theirs.Ino {
		return errors.New("find the attempt's lock: only allclear itself starts this")
	}
	if err := unix.Flock(lockFile, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("take the attempt's lock: %w", err)
	}
	if _, err := keepOpen(lockFile); err != nil {
		return err
	}
	return unix.Close(lockFile)
}

// begin records durably that the handler is about to be called. It refuses if
// that was recorded before.
func (s *session) begin() (time.Time, error) {
	// A program that dumped its memory would store its secrets.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return time.Time{}, fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := adoptOrphans(); err != nil {
		return time.Time{}, fmt.Errorf("adopt orphans: %w", err)
	}
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	me, err := self()
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now().UTC()
	if err := s.reach("before started"); err != nil {
		return time.Time{}, err
	}
	intended := s.file.size
	if err := s.record(started{Process: me, BootID: s.intent.BootID, At: now}); err != nil {
		// Nothing was called yet: without the line the attempt is never started.
		return time.Time{}, errors.Join(fmt.Errorf("record start: %w", err), s.file.cut(intended))
	}
	return now, s.reach("after started")
}

// record makes the line, and the file's name, durable.
func (s *session) record(begun started) error {
	if err := s.file.add(record{Started: &begun}); err != nil {
		return err
	}
	if err := s.reach("sync started"); err != nil {
		return err
	}
	// Side by side, because file systems with a log write both in one go.
	named := make(chan error, 1)
	go func() { named <- syncDir(filepath.Dir(s.path)) }()
	kept := s.file.keep()
	return errors.Join(kept, <-named)
}

func (s *session) refusal() string {
	root := filepath.Dir(filepath.Dir(s.path))
	return s.intent.Lease.refusal(root, s.intent.BootID, Boottime())
}

// store makes the result durable. The handler has had its effect, so a full disk
// is waited out, with the lock held, until somebody makes room or stops it.
func (s *session) store(result Result) error {
	const longest = 5 * time.Second
	for wait := 100 * time.Millisecond; ; wait = min(wait*2, longest) {
		err := s.reach("before result")
		if err == nil {
			err = s.file.add(record{Result: &result})
		}
		if err == nil {
			err = s.file.keep()
		}
		if err == nil {
			return s.reach("after result")
		}
		select {
		case <-s.signals:
			return err
		case <-time.After(wait):
		}
	}
}

// attemptKey finds the running shim in a handler's context.
type attemptKey struct{}

// Stdin gives the bytes of Options.Stdin inside a handler.
func Stdin(ctx context.Context) []byte {
	if s, ok := ctx.Value(attemptKey{}).(*session); ok {
		return s.stdin
	}
	return nil
}

// Command is exec.CommandContext for handlers: when ctx ends the program gets
// SIGTERM, and SIGKILL after the attempt's grace. Every program that a handler
// starts, with Command or without, inherits the attempt's lock and is ended by
// the shim at the timeout and at Stop.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = DefaultGrace
	if s, ok := ctx.Value(attemptKey{}).(*session); ok {
		cmd.WaitDelay = s.intent.Grace
	}
	return cmd
}
