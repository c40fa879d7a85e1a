package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/uuid"

	"allclear.dev/allclear/examples/tulia/internal/store"
)

// maxBody bounds what a client may send.
const maxBody = 64 << 10

// problem is an answer that says no. Code is for programs and never changes; Message is for people.
type problem struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (p *problem) Error() string { return p.Code }

func no(status int, code, message string) *problem { return &problem{status, code, message} }

func notFound() *problem { return no(http.StatusNotFound, "NOT_FOUND", "there is nothing here") }

func forbidden(message string) *problem { return no(http.StatusForbidden, "FORBIDDEN", message) }

func invalid(message string) *problem { return no(http.StatusBadRequest, "INVALID", message) }

func conflict(code, message string) *problem { return no(http.StatusConflict, code, message) }

func unauthenticated(message string) *problem {
	return no(http.StatusUnauthorized, "UNAUTHENTICATED", message)
}

func unavailable(message string) *problem {
	return no(http.StatusServiceUnavailable, "UNAVAILABLE", message)
}

// plain turns a handler that returns an error into one that answers with it.
func (s *Server) plain(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

// fail answers with err. What is not a problem of the client's is logged, and its text
// is only shown with DEBUG.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, store.ErrNotFound):
		p = notFound()
	case errors.Is(err, context.Canceled): // the client went away: nobody's fault, and nobody reads the answer
		p = unavailable("the request was given up")
		s.Log.Info("client gone", "path", r.URL.Path, "request_id", idOf(r))
	case store.Unavailable(err):
		p = unavailable("the database does not answer")
		s.Log.Error("database unavailable", "path", r.URL.Path, "error", err.Error(), "request_id", idOf(r))
	default:
		p = no(http.StatusInternalServerError, "INTERNAL", "something went wrong")
		if s.Config.Debug {
			p.Message = err.Error()
		}
		s.Log.Error("request failed", "path", r.URL.Path, "error", err.Error(), "request_id", idOf(r))
	}
	reply(w, p.status, map[string]any{"error": p, "request_id": idOf(r)})
}

// reply writes v as JSON.
func reply(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(v)
	return nil
}

// decode reads a JSON body into v and refuses unknown fields.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	body.DisallowUnknownFields()
	if err := body.Decode(v); err != nil {
		return invalid("the body is not what this address takes: " + err.Error())
	}
	if _, err := body.Token(); err != io.EOF {
		return invalid("the body holds more than one value")
	}
	return nil
}

// isID returns an error that names the field unless value is an id.
func isID(field, value string) error {
	if _, err := uuid.Parse(value); err != nil {
		return invalid(fmt.Sprintf("%s is not an id", field))
	}
	return nil
}

// pathID returns the id in the path, or "not found": what is not an id names nothing.
func pathID(r *http.Request) (string, error) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return "", notFound()
	}
	return id.String(), nil
}
