package notify_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/mail/mailtest"
)

const password = "correct-horse-battery"

// post is a mail server that knows some recipients and lets nobody in without a
// password.
func post(t *testing.T) (*mailtest.Server, func(more string) string) {
	t.Helper()
	cert := mailtest.NewCertificate(t, 90)
	s := mailtest.New(t, mailtest.Options{
		Certificate: &cert, User: "app", Password: password, Drop: "lost@tulia.test",
		Rcpt: func(to string) error {
			switch {
			case strings.HasPrefix(to, "gone"):
				return mailtest.Say(550, "no such user")
			case strings.HasPrefix(to, "grey"):
				return mailtest.Say(451, "greylisted")
			}
			return nil
		},
	})
	return s, func(more string) string {
		return fmt.Sprintf("email: {host: localhost, port: %d, ca: %s, user: app, password: env:SMTP, from: 'Release <app@tulia.test>'%s}", s.Port, cert.CA, more)
	}
}

func world(t *testing.T) *check.Env {
	e := checktest.NewEnv(t)
	checktest.SetSecrets(e, checktest.Secrets{"env:SMTP": password})
	return e
}

func TestMail(t *testing.T) {
	s, email := post(t)
	e := world(t)
	list := ""
	e.Store = func(name string, content io.Reader) (check.Artefact, error) {
		text, err := io.ReadAll(content)
		list = string(text)
		return check.Artefact{Name: name, Size: int64(len(text))}, err
	}
	inst := decode(t, "to: 'email:ana@tulia.test, bob@Tulia.test,bob@tulia.test'\ntemplate: completion\ntext: Größe\n"+email(""))
	if text, err := inst.Runner.(check.Examiner).Examine(t.Context(), e); err != nil || !strings.Contains(text, "has 2 recipients") || len(s.Messages()) > 0 {
		t.Errorf("examined %q, %v", text, err)
	}
	for range 2 {
		got, o := attempt(t.Context(), t, inst, e)
		checktest.Match(t, "pass: email:ana@tulia.test, bob@Tulia.test,bob@tulia.test took the message", got)
		to := "email:ana@tulia.test, bob@Tulia.test,bob@tulia.test"
		if o.Facts["recipients."+to] != "2" || o.Facts["taken."+to] != "2" || !strings.Contains(o.Facts["mail.ana@tulia.test"], "Message-ID ") || len(o.Artefacts) != 1 {
			t.Errorf("facts %v", o.Facts)
		}
	}
	checktest.Match(t, "done: ...", probed(t, inst, e))
	taken := s.Messages()
	if len(taken) != 2 || taken[0].To != "ana@tulia.test" || strings.Contains(taken[0].Text, "bob") ||
		!strings.Contains(taken[0].Text, "From: \"Release\" <app@tulia.test>\r\nTo: <ana@tulia.test>\r\nSubject: Deployment of tulia 1.2.3 to test is complete") {
		t.Errorf("messages %q", taken)
	}
	if !strings.HasPrefix(list, "recipient,state,message_id,server\nana@tulia.test,taken,") {
		t.Errorf("list %s", list)
	}
}

// TestMany proves what a list of recipients costs when some are refused, some are
// to wait, and a connection is lost.
func TestMany(t *testing.T) {
	s, email := post(t)
	e := world(t)
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(e.Dir, "users.csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to := "to: email:csv:users.csv\ntext: x\nmode: test\n"
	people := ""
	for i := range 30 {
		people += fmt.Sprintf("Name %d,user%d@tulia.test\n", i, i)
	}
	write("\ufeffname, Email\n" + people + "Nobody,gone@tulia.test\n")
	got, o := attempt(t.Context(), t, decode(t, to+email("")), e)
	checktest.Match(t, "fail: email:csv:users.csv: 1 of 31 recipients were refused, the first the mail server answered 550 to RCPT: no such user", got)
	if o.Facts["taken.email:csv:users.csv"] != "30" || len(o.Facts) > 30 {
		t.Errorf("facts %v", o.Facts)
	}
	got, _ = attempt(t.Context(), t, decode(t, to+email(", max_refused: 5%")), e)
	checktest.Match(t, "pass: ...", got)
	if n := len(s.Messages()); n != 30 || !strings.Contains(s.Messages()[0].Text, "Subject: [test] Nothing to do.") {
		t.Errorf("%d messages", n)
	}

	e.Run.ID = "r-2"
	write("email\na@tulia.test\ngrey@tulia.test\nb@tulia.test\n")
	inst := decode(t, to+email(""))
	got, _ = attempt(t.Context(), t, inst, e)
	checktest.Match(t, "error: email:csv:users.csv: 2 of 3 recipients have taken it; grey@tulia.test is to be tried later: the mail server answered 451 to RCPT: greylisted", got)
	checktest.Match(t, "partly: 2 of 3 have taken the message...", probed(t, inst, e))

	e.Run.ID = "r-3"
	write("email\na@tulia.test\nlost@tulia.test\nb@tulia.test\n")
	before := len(s.Messages())
	got, _ = attempt(t.Context(), t, inst, e)
	checktest.Match(t, "error: email:csv:users.csv: 1 of 3 recipients have taken it; lost@tulia.test: whether the mail server took the message is not known: ...", got)
	checktest.Match(t, "error: whether email:lost@tulia.test took the message is not known: ...", probed(t, inst, e))
	if n := len(s.Messages()) - before; n != 2 {
		t.Errorf("%d messages", n)
	}

	for text, want := range map[string]string{
		"":                       "error: ...read its first line: EOF",
		"name\nx\n":              "error: ...there is no column email; there are name",
		"email\n":                "error: ...there is no recipient",
		"email\nnobody\n":        `error: ..."nobody" is not a mail address`,
		"email\n\"cut":           "error: ...",
		"email,name\na@b.test\n": "error: ...wrong number of fields",
	} {
		write(text)
		got, _ = attempt(t.Context(), t, inst, e)
		checktest.Match(t, want, got)
	}
}

func TestMailServer(t *testing.T) {
	s, email := post(t)
	e := world(t)
	to := "to: email:ana@tulia.test\ntext: x\n"
	for params, want := range map[string]string{
		strings.Replace(email(""), "app,", "eve,", 1):                                      "fail: email:ana@tulia.test: 0 of 1 recipients have taken it; the mail server answered 535 to AUTH...",
		strings.Replace(email(""), fmt.Sprint("port: ", s.Port), "port: 1", 1):             "error: ...refused",
		"email: {host: localhost, port: " + fmt.Sprint(s.Port) + ", from: app@tulia.test}": "fail: ...certificate...",
	} {
		inst := decode(t, to+params)
		got, _ := attempt(t.Context(), t, inst, e)
		checktest.Match(t, want, got)
		checktest.Match(t, "not_done: ...", probed(t, inst, e))
		if _, err := inst.Runner.(check.Examiner).Examine(t.Context(), e); err == nil {
			t.Errorf("%s: would do", params)
		}
	}
	for name, serve := range map[string]func(net.Conn){
		"silent": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "no data": func(net.Conn) {},
		"malformed": func(c net.Conn) { _, _ = io.WriteString(c, "hello\r\n") },
	} {
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(raw(t, serve), "http://"))
		inst := decode(t, to+"email: {host: localhost, port: "+port+", tls: none, from: app@tulia.test}")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if got, _ := attempt(ctx, t, inst, e); !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: %s", name, got)
		}
		cancel()
		checktest.Match(t, "not_done: ...", probed(t, inst, e))
	}
	var waited []time.Duration
	now := time.Unix(1000, 0)
	e.Now = func() time.Time { return now }
	e.Sleep = func(_ context.Context, d time.Duration) error {
		waited = append(waited, d)
		now = now.Add(d)
		return nil
	}
	plain := mailtest.New(t, mailtest.Options{})
	got, _ := attempt(t.Context(), t, decode(t, fmt.Sprintf("to: 'email:a@b.test,c@d.test,e@f.test'\ntext: x\nemail: {host: localhost, port: %d, tls: none, from: a@b.test, rate: 30}", plain.Port)), e)
	checktest.Match(t, "pass: ...", got)
	if len(waited) != 2 || waited[0] != 2*time.Second || waited[1] != 2*time.Second {
		t.Errorf("waited %v", waited)
	}
}
