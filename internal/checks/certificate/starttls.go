package certificate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

const (
	// maxReply bounds the lines of one SMTP reply, maxLine the bytes of one of them.
	maxReply, maxLine = 100, 2048
)

// startTLS asks for TLS within another protocol.
func startTLS(conn net.Conn, protocol string) error {
	switch protocol {
	case "smtp":
		return startSMTP(conn)
	case "postgres":
		return startPostgres(conn)
	}
	return nil
}

// startPostgres sends an SSLRequest; the server answers one byte (PostgreSQL,
// "SSL Session Encryption" in the chapter on the frontend/backend protocol).
func startPostgres(conn net.Conn) error {
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N':
		return &refused{"offers no TLS"}
	}
	return fmt.Errorf("not an answer of PostgreSQL: %q", answer)
}

// startSMTP says EHLO and STARTTLS (RFC 3207).
func startSMTP(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, maxLine)
	if _, err := reply(in, "220"); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "EHLO localhost\r\n"); err != nil {
		return err
	}
	offers, err := reply(in, "250")
	if err != nil {
		return err
	}
	offered := false
	for _, line := range offers {
		offered = offered || strings.EqualFold(strings.TrimSpace(line), "STARTTLS")
	}
	if !offered {
		return &refused{"offers no STARTTLS"}
	}
	if _, err := io.WriteString(conn, "STARTTLS\r\n"); err != nil {
		return err
	}
	if _, err := reply(in, "220"); err != nil {
		return err
	}
	if in.Buffered() > 0 {
		return errors.New("the server sent more than its answer before TLS began")
	}
	return nil
}

// reply reads one SMTP reply (RFC 5321, section 4.2) that must have this code.
func reply(in *bufio.Reader, code string) ([]string, error) {
	var lines []string
	for range maxReply {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, fmt.Errorf("read reply: %w", err)
		}
		text := strings.TrimRight(string(line), "\r\n")
		if len(text) < 3 || !strings.HasPrefix(text, code) {
			return nil, fmt.Errorf("want a reply %s, got %.60q", code, text)
		}
		if len(text) == 3 || text[3] == ' ' {
			return append(lines, strings.TrimPrefix(text[3:], " ")), nil
		}
		lines = append(lines, text[4:])
	}
	return nil, fmt.Errorf("a reply of more than %d lines", maxReply)
}
