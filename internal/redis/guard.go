package redis

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
)

const (
	// maxLine, maxBulk and maxCount bound what a server may announce: a line, a
	// text, and the entries of a list. INFO of a large server has about 20 kB.
	maxLine, maxBulk, maxCount = 64 << 10, 4 << 20, 10_000
	// maxAnswers bounds everything read from one connection.
	maxAnswers = 16 << 20
)

// guardedConn reads along the Redis protocol (RESP2 and RESP3 framing) and ends
// the connection when a length is announced that no honest answer has: the
// client would reserve that much memory before reading a byte of it.
type guardedConn struct {
	net.Conn
	line []byte
	// skip counts the bytes of a text that are still to pass.
	skip, total int64
}

// Read passes on what the connection gives, after looking at it.
func (g *guardedConn) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if g.total += int64(n); g.total > maxAnswers {
		return 0, fmt.Errorf("the server sent more than %d bytes", maxAnswers)
	}
	if bad := g.look(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

func (g *guardedConn) look(p []byte) error {
	for len(p) > 0 {
		if g.skip > 0 {
			step := min(g.skip, int64(len(p)))
			g.skip -= step
			p = p[step:]
			continue
		}
		head, rest, ended := bytes.Cut(p, []byte("\n"))
		if g.line = append(g.line, head...); len(g.line) > maxLine {
			return fmt.Errorf("the server sent a line of more than %d bytes", maxLine)
		}
		if !ended {
			return nil
		}
		if err := g.announced(bytes.TrimRight(g.line, "\r")); err != nil {
			return err
		}
		g.line, p = g.line[:0], rest
	}
	return nil
}

// announced reads a line that tells how much follows.
func (g *guardedConn) announced(line []byte) error {
	if len(line) == 0 {
		return fmt.Errorf("the server does not speak the Redis protocol")
	}
	var most int64
	switch line[0] {
	case '$', '=', '!':
		most = maxBulk
	case '*', '%', '~', '>', '|':
		most = maxCount
	case '+', '-', ':', '_', ',', '#', '(':
		return nil
	default:
		return fmt.Errorf("the server does not speak the Redis protocol")
	}
	n, err := strconv.ParseInt(string(line[1:]), 10, 64)
	if err != nil || n < -1 || n > most {
		return fmt.Errorf("the server announced a length of %.20q", line[1:])
	}
	if most == maxBulk && n >= 0 {
		g.skip = n + 2 // and the line end after it
	}
	return nil
}
