// Package mailtest is a mail server for tests: a real one that speaks SMTP with
// TLS of its own authority, keeps what it takes, and can refuse at every stage.
package mailtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Certificate is a key with a certificate for localhost, and the authority that
// signed it.
type Certificate struct {
	Pair tls.Certificate
	// CA is a file with the authority; Cert and Key are files of the pair.
	CA, Cert, Key string
}

// NewCertificate makes an authority and a certificate that is valid for so many
// days.
func NewCertificate(t *testing.T, days int) Certificate {
	t.Helper()
	dir, now := t.TempDir(), time.Now()
	sign := func(template, parent *x509.Certificate, public, signer *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &public.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Duration(days)*24*time.Hour + time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey, leafKey := newKey(), newKey()
	c := Certificate{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	der := sign(leaf, root, leafKey, rootKey)
	private, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		c.CA: {Type: "CERTIFICATE", Bytes: sign(root, root, rootKey, rootKey)}, c.Cert: {Type: "CERTIFICATE", Bytes: der},
		c.Key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c.Pair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: leafKey}
	return c
}

// Options say how the server behaves.
type Options struct {
	// Certificate is shown; nil means that there is no TLS. Implicit begins with TLS.
	Certificate *Certificate
	Implicit    bool
	// User and Password are wanted; an empty User lets everybody in.
	User, Password string
	// Mail, Rcpt and Data may refuse an address or a message with an
	// *smtp.SMTPError; nil takes all.
	Mail, Rcpt, Data func(address string) error
	// Drop closes the connection instead of answering a message for this recipient,
	// which was taken.
	Drop string
}

// Message is one that was taken.
type Message struct {
	From, To, Text string
}

// Server is a running mail server.
type Server struct {
	Port int

	options  Options
	mu       sync.Mutex
	messages []Message
}

// New starts a server on localhost until the test ends.
func New(t *testing.T, o Options) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{options: o, Port: l.Addr().(*net.TCPAddr).Port}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{server: s, conn: c}, nil
	}))
	server.Domain, server.AllowInsecureAuth = "localhost", true
	server.ErrorLog = silent{}
	if o.Certificate != nil {
		settings := &tls.Config{Certificates: []tls.Certificate{o.Certificate.Pair}}
		if o.Implicit {
			l = tls.NewListener(l, settings)
		} else {
			server.TLSConfig = settings
		}
	}
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	return s
}

// Messages gives what was taken so far.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

type silent struct{}

func (silent) Printf(string, ...interface{}) {}
func (silent) Println(...interface{})        {}

type session struct {
	server   *Server
	conn     *smtp.Conn
	in       bool
	from, to string
}

// AuthMechanisms offers PLAIN to whoever has a user.
func (x *session) AuthMechanisms() []string {
	if x.server.options.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

// Auth compares user and password.
func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != x.server.options.User || password != x.server.options.Password {
			return smtp.ErrAuthFailed
		}
		x.in = true
		return nil
	}), nil
}

// Mail takes a sender.
func (x *session) Mail(from string, _ *smtp.MailOptions) error {
	if x.server.options.User != "" && !x.in {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	x.from = from
	return ask(x.server.options.Mail, from)
}

// Rcpt takes a recipient.
func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.to = to
	return ask(x.server.options.Rcpt, to)
}

func ask(rule func(string) error, text string) error {
	if rule == nil {
		return nil
	}
	return rule(text)
}

// Data takes a message.
func (x *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := ask(x.server.options.Data, x.to); err != nil {
		return err
	}
	x.server.mu.Lock()
	x.server.messages = append(x.server.messages, Message{x.from, x.to, string(text)})
	x.server.mu.Unlock()
	if x.to == x.server.options.Drop {
		return errors.Join(x.conn.Conn().Close(), errors.New("dropped"))
	}
	return nil
}

// Reset forgets sender and recipient.
func (x *session) Reset() { x.from, x.to = "", "" }

// Logout does nothing.
func (x *session) Logout() error { return nil }

// Say makes a refusal.
func Say(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: text}
}
