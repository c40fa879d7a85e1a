package logs_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/logs"
	"allclear.dev/allclear/internal/rest/resttest"
)

// entry is a line in a stand-in for a server.
type entry struct {
	at   time.Time
	text string
}

func entries(n int, every time.Duration, text func(i int) string) []entry {
	out := make([]entry, n)
	for i := range out {
		out[i] = entry{now().Add(-10 * time.Minute).Add(time.Duration(i) * every), text(i)}
	}
	return out
}

const lokiDocs = "https://grafana.com/docs/loki/latest/reference/loki-http-api/"

// lokiOf is a Loki with these lines, in order, under one stream; all is what
// counting gives.
func lokiOf(t *testing.T, require http.Header, lines []entry, all string) *resttest.Fake {
	return resttest.New(t, require,
		resttest.Route{Method: "GET", Path: "/loki/api/v1/query_range", Docs: lokiDocs + "#query-logs-within-a-range-of-time",
			Query: []string{"query", "limit", "start", "end", "since", "step", "interval", "direction"}, Needs: []string{"query", "start", "end"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				start, _ := strconv.ParseInt(q.Get("start"), 10, 64)
				end, _ := strconv.ParseInt(q.Get("end"), 10, 64)
				limit, _ := strconv.Atoi(q.Get("limit"))
				if q.Get("direction") != "forward" || limit > 5000 {
					resttest.JSON(400, `{"message":"max entries limit per query exceeded"}`)(w, r)
					return
				}
				values := [][]any{}
				for _, l := range lines {
					if ns := l.at.UnixNano(); ns >= start && ns < end && len(values) < limit {
						values = append(values, []any{strconv.FormatInt(ns, 10), l.text, map[string]string{}})
					}
				}
				text, _ := json.Marshal(map[string]any{"status": "success", "data": map[string]any{"resultType": "streams", "stats": map[string]any{},
					"result": []any{map[string]any{"stream": map[string]string{"app": "api", "detected_level": "unknown"}, "values": values}}}})
				resttest.JSON(200, string(text))(w, r)
			}},
		resttest.Route{Method: "GET", Path: "/loki/api/v1/query", Docs: lokiDocs + "#query-logs-at-a-single-point-in-time",
			Query: []string{"query", "limit", "time", "direction"}, Needs: []string{"query"}, Answer: resttest.JSON(200, all)})
}

func TestLoki(t *testing.T) {
	const counted = `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1772375400,"5000"]}],"stats":{}}}`
	auth := http.Header{"Authorization": {"Bearer log-token-1"}, "X-Scope-Orgid": {"shop"}}
	some := lokiOf(t, auth, entries(3, time.Second, func(i int) string { return fmt.Sprintf("level=error msg=\"order %d\"", i) }), counted)
	params := func(f *resttest.Fake, more, rest string) string {
		return "{loki: {url: '" + f.URL + "', token: env:TOKEN, tenant: shop, query: '{app=\"api\"}" + more + "}, " + rest + "}"
	}
	// Every moment has three lines, so that pages end between lines of one moment.
	many := entries(5000, 0, func(i int) string { return fmt.Sprintf("level=info n=%d", i) })
	for i := range many {
		many[i].at = many[i].at.Add(time.Duration(i/3) * time.Millisecond)
	}
	none := lokiOf(t, auth, nil, counted)
	nothing := lokiOf(t, auth, nil, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	checktest.Run(t, logs.Query, []checktest.Case{
		{Name: "errors", Params: params(some, "'", "level: error, group_by: app"), Env: atNow, Want: "fail: 3 lines of level error or above, at most 0 accepted (3 lines in all): level=error msg=\"order 0\"", Check: facts("group.01", "3 x api", "kind.01", "3 x error: level=error msg=<text>")},
		{Name: "pages, each line once", Params: params(lokiOf(t, auth, many, counted), "'", "pattern: 'n=\\d+', max: 5000"), Env: atNow, Want: "pass: 5000 lines like ..., at most 5000 accepted (5000 lines in all)"},
		{Name: "too many of one moment", Params: params(lokiOf(t, auth, entries(2000, 0, strconv.Itoa), counted), "'", "max: 0"), Env: atNow, Want: "error: more than 2000 lines of the same moment..."},
		{Name: "a filter, with all", Params: params(none, " |= \"ERROR\"', all: '{app=\"api\"}'", "max: 0"), Env: atNow, Want: "pass: 0 lines, at most 0 accepted (5000 lines in all)", Check: func(t *testing.T, _ check.Outcome) {
			if q := none.Calls()[1].Query; !strings.Contains(q, "sum%28count_over_time%28%7Bapp%3D%22api%22%7D%5B900000ms%5D%29%29") {
				t.Errorf("asked %s", q)
			}
		}},
		{Name: "a filter, and nothing at all", Params: params(nothing, " |= \"ERROR\"', all: '{app=\"api\"}'", "max: 0"), Env: atNow, Want: "error: 0 lines of any kind..."},
	})
	for name, c := range map[string][2]string{
		"metrics":        {`{"status":"success","data":{"resultType":"matrix","result":[]}}`, "error: Loki answered with a result of the type \"matrix\", want streams..."},
		"warnings":       {`{"status":"success","warnings":["partial"],"data":{"resultType":"streams","result":[]}}`, "error: Loki answered with a warning..."},
		"no time":        {`{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["x","y"]]}]}}`, "error: Loki answered with a line of the time \"x\""},
		"no text":        {`{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["1"]]}]}}`, "error: Loki answered with a line without time or text"},
		"of other times": {`{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["1","y"]]}]}}`, "error: an answer holds a line of 1970..."},
		"null":           {`{"status":"success","data":{"resultType":"streams","result":null}}`, "error: Loki answered with streams that are none..."},
	} {
		f := resttest.New(t, nil, resttest.Route{Method: "GET", Path: "/loki/api/v1/query_range", Docs: lokiDocs, Query: []string{"query", "limit", "start", "end", "direction"}, Answer: resttest.JSON(200, c[0])})
		checktest.Run(t, logs.Query, []checktest.Case{{Name: name, Params: "{loki: {url: '" + f.URL + "', query: '{app=\"api\"}'}}", Env: atNow, Want: c[1]}})
	}
	faulty(t, some, params(some, "'", "level: error"))
	faulty(t, none, params(none, " |= \"ERROR\"', all: '{app=\"api\"}'", "max: 0"))
}

func TestLokiParameters(t *testing.T) {
	for params, want := range map[string]string{
		`{loki: {url: "http://a", query: '{app="api"} |= "ERROR"'}}`:                     "give all",
		`{loki: {url: "http://a", query: '{app=~"a{2}"}'}}`:                              "",
		`{loki: {url: "http://a", query: 'rate({app="api"}[5m])'}}`:                      "want LogQL that gives lines",
		`{loki: {url: "http://a", query: '{app="api"}'}, on: web-1}`:                     "on: only journal",
		`{loki: {url: "http://a", query: '{app="api"}', user: eve}}`:                     "user goes with password",
		`{elasticsearch: {url: "http://a", index: "../x"}}`:                              "is no name or pattern",
		`{elasticsearch: {url: "http://a", index: a, api_key: env:A, token: env:B}}`:     "api_key goes without",
		`{files: a, canary: {url: "http://a", header: "a b"}}`:                           "no header's name",
		`{files: a, canary: {url: "http://u:p@a"}}`:                                      "without a password",
		`{files: a, canary: {url: "http://a"}, level: error}`:                            "do not go with it",
		`{files: a, canary: "http://a", retention: 336h}`:                                "",
		`{elasticsearch: {url: "http://a", index: "logs-api-*,-x"}}`:                     "is no name or pattern",
		`{elasticsearch: {url: "http://a", index: "logs-api-*", query: "service: api"}}`: "",
	} {
		inst, problems := checktest.Decode(logs.Query, params, nil)
		if (inst != nil) != (want == "") || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %v", params, problems)
		}
	}
}

// elasticOf is an Elasticsearch whose index logs-api holds these lines.
func elasticOf(t *testing.T, lines []entry) *resttest.Fake {
	return resttest.New(t, http.Header{"Authorization": {"ApiKey log-token-1"}}, resttest.Route{Method: "POST", Path: "/{index}/_search",
		Docs:  "https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-search",
		Query: []string{"allow_partial_search_results"}, Body: []string{"size", "track_total_hits", "sort", "query"}, Needs: []string{"query", "track_total_hits"},
		Answer: func(w http.ResponseWriter, r *http.Request) {
			if r.PathValue("index") != "logs-api" {
				resttest.JSON(404, `{"error":{"type":"index_not_found_exception","reason":"no such index"},"status":404}`)(w, r)
				return
			}
			body, _ := io.ReadAll(r.Body)
			var s struct {
				Size  int
				Query struct {
					Bool struct{ Filter []map[string]map[string]any }
				}
			}
			if err := json.Unmarshal(body, &s); err != nil || len(s.Query.Bool.Filter) != 2 || s.Size > 10000 {
				t.Errorf("not a search: %s", body)
			}
			limits := s.Query.Bool.Filter[0]["range"]["@timestamp"].(map[string]any)
			from, _ := time.Parse(time.RFC3339Nano, limits["gte"].(string))
			to, _ := time.Parse(time.RFC3339Nano, limits["lt"].(string))
			found, total := []any{}, 0
			for _, l := range lines {
				if l.at.Before(from) || !l.at.Before(to) || s.Query.Bool.Filter[1]["query_string"]["query"] == "level:ERROR" {
					continue
				}
				if total++; len(found) < s.Size {
					found = append(found, map[string]any{"_index": "logs-api", "_id": "1", "sort": []string{l.at.Format("2006-01-02T15:04:05.000000000Z")},
						"_source": map[string]any{"message": l.text, "log": map[string]string{"level": "error"}, "host": map[string]string{"name": "web-1"}}})
				}
			}
			text, _ := json.Marshal(map[string]any{"took": 1, "timed_out": false, "_shards": map[string]int{"total": 2, "successful": 2, "skipped": 0, "failed": 0},
				"hits": map[string]any{"total": map[string]any{"value": total, "relation": "eq"}, "max_score": nil, "hits": found}})
			resttest.JSON(200, string(text))(w, r)
		}})
}

func TestElasticsearch(t *testing.T) {
	some := elasticOf(t, entries(5, time.Second, func(i int) string { return "payment " + strconv.Itoa(i) + " failed" }))
	many := elasticOf(t, entries(12000, time.Millisecond, func(i int) string { return "payment " + strconv.Itoa(i) + " failed" }))
	params := func(f *resttest.Fake, more, rest string) string {
		return "{elasticsearch: {url: '" + f.URL + "', index: logs-api, api_key: env:TOKEN" + more + "}, " + rest + "}"
	}
	checktest.Run(t, logs.Query, []checktest.Case{
		{Name: "errors", Params: params(some, "", "level: error, group_by: host.name, max: 5"), Env: atNow, Want: "pass: 5 lines of level error or above, at most 5 accepted (5 lines in all)", Check: facts("kind.01", "5 x error: payment <n> failed", "group.01", "5 x web-1")},
		{Name: "pages", Params: params(many, "", "level: error, max: 1"), Env: atNow, Want: "fail: 12000 lines of level error or above, at most 1 accepted (12000 lines in all): payment 0 failed", Once: true},
		{Name: "a narrower query, with all", Params: params(some, ", query: 'level:ERROR', all: '*'", "max: 0"), Env: atNow, Want: "pass: 0 lines, at most 0 accepted (5 lines in all)"},
		{Name: "no such index", Params: "{elasticsearch: {url: '" + some.URL + "', index: logs-web, api_key: env:TOKEN}}", Env: atNow, Want: "error: Elasticsearch answered 404..."},
		{Name: "another field", Params: params(some, ", message: msg", "max: 0"), Env: atNow, Want: "error: a document has no field msg..."},
		{Name: "nothing", Params: params(elasticOf(t, nil), "", "max: 0"), Env: atNow, Want: "error: 0 lines of any kind..."},
	})
	for name, c := range map[string][2]string{
		"failed shards":   {`{"timed_out":false,"_shards":{"total":2,"failed":1},"hits":{"total":{"value":0,"relation":"eq"},"hits":[]}}`, "error: Elasticsearch searched a part only: 1 of 2..."},
		"timed out":       {`{"timed_out":true,"_shards":{"total":2,"failed":0},"hits":{"total":{"value":0,"relation":"eq"},"hits":[]}}`, "error: Elasticsearch searched a part only..."},
		"no index":        {`{"timed_out":false,"_shards":{"total":0,"failed":0},"hits":{"total":{"value":0,"relation":"eq"},"hits":[]}}`, "error: Elasticsearch has no index logs-*"},
		"not counted":     {`{"timed_out":false,"_shards":{"total":1,"failed":0},"hits":{"total":{"value":10000,"relation":"gte"},"hits":[]}}`, "error: Elasticsearch did not count to the end"},
		"fewer than said": {`{"timed_out":false,"_shards":{"total":1,"failed":0},"hits":{"total":{"value":3,"relation":"eq"},"hits":[]}}`, "error: Elasticsearch answered with 0 documents, want 3"},
		"without total":   {`{"timed_out":false,"_shards":{"total":1,"failed":0},"hits":{"hits":[]}}`, "error: Elasticsearch answered without..."},
	} {
		f := resttest.New(t, nil, resttest.Route{Method: "POST", Path: "/logs-*/_search", Docs: "https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-search", Query: []string{"allow_partial_search_results"}, Body: []string{"size", "track_total_hits", "sort", "query"}, Answer: resttest.JSON(200, c[0])})
		checktest.Run(t, logs.Query, []checktest.Case{{Name: name, Params: "{elasticsearch: {url: '" + f.URL + "', index: 'logs-*'}}", Env: atNow, Want: c[1]}})
	}
	faulty(t, some, params(some, "", "level: error"))
}

// The application of this test logs into a file that another program would ship.
func TestCanary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	var logsID, silent atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		id := ""
		if logsID.Load() {
			id = r.Header.Get("X-Request-ID")
		}
		if r.Header.Get("Authorization") != "Bearer none" || silent.Load() {
			return
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		fmt.Fprintf(f, "%s WARNING refused %s\n", time.Now().UTC().Format(time.RFC3339Nano), id)
	}))
	defer app.Close()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	params := "{files: '" + path + "', canary: {url: '" + app.URL + "/v1/me', headers: {Authorization: Bearer none}}}"
	run := func(want string) {
		t.Helper()
		checktest.Run(t, logs.Query, []checktest.Case{{Name: want, Params: params, Want: want, Timeout: 3 * time.Second, Once: true}})
	}
	silent.Store(true)
	run("error: the request allclear-... was answered 401, and 0 lines of any kind came to the files...")
	silent.Store(false)
	run("fail: the request allclear-... was answered 401, and none of the 1 lines that came in ... since is its own: does the application log the header X-Request-ID?")
	logsID.Store(true)
	run("pass: the request allclear-... was answered 401, and its line was found after ...")
}
