package web

import (
	"errors"
	"net/http"
	"time"

	"allclear.dev/allclear/examples/tulia/internal/store"
)

func (s *Server) services(w http.ResponseWriter, r *http.Request, who actor) error {
	list, err := s.Store.Services(r.Context(), who.Tenant)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"services": list})
}

func (s *Server) availability(w http.ResponseWriter, r *http.Request, who actor) error {
	service := r.URL.Query().Get("service_id")
	if err := isID("service_id", service); err != nil {
		return err
	}
	day, err := time.Parse(time.DateOnly, r.URL.Query().Get("date"))
	if err != nil {
		return invalid("date must look like 2026-01-31")
	}
	slots, err := s.Store.Slots(r.Context(), who.Tenant, service, day)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"service_id": service, "slots": slots})
}

func (s *Server) book(w http.ResponseWriter, r *http.Request, who actor) error {
	var in struct {
		ServiceID  string    `json:"service_id"`
		CustomerID string    `json:"customer_id"`
		StartsAt   time.Time `json:"starts_at"`
	}
	if err := decode(w, r, &in); err != nil {
		return err
	}
	if err := errors.Join(isID("service_id", in.ServiceID), isID("customer_id", in.CustomerID)); err != nil {
		return err
	}
	a, err := s.Store.Book(r.Context(), who.Tenant, in.ServiceID, in.CustomerID, in.StartsAt)
	switch {
	case errors.Is(err, store.ErrConflict):
		return conflict("SLOT_TAKEN", "the slot is taken")
	case errors.Is(err, store.ErrNotFound):
		return no(http.StatusUnprocessableEntity, "NOT_A_SLOT", "this service does not start at that time")
	case errors.Is(err, store.ErrForeign):
		return invalid("customer_id is not one of your customers")
	case err != nil:
		return err
	}
	return reply(w, http.StatusCreated, a)
}

func (s *Server) appointment(w http.ResponseWriter, r *http.Request, who actor) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	a, err := s.Store.Appointment(r.Context(), who.Tenant, id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, a)
}

func (s *Server) cancelAppointment(w http.ResponseWriter, r *http.Request, who actor) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	a, err := s.Store.CancelAppointment(r.Context(), who.Tenant, id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, a)
}
