package mail_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/mail"
	"allclear.dev/allclear/internal/mail/mailtest"
)

// zone holds senders of every kind; the keys are put in.
const zone = `$TTL 300
@ IN SOA ns1.tulia.test. admin.tulia.test. 1 3600 600 86400 60
@ IN NS ns1.tulia.test.
ns1 IN A 127.0.0.1
@ IN TXT "v=spf1 a mx:tulia.test include:_spf.provider.tulia.test " "-all"
@ IN TXT "some-site-verification=x"
_spf.provider IN TXT "v=spf1 ip4:192.0.2.0/24 include:_spf2.provider.tulia.test ?all"
_spf2.provider IN TXT "v=spf1 ip6:2001:db8::/32 ~all"
_dmarc IN TXT "v=DMARC1; p=quarantine; sp=none; rua=mailto:dmarc@tulia.test"
s1._domainkey IN TXT "v=DKIM1; k=rsa; p=%s" "%s"
ed._domainkey IN TXT "v=DKIM1; k=ed25519; p=%s"
short._domainkey IN TXT "p=%s"
revoked._domainkey IN TXT "v=DKIM1; p="
trial._domainkey IN TXT "v=DKIM1; t=y; k=ed25519; p=%s"
junk._domainkey IN TXT "v=DKIM1; p=!!"
open IN TXT "v=spf1 +all"
silent IN TXT "v=spf1 ip4:192.0.2.1"
two IN TXT "v=spf1 -all"
two IN TXT "v=spf1 ~all"
loop IN TXT "v=spf1 include:loop.tulia.test -all"
hole IN TXT "v=spf1 include:nothing.tulia.test -all"
typo IN TXT "v=spf1 ipv4:192.0.2.1 -all"
moved IN TXT "v=spf1 redirect=two2.tulia.test"
two2 IN TXT "v=spf1 ip4:192.0.2.7 -all"
_dmarc.two IN TXT "v=DMARC1; p=none"
_dmarc.two IN TXT "v=DMARC1; p=reject"
_dmarc.bad IN TXT "v=DMARC1; rua=mailto:a@b.test"
_dmarc.strict IN TXT "v=DMARC1; p=reject"
`

// keys gives public keys in base64: RSA of 2048 bits, Ed25519, RSA of 512 bits.
func keys(t *testing.T) (long, modern, short string) {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	pub := func(bits int) string {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(der)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pub(2048), base64.StdEncoding.EncodeToString(public), pub(512)
}

// nsd starts a real name server for the zone and gives its address.
func nsd(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	long, modern, short := keys(t)
	write(t, filepath.Join(dir, "tulia.zone"), fmt.Sprintf(zone, long[:200], long[200:], modern, short, modern))
	write(t, filepath.Join(dir, "nsd.conf"), fmt.Sprintf(`server:
  ip-address: 127.0.0.1@%[1]s
  username: ""
  database: ""
  zonesdir: %[2]q
  pidfile: ""
  xfrdfile: "%[2]s/xfrd"
  zonelistfile: "%[2]s/list"
  xfrdir: %[2]q
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
`, port, dir))
	const program = "/usr/sbin/nsd"
	if _, err := os.Stat(program); err != nil {
		t.Fatal("the test needs NSD: apt-get install nsd")
	}
	cmd := exec.Command(program, "-d", "-c", filepath.Join(dir, "nsd.conf"))
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
	return "127.0.0.1:" + port
}

func TestNames(t *testing.T) {
	server, dns := mailtest.New(t, mailtest.Options{}), nsd(t)
	mute, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	of := func(domain, resolver string, records ...string) string {
		return fmt.Sprintf("host: localhost\nport: %d\ntls: none\nfrom: app@%s\nresolvers: %q\ndns: [%s]", server.Port, domain, resolver, strings.Join(records, ", "))
	}
	at := func(domain string, records ...string) string { return of(domain, dns, records...) }
	checktest.Run(t, mail.SMTP, []checktest.Case{
		{Name: "all", Params: at("tulia.test", "spf", "dkim:s1", "dkim:ed", "dmarc:quarantine"),
			Want: "pass: ...SPF of tulia.test needs 4 of 10 lookups; DKIM s1 is an RSA key of 2048 bits; DKIM ed is an Ed25519 key; DMARC of tulia.test is quarantine; ...", Check: func(t *testing.T, o check.Outcome) {
				if o.Facts["spf"] != "v=spf1 a mx:tulia.test include:_spf.provider.tulia.test -all" || o.Facts["spf.lookups"] != "4" || o.Facts["dkim.s1"] != "an RSA key of 2048 bits" || !strings.HasPrefix(o.Facts["dmarc"], "v=DMARC1; p=quarantine") {
					t.Errorf("facts %v", o.Facts)
				}
			}},
		{Name: "includes the provider", Params: at("tulia.test", "spf:_spf2.provider.tulia.test"), Want: "pass: ..."},
		{Name: "does not include it", Params: at("tulia.test", "spf:_spf.other.test"), Want: "fail: ...SPF: tulia.test does not include _spf.other.test..."},
		{Name: "redirect", Params: at("moved.tulia.test", "spf"), Want: "pass: ...SPF of moved.tulia.test needs 1 of 10 lookups..."},
		{Name: "no SPF", Params: at("none.tulia.test", "spf"), Want: "fail: ...SPF: none.tulia.test has 0 SPF records, want one"},
		{Name: "two SPF", Params: at("two.tulia.test", "spf"), Want: "fail: ...has 2 SPF records, want one"},
		{Name: "everybody", Params: at("open.tulia.test", "spf"), Want: "fail: ...ends with +all, which lets everybody send"},
		{Name: "no end", Params: at("silent.tulia.test", "spf"), Want: "fail: ...does not end with ~all or -all..."},
		{Name: "a loop", Params: at("loop.tulia.test", "spf"), Want: "fail: ...needs more than 10 lookups..."},
		{Name: "a hole", Params: at("hole.tulia.test", "spf"), Want: "fail: ...leads to nothing.tulia.test, which has 0 SPF records..."},
		{Name: "a slip", Params: at("typo.tulia.test", "spf"), Want: `fail: ...holds "ipv4:192.0.2.1", which is no mechanism of SPF`},
		{Name: "no key", Params: at("tulia.test", "dkim:gone"), Want: "fail: ...gone._domainkey.tulia.test has 0 TXT records, want one key"},
		{Name: "revoked", Params: at("tulia.test", "dkim:revoked"), Want: "fail: ...is revoked: its key is empty"},
		{Name: "short key", Params: at("tulia.test", "dkim:short"), Want: "fail: ...holds an RSA key of 512 bits, which receivers refuse below 1024"},
		{Name: "only tested", Params: at("tulia.test", "dkim:trial"), Want: "fail: ...only tested (t=y)..."},
		{Name: "no base64", Params: at("tulia.test", "dkim:junk"), Want: "fail: ...not base64"},
		{Name: "the policy above", Params: at("mail.tulia.test", "dmarc"), Want: "pass: ...DMARC of tulia.test is none..."},
		{Name: "the policy above is weaker", Params: at("mail.tulia.test", "dmarc:quarantine"), Want: "fail: ...the policy of tulia.test is none, want quarantine"},
		{Name: "strict", Params: at("strict.tulia.test", "dmarc:reject"), Want: "pass: ...is reject..."},
		{Name: "two policies", Params: at("two.tulia.test", "dmarc"), Want: "fail: ...has 2 records: receivers ignore all of them"},
		{Name: "no policy in it", Params: at("bad.tulia.test", "dmarc"), Want: "fail: ...has no policy: p="},
		{Name: "both are told", Params: at("open.tulia.test", "spf", "dkim:gone"), Want: "fail: ...lets everybody send; DKIM: ..."},
		{Name: "SERVFAIL", Params: at("broken.test", "spf"), Want: "error: ...answered SERVFAIL"},
		{Name: "REFUSED", Params: at("other.test", "spf"), Want: "error: ...answered REFUSED"},
		{Name: "no name server", Params: of("tulia.test", "127.0.0.1:1", "spf"), Want: "error: ...refused"},
		{Name: "a name server that is silent", Params: of("tulia.test", mute.LocalAddr().String(), "spf"), Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded..."},
	})
	// The machine's own resolver is taken from resolv.conf.
	e := checktest.NewEnv(t)
	e.Host = func(string) (check.Host, error) { return resolver{}, nil }
	dial := e.Dial
	e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "127.0.0.53:53" {
			address = dns
		}
		return dial(ctx, network, address)
	}
	inst, problems := checktest.Decode(mail.SMTP, of("tulia.test", "system", "spf"), nil)
	if inst == nil {
		t.Fatal(problems)
	}
	if o, err := inst.Runner.Run(t.Context(), e); err != nil || o.Verdict != check.Pass {
		t.Error(o, err)
	}
}

// resolver is a host whose resolv.conf names one server.
type resolver struct{ check.Host }

func (resolver) ReadFile(context.Context, string, int64) ([]byte, error) {
	return []byte("nameserver 127.0.0.53\n"), nil
}
