package shim

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"sync"
	"syscall"
)

// capture keeps the beginning of a stream in a file, and counts and digests all
// of it. It never fails its writer: an action must not break because a disk is
// full, and Output tells that something is missing.
type capture struct {
	path string

	mu     sync.Mutex
	file   *os.File
	digest hash.Hash
	kept   Output
	broken bool
	closed bool
}

// Write takes the next bytes of the stream; after finish it fails.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, errors.New("the attempt's output is closed")
	}
	if c.digest == nil {
		c.digest = sha256.New()
	}
	c.digest.Write(p)
	c.kept.Bytes += int64(len(p))
	c.keep(p)
	return len(p), nil
}

// keep stores what still fits.
func (c *capture) keep(p []byte) {
	room := MaxOutput - c.kept.Stored
	if c.broken || room <= 0 || len(p) == 0 {
		return
	}
	if c.file == nil {
		file, err := os.OpenFile(c.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			c.broken = true
			return
		}
		c.file = file
	}
	n, err := c.file.Write(p[:min(int64(len(p)), room)])
	c.kept.Stored += int64(n)
	c.broken = err != nil
}

// finish closes the stream, syncs the file and describes both.
func (c *capture) finish() Output {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.digest != nil {
		c.kept.SHA256 = hex.EncodeToString(c.digest.Sum(nil))
	}
	if c.file == nil {
		return c.kept
	}
	if c.kept.Stored < c.kept.Bytes {
		// On a full disk the marker is lost too; the numbers are not.
		_, _ = fmt.Fprintf(c.file, "\n[cut: %d of %d bytes are kept]\n", c.kept.Stored, c.kept.Bytes)
	}
	// A lost tail shows: the digest of the whole is in the result.
	_ = syncData(c.file)
	_ = c.file.Close()
	return c.kept
}

// Lines splits a stream at line ends, which it removes, and after MaxLine bytes
// without one. It stops after yielding an error other than the stream's end.
func Lines(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		lines := bufio.NewReaderSize(r, MaxLine)
		for {
			line, _, err := lines.ReadLine()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield("", fmt.Errorf("read line: %w", err))
				return
			}
			if !yield(string(line), nil) {
				return
			}
		}
	}
}
