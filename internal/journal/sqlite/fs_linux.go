package sqlite

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// checkFileSystem refuses network file systems: their locks and syncs do not keep
// what SQLite and the anchors need.
func checkFileSystem(dir string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("ask file system: %w", err)
	}
	names := map[uint32]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "CIFS",
		unix.SMB2_SUPER_MAGIC: "SMB2", unix.V9FS_MAGIC: "9P", unix.AFS_SUPER_MAGIC: "AFS",
	}
	if name := names[uint32(stat.Type)]; name != "" {
		return fmt.Errorf("data directory %s is on %s; a journal needs a local disk", dir, name)
	}
	return nil
}

// freeSpace is how many bytes an unprivileged process may still write.
func freeSpace(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("ask file system: %w", err)
	}
	return int64(stat.Bavail) * stat.Bsize, nil
}

// syncData makes a file's content durable, without its times.
func syncData(file *os.File) error { return unix.Fdatasync(int(file.Fd())) }

// allocate gives a file its blocks.
func allocate(file *os.File, size int64) error {
	return unix.Fallocate(int(file.Fd()), 0, 0, size)
}
