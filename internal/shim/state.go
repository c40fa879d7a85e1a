package shim

import (
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
	path, err := id.path(root)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("locate attempt: %w", err)
	}
	return &Attempt{Path: path, ID: id, boot: bootID()}, nil
}

// State says what became of the attempt, by the table of the package's
// documentation. On an error nothing is known, and the state is InDoubt.
func (a *Attempt) State() (State, error) {
	state, _, err := a.look()
	return state, err
}

// look gives the state and what it was derived from.
func (a *Attempt) look() (State, contents, error) {
	// The lock is looked at first: it is let go of after the result is there.
	held, err := a.lockHeld()
	if err != nil {
		return InDoubt, contents{}, err
	}
	known, err := readContents(a.Path)
	switch {
	case err != nil:
		return InDoubt, known, fmt.Errorf("attempt %s: %w", a.ID, err)
	case known.result != nil && known.result.ID != a.ID:
		return InDoubt, known, fmt.Errorf("attempt %s: the result is that of %s", a.ID, known.result.ID)
	case known.result != nil:
		return Finished, known, nil
	case held:
		return Running, known, nil
	case !known.begun:
		return NeverStarted, known, nil
	case len(a.survivors(known)) > 0:
		return Running, known, nil
	}
	return InDoubt, known, nil
}

// survivors lists the living processes of the shim's session, the shim included.
func (a *Attempt) survivors(known contents) []Process {
	if known.started == nil || known.started.BootID != a.boot {
		return nil
	}
	return sessionOf(known.started.Process)
}

// lockHeld reports whether a process has the attempt's lock.
func (a *Attempt) lockHeld() (bool, error) {
	lock, err := os.Open(a.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open attempt: %w", err)
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

// Output gives what is captured of the output so far, from the byte offset on.
// It ends where the capture stands now; call again with a later offset for more.
// Beyond MaxOutput it ends with a line that says so. The bytes are raw: whoever
// shows them must neutralise control characters.
func (a *Attempt) Output(offset int64) (io.ReadCloser, error) {
	file, err := os.Open(a.Path + outSuffix)
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
