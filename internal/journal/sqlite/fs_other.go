//go:build !linux

package sqlite

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// checkFileSystem has no list of file systems outside Linux.
func checkFileSystem(string) error { return nil }

// freeSpace is how many bytes an unprivileged process may still write.
func freeSpace(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("ask file system: %w", err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}

// syncData makes a file's content durable; Go asks macOS for a full flush.
func syncData(file *os.File) error { return file.Sync() }

// allocate gives a file its blocks by writing them.
func allocate(file *os.File, size int64) error {
	block := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(block)) {
		if _, err := file.WriteAt(block[:min(int64(len(block)), size-at)], at); err != nil {
			return errors.Join(errors.New("write ballast"), err)
		}
	}
	return nil
}
