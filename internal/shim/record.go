package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// contents is what an attempt file says. A nil field means that there is no such
// line, or none that can be read.
type contents struct {
	intent *intent
	// begun says that there is something after the intent.
	begun   bool
	started *started
	result  *Result
}

// readContents reads an attempt file; one that does not exist is empty. The
// error is for a whole line in the place of the result that is none: then
// nothing is known.
func readContents(path string) (contents, error) {
	// Base64 takes four bytes for three; the rest is far below a megabyte.
	const longest = (MaxJob+MaxResult)/3*4 + 1<<20
	data, err := readAtMost(path, longest)
	if errors.Is(err, fs.ErrNotExist) {
		return contents{}, nil
	}
	if err != nil {
		return contents{}, fmt.Errorf("read attempt: %w", err)
	}
	var c contents
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	c.intent = decode(first).Intent
	if len(rest) == 0 {
		return c, nil
	}
	c.begun = true
	second, last, _ := bytes.Cut(rest, []byte("\n"))
	c.started = decode(second).Started
	third, _, whole := bytes.Cut(last, []byte("\n"))
	if !whole {
		return c, nil
	}
	if c.result = decode(third).Result; c.result == nil {
		return c, errors.New("read attempt: the result is malformed")
	}
	return c, nil
}

// decode reads one line; one that cannot be read is an empty record.
func decode(line []byte) record {
	var one record
	if err := json.Unmarshal(line, &one); err != nil {
		return record{}
	}
	return one
}

// appender writes records at the end of an attempt file.
type appender struct {
	file *os.File
	// size is the file's length up to the last whole record.
	size int64
}

// openAppender opens an attempt file for the records after those it has.
func openAppender(path string) (*appender, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open attempt: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open attempt: %w", err)
	}
	return &appender{file, info.Size()}, nil
}

// add writes one record in one piece, without syncing it.
func (a *appender) add(one record) error {
	line, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	if _, err := a.file.Write(append(line, '\n')); err != nil {
		return errors.Join(fmt.Errorf("write record: %w", err), a.undo())
	}
	return nil
}

// keep makes the last record durable and counts it as whole.
func (a *appender) keep() error {
	if err := syncData(a.file); err != nil {
		return errors.Join(fmt.Errorf("sync record: %w", err), a.undo())
	}
	info, err := a.file.Stat()
	if err != nil {
		return fmt.Errorf("look at attempt: %w", err)
	}
	a.size = info.Size()
	return nil
}

// undo cuts off what was added since the last keep.
func (a *appender) undo() error { return a.cut(a.size) }

// cut shortens the file to size.
func (a *appender) cut(size int64) error {
	if err := a.file.Truncate(size); err != nil {
		return fmt.Errorf("cut attempt: %w", err)
	}
	a.size = size
	return nil
}
