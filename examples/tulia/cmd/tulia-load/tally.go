package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// errCutOff reports an answer that ended before its end.
var errCutOff = errors.New("answer cut off")

// result is what became of one request.
type result struct {
	status      int
	maintenance bool // answered by the maintenance page
	retried     bool // net/http sent it twice
	version     string
	err         error
}

// gap is a time in which requests failed with less than gapJoin between them.
type gap struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Requests int       `json:"requests"`
	Kind     string    `json:"kind"` // dropped or maintenance
}

const (
	gapJoin = time.Second
	maxGaps = 1000
)

// summary is the file that is written. Every request that was sent is in exactly one of ok, refused,
// server_errors, dropped, maintenance and in_flight.
type summary struct {
	Started     time.Time      `json:"started"`
	Updated     time.Time      `json:"updated"`
	Finished    bool           `json:"finished"`
	Rate        int            `json:"rate"`
	Sent        int            `json:"sent"`
	OK          int            `json:"ok"`            // 1xx to 3xx
	Refused     int            `json:"refused"`       // 4xx
	ServerError int            `json:"server_errors"` // 500, 501: the application answered, and failed
	Dropped     int            `json:"dropped"`       // no whole answer, or 502, 503, 504 outside of maintenance
	DroppedBy   map[string]int `json:"dropped_by"`
	Maintenance int            `json:"maintenance"` // 503 of the maintenance page
	InFlight    int            `json:"in_flight"`
	Retried     int            `json:"retried"`  // sent twice by net/http after a kept connection broke; also in one of the above
	NotSent     int            `json:"not_sent"` // due while too many were in flight: the figures are then too good
	ByVersion   map[string]int `json:"by_version"`
	// Seconds without service as seen from outside: failed requests ÷ rate.
	DroppedSeconds     float64            `json:"dropped_seconds"`
	MaintenanceSeconds float64            `json:"maintenance_seconds"`
	DowntimeSeconds    float64            `json:"downtime_seconds"` // both
	Gaps               []gap              `json:"gaps"`
	Latency            map[string]float64 `json:"latency_ms"` // of answers from the application, from when each was due
}

// tally counts. All its methods may be called at the same time.
type tally struct {
	mu      sync.Mutex
	s       summary
	buckets [700]int // of latency, each 2 % wider than the one before; the first is 0.1 ms
	slowest time.Duration
}

func newTally(rate int, now time.Time) *tally {
	return &tally{s: summary{Started: now, Rate: rate, DroppedBy: map[string]int{}, ByVersion: map[string]int{}, Gaps: []gap{}}}
}

// begin counts a request that is due, and returns false if too many are in flight to send it.
func (t *tally) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.s.InFlight >= maxInFlight {
		t.s.NotSent++
		return false
	}
	t.s.Sent++
	t.s.InFlight++
	return true
}

// end counts the fate of a request that was due at due.
func (t *tally) end(due, now time.Time, r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s.InFlight--
	if r.retried {
		t.s.Retried++
	}
	reason := dropReason(r)
	switch {
	case reason != "":
		t.s.Dropped++
		t.s.DroppedBy[reason]++
		t.fail("dropped", due)
		return
	case r.maintenance:
		t.s.Maintenance++
		t.fail("maintenance", due)
		return
	case r.status >= 500:
		t.s.ServerError++
	case r.status >= 400:
		t.s.Refused++
	default:
		t.s.OK++
	}
	t.s.ByVersion[r.version]++
	took := now.Sub(due)
	t.slowest = max(t.slowest, took)
	t.buckets[bucket(took)]++
}

// dropReason says why a request counts as dropped, or "" if it was answered.
func dropReason(r result) string {
	var timeout net.Error
	switch {
	case r.err == nil && !r.maintenance && (r.status == 502 || r.status == 503 || r.status == 504):
		return fmt.Sprintf("status %d", r.status)
	case r.err == nil:
		return ""
	case errors.Is(r.err, errCutOff):
		return "answer cut off"
	case errors.Is(r.err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(r.err, syscall.ECONNRESET) || errors.Is(r.err, syscall.EPIPE):
		return "connection reset"
	case errors.As(r.err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "connection closed"
}

// fail adds a failure to the gap that it belongs to.
func (t *tally) fail(kind string, at time.Time) {
	for i := len(t.s.Gaps) - 1; i >= max(0, len(t.s.Gaps)-4); i-- {
		g := &t.s.Gaps[i]
		if g.Kind == kind && at.After(g.From.Add(-gapJoin)) && at.Before(g.To.Add(gapJoin)) {
			if at.Before(g.From) {
				g.From = at
			}
			if at.After(g.To) {
				g.To = at
			}
			g.Requests++
			return
		}
	}
	if len(t.s.Gaps) < maxGaps {
		t.s.Gaps = append(t.s.Gaps, gap{From: at, To: at, Requests: 1, Kind: kind})
	}
}

const (
	firstBucket = 100 * time.Microsecond
	growth      = 1.02
)

func bucket(d time.Duration) int {
	if d <= firstBucket {
		return 0
	}
	return min(699, int(math.Ceil(math.Log(float64(d)/float64(firstBucket))/math.Log(growth))))
}

// quantile returns the upper end of the bucket that holds the quantile q, in milliseconds; 0 without answers.
func (t *tally) quantile(q float64) float64 {
	total := 0
	for _, n := range t.buckets {
		total += n
	}
	rank := int(math.Ceil(q * float64(total)))
	for i, n := range t.buckets {
		if rank -= n; rank <= 0 && total > 0 {
			return min(milliseconds(firstBucket)*math.Pow(growth, float64(i)), milliseconds(t.slowest))
		}
	}
	return 0
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// write puts the summary into the file at path, all of it or nothing.
func (t *tally) write(path string, finished bool, now time.Time) error {
	text, err := t.encode(finished, now)
	if err != nil {
		return fmt.Errorf("encode summary: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".tulia-load-*")
	if err != nil {
		return fmt.Errorf("create summary: %w", err)
	}
	defer os.Remove(temp.Name()) // gone already if all went well
	_, err = temp.Write(text)
	if err := errors.Join(err, temp.Chmod(0o644), temp.Close()); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("replace summary: %w", err)
	}
	return nil
}

func (t *tally) encode(finished bool, now time.Time) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.s
	s.Updated, s.Finished = now, finished
	s.DroppedSeconds = float64(s.Dropped) / float64(s.Rate)
	s.MaintenanceSeconds = float64(s.Maintenance) / float64(s.Rate)
	s.DowntimeSeconds = s.DroppedSeconds + s.MaintenanceSeconds
	s.Latency = map[string]float64{
		"p50": t.quantile(0.50), "p95": t.quantile(0.95), "p99": t.quantile(0.99), "max": milliseconds(t.slowest),
	}
	return json.MarshalIndent(s, "", "  ")
}
