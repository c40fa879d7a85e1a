package metric

import (
	"strings"
	"testing"
	"time"
)

func TestRequests(t *testing.T) {
	r := NewRequests()
	for _, took := range []time.Duration{5 * time.Millisecond, 30 * time.Millisecond, time.Minute} {
		r.Begin()
		r.Done("/v1/orders", "GET", 200, took)
	}
	r.Begin()
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`tulia_http_requests_total{route="/v1/orders",method="GET",code="200"} 3`, "tulia_http_requests_in_flight 1",
		`bucket{route="/v1/orders",le="0.005"} 1`, `bucket{route="/v1/orders",le="0.05"} 2`,
		`bucket{route="/v1/orders",le="5"} 2`, `bucket{route="/v1/orders",le="+Inf"} 3`,
		`sum{route="/v1/orders"} 60.035`, `count{route="/v1/orders"} 3`,
	} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("no line %s in\n%s", line, b.String())
		}
	}
}
