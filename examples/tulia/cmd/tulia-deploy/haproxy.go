package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// ask sends one command to HAProxy's admin socket and returns the answer.
func (s *site) ask(ctx context.Context, command string) (string, error) {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", s.Socket)
	if err != nil {
		return "", fmt.Errorf("reach haproxy: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return "", fmt.Errorf("send %q: %w", command, err)
	}
	text, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	if err != nil {
		return "", fmt.Errorf("read haproxy's answer: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// set sends a command that must be accepted: HAProxy then says nothing.
func (s *site) set(ctx context.Context, command string) error {
	text, err := s.ask(ctx, command)
	if err == nil && text != "" {
		err = fmt.Errorf("haproxy on %q: %s", command, text)
	}
	return err
}

// serverState is a server as HAProxy sees it.
type serverState struct{ status, sessions string }

func (s *site) server(ctx context.Context, name string) (serverState, error) {
	text, err := s.ask(ctx, "show stat web 4 -1")
	if err != nil {
		return serverState{}, err
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return serverState{}, errors.Join(errors.New("haproxy gave no statistics"), err)
	}
	for _, row := range rows[1:] {
		if len(row) < 2 || row[1] != name {
			continue
		}
		var state serverState
		for i, column := range rows[0] {
			switch column {
			case "status":
				state.status = row[i]
			case "scur":
				state.sessions = row[i]
			}
		}
		return state, nil
	}
	return serverState{}, fmt.Errorf("haproxy has no server %q", name)
}

// live is the colour that gets the requests; empty when none does.
func (s *site) live(ctx context.Context) (string, error) {
	for _, colour := range []string{"blue", "green"} {
		state, err := s.server(ctx, colour)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(state.status, "UP") && s.version(ctx, colour) != "" {
			return colour, nil
		}
	}
	return "", nil
}
