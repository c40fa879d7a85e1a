// Package mail hands messages to mail servers over SMTP (RFC 5321) and keeps what
// the server said: a taken message is one that waits in a queue, not one that
// somebody has in front of them.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// The ways to TLS. Submission over 465 is encrypted from the first byte (RFC 8314);
// STARTTLS asks for it within the session (RFC 3207).
const (
	StartTLS = "starttls"
	Implicit = "implicit"
	Plain    = "none"
)

// Mode gives the way to TLS: the chosen one, or what a port stands for.
func Mode(chosen string, port int) string {
	const implicitPort = 465 // RFC 8314, section 7.3
	switch {
	case chosen != "":
		return chosen
	case port == implicitPort:
		return Implicit
	}
	return StartTLS
}

const (
	// maxSaid bounds what is kept of one reply, in bytes.
	maxSaid = 300
	// maxBanner bounds the first line of a server, in bytes.
	maxBanner = 512
)

// Server is where messages are handed over.
type Server struct {
	Host string
	Port int
	// TLS is StartTLS, Implicit or Plain.
	TLS string
	// Roots are the authorities that are trusted; nil means the system's.
	Roots *x509.CertPool
	// User and Password log in; an empty User does not. Password is the secret
	// itself.
	User, Password string
	// Hello is the name given with EHLO; empty means localhost.
	Hello string
	// Now gives the time that certificates are compared with; nil means the clock.
	Now func() time.Time
}

// Address gives host:port.
func (s Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Refused is a reply that is certain: the server said no, and did not take the
// message.
type Refused struct {
	// Stage is what was answered: connect, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA,
	// message.
	Stage string
	// Code is the reply's, 400 to 599; Said is its text, cut.
	Code int
	Said string
}

// Error names the stage and the reply.
func (r *Refused) Error() string {
	return fmt.Sprintf("the mail server answered %d to %s: %s", r.Code, r.Stage, r.Said)
}

// Temporary reports whether the server asks to try again later (4yz).
func (r *Refused) Temporary() bool { return r.Code >= 400 && r.Code <= 499 }

// Unoffered is the error of a server that has no such extension.
type Unoffered struct{ What string }

// Error names what is missing.
func (u *Unoffered) Error() string { return "the mail server does not offer " + u.What }

// Untrusted is the error of a certificate that does not stand for the server.
type Untrusted struct{ Err error }

// Error says why.
func (u *Untrusted) Error() string { return "the mail server's certificate: " + u.Err.Error() }

// Unwrap gives the cause.
func (u *Untrusted) Unwrap() error { return u.Err }

// Unknown is the error of a message whose last byte was sent and whose answer did
// not come: the server may have taken it.
type Unknown struct{ Err error }

// Error gives the cause.
func (u *Unknown) Error() string {
	return "whether the mail server took the message is not known: " + u.Err.Error()
}

// Unwrap gives the cause.
func (u *Unknown) Unwrap() error { return u.Err }

// Session is a connection that is ready to take messages.
type Session struct {
	// Banner is the server's first line; Offers its extensions that matter here.
	Banner string
	Offers []string
	// TLS is what was agreed on; nil without encryption.
	TLS *tls.ConnectionState
	// Auth names the mechanism that let us in; empty without a login.
	Auth string

	client *smtp.Client
	// conn is what is closed when ctx ends, so that no answer is waited for.
	conn net.Conn
	ctx  context.Context //nolint:containedctx // a session lives as long as its context
	stop func() bool
}

// Dial connects, agrees on TLS and logs in, through dial. Every error that is not
// a *Refused, *Unoffered or *Untrusted says that this could not be found out.
func Dial(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), s Server) (*Session, error) {
	if s.User != "" && s.TLS == Plain {
		return nil, errors.New("a password is not sent without TLS")
	}
	raw, err := dial(ctx, "tcp", s.Address())
	if err != nil {
		return nil, fmt.Errorf("connect to the mail server: %w", err)
	}
	x := &Session{ctx: ctx, conn: raw}
	x.stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
	if err := x.open(s); err != nil {
		x.Close()
		return nil, x.because(err)
	}
	return x, nil
}

// Close ends the session.
func (x *Session) Close() {
	x.stop()
	_ = x.conn.Close() // nothing is lost with it
}

// because gives the end of the context as the reason of what it caused.
func (x *Session) because(err error) error {
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return err
}

func (x *Session) open(s Server) error {
	settings := &tls.Config{ServerName: s.Host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12, Time: s.Now}
	heard := &listener{Conn: x.conn}
	hello := s.Hello
	if hello == "" {
		hello = "localhost"
	}
	switch s.TLS {
	case Implicit:
		encrypted := tls.Client(x.conn, settings)
		if err := encrypted.HandshakeContext(x.ctx); err != nil {
			return handshake(err)
		}
		heard.Conn = encrypted
		x.client = smtp.NewClient(heard)
		state := encrypted.ConnectionState()
		x.TLS = &state
	case StartTLS:
		if err := offersTLS(x, heard, hello, settings); err != nil {
			return err
		}
	default:
		x.client = smtp.NewClient(heard)
	}
	if s.TLS != StartTLS {
		if err := x.client.Hello(hello); err != nil {
			return stage(greeting(heard, "EHLO"), err)
		}
	}
	x.Banner = heard.banner()
	for _, name := range []string{"AUTH", "SIZE", "8BITMIME", "SMTPUTF8", "STARTTLS", "PIPELINING", "DSN"} {
		if ok, more := x.client.Extension(name); ok {
			x.Offers = append(x.Offers, strings.TrimSpace(name+" "+more))
		}
	}
	return x.login(s)
}

// offersTLS turns the session into an encrypted one.
func offersTLS(x *Session, heard *listener, hello string, settings *tls.Config) error {
	client, err := smtp.NewClientStartTLS(heard, settings)
	if err != nil {
		if strings.Contains(err.Error(), "doesn't support STARTTLS") {
			return &Unoffered{"STARTTLS"}
		}
		if _, refused := errors.AsType[*smtp.SMTPError](err); refused {
			return stage(greeting(heard, "STARTTLS"), err)
		}
		return handshake(err)
	}
	x.client = client
	// The handshake is done with the first command; whoever answers it is who the
	// certificate names.
	if err := client.Hello(hello); err != nil {
		if _, refused := errors.AsType[*smtp.SMTPError](err); refused {
			return stage("EHLO", err)
		}
		return handshake(err)
	}
	state, ok := client.TLSConnectionState()
	if !ok || !state.HandshakeComplete {
		return errors.New("the mail server agreed to TLS and does not use it")
	}
	x.TLS = &state
	return nil
}

// greeting tells whether a refusal belongs to the first line or to a command.
func greeting(heard *listener, command string) string {
	if !strings.HasPrefix(heard.banner(), "220") {
		return "connect"
	}
	return command
}

// handshake tells a certificate that is not trusted from a handshake that failed.
func handshake(err error) error {
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &Untrusted{wrong.Err}
	}
	return fmt.Errorf("agree on TLS: %w", err)
}

// login uses the strongest mechanism that both sides have; over TLS all of them
// keep the password from others.
func (x *Session) login(s Server) error {
	if s.User == "" {
		return nil
	}
	offered, mechanisms := x.client.Extension("AUTH")
	if !offered {
		return &Unoffered{"AUTH"}
	}
	var client sasl.Client
	switch offers := strings.Fields(strings.ToUpper(mechanisms)); {
	case slices.Contains(offers, sasl.Plain):
		x.Auth, client = sasl.Plain, sasl.NewPlainClient("", s.User, s.Password)
	case slices.Contains(offers, sasl.Login):
		x.Auth, client = sasl.Login, sasl.NewLoginClient(s.User, s.Password)
	default:
		return &Unoffered{"AUTH PLAIN or LOGIN (it offers " + clip(mechanisms) + ")"}
	}
	return stage("AUTH", x.client.Auth(client))
}

// Ask names a sender and a recipient and takes both back: nothing is sent.
func (x *Session) Ask(from, to string) (err error) {
	defer func() { err = x.ended(err) }()
	if err := x.envelope(from, to); err != nil {
		return err
	}
	return stage("RSET", x.client.Reset())
}

// ended gives the context's end as the reason of an error.
func (x *Session) ended(err error) error {
	if err == nil {
		return nil
	}
	return x.because(err)
}

func (x *Session) envelope(from, to string) error {
	if err := stage("MAIL", x.client.Mail(from, nil)); err != nil {
		return err
	}
	return stage("RCPT", x.client.Rcpt(to, nil))
}

// Send hands one message to the server for one recipient and gives its reply,
// which names the message in the server's queue. Until the last byte was sent, no
// error leaves open whether the server took it; after that, an answer that does
// not come is an *Unknown.
func (x *Session) Send(from, to string, message []byte) (string, error) {
	if err := x.envelope(from, to); err != nil {
		if _, refused := errors.AsType[*Refused](err); refused {
			_ = x.client.Reset() // the next message begins anew; a lost connection shows there
		}
		return "", x.ended(err)
	}
	body, err := x.client.Data()
	if err != nil {
		return "", x.ended(stage("DATA", err))
	}
	if _, err := body.Write(message); err != nil {
		return "", x.ended(fmt.Errorf("send the message: %w", err))
	}
	answer, err := body.CloseWithResponse()
	if err != nil {
		if _, refused := errors.AsType[*smtp.SMTPError](err); refused {
			return "", stage("message", err)
		}
		return "", &Unknown{x.because(err)}
	}
	return clip(answer.StatusText), nil
}

// Quit says goodbye and closes. A server that does not answer it has taken what it
// took.
func (x *Session) Quit() {
	_ = x.client.Quit()
	x.Close()
}

// stage turns a reply into a *Refused that names what was answered.
func stage(name string, err error) error {
	if err == nil {
		return nil
	}
	reply, refused := errors.AsType[*smtp.SMTPError](err)
	if !refused {
		return fmt.Errorf("%s: %w", name, err)
	}
	if reply.Code < 400 || reply.Code > 599 {
		return fmt.Errorf("%s: the mail server answered %d, which is no answer to it", name, reply.Code)
	}
	return &Refused{Stage: name, Code: reply.Code, Said: clip(reply.Message)}
}

// clip makes one short line of what a server says.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return strings.Join(strings.Fields(text), " ")
}

// listener keeps the first line that comes over a connection.
type listener struct {
	net.Conn
	mu    sync.Mutex
	first []byte
	whole bool
}

// Read keeps what comes until the first line is whole.
func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.whole {
		line, _, ended := strings.Cut(string(p[:n]), "\n")
		l.first = append(l.first, line[:min(len(line), maxBanner-len(l.first))]...)
		l.whole = ended || len(l.first) >= maxBanner
	}
	return n, err
}

func (l *listener) banner() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return clip(string(l.first))
}
