package mail_test

import (
	"fmt"
	"io"
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
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/mail"
	"allclear.dev/allclear/internal/mail/mailtest"
)

const password = "correct-horse-battery"

func secrets(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:SMTP": password, "env:WRONG": "not-the-password"})
}

// login logs in at a server with its authority's certificate.
func login(port int, c mailtest.Certificate) string {
	return fmt.Sprintf("host: localhost\nport: %d\nca: %s\nuser: app\npassword: env:SMTP\nfrom: app@tulia.test\n", port, c.CA)
}

func open(port int) string {
	return fmt.Sprintf("host: localhost\nport: %d\ntls: none\nfrom: app@tulia.test\n", port)
}

// listen is a TCP server whose every connection is given to serve.
func listen(t *testing.T, serve func(net.Conn)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func TestSession(t *testing.T) {
	cert, short := mailtest.NewCertificate(t, 90), mailtest.NewCertificate(t, 5)
	o := mailtest.Options{Certificate: &cert, User: "app", Password: password}
	starttls := mailtest.New(t, o)
	o.Implicit = true
	implicit := mailtest.New(t, o)
	old := mailtest.New(t, mailtest.Options{Certificate: &short, User: "app", Password: password})
	plain := mailtest.New(t, mailtest.Options{})
	refuse := func(code int) int {
		return mailtest.New(t, mailtest.Options{Rcpt: func(string) error { return mailtest.Say(code, "relay access denied") }}).Port
	}
	sender := mailtest.New(t, mailtest.Options{Mail: func(string) error { return mailtest.Say(553, "not yours") }})
	says := func(text string) int {
		return listen(t, func(c net.Conn) {
			_, _ = io.WriteString(c, text)
			_, _ = io.Copy(io.Discard, c)
		})
	}
	checktest.Run(t, mail.SMTP, []checktest.Case{
		{Name: "starttls", Env: secrets, Params: login(starttls.Port, cert), Want: "pass: localhost:...TLS 1.3, certificate for 90 days; AUTH PLAIN as app; takes mail from app@tulia.test to app@tulia.test; nothing was sent", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["tls"] != "TLS 1.3" || o.Facts["certificate.days"] != "90" || o.Facts["auth"] != "PLAIN" || o.Facts["sent"] != "nothing" ||
				!strings.HasPrefix(o.Facts["banner"], "220 localhost ESMTP") || o.Facts["certificate.names"] != "localhost" || len(starttls.Messages()) > 0 {
				t.Errorf("facts %v, messages %v", o.Facts, starttls.Messages())
			}
		}},
		{Name: "implicit", Env: secrets, Params: login(implicit.Port, cert) + "tls: implicit", Want: "pass: ...TLS 1.3...AUTH PLAIN..."},
		{Name: "relay without encryption", Params: open(plain.Port), Want: "pass: ...not encrypted; takes mail..."},
		{Name: "wrong password", Env: secrets, Params: strings.Replace(login(starttls.Port, cert), "env:SMTP", "env:WRONG", 1), Want: "fail: ...answered 535 to AUTH: ...are user and password right..."},
		{Name: "a login is wanted", Params: fmt.Sprintf("host: localhost\nport: %d\nca: %s\nfrom: app@tulia.test", starttls.Port, cert.CA), Want: "fail: ...answered 530 to MAIL...give user and password..."},
		{Name: "short certificate", Env: secrets, Params: login(old.Port, short), Want: "fail: ...the certificate is valid for 5 days, want 14"},
		{Name: "another authority", Env: secrets, Params: login(starttls.Port, short), Want: "fail: ...the mail server's certificate: x509: ..."},
		{Name: "another authority, implicit", Env: secrets, Params: login(implicit.Port, short) + "tls: implicit", Want: "fail: ...the mail server's certificate: x509: ..."},
		{Name: "no STARTTLS", Env: secrets, Params: login(plain.Port, cert), Want: "fail: ...does not offer STARTTLS"},
		{Name: "no AUTH", Env: secrets, Params: login(mailtest.New(t, mailtest.Options{Certificate: &cert}).Port, cert), Want: "fail: ...does not offer AUTH"},
		{Name: "relay denied", Params: open(refuse(550)), Want: "fail: ...answered 550 to RCPT: relay access denied (it may not relay...)"},
		{Name: "sender denied", Params: open(sender.Port), Want: "fail: ...answered 553 to MAIL: not yours (may this user send...)"},
		{Name: "greylisted", Params: open(refuse(451)), Want: "error: ...answered 451 to RCPT..."},
		{Name: "busy", Params: open(says("421 too many connections\r\n")), Want: "error: ...answered 421 to connect: too many connections"},
		{Name: "gone", Params: open(says("554 no service here\r\n")), Want: "fail: ...answered 554 to connect..."},
		{Name: "malformed", Params: open(says("hello\r\n")), Want: "error: ..."},
		{Name: "no data", Params: open(listen(t, func(net.Conn) {})), Want: "error: ..."},
		{Name: "endless", Params: open(listen(t, func(c net.Conn) {
			for {
				if _, err := c.Write([]byte(strings.Repeat("x", 4096))); err != nil {
					return
				}
			}
		})), Want: "error: ..."},
		{Name: "silent", Params: open(says("")), Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded"},
		{Name: "silent after the greeting", Params: open(says("220 hi\r\n")), Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded"},
		{Name: "silent in TLS", Env: secrets, Params: login(says("220 hi\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n"), cert), Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded"},
		{Name: "nobody", Params: open(1), Want: "error: ...refused"},
		{Name: "no secret", Env: secrets, Params: strings.Replace(login(starttls.Port, cert), "env:SMTP", "env:GONE", 1), Want: "error: ...env:GONE: not set"},
		{Name: "no authority", Env: secrets, Params: strings.Replace(login(starttls.Port, cert), cert.CA, cert.Key, 1), Want: "error: ...holds no certificate"},
		{Name: "password in the clear", Params: login(1, cert) + "tls: none", Want: "problem: ...would send the password in the clear"},
		{Name: "user alone", Params: open(1) + "user: app", Want: "problem: ...belong together"},
		{Name: "no address", Params: "host: a\nfrom: nobody", Want: "problem: ...want an address..."},
		{Name: "an option", Params: "host: -a\nfrom: a@b.test", Want: "problem: ...want the name of a mail server"},
		{Name: "port", Params: "host: a\nport: 70000\nfrom: a@b.test", Want: "problem: ...from 1 to 65535"},
		{Name: "record", Params: "host: a\nfrom: a@b.test\ndns: [dkim]", Want: "problem: ...want spf, spf:DOMAIN, dkim:SELECTOR..."},
	})
}

// TestSend proves that a test message is sent once for a run, and what is known
// when the answer is lost.
func TestSend(t *testing.T) {
	cert := mailtest.NewCertificate(t, 90)
	s := mailtest.New(t, mailtest.Options{Certificate: &cert, User: "app", Password: password, Drop: "lost@tulia.test", Data: func(to string) error {
		switch to {
		case "full@tulia.test":
			return mailtest.Say(452, "insufficient system storage")
		case "spam@tulia.test":
			return mailtest.Say(554, "looks like spam")
		}
		return nil
	}})
	e := checktest.NewEnv(t)
	secrets(e)
	sending := func(to string) *check.Instance {
		t.Helper()
		inst, problems := checktest.Decode(mail.SMTP, login(s.Port, cert)+"send_to: "+to, nil)
		if inst == nil {
			t.Fatal(problems)
		}
		return inst
	}
	probe := func(inst *check.Instance, want string) {
		t.Helper()
		progress, o, err := inst.Prober().Probe(t.Context(), e)
		got := string(progress) + ": " + o.Reason
		if err != nil {
			got = "error: " + err.Error()
		}
		checktest.Match(t, want, got)
	}
	ops := sending("ops@tulia.test")
	if tr := ops.Traits; tr.Kind != check.Action || tr.Class != check.Probed || tr.Effect != check.Message {
		t.Errorf("traits %+v", tr)
	}
	if text, err := ops.Runner.(check.Examiner).Examine(t.Context(), e); err != nil || len(s.Messages()) != 0 || !strings.Contains(text, "nothing was sent") {
		t.Errorf("examined %q, %v, messages %v", text, err, s.Messages())
	}
	probe(ops, "not_done: ...has not taken the message to ops@tulia.test")
	for range 2 {
		o, err := ops.Runner.Run(t.Context(), e)
		if err != nil || o.Verdict != check.Pass || !strings.Contains(o.Reason, "which is not yet delivered") || !strings.HasSuffix(o.Facts["message_id"], "@tulia.test") {
			t.Fatal(o, err)
		}
	}
	probe(ops, "done: ...has queued the message to ops@tulia.test...")
	taken := s.Messages()
	if len(taken) != 1 || taken[0].To != "ops@tulia.test" || !strings.Contains(taken[0].Text, "Subject: Test message of tulia in test\r\n") || !strings.Contains(taken[0].Text, "Message-ID: <") {
		t.Fatalf("messages %q", taken)
	}
	for to, want := range map[string][2]string{
		"full@tulia.test": {"error: ...answered 452 to message: insufficient system storage", "not_done: ..."},
		"spam@tulia.test": {"fail: ...answered 554 to message: looks like spam", "not_done: ..."},
		"lost@tulia.test": {"error: ...whether the mail server took the message is not known: ...", "error: ...look whether it has come"},
	} {
		inst := sending(to)
		o, err := inst.Runner.Run(t.Context(), e)
		got := string(o.Verdict) + ": " + o.Reason
		if err != nil {
			got = "error: " + err.Error()
		}
		checktest.Match(t, want[0], got)
		probe(inst, want[1])
	}
	wrong, _ := checktest.Decode(mail.SMTP, strings.Replace(login(s.Port, cert), "env:SMTP", "env:WRONG", 1)+"send_to: b@tulia.test", nil)
	before := len(s.Messages())
	if o, err := wrong.Runner.Run(t.Context(), e); err != nil || o.Verdict != check.Fail || len(s.Messages()) != before {
		t.Errorf("a wrong password: %v, %v", o, err)
	}
}

// exim runs Debian's Exim for each connection, as inetd would, and gives the port
// and the folder of its queue.
func exim(t *testing.T, cert mailtest.Certificate) (port int, queue string) {
	t.Helper()
	const program = "/usr/sbin/exim4"
	if _, err := os.Stat(program); err != nil {
		t.Fatal("the test needs Exim: apt-get install exim4-daemon-light")
	}
	dir, err := os.MkdirTemp("", "exim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "exim.conf")
	text := fmt.Sprintf(`primary_hostname = localhost
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%slog
tls_advertise_hosts = *
tls_certificate = %[1]s/cert.pem
tls_privatekey = %[1]s/key.pem
acl_smtp_rcpt = rcpt
queue_only
begin acl
rcpt:
  accept authenticated = *
  deny message = relay not permitted
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{app}}{eq{$auth3}{%[2]s}}}}
  server_set_id = $auth2
`, dir, password)
	write(t, config, text)
	for name, from := range map[string]string{"cert.pem": cert.Cert, "key.pem": cert.Key} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(content))
	}
	if os.Getuid() == 0 { // Exim gives root up and must then write there
		owner, err := user.Lookup("Debian-exim")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(owner.Uid)
		gid, _ := strconv.Atoi(owner.Gid)
		for _, path := range []string{dir, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")} {
			if err := os.Chown(path, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	port = listen(t, func(c net.Conn) {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		_ = c.Close()
		cmd := exec.Command(program, "-C", config, "-bs")
		cmd.Stdin, cmd.Stdout = f, f
		if out, err := cmd.StderrPipe(); err == nil && cmd.Start() == nil {
			said, _ := io.ReadAll(out)
			if err := cmd.Wait(); err != nil {
				t.Logf("exim: %v: %s", err, said)
			}
		}
	})
	return port, filepath.Join(dir, "spool", "input")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestExim proves it on the mail server that Debian has.
func TestExim(t *testing.T) {
	cert := mailtest.NewCertificate(t, 60)
	port, queue := exim(t, cert)
	e := checktest.NewEnv(t)
	secrets(e)
	for params, want := range map[string]string{
		login(port, cert): "pass: ...TLS 1.3, certificate for 60 days; AUTH PLAIN as app; takes mail from app@tulia.test to app@tulia.test; nothing was sent",
		fmt.Sprintf("host: localhost\nport: %d\nca: %s\nfrom: app@tulia.test", port, cert.CA): "fail: ...answered 550 to RCPT: relay not permitted...",
		strings.Replace(login(port, cert), "env:SMTP", "env:WRONG", 1):                        "fail: ...answered 535 to AUTH...",
		login(port, cert) + "send_to: ops@tulia.test":                                         "pass: ...queued the message to ops@tulia.test (OK id=...), which is not yet delivered",
	} {
		inst, problems := checktest.Decode(mail.SMTP, params, nil)
		if inst == nil {
			t.Fatal(problems)
		}
		o, err := inst.Runner.Run(t.Context(), e)
		if err != nil {
			t.Error(err)
		}
		checktest.Match(t, want, string(o.Verdict)+": "+o.Reason)
		if id := o.Facts["message_id"]; id != "" && !inQueue(t, queue, id) {
			t.Errorf("Exim's queue does not hold %s", id)
		}
	}
}

func inQueue(t *testing.T, folder, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*-H"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if content, err := os.ReadFile(file); err == nil && strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}

func TestPage(t *testing.T) { checktest.Page(t, mail.SMTP) }
