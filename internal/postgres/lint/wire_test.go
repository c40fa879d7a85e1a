package lint_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// wiretap stands between a tool and PostgreSQL and notes every statement that the
// tool has executed, in order (PostgreSQL documentation, 55.7: message formats).
type wiretap struct {
	url  string
	mu   sync.Mutex
	sent []string
}

// listen gives a wiretap in front of the database at an address.
func listen(t *testing.T, address string) *wiretap {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{}
	server := u.Host
	u.Host = l.Addr().String()
	w.url = u.String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				if err := w.serve(client, server); err != nil {
					t.Errorf("wiretap: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return w
}

// messages are those noted so far.
func (w *wiretap) messages() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.sent...)
}

func (w *wiretap) serve(client net.Conn, address string) error {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if err := startup(client, server); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	prepared, bound := map[string]string{}, map[string]string{}
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(client, head); err != nil {
			return nil // the tool has ended
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return err
		}
		parts := strings.SplitN(string(body), "\x00", 3)
		switch head[0] {
		case 'Q':
			w.note(parts[0])
		case 'P':
			prepared[parts[0]] = parts[1]
		case 'B':
			bound[parts[0]] = prepared[parts[1]]
		case 'E':
			w.note(bound[parts[0]])
		}
		if _, err := server.Write(append(head, body...)); err != nil {
			return nil
		}
	}
}

func (w *wiretap) note(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, text)
}

// startup passes the first message on, and answers no to encryption.
func startup(client, server net.Conn) error {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(client, head); err != nil {
			return err
		}
		size, code := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
		if code == 80877103 || code == 80877104 { // SSLRequest, GSSENCRequest
			if _, err := client.Write([]byte("N")); err != nil {
				return err
			}
			continue
		}
		if size < 8 || size > 10_000 {
			return errors.New("not a startup message")
		}
		rest := make([]byte, size-8)
		if _, err := io.ReadFull(client, rest); err != nil {
			return err
		}
		_, err := server.Write(append(head, rest...))
		return err
	}
}
