//go:build linux

package sqlite_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
)

// checkAcked opens a journal and holds it against what was acknowledged: every such
// event is there, at most extra more, each once and in its place. It gives the
// number of events.
func checkAcked(t *testing.T, dir string, acked, extra uint64) uint64 {
	t.Helper()
	log, err := sqlite.Open(t.Context(), dir, noBallast)
	if err != nil {
		t.Fatalf("open after %d acknowledged events: %v", acked, err)
	}
	var stored uint64
	for event, err := range log.Read(t.Context(), "r1", 0) {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if stored++; string(event.Body) != string(body(stored, 100)) {
			t.Fatalf("event %d is %.40s", stored, event.Body)
		}
	}
	if stored < acked || stored > acked+extra {
		t.Errorf("%d events are stored, %d were acknowledged", stored, acked)
	}
	findings, err := log.Verify(t.Context())
	if err != nil || len(findings) > 0 {
		t.Errorf("verify: %v, %v", findings, err)
	}
	if err := log.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	return stored
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	var acked uint64
	for round := range 8 {
		h := startHelper(t, nil, nil, "append", dir)
		for range 1 + rand.IntN(40) {
			if !h.out.Scan() {
				t.Fatalf("round %d: the helper ended: %v", round, h.Wait())
			}
			acked = parse(t, h.out.Text())
		}
		if err := h.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for h.out.Scan() { // what was acknowledged before the signal arrived
			acked = parse(t, h.out.Text())
		}
		if err := h.Wait(); err == nil {
			t.Fatal("the helper ended by itself")
		}
		acked = checkAcked(t, dir, acked, 1)
	}
}

// parse reads a number that a helper printed.
func parse(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// runFault runs the fault helper to its end and gives the acknowledged events, how
// many appends failed without storing anything, and the exit code.
func runFault(t *testing.T, before []string, args ...string) (acked uint64, failed, code int) {
	t.Helper()
	h := startHelper(t, before, nil, append([]string{"fault"}, args...)...)
	for h.out.Scan() {
		if strings.HasPrefix(h.out.Text(), "failed") {
			failed++
		} else {
			acked = parse(t, h.out.Text())
		}
	}
	var exit *exec.ExitError
	if err := h.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return acked, failed, h.ProcessState.ExitCode()
}

// TestSystemCallsFailForGood makes a call fail from some moment on. A failed sync
// ends the process with 75; a failed write leaves a log that says what is stored.
func TestSystemCallsFailForGood(t *testing.T) {
	for _, test := range []struct {
		call, errno string
		code        int
	}{
		{"fsync", "EIO", 75}, {"fdatasync", "EIO", 75}, {"pwrite64", "EIO", 75}, {"pwrite64", "ENOSPC", 0},
	} {
		t.Run(test.call+" "+test.errno, func(t *testing.T) {
			dir := t.TempDir()
			acked, failed, code := runFault(t, nil, dir, test.call, test.errno)
			t.Logf("failed %d, exit %d", failed, code)
			if acked != 5 {
				t.Errorf("%d events were acknowledged, 5 before the fault", acked)
			}
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			checkAcked(t, dir, acked, 1)
			if acked, _, code := runFault(t, nil, dir); acked != 20 || code != 0 {
				t.Errorf("after the fault: %d events, exit %d", acked, code)
			}
			checkAcked(t, dir, 20, 0)
		})
	}
}

// TestSystemCallFailsOnce lets strace, where it is installed, fail the n-th call of
// each kind, one run for each n.
func TestSystemCallFailsOnce(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Log("strace is not installed: TestSystemCallsFailForGood has to do")
		return
	}
	for _, inject := range []string{"pwrite64:error=ENOSPC", "pwrite64:error=EIO", "fsync:error=EIO", "fdatasync:error=EIO"} {
		for _, n := range []int{12, 25, 26, 33} {
			t.Run(fmt.Sprintf("%s %d", inject, n), func(t *testing.T) {
				dir := memoryDir(t)
				before := []string{strace, "-f", "-qq", "-o", "/dev/null", "-e", fmt.Sprintf("inject=%s:when=%d", inject, n)}
				acked, failed, code := runFault(t, before, dir)
				t.Logf("acknowledged %d, failed %d, exit %d", acked, failed, code)
				checkAcked(t, dir, acked, 1)
				if acked, _, code := runFault(t, nil, dir); code != 0 || acked != 20 && acked != 0 {
					t.Errorf("after the fault: %d events, exit %d", acked, code)
				}
				checkAcked(t, dir, 20, 0)
			})
		}
	}
}

func TestDiskFull(t *testing.T) {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	h := startHelper(t, nil, attr, "fill", t.TempDir())
	said := ""
	for h.out.Scan() {
		said += h.out.Text()
	}
	if err := h.Wait(); err != nil || said != "intact" {
		t.Fatalf("helper: %v, %q", err, said)
	}
}

// TestLostWAL cuts the write-ahead log of a killed writer: what a disk does that
// says "synced" and is not. SQLite opens what is left without a word.
func TestLostWAL(t *testing.T) {
	dir := t.TempDir()
	h := startHelper(t, nil, nil, "append", dir)
	for range 30 {
		if !h.out.Scan() {
			t.Fatal("the helper ended")
		}
	}
	if err := h.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.Wait() // killed
	wal := filepath.Join(dir, "journal.db-wal")
	info, err := os.Stat(wal)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(wal, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(t.Context(), dir, noBallast)
	var truncated *journal.TruncatedError
	if !errors.As(err, &truncated) || truncated.Anchored < 30 || truncated.Stored >= truncated.Anchored {
		t.Fatalf("open: %v", err)
	}
	t.Log(err)
}

// TestViewFromAnotherProcess reads while a writer runs, after it was closed, and
// after another one was killed.
func TestViewFromAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	fillRun(t, log, 0, 3)
	view := startView(t, dir)
	view.want(t, 3)
	fillRun(t, log, 3, 7)
	view.want(t, 7)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	view.want(t, 7)
	startView(t, dir).want(t, 7)

	writer := startHelper(t, nil, nil, "append", dir)
	for range 5 {
		if !writer.out.Scan() {
			t.Fatal("the writer ended")
		}
	}
	if err := writer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	last := 12
	for writer.out.Scan() {
		last = int(parse(t, writer.out.Text()))
	}
	_ = writer.Wait() // killed
	if got := startView(t, dir).ask(t); got < last || got > last+1 {
		t.Errorf("after the kill a reader sees %d events, %d were acknowledged", got, last)
	}
}

// viewer is a helper that reads.
type viewer struct {
	*helper
	in io.WriteCloser
}

// startView starts a reading helper that ends with the test.
func startView(t *testing.T, dir string) *viewer {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), helperEnv+"=view "+dir)
	cmd.Stdin, cmd.Stderr = read, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Start(), read.Close()); err != nil {
		t.Fatal(err)
	}
	v := &viewer{helper: &helper{Cmd: cmd, out: bufio.NewScanner(out)}, in: write}
	t.Cleanup(func() {
		if err := v.in.Close(); err != nil {
			t.Error(err)
		}
		_ = v.Wait() // its answers have been judged
	})
	return v
}

// ask asks for the number of events.
func (v *viewer) ask(t *testing.T) int {
	t.Helper()
	if _, err := io.WriteString(v.in, "?\n"); err != nil {
		t.Fatal(err)
	}
	if !v.out.Scan() {
		t.Fatal("the reader ended")
	}
	return int(parse(t, v.out.Text()))
}

// want asks and compares.
func (v *viewer) want(t *testing.T, events int) {
	t.Helper()
	if got := v.ask(t); got != events {
		t.Errorf("the reader sees %d events, want %d", got, events)
	}
}
