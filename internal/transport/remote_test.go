package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/transport"
	"allclear.dev/allclear/internal/transport/transporttest"
)

func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "docker", "kubectl":
		os.Exit(standIn(filepath.Base(os.Args[0]), os.Args[1:]))
	}
	os.Exit(m.Run())
}

func TestLaws(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		dir := t.TempDir()
		transporttest.Run(t, transporttest.Place{Host: &transport.Local{Dir: dir}, Dir: dir})
	})
	t.Run("ssh", func(t *testing.T) {
		dir := t.TempDir()
		transporttest.Run(t, transporttest.Place{Host: sshHost(t, dir), Dir: dir})
	})
}

func open(t *testing.T, spec transport.Spec) *transport.Remote {
	t.Helper()
	host, err := transport.Open("web1", spec, &transport.Local{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func sshHost(t *testing.T, dir string) *transport.Remote {
	t.Helper()
	return open(t, transport.Spec{SSH: &transport.SSH{To: "web1", Config: startSSHD(t)}, Dir: dir})
}

// startSSHD starts OpenSSH's server on a free port with keys of its own, and gives
// the client's configuration in which web1 leads to it.
func startSSHD(t *testing.T, settings ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"host", "key"} {
		run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // the server wants this folder when it is root's
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	public := text(t, filepath.Join(dir, "key.pub"))
	write(t, filepath.Join(dir, "authorized"), public)
	port := freePort(t)
	write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf(`
ListenAddress 127.0.0.1:%d
HostKey %s/host
AuthorizedKeysFile %s/authorized
PidFile %s/pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
LogLevel ERROR
%s`, port, dir, dir, dir, strings.Join(settings, "\n")))
	write(t, filepath.Join(dir, "known"), fmt.Sprintf("[127.0.0.1]:%d %s", port, text(t, filepath.Join(dir, "host.pub"))))
	config := filepath.Join(dir, "config")
	write(t, config, fmt.Sprintf(`
Host web1
  HostName 127.0.0.1
  Port %d
  User %s
  IdentityFile %s/key
  IdentitiesOnly yes
  UserKnownHostsFile %s/known
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
`, port, me.Username, dir, dir))
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exit := exec.Command("ssh", "-F", config, "-oControlPath=/tmp/allclear-"+strconv.Itoa(os.Getuid())+"/%C", "-O", "exit", "web1")
		_ = exit.Run() // there may be none
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			t.Logf("sshd: %s", text(t, log.Name()))
		}
	})
	listens(t, port)
	return config
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func listens(t *testing.T, port int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("nobody listens on port %d", port)
}

// What ssh itself says with its 255 is never a program's exit code.
func TestSSHFails(t *testing.T) {
	config := startSSHD(t)
	wrong := filepath.Join(t.TempDir(), "config")
	write(t, wrong, strings.Replace(text(t, config), "StrictHostKeyChecking yes", "StrictHostKeyChecking yes\n  HostKeyAlias other", 1))
	for name, spec := range map[string]transport.SSH{
		"no such name":        {To: "no-such-host.invalid", Config: config},
		"nobody listens":      {To: "web1", Config: config, Port: freePort(t)},
		"unknown host key":    {To: "web1", Config: wrong},
		"no key is accepted":  {To: "nobody@web1", Config: config},
		"no such config":      {To: "web1", Config: "/no/such/config"},
		"jump over nobody":    {To: "web1", Config: config, Jump: "no-such-host.invalid"},
		"a silent connection": {To: "127.0.0.1", Port: silent(t), Config: "/dev/null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			r, err := open(t, transport.Spec{SSH: &spec}).Exec(ctx, sh("true"))
			if err == nil {
				t.Errorf("a program ran: %+v", r)
			}
		})
	}
}

// silent accepts connections and says nothing.
func silent(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func TestSSHServer(t *testing.T) {
	dir := t.TempDir()
	t.Run("prints before the program", func(t *testing.T) {
		config := startSSHD(t, "ForceCommand echo welcome; echo warning >&2; eval \"$SSH_ORIGINAL_COMMAND\"")
		host := open(t, transport.Spec{SSH: &transport.SSH{To: "web1", Config: config}, Dir: dir})
		r, err := host.Exec(t.Context(), sh("echo out; echo err >&2"))
		if err != nil || string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" {
			t.Errorf("got %q %q, %v", r.Stdout, r.Stderr, err)
		}
	})
	t.Run("runs nothing", func(t *testing.T) {
		config := startSSHD(t, "ForceCommand echo only transfers are allowed >&2; exit 1")
		_, err := open(t, transport.Spec{SSH: &transport.SSH{To: "web1", Config: config}}).Exec(t.Context(), sh("true"))
		if err == nil || !strings.Contains(err.Error(), "only transfers are allowed") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("drops the connection", func(t *testing.T) {
		config := startSSHD(t)
		host := open(t, transport.Spec{SSH: &transport.SSH{To: "web1", Config: config}})
		// The session's own server process is the parent of its shell.
		r, err := host.Exec(t.Context(), sh(`ps -o ppid= -p $(ps -o ppid= -p $PPID) | xargs ps -o pid=,args= -p; p=$PPID; while [ -n "$p" ]; do
			q=$(ps -o ppid= -p $p); case $(ps -o args= -p $q) in *sshd:*) kill -9 $q; exit;; esac; p=$q; done`))
		if err == nil || !strings.Contains(err.Error(), "not known") {
			t.Errorf("got %+v, %v", r, err)
		}
	})
	t.Run("has no such directory", func(t *testing.T) {
		config := startSSHD(t)
		host := open(t, transport.Spec{SSH: &transport.SSH{To: "web1", Config: config}, Dir: "/no/such/dir"})
		if _, err := host.Exec(t.Context(), sh("true")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		if _, err := host.Lstat(t.Context(), "/etc/passwd"); err != nil {
			t.Errorf("a whole path: %v", err)
		}
	})
}

// Neither arguments nor environment may stand in this machine's list of processes.
func TestSSHHidesTheEnvironment(t *testing.T) {
	host := sshHost(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	out := &waitFor{cancel: func() {}}
	var args string
	out.cancel = func() {
		list, err := exec.Command("ps", "-eo", "args").Output()
		if err != nil {
			t.Error(err)
		}
		args = string(list)
		cancel()
	}
	c := check.Command{Argv: []string{"sh", "-c", "echo up; exec sleep 60"}, Env: []string{"TOKEN=hunter22secret"}, Stdout: out}
	if _, err := host.Exec(ctx, c); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if strings.Contains(args, "hunter22secret") || !strings.Contains(args, "ssh -T") {
		t.Errorf("the list of processes shows %s", args)
	}
}

func TestSSHSharesOneConnection(t *testing.T) {
	host := sshHost(t, t.TempDir())
	var clients []string
	for range 2 {
		r, err := host.Exec(t.Context(), sh("echo $SSH_CLIENT"))
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, string(r.Stdout))
	}
	if clients[0] != clients[1] || clients[0] == "\n" {
		t.Errorf("two connections: %q", clients)
	}
}

func TestSSHAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: another user cannot be tried")
		return
	}
	host := sshHost(t, "/")
	c := sh("id -un; echo $HOME; echo $A; cat; kill -9 $$")
	c.User, c.Env, c.Stdin = "nobody", []string{"A=b c"}, []byte("in\n")
	r, err := host.Exec(t.Context(), c)
	if err != nil || !strings.HasPrefix(string(r.Stdout), "nobody\n") || !strings.HasSuffix(string(r.Stdout), "\nb c\nin\n") || r.Signal != "killed" {
		t.Errorf("got %q %q %+v, %v", r.Stdout, r.Stderr, r.Signal, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out := &waitFor{cancel: cancel}
	c = sh("echo $$; while :; do sleep 60; done")
	c.User, c.Stdout = "nobody", out
	if _, err := host.Exec(ctx, c); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "not known") {
		t.Fatalf("got %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out.text.String()))
	if err != nil || alive(t, pid) {
		t.Errorf("pid %d of another user outlives its cancelled program (%v)", pid, err)
	}
}
