package mail_test

import (
	"io"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/mail"
	"allclear.dev/allclear/internal/mail/mailtest"
)

func TestMessage(t *testing.T) {
	m := mail.Message{
		From: `"Tülia" <app@tulia.test>`, To: "ops@tulia.test", Subject: "Fertig: Ärger behoben",
		Text: "Größe\n.\nEnd", ID: mail.MessageID("key", "ops@tulia.test", "tulia.test"), Date: time.Unix(0, 0),
	}
	text, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	read, err := netmail.ReadMessage(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(read.Body))
	if err != nil || strings.ReplaceAll(string(body), "\r\n", "\n") != "Größe\n.\nEnd\n" {
		t.Errorf("body %q, %v", body, err)
	}
	for _, b := range text {
		if b >= 0x80 {
			t.Fatalf("not ASCII: %q", text)
		}
	}
	if from, err := read.Header.AddressList("From"); err != nil || from[0].Name != "Tülia" {
		t.Errorf("from %v, %v", from, err)
	}
	if id := read.Header.Get("Message-ID"); id != "<"+m.ID+">" || m.ID != mail.MessageID("key", "ops@tulia.test", "tulia.test") || m.ID == mail.MessageID("other", "ops@tulia.test", "tulia.test") {
		t.Errorf("id %s", id)
	}
	for _, wrong := range []mail.Message{
		{From: "a@b.test", To: "c@d.test", Subject: "x\r\nBcc: e@f.test"},
		{From: "a@b.test", To: "c@d.test\r\nBcc: e@f.test"},
		{From: "nobody", To: "c@d.test"},
		{From: "a@b.test", To: "-oQ/tmp@d.test"},
	} {
		if text, err := wrong.Bytes(); err == nil {
			t.Errorf("made %q", text)
		}
	}
}

// TestSeveral proves that one refused recipient does not stop the next ones, and
// that lines beginning with a dot arrive as they were.
func TestSeveral(t *testing.T) {
	s := mailtest.New(t, mailtest.Options{Rcpt: func(to string) error {
		if to == "gone@tulia.test" {
			return mailtest.Say(550, "no such user")
		}
		return nil
	}})
	x, err := mail.Dial(t.Context(), (&net.Dialer{}).DialContext, mail.Server{Host: "localhost", Port: s.Port, TLS: mail.Plain})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Send("a@tulia.test", "gone@tulia.test", []byte("x\r\n")); err == nil || !strings.Contains(err.Error(), "550 to RCPT: no such user") {
		t.Error(err)
	}
	if err := x.Ask("a@tulia.test", "b@tulia.test"); err != nil {
		t.Error(err)
	}
	for _, to := range []string{"b@tulia.test", "c@tulia.test"} {
		if _, err := x.Send("a@tulia.test", to, []byte("x\r\n.y\r\n")); err != nil {
			t.Error(err)
		}
	}
	x.Quit()
	if got := s.Messages(); len(got) != 2 || got[1].To != "c@tulia.test" || got[1].Text != "x\r\n.y\r\n" {
		t.Errorf("messages %q", got)
	}
	if _, err := mail.Dial(t.Context(), nil, mail.Server{Host: "localhost", TLS: mail.Plain, User: "a"}); err == nil {
		t.Error("a password is sent in the clear")
	}
}
