package certificate_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/crypto/ocsp"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/certificate"
)

const name = "tulia.test"

// under gives the parameters for a server, with the family's root trusted.
func under(address string, more ...string) string {
	host, port, _ := net.SplitHostPort(address)
	return "hosts: " + name + ":" + port + "\naddresses: " + host + "\nca: ca.pem\n" + strings.Join(more, "\n")
}

func TestCertificate(t *testing.T) {
	f := newFamily(t)
	trust := func(e *check.Env) { f.write(t, filepath.Join(e.Dir, "ca.pem")) }
	good := f.leaf(t, leaf{})
	full := serve(t, good.full())
	print := fingerprint(good)
	cases := []checktest.Case{
		{Name: "good", Params: under(full), Want: "pass: 1 of 1 addresses show a certificate that is valid for its host; the first one ends in 89 days...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["days_left"] != "89" || o.Facts["fingerprint"] != print || o.Facts["version"] != "TLS 1.3" || len(o.Artefacts) != 1 {
				t.Errorf("%v %v", o.Facts, o.Artefacts)
			}
		}},
		{Name: "fingerprint", Params: under(full, "fingerprint: "+strings.ToUpper(print)), Want: "pass: ..."},
		{Name: "another fingerprint", Params: under(full, "fingerprint: "+strings.Repeat("ab", 32)), Want: "fail: ...which is none of those in fingerprint"},
		{Name: "further name", Params: under(full, "names: www."+name), Want: "pass: ..."},
		{Name: "missing name", Params: under(full, "names: api."+name), Want: "fail: ...is not for api.tulia.test but for..."},
		{Name: "too few days", Params: under(full, "min_days: 90"), Want: "fail: ...with 89 days left (until ...), want at least 90"},
		{Name: "intermediate ends first", Params: under(serve(t, f.leaf(t, leaf{days: 900}).full()), "min_days: 500"), Want: "fail: ...above the server's are not valid for 500 more days"},
		{Name: "expired", Params: under(serve(t, f.leaf(t, leaf{from: -10, days: -3}).full())), Want: "fail: tulia.test at 127.0.0.1...shows a certificate that expired at ..."},
		{Name: "not yet valid", Params: under(serve(t, f.leaf(t, leaf{from: 2, days: 90}).full())), Want: "fail: ...not valid before..."},
		{Name: "wrong name", Params: under(serve(t, f.leaf(t, leaf{names: []string{"other.test"}}).full())), Want: `fail: ...shows a certificate that is not for tulia.test but for ["other.test"]`},
		{Name: "expired and of another name", Params: under(serve(t, f.leaf(t, leaf{from: -10, days: -3, names: []string{"other.test"}}).full())), Want: "fail: ...expired at...; ...is not for..."},
		{Name: "incomplete chain", Params: under(serve(t, good.alone())), Want: "fail: ...has an incomplete chain: the certificate of CN=Intermediate was not sent and is no trusted root"},
		{Name: "self-signed", Params: under(serve(t, selfSigned(t).alone())), Want: "fail: ...is signed by itself (CN=self)"},
		{Name: "unknown root", Params: under(serve(t, newFamily(t).leaf(t, leaf{}).withRoot())), Want: "fail: ...ends in CN=Root, which is not trusted"},
		{Name: "roots of the system", Params: strings.Replace(under(full), "ca: ca.pem\n", "", 1), Want: "fail: ...incomplete chain: the certificate of CN=Root..."},
		{Name: "for clients only", Params: under(serve(t, f.leaf(t, leaf{client: true}).full())), Want: "fail: ...has a chain that is not valid: x509: certificate specifies an incompatible key usage"},
		{Name: "old versions", Params: under(serveWith(t, &tls.Config{Certificates: []tls.Certificate{good.full()}, MinVersion: tls.VersionTLS10})), Want: "fail: ...accepts TLS 1.1, want at least TLS 1.2"},
		{Name: "old versions allowed", Params: under(serveWith(t, &tls.Config{Certificates: []tls.Certificate{good.full()}, MinVersion: tls.VersionTLS10}), "min_tls: 1.0"), Want: "pass: ..."},
		{Name: "only an old version", Params: under(serveWith(t, &tls.Config{Certificates: []tls.Certificate{good.full()}, MaxVersion: tls.VersionTLS12}), "min_tls: 1.3"), Want: "fail: ...speaks TLS 1.2, want at least TLS 1.3"},
		{Name: "nothing stapled", Params: under(full, "stapled: true"), Want: "fail: ...sent no OCSP answer..."},
		{Name: "good stapled", Params: under(serve(t, f.stapled(t, good, ocsp.Good, time.Hour)), "stapled: true"), Want: "pass: ..."},
		{Name: "revoked", Params: under(serve(t, f.stapled(t, good, ocsp.Revoked, time.Hour)), "stapled: true"), Want: "fail: ...was revoked at..."},
		{Name: "stale answer", Params: under(serve(t, f.stapled(t, good, ocsp.Good, -time.Minute)), "stapled: true"), Want: "fail: ...is out of date"},
	}
	for i := range cases {
		cases[i].Env = trust
	}
	checktest.Run(t, certificate.Certificate, cases)
}

func TestNotSeen(t *testing.T) {
	f := newFamily(t)
	good := f.leaf(t, leaf{})
	full := serve(t, good.full())
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	hang := raw(t, func(net.Conn) { <-block })
	plain := raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n") })
	closed := raw(t, func(net.Conn) {})
	// A server that hangs in the second handshake: which versions it takes is not known.
	first := make(chan bool, 1)
	first <- true
	config := &tls.Config{Certificates: []tls.Certificate{good.full()}}
	moody := raw(t, func(c net.Conn) {
		select {
		case <-first:
			_ = tls.Server(c, config).Handshake()
		default:
			<-block
		}
	})
	cases := []checktest.Case{
		{Name: "hang", Params: under(hang), Timeout: 100 * time.Millisecond, Want: "error: ...tulia.test at ...: handshake: context deadline exceeded"},
		{Name: "plain text", Params: under(plain), Want: "error: ...the server does not speak TLS..."},
		{Name: "closed", Params: under(closed), Want: "error: ...handshake: ..."},
		{Name: "nobody", Params: under("127.0.0.1:1"), Want: "error: ...connection refused"},
		{Name: "one of two", Params: strings.Replace(under(full), "addresses: 127.0.0.1", "addresses: [127.0.0.1, 127.0.0.9]", 1), Want: "error: tulia.test at 127.0.0.9...connection refused"},
		{Name: "first that answers", Params: strings.Replace(under(full, "each_ip: false"), "addresses: 127.0.0.1", "addresses: [127.0.0.9, 127.0.0.1]", 1), Want: "pass: 1 of 1..."},
		{Name: "no roots", Params: strings.Replace(under(full), "ca.pem", "gone.pem", 1), Want: "error: read ca: ..."},
		{Name: "empty roots", Params: strings.Replace(under(full), "ca.pem", "empty.pem", 1), Want: "error: ca: empty.pem holds no certificate"},
		{Name: "no such name", Params: "no-such-host.invalid", Env: nowhere, Want: "error: no-such-host.invalid: ..."},
		{Name: "no host", Params: "hosts: []", Want: "problem: ...name at least one"},
		{Name: "an address of the web", Params: "https://tulia.test/", Want: "problem: ...is not a host or host:port"},
		{Name: "not a fingerprint", Params: "hosts: a\nfingerprint: abc", Want: "problem: ...is not a SHA-256..."},
		{Name: "not an address", Params: "hosts: a\naddresses: b", Want: "problem: ...is not an IP address"},
	}
	for i := range cases {
		if cases[i].Env == nil {
			cases[i].Env = func(e *check.Env) {
				f.write(t, filepath.Join(e.Dir, "ca.pem"))
				_ = os.WriteFile(filepath.Join(e.Dir, "empty.pem"), []byte("nothing"), 0o600)
			}
		}
	}
	checktest.Run(t, certificate.Certificate, cases)

	e := checktest.NewEnv(t)
	f.write(t, filepath.Join(e.Dir, "ca.pem"))
	inst, problems := checktest.Decode(certificate.Certificate, under(moody), nil)
	if inst == nil {
		t.Fatal(problems)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	o, err := inst.Runner.Run(ctx, e)
	if err == nil || !strings.Contains(err.Error(), "whether versions before TLS 1.2 are refused is not known") {
		t.Errorf("a server that hangs at old versions: %v, %v", o, err)
	}
}

func nowhere(e *check.Env) {
	e.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, fmt.Errorf("no network") }
}

// TestEveryAddress proves that all addresses of a name are looked at, and that
// one machine with an old certificate is found among them.
func TestEveryAddress(t *testing.T) {
	f := newFamily(t)
	fresh, old := f.leaf(t, leaf{}), f.leaf(t, leaf{days: 3})
	one := serve(t, fresh.full())
	_, port, _ := net.SplitHostPort(one)
	serveAt(t, "127.0.0.2:"+port, old.full())
	names := nameServer(t, map[string][]string{name + ".": {"127.0.0.1", "127.0.0.2"}})
	env := func(e *check.Env) {
		f.write(t, filepath.Join(e.Dir, "ca.pem"))
		dial := e.Dial
		e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasSuffix(address, ":53") {
				address = names
			}
			return dial(ctx, network, address)
		}
	}
	params := "hosts: " + name + ":" + port + "\nfamily: ip4\nca: ca.pem\n"
	checktest.Run(t, certificate.Certificate, []checktest.Case{
		{Name: "one is old", Params: params, Env: env, Want: "fail: tulia.test at 127.0.0.2:" + port + " shows a certificate with 2 days left (...), want at least 14"},
		{Name: "short is fine", Params: params + "min_days: 1", Env: env, Want: "pass: 2 of 2 addresses...ends in 2 days...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["certificates"] != "2" || o.Facts["addresses"] != "2" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "not the same", Params: params + "min_days: 1\nsame: true", Env: env, Want: "fail: ...127.0.0.2:" + port + " shows another certificate than 127.0.0.1:" + port},
		{Name: "one of two is enough", Params: params + "each_ip: false", Env: env, Want: "pass: 1 of 1..."},
	})
}

// TestStartTLS proves that TLS is asked for within SMTP and PostgreSQL.
func TestStartTLS(t *testing.T) {
	f := newFamily(t)
	config := &tls.Config{Certificates: []tls.Certificate{f.leaf(t, leaf{}).full()}}
	smtp := func(offer string) func(net.Conn) {
		return func(c net.Conn) {
			in := bufio.NewReader(c)
			_, _ = io.WriteString(c, "220-hello\r\n220 there\r\n")
			_, _ = in.ReadString('\n')
			_, _ = io.WriteString(c, "250-tulia\r\n250-"+offer+"\r\n250 SIZE 1000\r\n")
			if line, _ := in.ReadString('\n'); line == "STARTTLS\r\n" {
				_, _ = io.WriteString(c, "220 go\r\n")
				_ = tls.Server(c, config).Handshake()
			}
		}
	}
	pg := func(answer string) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
				return
			}
			_, _ = io.WriteString(c, answer)
			_ = tls.Server(c, config).Handshake()
		}
	}
	trust := func(e *check.Env) { f.write(t, filepath.Join(e.Dir, "ca.pem")) }
	checktest.Run(t, certificate.Certificate, []checktest.Case{
		{Name: "smtp", Params: under(raw(t, smtp("STARTTLS")), "starttls: smtp"), Env: trust, Want: "pass: ..."},
		{Name: "smtp without", Params: under(raw(t, smtp("8BITMIME")), "starttls: smtp"), Env: trust, Want: "fail: ...offers no STARTTLS"},
		{Name: "not smtp", Params: under(raw(t, pg("x\n")), "starttls: smtp"), Timeout: 100 * time.Millisecond, Env: trust, Want: "error: ...ask for TLS: ..."},
		{Name: "postgres", Params: under(raw(t, pg("S")), "starttls: postgres"), Env: trust, Want: "pass: ..."},
		{Name: "postgres without", Params: under(raw(t, pg("N")), "starttls: postgres"), Env: trust, Want: "fail: ...offers no TLS"},
		{Name: "not postgres", Params: under(raw(t, pg("E")), "starttls: postgres"), Env: trust, Want: `error: ...not an answer of PostgreSQL: "E"`},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, certificate.Certificate) }

// nameServer answers questions for addresses from a table.
func nameServer(t *testing.T, table map[string][]string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for _, a := range table[q.Question[0].Name] {
			if q.Question[0].Qtype == dns.TypeA {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(a)})
			}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return conn.LocalAddr().String()
}
