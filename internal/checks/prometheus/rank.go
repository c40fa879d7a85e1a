package prometheus

import (
	"math"
	"slices"
)

// rankTest is the Mann–Whitney U test of whether x tends to be greater than y:
// the chance that samples of one source would look at least so different (p), by
// the normal approximation with ties and continuity correction, and how often a
// value of x is the greater one (share). inflation multiplies the variance, for
// samples that depend on each other.
func rankTest(x, y []float64, inflation float64) (p, share float64) {
	n, m := float64(len(x)), float64(len(y))
	type ranked struct {
		value float64
		ofX   bool
	}
	all := make([]ranked, 0, len(x)+len(y))
	for _, v := range x {
		all = append(all, ranked{v, true})
	}
	for _, v := range y {
		all = append(all, ranked{v, false})
	}
	slices.SortFunc(all, func(a, b ranked) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	sum, ties := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].value == all[i].value {
			j++
		}
		t, rank := float64(j-i), float64(i+j+1)/2
		ties += t*t*t - t
		for ; i < j; i++ {
			if all[i].ofX {
				sum += rank
			}
		}
	}
	u := sum - n*(n+1)/2
	variance := n * m / 12 * ((n + m + 1) - ties/((n+m)*(n+m-1))) * inflation
	share = u / (n * m)
	if variance <= 0 { // all values are the same
		return 1, share
	}
	distance := u - n*m/2 - 0.5
	return 0.5 * math.Erfc(distance/math.Sqrt(2*variance)), share
}

// independent estimates how many independent samples a series is worth: n times
// (1-r)/(1+r), r being how much each sample is like the one before (the
// autocorrelation at lag 1). A rate over five minutes that is read every 30
// seconds says the same thing ten times.
func independent(values []float64) float64 {
	n := float64(len(values))
	if n < 3 {
		return n
	}
	m, around, next := mean(values), 0.0, 0.0
	for i, v := range values {
		around += (v - m) * (v - m)
		if i > 0 {
			next += (v - m) * (values[i-1] - m)
		}
	}
	if around == 0 {
		return n
	}
	r := min(max(next/around, 0), 0.99)
	return n * (1 - r) / (1 + r)
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
