package sqlite

import (
	"errors"
	"os"
	"path/filepath"
)

// ballast is a file that only takes room. When the disk is full it is deleted, and
// the room is enough to journal that the run is paused for want of room.
type ballast struct {
	name string
	size int64
	// held tells that the file is there.
	held bool
}

// newBallast makes the file; a size below zero makes none. A disk too full for it
// is no error: the journal works without.
func newBallast(dir string, size int64) *ballast {
	b := &ballast{name: filepath.Join(dir, "ballast"), size: size}
	if info, err := os.Stat(b.name); err == nil && info.Size() == size {
		b.held = true
	}
	b.refill()
	return b
}

// refill makes the file if it is not there and the disk has four times its room,
// so that the room it gave back is not taken again at once.
func (b *ballast) refill() {
	if b.held || b.size <= 0 {
		return
	}
	if free, err := freeSpace(filepath.Dir(b.name)); err != nil || free < 4*b.size {
		return
	}
	file, err := os.OpenFile(b.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	if err := errors.Join(allocate(file, b.size), file.Close()); err != nil {
		b.held = os.Remove(b.name) != nil
		return
	}
	b.held = true
}

// release deletes the file and gives the number of bytes that became free.
func (b *ballast) release() int64 {
	if !b.held || os.Remove(b.name) != nil {
		return 0
	}
	b.held = false
	return b.size
}
