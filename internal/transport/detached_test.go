package transport_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/transport"
)

func TestDetached(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	d := check.Detached{Command: sh("echo up; echo session $(ps -o sid= -p $$) pid $$; exec sleep 60"), Log: "app.log", PIDFile: "app.pid", Key: "k1"}
	p, err := l.Start(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Signal(t.Context(), p, check.Kill, true) })
	text, err := os.ReadFile(filepath.Join(l.Dir, "app.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var saved check.Process
	if err := json.Unmarshal(text, &saved); err != nil || saved != p || p.Key != "k1" || p.Ticks == "" || p.Boot == "" {
		t.Fatalf("pid file holds %s, want %+v (%v)", text, p, err)
	}
	log := eventually(t, filepath.Join(l.Dir, "app.log"), "pid")
	fields := strings.Fields(log)
	if len(fields) != 5 || fields[2] != fields[4] {
		t.Errorf("not a session of its own: %q", log)
	}
	other := p
	other.Ticks = "1"
	if err := l.Signal(t.Context(), other, check.Kill, true); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a pid of another start was signalled: %v", err)
	}
	other = p
	other.Boot = "another boot"
	if err := l.Signal(t.Context(), other, check.Kill, true); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a pid of another boot was signalled: %v", err)
	}
	if err := l.Signal(t.Context(), p, check.Terminate, false); err != nil {
		t.Fatal(err)
	}
	if alive(t, p.PID) {
		t.Error("still alive after TERM")
	}
}

func TestDetachedWithoutPIDFile(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	d := check.Detached{Command: sh("echo $$; exec sleep 60"), Log: "app.log", PIDFile: "missing/app.pid"}
	if p, err := l.Start(t.Context(), d); err == nil {
		t.Fatalf("started %+v without a pid file", p)
	}
	log, err := l.Glob(t.Context(), "/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range log {
		if cwd, err := os.Readlink(link); err == nil && cwd == l.Dir {
			t.Errorf("%s still runs there", link)
		}
	}
}

func TestDetachedRefuses(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	put(t, l.Dir, "real.log", "")
	if err := os.Symlink("real.log", filepath.Join(l.Dir, "link.log")); err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]check.Detached{
		"log is a link": {Command: sh("true"), Log: "link.log", PIDFile: "p"},
		"denied":        {Command: check.Command{Argv: []string{"true"}, Env: []string{"LD_PRELOAD=x"}}, Log: "l", PIDFile: "p"},
		"no program":    {Command: check.Command{Argv: []string{"no-such-program-here"}}, Log: "l", PIDFile: "p"},
	} {
		if _, err := l.Start(t.Context(), d); err == nil {
			t.Errorf("%s: started", name)
		}
	}
	for _, p := range []check.Process{{PID: 1}, {PID: 0}, {PID: -1}} {
		if err := l.Signal(t.Context(), p, check.Kill, true); err == nil {
			t.Errorf("pid %d was signalled", p.PID)
		}
	}
	if err := l.Signal(t.Context(), check.Process{PID: 4_000_000}, check.Kill, true); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("got %v", err)
	}
}

func eventually(t *testing.T, path, want string) string {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), want) {
			return string(text)
		}
	}
	t.Fatalf("%s never held %q", path, want)
	return ""
}

func TestParseStat(t *testing.T) {
	line := "12 (a ) S 1 (b) S 7 " + strings.Repeat("0 ", 15) + "3 0 4711 0"
	got, err := check.ParseStat([]byte(line))
	if err != nil || got != (check.Stat{PID: 12, Parent: 7, State: "S", Threads: 3, Ticks: "4711"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "12", "12 (a) S", "x (a) S 1 " + strings.Repeat("0 ", 20), ")("} {
		if _, err := check.ParseStat([]byte(bad)); err == nil {
			t.Errorf("%q: read", bad)
		}
	}
}
