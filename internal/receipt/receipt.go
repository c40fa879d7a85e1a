// Package receipt remembers what the targets of a message have taken, so that a
// repeated action sends only what is missing, whatever crashed in between.
package receipt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
)

// State is how far a target is.
type State string

// The states. Sending is written before anything is sent: found later without one
// of the others it means that the target may have taken the message. Taken and
// Refused are certain.
const (
	Sending State = "sending"
	Taken   State = "taken"
	Refused State = "refused"
)

// Entry is what is known of one target.
type Entry struct {
	To    string    `json:"to"`
	State State     `json:"state"`
	At    time.Time `json:"at"`
	// Facts are what the target answered: ids and places, nothing secret.
	Facts map[string]string `json:"facts,omitempty"`
}

// maxLine and maxBook bound what is read, in bytes.
const (
	maxLine = 64 << 10
	maxBook = 256 << 20
)

// Book holds the entries of one action. It is open for one process at
// a time.
type Book struct {
	env     *check.Env
	file    *os.File
	entries map[string]Entry
}

func path(env *check.Env, key string) (string, error) {
	if key == "" {
		return "", errors.New("receipts need a key")
	}
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(env.DataDir, "receipts", hex.EncodeToString(sum[:16])+".jsonl"), nil
}

// Open opens the book of a key and waits until no other process has it. env.Key
// is a key for what every deliberate start of an item does anew; what is done once
// in a run needs one of the run and the item.
func Open(ctx context.Context, env *check.Env, key string) (*Book, error) {
	name, err := path(env, key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of receipts: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open receipts: %w", err)
	}
	b := &Book{env: env, file: f}
	if err = b.lock(ctx); err == nil {
		b.entries, err = read(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return b, nil
}

func (b *Book) lock(ctx context.Context) error {
	const pause = 20 * time.Millisecond
	for {
		err := syscall.Flock(int(b.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if err := b.env.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("wait for another process with the same action: %w", err)
		}
	}
}

// Close gives the book to others.
func (b *Book) Close() error { return b.file.Close() }

// Read gives the entries of a key by target, without waiting; none is no error.
func Read(env *check.Env, key string) (map[string]Entry, error) {
	name, err := path(env, key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]Entry{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open receipts: %w", err)
	}
	defer f.Close()
	return read(f)
}

// read takes the last entry of each target. A last line that was cut off is one
// that was not written; any other that cannot be read is damage.
func read(f io.Reader) (map[string]Entry, error) {
	out := map[string]Entry{}
	in := bufio.NewReaderSize(io.LimitReader(f, maxBook), maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read receipts: %w", err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil || e.To == "" || e.State == "" {
			return nil, fmt.Errorf("the receipts are damaged: %.80q", line)
		}
		out[e.To] = e
	}
}

// Get gives what is known of a target.
func (b *Book) Get(to string) (Entry, bool) {
	e, known := b.entries[to]
	return e, known
}

// All gives what is known of every target.
func (b *Book) All() map[string]Entry { return maps.Clone(b.entries) }

// Put writes an entry to the disk before it returns.
func (b *Book) Put(to string, state State, facts map[string]string) error {
	e := Entry{To: to, State: state, At: b.env.Now().UTC(), Facts: facts}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(line) >= maxLine {
		return fmt.Errorf("a receipt of more than %d bytes", maxLine)
	}
	if err := b.endLine(); err != nil {
		return err
	}
	if _, err := b.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write receipt: %w", err)
	}
	if err := b.file.Sync(); err != nil {
		return fmt.Errorf("write receipt: %w", err)
	}
	b.entries[to] = e
	return nil
}

// endLine drops what an earlier writer began and did not end.
func (b *Book) endLine() error {
	info, err := b.file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := b.file.ReadAt(last[:], info.Size()-1); err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	if last[0] == '\n' {
		return nil
	}
	text := make([]byte, min(info.Size(), maxLine))
	if _, err := b.file.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	return b.file.Truncate(info.Size() - int64(len(text)) + int64(bytes.LastIndexByte(text, '\n')+1))
}
