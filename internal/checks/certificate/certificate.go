// Package certificate holds the type that looks at the certificates of TLS
// servers.
package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	_ "embed" // the page
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed tls.certificate.md
var certificateDoc string

// Certificate is the type tls.certificate.
var Certificate = check.Define[certificate](check.Desc{
	Name:    "tls.certificate",
	Summary: "every address of every host shows a certificate that is valid for it, with its whole chain, long enough",
	Doc:     certificateDoc,
})

const (
	// maxSights bounds how many addresses are looked at.
	maxSights = 200
	// patience bounds the look at one address, so that one that hangs does not keep
	// the others from being seen.
	patience = 10 * time.Second
	// day is the unit of min_days.
	day = 24 * time.Hour
)

type certificate struct {
	Hosts       []string `param:"hosts,short" doc:"hosts to look at: name, name:port, address or [address]:port"`
	Port        int      `param:"port" doc:"port of hosts that name none; 25 with starttls: smtp, 5432 with starttls: postgres, else 443" default:"0"`
	Addresses   []string `param:"addresses" doc:"addresses to connect to, instead of those that the hosts' names have" default:""`
	EachIP      bool     `param:"each_ip" doc:"look at every address of a name, not only at the first that answers" default:"true"`
	Family      string   `param:"family" doc:"look at addresses of this family only" default:"" enum:"ip4,ip6"`
	MinDays     int      `param:"min_days" doc:"fewest days for which the certificate and its chain must still be valid" default:"14"`
	Names       []string `param:"names" doc:"names that the certificate must cover beside the host's" default:""`
	MinTLS      string   `param:"min_tls" doc:"oldest version that the server may speak; older ones are tried and must be refused" default:"1.2" enum:"1.0,1.1,1.2,1.3"`
	CA          string   `param:"ca" doc:"file of trusted roots (PEM), instead of the system's" default:""`
	Fingerprint []string `param:"fingerprint" doc:"SHA-256 of the certificates that are right, in hexadecimal" default:""`
	Same        bool     `param:"same" doc:"all addresses of a host must show the same certificate" default:"false"`
	Stapled     bool     `param:"stapled" doc:"a valid OCSP answer that says good must come with the certificate" default:"false"`
	StartTLS    string   `param:"starttls" doc:"protocol in which TLS is asked for" default:"" enum:"smtp,postgres"`
}

// Validate holds the rules between the parameters.
func (p *certificate) Validate() error {
	if len(p.Hosts) == 0 {
		return errors.New("hosts: name at least one")
	}
	if p.MinDays < 0 || p.MinDays > 10000 {
		return errors.New("min_days: want 0 to 10000")
	}
	if p.Port < 0 || p.Port > 65535 {
		return errors.New("port: want 1 to 65535")
	}
	for _, host := range p.Hosts {
		if _, err := p.endpoint(host); err != nil {
			return err
		}
	}
	for _, a := range p.Addresses {
		if net.ParseIP(a) == nil {
			return fmt.Errorf("addresses: %q is not an IP address", a)
		}
	}
	for _, f := range p.Fingerprint {
		if raw, err := hex.DecodeString(plain(f)); err != nil || len(raw) != 32 {
			return fmt.Errorf("fingerprint: %q is not a SHA-256 in hexadecimal", f)
		}
	}
	if p.Same && !p.EachIP {
		return errors.New("same needs each_ip: true")
	}
	return nil
}

// plain gives a fingerprint without colons, in small letters.
func plain(fingerprint string) string {
	return strings.ToLower(strings.ReplaceAll(fingerprint, ":", ""))
}

// endpoint is one of the hosts: its name and port.
type endpoint struct{ host, port string }

// endpoint reads one of the hosts.
func (p *certificate) endpoint(text string) (endpoint, error) {
	port := p.Port
	if port == 0 {
		port = map[string]int{"": 443, "smtp": 25, "postgres": 5432}[p.StartTLS]
	}
	e := endpoint{strings.Trim(text, "[]"), strconv.Itoa(port)}
	if host, own, err := net.SplitHostPort(text); err == nil {
		e = endpoint{host, own}
	} else if strings.Contains(e.host, ":") && net.ParseIP(e.host) == nil {
		return e, fmt.Errorf("hosts: %q is not a host or host:port", text)
	}
	if n, err := strconv.Atoi(e.port); err != nil || n < 1 || n > 65535 || e.host == "" || strings.ContainsAny(e.host, "/ @") {
		return e, fmt.Errorf("hosts: %q is not a host or host:port", text)
	}
	return e, nil
}

// Traits says which hosts are looked at.
func (p *certificate) Traits() check.Traits {
	hosts := strings.Join(p.Hosts, ", ")
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "looks at the certificates of " + hosts, Target: hosts,
	}
}

// Run looks at every address and judges what it shows. What is wrong at one
// address is a fail, whatever could not be seen at another; with nothing wrong,
// an address that could not be seen is an error.
func (p *certificate) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	roots, err := p.roots(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	var sights []*sight
	var unseen []error
	for _, text := range p.Hosts {
		e, err := p.endpoint(text)
		if err != nil {
			return check.Outcome{}, err
		}
		of, err := p.host(ctx, env, e, roots)
		sights = append(sights, of...)
		if err != nil {
			unseen = append(unseen, err)
		}
	}
	if ctx.Err() != nil {
		unseen = append(unseen, context.Cause(ctx))
	}
	return p.outcome(env, sights, unseen, ctx.Err() != nil)
}

// roots gives the trusted roots; nil are the system's.
func (p *certificate) roots(ctx context.Context, env *check.Env) (*x509.CertPool, error) {
	if p.CA == "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("read the system's trusted roots: %w", err)
		}
		return roots, nil
	}
	host, err := env.Host("")
	if err != nil {
		return nil, err
	}
	pem, err := host.ReadFile(ctx, p.CA, 4<<20)
	if err != nil {
		return nil, fmt.Errorf("read ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s holds no certificate", p.CA)
	}
	return roots, nil
}

// host looks at the addresses of one host.
func (p *certificate) host(ctx context.Context, env *check.Env, e endpoint, roots *x509.CertPool) ([]*sight, error) {
	addresses, err := p.resolve(ctx, env, e.host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.host, err)
	}
	if len(addresses) > maxSights {
		return nil, fmt.Errorf("%s: more than %d addresses", e.host, maxSights)
	}
	var sights []*sight
	for _, address := range addresses {
		s := p.look(ctx, env, e, address, roots)
		sights = append(sights, s)
		if !p.EachIP && s.Error == "" {
			return []*sight{s}, nil // one that answers was asked for
		}
	}
	if p.Same {
		for _, s := range sights {
			if first := sights[0]; s.Error == "" && first.Error == "" && s.Fingerprint != first.Fingerprint {
				s.miss("shows another certificate than %s", first.Address)
			}
		}
	}
	return sights, nil
}

// resolve gives the addresses to look at for a name.
func (p *certificate) resolve(ctx context.Context, env *check.Env, host string) ([]string, error) {
	if len(p.Addresses) > 0 {
		return p.Addresses, nil
	}
	if net.ParseIP(host) != nil {
		return []string{host}, nil
	}
	resolver := net.Resolver{PreferGo: true, Dial: env.Dial}
	network := p.Family
	if network == "" {
		network = "ip"
	}
	found, err := resolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("the name has no address")
	}
	var out []string
	for _, address := range found {
		if text := address.Unmap().String(); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out, nil
}

// outcome sums up what was seen.
func (p *certificate) outcome(env *check.Env, sights []*sight, unseen []error, ended bool) (check.Outcome, error) {
	var misses []string
	seen, least, prints := 0, time.Duration(0), []string{}
	facts := map[string]string{}
	for _, s := range sights {
		if s.Error != "" {
			unseen = append(unseen, fmt.Errorf("%s: %s", s.where(), s.Error))
			continue
		}
		for _, m := range s.Misses {
			misses = append(misses, s.where()+" "+m)
		}
		if s.leaf == nil {
			continue
		}
		if left := s.leaf.NotAfter.Sub(env.Now()); seen == 0 || left < least {
			least = left
			facts["subject"], facts["issuer"], facts["not_after"] = s.Subject, s.Issuer, s.NotAfter.Format(time.RFC3339)
			facts["version"], facts["fingerprint"] = s.Version, s.Fingerprint
		}
		if !slices.Contains(prints, s.Fingerprint) {
			prints = append(prints, s.Fingerprint)
		}
		seen++
	}
	facts["addresses"], facts["certificates"] = strconv.Itoa(len(sights)), strconv.Itoa(len(prints))
	if seen > 0 {
		facts["days_left"] = strconv.Itoa(wholeDays(least))
	}
	o := check.Passf("%d of %d addresses show a certificate that is valid for its host; the first one ends in %d days (%s)", seen, len(sights), wholeDays(least), facts["not_after"])
	if len(misses) > 0 {
		for _, err := range unseen {
			misses = append(misses, "not seen: "+err.Error())
		}
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = facts
	if text, err := json.MarshalIndent(sights, "", "  "); err == nil && len(sights) > 0 {
		kept, err := env.Store("certificates.json", bytes.NewReader(text))
		if err != nil {
			return o, fmt.Errorf("keep evidence: %w", err)
		}
		o.Artefacts = []check.Artefact{kept}
	}
	if ended || len(misses) == 0 && (len(unseen) > 0 || seen == 0) {
		return o, errors.Join(append(unseen, nothing(len(sights), len(unseen)))...)
	}
	return o, nil
}

// nothing is the error of a check that saw no server at all.
func nothing(sights, unseen int) error {
	if sights == 0 && unseen == 0 {
		return errors.New("no address was looked at")
	}
	return nil
}

// wholeDays gives the full days of a duration; what is over is negative.
func wholeDays(d time.Duration) int {
	if d < 0 {
		return -1 - int(-d/day)
	}
	return int(d / day)
}
