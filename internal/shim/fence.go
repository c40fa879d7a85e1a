package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Lease is the right under which an attempt is started. The zero Lease is not
// checked.
type Lease struct {
	// Epoch is the lease's fencing token: an attempt is refused if the fence of
	// its root is higher.
	Epoch uint64 `json:"epoch,omitempty"`
	// Expires is the reading of Boottime from which the lease no longer counts;
	// zero means that it does not expire. It is valid within one boot only.
	Expires time.Duration `json:"expires_ns,omitempty"`
}

// RaiseFence makes every attempt under root that holds a lower epoch, and has
// not called its handler yet, refuse to do so. The fence never goes down. It is
// durable when RaiseFence returns.
func RaiseFence(root string, epoch uint64) error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("create attempts directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(root, fenceName+".lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("open fence lock: %w", err)
	}
	defer lock.Close()
	if err := retryEINTR(func() error { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX) }); err != nil {
		return fmt.Errorf("lock fence: %w", err)
	}
	current, err := readFence(root)
	if err != nil {
		return err
	}
	if epoch <= current {
		return nil
	}
	text := strconv.FormatUint(epoch, 10) + "\n"
	if err := replaceFile(filepath.Join(root, fenceName), []byte(text)); err != nil {
		return fmt.Errorf("write fence: %w", err)
	}
	return syncDir(root)
}

// Fence gives the fence of root, zero if none was ever raised. Whoever takes over
// raises it beyond that: the attempts of all runs of an environment share a root.
func Fence(root string) (uint64, error) { return readFence(root) }

// readFence gives the fence of root, zero if none was ever raised.
func readFence(root string) (uint64, error) {
	data, err := readAtMost(filepath.Join(root, fenceName), 64)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read fence: %w", err)
	}
	epoch, err := strconv.ParseUint(strings.TrimSuffix(string(data), "\n"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read fence: %w", err)
	}
	return epoch, nil
}

// refusal says why a lease does not allow the handler to be called now; empty
// means that it does. A fence that cannot be read refuses.
func (l Lease) refusal(root, boot string, now time.Duration) string {
	if l == (Lease{}) {
		return ""
	}
	fence, err := readFence(root)
	switch {
	case err != nil:
		return err.Error()
	case fence > l.Epoch:
		return fmt.Sprintf("a newer lease was taken: fence %d, ours %d", fence, l.Epoch)
	case l.Expires == 0:
		return ""
	case boot != bootID():
		return "the lease was taken before the machine was restarted"
	case now >= l.Expires:
		return fmt.Sprintf("the lease ended %s ago", (now - l.Expires).Round(time.Millisecond))
	}
	return ""
}
