package shim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// at is called at every point where a crash or a failed write must be survived.
// The program passes nowhere; tests make it kill the process or fail.
type at func(point string) error

func nowhere(string) error { return nil }

// Start makes the attempt and starts its shim, unless that was done before:
// then it gives the existing attempt, whose State says what became of it, and
// starts nothing. Only an attempt that is NeverStarted is started again. The
// error is ErrOtherJob if the attempt exists with different job bytes.
//
// The job is stored in the attempt file and must hold no secrets;
// Options.Stdin may. ctx covers the start only: the attempt outlives it.
func Start(ctx context.Context, root string, id ID, job []byte, opts Options) (*Attempt, error) {
	return start(ctx, root, id, job, opts, nowhere)
}

func start(ctx context.Context, root string, id ID, job []byte, opts Options, reach at) (*Attempt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(opts.Stdin) > MaxStdin {
		return nil, fmt.Errorf("attempt %s: standard input has %d bytes, more than %d", id, len(opts.Stdin), MaxStdin)
	}
	a, err := locate(root, id)
	if err != nil {
		return nil, err
	}
	if len(job) > MaxJob {
		return nil, fmt.Errorf("attempt %s: the job has %d bytes, more than %d", id, len(job), MaxJob)
	}
	if err := makeDir(filepath.Dir(a.Path)); err != nil {
		return nil, fmt.Errorf("create run directory: %w", err)
	}
	lock, err := a.takeLock(ctx)
	if err != nil {
		return nil, err
	}
	if lock != nil {
		defer lock.Close()
	}
	known, err := readContents(a.Path)
	if err != nil {
		return nil, err
	}
	if known.intent != nil && (known.intent.ID != id || !bytes.Equal(known.intent.Job, job)) {
		return nil, fmt.Errorf("attempt %s: %w", id, ErrOtherJob)
	}
	if lock == nil || known.begun {
		return a, nil
	}
	if err := a.writeIntent(job, opts, reach); err != nil {
		return nil, err
	}
	if err := reach("before spawn"); err != nil {
		return nil, err
	}
	if err := a.spawn(lock, opts); err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	return a, reach("after spawn")
}

// takeLock gives the attempt's lock, or nil if a process of the attempt has it.
// Open looks at the lock by taking it for a moment, hence the second look.
func (a *Attempt) takeLock(ctx context.Context) (*os.File, error) {
	lock, err := os.OpenFile(a.Path, os.O_CREATE|os.O_RDONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open attempt: %w", err)
	}
	const looks, between = 5, time.Millisecond
	for look := range looks {
		err = retryEINTR(func() error {
			return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		})
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			lock.Close()
			return nil, fmt.Errorf("take lock: %w", err)
		}
		if look == looks-1 {
			break
		}
		select {
		case <-ctx.Done():
			lock.Close()
			return nil, ctx.Err()
		case <-time.After(between):
		}
	}
	lock.Close()
	return nil, nil
}

// writeIntent makes the intent the file's only line.
func (a *Attempt) writeIntent(job []byte, opts Options, reach at) error {
	grace := opts.Grace
	if grace <= 0 {
		grace = DefaultGrace
	}
	if err := reach("before intent"); err != nil {
		return err
	}
	file, err := openAppender(a.Path)
	if err != nil {
		return err
	}
	defer file.file.Close()
	// A runner that was killed here before may have left an intent or half of one.
	if err := file.cut(0); err != nil {
		return err
	}
	err = file.add(record{Intent: &intent{
		ID: a.ID, Job: job, Timeout: opts.Timeout, Grace: grace, Lease: opts.Lease,
		BootID: a.boot, At: time.Now().UTC(),
	}})
	if err != nil {
		return err
	}
	return reach("after intent")
}

// spawn starts the shim in a session of its own, with the lock as file 3 and
// the pipe on which it says that it is done as file 4.
func (a *Attempt) spawn(lock *os.File, opts Options) error {
	argv := opts.Executable
	if len(argv) == 0 {
		argv = []string{selfExecutable, Verb}
	}
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("create pipe: %w", err)
	}
	defer reportEnd.Close()
	cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], a.Path)...)
	if len(opts.Executable) == 0 {
		cmd.Args[0] = os.Args[0]
	}
	cmd.Env = opts.Env
	cmd.ExtraFiles = []*os.File{lock, reportEnd}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if len(opts.Stdin) > 0 {
		input, err := filledPipe(opts.Stdin)
		if err != nil {
			report.Close()
			return err
		}
		defer input.Close()
		cmd.Stdin = input
	}
	if err := cmd.Start(); err != nil {
		report.Close()
		return err
	}
	a.done = make(chan struct{})
	go a.attend(cmd, report)
	return nil
}

// filledPipe gives the reading end of a pipe that holds data and nothing more
// to come. The data fits into the pipe, so nothing waits for a reader.
func filledPipe(data []byte) (*os.File, error) {
	input, fill, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("create pipe: %w", err)
	}
	defer fill.Close()
	if _, err := fill.Write(data); err != nil {
		input.Close()
		return nil, fmt.Errorf("fill pipe: %w", err)
	}
	return input, nil
}

// attend waits until the shim closes its report, which it does when the result
// is stored, and afterwards for its end.
func (a *Attempt) attend(cmd *exec.Cmd, report *os.File) {
	const longest = 4096
	said, _ := io.ReadAll(io.LimitReader(report, longest))
	a.complaint = strings.TrimSpace(string(said))
	close(a.done)
	report.Close()
	// How the shim ended says nothing that the attempt's files do not.
	_ = cmd.Wait()
}
