package wire

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

// answer is what ends the server's answer to a message.
type answer byte

const (
	toParse answer = iota
	toBind
	toDescribe
	toClose
	toExecute
)

// extended carries a message of the extended protocol. Statements are carried out
// one by one, each before the Sync that would end its transaction.
func (s *session) extended(ctx context.Context, message pgproto3.FrontendMessage) error {
	if s.status == 'I' && len(s.waiting) == 0 {
		if err := s.begin(ctx); err != nil {
			return err
		}
	}
	switch m := message.(type) {
	case *pgproto3.Parse:
		s.prepared[m.Name] = s.only(m.Query)
		return s.forward(m, toParse)
	case *pgproto3.Bind:
		s.portals[m.DestinationPortal] = s.prepared[m.PreparedStatement]
		return s.forward(m, toBind)
	case *pgproto3.Describe:
		return s.forward(m, toDescribe)
	case *pgproto3.Close:
		return s.forward(m, toClose)
	case *pgproto3.Execute:
		return s.execute(ctx, m)
	case *pgproto3.Flush:
		return s.settle(nil)
	case *pgproto3.Sync:
		return s.sync(ctx)
	}
	return fmt.Errorf("a client sent %T, which is not known", message)
}

// only is the one statement that a text of the extended protocol may hold.
func (s *session) only(text string) Piece {
	if pieces := s.proxy.split(text); len(pieces) == 1 {
		return Piece{SQL: text, Control: pieces[0].Control, Alone: pieces[0].Alone}
	}
	return Piece{SQL: text, Control: true}
}

// forward sends a message on, whose answer is awaited later. After a refusal the
// server skips everything until Sync, and so do we.
func (s *session) forward(m pgproto3.FrontendMessage, a answer) error {
	if s.refused {
		return nil
	}
	s.server.Send(m)
	s.waiting = append(s.waiting, a)
	return nil
}

// execute has a statement carried out and shows it while its transaction is open.
func (s *session) execute(ctx context.Context, m *pgproto3.Execute) error {
	if err := s.settle(nil); err != nil || s.refused {
		return err
	}
	return s.watched(ctx, s.portals[m.Portal], &pgproto3.Flush{}, func(st *Statement) error {
		s.server.Send(m)
		s.waiting = append(s.waiting, toExecute)
		return s.settle(st)
	})
}

// settle asks for the answers that are still awaited and carries them over.
func (s *session) settle(st *Statement) error {
	if len(s.waiting) == 0 {
		return nil
	}
	s.server.Send(&pgproto3.Flush{})
	if err := s.server.Flush(); err != nil {
		return errGone
	}
	for len(s.waiting) > 0 {
		message, err := s.receive()
		if err != nil {
			return err
		}
		if st != nil {
			s.note(st, message)
		}
		switch message.(type) {
		case *pgproto3.ParseComplete, *pgproto3.BindComplete, *pgproto3.CloseComplete, *pgproto3.NoData,
			*pgproto3.CommandComplete, *pgproto3.EmptyQueryResponse, *pgproto3.PortalSuspended:
			s.waiting = s.waiting[1:]
		case *pgproto3.RowDescription:
			if s.waiting[0] == toDescribe {
				s.waiting = s.waiting[1:]
			}
		case *pgproto3.ErrorResponse:
			s.refused, s.waiting = true, nil
		}
		s.client.Send(message)
		if _, copying := message.(*pgproto3.CopyInResponse); copying {
			if err := s.copyIn(); err != nil {
				return err
			}
		}
		if err := s.client.Flush(); err != nil {
			return errGone
		}
	}
	return nil
}

// sync ends a cycle, and outside of BEGIN the transaction with it.
func (s *session) sync(ctx context.Context) error {
	if err := s.settle(nil); err != nil {
		return err
	}
	s.server.Send(&pgproto3.Sync{})
	if err := s.server.Flush(); err != nil {
		return errGone
	}
	for {
		message, err := s.receive()
		if err != nil {
			return err
		}
		if m, ready := message.(*pgproto3.ReadyForQuery); ready {
			s.status = m.TxStatus
			if err := s.end(ctx); err != nil {
				return err
			}
			s.refused = false
			s.client.Send(m)
			return nil
		}
		if _, refused := message.(*pgproto3.ErrorResponse); refused {
			s.refused = true
		}
		s.client.Send(message)
	}
}
