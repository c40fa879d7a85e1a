package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"allclear.dev/allclear/examples/tulia/internal/store"
	"allclear.dev/allclear/examples/tulia/internal/token"
)

func (s *Server) initiateWithdrawal(w http.ResponseWriter, r *http.Request, who actor) error {
	var in struct {
		AmountCents int64 `json:"amount_cents"`
	}
	if err := decode(w, r, &in); err != nil {
		return err
	}
	if in.AmountCents < 1 || in.AmountCents > maxUnitCents {
		return invalid("amount_cents is out of bounds")
	}
	out, err := s.Store.InitiateWithdrawal(r.Context(), who.Tenant, who.ID, in.AmountCents)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, out)
}

func (s *Server) approveWithdrawal(w http.ResponseWriter, r *http.Request, who actor) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	out, err := s.Store.ApproveWithdrawal(r.Context(), who.Tenant, id, who.ID)
	switch {
	case errors.Is(err, store.ErrConflict) && out.Status == "approved":
		return conflict("ALREADY_APPROVED", "the withdrawal is approved")
	case errors.Is(err, store.ErrConflict):
		return conflict("SELF_APPROVAL", "whoever asks for a withdrawal cannot approve it")
	case err != nil:
		return err
	}
	return reply(w, http.StatusOK, out)
}

// paymentWebhook takes the payment provider's notices. Its signature stands for a login.
func (s *Server) paymentWebhook(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return invalid("the body cannot be read")
	}
	if token.CheckWebhook(s.Config.WebhookSecret, body, r.Header.Get("X-Tulia-Signature"), s.Now()) != nil {
		return no(http.StatusUnauthorized, "INVALID_SIGNATURE", "the signature does not match, or is too old")
	}
	var in struct {
		EventID  string `json:"event_id"`
		Type     string `json:"type"`
		TenantID string `json:"tenant_id"`
		OrderID  string `json:"order_id"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return invalid("the body is not JSON")
	}
	if in.EventID == "" || len(in.EventID) > 200 || in.Type != "order.paid" {
		return invalid("an event needs an event_id and the type order.paid")
	}
	if err := errors.Join(isID("tenant_id", in.TenantID), isID("order_id", in.OrderID)); err != nil {
		return err
	}
	first, err := s.Store.RecordPayment(r.Context(), in.TenantID, store.Event{ID: in.EventID, Type: in.Type, OrderID: in.OrderID})
	if errors.Is(err, store.ErrConflict) {
		return conflict("NOT_PAYABLE", "there is no such order, or it was cancelled")
	}
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"event_id": in.EventID, "duplicate": !first})
}

func (s *Server) webhookEvent(w http.ResponseWriter, r *http.Request, who actor) error {
	e, err := s.Store.Event(r.Context(), who.Tenant, r.PathValue("id"))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, e)
}
