package transport

import (
	"bytes"
	"io"
)

// capped keeps the first bytes of a stream and passes all of it on. A reader
// that fails gets nothing more, and the program goes on undisturbed.
type capped struct {
	buf   bytes.Buffer
	limit int64
	cut   bool
	also  io.Writer
}

func (c *capped) Write(p []byte) (int, error) {
	if c.also != nil {
		if _, err := c.also.Write(p); err != nil {
			c.also, c.cut = nil, true
		}
	}
	keep := min(int64(len(p)), c.limit-int64(c.buf.Len()))
	if keep < int64(len(p)) {
		c.cut = true
	}
	if keep > 0 {
		c.buf.Write(p[:keep])
	}
	return len(p), nil
}
