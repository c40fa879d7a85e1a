package service_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
)

// fakeSystemd answers as systemctl(1) and journalctl(1) of systemd 252 do, for the
// command lines of the driver and no others.
type fakeSystemd struct {
	check.Host
	t     *testing.T
	clock int
	units map[string]*fakeUnit
}

type fakeUnit struct {
	active, sub, result   string
	restarts, pid, exit   int
	started               int
	bad, canReload, stale bool
	denied                bool
}

func (f *fakeSystemd) Exec(ctx context.Context, cmd check.Command) (check.Result, error) {
	argv := cmd.Argv
	if argv[0] == "journalctl" && len(argv) == 6 && strings.Join(argv[2:], " ") == "--lines=5 --output=cat --no-pager --quiet" {
		return check.Result{Stdout: []byte("the last words\n")}, ctx.Err()
	}
	if argv[0] != "systemctl" {
		return f.Host.Exec(ctx, cmd)
	}
	if len(argv) < 6 || argv[1] != "--no-pager" || argv[2] != "--no-ask-password" || argv[len(argv)-2] != "--" {
		f.t.Errorf("systemctl is not run so: %q", argv)
	}
	name := argv[len(argv)-1]
	u := f.units[name]
	if argv[3] == "show" {
		return check.Result{Stdout: f.show(u, strings.TrimPrefix(argv[4], "--property="))}, ctx.Err()
	}
	if len(argv) != 6 {
		f.t.Errorf("systemctl is not run so: %q", argv)
	}
	if u == nil {
		return check.Result{Code: 5, Stderr: []byte("Failed to " + argv[3] + " " + name + ".service: Unit " + name + ".service not found.\n")}, ctx.Err()
	}
	if u.denied {
		return check.Result{Code: 1, Stderr: []byte("permission denied\n")}, ctx.Err()
	}
	switch argv[3] {
	case "start":
		if u.active != "active" {
			f.start(u)
		}
	case "restart":
		f.start(u)
	case "stop":
		u.active, u.sub, u.pid = "inactive", "dead", 0
	case "reload":
		if !u.canReload {
			return check.Result{Code: 3, Stderr: []byte("Failed to reload " + name + ".service: Job type reload is not applicable for unit " + name + ".service.\n")}, ctx.Err()
		}
	default:
		f.t.Errorf("systemctl is not run so: %q", argv)
	}
	return check.Result{}, ctx.Err()
}

func (f *fakeSystemd) start(u *fakeUnit) {
	f.clock++
	u.active, u.sub, u.result, u.started, u.pid, u.restarts = "active", "running", "success", 1000*f.clock, 100+f.clock, 0
	if u.bad {
		u.active, u.sub, u.result, u.pid, u.exit, u.restarts = "activating", "auto-restart", "exit-code", 0, 3, 7
	}
}

// show gives the properties in systemd's own order.
func (f *fakeSystemd) show(u *fakeUnit, asked string) []byte {
	load, id := "loaded", ""
	if u == nil {
		load, u = "not-found", &fakeUnit{active: "inactive", sub: "dead", result: "success"}
	}
	if u.started > 0 {
		id = fmt.Sprintf("%032x", u.started)
	}
	code, stale := 0, "no"
	if u.exit > 0 {
		code = 1
	}
	if u.stale {
		stale = "yes"
	}
	var out strings.Builder
	for _, p := range [][2]string{
		{"Type", "simple"}, {"MainPID", fmt.Sprint(u.pid)}, {"Result", u.result}, {"NRestarts", fmt.Sprint(u.restarts)},
		{"ExecMainStartTimestampMonotonic", fmt.Sprint(u.started)}, {"ExecMainCode", fmt.Sprint(code)}, {"ExecMainStatus", fmt.Sprint(u.exit)},
		{"LoadState", load}, {"ActiveState", u.active}, {"SubState", u.sub}, {"NeedDaemonReload", stale}, {"InvocationID", id},
	} {
		for name := range strings.SplitSeq(asked, ",") {
			if name == p[0] {
				fmt.Fprintf(&out, "%s=%s\n", p[0], p[1])
			}
		}
	}
	return []byte(out.String())
}

func newFakeSystemd(t *testing.T) (*place, *fakeSystemd) {
	env := checktest.NewEnv(t)
	local, err := env.Host("")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSystemd{Host: local, t: t, units: map[string]*fakeUnit{
		"web": {active: "inactive", sub: "dead", result: "success"}, "worker": {active: "inactive", sub: "dead", result: "success"},
		"bad": {active: "inactive", sub: "dead", result: "success", bad: true},
	}}
	env.Host = func(string) (check.Host, error) { return f, nil }
	p := &place{
		env: env, params: "driver: systemd", one: "{name: web}", two: "{name: worker}", bad: "{name: bad}", nobody: "{name: webb}",
		crash:  func(*testing.T) { f.clock++; f.units["web"].restarts++; f.units["web"].started = 1000 * f.clock },
		spoilt: []string{garbage, empty, half, exits, byASignal, tooMuch},
	}
	return p.quick(), f
}

func TestSystemdAsItsStandIn(t *testing.T) {
	t.Parallel()
	conform(t, func(t *testing.T) *place {
		p, _ := newFakeSystemd(t)
		return p
	})
}

func TestSystemdStates(t *testing.T) {
	p, f := newFakeSystemd(t)
	web := f.units["web"]
	for _, c := range []struct {
		unit     fakeUnit
		look     string
		stopped  string
		starting string
	}{
		{fakeUnit{active: "failed", sub: "failed", result: "oom-kill", exit: 9}, "fail: web does not run as it should: failed, failed (failed), result oom-kill, exit 9; its log ends: the last words", "pass: ...", "pass: started..."},
		{fakeUnit{active: "activating", sub: "auto-restart", result: "exit-code", exit: 3, restarts: 4}, "fail: web does not run as it should: not settled, activating (auto-restart), result exit-code, exit 3, 4 restarts...", "fail: web is not settled...", "fail: web is not healthy after 50ms: not settled, activating (auto-restart)..."},
		{fakeUnit{active: "activating", sub: "start-pre", result: "success"}, "fail: web does not run as it should: not settled, activating (start-pre)...", "fail: web is not settled...", "fail: web is not healthy..."},
		{fakeUnit{active: "deactivating", sub: "stop-sigterm", result: "success"}, "fail: web does not run as it should: not settled, deactivating...", "fail: web is not settled...", "fail: web is not healthy..."},
		{fakeUnit{active: "active", sub: "exited", result: "success"}, "error: look at web: ...its program has ended...", "error: ...", "error: ..."},
		{fakeUnit{active: "dreaming", sub: "rem", result: "success"}, `error: look at web: ...ActiveState "dreaming" is unknown`, "error: ...", "error: ..."},
		{fakeUnit{active: "inactive", sub: "dead", result: "success", stale: true}, "fail: web does not run...", "pass: ...", "fail: web would run as its unit file stood before...daemon-reload first"},
	} {
		key := fmt.Sprint(c.unit)
		*web = c.unit
		p.do(t, c.look, "", "state: running", p.one)
		p.do(t, c.stopped, "", "state: stopped", p.one)
		p.do(t, c.starting, key, "do: start, healthy_within: 50ms", p.one)
	}
}

func TestSystemdReload(t *testing.T) {
	p, f := newFakeSystemd(t)
	p.do(t, "fail: web does not run: not running", "k", "do: reload", p.one)
	p.do(t, "pass: ...", "k", "do: start", p.one)
	p.do(t, "fail: web: systemctl ended with exit 3: Failed to reload web.service: Job type reload is not applicable for unit web.service.; it is running...", "k", "do: reload", p.one)
	f.units["web"].canReload = true
	p.do(t, "pass: reloaded: web...", "k", "do: reload", p.one)
}

// What systemctl said decides nothing by itself: what stands afterwards does.
func TestSystemdThatSaysNo(t *testing.T) {
	p, f := newFakeSystemd(t)
	host := p.env.Host
	p.env.Host = func(name string) (check.Host, error) {
		h, err := host(name)
		return &breaking{Host: h, left: 3, how: exits}, err // two looks, the question for its file, the start
	}
	f.units["web"].denied = true
	p.do(t, "fail: web: systemctl ended with exit 1: permission denied; it is not running...", "k1", "do: start", p.one)
	f.units["web"].denied = false
	p.do(t, "error: start web: systemctl ended with exit 1: permission denied", "k2", "do: start", p.one)
	p.env.Host = host
	p.probe(t, p.instance(t, "do: start", p.one), "k2", check.Done)
}

// However long a look takes, a time of stability has a beginning and an end.
func TestSlowLooksDoNotShortenTheTime(t *testing.T) {
	p, f := newFakeSystemd(t)
	p.do(t, "pass: ...", "k", "do: start", p.one)
	now := p.env.Now()
	p.env.Now = func() time.Time { now = now.Add(time.Minute); return now }
	p.env.Sleep = func(ctx context.Context, _ time.Duration) error { f.units["web"].restarts++; return ctx.Err() }
	p.do(t, "fail: web was restarted 1 times while it was looked at...", "", "stable: 1s", p.one)
}
