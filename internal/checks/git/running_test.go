package git_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/git"
)

// works starts a process that works in a folder and writes its pid file.
func works(t *testing.T, dir, pidFile string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	write(t, pidFile, strconv.Itoa(cmd.Process.Pid)+"\n")
	return cmd
}

// keeps writes a process's pid file as the type service does, with a start that is
// so many ticks off.
func keeps(t *testing.T, cmd *exec.Cmd, pidFile string, off int) *exec.Cmd {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	now, err := check.ParseStat(stat)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(check.Process{PID: now.PID, Ticks: now.Ticks + "0"[:off], Boot: strings.TrimSpace(string(boot))})
	if err != nil {
		t.Fatal(err)
	}
	write(t, pidFile, string(text))
	return cmd
}

// A process that was not restarted runs from the old folder, although the link
// points to the new one.
func TestRevisionOfAProcess(t *testing.T) {
	s := newReleases(t)
	s.point(t, "1.2.2")
	works(t, s.path("current/app"), s.path("old.pid"))
	checktest.Match(t, "pass: ...", acted(t, s.env(t), git.Switch, s.params(s.link())))
	works(t, s.path("current/app"), s.path("new.pid"))
	works(t, t.TempDir(), s.path("elsewhere.pid"))
	ended := works(t, s.root, s.path("ended.pid"))
	_ = ended.Process.Kill()
	_ = ended.Wait()
	gone := filepath.Join(s.root, "gone")
	if err := os.Mkdir(gone, 0o755); err != nil {
		t.Fatal(err)
	}
	works(t, gone, s.path("gone.pid"))
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	write(t, s.path("bad.pid"), "x")
	began := keeps(t, works(t, s.path("current/app"), s.path("kept.pid")), s.path("kept.pid"), 0)
	keeps(t, began, s.path("later.pid"), 1)
	env := func(env *check.Env) { env.Run.Revision, env.Run.PreviousRev = s.second, s.first }
	asks := func(name string) string { return "{from: [{pid_file: " + s.path(name) + "}]}" }
	checktest.Run(t, git.Revision, []checktest.Case{
		{Name: "restarted", Params: asks("new.pid"), Env: env, Want: "pass: 1 of 1 on 1.2.3 (" + s.second[:12] + ")"},
		{Name: "not restarted", Params: asks("old.pid"), Env: env, Want: "fail: want 1.2.3 (...): process of ...old.pid has " + s.first},
		{Name: "elsewhere", Params: asks("elsewhere.pid"), Env: env, Want: "error: ...neither ... nor a folder above it holds REVISION"},
		{Name: "ended", Params: asks("ended.pid"), Env: env, Want: "error: ...does not run"},
		{Name: "its folder is gone", Params: asks("gone.pid"), Env: env, Want: "error: ...runs in \"...gone (deleted)\""},
		{Name: "started by a service item", Params: asks("kept.pid"), Env: env, Want: "pass: 1 of 1 on 1.2.3 (" + s.second[:12] + ")"},
		{Name: "pid of a later program", Params: asks("later.pid"), Env: env, Want: "error: ...was started after ...later.pid was written..."},
		{Name: "no pid", Params: asks("bad.pid"), Env: env, Want: "error: ...bad.pid: \"x\" is malformed"},
		{Name: "no pid file", Params: asks("none.pid"), Env: env, Want: "error: ...no such file..."},
		{Name: "two sources", Params: "{from: [{pid_file: a, file: b}]}", Want: "problem: ...needs one of..."},
		{Name: "an option", Params: "{from: [{container: -x}]}", Want: "problem: ...begins with -..."},
	})
}

// engine is docker inspect, as docs.docker.com/reference/cli/docker/inspect has it.
type engine struct {
	check.Host
	code           int
	stdout, stderr string
}

func (e engine) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if strings.Join(c.Argv[:3], " ") != "docker inspect --type=container" || len(c.Argv) != 5 {
		return e.Host.Exec(ctx, c)
	}
	return check.Result{Code: e.code, Stdout: []byte(e.stdout), Stderr: []byte(e.stderr)}, ctx.Err()
}

func TestRevisionOfAContainer(t *testing.T) {
	const sha = "1111111111111111111111111111111111111111"
	says := func(code int, stdout, stderr string) func(*check.Env) {
		return func(env *check.Env) {
			env.Run.Revision = sha
			real := env.Host
			env.Host = func(name string) (check.Host, error) {
				h, err := real(name)
				return engine{h, code, stdout, stderr}, err
			}
		}
	}
	const web = "{from: [{container: web}]}"
	checktest.Run(t, git.Revision, []checktest.Case{
		{Name: "the release", Params: web, Env: says(0, "true "+sha+"\n", ""), Want: "pass: 1 of 1 on 1.2.3 (111111111111)"},
		{Name: "another", Params: web, Env: says(0, "true 2222222\n", ""), Want: "fail: ...container web has 2222222"},
		{Name: "stopped", Params: web, Env: says(0, "false "+sha+"\n", ""), Want: "error: ...the container web does not run"},
		{Name: "no label", Params: web, Env: says(0, "true \n", ""), Want: "error: ...has no label org.opencontainers.image.revision"},
		{Name: "no container", Params: web, Env: says(1, "\n", "Error: No such container: web"), Want: "error: ...No such container: web"},
		{Name: "nothing", Params: web, Env: says(0, "", ""), Want: "error: ...does not run"},
	})
}
