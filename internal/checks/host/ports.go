package host

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed host.ports.md
var portsDoc string

// Ports is the type host.ports.
var Ports = check.Define[ports](check.Desc{
	Name: "host.ports", Summary: "exactly the ports that should be reachable are, and nothing else listens", Doc: portsDoc,
})

// maxPorts bounds how many ports are tried on one target.
const maxPorts = 1024

// ports looks at a machine's ports from outside and from inside.
type ports struct {
	Targets  []string      `param:"targets" doc:"names or addresses whose ports are tried" default:""`
	From     []string      `param:"from" doc:"hosts to try them from; where allclear runs when left out" default:""`
	Open     []portRange   `param:"open" doc:"ports that must be open (443, 8000-8010)" default:""`
	Closed   []portRange   `param:"closed" doc:"ports that may not be open: refused or filtered" default:""`
	Filtered []portRange   `param:"filtered" doc:"ports that must be filtered, as nobody answers" default:""`
	Control  string        `param:"control" doc:"host:port that must be open, to know that the way out works; one of open when left out" default:""`
	Patience time.Duration `param:"connect_within" doc:"how long an answer is waited for before a port is called filtered" default:"3s"`
	Listen   []listenRule  `param:"listen" doc:"everything that may listen beyond the loopback addresses (*:443, 10.0.0.5:5432)" default:""`
	Ruleset  string        `param:"ruleset" doc:"firewall whose rules are kept as evidence and must not be empty or off" default:"" enum:"nft,ufw"`
	SHA256   string        `param:"ruleset_sha256" doc:"digest that its rules must have, as an earlier run tells it" default:""`
	On       []string      `param:"on" doc:"hosts of listen and ruleset; this machine when left out" default:""`
}

// portRange is one port or several in a row.
type portRange struct{ from, to uint16 }

// UnmarshalText reads 443 or 8000-8010.
func (p *portRange) UnmarshalText(text []byte) error {
	first, last, several := strings.Cut(string(text), "-")
	if !several {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || to < from {
		return errors.New("want a port such as 443, or a range such as 8000-8010")
	}
	*p = portRange{uint16(from), uint16(to)}
	return nil
}

func (p portRange) String() string {
	if p.from == p.to {
		return strconv.Itoa(int(p.from))
	}
	return fmt.Sprintf("%d-%d", p.from, p.to)
}

// MarshalText writes it as it is read.
func (p portRange) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// each gives the ports of several ranges, without repetition.
func each(ranges []portRange) []uint16 {
	seen := map[uint16]bool{}
	for _, r := range ranges {
		for n := int(r.from); n <= int(r.to); n++ {
			seen[uint16(n)] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// listenRule is an address and port on which something may listen.
type listenRule struct {
	addr  netip.Addr // not valid: any address
	ports portRange
}

// UnmarshalText reads ADDRESS:PORT; ADDRESS may be *, and PORT a range or *.
func (l *listenRule) UnmarshalText(text []byte) error {
	at := strings.LastIndex(string(text), ":")
	if at < 0 {
		return errors.New("want ADDRESS:PORT, such as *:443 or 10.0.0.5:5432")
	}
	addr, port := strings.Trim(string(text[:at]), "[]"), string(text[at+1:])
	if addr != "*" {
		var err error
		if l.addr, err = netip.ParseAddr(addr); err != nil {
			return errors.New("want an IP address or * before the port")
		}
		l.addr = l.addr.Unmap()
	}
	if port == "*" {
		l.ports = portRange{1, 65535}
		return nil
	}
	return l.ports.UnmarshalText([]byte(port))
}

// MarshalText writes it as it is read.
func (l listenRule) MarshalText() ([]byte, error) {
	addr := "*"
	if l.addr.IsValid() {
		addr = l.addr.String()
	}
	if l.ports == (portRange{1, 65535}) {
		return []byte(addr + ":*"), nil
	}
	return []byte(addr + ":" + l.ports.String()), nil
}

func (l listenRule) allows(at netip.AddrPort) bool {
	return (!l.addr.IsValid() || l.addr == at.Addr()) && at.Port() >= l.ports.from && at.Port() <= l.ports.to
}

// Validate holds the rules between parameters.
func (p *ports) Validate() error {
	wanted := len(p.Open)+len(p.Closed)+len(p.Filtered) > 0
	switch {
	case !wanted && len(p.Listen) == 0 && p.Ruleset == "":
		return errors.New("needs open, closed or filtered with targets, listen or ruleset")
	case wanted != (len(p.Targets) > 0):
		return errors.New("targets goes with open, closed or filtered")
	case wanted && len(p.Open) == 0 && p.Control == "":
		return errors.New("closed and filtered need a port in open or a control: without one, a network that is down looks like a firewall")
	case !wanted && (p.Control != "" || len(p.From) > 0):
		return errors.New("control and from go with targets")
	case len(p.On) > 0 && len(p.Listen) == 0 && p.Ruleset == "":
		return errors.New("on is for listen and ruleset; from names where targets are tried from")
	case p.SHA256 != "" && (p.Ruleset == "" || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(p.SHA256)):
		return errors.New("ruleset_sha256 goes with ruleset and is 64 hexadecimal digits in lower case")
	case p.Patience < 100*time.Millisecond || p.Patience > time.Minute:
		return errors.New("connect_within is between 100ms and 1m")
	case len(each(p.Open))+len(each(p.Closed))+len(each(p.Filtered)) > maxPorts:
		return fmt.Errorf("more than %d ports", maxPorts)
	}
	for _, name := range p.Targets {
		if !isHost(name) {
			return fmt.Errorf("targets: %.100q is no name and no address", name)
		}
	}
	if p.Control != "" {
		name, port, err := net.SplitHostPort(p.Control)
		var at portRange
		if err != nil || !isHost(name) || at.UnmarshalText([]byte(port)) != nil {
			return fmt.Errorf("control: %.100q is not host:port", p.Control)
		}
	}
	return p.apart()
}

// apart refuses a port of which two things are wanted.
func (p *ports) apart() error {
	for i, one := range []map[string][]portRange{{"open": p.Open, "closed": p.Closed}, {"open": p.Open, "filtered": p.Filtered}, {"closed": p.Closed, "filtered": p.Filtered}} {
		var lists [][]uint16
		for _, ranges := range one {
			lists = append(lists, each(ranges))
		}
		for _, n := range lists[0] {
			if _, twice := slices.BinarySearch(lists[1], n); twice {
				return fmt.Errorf("port %d stands in %s", n, []string{"open and closed", "open and filtered", "closed and filtered"}[i])
			}
		}
	}
	return nil
}

func isHost(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return len(name) <= 253 && regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$`).MatchString(name)
}

// Traits says that connections are opened and nothing is sent.
func (p *ports) Traits() check.Traits {
	target := strings.Join(slices.Concat(p.Targets, p.On), ", ")
	if target == "" {
		target = "local"
	}
	t := check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network, Does: "looks at the ports of " + target, Target: target}
	if len(p.Targets) == 0 {
		t.Pool = check.Exec
	}
	return t
}

// verdicts gathers what was seen and what of it is wrong.
type verdicts struct {
	facts       map[string]string
	fine, wrong []string
	kept        []check.Artefact
}

// Run looks from every vantage point at every target, and into every host.
func (p *ports) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	v := &verdicts{facts: map[string]string{}}
	if len(p.Targets) > 0 {
		from := p.From
		if len(from) == 0 {
			from = []string{""}
		}
		for _, name := range from {
			if err := p.scan(ctx, env, v, name); err != nil {
				return check.Outcome{Facts: v.facts}, err
			}
		}
	}
	if len(p.Listen) > 0 || p.Ruleset != "" {
		on := p.On
		if len(on) == 0 {
			on = []string{""}
		}
		for _, name := range on {
			host, err := env.Host(name)
			if err == nil {
				err = p.inside(ctx, env, v, host)
			}
			if err != nil {
				return check.Outcome{Facts: v.facts}, err
			}
		}
	}
	outcome := check.Passf("%s", strings.Join(v.fine, ", "))
	if len(v.wrong) > 0 {
		outcome = check.Failf("%s", strings.Join(v.wrong[:min(len(v.wrong), 10)], "; "))
		if len(v.wrong) > 10 {
			outcome.Reason += fmt.Sprintf("; and %d more", len(v.wrong)-10)
		}
	}
	outcome.Facts, outcome.Artefacts = v.facts, v.kept
	return outcome, ctx.Err()
}

// inside looks at what listens on a host and at its firewall.
func (p *ports) inside(ctx context.Context, env *check.Env, v *verdicts, host check.Host) error {
	if len(p.Listen) > 0 {
		if err := p.listeners(ctx, v, host); err != nil {
			return fmt.Errorf("%s: %w", host.Name(), err)
		}
	}
	if p.Ruleset != "" {
		if err := p.ruleset(ctx, env, v, host); err != nil {
			return fmt.Errorf("%s: %w", host.Name(), err)
		}
	}
	return nil
}
