//go:build linux

package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
)

// The test binary runs itself as the process that is killed, that meets failing
// system calls or that fills a disk.
const helperEnv = "ALLCLEAR_JOURNAL_HELPER"

func TestMain(m *testing.M) {
	args := strings.Fields(os.Getenv(helperEnv))
	if len(args) == 0 {
		os.Exit(m.Run())
	}
	helpers := map[string]func([]string) error{"append": helpAppend, "fault": helpFault, "fill": helpFill, "view": helpView}
	if err := helpers[args[0]](args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, journal.ErrUncertain) {
			os.Exit(75)
		}
		os.Exit(1)
	}
	os.Exit(0)
}

// helper is a running helper process.
type helper struct {
	*exec.Cmd
	out *bufio.Scanner
}

// startHelper starts this binary, under the command before it if there is one.
func startHelper(t *testing.T, before []string, attr *syscall.SysProcAttr, args ...string) *helper {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(before, self)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), helperEnv+"="+strings.Join(args, " "))
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, attr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start helper: %v", err)
	}
	return &helper{Cmd: cmd, out: bufio.NewScanner(out)}
}

// helpAppend appends until it is killed, and prints the number of each event that
// was acknowledged.
func helpAppend(args []string) error {
	ctx := context.Background()
	log, err := sqlite.Open(ctx, args[0], noBallast)
	if err != nil {
		return err
	}
	tail, err := log.Tail(ctx, "r1")
	if err != nil {
		return err
	}
	for n := tail.Seq; ; n++ {
		if _, err := log.Append(ctx, "r1", n, 1, body(n+1, 100)); err != nil {
			return err
		}
		fmt.Println(n + 1)
	}
}

// helpFault appends 20 events and prints the number of each acknowledged one. From
// the sixth on a system call fails, if one is named. It goes on as the engine does:
// after an error that means "not stored" with the next try, after any other not.
func helpFault(args []string) error {
	ctx := context.Background()
	log, err := sqlite.Open(ctx, args[0], noBallast)
	if err != nil {
		return err
	}
	tail, err := log.Tail(ctx, "r1")
	if err != nil {
		return err
	}
	failures := 0
	for n := tail.Seq; n < 20 && failures < 4; {
		if n == 5 && failures == 0 && len(args) > 1 {
			if err := failSystemCall(args[1], args[2]); err != nil {
				return err
			}
		}
		_, err := log.Append(ctx, "r1", n, 1, body(n+1, 100))
		switch {
		case err == nil:
			n++
			fmt.Println(n)
		case errors.Is(err, journal.ErrUncertain):
			if _, again := log.Append(ctx, "r1", n, 1, body(n+1, 100)); !errors.Is(again, journal.ErrUncertain) {
				return fmt.Errorf("an append after an uncertain one: %w", again)
			}
			return err
		case errors.Is(err, journal.ErrConflict), errors.Is(err, journal.ErrCorrupt):
			return err
		default:
			failures++
			fmt.Println("failed", err)
		}
	}
	return log.Close()
}

// failSystemCall makes a system call fail in all threads of this process, for good.
func failSystemCall(name, errno string) error {
	number := map[string]uint32{"fsync": unix.SYS_FSYNC, "fdatasync": unix.SYS_FDATASYNC, "pwrite64": unix.SYS_PWRITE64}[name]
	code := map[string]unix.Errno{"EIO": unix.EIO, "ENOSPC": unix.ENOSPC}[errno]
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(code)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if failed != 0 {
		return failed
	}
	return nil
}

// helpView opens the journal to read and prints the number of events of r1 for each
// line that it is sent.
func helpView(args []string) error {
	ctx := context.Background()
	view, err := sqlite.OpenReadOnly(ctx, args[0])
	if err != nil {
		return err
	}
	defer view.Close()
	ask := bufio.NewScanner(os.Stdin)
	for ask.Scan() {
		events := 0
		for _, err := range view.Read(ctx, "r1", 0) {
			if err != nil {
				return err
			}
			events++
		}
		fmt.Println(events)
	}
	return ask.Err()
}

// helpFill mounts a disk of 4 MB, which only this process sees, and fills it.
func helpFill(args []string) error {
	dir := args[0]
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 1<<20), 0o600); err != nil {
		return err
	}
	ctx := context.Background()
	log, err := sqlite.Open(ctx, dir, sqlite.Options{Ballast: 600 << 10})
	if err != nil {
		return err
	}
	acked, err := fill(ctx, log, 0)
	var full *journal.FullError
	if !errors.As(err, &full) || full.Freed != 600<<10 {
		return fmt.Errorf("first error on the full disk: %w", err)
	}
	// What the engine must still say has room now.
	if _, err := log.Append(ctx, "r1", acked, 1, []byte(`{"type":"run.paused"}`)); err != nil {
		return fmt.Errorf("append after the ballast was freed: %w", err)
	}
	if acked, err = fill(ctx, log, acked+1); !errors.As(err, &full) || full.Freed != 0 {
		return fmt.Errorf("second error on the full disk: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, "other")); err != nil {
		return err
	}
	if _, err := log.Append(ctx, "r1", acked, 1, []byte(`{"type":"run.resumed"}`)); err != nil {
		return fmt.Errorf("append after there was room again: %w", err)
	}
	if err := log.Close(); err != nil {
		return err
	}
	return checkFilled(ctx, dir, acked+1)
}

// fill appends until that fails.
func fill(ctx context.Context, log *sqlite.Log, acked uint64) (uint64, error) {
	for {
		if _, err := log.Append(ctx, "r1", acked, 1, body(acked+1, 8000)); err != nil {
			return acked, err
		}
		if acked++; acked > 2000 {
			return acked, errors.New("the disk does not get full")
		}
	}
}

// checkFilled opens the journal again and counts.
func checkFilled(ctx context.Context, dir string, want uint64) error {
	log, err := sqlite.Open(ctx, dir, noBallast)
	if err != nil {
		return err
	}
	findings, err := log.Verify(ctx)
	tail, tailErr := log.Tail(ctx, "r1")
	if err = errors.Join(err, tailErr, log.Close()); err != nil {
		return err
	}
	if tail.Seq != want || len(findings) > 0 {
		return fmt.Errorf("the journal has %d events, %d were acknowledged; %v", tail.Seq, want, findings)
	}
	_, err = io.WriteString(os.Stdout, "intact\n")
	return err
}
