package mail

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/dns"
	"allclear.dev/allclear/internal/mail"
)

// system stands for the resolvers of this machine.
const system = "system"

// minRSA is the shortest key that receivers must accept, in bits (RFC 8301,
// section 3.2).
const minRSA = 1024

// record is what must stand in DNS: kind is spf, dkim or dmarc, detail what
// follows the colon.
type record struct{ kind, detail string }

// UnmarshalText reads a record.
func (r *record) UnmarshalText(text []byte) error {
	kind, detail, colon := strings.Cut(string(text), ":")
	ok := false
	switch kind {
	case "spf":
		ok = !colon || dns.ValidName(detail)
	case "dkim":
		ok = dns.ValidName(detail)
	case "dmarc":
		ok = !colon || slices.Contains(policies()[1:], detail)
	}
	if !ok {
		return errors.New("want spf, spf:DOMAIN, dkim:SELECTOR, dmarc, dmarc:quarantine or dmarc:reject")
	}
	*r = record{kind, strings.ToLower(detail)}
	return nil
}

// policies lists what DMARC can ask for, from nothing to most (RFC 7489, 6.3).
func policies() []string { return []string{"none", "quarantine", "reject"} }

// zone asks for the records of one domain.
type zone struct {
	client  *dns.Client
	servers []string
}

// texts gives the TXT records of a name. No name and no record are no texts; a
// server that does not speak for the name and asks nobody is an error.
func (z *zone) texts(ctx context.Context, name string) ([]string, error) {
	answer, err := z.client.Lookup(ctx, z.servers, name, "TXT")
	if err != nil {
		return nil, err
	}
	records := answer.Of("TXT")
	if len(records) == 0 && !answer.Authoritative && !answer.Recursive {
		return nil, fmt.Errorf("ask for TXT %s: the server neither speaks for it nor looks elsewhere", name)
	}
	var out []string
	for _, r := range records {
		out = append(out, r.Value)
	}
	return out, nil
}

// versioned gives the records of one kind: SPF and DMARC stand beside other texts.
func (z *zone) versioned(ctx context.Context, name, version string) ([]string, error) {
	texts, err := z.texts(ctx, name)
	return slices.DeleteFunc(texts, func(text string) bool {
		rest, ok := strings.CutPrefix(text, version)
		return !ok || rest != "" && rest[0] != ' ' && rest[0] != ';'
	}), err
}

// names looks at every record that must stand.
func (s *seen) names(ctx context.Context) error {
	if len(s.p.DNS) == 0 {
		return nil
	}
	z := &zone{client: &dns.Client{Dial: s.env.Dial}}
	if err := s.resolvers(ctx, z); err != nil {
		return err
	}
	domain := mail.Domain(s.p.From)
	for _, r := range s.p.DNS {
		look := s.spf
		switch r.kind {
		case "dkim":
			look = s.dkim
		case "dmarc":
			look = s.dmarc
		}
		if err := look(ctx, z, domain, r.detail); err != nil {
			return err
		}
	}
	return nil
}

func (s *seen) resolvers(ctx context.Context, z *zone) error {
	for _, r := range s.p.Resolvers {
		if r != system {
			address, err := dns.Address(r)
			if err != nil {
				return err
			}
			z.servers = append(z.servers, address)
			continue
		}
		host, err := s.env.Host("")
		if err != nil {
			return err
		}
		const maxConfig = 64 << 10
		text, err := host.ReadFile(ctx, "/etc/resolv.conf", maxConfig)
		if err != nil {
			return fmt.Errorf("read resolv.conf: %w", err)
		}
		found, err := dns.System(bytes.NewReader(text))
		if err != nil {
			return err
		}
		z.servers = append(z.servers, found...)
	}
	return nil
}

// dkim looks at the public key of a selector (RFC 6376, section 3.6.1).
func (s *seen) dkim(ctx context.Context, z *zone, domain, selector string) error {
	name := selector + "._domainkey." + domain
	texts, err := z.texts(ctx, name)
	if err != nil {
		return err
	}
	if len(texts) != 1 {
		s.miss("DKIM: %s has %d TXT records, want one key", name, len(texts))
		return nil
	}
	tags, err := tagged(texts[0])
	if err != nil {
		s.miss("DKIM: %s: %v", name, err)
		return nil
	}
	kind, what := key(tags)
	if kind == "" {
		s.miss("DKIM: %s %s", name, what)
		return nil
	}
	if slices.Contains(strings.Split(tags["t"], ":"), "y") {
		s.miss("DKIM: %s says that it is only tested (t=y): receivers ignore it", name)
		return nil
	}
	s.facts["dkim."+selector] = kind
	s.pass("DKIM %s is %s", selector, kind)
	return nil
}

// key describes a public key, or says what is wrong with it.
func key(tags map[string]string) (kind, wrong string) {
	if v, there := tags["v"]; there && v != "DKIM1" {
		return "", fmt.Sprintf("is no key: v=%s", v)
	}
	public, there := tags["p"]
	switch {
	case !there:
		return "", "holds no key (p=)"
	case public == "":
		return "", "is revoked: its key is empty"
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(public), ""))
	if err != nil {
		return "", "holds a key that is not base64"
	}
	const ed25519Size = 32 // RFC 8463
	switch tags["k"] {
	case "ed25519":
		if len(raw) != ed25519Size {
			return "", "holds no Ed25519 key"
		}
		return "an Ed25519 key", ""
	case "", "rsa":
	default:
		return "", fmt.Sprintf("holds a key of the unknown kind %q", tags["k"])
	}
	var public1 *rsa.PublicKey
	if parsed, err := x509.ParsePKIXPublicKey(raw); err == nil {
		public1, _ = parsed.(*rsa.PublicKey)
	} else if public1, err = x509.ParsePKCS1PublicKey(raw); err != nil {
		public1 = nil
	}
	switch {
	case public1 == nil:
		return "", "holds no RSA key"
	case public1.N.BitLen() < minRSA:
		return "", fmt.Sprintf("holds an RSA key of %d bits, which receivers refuse below %d", public1.N.BitLen(), minRSA)
	}
	return fmt.Sprintf("an RSA key of %d bits", public1.N.BitLen()), ""
}

// dmarc looks at the policy of the domain or, without one of its own, at that of
// the domains above it (RFC 7489, section 6.6.3; the walk upwards instead of a
// list of public suffixes is that of DMARC's revision).
func (s *seen) dmarc(ctx context.Context, z *zone, domain, least string) error {
	for at, more := domain, true; more && strings.Contains(at, "."); at, more = dns.Parent(at) {
		found, err := z.versioned(ctx, "_dmarc."+at, "v=DMARC1")
		if err != nil {
			return err
		}
		switch len(found) {
		case 0:
			continue
		case 1:
			s.policy(at, domain, found[0], least)
			return nil
		}
		s.miss("DMARC: _dmarc.%s has %d records: receivers ignore all of them", at, len(found))
		return nil
	}
	s.miss("DMARC: neither %s nor a domain above it has a record at _dmarc", domain)
	return nil
}

func (s *seen) policy(at, domain, text, least string) {
	tags, err := tagged(text)
	if err != nil {
		s.miss("DMARC: _dmarc.%s: %v", at, err)
		return
	}
	policy := tags["p"]
	if sub := tags["sp"]; sub != "" && at != domain {
		policy = sub
	}
	rank := slices.Index(policies(), strings.ToLower(policy))
	if rank < 0 {
		s.miss("DMARC: _dmarc.%s has no policy: p=%s", at, policy)
		return
	}
	if rank < slices.Index(policies(), least) {
		s.miss("DMARC: the policy of %s is %s, want %s", at, policy, least)
		return
	}
	s.facts["dmarc"] = text
	// The envelope's sender and the header's are the same address here, so that
	// SPF is aligned however strict aspf is; DKIM is by the selector's domain.
	s.facts["dmarc.alignment"] = fmt.Sprintf("the envelope and the header are of %s", domain)
	s.pass("DMARC of %s is %s", at, policy)
}

// tagged reads "tag=value; …" (RFC 6376, section 3.2).
func tagged(text string) (map[string]string, error) {
	out := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("%.40q is no list of tags", text)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		out[name] = strings.TrimSpace(value)
	}
	return out, nil
}
