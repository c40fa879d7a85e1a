//go:build v3

package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// faultEvery is the share of requests that v3 fails: one in ten.
const faultEvery = 10

// faults is the defect that v3 is made for: it starts well, and after a while every tenth business request fails.
// TULIA_FAULT_AFTER says after how much time ("30s") or after how many such requests ("200").
func (s *Server) faults(next http.Handler) (http.Handler, error) {
	after, wait := int64(0), time.Duration(0)
	if n, err := strconv.ParseInt(s.Config.FaultAfter, 10, 64); err == nil && n >= 0 {
		after = n
	} else if d, err := time.ParseDuration(s.Config.FaultAfter); err == nil && d >= 0 {
		wait = d
	} else {
		return nil, fmt.Errorf("TULIA_FAULT_AFTER is neither a duration nor a number of requests")
	}
	start := s.Now()
	var seen, counted atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if business(r.URL.Path) && seen.Add(1) > after && s.Now().Sub(start) >= wait && counted.Add(1)%faultEvery == 0 {
			s.fail(w, r, fmt.Errorf("reminder cache is out of slots"))
			return
		}
		next.ServeHTTP(w, r)
	}), nil
}

// business tells whether a path is neither a login nor a health check.
func business(path string) bool {
	return strings.HasPrefix(path, "/v1/") && !strings.HasPrefix(path, "/v1/auth/") && !strings.HasPrefix(path, "/v1/health")
}
