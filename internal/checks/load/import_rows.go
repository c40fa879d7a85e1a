package load

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxNames bounds how many different names a result may hold.
const maxNames = 1000

// fromLocust reads the file of totals: a row for each name and one called
// Aggregated. Times are whole milliseconds.
// https://docs.locust.io/en/stable/retrieving-stats.html
func fromLocust(p *load, text []byte) (*result, error) {
	rows, column, err := table(text, "Type", "Name", "Request Count", "Failure Count", "50%", "95%", "99%")
	if err != nil {
		return nil, err
	}
	var total *series
	var parts []*series
	for _, r := range rows {
		requests, e1 := strconv.ParseInt(r[column["Request Count"]], 10, 64)
		failed, e2 := strconv.ParseInt(r[column["Failure Count"]], 10, 64)
		if e1 != nil || e2 != nil {
			return nil, fmt.Errorf("the counts of %q are no numbers", short(r[column["Name"]], 100))
		}
		quantiles := map[float64]time.Duration{}
		for q, name := range map[float64]string{50: "50%", 95: "95%", 99: "99%"} {
			cell := r[column[name]]
			if cell == "N/A" || requests == 0 {
				continue
			}
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				return nil, fmt.Errorf("%q is no latency", short(cell, 50))
			}
			if quantiles[q], err = ms(v); err != nil {
				return nil, err
			}
		}
		name := strings.TrimSpace(r[column["Type"]] + " " + r[column["Name"]])
		s, err := known(name, requests, failed, quantiles)
		if err != nil {
			return nil, err
		}
		if name == "Aggregated" {
			total = s
			continue
		}
		parts = append(parts, s)
	}
	if total == nil {
		return nil, errors.New("there is no row Aggregated: the file is not a whole _stats.csv of Locust")
	}
	return p.summarised(total, parts)
}

// table reads a CSV file whose first row names its columns.
func table(text []byte, columns ...string) ([][]string, map[string]int, error) {
	reader := csv.NewReader(bytes.NewReader(text))
	head, err := reader.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("not a table: %w", err)
	}
	place := map[string]int{}
	for _, name := range columns {
		i := slices.Index(head, name)
		if i < 0 {
			return nil, nil, fmt.Errorf("the first row names no column %q", name)
		}
		place[name] = i
	}
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, nil, fmt.Errorf("malformed table: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil, errors.New("the table has no row")
	}
	return rows, place, nil
}

// request is one request of a result that holds all of them.
type request struct {
	name    string
	at      time.Time
	latency time.Duration
	status  int
	ok      bool
}

// each makes a result of single requests.
func (p *load) each(all []request) (*result, error) {
	if len(all) == 0 {
		return nil, errors.New("the result holds no request")
	}
	first, last := all[0].at, all[0].at
	for _, one := range all {
		if one.at.Before(first) {
			first = one.at
		}
		if one.at.After(last) {
			last = one.at
		}
	}
	r := &result{slowest: p.slowest(), total: newSeries("total"), plan: schedule{length: last.Sub(first) + 1}, notes: map[string]string{}}
	r.cut(len(all))
	index := map[string]int{}
	for _, one := range all {
		i, ok := index[one.name]
		if !ok {
			i = len(r.parts)
			if i == maxNames {
				return nil, fmt.Errorf("more than %d different names: let the generator give requests to one address one name", maxNames)
			}
			index[one.name] = i
			r.parts, r.judged = append(r.parts, newSeries(one.name)), append(r.judged, !p.excluded(one.name))
		}
		s := sample{target: i, due: one.at.Sub(first), latency: one.latency, status: one.status, ok: one.ok}
		if one.status == 0 {
			s.kind = other
		}
		r.add(s)
	}
	r.notes["seconds"] = strconv.FormatFloat(last.Sub(first).Seconds(), 'f', 1, 64)
	return r, nil
}

// fromJMeter reads a results file in CSV. elapsed is in milliseconds and timeStamp
// in milliseconds since 1970; a transaction controller's row sums up rows that are
// there by themselves. https://jmeter.apache.org/usermanual/listeners.html
func fromJMeter(p *load, text []byte) (*result, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) {
		return nil, errors.New("it is XML: set jmeter.save.saveservice.output_format=csv")
	}
	rows, column, err := table(text, "timeStamp", "elapsed", "label", "responseCode", "responseMessage", "success")
	if err != nil {
		return nil, err
	}
	var all []request
	for _, r := range rows {
		if strings.HasPrefix(r[column["responseMessage"]], "Number of samples in transaction") {
			continue
		}
		at, e1 := strconv.ParseInt(r[column["timeStamp"]], 10, 64)
		elapsed, e2 := strconv.ParseFloat(r[column["elapsed"]], 64)
		latency, e3 := ms(elapsed)
		success := r[column["success"]]
		if err := errors.Join(e1, e2, e3); err != nil {
			return nil, fmt.Errorf("malformed row of %q: %w", short(r[column["label"]], 100), err)
		}
		if success != "true" && success != "false" {
			return nil, fmt.Errorf("success is %q, want true or false", short(success, 50))
		}
		status, err := strconv.Atoi(r[column["responseCode"]])
		if err != nil { // "Non HTTP response code: …" or of another protocol
			status = 0
		}
		all = append(all, request{r[column["label"]], time.UnixMilli(at), latency, status, success == "true"})
	}
	return p.each(all)
}

// fromVegeta reads a report as JSON or the single results as lines of JSON. Times
// are in nanoseconds. https://github.com/tsenart/vegeta#report-command
func fromVegeta(p *load, text []byte) (*result, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	var all []request
	for {
		var line struct {
			Latencies map[string]float64 `json:"latencies"`
			vegetaReport
			vegetaHit
		}
		err := decoder.Decode(&line)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not a result of vegeta: %w", err)
		}
		if line.Latencies != nil {
			if len(all) > 0 || decoder.More() {
				return nil, errors.New("there is more beside the report of vegeta")
			}
			return p.vegetaReport(line.Latencies, line.vegetaReport)
		}
		one, err := line.vegetaHit.request()
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return p.each(all)
}

// vegetaReport is what vegeta report -type=json says beside the latencies.
type vegetaReport struct {
	Requests *int64           `json:"requests"`
	Success  *float64         `json:"success"`
	Statuses map[string]int64 `json:"status_codes"`
}

func (p *load) vegetaReport(latencies map[string]float64, v vegetaReport) (*result, error) {
	if v.Requests == nil || v.Success == nil || *v.Requests < 1 || *v.Success < 0 || *v.Success > 1 {
		return nil, errors.New("the report of vegeta does not say requests and success")
	}
	quantiles := map[float64]time.Duration{}
	for q, name := range map[float64]string{50: "50th", 95: "95th", 99: "99th"} {
		ns, ok := latencies[name]
		if !ok {
			return nil, fmt.Errorf("the report of vegeta does not say the %s percentile", name)
		}
		var err error
		if quantiles[q], err = ms(ns / 1e6); err != nil {
			return nil, err
		}
	}
	total, err := known("total", *v.Requests, int64(math.Round((1-*v.Success)*float64(*v.Requests))), quantiles)
	if err != nil {
		return nil, err
	}
	for text, n := range v.Statuses {
		status, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no status", short(text, 50))
		}
		if status == 0 { // no answer
			total.kinds[other] = n
			continue
		}
		total.statuses[status] = n
	}
	return p.summarised(total, nil)
}

// vegetaHit is one result of vegeta encode -to json.
type vegetaHit struct {
	Code      *int      `json:"code"`
	Timestamp time.Time `json:"timestamp"`
	Latency   *float64  `json:"latency"`
	Error     string    `json:"error"`
	Method    string    `json:"method"`
	URL       string    `json:"url"`
}

func (h vegetaHit) request() (request, error) {
	if h.Code == nil || h.Latency == nil || h.Timestamp.IsZero() || h.URL == "" {
		return request{}, errors.New("a result of vegeta does not say code, latency, timestamp and url")
	}
	latency, err := ms(*h.Latency / 1e6)
	if err != nil {
		return request{}, err
	}
	return request{strings.TrimSpace(h.Method + " " + h.URL), h.Timestamp, latency, *h.Code, h.Error == "" && *h.Code >= 200 && *h.Code < 400}, nil
}
