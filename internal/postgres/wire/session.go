package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// session is one client and its session on the server.
type session struct {
	proxy  *Proxy
	id     int
	client *pgproto3.Backend
	server *pgproto3.Frontend
	pid    uint32
	secret []byte
	conns  []net.Conn // the client's and the server's

	// status is the server's: idle I, in a transaction T, in a failed one E.
	status      byte
	transaction int
	// open tells that the watcher knows of a transaction; wrapped that it is ours.
	open, wrapped bool
	// refused tells that the server refused a statement of the present cycle.
	refused bool
	last    string // tag of the last statement
	notices []string
	// late is the answer to the last statement of a wrapped text, which the client
	// gets when the transaction is in.
	late *pgproto3.CommandComplete

	prepared, portals map[string]Piece
	// waiting counts the answers that messages of the extended protocol still get.
	waiting []answer
}

// cut ends both connections; what was not committed is rolled back.
func (s *session) cut() {
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// run carries messages until one side goes. A client that goes is no error.
func (s *session) run(ctx context.Context) error {
	for {
		message, err := s.client.Receive()
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("read from the client: %w", err)
		}
		done, err := s.handle(ctx, message)
		if err == nil {
			err = s.client.Flush()
		}
		if errors.Is(err, errGone) || errors.Is(err, net.ErrClosed) {
			return nil // the server's own end has been shown to the client
		}
		if done || err != nil {
			return err
		}
	}
}

// errGone says that the server ended the session.
var errGone = errors.New("the server ended the session")

func (s *session) handle(ctx context.Context, message pgproto3.FrontendMessage) (done bool, err error) {
	switch m := message.(type) {
	case *pgproto3.Terminate:
		s.server.Send(m)
		_ = s.server.Flush() // the session ends either way
		return true, nil
	case *pgproto3.Query:
		return false, s.simple(ctx, m.String)
	case *pgproto3.FunctionCall:
		return false, errors.New("a client called a function by the old protocol, which cannot be watched")
	case *pgproto3.CopyData, *pgproto3.CopyDone, *pgproto3.CopyFail:
		return false, nil // left from a copy that the server has refused
	default:
		return false, s.extended(ctx, message)
	}
}

// receive gives the server's next answer. What it says unasked goes to the client
// on the way.
func (s *session) receive() (pgproto3.BackendMessage, error) {
	for {
		message, err := s.server.Receive()
		if err != nil {
			return nil, errGone
		}
		switch m := message.(type) {
		case *pgproto3.NoticeResponse:
			if len(s.notices) < 100 {
				s.notices = append(s.notices, m.Severity+": "+m.Message+detail(m.Detail))
			}
			s.client.Send(m)
		case *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
			s.client.Send(m)
		case *pgproto3.ErrorResponse:
			if m.Severity == "FATAL" || m.Severity == "PANIC" {
				s.client.Send(m)
				_ = s.client.Flush()
				return nil, errGone
			}
			return m, nil
		default:
			return m, nil
		}
	}
}

func detail(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// begin tells the watcher of a transaction that is about to be.
func (s *session) begin(ctx context.Context) error {
	if s.open {
		return nil
	}
	s.open = true
	s.transaction++
	return s.proxy.watcher.Begin(ctx, s.id, s.ask(&pgproto3.Sync{}))
}

// end tells the watcher when the transaction is over.
func (s *session) end(ctx context.Context) error {
	if !s.open || s.status != 'I' {
		return nil
	}
	s.open = false
	return s.proxy.watcher.Ended(ctx, s.id, s.transaction, !s.refused && s.last != "ROLLBACK")
}

// watched runs what carries a statement out, between the watcher's two looks.
func (s *session) watched(ctx context.Context, p Piece, finish pgproto3.FrontendMessage, carry func(*Statement) error) error {
	st := &Statement{Session: s.id, Transaction: s.transaction, PID: s.pid, SQL: p.SQL, Alone: p.Alone && !s.wrapped && s.status == 'I'}
	if err := s.proxy.watcher.Starts(ctx, st); err != nil {
		return err
	}
	s.notices, st.Start = nil, time.Now()
	if err := carry(st); err != nil {
		return err
	}
	st.Took, st.Notices = time.Since(st.Start), s.notices
	s.last = st.Tag
	ask := s.ask(finish)
	if st.Alone || st.Code != "" || s.status == 'E' {
		ask = nil
	}
	return s.proxy.watcher.Held(ctx, st, ask)
}

// note keeps what the server answered to a statement.
func (s *session) note(st *Statement, m pgproto3.BackendMessage) {
	switch m := m.(type) {
	case *pgproto3.CommandComplete:
		st.Tag = string(m.CommandTag)
	case *pgproto3.ErrorResponse:
		st.Code, st.Message = m.Code, m.Message+detail(m.Detail)
		s.refused = true
	}
}

// copyIn carries the client's data to the server until the client has no more.
func (s *session) copyIn() error {
	if err := s.client.Flush(); err != nil {
		return err
	}
	for {
		message, err := s.client.Receive()
		if err != nil {
			return errGone
		}
		switch message.(type) {
		case *pgproto3.CopyData:
			s.server.Send(message)
		case *pgproto3.CopyDone, *pgproto3.CopyFail:
			s.server.Send(message)
			return s.server.Flush()
		case *pgproto3.Flush, *pgproto3.Sync: // ignored during a copy (manual, 55.2.6)
		default:
			return fmt.Errorf("a client sent %T in the middle of a copy", message)
		}
		if err := s.server.Flush(); err != nil {
			return errGone
		}
	}
}
