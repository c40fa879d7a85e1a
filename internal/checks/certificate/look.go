package certificate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/crypto/ocsp"

	"allclear.dev/allclear/internal/check"
)

// sight is what one address showed, and one line of the evidence.
type sight struct {
	Host        string    `json:"host"`
	Address     string    `json:"address"`
	Error       string    `json:"error,omitempty"`
	Misses      []string  `json:"misses,omitempty"`
	Subject     string    `json:"subject,omitempty"`
	Issuer      string    `json:"issuer,omitempty"`
	Names       []string  `json:"names,omitempty"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Fingerprint string    `json:"sha256,omitempty"`
	Sent        []string  `json:"sent,omitempty"`
	Version     string    `json:"version,omitempty"`
	Cipher      string    `json:"cipher,omitempty"`
	Stapled     string    `json:"stapled,omitempty"`
	leaf        *x509.Certificate
	state       tls.ConnectionState
}

func (s *sight) where() string { return s.Host + " at " + s.Address }

func (s *sight) miss(format string, args ...any) {
	s.Misses = append(s.Misses, fmt.Sprintf(format, args...))
}

// refused is a definite finding: the server offers no TLS.
type refused struct{ why string }

func (r *refused) Error() string { return r.why }

// look shakes hands with one address and judges what it shows.
func (p *certificate) look(ctx context.Context, env *check.Env, e endpoint, address string, roots *x509.CertPool) *sight {
	s := &sight{Host: e.host, Address: net.JoinHostPort(address, e.port)}
	state, err := p.handshake(ctx, env, s, tls.VersionTLS10, tls.VersionTLS13)
	if no, ok := errors.AsType[*refused](err); ok {
		s.miss("%s", no.why)
		return s
	}
	if err != nil {
		s.Error = err.Error()
		return s
	}
	if len(state.PeerCertificates) == 0 {
		s.Error = "the server showed no certificate"
		return s
	}
	s.describe(state)
	p.judge(env.Now(), s, roots)
	if err := p.older(ctx, env, s); err != nil {
		s.Error = err.Error()
	}
	return s
}

// describe fills in the evidence.
func (s *sight) describe(state tls.ConnectionState) {
	s.state, s.leaf = state, state.PeerCertificates[0]
	sum := sha256.Sum256(s.leaf.Raw)
	s.Subject, s.Issuer, s.Fingerprint = s.leaf.Subject.String(), s.leaf.Issuer.String(), hex.EncodeToString(sum[:])
	s.NotBefore, s.NotAfter = s.leaf.NotBefore.UTC(), s.leaf.NotAfter.UTC()
	s.Names = append(s.Names, s.leaf.DNSNames...)
	for _, ip := range s.leaf.IPAddresses {
		s.Names = append(s.Names, ip.String())
	}
	for _, c := range state.PeerCertificates {
		s.Sent = append(s.Sent, c.Subject.String())
	}
	s.Version, s.Cipher = tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)
	if len(state.OCSPResponse) > 0 {
		s.Stapled = "yes"
	}
}

// handshake connects and shakes hands with versions from oldest to newest. What
// the server shows is judged afterwards, so nothing is verified here.
func (p *certificate) handshake(ctx context.Context, env *check.Env, s *sight, oldest, newest uint16) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no complete handshake within %s", patience))
	defer cancel()
	raw, err := env.Dial(ctx, "tcp", s.Address)
	if err != nil {
		return tls.ConnectionState{}, ended(ctx, "connect", err)
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	if err := startTLS(raw, p.StartTLS); err != nil {
		return tls.ConnectionState{}, ended(ctx, "ask for TLS", err)
	}
	config := &tls.Config{
		InsecureSkipVerify: true, //nolint // judge verifies, and says what is wrong
		MinVersion:         oldest, MaxVersion: newest, Time: env.Now,
	}
	if net.ParseIP(s.Host) == nil {
		config.ServerName = s.Host
	}
	if newest < tls.VersionTLS13 {
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			config.CipherSuites = append(config.CipherSuites, suite.ID)
		}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, ended(ctx, shaking, err)
	}
	return conn.ConnectionState(), nil
}

// stage is an error with the step at which it happened.
type stage struct {
	what string
	err  error
}

func (s *stage) Error() string { return s.what + ": " + s.err.Error() }
func (s *stage) Unwrap() error { return s.err }

// shaking is the step at which the server has been heard to speak of TLS.
const shaking = "handshake"

// ended names the step of an error and tells, if that is so, that time was up.
func ended(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return &stage{what, context.Cause(ctx)}
	}
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return &stage{what, fmt.Errorf("the server does not speak TLS: %w", err)}
	}
	return &stage{what, err}
}

// older tries the versions before min_tls. A server that takes one of them is
// wrong; one that refuses with an alert or by closing the connection is right; of
// anything else it is not known which versions it takes.
func (p *certificate) older(ctx context.Context, env *check.Env, s *sight) error {
	versions := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	oldest := versions[p.MinTLS]
	if s.state.Version < oldest {
		s.miss("speaks %s, want at least TLS %s", s.Version, p.MinTLS)
		return nil
	}
	if oldest == tls.VersionTLS10 {
		return nil
	}
	state, err := p.handshake(ctx, env, s, tls.VersionTLS10, oldest-1)
	if err == nil {
		s.miss("accepts %s, want at least TLS %s", tls.VersionName(state.Version), p.MinTLS)
		return nil
	}
	at, _ := errors.AsType[*stage](err)
	remote, _ := errors.AsType[*net.OpError](err) // crypto/tls wraps an alert of the server in it
	alert := remote != nil && remote.Op == "remote error"
	if at != nil && at.what == shaking && (alert || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		return nil
	}
	return fmt.Errorf("whether versions before TLS %s are refused is not known: %w", p.MinTLS, err)
}

// staple judges the OCSP answer that came with the certificate (RFC 6960).
func (p *certificate) staple(now time.Time, s *sight, chain []*x509.Certificate) {
	if !p.Stapled {
		return
	}
	if len(s.state.OCSPResponse) == 0 {
		s.miss("sent no OCSP answer with its certificate")
		return
	}
	issuer := s.leaf
	if len(chain) > 1 {
		issuer = chain[1]
	}
	answer, err := ocsp.ParseResponseForCert(s.state.OCSPResponse, s.leaf, issuer)
	switch {
	case err != nil:
		s.miss("sent an OCSP answer that is not valid: %v", err)
	case answer.Status == ocsp.Revoked:
		s.miss("shows a certificate that was revoked at %s", answer.RevokedAt.UTC().Format(time.RFC3339))
	case answer.Status != ocsp.Good:
		s.miss("sent an OCSP answer that does not know the certificate")
	case answer.ThisUpdate.After(now) || !answer.NextUpdate.IsZero() && answer.NextUpdate.Before(now):
		s.miss("sent an OCSP answer of %s that is out of date", answer.ThisUpdate.UTC().Format(time.RFC3339))
	default:
		s.Stapled = "good"
	}
}
