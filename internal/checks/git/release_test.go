package git_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/git"
	"allclear.dev/allclear/internal/transport"
)

// site is a server's folder: a mirror of a real repository with two releases, the
// folder of the releases, and what they share.
type site struct {
	root, work, first, second string
}

func newSite(t testing.TB) site {
	t.Helper()
	tt := t.(*testing.T)
	t.Setenv("HOME", t.TempDir())
	s := site{root: t.TempDir(), work: t.TempDir()}
	s.git(tt, "init", "-q", "-b", "main")
	s.git(tt, "config", "user.name", "Eve")
	s.git(tt, "config", "user.email", "eve@example.com")
	s.put(t, "app/main.py", "one")
	s.put(t, "log/.gitkeep", "")
	s.put(t, "a file\nwith a line end", "x")
	s.put(t, "run.sh", "#!/bin/sh\n")
	s.put(t, "windows.txt", "a\r\nb\r\n")
	s.put(t, ".gitattributes", "windows.txt text eol=crlf\n")
	if err := errors.Join(os.Chmod(filepath.Join(s.work, "run.sh"), 0o755), os.Symlink("app/main.py", filepath.Join(s.work, "link"))); err != nil {
		t.Fatal(err)
	}
	s.first = s.commit(tt, "v1.2.2")
	s.put(t, "app/main.py", "two")
	s.second = s.commit(tt, "v1.2.3")
	run(tt, s.root, "git", "clone", "-q", "--mirror", s.work, "mirror.git")
	for _, dir := range []string{"releases", "shared/log"} {
		if err := os.MkdirAll(filepath.Join(s.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(tt, filepath.Join(s.root, "shared", ".env"), "DEBUG=0\n")
	return s
}

func (s site) git(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, s.work, "git", args...)
}

func (s site) put(t testing.TB, name, text string) {
	t.Helper()
	full := filepath.Join(s.work, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (s site) commit(t *testing.T, tag string) string {
	t.Helper()
	s.git(t, "add", "-A")
	s.git(t, "commit", "-q", "-m", tag)
	s.git(t, "tag", "-a", "-m", tag, tag)
	return s.git(t, "rev-parse", "HEAD")
}

func (s site) path(name string) string { return filepath.Join(s.root, name) }

// env knows the run's commits and nothing else about the repository.
func (s site) env(t *testing.T) *check.Env {
	env := checktest.NewEnv(t)
	env.Run.Revision, env.Run.PreviousRev = s.second, s.first
	return env
}

func (s site) params(more string) string {
	return fmt.Sprintf("{repo: %s/mirror.git, releases: %s/releases%s}", s.root, s.root, more)
}

func (s site) shared() string {
	return fmt.Sprintf(", shared: {.env: %s/shared/.env, log: %s/shared/log}", s.root, s.root)
}

func (s site) link() string { return ", link: " + s.path("current") }

func decode(t *testing.T, typ *check.Type, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(typ, params, nil)
	if inst == nil {
		t.Fatal(problems.Error())
	}
	return inst
}

// act runs an action and gives its outcome in one line.
func acted(t *testing.T, env *check.Env, typ *check.Type, params string) string {
	t.Helper()
	outcome, err := decode(t, typ, params).Runner.Run(t.Context(), env)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(outcome.Verdict) + ": " + outcome.Reason
}

func probed(t *testing.T, env *check.Env, typ *check.Type, params string) check.Progress {
	t.Helper()
	progress, _, err := decode(t, typ, params).Prober().Probe(t.Context(), env)
	if err != nil {
		t.Fatalf("probe: %v", err)
	}
	return progress
}

// names lists what a folder of the site holds.
func (s site) names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func (s site) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s site) current(t *testing.T) string {
	t.Helper()
	target, err := os.Readlink(s.path("current"))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(target)
}

// hosts gives an env every name of which is a host of this machine, as check
// wraps it.
func hosts(env *check.Env, wrap func(check.Host) check.Host) *check.Env {
	out := *env
	out.Host = func(name string) (check.Host, error) {
		host, err := env.Host("")
		if err != nil {
			return nil, err
		}
		return wrap(named{host, name}), nil
	}
	return &out
}

type named struct {
	check.Host
	name string
}

func (n named) Name() string {
	if n.name == "" {
		return "local"
	}
	return n.name
}

// lost is a host to which the connection breaks at a call: before it was carried
// out or after.
type lost struct {
	check.Host
	left  *int
	after bool
}

var errLost = errors.New("connection lost")

func (l lost) broken() bool { *l.left--; return *l.left < 0 }

func (l lost) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if !l.broken() {
		return l.Host.Exec(ctx, c)
	}
	if l.after && *l.left == -1 {
		_, _ = l.Host.Exec(ctx, c)
	}
	return check.Result{}, errLost
}

func (l lost) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if l.broken() {
		return nil, errLost
	}
	return l.Host.ReadFile(ctx, name, limit)
}

func (l lost) Lstat(ctx context.Context, name string) (check.FileInfo, error) {
	if l.broken() {
		return check.FileInfo{}, errLost
	}
	return l.Host.Lstat(ctx, name)
}

func (l lost) Glob(ctx context.Context, pattern string) ([]string, error) {
	if l.broken() {
		return nil, errLost
	}
	return l.Host.Glob(ctx, pattern)
}

// breaking runs an action with a connection that breaks at its nth call, for
// every n until it gets through, both ways, and lets look see what is there.
func breaking(t *testing.T, env *check.Env, typ *check.Type, params string, before func(), look func(at string)) {
	t.Helper()
	inst := decode(t, typ, params)
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			if n > 300 {
				t.Fatal("the action does not come to an end")
			}
			before()
			left := n
			broken := hosts(env, func(h check.Host) check.Host { return lost{h, &left, after} })
			outcome, err := inst.Runner.Run(t.Context(), broken)
			at := fmt.Sprintf("broken at call %d (carried out: %v)", n, after)
			if left >= 0 && (err != nil || outcome.Verdict != check.Pass) {
				t.Fatalf("%s: %v %v", at, outcome, err)
			}
			look(at)
			if left >= 0 {
				break
			}
		}
	}
}

// inBox gives a host that is reached as a container is, through a program in the
// place of docker that starts the shell given.
func inBox(t *testing.T, shell string) check.Host {
	t.Helper()
	bin := t.TempDir()
	script := "#!/bin/sh\n[ \"$1 $2 $3\" = 'exec --interactive box' ] || exit 125\nshift 4\nexec " + shell + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	host, err := transport.Open("box", transport.Spec{Docker: &transport.Docker{Container: "box"}}, &transport.Local{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func TestReleasePages(t *testing.T) {
	checktest.Page(t, git.Checkout)
	checktest.Page(t, git.Switch)
}
