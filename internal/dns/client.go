// Package dns asks name servers, one at a time and by their addresses, so that
// what each of them says is known.
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is the largest answer taken over UDP, in bytes: the size that passes
	// everywhere unfragmented (DNS Flag Day 2020).
	udpSize = 1232
	// tries is how often a question is sent over UDP; each waits for wait.
	tries = 3
	wait  = 2 * time.Second
	// maxStray bounds how many packets that do not belong to the question are read.
	maxStray = 100
)

// Client asks name servers.
type Client struct {
	// Dial opens a connection.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Record is one record of an answer. Name and Value have no dot at their ends;
// Value is as Canonical gives it.
type Record struct {
	Name  string        `json:"name"`
	Type  string        `json:"type"`
	Value string        `json:"value"`
	TTL   time.Duration `json:"-"`
}

// Answer is what a server said.
type Answer struct {
	// Code is NOERROR or NXDOMAIN; every other code is an error of Ask.
	Code string
	// Records are those of the answer's own section, aliases included.
	Records []Record
	// Authoritative tells that the server speaks for the zone itself.
	Authoritative bool
	// Recursive tells that the server looks elsewhere for what it does not know.
	Recursive bool
	// TCP tells that the answer did not fit a packet.
	TCP bool
}

// Of gives the records of one type.
func (a Answer) Of(kind string) []Record {
	return slices.DeleteFunc(slices.Clone(a.Records), func(r Record) bool { return r.Type != kind })
}

// Refused is the error of a server that answered, but not with what it knows: it
// failed (SERVFAIL), would not (REFUSED) or did not understand.
type Refused struct{ Server, Code string }

// Error names the server and its code.
func (r *Refused) Error() string { return fmt.Sprintf("%s answered %s", r.Server, r.Code) }

// Address gives host:port of a server that is written as an address with or
// without a port; the port is 53 by default.
func Address(server string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(server, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), "53"), nil
	}
	at, err := netip.ParseAddrPort(server)
	if err != nil || at.Port() == 0 {
		return "", fmt.Errorf("%q is not an address or address:port of a name server", server)
	}
	return at.String(), nil
}

// ValidName reports whether a text can be a domain name.
func ValidName(name string) bool {
	_, ok := dns.IsDomainName(name)
	return ok && name != "" && !strings.ContainsAny(name, " \t\r\n/@:")
}

// Ask asks a server (address:port) for the records of a name, over UDP and, if
// the answer does not fit, over TCP. Recurse asks it to look elsewhere if it does
// not know. No answer, one that is malformed, and any code but NOERROR and
// NXDOMAIN are errors.
func (c *Client) Ask(ctx context.Context, server, name, kind string, recurse bool) (Answer, error) {
	number, known := dns.StringToType[kind]
	if !known || !ValidName(name) {
		return Answer{}, fmt.Errorf("ask %s for %s %s: not a question", server, kind, name)
	}
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), number)
	question.RecursionDesired = recurse
	question.SetEdns0(udpSize, false)
	reply, err := c.overUDP(ctx, server, question)
	overTCP := err == nil && reply.Truncated
	if overTCP {
		reply, err = c.exchange(ctx, "tcp", server, question)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Answer{}, fmt.Errorf("ask %s for %s %s: %w", server, kind, name, err)
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return Answer{}, fmt.Errorf("ask for %s %s: %w", kind, name, &Refused{server, codeName(reply.Rcode)})
	}
	if reply.Truncated {
		return Answer{}, fmt.Errorf("ask %s for %s %s: the answer is cut, even over TCP", server, kind, name)
	}
	return read(reply, overTCP), nil
}

// Lookup asks servers in turn, which look elsewhere, until one gives an answer.
func (c *Client) Lookup(ctx context.Context, servers []string, name, kind string) (Answer, error) {
	var errs []error
	for _, server := range servers {
		answer, err := c.Ask(ctx, server, name, kind, true)
		if err == nil || ctx.Err() != nil {
			return answer, err
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return Answer{}, errors.New("no name server is known")
	}
	return Answer{}, errors.Join(errs...)
}

func codeName(code int) string {
	if name, known := dns.RcodeToString[code]; known {
		return name
	}
	return strconv.Itoa(code)
}

// overUDP sends the question until an answer comes.
func (c *Client) overUDP(ctx context.Context, server string, question *dns.Msg) (*dns.Msg, error) {
	var err error
	for range tries {
		var reply *dns.Msg
		if reply, err = c.exchange(ctx, "udp", server, question); err == nil || ctx.Err() != nil {
			return reply, err
		}
		if !errors.Is(err, errSilent) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w to %d questions", err, tries)
}

var errSilent = errors.New("no answer")

// exchange sends the question over a new connection and reads the reply to it.
func (c *Client) exchange(ctx context.Context, network, server string, question *dns.Msg) (*dns.Msg, error) {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := c.Dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	reply, err := talk(conn, network == "tcp", question)
	if err != nil && ctx.Err() != nil && outer.Err() == nil {
		return nil, errSilent
	}
	return reply, err
}

func talk(conn net.Conn, stream bool, question *dns.Msg) (*dns.Msg, error) {
	packed, err := question.Pack()
	if err != nil {
		return nil, err
	}
	if stream {
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	for range maxStray {
		raw, err := receive(conn, stream)
		if err != nil {
			return nil, err
		}
		// A packet of somebody else, or a late one, is not the answer.
		if len(raw) >= 2 && binary.BigEndian.Uint16(raw) != question.Id && !stream {
			continue
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(raw); err != nil {
			return nil, fmt.Errorf("malformed answer: %w", err)
		}
		if err := belongs(reply, question); err != nil {
			return nil, err
		}
		return reply, nil
	}
	return nil, fmt.Errorf("%d packets, none of which answers the question", maxStray)
}

// belongs checks that a reply is one to the question.
func belongs(reply, question *dns.Msg) error {
	asked := question.Question[0]
	if !reply.Response || reply.Id != question.Id || reply.Opcode != dns.OpcodeQuery {
		return errors.New("malformed answer: it belongs to no question")
	}
	// Some servers leave the question out when they refuse.
	if len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil
	}
	if len(reply.Question) != 1 || !strings.EqualFold(reply.Question[0].Name, asked.Name) || reply.Question[0].Qtype != asked.Qtype {
		return errors.New("malformed answer: it belongs to another question")
	}
	return nil
}

func receive(conn net.Conn, stream bool) ([]byte, error) {
	if !stream {
		packet := make([]byte, 1<<16)
		n, err := conn.Read(packet)
		return packet[:n], err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, packet)
	return packet, err
}
