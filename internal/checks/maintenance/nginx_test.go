package maintenance_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
)

// nginxConfig closes a site while a flag file is there, except for those who bring
// the header. "always" sends Retry-After with a 503 too.
const nginxConfig = `
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
    map $http_x_maintenance_bypass $closed { default 1; "%[3]s" 0; }
    server {
        listen unix:%[1]s/ready.sock;
        listen %[2]s;
        location / {
            set $shut "";
            if (-f %[1]s/maintenance.flag) { set $shut "yes$closed"; }
            if ($shut = "yes1") { return 503; }
            return 200 "hello";
        }
        add_header Retry-After 30 always;
    }
}
`

// newNginx starts a real nginx and gives its address and the flag's file.
func newNginx(t *testing.T) (url, flag string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nginx") // a socket's path is short, and the worker must reach the flag
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	write(t, dir+"/nginx.conf", fmt.Sprintf(nginxConfig, dir, address, token))
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx"
	}
	cmd := exec.Command(program, "-c", dir+"/nginx.conf", "-p", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatalf("nginx does not start (apt-get install nginx-light): %v", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-ended })
	for {
		if c, err := net.Dial("unix", dir+"/ready.sock"); err == nil {
			_ = c.Close()
			return "http://" + address + "/", filepath.Join(dir, "maintenance.flag")
		}
		select {
		case <-ended:
			said, _ := os.ReadFile(dir + "/error.log")
			t.Fatalf("nginx has ended: %s", said)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestNginxFlagFile: the usual way of nginx, a flag file that it looks for.
func TestNginxFlagFile(t *testing.T) {
	url, flag := newNginx(t)
	env := checktest.NewEnv(t)
	checktest.SetSecrets(env, checktest.Secrets{"env:BYPASS": token})
	params := "{do: %s, file: '" + flag + "', verify: {url: '" + url + "', every: 5ms, within: 2s, bypass: {token: 'env:BYPASS'}}}"
	on, off := decode(t, params, "on"), decode(t, params, "off")
	probe(t, env, on, check.NotDone)
	o := do(t, env, on, "pass: maintenance is on: ... answers 503, the bypass gets through, 3 times in a row")
	if get(t, url) != 503 || o.Facts["bypass "+url] != "200" {
		t.Errorf("facts %v", o.Facts)
	}
	remember(env, o)
	probe(t, env, on, check.Done)
	if err := os.Remove(flag); err != nil { // somebody opens the site by hand
		t.Fatal(err)
	}
	probe(t, env, on, check.NotDone)
	do(t, env, on, "pass: ...")
	do(t, env, off, "pass: maintenance is off: ... answers 200, 3 times in a row...")
	if get(t, url) != 200 {
		t.Error("the site is closed")
	}
	if o, err := on.Undoer().Undo(t.Context(), env, o); err != nil || o.Verdict != check.Pass || get(t, url) != 200 {
		t.Errorf("undo: %+v, %v", o, err)
	}
}
