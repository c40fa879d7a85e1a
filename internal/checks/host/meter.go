package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// maxProc bounds a file of /proc or /sys, in bytes.
const maxProc = 1 << 20

// reading is what a host shows at one moment. Memory is in bytes, times in the
// units of their source.
type reading struct {
	name                   string
	at                     time.Time
	cpus, load             float64
	ticks, idle            float64
	groupBusy              float64 // seconds of processor time of the group
	limited                bool    // the group's own limit is below the machine's processors
	memTotal, memAvailable float64
	swapUsed               float64
	oomKills               float64
	disks                  []disk
}

// disk is one file system: shares of 1 and bytes.
type disk struct {
	path                string
	free, bytes, inodes float64
}

// busySince gives the share of the processors that were busy between two
// readings. Within a limit of its own, the group's share of that limit counts.
func (r reading) busySince(before reading) (float64, error) {
	if r.limited {
		elapsed := r.at.Sub(before.at).Seconds() * r.cpus
		if elapsed <= 0 || r.groupBusy < before.groupBusy {
			return 0, errors.New("the group's processor time cannot be compared")
		}
		return min((r.groupBusy-before.groupBusy)/elapsed, 1), nil
	}
	total, idle := r.ticks-before.ticks, r.idle-before.idle
	if total <= 0 || idle < 0 {
		return 0, errors.New("the processors' times did not move")
	}
	return max(1-idle/total, 0), nil
}

// meter reads one host.
type meter struct {
	host  check.Host
	group string
}

// read takes what the limits need; the rest is not asked for.
func (m *meter) read(ctx context.Context, r *resources) (reading, error) {
	var out reading
	if err := m.processors(ctx, &out); err != nil {
		return out, err
	}
	if err := m.memory(ctx, &out); err != nil {
		return out, err
	}
	if r.OOMKills != nil {
		if err := m.kills(ctx, &out); err != nil {
			return out, err
		}
	}
	if r.DiskFree == nil && r.DiskBytes == 0 && r.Inodes == nil {
		return out, nil
	}
	for _, path := range r.Paths {
		d, err := m.disk(ctx, path, r.Inodes != nil)
		if err != nil {
			return out, err
		}
		out.disks = append(out.disks, d)
	}
	return out, nil
}

func (m *meter) file(ctx context.Context, path string) (string, error) {
	text, err := m.host.ReadFile(ctx, path, maxProc)
	return string(text), err
}

// processors reads /proc/stat and /proc/loadavg (proc(5)), and the group's limit
// and use (cpu.max and cpu.stat, Control Group v2).
func (m *meter) processors(ctx context.Context, out *reading) error {
	text, err := m.file(ctx, "/proc/stat")
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		if fields[0] != "cpu" {
			out.cpus++
			continue
		}
		for i, f := range fields[1:9] { // guest times are within user's already
			n, err := finite(f)
			if err != nil {
				return fmt.Errorf("/proc/stat: %w", err)
			}
			if out.ticks += n; i == 3 || i == 4 { // idle and iowait
				out.idle += n
			}
		}
	}
	if out.cpus == 0 || out.ticks == 0 {
		return errors.New("/proc/stat shows no processors")
	}
	if text, err = m.file(ctx, "/proc/loadavg"); err != nil {
		return err
	}
	first, _, _ := strings.Cut(text, " ")
	if out.load, err = finite(first); err != nil {
		return fmt.Errorf("/proc/loadavg: %w", err)
	}
	return m.processorLimit(ctx, out)
}

func (m *meter) processorLimit(ctx context.Context, out *reading) error {
	text, there, err := m.groupFile(ctx, "cpu.max")
	if err != nil || !there {
		return err
	}
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return fmt.Errorf("cpu.max: %.40q is malformed", text)
	}
	if fields[0] == "max" {
		return nil
	}
	quota, err1 := finite(fields[0])
	period, err2 := finite(fields[1])
	if err1 != nil || err2 != nil || period == 0 || quota == 0 {
		return fmt.Errorf("cpu.max: %.40q is malformed", text)
	}
	if quota/period >= out.cpus {
		return nil
	}
	out.cpus, out.limited = quota/period, true
	if text, _, err = m.groupFile(ctx, "cpu.stat"); err != nil {
		return err
	}
	used, err := field(text, "usage_usec")
	out.groupBusy = used / 1e6
	return err
}

// memory reads /proc/meminfo, and the group's limit and use. The group's file
// cache that can be dropped does not count as used.
func (m *meter) memory(ctx context.Context, out *reading) error {
	text, err := m.file(ctx, "/proc/meminfo")
	if err != nil {
		return err
	}
	var kb [4]float64
	for i, name := range []string{"MemTotal:", "MemAvailable:", "SwapTotal:", "SwapFree:"} {
		if kb[i], err = field(text, name); err != nil {
			return fmt.Errorf("/proc/meminfo: %w", err)
		}
	}
	if kb[0] == 0 || kb[1] > kb[0] || kb[3] > kb[2] {
		return errors.New("/proc/meminfo contradicts itself")
	}
	out.memTotal, out.memAvailable = kb[0]*1024, kb[1]*1024
	if kb[2] > 0 {
		out.swapUsed = 1 - kb[3]/kb[2]
	}
	return m.memoryLimit(ctx, out)
}

func (m *meter) memoryLimit(ctx context.Context, out *reading) error {
	text, there, err := m.groupFile(ctx, "memory.max")
	if err != nil || !there || strings.TrimSpace(text) == "max" {
		return err
	}
	limit, err := finite(strings.TrimSpace(text))
	if err != nil || limit == 0 {
		return fmt.Errorf("memory.max: %.40q is malformed", text)
	}
	if limit >= out.memTotal {
		return nil
	}
	if text, _, err = m.groupFile(ctx, "memory.current"); err != nil {
		return err
	}
	current, err := finite(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("memory.current: %w", err)
	}
	if text, _, err = m.groupFile(ctx, "memory.stat"); err != nil {
		return err
	}
	cache, err := field(text, "inactive_file")
	if err != nil {
		return fmt.Errorf("memory.stat: %w", err)
	}
	left := limit - max(current-cache, 0)
	out.memTotal, out.memAvailable = limit, max(min(left, out.memAvailable), 0)
	return nil
}

// kills reads the machine's counter of programs killed for lack of memory, which
// counts kills within any group's limit too.
func (m *meter) kills(ctx context.Context, out *reading) error {
	text, err := m.file(ctx, "/proc/vmstat")
	if err != nil {
		return err
	}
	if out.oomKills, err = field(text, "oom_kill"); err != nil {
		return fmt.Errorf("/proc/vmstat: %w", err)
	}
	return nil
}

// groupFile reads a file of the control group. The root group of a machine has
// no limits; a group that was named must be there.
func (m *meter) groupFile(ctx context.Context, name string) (string, bool, error) {
	path := "/sys/fs/cgroup/" + name
	if m.group != "" {
		path = "/sys/fs/cgroup/" + strings.Trim(m.group, "/") + "/" + name
	}
	text, err := m.file(ctx, path)
	if errors.Is(err, fs.ErrNotExist) && m.group == "" && strings.HasSuffix(name, ".max") {
		return "", false, nil
	}
	return text, err == nil, err
}

// disk asks df (POSIX output, in kB) about the file system of a path. Free means
// what ordinary users may still write.
func (m *meter) disk(ctx context.Context, path string, inodes bool) (disk, error) {
	used, free, err := m.df(ctx, "-Pk", path)
	if err != nil {
		return disk{}, err
	}
	d := disk{path: path, free: free / (used + free), bytes: free * 1024}
	if !inodes {
		return d, nil
	}
	if used, free, err = m.df(ctx, "-Pi", path); err != nil {
		return d, err
	}
	d.inodes = free / (used + free)
	return d, nil
}

func (m *meter) df(ctx context.Context, option, path string) (used, free float64, err error) {
	result, err := m.host.Exec(ctx, check.Command{Argv: []string{"df", option, "--", path}, Env: []string{"LC_ALL=C"}})
	if err != nil {
		return 0, 0, err
	}
	if result.Code != 0 || result.Signal != "" {
		return 0, 0, fmt.Errorf("df %s %s ended with exit %d: %.200s", option, path, result.Code, strings.TrimSpace(string(result.Stderr)))
	}
	// Read from the right: the device's name may hold spaces.
	row := regexp.MustCompile(`(?m)\s\d+\s+(\d+)\s+(\d+)\s+(?:\d+%|-)\s+/.*$`).FindStringSubmatch(string(result.Stdout))
	if row == nil {
		return 0, 0, fmt.Errorf("df %s %s: %.200q is malformed", option, path, result.Stdout)
	}
	used, err1 := finite(row[1])
	free, err2 := finite(row[2])
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, fmt.Errorf("df %s %s: %w", option, path, err)
	}
	if used+free == 0 {
		return 0, 0, fmt.Errorf("df %s %s: the file system tells no numbers", option, path)
	}
	return used, free, nil
}

// field finds the number behind a name at the beginning of a line.
func field(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == name {
			return finite(fields[1])
		}
	}
	return 0, fmt.Errorf("%s is missing", strings.TrimSuffix(name, ":"))
}

func finite(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return 0, fmt.Errorf("%.40q is no number", text)
	}
	return n, nil
}
