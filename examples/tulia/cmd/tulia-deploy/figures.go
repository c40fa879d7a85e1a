package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sample is one line of the Prometheus text: name, labels as they stand, value.
type sample struct {
	name, labels string
	value        float64
}

func (s *site) scrape(ctx context.Context) ([]sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Public+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read figures: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read figures: status %d", resp.StatusCode)
	}
	return parse(io.LimitReader(resp.Body, 4<<20))
}

func parse(r io.Reader) ([]sample, error) {
	var out []sample
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		name, labels, _ := strings.Cut(strings.TrimSpace(line[:cut]), "{")
		out = append(out, sample{name, strings.TrimSuffix(labels, "}"), value})
	}
	return out, lines.Err()
}

// sum adds the samples of a name whose labels contain a text.
func sum(samples []sample, name, label string) float64 {
	total := 0.0
	for _, s := range samples {
		if s.name == name && strings.Contains(s.labels, label) {
			total += s.value
		}
	}
	return total
}

// report is what figures prints. What could not be reckoned is left out, so that nobody takes it for a zero.
type report struct {
	Requests  float64  `json:"requests"`
	Errors    float64  `json:"errors"`
	ErrorRate *float64 `json:"error_rate,omitempty"` // part of 1
	P95       *float64 `json:"p95_seconds,omitempty"`
	Queue     float64  `json:"queue_depth"`
	Workers   float64  `json:"workers"`
	QueueUp   float64  `json:"queue_up"`
	Processed float64  `json:"jobs_processed"` // since the queue's counters began
	Failed    float64  `json:"jobs_failed"`
}

// figures reads the counters twice. They belong to one process: when it changed in between, there is nothing to say.
func (s *site) figures(ctx context.Context, over time.Duration, out io.Writer) error {
	before, err := s.scrape(ctx)
	if err != nil {
		return nothing(out, err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(over):
	}
	after, err := s.scrape(ctx)
	if err != nil {
		return nothing(out, err)
	}
	r := compare(before, after)
	if r == nil {
		return nothing(out, errors.New("the counters went back: another process answers"))
	}
	return json.NewEncoder(out).Encode(r)
}

// nothing prints an object without figures: not known is not an error of the application.
func nothing(out io.Writer, why error) error {
	return json.NewEncoder(out).Encode(map[string]string{"unknown": why.Error()})
}

func compare(before, after []sample) *report {
	const requests = "tulia_http_requests_total"
	grown := func(name, label string) float64 { return sum(after, name, label) - sum(before, name, label) }
	r := &report{
		Requests: grown(requests, ""), Errors: grown(requests, `code="5`),
		Queue: sum(after, "tulia_queue_depth", ""), Workers: sum(after, "tulia_workers", ""), QueueUp: sum(after, "tulia_queue_up", ""),
		Processed: sum(after, "tulia_jobs_processed_total", ""), Failed: sum(after, "tulia_jobs_failed_total", ""),
	}
	if r.Requests < 0 || r.Errors < 0 {
		return nil
	}
	if r.Requests > 0 {
		rate := r.Errors / r.Requests
		r.ErrorRate, r.P95 = &rate, p95(before, after)
	}
	return r
}

var upperBound = regexp.MustCompile(`le="([^"]+)"`)

// p95 is the upper bound of the bucket that holds the 95th percentile; nothing when that is the last, open one.
func p95(before, after []sample) *float64 {
	buckets := map[float64]float64{}
	for sign, samples := range map[float64][]sample{-1: before, 1: after} {
		for _, s := range samples {
			if m := upperBound.FindStringSubmatch(s.labels); m != nil && s.name == "tulia_http_request_seconds_bucket" {
				if bound, err := strconv.ParseFloat(m[1], 64); err == nil {
					buckets[bound] += sign * s.value
				}
			}
		}
	}
	var bounds []float64
	for bound := range buckets {
		bounds = append(bounds, bound)
	}
	slices.Sort(bounds)
	if len(bounds) == 0 || buckets[bounds[len(bounds)-1]] <= 0 {
		return nil
	}
	want := 0.95 * buckets[bounds[len(bounds)-1]]
	for _, bound := range bounds {
		if buckets[bound] >= want && !math.IsInf(bound, 1) {
			return &bound
		}
	}
	return nil
}

// log counts what the application has logged since a time.
func (s *site) log(since time.Time, match string, out io.Writer) error {
	pattern, err := regexp.Compile(match)
	if err != nil {
		return fmt.Errorf("read -match: %w", err)
	}
	file, err := os.Open(s.LogFile)
	if err != nil {
		return nothing(out, err)
	}
	defer file.Close()
	counts := struct {
		Lines     int `json:"lines"`
		Errors    int `json:"errors"`
		Matches   int `json:"matches"`
		Malformed int `json:"malformed"`
	}{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry struct {
			Time  time.Time `json:"time"`
			Level string    `json:"level"`
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil || entry.Time.IsZero() {
			counts.Malformed++
			continue
		}
		if entry.Time.Before(since) {
			continue
		}
		counts.Lines++
		if strings.EqualFold(entry.Level, "error") {
			counts.Errors++
		}
		if match != "" && pattern.Match(lines.Bytes()) {
			counts.Matches++
		}
	}
	if err := lines.Err(); err != nil {
		return nothing(out, err)
	}
	return json.NewEncoder(out).Encode(counts)
}
