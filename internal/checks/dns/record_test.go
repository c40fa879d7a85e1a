package dns_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	client "github.com/miekg/dns"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/dns"
)

const zone = `$TTL 300
@ IN SOA ns1.tulia.test. admin.tulia.test. %d 3600 600 86400 60
@ IN NS ns1.tulia.test.
@ IN NS ns2.tulia.test.
ns1 IN A 127.0.0.1
ns2 IN A 127.0.0.2
@ IN CAA 0 issue "letsencrypt.org"
@ IN CAA 0 issue "sectigo.com; policy=ev"
@ IN CAA 0 iodef "mailto:admin@tulia.test"
free IN CAA 0 issue ";"
@ IN MX 10 Mail.tulia.test.
@ IN TXT "v=spf1 ip4:192.0.2.0/24 " "-all"
api 60 IN A 192.0.2.10
api 60 IN A %s
v6 IN AAAA 2001:db8::1
www IN CNAME api.tulia.test.
out IN CNAME elsewhere.example.
_sip._tcp IN SRV 1 2 5060 sip.tulia.test.
slow 86400 IN A 192.0.2.1
%s`

// serve starts a real NSD on two addresses of a free port. The zone ns2 serves is
// the same unless second changes api's second address there.
func serve(t *testing.T, address, port, secondAPI string, serial int) {
	t.Helper()
	dir := t.TempDir()
	big := ""
	for i := range 40 {
		big += fmt.Sprintf("big IN TXT \"%03d %s\"\n", i, strings.Repeat("x", 60))
	}
	write(t, filepath.Join(dir, "tulia.zone"), fmt.Sprintf(zone, serial, secondAPI, big))
	write(t, filepath.Join(dir, "nsd.conf"), fmt.Sprintf(`server:
  ip-address: %s@%s
  username: ""
  database: ""
  zonesdir: %q
  pidfile: ""
  xfrdfile: %q
  zonelistfile: %q
  xfrdir: %q
  server-count: 1
  verbosity: 1
remote-control:
  control-enable: no
zone:
  name: tulia.test
  zonefile: tulia.zone
zone:
  name: broken.test
  zonefile: gone.zone
`, address, port, dir, filepath.Join(dir, "xfrd"), filepath.Join(dir, "list"), dir))
	cmd := exec.Command("/usr/sbin/nsd", "-d", "-c", filepath.Join(dir, "nsd.conf"))
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
	started := make(chan string, 1)
	go func() {
		said := ""
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if said += lines.Text() + "\n"; strings.Contains(lines.Text(), "nsd started") {
				started <- ""
			}
		}
		started <- said
	}()
	if said := <-started; said != "" {
		t.Fatal("nsd did not start: ", said)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freePort gives a port that is free on both addresses for UDP and TCP.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// through sends what is meant for port 53 to the port of the test's servers; the
// machine's own resolver is the first of them.
func through(port string) func(*check.Env) {
	return func(e *check.Env) {
		dial := e.Dial
		e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			host, p, _ := net.SplitHostPort(address)
			if p == "53" {
				p = port
			}
			return dial(ctx, network, net.JoinHostPort(host, p))
		}
	}
}

func TestRecord(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.1", port, "192.0.2.11", 7)
	serve(t, "127.0.0.2", port, "192.0.2.11", 7)
	one := "127.0.0.1:" + port
	both := "resolvers: [authoritative, 127.0.0.1]\n"
	cases := []checktest.Case{
		{Name: "values", Params: both + "name: api.tulia.test\nvalues: [192.0.2.11, 192.0.2.10]\nttl: 5m", Want: "pass: A api.tulia.test is 192.0.2.10, 192.0.2.11 at 3 of 3 servers", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["serial.ns2.tulia.test@127.0.0.2"] != "7" || o.Facts["answer.ns1.tulia.test@127.0.0.1"] != "192.0.2.10, 192.0.2.11 (TTL 1m0s)" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "one is missing", Params: both + "name: api.tulia.test\nvalues: [192.0.2.10]", Want: "fail: ns1.tulia.test@127.0.0.1: A api.tulia.test is 192.0.2.10, 192.0.2.11, want 192.0.2.10; ..."},
		{Name: "contains", Params: both + "name: api.tulia.test\nvalues: [192.0.2.10]\nmatch: contains", Want: "pass: ..."},
		{Name: "contains not", Params: both + "name: api.tulia.test\nvalues: [192.0.2.99]\nmatch: contains", Want: "fail: ..."},
		{Name: "IPv6 in another spelling", Params: both + "name: v6.tulia.test\ntype: AAAA\nvalues: ['2001:0db8:0:0::1']", Want: "pass: ..."},
		{Name: "mail", Params: both + "name: tulia.test\ntype: MX\nvalues: [10 mail.tulia.test]", Want: "pass: MX tulia.test is 10 mail.tulia.test..."},
		{Name: "text in parts", Params: both + "name: tulia.test\ntype: TXT\nvalues: ['v=spf1 ip4:192.0.2.0/24 -all']", Want: "pass: ..."},
		{Name: "service", Params: both + "name: _sip._tcp.tulia.test\ntype: SRV\nvalues: [1 2 5060 sip.tulia.test.]", Want: "pass: ..."},
		{Name: "alias followed in the zone", Params: both + "name: www.tulia.test\nvalues: [192.0.2.11, 192.0.2.10]", Want: "pass: ..."},
		{Name: "alias", Params: both + "name: www.tulia.test\ntype: CNAME\nvalues: [API.tulia.test.]", Want: "pass: ..."},
		{Name: "alias that leads out", Params: both + "name: out.tulia.test", Want: "fail: 127.0.0.1: A out.tulia.test: no record A"},
		{Name: "alias that leads out of the authority", Params: "resolvers: authoritative\nname: out.tulia.test", Env: through(port), Want: "error: ...is an alias of elsewhere.example, which another zone knows..."},
		{Name: "kept too long", Params: both + "name: slow.tulia.test\nttl: 5m", Want: "fail: ...may be kept for 24h0m0s, want at most 5m0s; ..."},
		{Name: "NXDOMAIN", Params: both + "name: gone.tulia.test", Want: "fail: ns1.tulia.test@127.0.0.1: A gone.tulia.test: NXDOMAIN; ..."},
		{Name: "no data", Params: both + "name: api.tulia.test\ntype: MX", Want: "fail: ...MX api.tulia.test: no record MX; ..."},
		{Name: "absent", Params: both + "name: gone.tulia.test\nabsent: true", Want: "pass: A gone.tulia.test does not exist at 3 of 3 servers"},
		{Name: "not absent", Params: both + "name: api.tulia.test\nabsent: true", Want: "fail: ...is 192.0.2.10, 192.0.2.11, want none; ..."},
		{Name: "over TCP", Params: "name: big.tulia.test\ntype: TXT\nresolvers: [" + one + "]", Want: "pass: TXT big.tulia.test is 000 xxx...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["tcp."+one] != "true" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "CAA from above", Params: both + "name: api.tulia.test\ncaa: [sectigo.com, letsencrypt.org]", Want: "pass: ..."},
		{Name: "CAA too many", Params: both + "name: api.tulia.test\ncaa: letsencrypt.org", Want: "fail: ...CAA of tulia.test lets [letsencrypt.org, sectigo.com] issue, want [letsencrypt.org]; ..."},
		{Name: "CAA nobody", Params: both + "name: free.tulia.test\ntype: CAA\ncaa: letsencrypt.org", Want: "fail: ...CAA of free.tulia.test lets [] issue..."},
		{Name: "CAA as records", Params: both + "name: free.tulia.test\ntype: CAA\nvalues: [0 issue ;]", Want: "pass: ..."},
		{Name: "SERVFAIL", Params: "name: api.broken.test\nresolvers: [" + one + "]", Want: "error: ...answered SERVFAIL"},
		{Name: "REFUSED", Params: "name: api.other.test\nresolvers: [" + one + "]", Want: "error: ...answered REFUSED"},
		{Name: "zone not found", Params: "api.other.test", Want: "error: find the name servers of api.other.test: ...answered REFUSED"},
	}
	for i := range cases {
		if cases[i].Env == nil {
			cases[i].Env = through(port)
		}
		if cases[i].Name == "zone not found" {
			cases[i].Params = "name: api.other.test\nresolvers: [authoritative, 127.0.0.1]"
		}
		if cases[i].Name == "alias that leads out of the authority" {
			cases[i].Env = system(port)
		}
	}
	checktest.Run(t, dns.Record, cases)
}

// system also makes the test's first server this machine's resolver.
func system(port string) func(*check.Env) {
	return func(e *check.Env) {
		dial := e.Dial
		e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			if host != "127.0.0.2" {
				host = "127.0.0.1"
			}
			return dial(ctx, network, net.JoinHostPort(host, port))
		}
	}
}

// TestDisagreement proves that a name server with an older zone is found.
func TestDisagreement(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.1", port, "192.0.2.11", 8)
	serve(t, "127.0.0.2", port, "192.0.2.12", 7)
	checktest.Run(t, dns.Record, []checktest.Case{
		{Name: "disagree", Params: "api.tulia.test", Env: system(port), Want: "fail: ns1.tulia.test@127.0.0.1 and ns2.tulia.test@127.0.0.2 disagree: [192.0.2.10, 192.0.2.11] and [192.0.2.10, 192.0.2.12]", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["serial.ns1.tulia.test@127.0.0.1"] != "8" || o.Facts["serial.ns2.tulia.test@127.0.0.2"] != "7" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "may disagree", Params: "name: api.tulia.test\nagree: false", Env: system(port), Want: "pass: ..."},
		{Name: "one has it", Params: "name: api.tulia.test\nvalues: [192.0.2.12, 192.0.2.10]", Env: system(port), Want: "fail: ns1.tulia.test@127.0.0.1: A api.tulia.test is 192.0.2.10, 192.0.2.11, want...; ...disagree..."},
	})
}

func TestNotKnown(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	answer := func(change func(m *client.Msg)) string {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &client.Server{PacketConn: conn, Handler: client.HandlerFunc(func(w client.ResponseWriter, q *client.Msg) {
			m := new(client.Msg).SetReply(q)
			change(m)
			_ = w.WriteMsg(m)
		})}
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
		return conn.LocalAddr().String()
	}
	of := func(server string) string { return "name: api.tulia.test\nresolvers: [\"" + server + "\"]" }
	checktest.Run(t, dns.Record, []checktest.Case{
		{Name: "silent", Params: of(silent.LocalAddr().String()), Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded..."},
		{Name: "nobody", Params: of("127.0.0.1:1"), Want: "error: ...connection refused"},
		{Name: "another question", Params: of(answer(func(m *client.Msg) { m.Question[0].Name = "evil.test." })), Want: "error: ...malformed answer: it belongs to another question"},
		{Name: "a question", Params: of(answer(func(m *client.Msg) { m.Response = false })), Want: "error: ...malformed answer..."},
		{Name: "empty", Params: of(answer(func(*client.Msg) {})), Want: "error: ...neither speaks for api.tulia.test nor looks elsewhere"},
		{Name: "empty of a resolver", Params: of(answer(func(m *client.Msg) { m.RecursionAvailable = true })), Want: "fail: ...no record A"},
		{Name: "another name", Params: of(answer(func(m *client.Msg) { m.Rcode = client.RcodeNotImplemented })), Want: "error: ...answered NOTIMP"},
		{Name: "no name", Params: "name: 'a b'", Want: "problem: ...is not a domain name"},
		{Name: "no address", Params: "name: a.test\nvalues: [b]", Want: "problem: ...is not the data of a record A"},
		{Name: "no resolver", Params: "name: a.test\nresolvers: [dns.google]", Want: "problem: ...want authoritative, system or an address..."},
		{Name: "absent and values", Params: "name: a.test\nabsent: true\nvalues: [192.0.2.1]", Want: "problem: ...absent leaves nothing..."},
		{Name: "type", Params: "name: a.test\ntype: AA", Want: "problem: ...unknown value \"AA\"..."},
	})
}

// TestRoutes proves that a name server without a route to it makes no verdict.
func TestRoutes(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.1", port, "192.0.2.11", 8)
	serve(t, "127.0.0.2", port, "192.0.2.11", 8)
	inst, problems := checktest.Decode(dns.Record, "api.tulia.test", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	e := checktest.NewEnv(t)
	system(port)(e)
	dial := e.Dial
	e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "127.0.0.2") {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ENETUNREACH}
		}
		return dial(ctx, network, address)
	}
	if o, err := inst.Runner.Run(t.Context(), e); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("a name server that was not heard at all: %v, %v", o, err)
	}
}

func TestPage(t *testing.T) { checktest.Page(t, dns.Record) }
