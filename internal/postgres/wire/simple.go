package wire

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"
)

// simple carries out the text of a simple query, statement by statement. Several
// in one text are one transaction, as the server would have made them; the first
// that is refused ends the text.
func (s *session) simple(ctx context.Context, text string) error {
	pieces := s.proxy.split(text)
	if len(pieces) == 0 { // nothing, or not SQL: the server's to say
		pieces = []Piece{{SQL: text, Control: true}}
	}
	s.refused = false
	for _, p := range pieces {
		if err := s.piece(ctx, p, len(pieces)); err != nil {
			return err
		}
		if s.refused {
			break
		}
	}
	if err := s.unwrap(ctx); err != nil {
		return err
	}
	s.refused = false
	s.client.Send(&pgproto3.ReadyForQuery{TxStatus: s.status})
	return nil
}

// piece carries out one statement of a text of so many.
func (s *session) piece(ctx context.Context, p Piece, of int) error {
	s.sendLate()
	if s.status == 'I' {
		if err := s.begin(ctx); err != nil {
			return err
		}
	}
	alone := p.Alone && of == 1
	switch {
	case p.Control:
		s.wrapped = false // BEGIN makes ours the client's; COMMIT and ROLLBACK end it
	case s.status == 'I' && !alone:
		if _, err := s.command("BEGIN"); err != nil {
			return err
		}
		s.wrapped = true
	}
	p.Alone = alone
	err := s.watched(ctx, p, &pgproto3.Sync{}, func(st *Statement) error { return s.query(p.SQL, st) })
	if err != nil {
		return err
	}
	if !s.wrapped {
		s.sendLate()
		return s.end(ctx)
	}
	return nil
}

// query sends one statement and carries its answers to the client, but for the
// last, which waits until the transaction is in, and the server's readiness.
func (s *session) query(sql string, st *Statement) error {
	s.server.Send(&pgproto3.Query{String: sql})
	if err := s.server.Flush(); err != nil {
		return errGone
	}
	for {
		message, err := s.receive()
		if err != nil {
			return err
		}
		s.note(st, message)
		switch m := message.(type) {
		case *pgproto3.ReadyForQuery:
			s.status = m.TxStatus
			return nil
		case *pgproto3.CommandComplete:
			s.sendLate()
			s.late = &pgproto3.CommandComplete{CommandTag: slices.Clone(m.CommandTag)}
		case *pgproto3.CopyInResponse:
			s.client.Send(m)
			if err := s.copyIn(); err != nil {
				return err
			}
		default:
			s.client.Send(m)
		}
		if err := s.client.Flush(); err != nil {
			return errGone
		}
	}
}

func (s *session) sendLate() {
	if s.late != nil {
		s.client.Send(s.late)
		s.late = nil
	}
}

// command runs a statement of ours, whose answers the client does not get, and
// gives the server's refusal.
func (s *session) command(sql string) (*pgproto3.ErrorResponse, error) {
	s.server.Send(&pgproto3.Query{String: sql})
	if err := s.server.Flush(); err != nil {
		return nil, errGone
	}
	var refusal *pgproto3.ErrorResponse
	for {
		message, err := s.receive()
		if err != nil {
			return nil, err
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			kept := *m
			refusal = &kept
		case *pgproto3.ReadyForQuery:
			s.status = m.TxStatus
			return refusal, nil
		}
	}
}

// unwrap ends a transaction that is ours. A constraint that was put off can still
// refuse it; the client then hears of that instead of its statement's end.
func (s *session) unwrap(ctx context.Context) error {
	if s.wrapped {
		s.wrapped = false
		how := "COMMIT"
		if s.refused {
			how = "ROLLBACK"
		}
		refusal, err := s.command(how)
		if err != nil {
			return err
		}
		if refusal != nil {
			s.late, s.refused = nil, true
			s.client.Send(refusal)
		}
	}
	s.sendLate()
	return s.end(ctx)
}
