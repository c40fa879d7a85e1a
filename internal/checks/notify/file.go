package notify

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"allclear.dev/allclear/internal/check"
)

// maxLog bounds the file that is searched for a message, in bytes.
const maxLog = 256 << 20

// resolve gives a path from the checkout on.
func resolve(env *check.Env, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(env.Dir, path)
}

// appendOnce adds the message as one line of JSON unless it stands there already.
// Others who write the file in the same way wait for each other.
func appendOnce(ctx context.Context, env *check.Env, path string, m message, facts map[string]string) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// A pipe without a reader must not stop the run; a link may lead anywhere.
	f, err := os.OpenFile(resolve(env, path), os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return fmt.Errorf("open message file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%s is not a regular file", path))
	}
	if err := lock(ctx, env, f); err != nil {
		return err
	}
	found, ended, err := search(ctx, f, m.ID)
	if err != nil {
		return fmt.Errorf("search %s: %w", path, err)
	}
	if found {
		facts["repeat.file:"+path] = "the message was there already"
		return nil
	}
	if !ended { // an earlier writer was cut off within its line
		line = append([]byte("\n"), line...)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return f.Sync()
}

// lock takes the file for this process; closing it gives it back.
func lock(ctx context.Context, env *check.Env, f *os.File) error {
	const pause = 20e6 // 20 ms
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if err := env.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("wait for the message file: %w", err)
		}
	}
}

// contains tells whether a file holds the message with this id. A file that is
// not there holds none.
func contains(ctx context.Context, env *check.Env, path, id string) (bool, error) {
	f, err := os.OpenFile(resolve(env, path), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, ctx.Err()
	}
	if err != nil {
		return false, fmt.Errorf("open message file: %w", err)
	}
	defer f.Close()
	found, _, err := search(ctx, f, id)
	return found, err
}

// search reads lines of JSON and tells whether one has this id, and whether the
// last line is complete. Other lines are of no interest.
func search(ctx context.Context, f io.Reader, id string) (found, ended bool, err error) {
	in := bufio.NewReaderSize(io.LimitReader(f, maxLog+1), 2*maxText)
	ended = true
	total := 0
	for {
		line, err := in.ReadSlice('\n')
		if total += len(line); total > maxLog {
			return false, false, fmt.Errorf("longer than %d bytes", maxLog)
		}
		if len(line) > 0 {
			ended = line[len(line)-1] == '\n'
		}
		if bytes.Contains(line, []byte(id)) {
			var m message
			if json.Unmarshal(line, &m) == nil && m.ID == id {
				return true, true, nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return false, ended, ctx.Err()
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return false, false, err
		case ctx.Err() != nil:
			return false, false, ctx.Err()
		}
	}
}
