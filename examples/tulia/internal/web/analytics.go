package web

import "net/http"

func (s *Server) overview(w http.ResponseWriter, r *http.Request, who actor) error {
	v, err := s.Store.Overview(r.Context(), who.Tenant)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

func (s *Server) daily(w http.ResponseWriter, r *http.Request, who actor) error {
	days, err := count(r, "days", 7, 90)
	if err != nil {
		return err
	}
	v, err := s.Store.Daily(r.Context(), who.Tenant, days)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"days": v})
}

func (s *Server) messaging(w http.ResponseWriter, r *http.Request, who actor) error {
	v, err := s.Store.Messaging(r.Context(), who.Tenant)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

func (s *Server) funnel(w http.ResponseWriter, r *http.Request, who actor) error {
	v, err := s.Store.Funnel(r.Context(), who.Tenant)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}
