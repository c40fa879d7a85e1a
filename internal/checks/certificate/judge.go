package certificate

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// judge verifies what an address showed with the roots and only what was sent:
// a browser may find a missing intermediate elsewhere, a program does not.
func (p *certificate) judge(now time.Time, s *sight, roots *x509.CertPool) {
	leaf := s.leaf
	switch left := leaf.NotAfter.Sub(now); {
	case left < 0:
		s.miss("shows a certificate that expired at %s", s.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		s.miss("shows a certificate that is not valid before %s", s.NotBefore.Format(time.RFC3339))
	case left < time.Duration(p.MinDays)*day:
		s.miss("shows a certificate with %d days left (until %s), want at least %d", wholeDays(left), s.NotAfter.Format(time.RFC3339), p.MinDays)
	}
	for _, name := range append([]string{s.Host}, p.Names...) {
		if leaf.VerifyHostname(name) != nil {
			s.miss("shows a certificate that is not for %s but for %q", name, s.Names)
		}
	}
	if len(p.Fingerprint) > 0 && !slices.ContainsFunc(p.Fingerprint, func(f string) bool { return plain(f) == s.Fingerprint }) {
		s.miss("shows the certificate %s, which is none of those in fingerprint", s.Fingerprint)
	}
	p.chain(now, s, roots)
}

// chain verifies the chain at a moment when the certificate itself is valid, so
// that an expired one does not hide what else is wrong.
func (p *certificate) chain(now time.Time, s *sight, roots *x509.CertPool) {
	sent := x509.NewCertPool()
	for _, c := range s.state.PeerCertificates[1:] {
		sent.AddCert(c)
	}
	at := now
	if !within(at, s.leaf) {
		at = s.leaf.NotAfter.Add(-time.Second)
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: sent, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	chains, err := s.leaf.Verify(options)
	if err != nil {
		s.untrusted(err)
		return
	}
	// The root's own end does not count: it is trusted because it is listed. What
	// was sent must hold as long as the certificate has to.
	until := now.Add(time.Duration(p.MinDays) * day)
	lasting := slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		return !slices.ContainsFunc(chain[1:], func(c *x509.Certificate) bool { return until.After(c.NotAfter) })
	})
	if !lasting {
		s.miss("has a chain whose certificates above the server's are not valid for %d more days", p.MinDays)
	}
	p.staple(now, s, chains[0])
}

func within(at time.Time, c *x509.Certificate) bool {
	return !at.Before(c.NotBefore) && !at.After(c.NotAfter)
}

// untrusted says why the chain leads nowhere.
func (s *sight) untrusted(err error) {
	sent := s.state.PeerCertificates
	last := sent[0]
	// Servers send the chain in order, but not all do: follow the issuers.
	for range sent {
		i := slices.IndexFunc(sent, func(c *x509.Certificate) bool { return c != last && bytes.Equal(c.RawSubject, last.RawIssuer) })
		if i < 0 || bytes.Equal(last.RawIssuer, last.RawSubject) {
			break
		}
		last = sent[i]
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch selfSigned := bytes.Equal(last.RawIssuer, last.RawSubject); {
	case !unknown:
		s.miss("has a chain that is not valid: %v", err)
	case selfSigned && last == sent[0]:
		s.miss("shows a certificate that is signed by itself (%s)", last.Subject)
	case selfSigned:
		s.miss("has a chain that ends in %s, which is not trusted", last.Subject)
	default:
		s.miss("has an incomplete chain: the certificate of %s was not sent and is no trusted root", last.Issuer)
	}
}
