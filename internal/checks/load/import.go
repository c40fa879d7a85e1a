package load

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// maxFile bounds what another generator has written, in bytes.
const maxFile = 64 << 20

// source names the result of another load generator.
type source struct {
	Format string        `param:"format" doc:"what wrote it" enum:"k6,locust,vegeta,jmeter"`
	File   string        `param:"file" doc:"k6: --summary-export or handleSummary; locust: NAME_stats.csv; vegeta: report -type=json or encode -to json; jmeter: JTL as CSV"`
	On     string        `param:"on" doc:"host where the file is" default:""`
	MaxAge time.Duration `param:"max_age" doc:"longest acceptable age of the file" default:"24h"`
}

// imported are the rules for an import.
func (p *load) imported() error {
	switch {
	case p.Rate != 0 || p.For != 0 || p.Ramp != 0:
		return errors.New("import: rate, for and ramp belong to a load that is sent; the file says what was measured")
	case !p.Auth.isZero():
		return errors.New("import: auth belongs to a load that is sent")
	case p.Import.File == "" || strings.HasPrefix(p.Import.File, "-"):
		return errors.New("import: file: name the result")
	}
	for i := range p.Targets {
		if p.Targets[i].Name == "" {
			return errors.New("import: a target needs the name that the result has for it")
		}
	}
	return nil
}

// read gives the result that another generator has written.
func (p *load) read(ctx context.Context, env *check.Env) (*result, error) {
	host, err := env.Host(p.Import.On)
	if err != nil {
		return nil, err
	}
	name := p.Import.File
	info, err := host.Lstat(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if info.Mode&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("read %s: it is a link, whose age is not that of the result", name)
	}
	switch age := env.Now().Sub(info.ModTime); {
	case age < -time.Minute:
		return nil, fmt.Errorf("%s was written %s in the future: a clock is wrong", name, (-age).Round(time.Second))
	case age > p.Import.MaxAge:
		return nil, fmt.Errorf("%s is %s old, at most %s is accepted: it may be of another release", name, age.Round(time.Minute), p.Import.MaxAge)
	}
	text, err := host.ReadFile(ctx, name, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	r, err := map[string]func(*load, []byte) (*result, error){
		"k6": fromK6, "locust": fromLocust, "vegeta": fromVegeta, "jmeter": fromJMeter,
	}[p.Import.Format](p, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.Sum256(text)
	r.notes["sha256"], r.notes["written"] = hex.EncodeToString(sum[:]), info.ModTime.UTC().Format(time.RFC3339)
	var names []string
	for _, s := range r.parts {
		names = append(names, s.name)
	}
	slices.Sort(names)
	r.load = digest(p.Import.Format, names, p.Exclude)
	return r, ctx.Err()
}

// known makes a series of which only percentiles are known.
func known(name string, requests, failed int64, quantiles map[float64]time.Duration) (*series, error) {
	if requests < 0 || failed < 0 || failed > requests {
		return nil, fmt.Errorf("%s: %d of %d requests failed, which cannot be", name, failed, requests)
	}
	before := time.Duration(0)
	for _, q := range slices.Sorted(maps.Keys(quantiles)) {
		if quantiles[q] < before {
			return nil, fmt.Errorf("%s: the percentiles do not grow", name)
		}
		before = quantiles[q]
	}
	return &series{name: name, requests: requests, failed: failed, quantiles: quantiles,
		statuses: map[int]int64{}, kinds: map[string]int64{}}, nil
}

// summarised makes a result of percentiles, which cannot be taken apart.
func (p *load) summarised(total *series, parts []*series) (*result, error) {
	r := &result{total: total, parts: parts, notes: map[string]string{}}
	for _, s := range parts {
		if p.excluded(s.name) {
			return nil, fmt.Errorf("exclude: %s cannot be taken out of percentiles that were computed with it: leave it out of the load, or import a result with every request", short(s.name, 100))
		}
		r.judged = append(r.judged, true)
	}
	return r, nil
}

// ms reads a number of milliseconds.
func ms(v float64) (time.Duration, error) {
	if math.IsNaN(v) || v < 0 || v > float64(most/time.Millisecond)*1000 {
		return 0, fmt.Errorf("%v is no latency in milliseconds", v)
	}
	return time.Duration(v * float64(time.Millisecond)), nil
}

// k6Metric holds the numbers of a metric: at its top in what --summary-export
// writes, below values in what handleSummary is given.
type k6Metric map[string]json.RawMessage

func (m k6Metric) number(names ...string) (float64, bool) {
	inner := m
	if raw, ok := m["values"]; ok {
		inner = nil
		_ = json.Unmarshal(raw, &inner) // what is not there is found out below
	}
	for _, name := range names {
		var v float64
		if raw, ok := inner[name]; ok && string(raw) != "null" && json.Unmarshal(raw, &v) == nil {
			return v, true
		}
	}
	return 0, false
}

// fromK6 reads an end-of-test summary. Times are in milliseconds; value (or rate) of
// http_req_failed is the share of failed requests, and dropped_iterations are those
// that could not be started in time.
// https://grafana.com/docs/k6/latest/results-output/end-of-test
func fromK6(p *load, text []byte) (*result, error) {
	var doc struct {
		Metrics map[string]k6Metric `json:"metrics"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("not a summary of k6: %w", err)
	}
	count, ok := doc.Metrics["http_reqs"].number("count")
	share, okShare := doc.Metrics["http_req_failed"].number("value", "rate")
	if !ok || !okShare || count < 1 || count > 1e12 || share < 0 || share > 1 {
		return nil, errors.New("the summary of k6 does not say http_reqs.count and http_req_failed")
	}
	dropped := 0.0
	if m, there := doc.Metrics["dropped_iterations"]; there {
		if dropped, ok = m.number("count"); !ok || dropped < 0 || dropped > 1e12 {
			return nil, errors.New("the summary of k6 does not say dropped_iterations.count")
		}
	}
	quantiles, err := k6Quantiles(doc.Metrics["http_req_duration"])
	if err != nil {
		return nil, err
	}
	total, err := known("total", int64(count+dropped), int64(math.Round(share*count)+dropped), quantiles)
	if err != nil {
		return nil, err
	}
	if dropped > 0 {
		total.kinds[notSent] = int64(dropped)
	}
	var parts []*series
	for _, name := range slices.Sorted(maps.Keys(doc.Metrics)) {
		tag, ok := strings.CutPrefix(name, "http_req_duration{name:")
		if !ok {
			continue
		}
		part, err := k6Part(doc.Metrics, strings.TrimSuffix(tag, "}"))
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return p.summarised(total, parts)
}

// k6Part reads the sub-metrics that a threshold on a name has made.
func k6Part(metrics map[string]k6Metric, name string) (*series, error) {
	quantiles, err := k6Quantiles(metrics["http_req_duration{name:"+name+"}"])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	count, ok := metrics["http_reqs{name:"+name+"}"].number("count")
	share, okShare := metrics["http_req_failed{name:"+name+"}"].number("value", "rate")
	if !ok || !okShare || count < 0 || count > 1e12 || share < 0 || share > 1 {
		return nil, fmt.Errorf("%s: the summary has its latencies but not http_reqs{name:…} and http_req_failed{name:…}: give each a threshold", name)
	}
	return known(name, int64(count), int64(math.Round(share*count)), quantiles)
}

func k6Quantiles(m k6Metric) (map[float64]time.Duration, error) {
	out := map[float64]time.Duration{}
	for q, name := range map[float64][]string{50: {"med", "p(50)"}, 95: {"p(95)"}, 99: {"p(99)"}} {
		v, ok := m.number(name...)
		if !ok {
			continue // a limit on it will say so
		}
		d, err := ms(v)
		if err != nil {
			return nil, err
		}
		out[q] = d
	}
	if len(out) == 0 {
		return nil, errors.New("the summary of k6 holds no percentile of http_req_duration")
	}
	return out, nil
}
