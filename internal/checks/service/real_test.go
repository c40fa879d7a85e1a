package service_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
)

// slowly tells whether the tests with real managers are wanted; scripts/slow wants
// them. They need root, and as many minutes as docker compose takes to be built.
func slowly(t *testing.T) bool {
	if os.Getenv("ALLCLEAR_SLOW") == "" {
		t.Log("only with ALLCLEAR_SLOW=1, as in scripts/slow")
		return false
	}
	if os.Getuid() != 0 {
		t.Fatal("needs root, to run containers")
	}
	return true
}

func program(t *testing.T, dir string, env []string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// begin starts a server, and ends it by its pid when the test is over.
func begin(t *testing.T, ready func() bool, env []string, argv ...string) int {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.WaitDelay = &out, &out, append(os.Environ(), env...), time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install what scripts/packages slow names", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); t.Failed() {
			t.Logf("%s: %v\n%s", argv[0], err, out.Bytes())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); !ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready:\n%s", argv[0], out.Bytes())
		}
	}
	return cmd.Process.Pid
}

const composeVersion = "v2.40.3"

// dockerConfig is a folder with docker compose as docker's plugin, built once from
// the Go module proxy.
func dockerConfig(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(cache, "allclear-test", "compose-"+composeVersion)
	plugin := filepath.Join(config, "cli-plugins", "docker-compose")
	if _, err := os.Stat(plugin); err == nil {
		return config
	}
	told := program(t, t.TempDir(), nil, "go", "mod", "download", "-json", "github.com/docker/compose/v2@"+composeVersion)
	dir := regexp.MustCompile(`"Dir": "(.*)"`).FindStringSubmatch(told)
	if dir == nil {
		t.Fatalf("go mod download tells no folder: %s", told)
	}
	if err := os.MkdirAll(filepath.Dir(plugin), 0o755); err != nil {
		t.Fatal(err)
	}
	built := plugin + "." + strconv.Itoa(os.Getpid())
	program(t, dir[1], []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", built, "./cmd")
	if err := os.Rename(built, plugin); err != nil {
		t.Fatal(err)
	}
	return config
}

// dockerd runs an engine of its own, without networks, and gives its address.
func dockerd(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine-") // a socket's path is short, unix(7)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	t.Cleanup(func() {
		_ = syscall.Unmount(data, 0) // the engine mounts it onto itself
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	socket := filepath.Join(dir, "s")
	begin(t, func() bool {
		_, err := os.Stat(socket)
		return err == nil && exec.Command("docker", "--host=unix://"+socket, "version").Run() == nil
	}, nil, "dockerd", "--data-root="+data, "--exec-root="+filepath.Join(dir, "exec"), "--pidfile="+filepath.Join(dir, "pid"),
		"--host=unix://"+socket, "--bridge=none", "--iptables=false", "--ip6tables=false")
	return "unix://" + socket
}

// image makes the image unit:1 of one static program, which stays, ends at once,
// or tells whether the file /sick is there.
func image(t *testing.T, engine string) {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "unit.go")
	text := "package main\nimport (\"os\"; \"time\")\nfunc main() {\n" +
		"if os.Args[1] == \"end\" { os.Exit(3) }\n" +
		"if os.Args[1] == \"ask\" { if _, err := os.Stat(\"/sick\"); err == nil { os.Exit(1) }; return }\n" +
		"println(\"here\")\nfor { time.Sleep(time.Hour) }\n}\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program(t, dir, []string{"CGO_ENABLED=0"}, "go", "build", "-o", "unit", source)
	binary, err := os.ReadFile(filepath.Join(dir, "unit"))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "unit", Mode: 0o755, Size: int64(len(binary))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(binary); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker", "--host="+engine, "import", "-", "unit:1")
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

const composeFile = `services:
  web: {image: "unit:1", network_mode: none, command: [/unit, stay], restart: always, stop_grace_period: 0s}
  worker: {image: "unit:1", network_mode: none, command: [/unit, stay], scale: 2, stop_grace_period: 0s}
  bad: {image: "unit:1", network_mode: none, command: [/unit, end], restart: always}
  asked:
    image: "unit:1"
    network_mode: none
    command: [/unit, stay]
    stop_grace_period: 0s
    healthcheck: {test: [CMD, /unit, ask], interval: 100ms, retries: 1}
`

func realCompose(t *testing.T, engine, config string) *place {
	env := checktest.NewEnv(t)
	if err := os.WriteFile(filepath.Join(env.Dir, "compose.yaml"), []byte(composeFile), 0o600); err != nil {
		t.Fatal(err)
	}
	project := "p" + strings.ReplaceAll(unique(), ".", "-")
	vars := []string{"DOCKER_HOST=" + engine, "DOCKER_CONFIG=" + config}
	t.Cleanup(func() {
		cmd := exec.Command("docker", "compose", "--project-name="+project, "down", "--timeout=0")
		cmd.Dir, cmd.Env = env.Dir, append(os.Environ(), vars...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	p := &place{
		env:    env,
		params: fmt.Sprintf("driver: compose, project: %s, env: {DOCKER_HOST: '%s', DOCKER_CONFIG: '%s'}", project, engine, config),
		one:    "{name: web}", two: "{name: worker, exactly: 2}", bad: "{name: bad}", nobody: "{name: webb}",
		spoilt: []string{garbage, half, exits, byASignal, tooMuch},
	}
	p.crash = func(t *testing.T) {
		id := program(t, env.Dir, vars, "docker", "compose", "--project-name="+project, "ps", "--quiet", "web")
		ask := func(what string) string {
			return program(t, env.Dir, vars, "docker", "inspect", "--format="+what, id)
		}
		before, err := strconv.Atoi(ask("{{.State.Pid}}"))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		wait(t, func() bool {
			return ask("{{.State.Status}}") == "running" && ask("{{.State.Pid}}") != strconv.Itoa(before)
		})
	}
	return p
}

// wait waits for something that comes about by itself.
func wait(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

func TestComposeForReal(t *testing.T) {
	if !slowly(t) {
		return
	}
	engine, config := dockerd(t), dockerConfig(t)
	image(t, engine)
	t.Run("conforms", func(t *testing.T) {
		conform(t, func(t *testing.T) *place { return realCompose(t, engine, config) })
	})
	t.Run("health and image", func(t *testing.T) {
		p := realCompose(t, engine, config)
		p.do(t, "pass: started: asked", "k1", "do: start, state: healthy, healthy_within: 20s", "{name: asked, image: 'unit:1'}")
		p.do(t, "pass: running for 60ms without a restart: asked", "", "state: healthy", "{name: asked}")
		p.do(t, "fail: asked runs, but ... has image unit:1, not unit@sha256:0...", "", "state: running", "{name: asked, image: 'unit@sha256:0'}")
		p.do(t, "pass: started: worker...", "k2", "do: start", "{name: worker}")
		p.do(t, "fail: worker has 2 instances (container ..., container ...), want exactly 1", "", "state: running", "{name: worker, exactly: 1}")
	})
}

// inContainer runs programs in the namespaces of a process of this machine.
type inContainer struct {
	check.Host
	pid string
}

func (c *inContainer) Exec(ctx context.Context, cmd check.Command) (check.Result, error) {
	cmd.Argv = append([]string{"nsenter", "--target=" + c.pid, "--all", "--"}, cmd.Argv...)
	return c.Host.Exec(ctx, cmd)
}

// systemdUnits writes the units of one place; its name is the last part of theirs.
const systemdUnits = `
mkdir -p /run/systemd/system; cd /run/systemd/system
service() { printf '[Service]\nExecStart=%s\n%s\n' "$2" "$3" > "$1.service"; }
service web-NAME '/bin/sleep infinity' 'Restart=always
RestartSec=0'
service worker-NAME '/bin/sleep infinity' ''
service bad-NAME '/bin/false' 'Restart=always
RestartSec=10ms
StartLimitIntervalSec=0'
systemctl daemon-reload`

// The machine's own system is booted in a container, with nothing of its
// configuration.
func TestSystemdForReal(t *testing.T) {
	if !slowly(t) {
		return
	}
	var pid string
	shell := func(script string) ([]byte, error) {
		return exec.Command("nsenter", "--target="+pid, "--all", "--", "sh", "-c", script).CombinedOutput()
	}
	children := func(of string) string {
		text, err := os.ReadFile("/proc/" + of + "/task/" + of + "/children")
		if err != nil {
			return ""
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		return first
	}
	me := strconv.Itoa(os.Getpid())
	begin(t, func() bool {
		text, _ := exec.Command("pgrep", "--parent="+me, "--full", "^systemd-nspawn").Output()
		if pid = children(strings.TrimSpace(string(text))); pid == "" {
			return false
		}
		out, _ := shell("systemctl is-system-running")
		return strings.Contains("running degraded", strings.TrimSpace(string(out))) && len(out) > 0
	}, nil, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory=/", "--volatile=yes", "--console=pipe",
		"--kill-signal=SIGRTMIN+4", "--boot", "systemd.firstboot=off", "systemd.unit=basic.target")
	conform(t, func(t *testing.T) *place {
		name := strings.ReplaceAll(unique(), ".", "-")
		if out, err := shell(strings.ReplaceAll(systemdUnits, "NAME", name)); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		env := checktest.NewEnv(t)
		local, err := env.Host("")
		if err != nil {
			t.Fatal(err)
		}
		env.Host = func(string) (check.Host, error) { return &inContainer{local, pid}, nil }
		p := &place{
			env: env, params: "driver: systemd", one: "{name: web-" + name + "}", two: "{name: worker-" + name + "}", bad: "{name: bad-" + name + "}", nobody: "{name: webb}",
			spoilt: []string{garbage, empty, half, exits, byASignal, tooMuch},
		}
		p.crash = func(t *testing.T) {
			main := func() string {
				out, err := shell("systemctl show --property=MainPID --value web-" + name)
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				return strings.TrimSpace(string(out))
			}
			before := main()
			if out, err := shell("kill -9 " + before); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			wait(t, func() bool { now := main(); return now != before && now != "0" })
		}
		return p
	})
}
