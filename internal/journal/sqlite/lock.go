package sqlite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"allclear.dev/allclear/internal/journal"
)

// lockSize is the fixed length of the lock file, so that writing it again needs no
// new room on a full disk.
const lockSize = 512

// dying is how long a process that has been killed, or whose run is over, may still
// have its files open: its socket can be gone before its lock is.
const dying = 1500 * time.Millisecond

// lockRecord is what the lock file says.
type lockRecord struct {
	PID    int    `json:"pid"`
	BootID string `json:"boot_id"`
	Start  string `json:"start"`
}

// takeLock takes the writer's lock, for as long as the file is open, and writes who
// has it. Writing, syncing and reading back is also the probe of a disk on which a
// sync failed before.
func takeLock(dir string, now time.Time) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for end := time.Now().Add(dying); errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(dying / 75)
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = lockedBy(dir, file)
	} else if err == nil {
		err = probe(file, lockRecord{PID: os.Getpid(), BootID: bootID(), Start: now.UTC().Format(time.RFC3339)})
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// lockedBy names the process that has the lock.
func lockedBy(dir string, file *os.File) error {
	text := make([]byte, lockSize)
	n, _ := file.ReadAt(text, 0) // an unreadable record leaves the process unnamed
	var record lockRecord
	if json.Unmarshal(bytes.TrimRight(text[:n], " \n"), &record) != nil {
		record = lockRecord{}
	}
	return &journal.LockedError{Dir: dir, PID: record.PID, BootID: record.BootID, Since: record.Start}
}

// probe writes the record, syncs it and reads it back.
func probe(file *os.File, record lockRecord) error {
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode lock: %w", err)
	}
	text = append(text, bytes.Repeat([]byte(" "), lockSize-1-len(text))...)
	text = append(text, '\n')
	if _, err := file.WriteAt(text, 0); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync lock: %w", err)
	}
	back := make([]byte, lockSize)
	if _, err := file.ReadAt(back, 0); err != nil {
		return fmt.Errorf("read lock back: %w", err)
	}
	if !bytes.Equal(text, back) {
		return errors.New("read lock back: the disk gives other bytes than were written")
	}
	return nil
}

// bootID names this boot of the machine; empty where the system has no such name.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
