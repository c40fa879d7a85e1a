// Package metric counts requests and writes the counts in Prometheus' text format.
package metric

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Buckets returns the upper bounds of the latency histogram, in seconds.
func Buckets() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5}
}

// Requests counts finished requests. The zero value is not ready; use NewRequests.
type Requests struct {
	mu      sync.Mutex
	bounds  []float64
	total   map[labels]uint64
	latency map[string]*histogram // by route
	running int
}

type labels struct {
	route, method string
	code          int
}

type histogram struct {
	counts []uint64 // one per bound, not cumulative, and one for everything above
	sum    float64
}

// NewRequests returns counters that stand at zero.
func NewRequests() *Requests {
	return &Requests{bounds: Buckets(), total: map[labels]uint64{}, latency: map[string]*histogram{}}
}

// Begin counts a request in; Done counts it out.
func (r *Requests) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running++
}

// Done records a finished request. Route is the pattern that matched, never the path: paths are unbounded.
func (r *Requests) Done(route, method string, code int, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	r.total[labels{route, method, code}]++
	h := r.latency[route]
	if h == nil {
		h = &histogram{counts: make([]uint64, len(r.bounds)+1)}
		r.latency[route] = h
	}
	seconds := took.Seconds()
	at, _ := slices.BinarySearch(r.bounds, seconds)
	h.counts[at]++
	h.sum += seconds
}

// WriteTo writes all counters as Prometheus text.
func (r *Requests) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	b.WriteString("# HELP tulia_http_requests_total Finished requests.\n# TYPE tulia_http_requests_total counter\n")
	for _, l := range sortedLabels(r.total) {
		fmt.Fprintf(&b, "tulia_http_requests_total{route=%q,method=%q,code=\"%d\"} %d\n",
			l.route, l.method, l.code, r.total[l])
	}
	Gauge(&b, "tulia_http_requests_in_flight", "Requests being answered.", float64(r.running))
	b.WriteString("# HELP tulia_http_request_seconds Time to answer.\n# TYPE tulia_http_request_seconds histogram\n")
	for _, route := range sortedRoutes(r.latency) {
		r.writeHistogram(&b, route)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (r *Requests) writeHistogram(b *strings.Builder, route string) {
	h := r.latency[route]
	var count uint64
	for i, bound := range r.bounds {
		count += h.counts[i]
		fmt.Fprintf(b, "tulia_http_request_seconds_bucket{route=%q,le=\"%g\"} %d\n", route, bound, count)
	}
	count += h.counts[len(r.bounds)]
	fmt.Fprintf(b, "tulia_http_request_seconds_bucket{route=%q,le=\"+Inf\"} %d\n", route, count)
	fmt.Fprintf(b, "tulia_http_request_seconds_sum{route=%q} %g\n", route, h.sum)
	fmt.Fprintf(b, "tulia_http_request_seconds_count{route=%q} %d\n", route, count)
}

// Gauge writes one number that may rise and fall.
func Gauge(w io.Writer, name, help string, value float64) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n%s %g\n", name, help, name, name, value)
}

// Counter writes one number that only rises.
func Counter(w io.Writer, name, help string, value float64) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s counter\n%s %g\n", name, help, name, name, value)
}

func sortedLabels(m map[labels]uint64) []labels {
	out := make([]labels, 0, len(m))
	for l := range m {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b labels) int {
		return strings.Compare(fmt.Sprint(a.route, a.method, a.code), fmt.Sprint(b.route, b.method, b.code))
	})
	return out
}

func sortedRoutes(m map[string]*histogram) []string {
	out := make([]string, 0, len(m))
	for route := range m {
		out = append(out, route)
	}
	slices.Sort(out)
	return out
}
