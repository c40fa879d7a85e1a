package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Open finds an attempt that this or an earlier process started, and says what
// became of it. An attempt that does not exist is NeverStarted.
func Open(root string, id ID) (*Attempt, State, error) {
	a, err := locate(root, id)
	if err != nil {
		return nil, NeverStarted, err
	}
	state, err := a.State()
	return a, state, err
}

// locate gives the attempt without looking at it.
func locate(root string, id ID) (*Attempt, error) {
	dir, err := id.dir(root)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("locate attempt: %w", err)
	}
	return &Attempt{Dir: dir, ID: id, boot: bootID()}, nil
}

// State says what became of the attempt, by the table of the package's
// documentation. On an error nothing is known, and the state is InDoubt.
func (a *Attempt) State() (State, error) {
	held, err := a.lockHeld()
	if err != nil {
		return InDoubt, err
	}
	// The lock is looked at first: it is let go of after the result is there.
	if !held {
		return a.endState()
	}
	switch _, err := a.result(); {
	case err == nil:
		return Finished, nil
	case errors.Is(err, fs.ErrNotExist):
		return Running, nil
	default:
		return InDoubt, err
	}
}

// endState is the State when nobody holds the lock.
func (a *Attempt) endState() (State, error) {
	switch _, err := a.result(); {
	case err == nil:
		return Finished, nil
	case !errors.Is(err, fs.ErrNotExist):
		return InDoubt, err
	}
	leader, begun, err := a.started()
	switch {
	case err != nil:
		return InDoubt, err
	case !begun:
		return NeverStarted, nil
	case leader.BootID == a.boot && len(sessionOf(leader.Process)) > 0:
		return Running, nil
	}
	return InDoubt, nil
}

// lockHeld reports whether a process has the attempt's lock.
func (a *Attempt) lockHeld() (bool, error) {
	lock, err := os.Open(filepath.Join(a.Dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock: %w", err)
	}
	defer lock.Close()
	err = retryEINTR(func() error {
		return syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	})
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return true, nil
	}
	return false, fmt.Errorf("look at lock: %w", err)
}

// result reads result.json; the error is fs.ErrNotExist if there is none.
func (a *Attempt) result() (Result, error) {
	// Base64 takes four bytes for three; the rest is far below a megabyte.
	const longest = MaxResult/3*4 + 1<<20
	data, err := readAtMost(filepath.Join(a.Dir, resultName), longest)
	if err != nil {
		return Result{}, fmt.Errorf("read result: %w", err)
	}
	var result Result
	if err := json.Unmarshal(data, &result); err != nil {
		return Result{}, fmt.Errorf("read result: %w", err)
	}
	if result.ID != a.ID {
		return Result{}, fmt.Errorf("read result: it is that of attempt %s", result.ID)
	}
	return result, nil
}

// started reads started.json. That it exists is what counts: after a loss of
// power its content may be missing, and it then names no process.
func (a *Attempt) started() (leader started, begun bool, err error) {
	data, err := readAtMost(filepath.Join(a.Dir, startedName), 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return started{}, false, nil
	}
	if err != nil {
		return started{}, false, fmt.Errorf("read start: %w", err)
	}
	if err := json.Unmarshal(data, &leader); err != nil {
		return started{}, true, nil
	}
	return leader, true, nil
}

// Output gives what is captured of the output so far, from the byte offset on.
// It ends where the capture stands now; call again with a later offset for more.
// Beyond MaxOutput it ends with a line that says so. The bytes are raw: whoever
// shows them must neutralise control characters.
func (a *Attempt) Output(offset int64) (io.ReadCloser, error) {
	file, err := os.Open(filepath.Join(a.Dir, outName))
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(eof{}), nil
	}
	if err != nil {
		return nil, fmt.Errorf("open output: %w", err)
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		file.Close()
		return nil, fmt.Errorf("seek output: %w", err)
	}
	return file, nil
}

// eof is an empty stream.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
