package transport_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/transport"
)

func sh(script string) check.Command { return check.Command{Argv: []string{"sh", "-c", script}} }

func TestExec(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	r, err := l.Exec(t.Context(), sh("pwd; echo oops >&2; exit 3"))
	if err != nil || r.Code != 3 || strings.TrimSpace(string(r.Stdout)) != l.Dir || string(r.Stderr) != "oops\n" || r.Truncated {
		t.Errorf("got %+v, %v", r, err)
	}
	r, err = l.Exec(t.Context(), sh("kill -9 $$"))
	if err != nil || r.Signal != "killed" {
		t.Errorf("a killed program: %+v, %v", r, err)
	}
	r, err = l.Exec(t.Context(), check.Command{Argv: []string{"cat"}, Stdin: []byte("in")})
	if err != nil || string(r.Stdout) != "in" {
		t.Errorf("stdin: %+v, %v", r, err)
	}
	if _, err := l.Exec(t.Context(), check.Command{Argv: []string{"no-such-program-here"}}); err == nil {
		t.Error("a program that does not exist is not an error")
	}
}

func TestExecRefuses(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	for name, c := range map[string]check.Command{
		"no program":    {},
		"NUL in argv":   {Argv: []string{"echo", "a\x00b"}},
		"NUL in dir":    {Argv: []string{"echo"}, Dir: "a\x00b"},
		"NUL in env":    {Argv: []string{"echo"}, Env: []string{"A=x\x00LD_PRELOAD=y"}},
		"LD_PRELOAD":    {Argv: []string{"echo"}, Env: []string{"LD_PRELOAD=/tmp/x.so"}},
		"BASH_ENV":      {Argv: []string{"echo"}, Env: []string{"BASH_ENV=/tmp/x"}},
		"BASH_FUNC":     {Argv: []string{"echo"}, Env: []string{"BASH_FUNC_ls%%=() { evil; }"}},
		"no value":      {Argv: []string{"echo"}, Env: []string{"JUST_A_NAME"}},
		"unknown user":  {Argv: []string{"echo"}, User: "no-such-user-here"},
		"missing dir":   {Argv: []string{"echo"}, Dir: "nowhere"},
		"empty program": {Argv: []string{""}},
	} {
		if r, err := l.Exec(t.Context(), c); err == nil {
			t.Errorf("%s: ran: %+v", name, r)
		} else if name == "missing dir" && !strings.Contains(err.Error(), "nowhere: no such file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExecEnvironmentIsMinimal(t *testing.T) {
	t.Setenv("DATABASE_PASSWORD", "hunter22")
	t.Setenv("LD_LIBRARY_PATH", "/tmp")
	l := &transport.Local{Dir: t.TempDir()}
	c := check.Command{Argv: []string{"env"}, Env: []string{"MINE=1"}}
	r, err := l.Exec(t.Context(), c)
	if err != nil || strings.Contains(string(r.Stdout), "hunter22") || strings.Contains(string(r.Stdout), "LD_LIBRARY") || !strings.Contains(string(r.Stdout), "MINE=1") {
		t.Errorf("got %s, %v", r.Stdout, err)
	}
}

func TestExecLimitsOutput(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	var all bytes.Buffer
	c := sh("head -c 100000 /dev/zero")
	c.Limit, c.Stdout = 1000, &all
	r, err := l.Exec(t.Context(), c)
	if err != nil || len(r.Stdout) != 1000 || !r.Truncated || all.Len() != 100000 {
		t.Errorf("kept %d, passed on %d, truncated %v, %v", len(r.Stdout), all.Len(), r.Truncated, err)
	}
	c.Stdout = brokenWriter{}
	if r, err = l.Exec(t.Context(), c); err != nil || r.Code != 0 || !r.Truncated {
		t.Errorf("a broken reader disturbs the program: %+v, %v", r.Code, err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestExecKillsTheGroup(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	// The grandchild ignores SIGTERM and keeps no output open.
	var out waitFor
	out.cancel = cancel
	c := sh(`(trap '' TERM; echo $(exec sh -c 'echo $PPID'); exec >/dev/null 2>&1; while :; do sleep 60 & wait; done) & wait`)
	c.Stdout = &out
	_, err := l.Exec(ctx, c)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want cancelled", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out.text.String()))
	if err != nil {
		t.Fatal(err)
	}
	if alive(t, pid) {
		t.Errorf("grandchild %d outlives its cancelled program", pid)
	}
}

// waitFor cancels as soon as something was printed.
type waitFor struct {
	text   bytes.Buffer
	cancel func()
}

func (w *waitFor) Write(p []byte) (int, error) {
	w.text.Write(p)
	w.cancel()
	return len(p), nil
}

// alive polls for up to two seconds, as the kernel ends killed processes in its
// own time.
func alive(t *testing.T, pid int) bool {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return false
		}
		if s, err := check.ParseStat(text); err == nil && s.Ended() {
			return false
		}
	}
	return true
}

func TestExecDaemonKeepingOutputOpen(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	r, err := l.Exec(t.Context(), sh("sleep 30 & echo started $!"))
	if err != nil || r.Code != 0 || !r.Truncated {
		t.Fatalf("got %+v, %v", r, err)
	}
	pid, _ := strconv.Atoi(strings.Fields(string(r.Stdout))[1])
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestExecAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: only the own user can be tried")
		return
	}
	l := &transport.Local{Dir: "/"}
	c := sh("id -un; echo $HOME")
	c.User = "nobody"
	r, err := l.Exec(t.Context(), c)
	if err != nil || !strings.HasPrefix(string(r.Stdout), "nobody\n") || strings.Contains(string(r.Stdout), "root") {
		t.Errorf("got %s%s, %v", r.Stdout, r.Stderr, err)
	}
}

func TestPrepare(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir(), Prepare: func(c *exec.Cmd) { c.Env = append(c.Env, "ATTEMPT=7") }}
	r, err := l.Exec(t.Context(), sh("echo $ATTEMPT"))
	if err != nil || string(r.Stdout) != "7\n" {
		t.Errorf("got %s, %v", r.Stdout, err)
	}
}

func TestReadFile(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	put(t, l.Dir, "a", "hello")
	if text, err := l.ReadFile(t.Context(), "a", 5); err != nil || string(text) != "hello" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := l.ReadFile(t.Context(), "a", 4); err == nil {
		t.Error("a file over the limit is not an error")
	}
	if _, err := l.ReadFile(t.Context(), "missing", 4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
	if err := syscall.Mkfifo(filepath.Join(l.Dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"pipe", ".", "/dev/zero"} {
		if _, err := l.ReadFile(t.Context(), path, 4); err == nil {
			t.Errorf("%s: read", path)
		}
	}
}

func TestLstatDoesNotFollow(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	put(t, l.Dir, "a", "hello")
	if err := os.Symlink("a", filepath.Join(l.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	info, err := l.Lstat(t.Context(), "link")
	if err != nil || info.Mode&os.ModeSymlink == 0 {
		t.Errorf("got %+v, %v", info, err)
	}
	info, err = l.Lstat(t.Context(), "a")
	if err != nil || info.Size != 5 || info.Owner == "" || info.Group == "" {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestGlob(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	put(t, l.Dir, "a/b/c.txt", "")
	put(t, l.Dir, "a/d.txt", "")
	for pattern, want := range map[string]string{
		"**/*.txt": "a/b/c.txt a/d.txt", l.Dir + "/a/*.txt": l.Dir + "/a/d.txt", "none/*": "", "x": "",
	} {
		got, err := l.Glob(t.Context(), pattern)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, %v, want %s", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"[", "../*", "a/../../x"} {
		if got, err := l.Glob(t.Context(), pattern); err == nil {
			t.Errorf("%s: got %v, want an error", pattern, got)
		}
	}
}

func TestCancelled(t *testing.T) {
	l := &transport.Local{Dir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, e1 := l.Exec(ctx, sh("true"))
	_, e2 := l.ReadFile(ctx, "/etc/passwd", 1e6)
	_, e3 := l.Lstat(ctx, "/")
	_, e4 := l.Glob(ctx, "*")
	_, e5 := l.Start(ctx, check.Detached{})
	for i, err := range []error{e1, e2, e3, e4, e5, l.Signal(ctx, check.Process{PID: 1}, check.Kill, false)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d: got %v", i, err)
		}
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
