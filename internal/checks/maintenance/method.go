package maintenance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// socketTimeout bounds one command on HAProxy's socket.
	socketTimeout = 10 * time.Second
	// maxReply bounds HAProxy's answer, in bytes.
	maxReply = 64 << 10
)

// switchProgram is a pair of programs.
type switchProgram struct {
	On  []check.Arg `param:"on" doc:"the program that switches on"`
	Off []check.Arg `param:"off" doc:"the program that switches off"`
}

func (s switchProgram) validate() error {
	if (len(s.On) == 0) != (len(s.Off) == 0) {
		return errors.New("command needs on and off")
	}
	_, err := check.Args(s.On, false)
	if err == nil {
		_, err = check.Args(s.Off, false)
	}
	return err
}

// haproxy is how HAProxy is told: by a map that its configuration looks at, by
// servers that are taken out, or by commands of the team's own.
type haproxy struct {
	Socket  string   `param:"socket" doc:"path of the admin socket, or host:port"`
	Map     string   `param:"map" doc:"path of a map, as HAProxy was started with it" default:""`
	Key     string   `param:"key" doc:"the map's key" default:"site"`
	Closed  string   `param:"closed" doc:"the key's value while maintenance is on" default:"closed"`
	Open    string   `param:"open" doc:"the key's value while it is off" default:"open"`
	Servers []string `param:"servers" doc:"servers (backend/server) that are in maintenance while it is on" default:""`
	On      []string `param:"on" doc:"commands that switch on; HAProxy must answer nothing" default:""`
	Off     []string `param:"off" doc:"commands that switch off" default:""`
}

func (h haproxy) validate() error {
	if h.Socket == "" {
		return nil
	}
	given := 0
	for _, is := range []bool{h.Map != "", len(h.Servers) > 0, len(h.On)+len(h.Off) > 0} {
		if is {
			given++
		}
	}
	if given != 1 || (len(h.On) == 0) != (len(h.Off) == 0) {
		return errors.New("haproxy needs one of map, servers, and on with off")
	}
	words := append([]string{h.Map, h.Key, h.Closed, h.Open}, h.Servers...)
	for _, w := range words {
		// A space, ";" or line break would begin another word or command.
		if !regexp.MustCompile(`^[A-Za-z0-9_./:@-]*$`).MatchString(w) {
			return fmt.Errorf("haproxy: %q may hold only letters, digits and _ . / : @ -", w)
		}
	}
	if h.Map != "" && (h.Key == "" || h.Closed == "" || h.Open == "" || h.Closed == h.Open) {
		return errors.New("haproxy: map needs a key and two different values")
	}
	for _, c := range append(append([]string{}, h.On...), h.Off...) {
		if c == "" || strings.ContainsAny(c, "\r\n;\x00") {
			return fmt.Errorf("haproxy: %q is not one command", c)
		}
	}
	return nil
}

// commands gives what is to be said to switch on or off.
func (h haproxy) commands(on bool) []string {
	if len(h.On) > 0 {
		if on {
			return h.On
		}
		return h.Off
	}
	value, state := h.Open, "ready"
	if on {
		value, state = h.Closed, "maint"
	}
	if h.Map != "" {
		return []string{fmt.Sprintf("set map %s %s %s", h.Map, h.Key, value)}
	}
	var list []string
	for _, s := range h.Servers {
		list = append(list, fmt.Sprintf("set server %s state %s", s, state))
	}
	return list
}

// set switches, host by host or command by command, at most limit of them. It
// gives how many were; a text says why the next was not, an error that it is not
// known.
func (m *maintenance) set(ctx context.Context, env *check.Env, on bool, limit int) (int, string, error) {
	if m.HAProxy.Socket != "" {
		return m.HAProxy.set(ctx, env, on, limit)
	}
	argv, err := m.argv(on)
	if err != nil {
		return 0, "", err
	}
	hosts := m.Hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	for i, name := range hosts[:min(limit, len(hosts))] {
		if miss, err := run(ctx, env, name, argv); err != nil || miss != "" {
			return i, miss, err
		}
	}
	return len(hosts), "", nil
}

func run(ctx context.Context, env *check.Env, name string, argv []string) (string, error) {
	host, err := env.Host(name)
	if err != nil {
		return "", err
	}
	result, err := host.Exec(ctx, check.Command{Argv: argv, Stdout: env.Log, Stderr: env.Log})
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", host.Name(), err)
	case result.Signal != "":
		return "", fmt.Errorf("%s: %s was ended by signal: %s", host.Name(), argv[0], result.Signal)
	case result.Code != 0:
		said := strings.ToValidUTF8(strings.TrimSpace(string(result.Stderr)), "\uFFFD")
		return fmt.Sprintf("%s: %s ended with exit %d: %.300s", host.Name(), argv[0], result.Code, said), nil
	}
	return "", nil
}

func (m *maintenance) argv(on bool) ([]string, error) {
	switch {
	case m.File != "" && on:
		return []string{"touch", "--", m.File}, nil
	case m.File != "":
		return []string{"rm", "-f", "--", m.File}, nil
	case on:
		return check.Args(m.Command.On, false)
	}
	return check.Args(m.Command.Off, false)
}

// set says the commands one by one. HAProxy agrees by answering nothing.
func (h haproxy) set(ctx context.Context, env *check.Env, on bool, limit int) (int, string, error) {
	list := h.commands(on)
	if len(h.On) == 0 { // a team's own commands need not come in pairs
		list = list[:min(limit, len(list))]
	}
	for i, command := range list {
		reply, err := h.say(ctx, env, command)
		if err != nil {
			return i, "", fmt.Errorf("haproxy: %s: %w", command, err)
		}
		if reply != "" {
			return i, fmt.Sprintf("haproxy: %s: %.300s", command, reply), nil
		}
	}
	return len(list), "", nil
}

// say sends one command and reads the whole answer (HAProxy Management Guide,
// 9.3 "Unix Socket commands"): it ends with an empty line, and then HAProxy
// closes the connection. One that is closed before the line was no answer.
func (h haproxy) say(ctx context.Context, env *check.Env, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	network := "tcp"
	if strings.HasPrefix(h.Socket, "/") || !strings.Contains(h.Socket, ":") {
		network = "unix"
	}
	conn, err := env.Dial(ctx, network, h.Socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(bufio.NewReader(io.LimitReader(conn, maxReply)))
	if err != nil {
		return "", errors.Join(ctx.Err(), err)
	}
	if !strings.HasSuffix(string(text), "\n") {
		return "", fmt.Errorf("the answer is cut: %.60q", text)
	}
	return strings.TrimSpace(string(text)), nil
}
