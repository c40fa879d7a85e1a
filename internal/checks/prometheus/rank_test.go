package prometheus

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The values are SciPy's (mannwhitneyu, method="asymptotic", use_continuity) and
// R's (wilcox.test, exact=FALSE, correct=TRUE): their documentation's examples.
func TestRankTest(t *testing.T) {
	near := func(name string, got, want float64) {
		if math.Abs(got-want) > 1e-9*math.Abs(want)+1e-12 {
			t.Errorf("%s: %.17g, want %.17g", name, got, want)
		}
	}
	males, females := []float64{19, 22, 16, 29, 24}, []float64{20, 11, 17, 12}
	p, share := rankTest(males, females, 1)
	near("SciPy, two-sided", 2*p, 0.11134688653314041)
	near("SciPy, U", share*20, 17)
	// By hand: x = 1 2 2 3, y = 2 2 3 4, U = 4.5, three ties of 4, 2 and 1 values.
	p, share = rankTest([]float64{1, 2, 2, 3}, []float64{2, 2, 3, 4}, 1)
	near("ties, U", share*16, 4.5)
	near("ties", p, 0.5*math.Erfc((4.5-8-0.5)/math.Sqrt(2*16.0/12*(9-66.0/56))))
	p, share = rankTest([]float64{5, 5, 5}, []float64{5, 5}, 1)
	near("all the same", p, 1)
	near("all the same, share", share, 0.5)
}

// What the test says about nothing must be said about as often as alpha promises,
// also where samples depend on each other.
func TestRankTestKeepsItsWord(t *testing.T) {
	noise, runs := rand.New(rand.NewPCG(7, 7)), 2000
	for _, depend := range []float64{0, 0.7} {
		alarms, judged := 0, 0
		for range runs {
			x, y := walk(noise, depend), walk(noise, depend)
			nx, ny := independent(x), independent(y)
			judged++
			if p, _ := rankTest(x, y, max(float64(len(x))/nx, float64(len(y))/ny)); p < 0.01 {
				alarms++
			}
		}
		if share := float64(alarms) / float64(judged); share > 0.02 {
			t.Errorf("with autocorrelation %g, %.1f %% of the tests at alpha 0.01 are false alarms", depend, 100*share)
		}
	}
}

func walk(noise *rand.Rand, depend float64) []float64 {
	out, last := make([]float64, 240), 0.0
	for i := range out {
		last = depend*last + math.Sqrt(1-depend*depend)*noise.NormFloat64()
		out[i] = last
	}
	return out
}

func TestIndependent(t *testing.T) {
	noise := rand.New(rand.NewPCG(3, 3))
	if n := independent(walk(noise, 0)); n < 180 {
		t.Errorf("240 independent samples are worth %.0f", n)
	}
	if n := independent(walk(noise, 0.7)); n < 25 || n > 70 {
		t.Errorf("240 samples with autocorrelation 0.7 are worth %.0f, want about 42", n)
	}
	if n := independent([]float64{4, 4, 4, 4}); n != 4 {
		t.Errorf("4 equal samples are worth %.0f", n)
	}
}

func TestFilters(t *testing.T) {
	for expr, want := range map[string]bool{
		"up == 1": true, "(up == 1)": true, "((a) > (b))": true, "a / b < 2": true, "a and b > 1": true, "a unless b != 0": true,
		"up == bool 1": false, "a >bool 1": false, "up": false, `up{job!="a", x=~">"}`: false, "sum(up == 1)": false,
		`"a > b"`: false, "a # > 1": false, "(a > bool 1) + (b > bool 1)": false, `label_replace(a, "b", "c", 'd > e', "")`: false,
		"a > bool 1 == 1": true, "topk(5, a) >= on(job) b": true, "`a\\` > 1": true, "": false, "a > ": true,
	} {
		if got := filters(expr); got != want {
			t.Errorf("%s: %t", expr, got)
		}
	}
	for expr, want := range map[string]bool{
		"a or vector(0)": false, "sum(a) OR on() vector(0)": false, "(a or (vector (0)))": false, "a or b": true, `a{x="or vector(0)"}`: true,
		"": false, " ": false,
	} {
		if err := checkExpr("expr", expr); (err == nil) != want {
			t.Errorf("%s: %v", expr, err)
		}
	}
}
