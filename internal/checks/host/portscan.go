package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
)

// scanners is how many ports are tried at a time.
const scanners = 16

// The states of a port. A refusal comes from the machine (or a firewall that says
// so); of a filtered one nobody says anything, or that it cannot be reached.
const (
	open     = "open"
	refused  = "refused"
	filtered = "filtered"
)

// vantage is where ports are tried from.
type vantage struct {
	name string
	try  func(ctx context.Context, name, port string) (string, error)
}

func (p *ports) vantage(env *check.Env, name string) (vantage, error) {
	if name == "" {
		return vantage{name: "here", try: func(ctx context.Context, name, port string) (string, error) { return p.dial(ctx, env, name, port) }}, nil
	}
	host, err := env.Host(name)
	if err != nil {
		return vantage{}, err
	}
	return vantage{name: host.Name(), try: func(ctx context.Context, name, port string) (string, error) { return p.netcat(ctx, host, name, port) }}, nil
}

// dial opens a connection from where allclear runs and closes it again.
func (p *ports) dial(ctx context.Context, env *check.Env, name, port string) (string, error) {
	within, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	conn, err := env.Dial(within, "tcp", net.JoinHostPort(name, port))
	if err == nil {
		return open, conn.Close()
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	// Silence counts only if it was listened to for as long as it should be.
	patience, _ := within.Deadline()
	if end, ends := ctx.Deadline(); ends && !patience.Before(end) {
		return "", fmt.Errorf("the item's own time is shorter than connect_within: %w", err)
	}
	timeout, isNet := errors.AsType[net.Error](err)
	_, unresolved := errors.AsType[*net.DNSError](err)
	switch {
	case unresolved:
		return "", err
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused, nil
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout(), errors.Is(err, syscall.EHOSTUNREACH):
		return filtered, nil
	}
	return "", err
}

// netcat opens a connection from another host, by OpenBSD's nc as Debian, Ubuntu,
// Fedora and Alpine have it.
func (p *ports) netcat(ctx context.Context, host check.Host, name, port string) (string, error) {
	seconds := strconv.Itoa(int((p.Patience + time.Second - 1) / time.Second))
	result, err := host.Exec(ctx, check.Command{Argv: []string{"nc", "-z", "-v", "-w", seconds, name, port}, Dir: "/", Env: []string{"LC_ALL=C"}})
	said := strings.TrimSpace(string(result.Stderr))
	switch {
	case err != nil:
		return "", fmt.Errorf("nc: %w", err)
	case result.Signal == "" && result.Code == 0:
		return open, nil
	case result.Signal != "" || result.Code != 1:
	case strings.Contains(said, "Connection refused"):
		return refused, nil
	case strings.Contains(said, "timed out"), strings.Contains(said, "No route to host"):
		return filtered, nil
	}
	return "", fmt.Errorf("nc: exit %d %s: %.200s", result.Code, result.Signal, said)
}

// scan tries all ports of all targets from one place, and believes it only if
// something was open: a vantage point that reaches nothing sees firewalls
// everywhere.
func (p *ports) scan(ctx context.Context, env *check.Env, v *verdicts, from string) error {
	at, err := p.vantage(env, from)
	if err != nil {
		return err
	}
	control, err := p.control(ctx, v, at)
	if err != nil {
		return err
	}
	for _, target := range p.Targets {
		states, err := p.tryAll(ctx, at, target)
		if err != nil {
			return fmt.Errorf("%s from %s: %w", target, at.name, err)
		}
		reached := control || slices.ContainsFunc(each(p.Open), func(n uint16) bool { return states[n] == open })
		if !reached {
			return fmt.Errorf("from %s none of the ports of %s that must be open is (%s): whether they are closed or the way there is cannot be told; give a control", at.name, target, list(states, each(p.Open)))
		}
		p.judge(v, at.name, target, states)
	}
	return nil
}

func (p *ports) control(ctx context.Context, v *verdicts, at vantage) (bool, error) {
	if p.Control == "" {
		return false, nil
	}
	name, port, err := net.SplitHostPort(p.Control)
	if err != nil {
		return false, err
	}
	state, err := at.try(ctx, name, port)
	if err == nil && state != open {
		err = fmt.Errorf("it is %s", state)
	}
	if err != nil {
		return false, fmt.Errorf("the control %s, which must be open, cannot be reached from %s: %w", p.Control, at.name, err)
	}
	v.facts["control from "+at.name] = p.Control + " " + open
	return true, nil
}

func (p *ports) tryAll(ctx context.Context, at vantage, target string) (map[uint16]string, error) {
	all := slices.Concat(each(p.Open), each(p.Closed), each(p.Filtered))
	states, errs := make([]string, len(all)), make([]error, len(all))
	var wait sync.WaitGroup
	slots := make(chan struct{}, scanners)
	for i, n := range all {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			if errs[i] = ctx.Err(); errs[i] == nil {
				states[i], errs[i] = at.try(ctx, target, strconv.Itoa(int(n)))
			}
		})
	}
	wait.Wait()
	found := map[uint16]string{}
	for i, n := range all {
		if errs[i] != nil {
			return nil, fmt.Errorf("port %d: %w", n, errs[i])
		}
		found[n] = states[i]
	}
	return found, nil
}

// judge compares the states with what is wanted.
func (p *ports) judge(v *verdicts, from, target string, states map[uint16]string) {
	where := target + " from " + from
	wrong := len(v.wrong)
	for _, want := range []struct {
		ranges []portRange
		states []string
		text   string
	}{{p.Open, []string{open}, "open"}, {p.Closed, []string{refused, filtered}, "closed"}, {p.Filtered, []string{filtered}, "filtered"}} {
		for _, n := range each(want.ranges) {
			if !slices.Contains(want.states, states[n]) {
				v.wrong = append(v.wrong, fmt.Sprintf("port %d of %s is %s, want %s", n, where, states[n], want.text))
			}
		}
	}
	counts := map[string]int{}
	for _, state := range []string{open, refused, filtered} {
		var which []string
		for _, n := range slices.Concat(each(p.Open), each(p.Closed), each(p.Filtered)) {
			if states[n] == state {
				which = append(which, strconv.Itoa(int(n)))
			}
		}
		counts[state] = len(which)
		if len(which) > 0 {
			v.facts[where+" "+state] = strings.Join(which, " ")
		}
	}
	if len(v.wrong) == wrong {
		v.fine = append(v.fine, fmt.Sprintf("%s: %d open, %d refused, %d filtered", where, counts[open], counts[refused], counts[filtered]))
	}
}

func list(states map[uint16]string, which []uint16) string {
	var words []string
	for _, n := range which {
		words = append(words, fmt.Sprintf("%d %s", n, states[n]))
	}
	return strings.Join(words[:min(len(words), 10)], ", ")
}
