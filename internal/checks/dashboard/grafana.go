package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

// grafana is a dashboard in Grafana, whose API under /api is served by all
// versions up to now. https://grafana.com/docs/grafana/latest/developers/http_api/
type grafana struct {
	URL   string     `param:"url" doc:"address of Grafana" default:"${env.grafana_url}"`
	Token secret.Ref `param:"token" doc:"token of a service account (role Viewer)" default:"env:GRAFANA_TOKEN"`
	UID   string     `param:"uid" doc:"uid of the dashboard, as in its address" default:""`
	Title string     `param:"title" doc:"its title, when uid is left out" default:""`
}

var uid = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

func (g *grafana) String() string { return "Grafana " + g.UID + g.Title }

func (g *grafana) validate() error {
	switch {
	case (g.UID == "") == (g.Title == ""):
		return errors.New("grafana: give uid or title, one of them")
	case g.UID != "" && !uid.MatchString(g.UID):
		return fmt.Errorf("grafana: uid: %q is none", g.UID)
	}
	if err := rest.CheckBase(g.URL); err != nil {
		return fmt.Errorf("grafana: url: %w", err)
	}
	return nil
}

// grafanaPanel is a panel; a row may hold further ones.
type grafanaPanel struct {
	Type       string                       `json:"type"`
	Title      string                       `json:"title"`
	Datasource json.RawMessage              `json:"datasource"`
	Targets    []map[string]json.RawMessage `json:"targets"`
	Panels     []grafanaPanel               `json:"panels"`
}

func (g *grafana) find(ctx context.Context, env *check.Env) (*board, string, error) {
	token, err := env.Secret(ctx, g.Token)
	if err != nil {
		return nil, "", err
	}
	c, err := rest.New(env, "Grafana", g.URL, http.Header{"Authorization": {"Bearer " + strings.TrimSpace(token.Reveal())}})
	if err != nil {
		return nil, "", err
	}
	id := g.UID
	if id == "" {
		found, none, err := g.search(ctx, c)
		if err != nil || none != "" {
			return nil, none, err
		}
		id = found
	}
	answer, err := rest.Get[struct {
		Dashboard *struct {
			Title      string         `json:"title"`
			Version    int            `json:"version"`
			Panels     []grafanaPanel `json:"panels"`
			Templating struct {
				List []struct {
					Name    string `json:"name"`
					Current struct {
						Value json.RawMessage `json:"value"`
					} `json:"current"`
				} `json:"list"`
			} `json:"templating"`
		} `json:"dashboard"`
		Meta *struct {
			URL     string `json:"url"`
			Updated string `json:"updated"`
		} `json:"meta"`
	}](ctx, c, "/api/dashboards/uid/"+id, nil)
	if rest.IsStatus(err, http.StatusNotFound) {
		return nil, "Grafana has no dashboard with the uid " + id, nil
	}
	if err != nil {
		return nil, "", err
	}
	if answer.Dashboard == nil || answer.Meta == nil || answer.Dashboard.Title == "" {
		return nil, "", errors.New("Grafana answered without the dashboard or what it says about it")
	}
	var pairs []string
	for _, v := range answer.Dashboard.Templating.List {
		value := current(v.Current.Value)
		pairs = append(pairs, "${"+v.Name+"}", value, "[["+v.Name+"]]", value, "$"+v.Name, value)
	}
	b := &board{id: id, title: answer.Dashboard.Title, url: strings.TrimRight(g.URL, "/") + answer.Meta.URL, version: strconv.Itoa(answer.Dashboard.Version), updated: short(answer.Meta.Updated, 40)}
	b.panels = flat(c, answer.Dashboard.Panels, strings.NewReplacer(pairs...), 0)
	return b, "", nil
}

// search finds the uid of the one dashboard with the title.
// https://grafana.com/docs/grafana/latest/developers/http_api/folder_dashboard_search/
func (g *grafana) search(ctx context.Context, c *rest.Client) (id, none string, err error) {
	list, err := rest.Get[[]struct {
		UID   string `json:"uid"`
		Title string `json:"title"`
	}](ctx, c, "/api/search", url.Values{"type": {"dash-db"}, "query": {g.Title}, "limit": {"1000"}})
	if err != nil {
		return "", "", err
	}
	var found []string
	for _, one := range list {
		if one.Title == g.Title {
			found = append(found, one.UID)
		}
	}
	switch {
	case len(found) > 1:
		return "", "", fmt.Errorf("Grafana has %d dashboards with the title %s: name one by its uid (%s)", len(found), g.Title, short(strings.Join(found, ", "), 200))
	case len(found) == 1 && !uid.MatchString(found[0]):
		return "", "", errors.New("Grafana answered with a dashboard without uid")
	case len(found) == 1:
		return found[0], "", nil
	case len(list) >= 1000:
		return "", "", errors.New("Grafana has more than 1000 dashboards like it: name one by its uid")
	}
	return "", "Grafana shows this token no dashboard with the title " + g.Title, nil
}

// current gives a variable's value as a query takes it: of several, either.
func current(raw json.RawMessage) string {
	var one string
	if json.Unmarshal(raw, &one) != nil {
		var many []string
		if json.Unmarshal(raw, &many) != nil {
			return ""
		}
		one = strings.Join(many, "|")
		if len(many) > 1 {
			one = "(" + one + ")"
		}
	}
	if one == "$__all" {
		return ".*"
	}
	return one
}

// flat lists the panels that show data, those of rows too.
func flat(c *rest.Client, panels []grafanaPanel, values *strings.Replacer, depth int) []panel {
	var out []panel
	for _, p := range panels {
		if p.Type == "row" && depth < 3 {
			out = append(out, flat(c, p.Panels, values, depth+1)...)
		}
		if len(p.Targets) > 0 {
			out = append(out, panel{title: short(p.Title, 100), ask: p.asker(c, values)})
		}
	}
	return out
}

// asker makes the question for a panel's data; nil when a source of it is not
// named by its uid, which older dashboards and the default source do not do.
func (p grafanaPanel) asker(c *rest.Client, values *strings.Replacer) func(context.Context, time.Time, time.Time) (bool, error) {
	var queries []map[string]json.RawMessage
	for i, t := range p.Targets {
		if string(t["hide"]) == "true" {
			continue
		}
		q := map[string]json.RawMessage{"refId": fmt.Appendf(nil, `"Q%d"`, i), "datasource": p.Datasource, "intervalMs": []byte("15000"), "maxDataPoints": []byte("100")}
		for name, value := range t {
			q[name] = replaced(value, values)
		}
		q["datasource"] = replaced(q["datasource"], values)
		var source struct {
			UID string `json:"uid"`
		}
		if json.Unmarshal(q["datasource"], &source) != nil || source.UID == "" || strings.ContainsAny(source.UID, "$ ") {
			return nil
		}
		queries = append(queries, q)
	}
	if len(queries) == 0 {
		return nil
	}
	return func(ctx context.Context, from, to time.Time) (bool, error) { return data(ctx, c, queries, from, to) }
}

// question is the body of a question for data.
// https://grafana.com/docs/grafana/latest/developers/http_api/data_source/#query-a-data-source
type question struct {
	Queries []map[string]json.RawMessage `json:"queries"`
	From    string                       `json:"from"`
	To      string                       `json:"to"`
}

func data(ctx context.Context, c *rest.Client, queries []map[string]json.RawMessage, from, to time.Time) (bool, error) {
	answer, err := rest.Send[struct {
		Results map[string]struct {
			Error  string `json:"error"`
			Frames []struct {
				Schema struct {
					Fields []struct {
						Type string `json:"type"`
					} `json:"fields"`
				} `json:"schema"`
				Data struct {
					Values [][]json.RawMessage `json:"values"`
				} `json:"data"`
			} `json:"frames"`
		} `json:"results"`
	}](ctx, c, http.MethodPost, "/api/ds/query", question{queries, strconv.FormatInt(from.UnixMilli(), 10), strconv.FormatInt(to.UnixMilli(), 10)})
	if err != nil {
		return false, err
	}
	if len(answer.Results) == 0 {
		return false, errors.New("Grafana answered without results")
	}
	some := false
	for _, r := range answer.Results {
		if r.Error != "" {
			return false, errors.New(short(r.Error, 200))
		}
		for _, f := range r.Frames {
			for i, column := range f.Data.Values {
				// Of a frame, the time alone is no data; NaN is written as null.
				measured := i < len(f.Schema.Fields) && f.Schema.Fields[i].Type != "time"
				some = some || measured && slices.ContainsFunc(column, func(v json.RawMessage) bool { return string(v) != "null" })
			}
		}
	}
	return some, nil
}

// fatal tells errors after which asking further panels makes no sense from those
// of one panel's query.
func fatal(err error) bool {
	if err == nil {
		return false
	}
	if _, later := errors.AsType[*check.RetryLater](err); later {
		return true
	}
	return rest.IsStatus(err, http.StatusUnauthorized) || rest.IsStatus(err, http.StatusForbidden)
}
