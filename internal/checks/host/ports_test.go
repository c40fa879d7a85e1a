package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/host"
	"allclear.dev/allclear/internal/transport"
)

// listens gives a port of 127.0.0.1 that is open.
func listens(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return port(l.Addr().(*net.TCPAddr).Port)
}

func port(n int) string { return strconv.Itoa(n) }

// refuses gives a port that is bound, so that nobody takes it, but not listened on.
func refuses(t *testing.T) string {
	t.Helper()
	return port(bound(t, -1))
}

// silent gives a port whose queue is full: Linux drops the first packet of further
// connections, as a firewall does.
func silent(t *testing.T) string {
	t.Helper()
	n := bound(t, 0)
	for range 2 {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port(n), 200*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
	return port(n)
}

func bound(t *testing.T, queue int) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if err == nil && queue >= 0 {
		err = syscall.Listen(fd, queue)
	}
	name, err2 := syscall.Getsockname(fd)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return name.(*syscall.SockaddrInet4).Port
}

func TestPortsFromHere(t *testing.T) {
	up, down, mute := listens(t), refuses(t), silent(t)
	p := func(text string) string {
		return strings.NewReplacer("UP", up, "DOWN", down, "MUTE", mute).Replace("{targets: [127.0.0.1], connect_within: 300ms, " + text + "}")
	}
	answers := func(err error) func(*check.Env) {
		return func(env *check.Env) {
			real := env.Dial
			env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.HasSuffix(address, ":"+up) {
					return real(ctx, network, address)
				}
				return nil, &net.OpError{Op: "dial", Err: err}
			}
		}
	}
	checktest.Run(t, host.Ports, []checktest.Case{
		{Name: "as wanted", Params: p("open: [UP], closed: [DOWN, MUTE]"), NetworkIsAnswer: true, Want: "pass: 127.0.0.1 from here: 1 open, 1 refused, 1 filtered", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["127.0.0.1 from here open"] != up || o.Facts["127.0.0.1 from here refused"] != down || o.Facts["127.0.0.1 from here filtered"] != mute {
				t.Errorf("facts: %v", o.Facts)
			}
		}},
		{Name: "open that should be closed", Params: p("closed: [UP], control: '127.0.0.1:UP'"), NetworkIsAnswer: true, Want: "fail: port " + up + " of 127.0.0.1 from here is open, want closed"},
		{Name: "refused that should be filtered", Params: p("open: [UP], filtered: [DOWN]"), NetworkIsAnswer: true, Want: "fail: port " + down + " of 127.0.0.1 from here is refused, want filtered"},
		{Name: "filtered", Params: p("open: [UP], filtered: [MUTE]"), NetworkIsAnswer: true, Want: "pass: ...1 open, 0 refused, 1 filtered"},
		{Name: "closed that should be open", Params: p("open: [UP, DOWN]"), NetworkIsAnswer: true, Want: "fail: port " + down + " of 127.0.0.1 from here is refused, want open"},
		{Name: "nothing is open", Params: p("open: [DOWN], closed: [MUTE]"), Want: "error: from here none of the ports of 127.0.0.1 that must be open is (" + down + " refused): whether they are closed or the way there is cannot be told; give a control"},
		{Name: "nothing is open, but the control is", Params: p("open: [DOWN], control: '127.0.0.1:UP'"), NetworkIsAnswer: true, Want: "fail: port " + down + " ... want open"},
		{Name: "the control is closed", Params: p("closed: [MUTE], control: '127.0.0.1:DOWN'"), Want: "error: the control 127.0.0.1:" + down + ", which must be open, cannot be reached from here: it is refused"},
		{Name: "no route", Params: p("open: [UP], closed: [1]"), Env: answers(syscall.EHOSTUNREACH), NetworkIsAnswer: true, Want: "pass: ...1 filtered"},
		{Name: "no network", Params: p("open: [UP], closed: [1]"), Env: answers(syscall.ENETUNREACH), Want: "error: 127.0.0.1 from here: port 1: ...network is unreachable"},
		{Name: "no such name", Params: p("open: [UP], closed: [1]"), Env: answers(&net.DNSError{Err: "no such host", IsNotFound: true}), Want: "error: ...no such host"},
		{Name: "a reset", Params: p("open: [UP], closed: [1]"), Env: answers(syscall.ECONNRESET), Want: "error: ...connection reset by peer"},
		{Name: "everything hangs", Params: p("open: [UP], closed: [MUTE]"), Env: func(env *check.Env) {
			env.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		}, Want: "error: from here none of the ports ... filtered): whether ..."},
		{Name: "time runs out", Params: p("open: [UP], closed: [MUTE], connect_within: 20s"), Want: "problem: ..."},
		{Name: "the item's own time runs out", Params: strings.Replace(p("open: [UP], closed: [MUTE]"), "300ms", "20s", 1), Timeout: 200 * time.Millisecond, Want: "error: 127.0.0.1 from here: port ..."},
		{Name: "unknown vantage", Params: p("open: [UP], from: [web-9]"), Want: `error: unknown host "web-9"`},
	})
}

func TestPortsParameters(t *testing.T) {
	var cases []checktest.Case
	for params, want := range map[string]string{
		"{}":                                              "needs open, closed or filtered",
		"{open: [80]}":                                    "targets goes with",
		"{targets: [a]}":                                  "needs open",
		"{targets: [a], closed: [22]}":                    "need a port in open or a control",
		"{targets: [-x], open: [22]}":                     "is no name and no address",
		"{targets: ['a b'], open: [22]}":                  "is no name and no address",
		"{targets: [a], open: [0]}":                       "want a port",
		"{targets: [a], open: [65536]}":                   "want a port",
		"{targets: [a], open: [90-80]}":                   "want a port",
		"{targets: [a], open: [1-2000]}":                  "more than 1024 ports",
		"{targets: [a], open: [http]}":                    "want a port",
		"{listen: ['443']}":                               "want ADDRESS:PORT",
		"{listen: ['localhost:443']}":                     "want an IP address",
		"{listen: ['*:443'], from: [a]}":                  "control and from go with targets",
		"{ruleset: pf}":                                   "unknown value",
		"{listen: ['*:1'], ruleset_sha256: a}":            "goes with ruleset",
		"{targets: [a], open: [22], control: a}":          "is not host:port",
		"{targets: [a], open: [20-30], closed: [22]}":     "port 22 stands in open and closed",
		"{targets: [a], open: [22], on: [web-1]}":         "on is for listen and ruleset",
		"{targets: [a], open: [22], connect_within: 1ms}": "connect_within is between",
	} {
		cases = append(cases, checktest.Case{Name: params, Params: params, Want: "problem: ..." + want + "..."})
	}
	checktest.Run(t, host.Ports, cases)
	checktest.Page(t, host.Ports)
}

// From another host, OpenBSD's nc is asked; here over the shell of a container.
func TestPortsFromAHost(t *testing.T) {
	if _, err := exec.LookPath("nc"); err != nil {
		t.Fatal("nc is missing: apt-get install netcat-openbsd")
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\nshift 4\nexec dash \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	box, err := transport.Open("box", transport.Spec{Docker: &transport.Docker{Container: "box"}}, &transport.Local{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	up, down, mute := listens(t), refuses(t), silent(t)
	in := func(env *check.Env) { env.Host = func(string) (check.Host, error) { return box, nil } }
	says := func(code int, stderr string) func(*check.Env) {
		return func(env *check.Env) {
			env.Host = func(string) (check.Host, error) {
				return program{check.Result{Code: code, Stderr: []byte(stderr)}, nil}, nil
			}
		}
	}
	params := fmt.Sprintf("{targets: [127.0.0.1], from: [box], connect_within: 1s, open: [%s], closed: [%s, %s]}", up, down, mute)
	checktest.Run(t, host.Ports, []checktest.Case{
		{Name: "as wanted", Params: params, Env: in, Want: "pass: 127.0.0.1 from box: 1 open, 1 refused, 1 filtered"},
		{Name: "no nc", Params: params, Env: says(127, "nc: not found"), Want: "error: ...nc: exit 127 : nc: not found"},
		{Name: "no such name", Params: params, Env: says(1, "nc: getaddrinfo for host \"x\" port 1: Name or service not known"), Want: "error: ...not known"},
		{Name: "no network", Params: params, Env: says(1, "nc: connect to x port 1 (tcp) failed: Network is unreachable"), Want: "error: ...unreachable"},
		{Name: "no answer", Params: params, Env: func(env *check.Env) {
			env.Host = func(string) (check.Host, error) { return program{err: io.ErrUnexpectedEOF}, nil }
		}, Want: "error: ...unexpected EOF"},
	})
}

// program is a host on which every program ends the same way.
type program struct {
	result check.Result
	err    error
}

func (program) Name() string { return "web-1" }

func (p program) Exec(ctx context.Context, _ check.Command) (check.Result, error) {
	return p.result, errors.Join(p.err, ctx.Err())
}
func (program) ReadFile(context.Context, string, int64) ([]byte, error) { return nil, os.ErrNotExist }
func (program) Lstat(context.Context, string) (check.FileInfo, error) {
	return check.FileInfo{}, os.ErrNotExist
}
func (program) Glob(context.Context, string) ([]string, error) { return nil, nil }

const (
	head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	rest = " 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0\n"
	// db is 10.0.0.5:5432, loop is 127.0.0.1:6379, web is 0.0.0.0:443, talk is a
	// connection that stands.
	db   = "   0: 0500000A:1538 00000000:0000 0A" + rest
	loop = "   1: 0100007F:18EB 00000000:0000 0A" + rest
	web  = "   2: 00000000:01BB 00000000:0000 0A" + rest
	talk = "   3: 0500000A:9999 0100000A:01BB 01" + rest
	// web6 is [::]:443, mapped is ::ffff:10.0.0.5 port 9100, loop6 is [::1]:25.
	web6   = "   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A" + rest
	mapped = "   1: 0000000000000000FFFF00000500000A:238C 00000000000000000000000000000000:0000 0A" + rest
	loop6  = "   2: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A" + rest
)

func TestPortsListeners(t *testing.T) {
	on := func(tcp, tcp6 string) func(*check.Env) {
		step := 0
		files := map[string]string{}
		if tcp != "" {
			files["/proc/net/tcp"] = tcp
		}
		if tcp6 != "" {
			files["/proc/net/tcp6"] = tcp6
		}
		return func(env *check.Env) {
			env.Host = func(string) (check.Host, error) { return fake{name: "web-1", files: files, step: &step}, nil }
		}
	}
	const all = "{listen: ['*:443', '10.0.0.5:5432', '10.0.0.5:9000-9200'], on: [web-1]}"
	checktest.Run(t, host.Ports, []checktest.Case{
		{Name: "all allowed", Params: all, Env: on(head+db+loop+web+talk, head+web6+mapped+loop6), Want: "pass: web-1: 4 sockets listen beyond loopback, all allowed", Check: func(t *testing.T, o check.Outcome) {
			if want := "0.0.0.0:443 (user 1000), 10.0.0.5:5432"; !strings.Contains(o.Facts["web-1 listens"], "10.0.0.5:9100 (user 1000)") || !strings.Contains(o.Facts["web-1 listens"], want[:11]) {
				t.Errorf("facts: %v", o.Facts)
			}
		}},
		{Name: "a stranger", Params: "{listen: ['*:443'], on: [web-1]}", Env: on(head+db+loop+web, head), Want: "fail: web-1: 10.0.0.5:5432 (user 1000) listens, which is not allowed"},
		{Name: "another address", Params: "{listen: ['*:443', '10.0.0.6:*']}", Env: on(head+db+web, ""), Want: "fail: ...10.0.0.5:5432...not allowed"},
		{Name: "every address is more than one", Params: "{listen: ['10.0.0.5:443']}", Env: on(head+web, ""), Want: "fail: ...0.0.0.0:443...not allowed"},
		{Name: "nothing listens", Params: all, Env: on(head, head), Want: "pass: web-1: 0 sockets listen beyond loopback, all allowed"},
		{Name: "without IPv6", Params: all, Env: on(head+web, ""), Want: "pass: web-1: 1 sockets..."},
		{Name: "no table", Params: all, Env: on("", head), Want: "error: web-1: open /proc/net/tcp: file does not exist"},
		{Name: "no headings", Params: all, Env: on(web, head), Want: "error: ...are not those of a table of sockets"},
		{Name: "cut", Params: all, Env: on(head+web+db[:30], head), Want: "error: ...is malformed"},
		{Name: "no address", Params: all, Env: on(head+strings.Replace(web, "00000000:01BB", "0000:01BB", 1), head), Want: "error: ...is malformed"},
		{Name: "unknown host", Params: all, Want: `error: unknown host "web-1"`},
	})
}

// What the kernel of this machine tells is what this test does.
func TestPortsListenersHere(t *testing.T) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := l.Addr().(*net.TCPAddr).Port
	checktest.Run(t, host.Ports, []checktest.Case{
		{Name: "everything", Params: "{listen: ['*:*']}", Want: "pass: ..."},
		{Name: "all but one", Params: fmt.Sprintf("{listen: ['*:1-%d', '*:%d-65535']}", n-1, n+1), Want: "fail: local: 0.0.0.0:" + port(n) + " (user ...) listens, which is not allowed"},
	})
}

// rules is what "nft -j list ruleset" prints, as libnftables-json(5) describes it.
const rules = `{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
 {"table": {"family": "inet", "name": "filter", "handle": 1}},
 {"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 4, "expr": [{"counter": {"packets": 17, "bytes": 1500}}, {"drop": null}]}}]}`

func TestPortsRuleset(t *testing.T) {
	says := func(stdout string) func(*check.Env) {
		return func(env *check.Env) {
			env.Host = func(string) (check.Host, error) { return program{check.Result{Stdout: []byte(stdout)}, nil}, nil }
		}
	}
	var digest string
	checktest.Run(t, host.Ports, []checktest.Case{
		{Name: "rules", Params: "{ruleset: nft}", Env: says(rules), Want: "pass: web-1: nft's rules have sha256 ...", Check: func(_ *testing.T, o check.Outcome) {
			digest = o.Facts["web-1 ruleset sha256"]
		}},
		{Name: "no rules", Params: "{ruleset: nft}", Env: says(`{"nftables": [{"metainfo": {}}]}`), Want: "fail: web-1: nft is off or has no rules"},
		{Name: "no list", Params: "{ruleset: nft}", Env: says(`{}`), Want: "error: web-1: nft: no list of rules: ..."},
		{Name: "malformed", Params: "{ruleset: nft}", Env: says(`{"nftables": [`), Want: "error: web-1: nft: no list of rules: ..."},
		{Name: "ufw", Params: "{ruleset: ufw}", Env: says("Status: active\nDefault: deny (incoming)\n"), Want: "pass: ..."},
		{Name: "ufw is off", Params: "{ruleset: ufw}", Env: says("Status: inactive\n"), Want: "fail: web-1: ufw is off or has no rules"},
		{Name: "ufw says nothing", Params: "{ruleset: ufw}", Env: says(""), Want: "error: ...tells no status"},
		{Name: "not root", Params: "{ruleset: ufw}", Env: func(env *check.Env) {
			env.Host = func(string) (check.Host, error) {
				return program{check.Result{Code: 1, Stderr: []byte("ERROR: You need to be root to run this script")}, nil}, nil
			}
		}, Want: "error: web-1: ufw: exit 1 : ERROR: You need to be root..."},
	})
	again := strings.NewReplacer("17", "99", "1500", "1", `"handle": 4`, `"handle": 7`, "1.0.6", "1.1.0").Replace(rules)
	other := strings.Replace(rules, "drop", "accept", 1)
	checktest.Run(t, host.Ports, []checktest.Case{
		{Name: "the same rules", Params: "{ruleset: nft, ruleset_sha256: " + digest + "}", Env: says(again), Want: "pass: ..."},
		{Name: "other rules", Params: "{ruleset: nft, ruleset_sha256: " + digest + "}", Env: says(other), Want: "fail: web-1: the rules have sha256 ..., want " + digest},
	})
}
