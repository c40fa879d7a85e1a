package sentry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/sentry"
	"allclear.dev/allclear/internal/rest/resttest"
)

const (
	token   = "sntrys_very_secret_token"
	authed  = "Bearer " + token
	key     = "0123456789abcdef0123456789abcdef"
	apiDocs = "https://docs.sentry.io/api/"
)

// ingest is the server that takes events. lines gives the three lines of the last
// envelope.
type ingest struct {
	*resttest.Fake
	header http.Header
	answer http.HandlerFunc
	last   [][]byte
}

func newIngest(t *testing.T) *ingest {
	in := &ingest{header: http.Header{}}
	auth := http.Header{"X-Sentry-Auth": {"Sentry sentry_version=7, sentry_client=allclear/1, sentry_key=" + key}}
	in.Fake = resttest.New(t, auth, resttest.Route{
		Method: "POST", Path: "/relay/api/{project}/envelope/", Lines: true,
		Docs: "https://develop.sentry.dev/sdk/foundations/transport/envelopes/",
		Answer: func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			in.last = bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
			for name, values := range in.header {
				w.Header()[name] = values
			}
			if in.answer != nil {
				in.answer(w, r)
				return
			}
			resttest.JSON(200, `{"id":"`+in.field(t, 0, "event_id")+`"}`)(w, r)
		},
	})
	return in
}

// field reads a text of one of the lines.
func (in *ingest) field(t *testing.T, line int, name string) string {
	var fields map[string]json.RawMessage
	if len(in.last) != 3 {
		t.Errorf("an envelope of %d lines", len(in.last))
		return ""
	}
	if err := json.Unmarshal(in.last[line], &fields); err != nil {
		t.Error(err)
	}
	return strings.Trim(string(fields[name]), `"`)
}

func (in *ingest) dsn() string {
	return strings.Replace(in.URL, "://", "://"+key+"@", 1) + "/relay/42"
}

// api is the API that events are read from, for the project example/api.
func api(t *testing.T, id string, event http.HandlerFunc) *resttest.Fake {
	return resttest.New(t, http.Header{"Authorization": {authed}},
		resttest.Route{Method: "GET", Path: "/api/0/projects/example/{project}/", Docs: apiDocs + "projects/retrieve-a-project/",
			Answer: func(w http.ResponseWriter, r *http.Request) {
				if r.PathValue("project") != "api" {
					resttest.JSON(404, `{"detail":"The requested resource does not exist"}`)(w, r)
					return
				}
				resttest.JSON(200, `{"id":"`+id+`","slug":"api","name":"API"}`)(w, r)
			}},
		resttest.Route{Method: "GET", Path: "/api/0/projects/example/api/rules/", Docs: apiDocs + "alerts/list-a-projects-issue-alert-rules/", Query: []string{"cursor"},
			Answer: resttest.JSON(200, `[{"id":"3","name":"New issue","status":"active"},{"id":"4","name":"Old","status":"disabled"}]`)},
		resttest.Route{Method: "GET", Path: "/api/0/projects/example/api/events/{event}/", Docs: apiDocs + "events/retrieve-an-event-for-a-project/",
			Answer: event})
}

// later gives 404 for the first questions, then the event.
func later(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if n--; n >= 0 {
			resttest.JSON(404, `{"detail":"Event not found"}`)(w, r)
			return
		}
		resttest.JSON(200, `{"eventID":"`+r.PathValue("event")+`","groupID":"77"}`)(w, r)
	}
}

// withSecrets gives the token and a DSN, and waits without waiting.
func withSecrets(dsn string) func(*check.Env) {
	return func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:SENTRY_DSN": dsn, "env:SENTRY_AUTH_TOKEN": token})
		e.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	}
}

func TestEventIsTaken(t *testing.T) {
	in := newIngest(t)
	set := withSecrets(in.dsn())
	checktest.Run(t, sentry.Event, []checktest.Case{
		{Name: "taken", Params: "environment: production", Env: set, Want: "pass: Sentry took the event", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["event_id"] != in.field(t, 2, "event_id") || o.Facts["status"] != "200" || !strings.HasSuffix(o.Facts["dsn"], "/relay/42") || strings.Contains(o.Facts["dsn"], key) {
				t.Errorf("facts %v", o.Facts)
			}
			if in.field(t, 2, "level") != "debug" || !strings.Contains(string(in.last[2]), `"allclear":"true"`) || in.field(t, 2, "environment") != "production" {
				t.Errorf("event %s", in.last[2])
			}
			if length := in.field(t, 1, "length"); length != itoa(len(in.last[2])) {
				t.Errorf("length %s of %d", length, len(in.last[2]))
			}
		}},
		{Name: "no DSN", Params: "", Want: "error: ...not set"},
		{Name: "not a DSN", Params: "", Env: withSecrets("changeme"), Want: "fail: env:SENTRY_DSN holds no DSN: it is no address https://KEY@HOST/PROJECT"},
		{Name: "no key", Params: "", Env: withSecrets("https://sentry.example.com/42"), Want: "fail: ...it has no key before the host"},
		{Name: "no project", Params: "", Env: withSecrets("https://" + key + "@sentry.example.com/"), Want: "fail: ...it has no project at its end"},
		{Name: "a key that ends the header", Params: "", Env: withSecrets("https://a%0d%0ab@sentry.example.com/1"), Want: "fail: ...its key holds characters that no key has"},
		{Name: "nobody there", Params: "", Env: withSecrets("http://" + key + "@127.0.0.1:1/42"), Want: "error: ask Sentry: ...refused"},
		{Name: "org without roundtrip", Params: "org: example", Want: "problem: ...org, project, token and alert_rules go with mode: roundtrip..."},
		{Name: "roundtrip without org", Params: "mode: roundtrip", Want: "problem: ...org: want a slug..."},
		{Name: "leads out of the path", Params: "{mode: roundtrip, org: ../x, project: api}", Want: "problem: ...org: want a slug..."},
		{Name: "more than the address", Params: `{url: "https://sentry.example.com/api/0/"}`, Want: "problem: ...url: leave out /api/0 at its end..."},
		{Name: "address with a query", Params: `{url: "https://sentry.example.com?x=1"}`, Want: "problem: ...url: want an address without query..."},
	})
}

func TestEventIsRefusedOrNotKnown(t *testing.T) {
	in := newIngest(t)
	run := func(want string) error {
		t.Helper()
		return checkRun(t, sentry.Event, "", withSecrets(in.dsn()), want)
	}
	in.answer = resttest.JSON(403, `{"detail":"event submission rejected with_reason: ProjectId"}`)
	_ = run("fail: Sentry refused the event with 403: event submission rejected with_reason: ProjectId")
	in.answer = resttest.JSON(200, `{"id":"ffffffffffffffffffffffffffffffff"}`)
	_ = run("error: Sentry answered 200, but not with the id of the event")
	in.answer, in.header = nil, http.Header{"X-Sentry-Rate-Limits": {"60:transaction:key"}}
	_ = run("pass: Sentry took the event")
	for _, limit := range []string{"90:default;error:organization, 2700::key:x", "2700::organization"} {
		in.header = http.Header{"X-Sentry-Rate-Limits": {limit}}
		err := run("error: Sentry drops errors at the moment...")
		if wait, ok := errors.AsType[*check.RetryLater](err); !ok || wait.After != 45*time.Minute {
			t.Errorf("%s: %v, want to wait 45m", limit, err)
		}
	}
	in.answer = resttest.JSON(429, `{"detail":"Creation of this event was denied due to rate limiting"}`)
	if wait, ok := errors.AsType[*check.RetryLater](run("error: ...429...")); !ok || wait.After != 45*time.Minute {
		t.Error("429 does not wait as long as its header says")
	}
	for _, fault := range resttest.Faults() {
		in.Fail(fault.Answer)
		faultRun(t, fault.Name, sentry.Event, "", withSecrets(in.dsn()))
	}
}

func TestEventRoundTrip(t *testing.T) {
	in := newIngest(t)
	set := withSecrets(in.dsn())
	params := func(f *resttest.Fake, more string) string {
		return "{mode: roundtrip, org: example, project: api, url: \"" + f.URL + "\"" + more + "}"
	}
	good := api(t, "42", later(2))
	checktest.Run(t, sentry.Event, []checktest.Case{
		{Name: "found", Params: params(good, ", alert_rules: 1"), Env: set, Want: "pass: Sentry took the event and showed it in example/api after ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["issue"] != good.URL+"/organizations/example/issues/77/" || o.Facts["alert_rules"] != "New issue" || o.Facts["found_after"] == "" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "another project", Params: params(api(t, "43", later(0)), ""), Env: set, Want: "fail: the DSN leads to project 42, but example/api is 43"},
		{Name: "no such project", Params: strings.Replace(params(good, ""), "project: api", "project: other", 1), Env: set, Want: "error: Sentry shows this token no project other..."},
		{Name: "too few rules", Params: params(good, ", alert_rules: 2"), Env: set, Want: "fail: example/api has 1 active alert rules, want at least 2"},
		{Name: "never there", Params: params(api(t, "42", resttest.JSON(404, "{}")), ""), Env: set, Timeout: 300 * time.Millisecond, Want: "error: Sentry took event ..., but did not show it within ...: context deadline exceeded"},
		{Name: "another event", Params: params(api(t, "42", resttest.JSON(200, `{"eventID":"1"}`)), ""), Env: set, Want: "error: Sentry answered the question for the event with another one"},
		{Name: "an event without an id", Params: params(api(t, "42", resttest.JSON(200, `{}`)), ""), Env: set, Want: "error: Sentry answered the question for the event with another one"},
		{Name: "the token may not read events", Params: params(api(t, "42", resttest.JSON(403, `{"detail":"no"}`)), ""), Env: set, Want: "error: Sentry answered 403..."},
	})
	for _, fault := range resttest.Faults() {
		good.Fail(fault.Answer)
		faultRun(t, fault.Name, sentry.Event, params(good, ", alert_rules: 1"), set)
	}
}

func TestEventEachAttemptIsAnEventOfItsOwn(t *testing.T) {
	in := newIngest(t)
	_ = checkRun(t, sentry.Event, "", withSecrets(in.dsn()), "pass: ...")
	first := in.field(t, 0, "event_id")
	_ = checkRun(t, sentry.Event, "", withSecrets(in.dsn()), "pass: ...")
	if second := in.field(t, 0, "event_id"); first == second || len(first) != 32 {
		t.Errorf("ids %s and %s", first, second)
	}
}

func TestEventExamineSendsNothing(t *testing.T) {
	in := newIngest(t)
	f := api(t, "42", later(0))
	params := `{mode: roundtrip, org: example, project: api, url: "` + f.URL + `"}`
	examine(t, sentry.Event, params, withSecrets(in.dsn()), "the DSN leads to example/api")
	examine(t, sentry.Event, "", withSecrets(in.dsn()), "the DSN is one: http://***@...")
	examine(t, sentry.Event, "", withSecrets("x"), "error: env:SENTRY_DSN holds no DSN...")
	if calls := in.Calls(); len(calls) != 0 {
		t.Errorf("%d events were sent", len(calls))
	}
}

// Whoever asks which secrets are missing is not told of one that is not used.
func TestEventThatIsOnlyTakenNeedsNoToken(t *testing.T) {
	if secrets := instance(t, sentry.Event, "").Secrets(); len(secrets) != 1 || secrets[0].String() != "env:SENTRY_DSN" {
		t.Errorf("secrets %v", secrets)
	}
	in := newIngest(t)
	_ = checkRun(t, sentry.Event, "", func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:SENTRY_DSN": in.dsn()})
	}, "pass: Sentry took the event")
}

func TestEventPage(t *testing.T) { checktest.Page(t, sentry.Event) }
