package rehearse

import (
	"math"
	"slices"
	"time"
)

// Work is what a statement did that takes time with the size of its table.
type Work string

// The kinds of work, by what was seen.
const (
	CatalogOnly Work = "catalog"
	Scan        Work = "scan"
	Build       Work = "build"
	Rewrite     Work = "rewrite"
	Rows        Work = "rows"
)

// Part is one statement for an estimate.
type Part struct {
	Migration string `json:"migration"`
	SQL       string `json:"statement"`
	Work      Work   `json:"work"`
	// Table is the one it worked on, Here and There its size in bytes in the rehearsal
	// and on production.
	Table string `json:"table,omitempty"`
	Here  int64  `json:"here,omitempty"`
	There int64  `json:"there,omitempty"`
	// Took is the time measured in the rehearsal.
	Took time.Duration `json:"took"`
	// Locked tells that readers or writers were kept out meanwhile.
	Locked bool `json:"locked"`
}

// Estimate is a range of time on production and what it comes from.
type Estimate struct {
	Expected time.Duration `json:"expected"`
	Low      time.Duration `json:"low"`
	High     time.Duration `json:"high"`
	// Unlearned is what would be expected without earlier deployments: what those to
	// come are compared with.
	Unlearned time.Duration `json:"unlearned"`
	// Driver is the part that takes most of it.
	Driver Part `json:"driver"`
	// Factor is what earlier deployments have taken of what was expected, From so many.
	Factor float64 `json:"factor"`
	From   int     `json:"from"`
}

// minFactors is how many earlier deployments are needed before their own spread
// counts instead of the assumed one.
const minFactors = 3

// Predict estimates the time of all parts on production: T = Σ c·T_i, scaled by
// bytes where a statement works through its table. Work on a catalog does not
// scale.
//
// The assumed range follows measurements on PostgreSQL 15 of scans, builds,
// rewrites and updates, each predicted from a smaller table: from a third of the
// size the prediction was 0.63 to 1.15 of the truth, from a tenth 0.34 to 1.14. At
// the full size the range allows for another machine, half to twice; each tenth of
// the size widens it by half. Once there are three earlier deployments, the least
// and the greatest ratio of actual to unlearned among them are the range, and their
// median is c.
func Predict(parts []Part, ratios []float64) Estimate {
	e := Estimate{Factor: 1, From: len(ratios)}
	low, high := 0.5, 2.0
	ratios = slices.Sorted(slices.Values(ratios))
	if len(ratios) > 0 {
		e.Factor = ratios[len(ratios)/2]
	}
	var most time.Duration
	var unlearned, expected, least, greatest float64
	for _, p := range parts {
		scale := p.scale()
		t := float64(p.Took) * scale * e.Factor
		expected, unlearned = expected+t, unlearned+t/e.Factor
		widen := math.Max(1, 1+math.Log10(math.Max(1, scale))/2) // a tenth of the size: half as much again
		least += t * low / widen
		greatest += t * high * widen
		if time.Duration(t) >= most {
			most, e.Driver = time.Duration(t), p
		}
	}
	if len(ratios) >= minFactors {
		least, greatest = expected*ratios[0]/e.Factor, expected*ratios[len(ratios)-1]/e.Factor
	}
	e.Expected, e.Low, e.High, e.Unlearned = time.Duration(expected), time.Duration(least), time.Duration(greatest), time.Duration(unlearned)
	return e
}

// scale is how much more there is to work through on production.
func (p Part) scale() float64 {
	if p.Work == CatalogOnly || p.Here <= 0 || p.There <= 0 {
		return 1
	}
	return float64(p.There) / float64(p.Here)
}
