package transport_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/transport"
	"allclear.dev/allclear/internal/transport/transporttest"
)

// standIn is docker or kubectl as this test's own program: it takes exactly the
// words that their documentation describes for exec, and starts the shell in a
// session of its own, as container runtimes do. STAND_IN, which the docker
// program gets as DOCKER_CONFIG and kubectl as KUBECONFIG, is a folder with the
// shell to use ("sh") and where the words are written down.
func standIn(name string, args []string) int {
	dir := os.Getenv(map[string]string{"docker": "DOCKER_CONFIG", "kubectl": "KUBECONFIG"}[name])
	log, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = fmt.Fprintln(log, strings.Join(args[:max(0, len(args)-1)], " "))
		_ = log.Close()
	}
	if slices.Contains(args, "get") {
		return pods(args)
	}
	words, ok := execWords(name, args)
	if err != nil || !ok {
		fmt.Fprintf(os.Stderr, "%s: wrong usage: %q\n", name, args)
		return 125
	}
	cmd := exec.Command(filepath.Join(dir, "sh"), words...)
	cmd.Args[0] = "sh"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Run()
	if exit, exited := errors.AsType[*exec.ExitError](err); exited && exit.ExitCode() >= 0 {
		return exit.ExitCode()
	}
	if err != nil {
		return 137
	}
	return 0
}

// execWords gives what stands behind "sh" of an exec that is written as
// documented.
func execWords(name string, args []string) ([]string, bool) {
	forms := map[string][][]string{
		"docker": {
			{"exec", "--interactive", "box", "sh"},
			{"compose", "--project-name=tulia", "--file=compose.yml", "exec", "-T", "--index=2", "web", "sh"},
			{"compose", "exec", "-T", "web", "sh"},
		},
		"kubectl": {
			{"--context=prod", "--namespace=tulia", "exec", "--stdin", "deployment/web", "--container=app", "--", "sh"},
			{"exec", "--stdin", "pod/web-1", "--", "sh"},
		},
	}
	for _, form := range forms[name] {
		if len(args) == len(form)+2 && slices.Equal(args[:len(form)], form) && args[len(form)] == "-c" {
			return args[len(form):], true
		}
	}
	return nil, false
}

// pods answers kubectl get pods --output=name.
func pods(args []string) int {
	switch {
	case !slices.Contains(args, "--field-selector=status.phase=Running") || !slices.Contains(args, "--output=name"):
		return 1
	case slices.Contains(args, "--selector=app=web"):
		fmt.Println("pod/web-2\npod/web-1")
	case slices.Contains(args, "--selector=app=forbidden"):
		fmt.Fprintln(os.Stderr, "Error from server (Forbidden): pods is forbidden")
		return 1
	}
	return 0
}

// asEngine puts the stand-ins on the path, with a shell of this machine.
func asEngine(t *testing.T, shell ...string) string {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"docker", "kubectl"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "sh"), "#!/bin/sh\nexec "+strings.Join(shell, " ")+" \"$@\"\n")
	if err := os.Chmod(filepath.Join(dir, "sh"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("KUBECONFIG", dir)
	return dir
}

func TestContainersKeepTheLaws(t *testing.T) {
	for name, c := range map[string]struct {
		spec  transport.Spec
		shell []string
	}{
		"docker exec, dash":            {transport.Spec{Docker: &transport.Docker{Container: "box"}}, []string{"dash"}},
		"docker compose exec, bash":    {transport.Spec{Compose: &transport.Compose{Project: "tulia", Files: []string{"compose.yml"}, Service: "web", Index: 2}}, []string{"bash", "--posix"}},
		"kubectl exec, busybox's tool": {transport.Spec{Kubectl: &transport.Kubectl{Context: "prod", Namespace: "tulia", Pod: "deployment/web", Container: "app"}}, busybox(t)},
	} {
		t.Run(name, func(t *testing.T) {
			asEngine(t, c.shell...)
			c.spec.Dir = t.TempDir()
			transporttest.Run(t, transporttest.Place{Host: open(t, c.spec), Dir: c.spec.Dir})
		})
	}
}

// busybox gives a shell in whose path there are only busybox's tools, as in many
// small images.
func busybox(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	program, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	run(t, program, "--install", "-s", dir)
	return []string{"env", "PATH=" + dir, program, "sh"}
}

func TestKubectlFindsThePod(t *testing.T) {
	calls := filepath.Join(asEngine(t, "dash"), "calls")
	host := open(t, transport.Spec{Kubectl: &transport.Kubectl{Selector: "app=web"}})
	if r, err := host.Exec(t.Context(), sh("exit 7")); err != nil || r.Code != 7 {
		t.Errorf("got %+v, %v", r, err)
	}
	want := "get pods --selector=app=web --field-selector=status.phase=Running\nexec --stdin pod/web-1 -- sh -c\n"
	if got := text(t, calls); got != want {
		t.Errorf("called %q, want %q", got, want)
	}
	for selector, want := range map[string]string{"app=none": "no running pod", "app=forbidden": "pods is forbidden"} {
		host := open(t, transport.Spec{Kubectl: &transport.Kubectl{Selector: selector}})
		if _, err := host.Exec(t.Context(), sh("true")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", selector, err)
		}
	}
	c := sh("true")
	c.User = "root"
	if _, err := host.Exec(t.Context(), c); err == nil || !strings.Contains(err.Error(), "cannot choose the user") {
		t.Errorf("as a user: %v", err)
	}
}

// An engine that refuses says so with an exit code of its own (125, 126, 127 and 1
// are documented), which is not the program's.
func TestEngineRefuses(t *testing.T) {
	asEngine(t, "dash")
	for _, spec := range []transport.Spec{
		{Docker: &transport.Docker{Container: "another"}},
		{Compose: &transport.Compose{Service: "another"}},
		{Kubectl: &transport.Kubectl{Pod: "another"}},
	} {
		_, err := open(t, spec).Exec(t.Context(), sh("true"))
		if err == nil || !strings.Contains(err.Error(), "no shell answered (exit status 125): ") || !strings.Contains(err.Error(), "wrong usage") {
			t.Errorf("got %v", err)
		}
	}
	asEngine(t, "no-such-shell-here")
	if _, err := open(t, transport.Spec{Docker: &transport.Docker{Container: "box"}}).Exec(t.Context(), sh("true")); err == nil {
		t.Error("an image without a shell ran a program")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, spec := range []transport.Spec{
		{}, {SSH: &transport.SSH{To: "-oProxyCommand=reboot"}}, {SSH: &transport.SSH{To: "web1", Jump: "-x"}},
		{Docker: &transport.Docker{Container: "-it"}}, {Docker: &transport.Docker{Container: "box"}, Dir: "-x"},
		{Kubectl: &transport.Kubectl{Pod: "a\nb"}},
	} {
		if _, err := transport.Open("web1", spec, &transport.Local{}); err == nil {
			t.Errorf("%+v: opened", spec)
		}
	}
}

func TestWorld(t *testing.T) {
	local := &transport.Local{Dir: t.TempDir()}
	w := transport.World{Local: local, Specs: map[string]transport.Spec{"web1": {Docker: &transport.Docker{Container: "box"}}}}
	for name, want := range map[string]string{"": "local", "local": "local", "web1": "web1"} {
		if host, err := w.Host(name); err != nil || host.Name() != want {
			t.Errorf("%q: %v, %v", name, host, err)
		}
	}
	if _, err := w.Host("web2"); err == nil || !strings.Contains(err.Error(), "names web1") {
		t.Errorf("got %v", err)
	}
	if _, supervises := check.Host(open(t, w.Specs["web1"])).(check.Supervisor); supervises {
		t.Error("a container keeps no programs of its own")
	}
}
