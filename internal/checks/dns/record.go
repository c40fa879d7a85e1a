// Package dns holds the type that asks name servers for records.
package dns

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dns"
)

//go:embed dns.record.md
var recordDoc string

// Record is the type dns.record.
var Record = check.Define[record](check.Desc{
	Name:    "dns.record",
	Summary: "every name server that is asked gives the records that are wanted, and all give the same",
	Doc:     recordDoc,
})

// The resolvers that are not addresses.
const (
	authoritative = "authoritative"
	system        = "system"
)

type record struct {
	Name      string         `param:"name,short" doc:"name to ask for"`
	Type      string         `param:"type" doc:"type of record" default:"A" enum:"A,AAAA,CNAME,MX,TXT,NS,SRV,CAA,SOA,PTR"`
	Values    []string       `param:"values" doc:"data that the records must have, in any order; any when left out" default:""`
	Match     string         `param:"match" doc:"whether the records are exactly the values, or others may stand beside them" default:"exact" enum:"exact,contains"`
	Absent    bool           `param:"absent" doc:"there must be no such record" default:"false"`
	TTL       *time.Duration `param:"ttl" doc:"longest time that the records may be kept by others" default:""`
	Resolvers []string       `param:"resolvers" doc:"who is asked: authoritative (every name server of the zone), system, or address[:port]" default:"authoritative"`
	Agree     bool           `param:"agree" doc:"all who are asked must give the same records" default:"true"`
	CAA       []string       `param:"caa" doc:"certificate authorities that may issue for the name (RFC 8659), all of them and no other" default:""`
}

// Validate holds the rules between the parameters.
func (p *record) Validate() error {
	if !dns.ValidName(p.Name) {
		return fmt.Errorf("name: %q is not a domain name", p.Name)
	}
	for _, v := range p.Values {
		if err := dns.Check(p.Type, v); err != nil {
			return fmt.Errorf("values: %w", err)
		}
	}
	if p.Absent && (len(p.Values) > 0 || p.TTL != nil) {
		return errors.New("absent leaves nothing for values and ttl")
	}
	if len(p.Resolvers) == 0 {
		return errors.New("resolvers: name at least one")
	}
	for i, r := range p.Resolvers {
		if _, err := dns.Address(r); err != nil && r != authoritative && r != system {
			return fmt.Errorf("resolvers: want authoritative, system or an address, got %q", r)
		}
		if slices.Contains(p.Resolvers[:i], r) {
			return fmt.Errorf("resolvers: %s is given twice", r)
		}
	}
	return nil
}

// Traits says what is asked of whom.
func (p *record) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "asks " + strings.Join(p.Resolvers, ", ") + " for " + p.Type + " " + p.Name, Target: p.Name,
	}
}

// view is what one server said, or why it said nothing.
type view struct {
	server
	answer dns.Answer
	err    error
}

// Run asks every server and judges the answers. What is wrong at one server is a
// fail, whatever another did not answer; with nothing wrong, a server without an
// answer is an error.
func (p *record) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	a := &asker{client: &dns.Client{Dial: env.Dial}, env: env}
	servers, err := a.servers(ctx, p)
	if err != nil {
		return check.Outcome{}, err
	}
	j := &judge{record: p, facts: map[string]string{"asked": strconv.Itoa(len(servers))}}
	var elsewhere []view
	for _, s := range servers {
		v := view{server: s}
		v.answer, v.err = a.ask(ctx, s, p.Name, p.Type)
		if s.host != "" && errors.Is(v.err, syscall.ENETUNREACH) {
			elsewhere = append(elsewhere, v)
			continue
		}
		j.see(v)
		if v.err == nil && len(p.CAA) > 0 {
			issuers, at, err := a.issuers(ctx, s, p.Name)
			j.caa(s, issuers, at, err)
		}
		if s.zone != "" {
			j.serial(ctx, a, s)
		}
	}
	for _, v := range elsewhere {
		j.unreachable(v)
	}
	if ctx.Err() != nil {
		return check.Outcome{Facts: j.facts}, errors.Join(append(j.unknown, context.Cause(ctx))...)
	}
	return j.outcome()
}

// judge collects what is wrong.
type judge struct {
	*record
	views   []view
	misses  []string
	unknown []error
	facts   map[string]string
}

func (j *judge) miss(format string, args ...any) {
	j.misses = append(j.misses, fmt.Sprintf(format, args...))
}

// see judges one server's answer.
func (j *judge) see(v view) {
	if v.err != nil {
		j.unknown = append(j.unknown, v.err)
		j.facts["answer."+v.name] = "error: " + v.err.Error()
		return
	}
	j.views = append(j.views, v)
	records := v.answer.Of(j.Type)
	values := dns.Values(records)
	shown := strings.Join(values, ", ")
	switch {
	case v.answer.Code != "NOERROR":
		shown = v.answer.Code
	case len(records) == 0:
		shown = "no record " + j.Type
	default:
		shown += " (TTL " + longest(v.answer.Records).String() + ")"
	}
	j.facts["answer."+v.name] = shown
	if v.answer.TCP {
		j.facts["tcp."+v.name] = "true"
	}
	if j.Absent {
		if len(records) > 0 {
			j.miss("%s: %s %s is %s, want none", v.name, j.Type, j.Name, strings.Join(values, ", "))
		}
		return
	}
	if len(records) == 0 {
		j.miss("%s: %s %s: %s", v.name, j.Type, j.Name, shown)
		return
	}
	j.compare(v.name, values)
	if ttl := longest(v.answer.Records); j.TTL != nil && ttl > *j.TTL {
		j.miss("%s: %s %s may be kept for %s, want at most %s", v.name, j.Type, j.Name, ttl, *j.TTL)
	}
}

// unreachable judges an address to which this machine has no route, as one of
// IPv6 where there is only IPv4. A name server that was heard at another of its
// addresses has been asked.
func (j *judge) unreachable(v view) {
	if slices.ContainsFunc(j.views, func(other view) bool { return other.host == v.host }) {
		j.facts["answer."+v.name] = "no route from here"
		return
	}
	j.see(v)
}

// longest gives the longest time for which a record of an answer may be kept.
func longest(records []dns.Record) time.Duration {
	most := time.Duration(0)
	for _, r := range records {
		most = max(most, r.TTL)
	}
	return most
}

func (j *judge) compare(who string, values []string) {
	if len(j.Values) == 0 {
		return
	}
	var want []string
	for _, v := range j.Values {
		want = append(want, dns.Canonical(j.Type, v))
	}
	var missing, more []string
	for _, v := range want {
		if !slices.Contains(values, v) {
			missing = append(missing, v)
		}
	}
	for _, v := range values {
		if !slices.Contains(want, v) && j.Match == "exact" {
			more = append(more, v)
		}
	}
	if len(missing)+len(more) > 0 {
		j.miss("%s: %s %s is %s, want %s", who, j.Type, j.Name, strings.Join(values, ", "), strings.Join(want, ", "))
	}
}

// caa judges which authorities may issue.
func (j *judge) caa(s server, issuers []string, at string, err error) {
	if err != nil {
		j.unknown = append(j.unknown, err)
		return
	}
	want := slices.Clone(j.CAA)
	slices.Sort(want)
	if at == "" {
		j.miss("%s: there is no CAA record for %s, so that any authority may issue; want %s", s.name, j.Name, strings.Join(want, ", "))
		return
	}
	j.facts["caa."+s.name] = strings.Join(issuers, ", ") + " (" + at + ")"
	if !slices.Equal(issuers, slices.Compact(want)) {
		j.miss("%s: CAA of %s lets [%s] issue, want [%s]", s.name, at, strings.Join(issuers, ", "), strings.Join(want, ", "))
	}
}

// serial keeps the zone's version at an authority; it decides nothing.
func (j *judge) serial(ctx context.Context, a *asker, s server) {
	answer, err := a.client.Ask(ctx, s.address, s.zone, "SOA", false)
	if err != nil {
		return
	}
	for _, r := range answer.Of("SOA") {
		if fields := strings.Fields(r.Value); len(fields) == 7 {
			j.facts["serial."+s.name] = fields[2]
		}
	}
}

func (j *judge) outcome() (check.Outcome, error) {
	if j.Agree {
		for _, v := range j.views[min(1, len(j.views)):] {
			first := j.views[0]
			ours, theirs := dns.Values(v.answer.Of(j.Type)), dns.Values(first.answer.Of(j.Type))
			if !slices.Equal(ours, theirs) {
				j.miss("%s and %s disagree: [%s] and [%s]", first.name, v.name, strings.Join(theirs, ", "), strings.Join(ours, ", "))
			}
		}
	}
	what := "is " + strings.Join(j.first(), ", ")
	if j.Absent {
		what = "does not exist"
	}
	o := check.Passf("%s %s %s at %d of %d servers", j.Type, j.Name, what, len(j.views), len(j.views)+len(j.unknown))
	if len(j.misses) > 0 {
		o = check.Failf("%s", strings.Join(j.misses, "; "))
	}
	o.Facts = j.facts
	if len(j.misses) == 0 && (len(j.unknown) > 0 || len(j.views) == 0) {
		if len(j.unknown) == 0 {
			return o, errors.New("no name server was asked")
		}
		return o, errors.Join(j.unknown...)
	}
	return o, nil
}

func (j *judge) first() []string {
	if len(j.views) == 0 {
		return nil
	}
	return dns.Values(j.views[0].answer.Of(j.Type))
}
