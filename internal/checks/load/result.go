package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"allclear.dev/allclear/internal/check"
)

const (
	// most is the largest latency that a histogram tells from a larger one.
	most = 10 * time.Minute
	// digits is how many decimal digits of a latency a histogram keeps.
	digits = 3
	// maxSlices is how many slices the judged time is cut into, for the comparison
	// and, in the ramp, for the rate at which a limit broke; perSlice is how many
	// requests a slice should have.
	maxSlices, perSlice = 20, 5
)

// sample is what came of one request.
type sample struct {
	target int
	// due is when it was to start, lag how much later it did and latency how much
	// later its answer was complete.
	due, lag, latency time.Duration
	status            int
	kind              string
	ok                bool
	err               error
}

// series is what is known of some requests.
type series struct {
	name string
	// requests are all that were due, failed those without a right answer.
	requests, failed int64
	statuses         map[int]int64
	kinds            map[string]int64
	// latency is in microseconds; nil when quantiles are all that is known.
	latency   *hdrhistogram.Histogram
	quantiles map[float64]time.Duration
}

func newSeries(name string) *series {
	return &series{name: name, statuses: map[int]int64{}, kinds: map[string]int64{},
		latency: hdrhistogram.New(1, most.Microseconds(), digits)}
}

// add takes a request in. A quick failure says nothing about latency and would
// make it look better; one that took longer than every limit counts.
func (s *series) add(one sample, slowest time.Duration) {
	s.requests++
	if !one.ok {
		s.failed++
	}
	if one.status != 0 {
		s.statuses[one.status]++
	}
	if one.kind != answered {
		s.kinds[one.kind]++
	}
	if one.ok || slowest > 0 && one.latency > slowest {
		_ = s.latency.RecordValue(min(max(one.latency, time.Microsecond), most).Microseconds()) // it is in range
	}
}

// measured is how many requests have a latency.
func (s *series) measured() int64 {
	if s.latency == nil {
		return s.requests - s.failed
	}
	return s.latency.TotalCount()
}

// answers is how many requests were answered, whatever the status.
func (s *series) answers() int64 {
	if s.latency == nil {
		return s.requests
	}
	n := int64(0)
	for _, count := range s.statuses {
		n += count
	}
	return n
}

// quantile gives a latency; false when it is not known.
func (s *series) quantile(q float64) (time.Duration, bool) {
	if s.latency == nil {
		d, ok := s.quantiles[q]
		return d, ok
	}
	if s.latency.TotalCount() == 0 {
		return 0, false
	}
	return time.Duration(s.latency.ValueAtPercentile(q)) * time.Microsecond, true
}

// share is the part of the requests that failed.
func (s *series) share() float64 {
	if s.requests == 0 {
		return 0
	}
	return float64(s.failed) / float64(s.requests)
}

// result is what a test found.
type result struct {
	slowest time.Duration
	// parts are the targets, judged tells which of them count, total are those
	// together.
	parts  []*series
	judged []bool
	total  *series
	// ramp and slices cut the time of the ramp and of the rest.
	ramp, slices []*series
	plan         schedule
	// lag is how late requests were sent, in microseconds; nil for an import.
	lag *hdrhistogram.Histogram
	// load identifies what was measured, for the comparison.
	load string
	// first is the first error of a request; notes are facts of an import.
	first error
	notes map[string]string
}

// newResult prepares for what the generator will find.
func (p *load) newResult() *result {
	r := &result{slowest: p.slowest(), total: newSeries("total"), plan: p.schedule(), load: p.identity(),
		lag: hdrhistogram.New(1, most.Microseconds(), digits), notes: map[string]string{}}
	for i := range p.Targets {
		t := &p.Targets[i]
		r.parts, r.judged = append(r.parts, newSeries(t.name())), append(r.judged, !p.excluded(t.name(), t.URL))
	}
	r.cut(r.plan.total() - r.plan.warm())
	if p.Ramp > 0 {
		for range maxSlices {
			r.ramp = append(r.ramp, newSeries(""))
		}
	}
	return r
}

// cut makes as many slices as so many requests fill.
func (r *result) cut(requests int) {
	for range min(maxSlices, requests/perSlice) {
		r.slices = append(r.slices, newSeries(""))
	}
}

// add takes a request in: its failure always counts, its latency not in the ramp.
func (r *result) add(one sample) {
	if one.kind != notSent && r.lag != nil {
		_ = r.lag.RecordValue(min(max(one.lag, time.Microsecond), most).Microseconds()) // it is in range
	}
	if one.err != nil && r.first == nil {
		r.first = one.err
	}
	to := []*series{r.parts[one.target]}
	if r.judged[one.target] {
		to = append(to, r.total)
	}
	if one.due < r.plan.ramp {
		for _, s := range to {
			s.requests++
			if !one.ok {
				s.failed++
			}
			if one.status != 0 {
				s.statuses[one.status]++
			}
			if one.kind != answered {
				s.kinds[one.kind]++
			}
		}
		to = nil
		if r.judged[one.target] {
			to = []*series{slice(r.ramp, one.due, r.plan.ramp)}
		}
	} else if r.judged[one.target] && len(r.slices) > 0 {
		to = append(to, slice(r.slices, one.due-r.plan.ramp, r.plan.length))
	}
	for _, s := range to {
		s.add(one, r.slowest)
	}
}

// slice gives the slice of a length that a time falls into.
func slice(slices []*series, at, length time.Duration) *series {
	i := int(int64(at) * int64(len(slices)) / max(int64(length), 1))
	return slices[min(max(i, 0), len(slices)-1)]
}

// facts are what the record keeps.
func (r *result) facts(p *load) map[string]string {
	facts := maps.Clone(r.notes)
	if facts == nil {
		facts = map[string]string{}
	}
	facts["requests"], facts["failed"] = strconv.FormatInt(r.total.requests, 10), strconv.FormatInt(r.total.failed, 10)
	facts["errors"] = percent(r.total.share())
	for _, q := range []float64{50, 95, 99} {
		if d, ok := r.total.quantile(q); ok {
			facts[fmt.Sprintf("p%v", q)] = d.String()
		}
	}
	if text := r.total.statusText(); text != "" {
		facts["statuses"] = text
	}
	for kind, n := range r.total.kinds {
		facts["errors."+strings.ReplaceAll(kind, " ", "_")] = strconv.FormatInt(n, 10)
	}
	for i, s := range r.parts {
		text := s.String()
		if !r.judged[i] {
			text += " (excluded)"
		}
		facts["target."+s.name] = text
	}
	if r.lag != nil {
		facts["late.p99"] = r.late().String()
	}
	if r.first != nil {
		facts["first_error"] = short(r.first.Error(), 300)
	}
	if len(r.ramp) > 0 {
		facts["broke_at"] = r.broke(p)
	}
	return facts
}

// late is how late the 99th percentile of the requests was sent.
func (r *result) late() time.Duration {
	return time.Duration(r.lag.ValueAtPercentile(99)) * time.Microsecond
}

// broke tells at which rate of the ramp the limits were first not kept.
func (r *result) broke(p *load) string {
	for i, s := range r.ramp {
		at := time.Duration(int64(r.plan.ramp) * int64(i+1) / int64(len(r.ramp)))
		if p95, ok := s.quantile(95); s.requests >= 20 && (s.share() > float64(p.Errors) || ok && p.P95 > 0 && p95 > p.P95) {
			return fmt.Sprintf("%s, after %s of the ramp", r.plan.at(at), at.Round(time.Millisecond))
		}
	}
	return "not in the ramp"
}

// String gives a series in one line.
func (s *series) String() string {
	text := fmt.Sprintf("%d requests, %d failed", s.requests, s.failed)
	for _, q := range []float64{50, 95, 99} {
		if d, ok := s.quantile(q); ok {
			text += fmt.Sprintf(", p%v %s", q, d)
		}
	}
	return text
}

func (s *series) statusText() string {
	var out []string
	for _, status := range slices.Sorted(maps.Keys(s.statuses)) {
		out = append(out, fmt.Sprintf("%d: %d", status, s.statuses[status]))
	}
	return strings.Join(out, ", ")
}

// keep stores the histograms, in the log format of HdrHistogram, and a table of
// the percentiles.
func (r *result) keep(env *check.Env) ([]check.Artefact, error) {
	var log bytes.Buffer
	writer := hdrhistogram.NewHistogramLogWriter(&log)
	err := writer.OutputComment("latencies in microseconds, from when each request was due")
	for i, s := range append([]*series{r.total}, r.parts...) {
		if s.latency == nil || err != nil {
			continue
		}
		tag := "total"
		if i > 0 {
			tag = "target-" + strconv.Itoa(i)
			err = writer.OutputComment(tag + ": " + strings.Map(printable, s.name))
		}
		s.latency.SetTag(tag)
		if err == nil {
			err = writer.OutputIntervalHistogram(s.latency)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write histogram: %w", err)
	}
	table, err := json.MarshalIndent(r.table(), "", "  ")
	if err != nil {
		return nil, err
	}
	var out []check.Artefact
	for _, file := range []struct {
		name string
		text []byte
	}{{"latency.hlog", log.Bytes()}, {"load.json", table}} {
		if file.name == "latency.hlog" && r.total.latency == nil {
			continue
		}
		kept, err := env.Store(file.name, bytes.NewReader(file.text))
		if err != nil {
			return nil, fmt.Errorf("keep %s: %w", file.name, err)
		}
		out = append(out, kept)
	}
	return out, nil
}

// row is one series in the evidence.
type row struct {
	Name     string           `json:"name"`
	Judged   bool             `json:"judged"`
	Requests int64            `json:"requests"`
	Failed   int64            `json:"failed"`
	Statuses map[int]int64    `json:"statuses,omitempty"`
	Errors   map[string]int64 `json:"errors,omitempty"`
	// Percentiles are in milliseconds.
	Percentiles map[string]float64 `json:"percentiles_ms"`
}

func (r *result) table() []row {
	var out []row
	for i, s := range append([]*series{r.total}, r.parts...) {
		one := row{Name: s.name, Judged: i == 0 || r.judged[i-1], Requests: s.requests, Failed: s.failed,
			Statuses: s.statuses, Errors: s.kinds, Percentiles: map[string]float64{}}
		for _, q := range []float64{50, 75, 90, 95, 99, 99.9, 100} {
			if d, ok := s.quantile(q); ok {
				one.Percentiles[strconv.FormatFloat(q, 'g', -1, 64)] = float64(d.Microseconds()) / 1000
			}
		}
		out = append(out, one)
	}
	return out
}

// printable keeps a line of the histogram's log one line.
func printable(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}

// percent writes a share.
func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 2, 64) + "%" }

// short cuts a text that came from outside.
func short(text string, n int) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}
