package release_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
)

// real is an engine and a registry of this machine.
type real struct {
	engine, registry string
	archive          []byte
}

// TestImageForReal runs the deployment on a Docker Engine with a registry.
func TestImageForReal(t *testing.T) {
	if os.Getenv("ALLCLEAR_SLOW") == "" {
		t.Log("only with ALLCLEAR_SLOW=1, as in scripts/slow")
		return
	}
	if os.Getuid() != 0 {
		t.Fatal("needs root, to run containers")
	}
	deployment(t, &real{engine: startEngine(t), registry: startRegistry(t), archive: program(t)})
}

func (r *real) repository() string { return r.registry + "/tulia" }
func (r *real) params() string     { return ", env: {DOCKER_HOST: '" + r.engine + "'}" }
func (r *real) host(*check.Env)    {}

func (r *real) docker(t *testing.T, stdin []byte, words ...string) string {
	t.Helper()
	cmd := exec.Command("docker", append([]string{"--host=" + r.engine}, words...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v: %s", words, err, out)
	}
	return string(out)
}

func (r *real) publish(t *testing.T, tag, revision string) string {
	t.Helper()
	ref := r.repository() + ":" + tag
	r.docker(t, r.archive, "import", "--change=LABEL org.opencontainers.image.revision="+revision, "--change=LABEL tag="+tag, "-", ref)
	found := regexp.MustCompile(`digest: (sha256:[0-9a-f]{64})`).FindStringSubmatch(r.docker(t, nil, "push", ref))
	if found == nil {
		t.Fatal("the push tells no digest")
	}
	r.docker(t, nil, "image", "rm", ref)
	return found[1]
}

func (r *real) start(t *testing.T, service, tag string) {
	t.Helper()
	name := "tulia-" + service + "-1"
	r.docker(t, nil, "run", "--detach", "--network=none", "--name="+name, "--label=com.docker.compose.project=tulia",
		"--label=com.docker.compose.service="+service, "--label=com.docker.compose.oneoff=False", r.repository()+":"+tag, "/unit")
	t.Cleanup(func() { _ = exec.Command("docker", "--host="+r.engine, "rm", "--force", name).Run() })
}

func (r *real) stop(t *testing.T, service string) {
	t.Helper()
	r.docker(t, nil, "rm", "--force", "tulia-"+service+"-1")
}

// program is an archive of one static program that stays.
func program(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "unit.go")
	if err := os.WriteFile(source, []byte("package main\nimport \"time\"\nfunc main() { for { time.Sleep(time.Hour) } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", "unit", source)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
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
	return archive.Bytes()
}

// begin starts a server and waits until it answers.
func begin(t *testing.T, up func() bool, argv ...string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: apt-get install docker.io docker-registry", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	for deadline := time.Now().Add(30 * time.Second); !up(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %s", argv[0], log.String())
		}
	}
}

func startEngine(t *testing.T) string {
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
	host := "unix://" + filepath.Join(dir, "s")
	begin(t, func() bool { return exec.Command("docker", "--host="+host, "version").Run() == nil },
		"dockerd", "--data-root="+data, "--exec-root="+filepath.Join(dir, "exec"), "--pidfile="+filepath.Join(dir, "pid"),
		"--host="+host, "--bridge=none", "--iptables=false", "--ip6tables=false")
	return host
}

// startRegistry gives the address of a registry, which Docker speaks to without TLS
// on a loopback address.
func startRegistry(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	begin(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, "docker-registry", "serve", config)
	return strings.Replace(address, "127.0.0.1", "localhost", 1)
}
