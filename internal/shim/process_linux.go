package shim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// selfExecutable starts the running program again even if its file was replaced
// since.
const selfExecutable = "/proc/self/exe"

// Boottime reads the clock that counts from the machine's start and, unlike
// Go's monotonic clock, goes on while it is suspended (CLOCK_BOOTTIME).
func Boottime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// bootID names the running boot; empty if the system does not say.
func bootID() string {
	data, err := readAtMost("/proc/sys/kernel/random/boot_id", 64)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// adoptOrphans makes this process the parent of what its descendants leave.
func adoptOrphans() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// hasChildren reports whether this process has a child, ended or not.
func hasChildren() bool {
	var info unix.Siginfo
	err := retryEINTR(func() error {
		return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	})
	return !errors.Is(err, unix.ECHILD)
}

// stat is what /proc/PID/stat says of a process that has not ended.
type stat struct {
	Process
	parent  int
	session int
}

// readStat reads one process; false if there is none or it is a zombie.
func readStat(pid int) (stat, bool) {
	data, err := readAtMost(fmt.Sprintf("/proc/%d/stat", pid), 4096)
	if err != nil {
		return stat{}, false
	}
	// The name stands in parentheses and may itself contain any of ") (".
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return stat{}, false
	}
	// proc(5): field 3 is the state, 4 the parent, 6 the session, 22 the start.
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return stat{}, false
	}
	parent, err1 := strconv.Atoi(fields[1])
	session, err2 := strconv.Atoi(fields[3])
	ticks, err3 := strconv.ParseUint(fields[19], 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return stat{}, false
	}
	name := string(data[open+1 : end])
	return stat{Process{PID: pid, Ticks: ticks, Name: name}, parent, session}, true
}

// processes lists what is alive on this machine.
func processes() []stat {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var all []stat
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if one, ok := readStat(pid); ok {
			all = append(all, one)
		}
	}
	return all
}

// descendants lists the living children of pid, their children and so on.
func descendants(pid int) []Process {
	children := map[int][]stat{}
	for _, one := range processes() {
		children[one.parent] = append(children[one.parent], one)
	}
	var found []Process
	queue := []int{pid}
	for len(queue) > 0 {
		for _, child := range children[queue[0]] {
			found = append(found, child.Process)
			queue = append(queue, child.PID)
		}
		queue = queue[1:]
	}
	return found
}

// sessionOf lists the living processes of the session that leader created, the
// leader included. The kernel gives a pid to nobody else while a session bears
// it; a process with that pid and another start time means that it is empty.
func sessionOf(leader Process) []Process {
	if now, ok := readStat(leader.PID); ok && now.Ticks != leader.Ticks {
		return nil
	}
	var found []Process
	for _, one := range processes() {
		if one.session == leader.PID && one.Ticks >= leader.Ticks {
			found = append(found, one.Process)
		}
	}
	return found
}

// self describes this process.
func self() (Process, error) {
	one, ok := readStat(os.Getpid())
	if !ok {
		return Process{}, errors.New("read own start time")
	}
	return one.Process, nil
}

// signalProcess sends a signal to exactly that process; it does nothing if the
// process has ended, even if its pid is in use again.
func signalProcess(p Process, signal syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	if now, ok := readStat(p.PID); !ok || now.Ticks != p.Ticks {
		return nil
	}
	err = unix.PidfdSendSignal(fd, signal, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// keepOpen duplicates a file to a high number that children inherit, where no
// list of extra files for a child can replace it.
func keepOpen(fd int) (int, error) {
	const aboveExtraFiles = 64
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, aboveExtraFiles)
	if err != nil {
		return 0, fmt.Errorf("duplicate file %d: %w", fd, err)
	}
	return high, nil
}

// watchFile reports on the channel whenever a file was written or a process that
// had it open for writing closed it, if only by being killed. The channel is nil
// if the system has no watch to give.
func watchFile(path string) (events <-chan struct{}, stop func()) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, func() {}
	}
	file := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_CLOSE_WRITE|unix.IN_MODIFY); err != nil {
		file.Close()
		return nil, func() {}
	}
	changed := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for {
			if _, err := file.Read(buffer); err != nil {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, func() { file.Close(); <-ended }
}

// syncData makes a file's bytes durable, and its length, but not its times.
func syncData(file *os.File) error {
	return retryEINTR(func() error { return unix.Fdatasync(int(file.Fd())) })
}
