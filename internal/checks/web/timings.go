package web

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"
)

// timings is where an answer's time went; zero where a step did not happen.
type timings struct {
	dns, connect, tls, firstByte time.Duration
	remote                       string
	reused                       bool
}

// stopwatch collects timings. The transport calls it from several goroutines, a
// few of them after the answer.
type stopwatch struct {
	now                              func() time.Time
	mu                               sync.Mutex
	dnsFrom, connectFrom, from, sent time.Time
	t                                timings
}

// read gives what was collected so far.
func (s *stopwatch) read() timings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t
}

func (s *stopwatch) do(step func(now time.Time)) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	step(now)
}

// trace gives a context whose requests are timed.
func (s *stopwatch) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			s.do(func(time.Time) { s.t.remote, s.t.reused = i.Conn.RemoteAddr().String(), i.Reused })
		},
		DNSStart:          func(httptrace.DNSStartInfo) { s.do(func(now time.Time) { s.dnsFrom = now }) },
		DNSDone:           func(httptrace.DNSDoneInfo) { s.do(func(now time.Time) { s.t.dns = now.Sub(s.dnsFrom) }) },
		ConnectStart:      func(string, string) { s.do(func(now time.Time) { s.connectFrom = now }) },
		ConnectDone:       func(string, string, error) { s.do(func(now time.Time) { s.t.connect = now.Sub(s.connectFrom) }) },
		TLSHandshakeStart: func() { s.do(func(now time.Time) { s.from = now }) },
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			s.do(func(now time.Time) { s.t.tls = now.Sub(s.from) })
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { s.do(func(now time.Time) { s.sent = now }) },
		GotFirstResponseByte: func() { s.do(func(now time.Time) { s.t.firstByte = now.Sub(s.sent) }) },
	})
}
