package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

// elasticPage is how many documents are asked for at a time; the servers refuse
// more than index.max_result_window, which is 10,000 unless changed.
const elasticPage = 5000

// elastic is a search in Elasticsearch or OpenSearch.
// https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-search
type elastic struct {
	URL string `param:"url" doc:"address of the server" default:"${env.elasticsearch_url}"`
	login
	APIKey  secret.Ref `param:"api_key" doc:"API key of Elasticsearch, as it is sent" default:""`
	Index   string     `param:"index" doc:"index, data stream or pattern: logs-api-*"`
	Query   string     `param:"query" doc:"which documents, in Lucene's query language: service.name:api" default:"*"`
	All     string     `param:"all" doc:"which documents are the application's, when query has more than that" default:""`
	Time    string     `param:"time" doc:"field of the time" default:"@timestamp"`
	Message string     `param:"message" doc:"field of the line" default:"message"`
}

var indexName = regexp.MustCompile(`^[A-Za-z0-9.*][A-Za-z0-9._*-]{0,200}(,[A-Za-z0-9.*][A-Za-z0-9._*-]{0,200})*$`)

func (e *elastic) String() string { return "Elasticsearch " + e.Index + " " + e.Query }

func (e *elastic) validate() error {
	switch {
	case !indexName.MatchString(e.Index):
		return fmt.Errorf("elasticsearch: index: %q is no name or pattern of an index", e.Index)
	case e.Time == "" || e.Message == "" || e.Query == "":
		return errors.New("elasticsearch: time, message and query are never empty")
	case !e.APIKey.IsZero() && (e.User != "" || !e.Token.IsZero()):
		return errors.New("elasticsearch: api_key goes without token and user")
	}
	return checkServer("elasticsearch", e.URL, &e.login)
}

func (e *elastic) open(ctx context.Context, env *check.Env) (*rest.Client, error) {
	h, err := e.login.header(ctx, env)
	if err != nil {
		return nil, err
	}
	if !e.APIKey.IsZero() {
		key, err := env.Secret(ctx, e.APIKey)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "ApiKey "+strings.TrimSpace(key.Reveal()))
	}
	return rest.New(env, "Elasticsearch", e.URL, h)
}

// search is the body of a search, in the order of the documentation.
type search struct {
	Size  int                            `json:"size"`
	Total bool                           `json:"track_total_hits"`
	Sort  []map[string]map[string]string `json:"sort,omitempty"`
	Query map[string]map[string][]term   `json:"query"`
}

// term is one condition: a range of a field, or a text in the query language.
type term struct {
	Range map[string]map[string]string `json:"range,omitempty"`
	Text  map[string]string            `json:"query_string,omitempty"`
}

// hits is what is used of an answer.
type hits struct {
	TimedOut *bool `json:"timed_out"`
	Shards   *struct {
		Total  int `json:"total"`
		Failed int `json:"failed"`
	} `json:"_shards"`
	Hits *struct {
		Total *struct {
			Value    int    `json:"value"`
			Relation string `json:"relation"`
		} `json:"total"`
		Hits []struct {
			Sort   []json.RawMessage          `json:"sort"`
			Source map[string]json.RawMessage `json:"_source"`
		} `json:"hits"`
	} `json:"hits"`
}

// ask searches; an answer of which a part is missing is an error, and so is one
// of no index at all.
func (e *elastic) ask(ctx context.Context, c *rest.Client, query string, s span, size int) (*hits, error) {
	form := "2006-01-02T15:04:05.999999999Z"
	body := search{Size: size, Total: true, Query: map[string]map[string][]term{"bool": {"filter": {
		{Range: map[string]map[string]string{e.Time: {"gte": s.start.UTC().Format(form), "lt": s.end.UTC().Format(form)}}},
		{Text: map[string]string{"query": query}},
	}}}}
	if size > 0 {
		body.Sort = []map[string]map[string]string{{e.Time: {"order": "asc", "format": "strict_date_optional_time_nanos"}}}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("write the search: %w", err)
	}
	path := "/" + e.Index + "/_search"
	a, err := c.Do(ctx, "POST", c.Base+path, url.Values{"allow_partial_search_results": {"false"}}, text)
	if err != nil {
		return nil, err
	}
	var h hits
	if err := rest.Decode(c, path, a.Body, &h); err != nil {
		return nil, err
	}
	switch {
	case h.TimedOut == nil || h.Shards == nil || h.Hits == nil || h.Hits.Total == nil:
		return nil, errors.New("Elasticsearch answered without timed_out, _shards or hits.total")
	case *h.TimedOut || h.Shards.Failed > 0:
		return nil, fmt.Errorf("Elasticsearch searched a part only: %d of %d shards failed, timed out: %t", h.Shards.Failed, h.Shards.Total, *h.TimedOut)
	case h.Shards.Total == 0:
		return nil, fmt.Errorf("Elasticsearch has no index %s", e.Index)
	case h.Hits.Total.Relation != "eq" || h.Hits.Total.Value < len(h.Hits.Hits):
		return nil, errors.New("Elasticsearch did not count to the end")
	}
	return &h, nil
}

func (e *elastic) read(ctx context.Context, env *check.Env, s span) ([]line, error) {
	c, err := e.open(ctx, env)
	if err != nil {
		return nil, err
	}
	return paged(s, elasticPage, func(s span) ([]line, error) {
		h, err := e.ask(ctx, c, e.Query, s, elasticPage)
		if err != nil {
			return nil, err
		}
		if want := min(h.Hits.Total.Value, elasticPage); len(h.Hits.Hits) != want {
			return nil, fmt.Errorf("Elasticsearch answered with %d documents, want %d", len(h.Hits.Hits), want)
		}
		var out []line
		for _, hit := range h.Hits.Hits {
			var text string
			if len(hit.Sort) == 0 || json.Unmarshal(hit.Sort[0], &text) != nil {
				return nil, errors.New("Elasticsearch answered with a document without its time")
			}
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return nil, fmt.Errorf("Elasticsearch answered with a document of the time %.40q", text)
			}
			fields := map[string]string{}
			flatten("", hit.Source, 5, fields)
			said, ok := fields[e.Message]
			if !ok {
				return nil, fmt.Errorf("a document has no field %s: name the one of the line in message", e.Message)
			}
			out = append(out, newLine(at, said, fields))
		}
		return out, nil
	})
}

func (e *elastic) any(ctx context.Context, env *check.Env, s span, found []line) (int, error) {
	if e.All == "" {
		return len(found), nil
	}
	c, err := e.open(ctx, env)
	if err != nil {
		return 0, err
	}
	h, err := e.ask(ctx, c, e.All, s, 0)
	if err != nil {
		return 0, err
	}
	return h.Hits.Total.Value, nil
}
