package wire

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

// ourName is of our statement and portal; the client's unnamed ones are left as
// they are.
const ourName = "allclear_looks_on"

// maxAnswer bounds the rows of an answer.
const maxAnswer = 500_000

// ask puts a question within the client's session by the extended protocol: with
// Flush the transaction stays as it is, with Sync it ends unless a BEGIN holds it.
func (s *session) ask(finish pgproto3.FrontendMessage) Ask {
	return func(_ context.Context, sql string) ([][]string, error) {
		for _, m := range []pgproto3.FrontendMessage{
			&pgproto3.Close{ObjectType: 'S', Name: ourName}, &pgproto3.Parse{Name: ourName, Query: sql},
			&pgproto3.Bind{DestinationPortal: ourName, PreparedStatement: ourName}, &pgproto3.Execute{Portal: ourName},
			&pgproto3.Close{ObjectType: 'P', Name: ourName}, &pgproto3.Close{ObjectType: 'S', Name: ourName}, finish,
		} {
			s.server.Send(m)
		}
		if err := s.server.Flush(); err != nil {
			return nil, errGone
		}
		_, synced := finish.(*pgproto3.Sync)
		return s.answers(synced)
	}
}

func (s *session) answers(synced bool) (rows [][]string, err error) {
	for closed := 0; synced || closed < 3; {
		message, received := s.receive()
		if received != nil {
			return nil, received
		}
		switch m := message.(type) {
		case *pgproto3.DataRow:
			if len(rows) >= maxAnswer {
				err = fmt.Errorf("look on: more than %d rows", maxAnswer)
				continue
			}
			row := make([]string, len(m.Values))
			for i, v := range m.Values {
				row[i] = string(v)
			}
			rows = append(rows, row)
		case *pgproto3.CloseComplete:
			closed++
		case *pgproto3.ErrorResponse:
			err = fmt.Errorf("look on: %s (SQLSTATE %s)", m.Message, m.Code)
			if !synced {
				return nil, err
			}
		case *pgproto3.ReadyForQuery:
			s.status = m.TxStatus
			return rows, err
		}
	}
	return rows, err
}
