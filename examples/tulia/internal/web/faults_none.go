//go:build !v3

package web

import "net/http"

// faults changes nothing in this version.
func (s *Server) faults(next http.Handler) (http.Handler, error) { return next, nil }
