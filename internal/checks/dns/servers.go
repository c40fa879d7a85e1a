package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dns"
)

// maxServers bounds how many servers are asked.
const maxServers = 100

// server is one that is asked. Of one that speaks for a zone, the zone and the
// server's own name (host) are set.
type server struct{ name, address, zone, host string }

// asker asks on behalf of one run.
type asker struct {
	client *dns.Client
	env    *check.Env
}

// servers gives everybody who is to be asked.
func (a *asker) servers(ctx context.Context, p *record) ([]server, error) {
	var out []server
	for _, r := range p.Resolvers {
		switch r {
		case authoritative:
			found, err := a.authorities(ctx, p)
			if err != nil {
				return nil, fmt.Errorf("find the name servers of %s: %w", p.Name, err)
			}
			out = append(out, found...)
		case system:
			found, err := a.system(ctx)
			if err != nil {
				return nil, err
			}
			for _, address := range found {
				out = append(out, server{name: address, address: address})
			}
		default:
			address, err := dns.Address(r)
			if err != nil {
				return nil, err
			}
			out = append(out, server{name: r, address: address})
		}
	}
	if len(out) > maxServers {
		return nil, fmt.Errorf("more than %d name servers", maxServers)
	}
	return out, nil
}

// system gives the name servers that this machine uses.
func (a *asker) system(ctx context.Context) ([]string, error) {
	host, err := a.env.Host("")
	if err != nil {
		return nil, err
	}
	text, err := host.ReadFile(ctx, "/etc/resolv.conf", 1<<16)
	if err != nil {
		return nil, fmt.Errorf("read resolv.conf: %w", err)
	}
	return dns.System(bytes.NewReader(text))
}

// authorities gives every address of every name server of the zone that the name
// is in. A recursive resolver tells which they are: the first that is given, else
// the system's.
func (a *asker) authorities(ctx context.Context, p *record) ([]server, error) {
	var guides []string
	for _, r := range p.Resolvers {
		if address, err := dns.Address(r); err == nil {
			guides = append(guides, address)
		}
	}
	if len(guides) == 0 {
		var err error
		if guides, err = a.system(ctx); err != nil {
			return nil, err
		}
	}
	for zone, more := strings.TrimSuffix(p.Name, "."), true; more; zone, more = dns.Parent(zone) {
		answer, err := a.client.Lookup(ctx, guides, zone, "NS")
		if err != nil {
			return nil, err
		}
		// An alias leads to another zone's servers.
		names := answer.Of("NS")
		names = slices.DeleteFunc(names, func(r dns.Record) bool { return !strings.EqualFold(r.Name, zone) })
		if len(names) > 0 {
			return a.addresses(ctx, guides, zone, dns.Values(names))
		}
	}
	return nil, errors.New("no zone with name servers is known above it")
}

// addresses looks up where the name servers are.
func (a *asker) addresses(ctx context.Context, guides []string, zone string, names []string) ([]server, error) {
	var out []server
	for _, name := range names {
		before := len(out)
		for _, kind := range []string{"A", "AAAA"} {
			answer, err := a.client.Lookup(ctx, guides, name, kind)
			if err != nil {
				return nil, err
			}
			for _, ip := range dns.Values(answer.Of(kind)) {
				out = append(out, server{name: name + "@" + ip, address: net.JoinHostPort(ip, "53"), zone: zone, host: name})
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("the name server %s has no address", name)
		}
	}
	return out, nil
}

// ask asks one server. An authority must know by itself.
func (a *asker) ask(ctx context.Context, s server, name, kind string) (dns.Answer, error) {
	answer, err := a.client.Ask(ctx, s.address, name, kind, s.zone == "")
	if err != nil {
		return answer, fmt.Errorf("%s: %w", s.name, err)
	}
	if s.zone != "" && !answer.Authoritative {
		return answer, fmt.Errorf("%s: the server is listed for %s but does not speak for it", s.name, s.zone)
	}
	if len(answer.Records) == 0 && !answer.Authoritative && !answer.Recursive {
		return answer, fmt.Errorf("%s: the server neither speaks for %s nor looks elsewhere", s.name, name)
	}
	aliases := answer.Of("CNAME")
	if s.zone != "" && kind != "CNAME" && len(aliases) > 0 && len(answer.Of(kind)) == 0 && answer.Code == "NOERROR" {
		return answer, fmt.Errorf("%s: %s is an alias of %s, which another zone knows: ask for type CNAME, or a resolver",
			s.name, name, aliases[len(aliases)-1].Value)
	}
	return answer, nil
}

// issuers gives who may issue certificates for a name and where that stands: at
// the name or the nearest one above it that has CAA records (RFC 8659, section
// 3). No record anywhere gives an empty place.
func (a *asker) issuers(ctx context.Context, s server, name string) ([]string, string, error) {
	for at, more := strings.TrimSuffix(name, "."), true; more; at, more = dns.Parent(at) {
		answer, err := a.client.Ask(ctx, s.address, at, "CAA", s.zone == "")
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", s.name, err)
		}
		if s.zone != "" && !answer.Authoritative {
			return nil, "", fmt.Errorf("%s: the server does not speak for CAA %s", s.name, at)
		}
		if records := answer.Of("CAA"); len(records) > 0 {
			return issue(records), at, nil
		}
		if strings.EqualFold(at, s.zone) {
			break // above its zone an authority knows nothing
		}
	}
	return nil, "", nil
}

// issue gives the authorities named by the property issue, sorted; ";" means
// that none may.
func issue(records []dns.Record) []string {
	out := []string{}
	for _, r := range records {
		fields := strings.SplitN(r.Value, " ", 3)
		if len(fields) != 3 || fields[1] != "issue" {
			continue
		}
		who, _, _ := strings.Cut(strings.Trim(fields[2], `"`), ";")
		if who = strings.ToLower(strings.TrimSpace(who)); who != "" {
			out = append(out, who)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
