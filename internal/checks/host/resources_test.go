package host_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/host"
)

// fake is a host whose files and df are given; each look moves the processors'
// times on by one step.
type fake struct {
	name  string
	files map[string]string
	df    map[string]string
	step  *int
}

func (f fake) Name() string { return f.name }

func (f fake) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if err := ctx.Err(); err != nil {
		return check.Result{}, err
	}
	text, ok := f.df[c.Argv[1]+" "+c.Argv[3]]
	if !ok {
		return check.Result{Code: 1, Stderr: []byte("df: no such file")}, nil
	}
	return check.Result{Stdout: []byte("Filesystem 1024-blocks Used Available Capacity Mounted on\n" + text + "\n")}, nil
}

func (f fake) ReadFile(ctx context.Context, path string, _ int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, ok := f.files[path]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
	}
	if path == "/proc/stat" {
		*f.step++
	}
	n := *f.step
	return []byte(strings.NewReplacer("{busy}", fmt.Sprint(60*n), "{idle}", fmt.Sprint(40*n), "{usec}", fmt.Sprint(250_000*n), "{kills}", fmt.Sprint(3+n)).Replace(text)), nil
}

func (fake) Lstat(context.Context, string) (check.FileInfo, error) {
	return check.FileInfo{}, fs.ErrNotExist
}
func (fake) Glob(context.Context, string) ([]string, error) { return nil, nil }

// machine has two processors of which 60% are busy, 8 GB of memory with 2 GB
// available, half-used swap and two disks.
func machine() fake {
	return fake{name: "local", step: new(int), files: map[string]string{
		"/proc/stat":    "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\ncpu1 1 0 0 1 0 0 0 0 0 0\nintr 5\n",
		"/proc/loadavg": "3.00 2.00 1.00 1/100 999\n",
		"/proc/meminfo": "MemTotal: 8000000 kB\nMemFree: 100 kB\nMemAvailable: 2000000 kB\nSwapTotal: 1000 kB\nSwapFree: 500 kB\n",
		"/proc/vmstat":  "pgfault 9\noom_kill 4\n",
	}, df: map[string]string{
		"-Pk /": "/dev/sda 1000 600 300 67% /", "-Pi /": "/dev/sda 1000 950 50 95% /",
		"-Pk /var": "//nas/my share 9000000 1000000 8000000 12% /var", "-Pi /var": "x 0 0 0 - /var", "-Pk /proc": "proc 0 0 0 - /proc",
	}}
}

// with gives an Env hook for the machine with some files changed; "" takes one
// away.
func with(changes map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		m := machine()
		m.files = maps.Clone(m.files)
		for path, text := range changes {
			if m.files[path] = text; text == "" {
				delete(m.files, path)
			}
		}
		hosts(m)(env)
	}
}

func hosts(list ...fake) func(*check.Env) {
	return func(env *check.Env) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		env.Now = func() time.Time { return now }
		env.Sleep = func(ctx context.Context, d time.Duration) error { now = now.Add(d); return ctx.Err() }
		env.Host = func(name string) (check.Host, error) {
			for _, h := range list {
				if h.name == name || name == "" {
					return h, nil
				}
			}
			return nil, fmt.Errorf("unknown host %q", name)
		}
	}
}

func TestResources(t *testing.T) {
	m := with(nil)
	container := map[string]string{
		"/sys/fs/cgroup/cpu.max": "50000 100000\n", "/sys/fs/cgroup/cpu.stat": "usage_usec {usec}\nuser_usec 1\n",
		"/sys/fs/cgroup/memory.max": "1000000000\n", "/sys/fs/cgroup/memory.current": "900000000\n", "/sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 300000000\n",
	}
	unlimited := map[string]string{"/sys/fs/cgroup/cpu.max": "max 100000\n", "/sys/fs/cgroup/memory.max": "max\n"}
	broken := func(path, text string) func(*check.Env) { return with(map[string]string{path: text}) }
	inGroup := func(path, text string) func(*check.Env) {
		c := maps.Clone(container)
		c[path] = text
		return with(c)
	}
	checktest.Run(t, host.Resources, []checktest.Case{
		{Name: "all within", Params: "{cpu_min: 2, cpu: 60%, load_per_cpu: 1.5, mem_free: 25%, mem_used: 75%, mem_min: 8GB, swap: 50%, disk_free: 33%, disk_bytes: 300kB}", Env: m,
			Want: "pass: cpus 2, cpu 60.0%, load per cpu 1.5, mem bytes 8.2 GB, mem free 25.0%, mem used 75.0%, swap used 50.0%, disk free / 33.3%, disk bytes / 307.2 kB",
			Check: func(t *testing.T, o check.Outcome) {
				if o.Facts["cpu"] != "0.6" || o.Facts["mem_free"] != "0.25" || o.Facts["mem_bytes"] != "8192000000" {
					t.Errorf("facts %v", o.Facts)
				}
			}},
		{Name: "all out", Params: "{cpu_min: 4, cpu: 50%, load_per_cpu: 1, mem_free: 26%, mem_used: 70%, mem_min: 16GB, swap: 10%, disk_free: 40%, disk_bytes: 1GB, inodes: 10%}", Env: m,
			Want: "fail: cpus 2, want at least 4; cpu 60.0%, want at most 50.0%; load per cpu 1.5, want at most 1; mem bytes 8.2 GB, want at least 16.0 GB; mem free 25.0%, want at least 26.0%; mem used 75.0%, want at most 70.0%; swap used 50.0%, want at most 10.0%; disk free / 33.3%, want at least 40.0%; disk bytes / 307.2 kB, want at least 1.0 GB; inodes free / 5.0%, want at least 10.0%"},
		{Name: "device with a space", Params: "{disk_free: 80%, paths: [/var]}", Env: m, Want: "pass: disk free /var 88.9%"},
		{Name: "container", Params: "{cpu_min: 0.5, cpu: 50%, mem_free: 40%, mem_min: 1GB}", Env: with(container), Want: "pass: cpus 0.5, cpu 50.0%, mem bytes 1.0 GB, mem free 40.0%"},
		{Name: "container without limits", Params: "{cpu_min: 2, mem_min: 8GB}", Env: with(unlimited), Want: "pass: ..."},
		{Name: "no swap", Params: "{swap: 0%}", Env: broken("/proc/meminfo", "MemTotal: 8 kB\nMemAvailable: 2 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"), Want: "pass: swap used 0.0%"},
		{Name: "unknown host", Params: "{hosts: [web-9], cpu_min: 1}", Env: m, Want: `error: unknown host "web-9"`},
		{Name: "no processors", Params: "{cpu_min: 1}", Env: broken("/proc/stat", "intr 1\n"), Want: "error: local: /proc/stat shows no processors"},
		{Name: "processors malformed", Params: "{cpu_min: 1}", Env: broken("/proc/stat", "cpu a b c d e f g h i\ncpu0 1\n"), Want: `error: local: /proc/stat: "a" is no number`},
		{Name: "processors stand still", Params: "{cpu: 90%}", Env: broken("/proc/stat", "cpu 1 0 0 1 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0\n"), Want: "error: local: the processors' times did not move"},
		{Name: "no load", Params: "{load_per_cpu: 1}", Env: broken("/proc/loadavg", "NaN 1 1"), Want: `error: local: /proc/loadavg: "NaN" is no number`},
		{Name: "no data", Params: "{mem_free: 1%}", Env: broken("/proc/meminfo", ""), Want: "error: local: open /proc/meminfo..."},
		{Name: "memory incomplete", Params: "{mem_free: 1%}", Env: broken("/proc/meminfo", "MemTotal: 8 kB\n"), Want: "error: local: /proc/meminfo: MemAvailable is missing"},
		{Name: "memory contradicts", Params: "{mem_free: 1%}", Env: broken("/proc/meminfo", "MemTotal: 8 kB\nMemAvailable: 9 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"), Want: "error: ...contradicts itself"},
		{Name: "limit malformed", Params: "{mem_free: 1%}", Env: inGroup("/sys/fs/cgroup/memory.max", "lots"), Want: "error: ...memory.max: ... is malformed"},
		{Name: "limit without use", Params: "{mem_free: 1%}", Env: inGroup("/sys/fs/cgroup/memory.current", ""), Want: "error: ...memory.current..."},
		{Name: "quota malformed", Params: "{cpu_min: 1}", Env: inGroup("/sys/fs/cgroup/cpu.max", "50000 0"), Want: "error: ...cpu.max: ... is malformed"},
		{Name: "quota without use", Params: "{cpu: 90%}", Env: inGroup("/sys/fs/cgroup/cpu.stat", "user_usec 1"), Want: "error: ...usage_usec is missing"},
		{Name: "no such group", Params: "{mem_free: 1%, cgroup: system.slice/web.service}", Env: with(container), Want: "error: ...system.slice/web.service..."},
		{Name: "no such path", Params: "{disk_free: 1%, paths: [/gone]}", Env: m, Want: "error: local: df -Pk /gone ended with exit 1: df: no such file"},
		{Name: "disk without numbers", Params: "{disk_free: 1%, paths: [/proc]}", Env: m, Want: "error: local: df -Pk /proc: the file system tells no numbers"},
		{Name: "no inodes", Params: "{inodes: 1%, paths: [/var]}", Env: m, Want: "error: local: df -Pi /var: the file system tells no numbers"},
		{Name: "problem: no limit", Params: "{}", Want: "problem: ...needs at least one limit"},
		{Name: "problem: no disk", Params: "{disk_free: 10%, paths: []}", Want: "problem: ...disk_free, disk_bytes and inodes need paths"},
		{Name: "problem: negative", Params: "{cpu_min: -1}", Want: "problem: ...cpu_min, load_per_cpu and oom_kills are not negative"},
		{Name: "problem: share", Params: "{cpu: 120%}", Want: "problem: ...a share is at most 100%"},
		{Name: "problem: sample", Params: "{cpu: 80%, sample: 0s}", Want: "problem: ...sample must be more than 0"},
		{Name: "problem: path", Params: "{disk_free: 1%, paths: [var]}", Want: "problem: ...does not begin with /"},
		{Name: "problem: group", Params: "{cpu: 80%, cgroup: ../x}", Want: "problem: ...cgroup: .. is not allowed"},
	})
}

func TestDiskMalformed(t *testing.T) {
	broken := machine()
	broken.df = map[string]string{"-Pk /": "rubbish"}
	checktest.Run(t, host.Resources, []checktest.Case{{Name: "df", Params: "{disk_free: 1%}", Env: hosts(broken), Want: "error: local: df -Pk /: ... is malformed"}})
}

func TestSeveralHosts(t *testing.T) {
	one, two := machine(), machine()
	one.name, two.name = "web-1", "web-2"
	two.files = maps.Clone(two.files)
	two.files["/proc/loadavg"] = "9.00 1 1"
	checktest.Run(t, host.Resources, []checktest.Case{
		{Name: "one is out", Params: "{hosts: [web-1, web-2], load_per_cpu: 2}", Env: hosts(one, two), Want: "fail: web-2 load per cpu 4.5, want at most 2", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["web-1.load_per_cpu"] != "1.5" || o.Facts["web-2.load_per_cpu"] != "4.5" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
	})
}

func TestKills(t *testing.T) {
	growing := map[string]string{"/proc/vmstat": "oom_kill {kills}\n"}
	since := func(base string, changes map[string]string) func(*check.Env) {
		return func(env *check.Env) {
			with(changes)(env)
			env.Ledger = &checktest.Ledger{Facts: map[string]string{"resources.oom_kills.local": base}}
		}
	}
	checktest.Run(t, host.Resources, []checktest.Case{
		{Name: "first look", Params: "{oom_kills: 0}", Env: with(nil), Want: "pass: oom kills 0", Check: func(t *testing.T, o check.Outcome) {
			if o.Sets["resources.oom_kills.local"] != "4" {
				t.Errorf("sets %v", o.Sets)
			}
		}},
		{Name: "between two looks", Params: "{oom_kills: 0}", Env: with(growing), Want: "fail: oom kills 1, want at most 0"},
		{Name: "since the first look", Params: "{oom_kills: 0}", Env: since("1", nil), Want: "fail: oom kills 3, want at most 0"},
		{Name: "none since", Params: "{oom_kills: 0}", Env: since("4", nil), Want: "pass: oom kills 0"},
		{Name: "first look malformed", Params: "{oom_kills: 0}", Env: since("many", nil), Want: "error: local: the fact resources.oom_kills.local: \"many\" is no number"},
		{Name: "restarted", Params: "{oom_kills: 3}", Env: since("90", nil), Want: "fail: oom kills 4, want at most 3"},
		{Name: "no counter", Params: "{oom_kills: 0}", Env: with(map[string]string{"/proc/vmstat": "pgfault 1\n"}), Want: "error: local: /proc/vmstat: oom_kill is missing"},
	})
}

// The machine that runs the tests, with its real /proc and df.
func TestThisMachine(t *testing.T) {
	checktest.Run(t, host.Resources, []checktest.Case{
		{Name: "real", Params: "{cpu_min: 0.1, cpu: 100%, mem_free: 0%, mem_min: 1MB, disk_free: 0%, disk_bytes: 1B, oom_kills: 1000000, sample: 50ms}", Want: "pass: cpus ..., cpu ..., mem bytes ..., oom kills ..., disk free / ..."},
		{Name: "hang", Params: "{cpu: 100%, sample: 1h}", Timeout: 50 * time.Millisecond, Want: "error: context deadline exceeded"},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, host.Resources) }
