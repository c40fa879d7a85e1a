package wire

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"maps"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"allclear.dev/allclear/internal/postgres"
)

// welcome logs a client in at the proxy and the proxy in at the server. There is
// no session when the client wanted a statement cancelled, which is done.
func (p *Proxy) welcome(ctx context.Context, conn net.Conn) (*session, error) {
	if err := conn.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return nil, err
	}
	client := pgproto3.NewBackend(conn, conn)
	client.SetMaxBodyLen(maxMessage)
	start, err := p.startup(client, conn)
	if err != nil || start == nil {
		return nil, err
	}
	if err := p.authenticate(client); err != nil {
		return nil, err
	}
	settings := maps.Clone(start.Parameters)
	for _, own := range []string{"user", "database"} {
		delete(settings, own)
	}
	if settings["replication"] != "" {
		refuse(client, "0A000", "replication is not rehearsed")
		return nil, errors.New("a client asked for replication")
	}
	maps.Copy(settings, p.settings)
	raw, err := p.server.Raw(ctx, settings)
	if err != nil {
		code := postgres.Code(err)
		if code == "" {
			code = "08006"
		}
		refuse(client, code, err.Error())
		return nil, err
	}
	raw.Frontend.SetMaxBodyLen(maxMessage)
	s := &session{
		proxy: p, client: client, server: raw.Frontend, pid: raw.PID, secret: raw.SecretKey, status: 'I',
		conns: []net.Conn{conn, raw.Conn}, prepared: map[string]Piece{}, portals: map[string]Piece{},
	}
	if !p.enter(s) {
		s.cut()
		return nil, errors.New("too many clients")
	}
	client.Send(&pgproto3.AuthenticationOk{})
	for name, value := range raw.ParameterStatuses {
		client.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	client.Send(&pgproto3.BackendKeyData{ProcessID: raw.PID, SecretKey: raw.SecretKey})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if err := errors.Join(client.Flush(), conn.SetDeadline(time.Time{})); err != nil {
		p.leave(s)
		s.cut()
		return nil, err
	}
	return s, nil
}

// startup reads the first messages; encryption is declined, it is the loopback.
func (p *Proxy) startup(client *pgproto3.Backend, conn net.Conn) (*pgproto3.StartupMessage, error) {
	for range 3 {
		first, err := client.ReceiveStartupMessage()
		if err != nil {
			return nil, err
		}
		switch m := first.(type) {
		case *pgproto3.StartupMessage:
			return m, nil
		case *pgproto3.CancelRequest:
			return nil, p.cancel(m)
		default: // SSLRequest, GSSEncRequest
			if _, err := conn.Write([]byte("N")); err != nil {
				return nil, err
			}
		}
	}
	return nil, errors.New("no startup message")
}

func (p *Proxy) authenticate(client *pgproto3.Backend) error {
	client.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := errors.Join(client.Flush(), client.SetAuthType(pgproto3.AuthTypeCleartextPassword)); err != nil {
		return err
	}
	answer, err := client.Receive()
	if err != nil {
		return err
	}
	m, ok := answer.(*pgproto3.PasswordMessage)
	if !ok || subtle.ConstantTimeCompare([]byte(m.Password), []byte(p.password)) != 1 {
		refuse(client, "28P01", "this address is for one rehearsal only")
		return errors.New("a client does not know the password")
	}
	return nil
}

// cancel passes a request on to the server's process it names, if it is one of
// ours: the same message on a connection of its own.
func (p *Proxy) cancel(m *pgproto3.CancelRequest) error {
	p.mu.Lock()
	var to *session
	for _, s := range p.sessions {
		if s.pid == m.ProcessID && bytes.Equal(s.secret, m.SecretKey) {
			to = s
		}
	}
	p.mu.Unlock()
	if to == nil {
		return nil
	}
	remote := to.conns[1].RemoteAddr()
	conn, err := net.DialTimeout(remote.Network(), remote.String(), startTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	request, err := m.Encode(nil)
	if err == nil {
		_, err = conn.Write(request)
	}
	return err
}
