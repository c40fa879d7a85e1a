package celery_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/celery"
)

// management sends a request to a broker's management API.
func management(ctx context.Context, method, address, body string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	r.SetBasicAuth("guest", "guest")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// freePort gives a port that nobody listens at.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// rabbitServer starts a real RabbitMQ with its management API, which takes ten
// seconds.
func rabbitServer(t *testing.T) string {
	t.Helper()
	dir, node, api := t.TempDir(), freePort(t), freePort(t)
	for name, text := range map[string]string{
		"plugins": "[rabbitmq_management].",
		"r.conf":  fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %d\n", node, api),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Its port mapper would stay behind if the server started it.
	names := freePort(t)
	mapper := exec.Command("epmd", "-port", fmt.Sprint(names), "-address", "127.0.0.1")
	if err := mapper.Start(); err != nil {
		t.Fatal("apt-get install rabbitmq-server: ", err)
	}
	t.Cleanup(func() { _ = mapper.Process.Kill(); _ = mapper.Wait() })
	cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmq-server")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "HOME="+dir, fmt.Sprintf("RABBITMQ_NODENAME=t%d@localhost", api), "RABBITMQ_MNESIA_BASE="+dir+"/m", "RABBITMQ_LOG_BASE="+dir+"/l",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/plugins", "RABBITMQ_CONFIG_FILE="+dir+"/r", fmt.Sprint("RABBITMQ_NODE_PORT=", node), fmt.Sprint("RABBITMQ_DIST_PORT=", freePort(t)),
		"ERL_EPMD_ADDRESS=127.0.0.1", fmt.Sprint("ERL_EPMD_PORT=", names))
	if err := cmd.Start(); err != nil {
		t.Fatal("apt-get install rabbitmq-server: ", err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	base := fmt.Sprint("http://127.0.0.1:", api)
	for end := time.Now().Add(time.Minute); ; {
		if code, err := management(t.Context(), "GET", base+"/api/overview", ""); err == nil && code == http.StatusOK {
			return base
		}
		if time.Now().After(end) {
			t.Fatal("rabbitmq-server did not start within a minute")
		}
	}
}

// TestQueueOnRabbitMQ counts on a real RabbitMQ.
func TestQueueOnRabbitMQ(t *testing.T) {
	if os.Getenv("ALLCLEAR_SLOW") == "" {
		t.Skip("scripts/slow runs it")
	}
	base := rabbitServer(t)
	for _, step := range [][3]string{
		{"PUT", "/api/queues/%2F/default", "{}"},
		{"POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"default","payload":"x","payload_encoding":"string"}`},
	} {
		if code, err := management(t.Context(), step[0], base+step[1], step[2]); err != nil || code >= 300 {
			t.Fatal(step, code, err)
		}
	}
	secrets := func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:GOOD": "guest", "env:BAD": "not this one"})
	}
	at := "broker: " + base + "\nusername: guest\npassword: env:GOOD\nqueues: "
	inst, problems := checktest.Decode(celery.Queue, at+"[default]\nmax: 0", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	env := checktest.NewEnv(t)
	secrets(env)
	for end := time.Now().Add(30 * time.Second); ; { // the numbers are some seconds behind
		o, err := inst.Runner.Run(t.Context(), env)
		if err == nil && o.Verdict == check.Fail {
			checktest.Match(t, "1 messages wait in default, want at most 0", o.Reason)
			break
		}
		if err != nil && !strings.Contains(err.Error(), "does not tell") || time.Now().After(end) {
			t.Fatalf("%v %v", o, err)
		}
	}
	checktest.Run(t, celery.Queue, []checktest.Case{
		{Name: "count", Params: at + "[default]", Env: secrets, Want: "pass: waiting: default 1; 0 unacknowledged"},
		{Name: "no such queue", Params: at + "[defualt]", Env: secrets, Want: "error: defualt is declared nowhere in the virtual host /"},
		{Name: "wrong password", Params: "broker: " + base + "\nusername: guest\npassword: env:BAD\nqueues: [default]", Env: secrets, Want: "error: ...401..."},
	})
}
