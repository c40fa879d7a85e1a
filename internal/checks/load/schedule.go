package load

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// rate is a number of requests per second.
type rate float64

// UnmarshalText reads 20/s, 0.5/s, 120/m or a bare number, which is per second.
func (r *rate) UnmarshalText(text []byte) error {
	number, unit, _ := strings.Cut(string(text), "/")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	switch strings.TrimSpace(unit) {
	case "", "s":
	case "m", "min":
		v /= 60
	default:
		err = errors.New("unknown unit")
	}
	if err != nil || !(v > 0) || math.IsInf(v, 0) {
		return errors.New("want requests per second or minute, as 20/s or 120/m")
	}
	*r = rate(v)
	return nil
}

// String gives the rate per second.
func (r rate) String() string { return strconv.FormatFloat(float64(r), 'g', 6, 64) + "/s" }

// schedule says when each request is due, which no answer changes.
type schedule struct {
	rate         rate
	ramp, length time.Duration
}

// due gives when the request k (from 0) is to start, counted from the beginning:
// in the ramp the rate grows evenly, so that the k-th request is due when the area
// below the rate has reached k.
func (s schedule) due(k int) time.Duration {
	r, ramp := float64(s.rate), s.ramp.Seconds()
	if warm := r * ramp / 2; float64(k) >= warm {
		return s.ramp + time.Duration((float64(k)-warm)/r*float64(time.Second))
	}
	return time.Duration(math.Sqrt(2*float64(k)*ramp/r) * float64(time.Second))
}

// warm is how many requests the ramp has.
func (s schedule) warm() int { return int(math.Ceil(float64(s.rate) * s.ramp.Seconds() / 2)) }

// total is how many requests there are.
func (s schedule) total() int {
	return int(math.Ceil(float64(s.rate)*(s.ramp.Seconds()/2+s.length.Seconds()) - 1e-6))
}

// at gives the rate at a time.
func (s schedule) at(t time.Duration) rate {
	if t >= s.ramp {
		return s.rate
	}
	return rate(float64(s.rate) * t.Seconds() / s.ramp.Seconds())
}

// turns spreads the targets evenly by their weights: after any number of requests
// each has had its share but for one, and the same test asks in the same order.
type turns struct{ weight, credit []int }

func newTurns(targets []target) *turns {
	t := &turns{credit: make([]int, len(targets))}
	for i := range targets {
		t.weight = append(t.weight, targets[i].Weight)
	}
	return t
}

// next gives the target whose turn it is.
func (t *turns) next() int {
	best, sum := 0, 0
	for i, w := range t.weight {
		t.credit[i] += w
		sum += w
		if t.credit[i] > t.credit[best] {
			best = i
		}
	}
	t.credit[best] -= sum
	return best
}
