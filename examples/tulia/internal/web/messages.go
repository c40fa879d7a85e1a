package web

import (
	"errors"
	"net/http"

	"allclear.dev/allclear/examples/tulia/internal/store"
)

const maxMessage = 1600 // characters: what carriers join into one text

func (s *Server) sendMessage(w http.ResponseWriter, r *http.Request, who actor) error {
	var in struct {
		CustomerID string `json:"customer_id"`
		Body       string `json:"body"`
	}
	if err := decode(w, r, &in); err != nil {
		return err
	}
	if err := isID("customer_id", in.CustomerID); err != nil {
		return err
	}
	if in.Body == "" || len(in.Body) > maxMessage {
		return invalid("body must hold from 1 to 1600 characters")
	}
	m, err := s.Store.QueueMessage(r.Context(), who.Tenant, in.CustomerID, in.Body)
	if errors.Is(err, store.ErrForeign) {
		return invalid("customer_id is not one of your customers")
	}
	if err != nil {
		return err
	}
	if err := s.Queue.Deliver(r.Context(), m.ID); err != nil {
		// The message is stored: the scheduler's sweep queues it again. The client need not repeat it.
		s.Log.Error("redis unavailable", "error", err.Error(), "request_id", idOf(r))
	}
	return reply(w, http.StatusAccepted, m)
}

func (s *Server) message(w http.ResponseWriter, r *http.Request, who actor) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	m, err := s.Store.Message(r.Context(), who.Tenant, id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, m)
}
