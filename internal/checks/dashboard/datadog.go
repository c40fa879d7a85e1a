package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

// datadog is a dashboard in Datadog.
// https://docs.datadoghq.com/api/latest/dashboards/get-a-dashboard/
type datadog struct {
	URL    string     `param:"url" doc:"address of the API; each site of Datadog has its own" default:"https://api.datadoghq.com"`
	APIKey secret.Ref `param:"api_key" doc:"API key" default:"env:DD_API_KEY"`
	AppKey secret.Ref `param:"app_key" doc:"application key (dashboards_read, timeseries_query)" default:"env:DD_APP_KEY"`
	ID     string     `param:"id" doc:"id of the dashboard, as in its address"`
}

var datadogID = regexp.MustCompile(`^[a-z0-9]{3}-[a-z0-9]{3}-[a-z0-9]{3}$`)

func (d *datadog) String() string { return "Datadog " + d.ID }

func (d *datadog) validate() error {
	if !datadogID.MatchString(d.ID) {
		return fmt.Errorf("datadog: id: want one like abc-def-ghi, got %q", d.ID)
	}
	if err := rest.CheckBase(d.URL); err != nil {
		return fmt.Errorf("datadog: url: %w", err)
	}
	return nil
}

// widget is a part of a dashboard; a group holds further ones. Requests are a
// list, except of some kinds of which the data is not asked for.
type widget struct {
	Definition struct {
		Type     string          `json:"type"`
		Title    string          `json:"title"`
		Requests json.RawMessage `json:"requests"`
		Widgets  []widget        `json:"widgets"`
	} `json:"definition"`
}

func (d *datadog) find(ctx context.Context, env *check.Env) (*board, string, error) {
	key, err := env.Secret(ctx, d.APIKey)
	if err != nil {
		return nil, "", err
	}
	app, err := env.Secret(ctx, d.AppKey)
	if err != nil {
		return nil, "", err
	}
	c, err := rest.New(env, "Datadog", d.URL, http.Header{"Dd-Api-Key": {strings.TrimSpace(key.Reveal())}, "Dd-Application-Key": {strings.TrimSpace(app.Reveal())}})
	if err != nil {
		return nil, "", err
	}
	answer, err := rest.Get[struct {
		ID        string    `json:"id"`
		Title     string    `json:"title"`
		URL       string    `json:"url"`
		Modified  string    `json:"modified_at"`
		Widgets   *[]widget `json:"widgets"`
		Variables []struct {
			Name     string   `json:"name"`
			Prefix   string   `json:"prefix"`
			Default  string   `json:"default"`
			Defaults []string `json:"defaults"`
		} `json:"template_variables"`
	}](ctx, c, "/api/v1/dashboard/"+d.ID, nil)
	if rest.IsStatus(err, http.StatusNotFound) {
		return nil, "Datadog has no dashboard " + d.ID, nil
	}
	if err != nil {
		return nil, "", err
	}
	if answer.ID != d.ID || answer.Widgets == nil {
		return nil, "", errors.New("Datadog answered without the dashboard or its widgets")
	}
	var pairs []string
	for _, v := range answer.Variables {
		value, scope := v.Default, "*"
		if len(v.Defaults) > 0 {
			value = v.Defaults[0]
		}
		if value != "" && value != "*" {
			scope = v.Prefix + ":" + value
		}
		pairs = append(pairs, "$"+v.Name+".value", value, "$"+v.Name, scope)
	}
	b := &board{id: d.ID, title: answer.Title, url: answer.URL, updated: short(answer.Modified, 40)}
	b.panels = widgets(c, *answer.Widgets, strings.NewReplacer(pairs...), 0)
	return b, "", nil
}

// widgets lists those that show data, those of groups too.
func widgets(c *rest.Client, list []widget, values *strings.Replacer, depth int) []panel {
	var out []panel
	for _, w := range list {
		if depth < 3 {
			out = append(out, widgets(c, w.Definition.Widgets, values, depth+1)...)
		}
		if len(w.Definition.Requests) > 0 {
			out = append(out, panel{title: short(w.Definition.Title, 100), ask: w.asker(c, values)})
		}
	}
	return out
}

// asker makes the question for the data of a widget's metrics; nil when it shows
// something else, such as logs.
func (w widget) asker(c *rest.Client, values *strings.Replacer) func(context.Context, time.Time, time.Time) (bool, error) {
	var requests []struct {
		Q       string `json:"q"`
		Queries []struct {
			Source string `json:"data_source"`
			Query  string `json:"query"`
		} `json:"queries"`
	}
	if json.Unmarshal(w.Definition.Requests, &requests) != nil {
		return nil
	}
	var queries []string
	for _, r := range requests {
		if r.Q != "" {
			queries = append(queries, values.Replace(r.Q))
		}
		for _, q := range r.Queries {
			if q.Source == "metrics" && q.Query != "" {
				queries = append(queries, values.Replace(q.Query))
			}
		}
	}
	if len(queries) == 0 {
		return nil
	}
	return func(ctx context.Context, from, to time.Time) (bool, error) {
		some := false
		for _, q := range queries {
			points, err := points(ctx, c, q, from, to)
			if err != nil {
				return false, err
			}
			some = some || points
		}
		return some, nil
	}
}

// points tells whether a query gives any value.
// https://docs.datadoghq.com/api/latest/metrics/query-timeseries-points/
func points(ctx context.Context, c *rest.Client, query string, from, to time.Time) (bool, error) {
	answer, err := rest.Get[struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Series *[]struct {
			Points [][]*float64 `json:"pointlist"`
		} `json:"series"`
	}](ctx, c, "/api/v1/query", url.Values{"query": {query}, "from": {strconv.FormatInt(from.Unix(), 10)}, "to": {strconv.FormatInt(to.Unix(), 10)}})
	switch {
	case err != nil:
		return false, err
	case answer.Status != "ok" || answer.Series == nil:
		return false, fmt.Errorf("Datadog answered with status %.40q: %s", answer.Status, short(answer.Error, 200))
	}
	for _, s := range *answer.Series {
		for _, p := range s.Points {
			if len(p) == 2 && p[1] != nil {
				return true, nil
			}
		}
	}
	return false, nil
}
