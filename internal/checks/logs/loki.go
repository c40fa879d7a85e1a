package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// lokiPage is how many lines are asked for at a time. Loki refuses more than its
// max_entries_limit_per_query, which is 5000 unless changed.
const lokiPage = 2000

// loki is a query to Loki. https://grafana.com/docs/loki/latest/reference/loki-http-api/
type loki struct {
	URL string `param:"url" doc:"address of Loki, without /loki/api/v1" default:"${env.loki_url}"`
	login
	Tenant string `param:"tenant" doc:"tenant (X-Scope-OrgID), where there are any" default:""`
	Query  string `param:"query" doc:"LogQL that gives lines: {app=\"api\"}"`
	All    string `param:"all" doc:"stream selector of all the application's lines, when query has filters" default:""`
}

func (l *loki) String() string { return "Loki " + l.Query }

func (l *loki) validate() error {
	if err := checkServer("loki", l.URL, &l.login); err != nil {
		return err
	}
	if !strings.HasPrefix(strings.TrimSpace(l.Query), "{") || len(l.Query) > 4000 {
		return errors.New(`loki: query: want LogQL that gives lines and begins with a stream selector, such as {app="api"}`)
	}
	if l.All == "" && filtered.MatchString(l.Query) {
		return errors.New("loki: query has filters, so that finding nothing does not show that anything was logged: give all, the stream selector without them")
	}
	return nil
}

// filtered is a query with something after its stream selector, in which a brace
// may stand in a quoted value.
var filtered = regexp.MustCompile("(?s)^\\s*\\{(?:[^\"`}]|\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`)*\\}\\s*\\S")

func (l *loki) open(ctx context.Context, env *check.Env) (*rest.Client, error) {
	h, err := l.login.header(ctx, env)
	if err != nil {
		return nil, err
	}
	if l.Tenant != "" {
		h.Set("X-Scope-OrgID", l.Tenant)
	}
	return rest.New(env, "Loki", l.URL, h)
}

// lokiAnswer is the envelope of an answer to a query.
type lokiAnswer struct {
	Status   string   `json:"status"`
	Warnings []string `json:"warnings"`
	Data     *struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	} `json:"data"`
}

// askLoki asks one question and reads the result, which must be of a kind.
func askLoki[T any](ctx context.Context, c *rest.Client, path, kind string, query url.Values, into *T) error {
	a, err := rest.Get[lokiAnswer](ctx, c, "/loki/api/v1/"+path, query)
	switch {
	case err != nil:
		return err
	case a.Status != "success" || a.Data == nil:
		return fmt.Errorf("Loki answered with status %.40q", a.Status)
	case len(a.Warnings) > 0:
		return fmt.Errorf("Loki answered with a warning, so that something may be missing: %s", short(a.Warnings[0], 200))
	case a.Data.Type != kind:
		return fmt.Errorf("Loki answered with a result of the type %.40q, want %s: does the query give lines?", a.Data.Type, kind)
	}
	if err := json.Unmarshal(a.Data.Result, into); err != nil || string(a.Data.Result) == "null" {
		return fmt.Errorf("Loki answered with %s that are none: %.60q", kind, a.Data.Result)
	}
	return nil
}

// stream is some lines under one set of labels. A value is the time in
// nanoseconds, the line, and its structured metadata where there is any.
type stream struct {
	Labels map[string]string   `json:"stream"`
	Values [][]json.RawMessage `json:"values"`
}

func (l *loki) read(ctx context.Context, env *check.Env, s span) ([]line, error) {
	c, err := l.open(ctx, env)
	if err != nil {
		return nil, err
	}
	return paged(s, lokiPage, func(s span) ([]line, error) {
		var streams []stream
		err := askLoki(ctx, c, "query_range", "streams", url.Values{
			"query": {l.Query}, "direction": {"forward"}, "limit": {strconv.Itoa(lokiPage)},
			"start": {strconv.FormatInt(s.start.UnixNano(), 10)}, "end": {strconv.FormatInt(s.end.UnixNano(), 10)},
		}, &streams)
		if err != nil {
			return nil, err
		}
		var out []line
		for _, one := range streams {
			for _, value := range one.Values {
				var at, text string
				if len(value) < 2 || json.Unmarshal(value[0], &at) != nil || json.Unmarshal(value[1], &text) != nil {
					return nil, errors.New("Loki answered with a line without time or text")
				}
				ns, err := strconv.ParseInt(at, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("Loki answered with a line of the time %.40q", at)
				}
				out = append(out, newLine(time.Unix(0, ns), text, maps.Clone(one.Labels)))
			}
		}
		return out, nil
	})
}

// any counts all lines, by a metric query at the end of the time.
func (l *loki) any(ctx context.Context, env *check.Env, s span, found []line) (int, error) {
	if l.All == "" {
		return len(found), nil
	}
	c, err := l.open(ctx, env)
	if err != nil {
		return 0, err
	}
	var vector []struct {
		Value []json.RawMessage `json:"value"`
	}
	ask := fmt.Sprintf("sum(count_over_time(%s[%dms]))", l.All, s.end.Sub(s.start).Milliseconds())
	if err := askLoki(ctx, c, "query", "vector", url.Values{"query": {ask}, "time": {strconv.FormatInt(s.end.UnixNano(), 10)}}, &vector); err != nil {
		return 0, err
	}
	if len(vector) == 0 {
		return 0, nil // no stream fits
	}
	var text string
	if len(vector) != 1 || len(vector[0].Value) != 2 || json.Unmarshal(vector[0].Value[1], &text) != nil {
		return 0, errors.New("Loki answered the count with something else than one number")
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0) || n > 1e15 {
		return 0, fmt.Errorf("Loki answered the count with %.40q", text)
	}
	return int(n), nil
}
