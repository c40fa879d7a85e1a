// Package transporttest holds the laws of check.Host, which every way of reaching
// a host keeps: a program is run with exactly its arguments, its end is told apart
// from not knowing it, what is cancelled ends there, and files are read with
// bounds.
package transporttest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"allclear.dev/allclear/internal/check"
)

// Place is a host whose files are this machine's too, which is how the suite
// knows what should be seen.
type Place struct {
	Host check.Host
	// Dir is the host's directory on this machine.
	Dir string
}

// Run holds a host to the laws.
func Run(t *testing.T, p Place) {
	for name, law := range map[string]func(*testing.T, Place){
		"a program's end": ends, "arguments are passed as they are": arguments, "input, environment and directory": given,
		"what cannot run": refuses, "output is bounded": bounded, "a cancelled program ends": cancelled,
		"input that nobody reads": unread, "a daemon keeps the output open": daemon, "reading": reads,
		"looking": looks, "listing": lists, "a context that has ended": ended, "many at once": many,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			law(t, p)
		})
	}
}

func sh(script string, args ...string) check.Command {
	return check.Command{Argv: append([]string{"sh", "-c", script, "sh"}, args...)}
}

func ends(t *testing.T, p Place) {
	r, err := p.Host.Exec(t.Context(), sh("echo out; echo oops >&2; exit 3"))
	if err != nil || r.Code != 3 || r.Signal != "" || string(r.Stdout) != "out\n" || string(r.Stderr) != "oops\n" || r.Truncated || r.Took <= 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, code := range []int{0, 1, 2, 126, 127, 128, 255} {
		if r, err := p.Host.Exec(t.Context(), sh("exit "+strconv.Itoa(code))); err != nil || r.Code != code || r.Signal != "" || len(r.Stderr) > 0 {
			t.Errorf("exit %d: got %+v, %v", code, r, err)
		}
	}
	for name, text := range map[string]string{"KILL": "killed", "TERM": "terminated", "SEGV": "segmentation fault"} {
		r, err := p.Host.Exec(t.Context(), sh("kill -s "+name+" $$"))
		if err != nil || r.Signal != text || r.Code == 0 || len(r.Stderr) > 0 {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
}

// arguments come out as they went in, whatever they hold.
func arguments(t *testing.T, p Place) {
	words := rapid.SliceOfN(rapid.OneOf(
		rapid.StringMatching(`['"\\$`+"`"+`!*?\[\]{}~#&;|<>() \t\n\r%=-]{0,12}`),
		rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, 0) }),
		rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 20), func(b []byte) string { return string(b) }),
	), 40, 80)
	const worlds = 10
	for seed := range worlds {
		given := words.Example(seed)
		r, err := p.Host.Exec(t.Context(), check.Command{Argv: append([]string{"printf", `%s\0`}, given...)})
		got := strings.Split(string(r.Stdout), "\x00")
		if err != nil || r.Code != 0 || len(got) != len(given)+1 {
			t.Fatalf("%d arguments out of %d: %+v, %v", len(got)-1, len(given), r, err)
		}
		for i, want := range given {
			if got[i] != want {
				t.Errorf("got %q, want %q", got[i], want)
			}
		}
	}
}

func given(t *testing.T, p Place) {
	odd := "a'b\"c$HOME `id` \\ \n end "
	c := sh(`cat; printf '<%s>' "$ODD"; pwd`)
	c.Env, c.Stdin, c.Dir = []string{"ODD=" + odd}, []byte("in\x00put\ngo\n"), "with space"
	dir := put(t, p, "with space/x", "")
	r, err := p.Host.Exec(t.Context(), c)
	if want := "in\x00put\ngo\n<" + odd + ">" + filepath.Dir(dir) + "\n"; err != nil || string(r.Stdout) != want {
		t.Errorf("got %q, %v, want %q", r.Stdout, err, want)
	}
	if r, err = p.Host.Exec(t.Context(), sh("pwd")); err != nil || string(r.Stdout) != p.Dir+"\n" {
		t.Errorf("a program starts in %q, %v, want %s", r.Stdout, err, p.Dir)
	}
	if r, err = p.Host.Exec(t.Context(), sh("cat; echo end")); err != nil || string(r.Stdout) != "end\n" {
		t.Errorf("without input: %q, %v", r.Stdout, err)
	}
	c = check.Command{Argv: []string{"wc", "-c"}, Stdin: bytes.Repeat([]byte("x"), 3<<20)}
	if r, err = p.Host.Exec(t.Context(), c); err != nil || strings.TrimSpace(string(r.Stdout)) != strconv.Itoa(3<<20) {
		t.Errorf("3 MiB of input: %q, %v", r.Stdout, err)
	}
}

func refuses(t *testing.T, p Place) {
	put(t, p, "plain", "#!/bin/sh\nexit 0\n")
	for name, c := range map[string]check.Command{
		"nothing":            {},
		"empty program":      {Argv: []string{""}},
		"NUL in argv":        {Argv: []string{"echo", "a\x00b"}},
		"NUL in dir":         {Argv: []string{"echo"}, Dir: "a\x00b"},
		"NUL in env":         {Argv: []string{"echo"}, Env: []string{"A=x\x00LD_PRELOAD=y"}},
		"LD_PRELOAD":         {Argv: []string{"echo"}, Env: []string{"LD_PRELOAD=/tmp/x.so"}},
		"BASH_ENV":           {Argv: []string{"echo"}, Env: []string{"BASH_ENV=/tmp/x"}},
		"no value":           {Argv: []string{"echo"}, Env: []string{"JUST_A_NAME"}},
		"no name":            {Argv: []string{"echo"}, Env: []string{"a;reboot=1"}},
		"missing dir":        {Argv: []string{"echo"}, Dir: "nowhere"},
		"missing program":    {Argv: []string{"no-such-program-here"}},
		"missing path":       {Argv: []string{"./no-such-program-here"}},
		"not executable":     {Argv: []string{"./plain"}},
		"a word of shells":   {Argv: []string{"if"}},
		"something built in": {Argv: []string{"eval", "exit 0"}},
		"unknown user":       {Argv: []string{"true"}, User: "no-such-user-here"},
		"user with options":  {Argv: []string{"true"}, User: "x; reboot"},
	} {
		if r, err := p.Host.Exec(t.Context(), c); err == nil {
			t.Errorf("%s: ran: %+v", name, r)
		}
	}
	if _, err := p.Host.Exec(t.Context(), check.Command{Argv: []string{"no-such-program-here"}}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a missing program: %v, want not found", err)
	}
}

func bounded(t *testing.T, p Place) {
	var all bytes.Buffer
	c := sh("head -c 100000 /dev/zero; head -c 5000 /dev/zero >&2")
	c.Limit, c.Stdout = 1000, &all
	r, err := p.Host.Exec(t.Context(), c)
	if err != nil || len(r.Stdout) != 1000 || len(r.Stderr) != 1000 || !r.Truncated || all.Len() != 100000 {
		t.Errorf("kept %d and %d, passed on %d, truncated %v, %v", len(r.Stdout), len(r.Stderr), all.Len(), r.Truncated, err)
	}
}

// first cancels as soon as something was printed.
type first struct {
	text   bytes.Buffer
	cancel func()
}

func (w *first) Write(p []byte) (int, error) {
	w.text.Write(p)
	w.cancel()
	return len(p), nil
}

// cancelled ends the whole group, also what ignores SIGTERM and keeps no output.
func cancelled(t *testing.T, p Place) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &first{cancel: cancel}
	c := sh(`(trap '' TERM; exec sh -c 'echo $$ $PPID; exec >/dev/null 2>&1; while :; do sleep 60 & wait; done') & wait`)
	c.Stdout = out
	if _, err := p.Host.Exec(ctx, c); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "not known") {
		t.Fatalf("got %v, want cancelled", err)
	}
	for _, pid := range strings.Fields(out.text.String()) {
		if n, err := strconv.Atoi(pid); err != nil || alive(n) {
			t.Errorf("process %s outlives its cancelled program (%v)", pid, err)
		}
	}
}

// alive polls for up to two seconds, as the kernel ends killed processes in its
// own time.
func alive(pid int) bool {
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

func unread(t *testing.T, p Place) {
	c := sh("exit 4")
	c.Stdin = bytes.Repeat([]byte("x"), 1<<20)
	if r, err := p.Host.Exec(t.Context(), c); err != nil || r.Code != 4 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func daemon(t *testing.T, p Place) {
	r, err := p.Host.Exec(t.Context(), sh("sleep 30 & echo $!"))
	if err != nil || r.Code != 0 || !r.Truncated {
		t.Fatalf("got %+v, %v", r, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(r.Stdout)))
	if err != nil || pid < 2 {
		t.Fatalf("printed %q", r.Stdout)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func put(t *testing.T, p Place, name, text string) string {
	t.Helper()
	full := filepath.Join(p.Dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return full
}

func reads(t *testing.T, p Place) {
	text := "hello\x00\xff\n"
	full := put(t, p, "-a b'c", text)
	put(t, p, "empty", "")
	for _, name := range []string{"-a b'c", full} {
		if got, err := p.Host.ReadFile(t.Context(), name, int64(len(text))); err != nil || string(got) != text {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if _, err := p.Host.ReadFile(t.Context(), name, int64(len(text))-1); err == nil {
			t.Error("a file over the limit is not an error")
		}
	}
	if got, err := p.Host.ReadFile(t.Context(), "empty", 0); err != nil || len(got) != 0 {
		t.Errorf("empty: %q, %v", got, err)
	}
	if got, err := p.Host.ReadFile(t.Context(), "/proc/loadavg", 1000); err != nil || len(got) == 0 {
		t.Errorf("/proc/loadavg: %q, %v", got, err)
	}
	link(t, p, "empty", "to-empty")
	if _, err := p.Host.ReadFile(t.Context(), "to-empty", 1); err != nil {
		t.Errorf("through a link: %v", err)
	}
	link(t, p, "nowhere", "dangling")
	for _, name := range []string{"missing", "missing/deep", "dangling"} {
		if _, err := p.Host.ReadFile(t.Context(), name, 4); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want not exist", name, err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(p.Dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", ".", "/dev/zero", "empty/below"} {
		if _, err := p.Host.ReadFile(t.Context(), name, 4); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want an error that is not about absence", name, err)
		}
	}
}

func link(t *testing.T, p Place, target, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(p.Dir, name)); err != nil {
		t.Fatal(err)
	}
}

func looks(t *testing.T, p Place) {
	full := put(t, p, "looks/-file", "12345")
	if err := os.Chmod(full, 0o640|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	link(t, p, "-file", "looks/link")
	if err := os.Mkdir(filepath.Join(p.Dir, "looks/sticky"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(p.Dir, "looks/sticky"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"looks/-file", full, "looks/link", "looks/sticky", "looks", "/dev/null"} {
		want, err := os.Lstat(filepath.Join(p.Dir, name))
		if filepath.IsAbs(name) {
			want, err = os.Lstat(name)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Host.Lstat(t.Context(), name)
		if err != nil || got.Path != name || got.Mode != want.Mode() || got.Size != want.Size() || got.ModTime.Unix() != want.ModTime().Unix() || got.Owner == "" || got.Group == "" {
			t.Errorf("%s: got %+v, %v, want %s %d %s", name, got, err, want.Mode(), want.Size(), want.ModTime())
		}
	}
	if _, err := p.Host.Lstat(t.Context(), "looks/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := p.Host.Lstat(t.Context(), "looks/-file/below"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
}

func lists(t *testing.T, p Place) {
	for _, name := range []string{"g/a/b/c.txt", "g/a/d.txt", "g/.hidden.txt", "g/a b/new\nline.txt", "g/a/e.go"} {
		put(t, p, name, "")
	}
	link(t, p, "a", "g/linked")
	for pattern, want := range map[string][]string{
		"g/**/*.txt":       {"g/.hidden.txt", "g/a b/new\nline.txt", "g/a/b/c.txt", "g/a/d.txt"},
		p.Dir + "/g/a/*.*": {p.Dir + "/g/a/d.txt", p.Dir + "/g/a/e.go"},
		"g/*/*.{txt,go}":   {"g/a b/new\nline.txt", "g/a/d.txt", "g/a/e.go"},
		"g/a/d.txt":        {"g/a/d.txt"},
		"g/[ab]":           {"g/a"},
		"none/*":           nil,
		"g/none":           nil,
	} {
		got, err := p.Host.Glob(t.Context(), pattern)
		if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: got %q, %v, want %q", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"[", "../*", "a/../../x", "g/a/d.txt/*"} {
		if got, err := p.Host.Glob(t.Context(), pattern); err == nil {
			t.Errorf("%s: got %v, want an error", pattern, got)
		}
	}
}

func ended(t *testing.T, p Place) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, e1 := p.Host.Exec(ctx, sh("true"))
	_, e2 := p.Host.ReadFile(ctx, "/etc/passwd", 1e6)
	_, e3 := p.Host.Lstat(ctx, "/")
	_, e4 := p.Host.Glob(ctx, "*")
	for i, err := range []error{e1, e2, e3, e4} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d: got %v", i, err)
		}
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := p.Host.Exec(ctx, sh("exec sleep 60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// many programs at once are more than one connection of sshd carries.
func many(t *testing.T, p Place) {
	const n = 16
	errs := make(chan error, n)
	for i := range n {
		go func() {
			r, err := p.Host.Exec(t.Context(), sh("exit $1", strconv.Itoa(i)))
			if err == nil && r.Code != i {
				err = errors.New("wrong code " + strconv.Itoa(r.Code))
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
