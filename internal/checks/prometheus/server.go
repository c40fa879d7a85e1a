// Package prometheus holds the types that ask Prometheus, and what answers like
// it (Thanos, Mimir, VictoriaMetrics): whether what it measured is within limits
// or as it was before, and whether its alerting rules would reach anybody.
package prometheus

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

// server says which Prometheus is asked, and as whom.
type server struct {
	URL string `param:"url" doc:"address of the API without /api/v1, with the prefix that Thanos, Mimir or VictoriaMetrics put before it" default:"${env.prometheus_url}"`
	login
	Tenant string `param:"tenant" doc:"tenant (X-Scope-OrgID), where there are any" default:""`
}

// login is who asks. Grafana Cloud takes user and password, most proxies a token.
type login struct {
	Token    secret.Ref `param:"token" doc:"bearer token" default:""`
	User     string     `param:"user" doc:"user name for basic authentication" default:""`
	Password secret.Ref `param:"password" doc:"the user's password" default:""`
}

func (s *server) validate() error {
	if err := rest.CheckBase(s.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	return s.login.validate()
}

func (l *login) validate() error {
	switch {
	case (l.User == "") != l.Password.IsZero():
		return errors.New("user goes with password")
	case l.User != "" && !l.Token.IsZero():
		return errors.New("token and user do not go together")
	case strings.Contains(l.User, ":"):
		return errors.New("user: a name with a colon cannot be sent")
	}
	return nil
}

// header gives the headers that say who asks.
func (l *login) header(ctx context.Context, env *check.Env) (http.Header, error) {
	h := http.Header{}
	if !l.Token.IsZero() {
		token, err := env.Secret(ctx, l.Token)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Bearer "+strings.TrimSpace(token.Reveal()))
	}
	if l.User != "" {
		password, err := env.Secret(ctx, l.Password)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(l.User+":"+password.Reveal())))
	}
	return h, nil
}

// open makes a client of the API.
func (s *server) open(ctx context.Context, env *check.Env) (*rest.Client, error) {
	h, err := s.login.header(ctx, env)
	if err != nil {
		return nil, err
	}
	if s.Tenant != "" {
		h.Set("X-Scope-OrgID", s.Tenant)
	}
	return rest.New(env, "Prometheus", s.URL, h)
}

// answer is the envelope of every answer. IsPartial is VictoriaMetrics' word for
// an answer in which some of the storage did not take part; Prometheus and Thanos
// say it in the warnings.
// https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview
// https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/#cluster-availability
type answer[T any] struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	IsPartial bool     `json:"isPartial"`
	Data      *T       `json:"data"`
}

// ask sends one question. An answer with warnings does not hold everything that
// was measured, and is an error.
func ask[T any](ctx context.Context, c *rest.Client, path string, query url.Values) (T, error) {
	var none T
	a, err := rest.Get[answer[T]](ctx, c, path, query)
	switch {
	case err != nil:
		return none, err
	case a.Status != "success":
		return none, fmt.Errorf("%s answered %s with status %s: %s", c.Service, path, short(a.Status, 40), short(a.ErrorType+" "+a.Error, 200))
	case len(a.Warnings) > 0:
		return none, fmt.Errorf("%s answered %s with a warning, so that something may be missing: %s", c.Service, path, short(a.Warnings[0], 200))
	case a.IsPartial:
		return none, fmt.Errorf("%s answered %s with a part of the data only: some of its storage is away", c.Service, path)
	case a.Data == nil:
		return none, fmt.Errorf("%s answered %s without data", c.Service, path)
	}
	return *a.Data, nil
}

// sample is one value of a series.
type sample struct {
	at    time.Time
	value float64
}

// UnmarshalJSON reads [seconds, "value"].
func (s *sample) UnmarshalJSON(text []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil || len(pair) != 2 {
		return fmt.Errorf("%.40q is no sample", text)
	}
	var seconds float64
	var value string
	if json.Unmarshal(pair[0], &seconds) != nil || json.Unmarshal(pair[1], &value) != nil || seconds < 0 || seconds > 1e11 {
		return fmt.Errorf("%.40q is no sample", text)
	}
	v, err := strconv.ParseFloat(value, 64) // NaN, +Inf and -Inf too
	if err != nil {
		return fmt.Errorf("%.40q is no value", value)
	}
	*s = sample{at: time.UnixMilli(int64(seconds*1000 + 0.5)), value: v}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (s sample) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%.3f,%q]", float64(s.at.UnixMilli())/1000, strconv.FormatFloat(s.value, 'g', -1, 64)), nil
}

// series is what was measured under one set of labels.
type series struct {
	Labels  map[string]string `json:"metric"`
	Samples []sample          `json:"values"`
}

// name writes the labels as PromQL does.
func (s series) name() string {
	var pairs []string
	for name, value := range s.Labels {
		if name != "__name__" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", name, value))
		}
	}
	slices.Sort(pairs)
	name := s.Labels["__name__"]
	if len(pairs) > 0 || name == "" {
		name += "{" + strings.Join(pairs, ", ") + "}"
	}
	return name
}

// window is the time that is asked for: one moment when step is 0.
type window struct {
	start, end time.Time
	step       time.Duration
}

// times lists the steps.
func (w window) times() []time.Time {
	if w.step == 0 {
		return []time.Time{w.end}
	}
	var out []time.Time
	for at := w.start; !at.After(w.end); at = at.Add(w.step) {
		out = append(out, at)
	}
	return out
}

// key tells the steps of a window apart, to the millisecond. Of one moment there is
// one step, whatever time a server gives it.
func (w window) key(one sample) int64 {
	if w.step == 0 {
		return w.end.UnixMilli()
	}
	return one.at.UnixMilli()
}

// result is the data of an answer to a query.
type result struct {
	Type   string          `json:"resultType"`
	Result json.RawMessage `json:"result"`
}

// vector is an element of the answer to a question for one moment.
type vector struct {
	Metric    map[string]string `json:"metric"`
	Value     *sample           `json:"value"`
	Histogram json.RawMessage   `json:"histogram"`
}

// matrix is an element of the answer to a question for a window.
type matrix struct {
	Metric     map[string]string `json:"metric"`
	Values     []sample          `json:"values"`
	Histograms json.RawMessage   `json:"histograms"`
}

// measured asks what an expression gives over a window.
// https://prometheus.io/docs/prometheus/latest/querying/api/#expression-queries
func measured(ctx context.Context, c *rest.Client, expr string, w window) ([]series, error) {
	query, path := url.Values{"query": {expr}}, "/api/v1/query"
	if w.step == 0 {
		query.Set("time", unix(w.end))
	} else {
		path = "/api/v1/query_range"
		query.Set("start", unix(w.start))
		query.Set("end", unix(w.end))
		query.Set("step", strconv.FormatFloat(w.step.Seconds(), 'f', -1, 64))
	}
	r, err := ask[result](ctx, c, path, query)
	if err != nil {
		return nil, err
	}
	switch {
	case w.step != 0 && r.Type == "matrix":
		return ranged(r.Result)
	case w.step == 0 && r.Type == "vector":
		return instant(r.Result)
	case w.step == 0 && r.Type == "scalar":
		var s *sample
		if err := json.Unmarshal(r.Result, &s); err != nil || s == nil {
			return nil, fmt.Errorf("Prometheus answered with a scalar that is none: %.60q", r.Result)
		}
		return []series{{Labels: map[string]string{}, Samples: []sample{*s}}}, nil
	case r.Type == "matrix":
		return nil, fmt.Errorf("%s gives a range of samples: put a function such as max_over_time around it, or give since", short(expr, 200))
	}
	return nil, fmt.Errorf("Prometheus answered %s with a result of the type %.40q, in which there is no number to judge", short(expr, 200), r.Type)
}

func instant(text json.RawMessage) ([]series, error) {
	var list []vector
	if err := json.Unmarshal(text, &list); err != nil || list == nil {
		return nil, fmt.Errorf("Prometheus answered with a vector that is none: %.60q", text)
	}
	var out []series
	for _, v := range list {
		switch {
		case len(v.Histogram) > 0:
			return nil, errors.New("the expression gives a native histogram: apply histogram_quantile or histogram_avg")
		case v.Metric == nil || v.Value == nil:
			return nil, errors.New("Prometheus answered with a series without labels or without a value")
		}
		out = append(out, series{Labels: v.Metric, Samples: []sample{*v.Value}})
	}
	return out, nil
}

func ranged(text json.RawMessage) ([]series, error) {
	var list []matrix
	if err := json.Unmarshal(text, &list); err != nil || list == nil {
		return nil, fmt.Errorf("Prometheus answered with a matrix that is none: %.60q", text)
	}
	var out []series
	for _, m := range list {
		switch {
		case len(m.Histograms) > 0:
			return nil, errors.New("the expression gives a native histogram: apply histogram_quantile or histogram_avg")
		case m.Metric == nil || len(m.Values) == 0:
			return nil, errors.New("Prometheus answered with a series without labels or without values")
		}
		out = append(out, series{Labels: m.Metric, Samples: m.Values})
	}
	return out, nil
}

// unix writes a time as the API takes it, to the millisecond.
func unix(at time.Time) string {
	return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)
}

// number writes a value for people.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// short cuts what a server says for a message.
func short(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
