package maintenance_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/maintenance"
)

const token = "bypass-token-of-the-test"

// balancer is a real HAProxy before a real web server.
type balancer struct{ url, socket, mapFile string }

const config = `
global
    stats socket "%[1]s" mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend public
    bind "%[2]s"
    acl bypass req.hdr(X-Maintenance-Bypass) -m str "%[5]s"
    acl closed "str(site),map_str(%[3]s,open)" -m str closed
    use_backend maintenance if closed !bypass
    default_backend web
backend web
    server blue "%[4]s"
    http-error status 503 content-type text/plain string "no server" hdr Retry-After 5
backend maintenance
    http-request return status 503 content-type text/plain hdr Retry-After 30 string "back soon"
`

func newBalancer(t *testing.T) balancer {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	t.Cleanup(app.Close)
	dir, err := os.MkdirTemp("", "haproxy") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := balancer{socket: dir + "/admin.sock", mapFile: dir + "/maintenance.map"}
	write(t, b.mapFile, "site open\n")
	for attempt := 0; ; attempt++ {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		b.url = "http://" + address + "/"
		write(t, dir+"/cfg", fmt.Sprintf(config, b.socket, address, b.mapFile, app.Listener.Addr(), token))
		if run(t, dir+"/cfg", b.socket) {
			return b
		}
		if attempt == 5 {
			t.Fatal("haproxy does not start")
		}
	}
}

// run starts HAProxy and waits for its socket; false when its port was taken.
func run(t *testing.T, cfg, socket string) bool {
	t.Helper()
	cmd := exec.Command("haproxy", "-db", "-f", cfg)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
			return true
		}
		select {
		case <-ended:
			t.Log(said.String())
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func decode(t *testing.T, format string, args ...any) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(maintenance.Maintenance, fmt.Sprintf(format, args...), nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return inst
}

func do(t *testing.T, env *check.Env, inst *check.Instance, want string) check.Outcome {
	t.Helper()
	o, err := inst.Runner.Run(t.Context(), env)
	got := string(o.Verdict) + ": " + o.Reason
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(t, want, got)
	return o
}

func probe(t *testing.T, env *check.Env, inst *check.Instance, want check.Progress) {
	t.Helper()
	got, o, err := inst.Prober().Probe(t.Context(), env)
	if err != nil || got != want {
		t.Errorf("probe: got %s (%s), %v, want %s", got, o.Reason, err, want)
	}
}

// remember puts the facts that an outcome sets into the ledger, as a run does.
func remember(env *check.Env, o check.Outcome) {
	facts := map[string]string{}
	if l, ok := env.Ledger.(*checktest.Ledger); ok {
		for k, v := range l.Facts {
			facts[k] = v
		}
	}
	for k, v := range o.Sets {
		facts[k] = v
	}
	env.Ledger = &checktest.Ledger{Facts: facts}
}

func TestHAProxyMap(t *testing.T) {
	b, env := newBalancer(t), checktest.NewEnv(t)
	checktest.SetSecrets(env, checktest.Secrets{"env:BYPASS": token})
	params := "{do: %s, haproxy: {socket: '" + b.socket + "', map: '" + b.mapFile + "'}, verify: {url: '" + b.url + "', every: 5ms, within: 2s, bypass: {token: 'env:BYPASS'}}, max: 1ns}"
	on, off := decode(t, params, "on"), decode(t, params, "off")
	if on.Traits.Holds != "maintenance" || off.Traits.Releases != "maintenance" || on.Traits.Class != check.Probed || on.Traits.Undo == "" {
		t.Errorf("traits %+v, %+v", on.Traits, off.Traits)
	}
	probe(t, env, on, check.NotDone)
	probe(t, env, off, check.Done)

	o := do(t, env, on, "pass: maintenance is on: ... answers 503, the bypass gets through, 3 times in a row")
	if get(t, b.url) != 503 || o.Sets["maintenance.on_at"] == "" || o.Facts["bypass "+b.url] != "200" {
		t.Errorf("sets %v, facts %v", o.Sets, o.Facts)
	}
	remember(env, o)
	probe(t, env, on, check.Done)
	probe(t, env, off, check.NotDone)
	if again := do(t, env, on, "pass: ..."); len(again.Sets) != 0 {
		t.Errorf("repeating moves the beginning: %v", again.Sets)
	}
	o = do(t, env, off, "pass: maintenance is off: ... answers 200, 3 times in a row; it was on for ..., longer than 1ns")
	if get(t, b.url) != 200 || o.Sets["maintenance.off_at"] == "" || o.Sets["maintenance.seconds"] == "" {
		t.Errorf("sets %v", o.Sets)
	}
	remember(env, o)
	if second := do(t, env, on, "pass: ..."); second.Sets["maintenance.on_at"] == "" {
		t.Errorf("a second maintenance has no beginning: %v", second.Sets)
	}
	if o, err := on.Undoer().Undo(t.Context(), env, o); err != nil || o.Verdict != check.Pass || get(t, b.url) != 200 {
		t.Errorf("undo: %+v, %v", o, err)
	}
	if o, err := off.Undoer().Undo(t.Context(), env, o); err == nil {
		t.Errorf("undo of off: %+v", o)
	}
}

func TestHAProxyServersAndCommands(t *testing.T) {
	b, env := newBalancer(t), checktest.NewEnv(t)
	verify := "verify: {url: '" + b.url + "', every: 5ms, within: 300ms}"
	servers := "{do: %s, haproxy: {socket: '" + b.socket + "', servers: [web/blue]}, " + verify + "}"
	do(t, env, decode(t, servers, "on"), "pass: maintenance is on: ...")
	do(t, env, decode(t, servers, "off"), "pass: maintenance is off: ...")
	own := "{do: %s, haproxy: {socket: '" + b.socket + "', on: ['disable server web/blue'], off: ['enable server web/blue']}, " + verify + "}"
	do(t, env, decode(t, own, "on"), "pass: maintenance is on: ...")
	do(t, env, decode(t, own, "off"), "pass: maintenance is off: ...")

	do(t, env, decode(t, strings.Replace(servers, "web/blue", "web/green", 1), "on"), "fail: haproxy: set server web/green state maint: No such server...")
	do(t, env, decode(t, strings.Replace(servers, "web/blue", "web/blue, web/green", 1), "on"), "fail: haproxy: set server web/green state maint: No such server...; it was taken back")
	if get(t, b.url) != 200 {
		t.Error("half of it was left closed")
	}
	do(t, env, decode(t, "{do: on, haproxy: {socket: '%s', map: '%s', key: gone}, %s}", b.socket, b.mapFile, verify), "fail: haproxy: set map ... gone closed: ...")
	do(t, env, decode(t, "{do: on, haproxy: {socket: '%s.gone', servers: [a/b]}, %s}", b.socket, verify), "error: haproxy: set server a/b state maint: dial unix ...")
}

func TestBypassThatDoesNotWork(t *testing.T) {
	b, env := newBalancer(t), checktest.NewEnv(t)
	checktest.SetSecrets(env, checktest.Secrets{"env:BYPASS": "another-token"})
	params := "{do: on, haproxy: {socket: '" + b.socket + "', map: '" + b.mapFile + "'}, verify: {url: '" + b.url + "', every: 5ms, within: 50ms, bypass: {token: 'env:%s'}}}"
	do(t, env, decode(t, params, "BYPASS"), "fail: it was switched on, but the bypass does not get through: ... answers 503 after 50ms; it was taken back")
	if get(t, b.url) != 200 {
		t.Error("it is closed, although it was taken back")
	}
	do(t, env, decode(t, params, "GONE"), "error: secret env:GONE: not set")
}

// site is an application that looks at a flag file, as many do.
func site(t *testing.T, flag string) (url string, status *atomic.Int64, header *atomic.Value) {
	t.Helper()
	status, header = &atomic.Int64{}, &atomic.Value{}
	header.Store("30")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch _, err := os.Stat(flag); {
		case status.Load() > 0:
			w.WriteHeader(int(status.Load()))
		case err == nil:
			w.Header().Set("Retry-After", header.Load().(string))
			w.WriteHeader(503)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, status, header
}

func TestFileAndCommand(t *testing.T) {
	env := checktest.NewEnv(t)
	flag := filepath.Join(env.Dir, "flag")
	url, status, header := site(t, flag)
	verify := "verify: {url: '" + url + "', every: 2ms, within: 30ms}"
	file := "{do: %s, file: flag, " + verify + "}"
	do(t, env, decode(t, file, "on"), "pass: maintenance is on: ...")
	do(t, env, decode(t, file, "off"), "pass: maintenance is off: ...")
	own := "{do: %s, command: {on: [touch, flag], off: [rm, flag]}, " + verify + "}"
	do(t, env, decode(t, own, "on"), "pass: maintenance is on: ...")
	do(t, env, decode(t, own, "off"), "pass: maintenance is off: ...")
	do(t, env, decode(t, own, "off"), "fail: local: rm ended with exit 1: rm: cannot remove...")
	do(t, env, decode(t, "{do: on, file: no/such/folder, %s}", verify), "fail: local: touch ended with exit 1: ...")
	do(t, env, decode(t, "{do: on, command: {on: [no-such-program-here], off: [a]}, %s}", verify), "error: local: run no-such-program-here: ...")
	do(t, env, decode(t, "{do: on, command: {on: [sh, -c, 'kill -9 $$'], off: [a]}, %s}", verify), "error: local: sh was ended by signal: killed")
	do(t, env, decode(t, "{do: on, file: flag, hosts: [web-9], %s}", verify), `error: unknown host "web-9"`)

	header.Store("soon")
	do(t, env, decode(t, file, "on"), "fail: it was switched on, but ... answers 503 without a valid Retry-After after 30ms; it was taken back")
	if _, err := os.Stat(flag); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the flag is still there: %v", err)
	}
	header.Store("Wed, 21 Oct 2026 07:28:00 GMT")
	do(t, env, decode(t, file, "on"), "pass: ...")
	status.Store(502)
	do(t, env, decode(t, file, "off"), "fail: it was switched off, but ... answers 502, want 200 after 30ms")
	probe(t, env, decode(t, file, "on"), check.Partly)
}

func TestOutsideThatGivesNoAnswer(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closed":    func(c net.Conn) { _ = c.Close() },
		"malformed": func(c net.Conn) { _, _ = c.Write([]byte("garbage\r\n\r\n")); _ = c.Close() },
		"cut": func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: 9\r\n\r\nx"))
			_ = c.Close()
		},
		"hang": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			env := checktest.NewEnv(t)
			env.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				near, far := net.Pipe()
				context.AfterFunc(ctx, func() { _ = far.Close() })
				go func() {
					_, _ = far.Read(make([]byte, 4096))
					serve(far)
				}()
				return near, nil
			}
			for _, word := range []string{"on", "off"} {
				inst := decode(t, "{do: %s, file: flag, verify: {url: 'http://x/', every: 1ms, within: 5ms}}", word)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				if o, err := inst.Runner.Run(ctx, env); err == nil {
					t.Errorf("%s: got %+v", word, o)
				}
				if p, _, err := inst.Prober().Probe(ctx, env); err == nil {
					t.Errorf("%s: probe: got %s", word, p)
				}
				cancel()
			}
		})
	}
}

func TestSocketThatGivesNoAnswer(t *testing.T) {
	for name, reply := range map[string]string{"nothing": "", "cut": "Permission den"} {
		env := checktest.NewEnv(t)
		env.Dial = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				_, _ = far.Read(make([]byte, 4096))
				_, _ = far.Write([]byte(reply))
				_ = far.Close()
			}()
			return near, nil
		}
		inst := decode(t, "{do: on, haproxy: {socket: /s, servers: [a/b]}, verify: 'http://x/'}")
		if o, err := inst.Runner.Run(t.Context(), env); err == nil || !strings.Contains(err.Error(), "the answer is cut") {
			t.Errorf("%s: got %+v, %v", name, o, err)
		}
	}
}

func TestProblems(t *testing.T) {
	checktest.Run(t, maintenance.Maintenance, []checktest.Case{
		{Name: "unknown host", Params: "{do: on, file: flag, hosts: [web-9], verify: 'http://x/'}", Want: `error: unknown host "web-9"`},
		{Name: "no verify", Params: "{do: on, file: flag}", Want: "problem: ...maintenance needs verify..."},
		{Name: "no address", Params: "{do: on, file: flag, verify: []}", Want: "problem: ..."},
		{Name: "no method", Params: "{do: on, verify: 'http://x/'}", Want: "problem: ...needs one of file, command and haproxy"},
		{Name: "two methods", Params: "{do: on, file: a, command: {on: [a], off: [b]}, verify: 'http://x/'}", Want: "problem: ...needs one of file, command and haproxy"},
		{Name: "command without off", Params: "{do: on, command: {on: [a]}, verify: 'http://x/'}", Want: "problem: ...needs off..."},
		{Name: "do", Params: "{do: toggle, file: a, verify: 'http://x/'}", Want: "problem: ...do: unknown value..."},
		{Name: "address", Params: "{do: on, file: a, verify: 'x/y'}", Want: "problem: ...is no http or https address"},
		{Name: "same status", Params: "{do: on, file: a, verify: {url: 'http://x/', off_status: 503}}", Want: "problem: ...are the same"},
		{Name: "second command", Params: "{do: on, haproxy: {socket: s, servers: ['a/b; shutdown']}, verify: 'http://x/'}", Want: "problem: ...may hold only..."},
		{Name: "two lines", Params: `{do: on, haproxy: {socket: s, on: ["a\nb"], off: [c]}, verify: 'http://x/'}`, Want: "problem: ...is not one command"},
		{Name: "haproxy how", Params: "{do: on, haproxy: {socket: s}, verify: 'http://x/'}", Want: "problem: ...haproxy needs one of map, servers, and on with off"},
		{Name: "same values", Params: "{do: on, haproxy: {socket: s, map: m, open: closed}, verify: 'http://x/'}", Want: "problem: ...two different values"},
		{Name: "token written down", Params: "{do: on, file: a, verify: {url: 'http://x/', bypass: {token: hunter2}}}", Want: "problem: ...a secret is a reference..."},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, maintenance.Maintenance) }
