package dns

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Types lists the record types that can be asked for.
func Types() []string {
	return []string{"A", "AAAA", "CNAME", "MX", "TXT", "NS", "SRV", "CAA", "SOA", "PTR"}
}

// read gives what a reply says.
func read(reply *dns.Msg, tcp bool) Answer {
	a := Answer{Code: codeName(reply.Rcode), Authoritative: reply.Authoritative, Recursive: reply.RecursionAvailable, TCP: tcp}
	for _, rr := range reply.Answer {
		h := rr.Header()
		kind := dns.TypeToString[h.Rrtype]
		a.Records = append(a.Records, Record{
			Name: strings.ToLower(strings.TrimSuffix(h.Name, ".")), Type: kind,
			Value: value(rr), TTL: time.Duration(h.Ttl) * time.Second,
		})
	}
	return a
}

// value gives a record's data in its canonical form.
func value(rr dns.RR) string {
	if text, ok := rr.(*dns.TXT); ok {
		return strings.Join(text.Txt, "")
	}
	data := strings.TrimPrefix(rr.String(), rr.Header().String())
	return Canonical(dns.TypeToString[rr.Header().Rrtype], data)
}

// Canonical gives one spelling of a record's data: addresses in their short form,
// names in small letters without a dot at the end, fields with one space between
// them, the value of CAA in quotes. A text (TXT) stays as it is, its parts joined.
func Canonical(kind, data string) string {
	if kind == "TXT" {
		return data
	}
	fields := strings.Fields(data)
	for i, field := range fields {
		switch kind {
		case "A", "AAAA":
			if ip, err := netip.ParseAddr(field); err == nil {
				fields[i] = ip.String()
			}
		case "CAA":
			if i == 1 {
				fields[i] = strings.ToLower(field)
			}
		default:
			if field != "." {
				field = strings.TrimSuffix(field, ".")
			}
			fields[i] = strings.ToLower(field)
		}
	}
	if kind == "CAA" && len(fields) > 2 {
		// The value may hold spaces, and people leave its quotes out.
		return fields[0] + " " + fields[1] + ` "` + strings.Trim(strings.Join(fields[2:], " "), `"`) + `"`
	}
	return strings.Join(fields, " ")
}

// Check tells what is wrong with a record's data as a person wrote it.
func Check(kind, data string) error {
	if kind == "TXT" {
		return nil
	}
	rr, err := dns.NewRR("x. 60 IN " + kind + " " + Canonical(kind, data))
	if err != nil || rr == nil {
		return fmt.Errorf("%q is not the data of a record %s", data, kind)
	}
	return nil
}

// Values gives the sorted values of records, each once.
func Values(records []Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, r.Value)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// System reads the name servers of resolv.conf(5) as address:port.
func System(text io.Reader) ([]string, error) {
	config, err := dns.ClientConfigFromReader(text)
	if err != nil {
		return nil, fmt.Errorf("read resolv.conf: %w", err)
	}
	var out []string
	for _, server := range config.Servers {
		if at, err := Address(server); err == nil {
			out = append(out, at)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("resolv.conf names no name server")
	}
	return out, nil
}

// Parent gives the name one level up; false at the last level below the root.
func Parent(name string) (string, bool) {
	_, up, more := strings.Cut(strings.TrimSuffix(name, "."), ".")
	return up, more && up != ""
}
