// Package mail holds the type that looks whether a mail server takes what the
// application wants to send, and whether others will believe who sent it.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed" // the page
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dns"
	"allclear.dev/allclear/internal/mail"
	"allclear.dev/allclear/internal/receipt"
	"allclear.dev/allclear/internal/secret"
)

//go:embed smtp.md
var smtpDoc string

// SMTP is the type smtp.
var SMTP = check.Define[submission](check.Desc{
	Name:    "smtp",
	Summary: "the mail server takes a message, and DNS stands for its sender",
	Doc:     smtpDoc,
})

// maxCA bounds a file of certificates, in bytes.
const maxCA = 1 << 20

type submission struct {
	Host      string     `param:"host" doc:"name of the mail server, as its certificate has it" default:"${env.smtp_host}"`
	Port      int        `param:"port" doc:"587 for STARTTLS, 465 for TLS from the first byte" default:"587"`
	TLS       string     `param:"tls" doc:"starttls, implicit (TLS from the first byte) or none; implicit on port 465 and starttls elsewhere when left out" default:"" enum:"starttls,implicit,none"`
	CA        string     `param:"ca" doc:"file with the certificates (PEM) of the authority that is trusted instead of the system's" default:""`
	MinDays   int        `param:"min_days" doc:"shortest acceptable remaining validity of the certificate, in days" default:"14"`
	User      string     `param:"user" doc:"name to log in with; nobody logs in when left out" default:""`
	Password  secret.Ref `param:"password" doc:"reference to the password or API key of user" default:""`
	From      string     `param:"from" doc:"address that the application sends from"`
	Recipient string     `param:"recipient" doc:"address that is offered and taken back; from when left out" default:""`
	SendTo    string     `param:"send_to" doc:"send a test message to this address; nothing is sent when left out" default:""`
	Hello     string     `param:"hello" doc:"name given with EHLO" default:"localhost"`
	DNS       []record   `param:"dns" doc:"what must stand in DNS for the sender's domain: spf, spf:DOMAIN (which it must include), dkim:SELECTOR, dmarc, dmarc:quarantine, dmarc:reject" default:""`
	Resolvers []string   `param:"resolvers" doc:"who is asked: system, or address[:port]" default:"system"`
}

// Validate holds the rules between the parameters.
func (p *submission) Validate() error {
	for _, a := range []struct{ name, text string }{{"from", p.From}, {"recipient", p.Recipient}, {"send_to", p.SendTo}} {
		if a.text == "" && a.name != "from" {
			continue
		}
		if parsed, err := mail.Address(a.text); err != nil || parsed.Address != a.text {
			return fmt.Errorf("%s: want an address such as no-reply@example.com, got %q", a.name, a.text)
		}
	}
	switch {
	case p.Host == "" || strings.ContainsAny(p.Host, " /@\r\n") || strings.HasPrefix(p.Host, "-"):
		return errors.New("host: want the name of a mail server")
	case p.Port < 1 || p.Port > 65535:
		return errors.New("port: want a port from 1 to 65535")
	case (p.User == "") != p.Password.IsZero():
		return errors.New("user and password belong together")
	case p.User != "" && p.mode() == mail.Plain:
		return errors.New("tls: none would send the password in the clear")
	case p.SendTo != "" && p.Recipient != "":
		return errors.New("recipient is for looking only; send_to is who gets the message")
	case p.MinDays < 0:
		return errors.New("min_days: want a number of days")
	case len(p.Resolvers) == 0:
		return errors.New("resolvers: name at least one")
	}
	for _, r := range p.Resolvers {
		if _, err := dns.Address(r); err != nil && r != system {
			return fmt.Errorf("resolvers: want system or an address, got %q", r)
		}
	}
	return nil
}

// mode gives the way to TLS.
func (p *submission) mode() string { return mail.Mode(p.TLS, p.Port) }

// Traits tells that looking has no effect and that a message is a message.
func (p *submission) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network, Target: p.target(),
		Does: fmt.Sprintf("asks %s whether it would take mail from %s, and sends none", p.target(), p.From),
	}
	if p.SendTo != "" {
		t.Kind, t.Class, t.Effect = check.Action, check.Probed, check.Message
		t.Does = fmt.Sprintf("sends a test message from %s to %s through %s", p.From, p.SendTo, p.target())
	}
	return t
}

func (p *submission) target() string { return mail.Server{Host: p.Host, Port: p.Port}.Address() }

// seen collects what one look found.
type seen struct {
	p     *submission
	env   *check.Env
	facts map[string]string
	// good and missed are what stands and what does not, in the order of looking.
	good, missed []string
}

func (s *seen) pass(format string, args ...any) {
	s.good = append(s.good, fmt.Sprintf(format, args...))
}
func (s *seen) miss(format string, args ...any) {
	s.missed = append(s.missed, fmt.Sprintf(format, args...))
}

// Run looks at DNS and at the server. A message is sent only when all else stands.
func (p *submission) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	s := &seen{p: p, env: env, facts: map[string]string{}}
	if err := s.names(ctx); err != nil {
		return check.Outcome{Facts: s.facts}, err
	}
	if err := s.session(ctx, p.SendTo != ""); err != nil {
		return check.Outcome{Facts: s.facts}, err
	}
	return s.outcome(), nil
}

func (s *seen) outcome() check.Outcome {
	o := check.Passf("%s: %s", s.p.target(), strings.Join(s.good, "; "))
	if len(s.missed) > 0 {
		o = check.Failf("%s: %s", s.p.target(), strings.Join(s.missed, "; "))
	}
	o.Facts = s.facts
	return o
}

// Examine looks at everything and sends nothing.
func (p *submission) Examine(ctx context.Context, env *check.Env) (string, error) {
	s := &seen{p: p, env: env, facts: map[string]string{}}
	if err := s.names(ctx); err != nil {
		return "", err
	}
	if err := s.session(ctx, false); err != nil {
		return "", err
	}
	if o := s.outcome(); o.Verdict != check.Pass {
		return "", errors.New(o.Reason)
	}
	return s.outcome().Reason, nil
}

// Probe tells by the receipts whether the test message was taken.
func (p *submission) Probe(_ context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	entries, err := receipt.Read(env, env.Key)
	if err != nil {
		return "", check.Outcome{}, err
	}
	entry, known := entries[p.SendTo]
	switch {
	case known && entry.State == receipt.Taken:
		o := check.Passf("%s has queued the message to %s: %s", p.target(), p.SendTo, entry.Facts["queue"])
		o.Facts = entry.Facts
		return check.Done, o, nil
	case known && entry.State == receipt.Sending:
		return "", check.Outcome{}, fmt.Errorf("whether %s took the message to %s is not known: look whether it has come", p.target(), p.SendTo)
	}
	return check.NotDone, check.Failf("%s has not taken the message to %s", p.target(), p.SendTo), nil
}

// server gives where to connect, with what is secret.
func (p *submission) server(ctx context.Context, env *check.Env) (mail.Server, error) {
	out := mail.Server{Host: p.Host, Port: p.Port, TLS: p.mode(), User: p.User, Hello: p.Hello, Now: env.Now}
	if p.User != "" {
		password, err := env.Secret(ctx, p.Password)
		if err != nil {
			return out, err
		}
		out.Password = password.Reveal()
	}
	if p.CA == "" {
		return out, nil
	}
	host, err := env.Host("")
	if err != nil {
		return out, err
	}
	path := p.CA
	if !filepath.IsAbs(path) {
		path = filepath.Join(env.Dir, path)
	}
	text, err := host.ReadFile(ctx, path, maxCA)
	if err != nil {
		return out, fmt.Errorf("read ca: %w", err)
	}
	if out.Roots = x509.NewCertPool(); !out.Roots.AppendCertsFromPEM(text) {
		return out, fmt.Errorf("ca: %s holds no certificate", p.CA)
	}
	return out, nil
}

// session connects, looks at what is agreed on, and asks or sends. What is certain
// is a finding; the error says what could not be found out.
func (s *seen) session(ctx context.Context, send bool) error {
	server, err := s.p.server(ctx, s.env)
	if err != nil {
		return err
	}
	x, err := mail.Dial(ctx, s.env.Dial, server)
	if err != nil {
		return s.judge(err)
	}
	defer x.Close()
	s.facts["banner"], s.facts["extensions"] = x.Banner, strings.Join(x.Offers, ", ")
	s.encryption(x)
	if x.Auth != "" {
		s.facts["auth"] = x.Auth
		s.pass("AUTH %s as %s", x.Auth, s.p.User)
	}
	if !send {
		return s.ask(x)
	}
	if len(s.missed) > 0 {
		s.miss("no message was sent")
		return nil
	}
	return s.send(ctx, x)
}

// judge tells a certain no from not having found out.
func (s *seen) judge(err error) error {
	if refused, ok := errors.AsType[*mail.Refused](err); ok && !refused.Temporary() {
		s.miss("%v%s", refused, hint(refused))
		return nil
	}
	if missing, ok := errors.AsType[*mail.Unoffered](err); ok {
		s.miss("%v", missing)
		return nil
	}
	if untrusted, ok := errors.AsType[*mail.Untrusted](err); ok {
		s.miss("%v", untrusted)
		return nil
	}
	return fmt.Errorf("%s: %w", s.p.target(), err)
}

// hint says what a refusal mostly means (RFC 4954, section 6; RFC 3463).
func hint(r *mail.Refused) string {
	switch {
	case r.Stage == "AUTH" && r.Code == 535:
		return " (are user and password right, and may they send?)"
	case r.Code == 530:
		return " (it wants a login: give user and password)"
	case r.Stage == "RCPT":
		return " (it may not relay for this sender, or does not know the recipient)"
	case r.Stage == "MAIL":
		return " (may this user send from this address?)"
	}
	return ""
}

func (s *seen) encryption(x *mail.Session) {
	if x.TLS == nil {
		s.facts["tls"] = "none"
		s.pass("not encrypted")
		return
	}
	leaf := x.TLS.PeerCertificates[0]
	days := int(leaf.NotAfter.Sub(s.env.Now()) / (24 * time.Hour))
	s.facts["tls"] = tls.VersionName(x.TLS.Version)
	s.facts["certificate.not_after"] = leaf.NotAfter.UTC().Format(time.RFC3339)
	s.facts["certificate.days"] = strconv.Itoa(days)
	s.facts["certificate.names"] = strings.Join(leaf.DNSNames[:min(len(leaf.DNSNames), 20)], ", ")
	if days < s.p.MinDays {
		s.miss("the certificate is valid for %d days, want %d", days, s.p.MinDays)
		return
	}
	s.pass("%s, certificate for %d days", s.facts["tls"], days)
}

// ask offers sender and recipient and takes them back.
func (s *seen) ask(x *mail.Session) error {
	to := s.p.Recipient
	if to == "" {
		to = s.p.From
	}
	if s.p.SendTo != "" {
		to = s.p.SendTo
	}
	if err := x.Ask(s.p.From, to); err != nil {
		return s.judge(err)
	}
	s.facts["sent"] = "nothing"
	s.pass("takes mail from %s to %s; nothing was sent", s.p.From, to)
	x.Quit()
	return nil
}

// send sends the test message unless it was taken before.
func (s *seen) send(ctx context.Context, x *mail.Session) (err error) {
	book, err := receipt.Open(ctx, s.env, s.env.Key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	to := s.p.SendTo
	if before, known := book.Get(to); known && before.State == receipt.Taken {
		s.taken(before.Facts)
		s.facts["repeat"] = "the message was sent before"
		return nil
	}
	r := s.env.Run
	m := mail.Message{
		From: s.p.From, To: to, ID: mail.MessageID(s.env.Key, to, mail.Domain(s.p.From)), Date: s.env.Now(),
		Subject: fmt.Sprintf("Test message of %s in %s", r.Project, r.Environment),
		Text:    fmt.Sprintf("This message tests that mail is sent before %s %s goes to %s (run %s).\nNothing to do.", r.Project, r.Release, r.Environment, r.ID),
	}
	text, err := m.Bytes()
	if err != nil {
		return err
	}
	if err := book.Put(to, receipt.Sending, nil); err != nil {
		return err
	}
	reply, err := x.Send(s.p.From, to, text)
	if _, unknown := errors.AsType[*mail.Unknown](err); unknown {
		return fmt.Errorf("%s: %w", s.p.target(), err)
	}
	if err != nil {
		return errors.Join(book.Put(to, receipt.Refused, nil), s.judge(err))
	}
	facts := map[string]string{"queue": reply, "message_id": m.ID, "to": to, "sent_at": s.env.Now().UTC().Format(time.RFC3339)}
	if err := book.Put(to, receipt.Taken, facts); err != nil {
		return err
	}
	s.taken(facts)
	x.Quit()
	return nil
}

func (s *seen) taken(facts map[string]string) {
	maps.Copy(s.facts, facts)
	s.pass("queued the message to %s (%s), which is not yet delivered", s.p.SendTo, facts["queue"])
}
