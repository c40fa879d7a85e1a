package mail

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/dns"
)

// maxLookups is how many questions a receiver asks for one SPF record; past them
// it answers permerror (RFC 7208, section 4.6.4).
const maxLookups = 10

// policyOf is an SPF record with all that it includes.
type policyOf struct {
	zone    *zone
	lookups int
	// included are the domains whose records count, wrong what makes the record
	// void for a receiver.
	included []string
	wrong    string
}

// spf looks at the record that says who may send for a domain (RFC 7208).
func (s *seen) spf(ctx context.Context, z *zone, domain, include string) error {
	p := &policyOf{zone: z}
	text, err := p.walk(ctx, domain, true)
	if err != nil {
		return err
	}
	if p.wrong == "" && include != "" && !slices.Contains(p.included, include) {
		p.wrong = fmt.Sprintf("does not include %s, so that its mail is not believed", include)
	}
	if p.wrong != "" {
		s.miss("SPF: %s %s", domain, p.wrong)
		return nil
	}
	s.facts["spf"] = text
	s.facts["spf.lookups"] = fmt.Sprint(p.lookups)
	s.pass("SPF of %s needs %d of %d lookups", domain, p.lookups, maxLookups)
	return nil
}

// walk reads a domain's record and, depth first, what it leads to.
func (p *policyOf) walk(ctx context.Context, domain string, first bool) (string, error) {
	found, err := p.zone.versioned(ctx, domain, "v=spf1")
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		p.fault("has %d SPF records, want one", len(found))
		if !first {
			p.wrong = fmt.Sprintf("leads to %s, which %s", domain, p.wrong)
		}
		return "", nil
	}
	ended := false
	terms := strings.Fields(strings.ToLower(found[0]))[1:]
	for i, term := range terms {
		qualifier, mechanism := "+", term
		if strings.ContainsAny(term[:1], "+-~?") {
			qualifier, mechanism = term[:1], term[1:]
		}
		if mechanism == "all" {
			ended = true
			if first && (qualifier == "+" || qualifier == "?") {
				p.fault("ends with %s, which lets everybody send", term)
			}
			continue
		}
		redirected := strings.HasPrefix(mechanism, "redirect=")
		ended = ended || redirected
		if redirected && slices.ContainsFunc(terms[i:], func(t string) bool { return strings.HasSuffix(t, "all") }) {
			continue // "all" makes a receiver ignore it (RFC 7208, section 6.1)
		}
		if err := p.term(ctx, mechanism); err != nil || p.wrong != "" {
			return "", err
		}
	}
	if first && !ended {
		p.fault("does not end with ~all or -all: it says nothing about others")
	}
	return found[0], nil
}

func (p *policyOf) fault(format string, args ...any) {
	if p.wrong == "" {
		p.wrong = fmt.Sprintf(format, args...)
	}
}

// term counts one mechanism and follows it if it leads to another record.
func (p *policyOf) term(ctx context.Context, mechanism string) error {
	name, domain, _ := strings.Cut(mechanism, ":")
	if target, redirects := strings.CutPrefix(mechanism, "redirect="); redirects {
		name, domain = "redirect", target
	}
	name, _, _ = strings.Cut(name, "/")
	switch name {
	case "ip4", "ip6":
		return nil
	case "include", "redirect", "a", "mx", "ptr", "exists":
		p.lookups++
	default:
		if !strings.Contains(mechanism, "=") { // unknown modifiers are ignored (section 6)
			p.fault("holds %q, which is no mechanism of SPF", mechanism)
		}
		return nil
	}
	if p.lookups > maxLookups {
		p.fault("needs more than %d lookups: receivers give up (permerror)", maxLookups)
		return nil
	}
	if name != "include" && name != "redirect" {
		return nil
	}
	if strings.Contains(domain, "%{") {
		return nil // a macro: it depends on the message
	}
	if !dns.ValidName(domain) {
		p.fault("leads to %q, which is no domain", domain)
		return nil
	}
	p.included = append(p.included, domain)
	// A loop ends at the limit of lookups.
	_, err := p.walk(ctx, domain, false)
	return err
}
