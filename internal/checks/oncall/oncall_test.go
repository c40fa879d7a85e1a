package oncall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/oncall"
	"allclear.dev/allclear/internal/rest/resttest"
)

const (
	token      = "pd-rest-very-secret"
	routingKey = "0123456789abcdef0123456789abcdef"

	onCallDocs   = "https://developer.pagerduty.com/api-reference/3a6b910f11050-list-all-of-the-on-calls"
	scheduleDocs = "https://developer.pagerduty.com/api-reference/3f03afb2c84a4-get-a-schedule"
	policyDocs   = "https://developer.pagerduty.com/api-reference/" // Get an escalation policy
	eventDocs    = "https://developer.pagerduty.com/docs/send-alert-event"
)

// pagerDuty is the REST API with these on-calls, two on a page.
type pagerDuty struct {
	*resttest.Fake
	oncalls []string
	known   []string
}

func newPagerDuty(t *testing.T, oncalls ...string) *pagerDuty {
	pd := &pagerDuty{oncalls: oncalls, known: []string{"PPOL", "PONE", "PTWO", "PIDLE"}}
	header := http.Header{"Authorization": {"Token token=" + token}, "Accept": {"application/vnd.pagerduty+json;version=2"}}
	get := func(what string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if id := r.PathValue("id"); slices.Contains(pd.known, id) {
				resttest.JSON(200, fmt.Sprintf(`{%q:{"id":%q,"summary":"X"}}`, what, id))(w, r)
				return
			}
			resttest.JSON(404, `{"error":{"message":"Not Found","code":2100}}`)(w, r)
		}
	}
	pd.Fake = resttest.New(t, header,
		resttest.Route{Method: "GET", Path: "/oncalls", Docs: onCallDocs, Needs: []string{"since", "until"},
			Query:  []string{"time_zone", "limit", "offset", "total", "include[]", "user_ids[]", "escalation_policy_ids[]", "schedule_ids[]", "since", "until", "earliest"},
			Answer: pd.list},
		resttest.Route{Method: "GET", Path: "/schedules/{id}", Docs: scheduleDocs, Query: []string{"time_zone", "since", "until"}, Answer: get("schedule")},
		resttest.Route{Method: "GET", Path: "/escalation_policies/{id}", Docs: policyDocs, Query: []string{"include[]"}, Answer: get("escalation_policy")},
	)
	return pd
}

func (pd *pagerDuty) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var found []string
	for _, text := range pd.oncalls {
		var o struct {
			Policy   struct{ ID string } `json:"escalation_policy"`
			Schedule struct{ ID string } `json:"schedule"`
		}
		_ = json.Unmarshal([]byte(text), &o) // what is no on-call is listed as it is
		for key, id := range map[string]string{"schedule_ids[]": o.Schedule.ID, "escalation_policy_ids[]": o.Policy.ID} {
			if q.Has(key) && (slices.Contains(q[key], id) || o.Policy.ID == "" || o.Policy.ID == "PWRONG") {
				found = append(found, text)
			}
		}
	}
	var offset int
	_, _ = fmt.Sscan(q.Get("offset"), &offset) // a number, or 0
	page := found[min(offset, len(found)):min(offset+2, len(found))]
	resttest.JSON(200, fmt.Sprintf(`{"oncalls":[%s],"limit":100,"offset":%d,"total":null,"more":%t}`, strings.Join(page, ","), offset, offset+2 < len(found)))(w, r)
}

// on is one on-call; "always" stands for an end that is open.
func on(policy, schedule string, level int, who, from, until string) string {
	moment := func(t string) string {
		if t == "always" {
			return "null"
		}
		return fmt.Sprintf("%q", t)
	}
	of := "null"
	if schedule != "" {
		of = fmt.Sprintf(`{"id":%q,"type":"schedule_reference","summary":"Schedule %s"}`, schedule, schedule)
	}
	return fmt.Sprintf(`{"escalation_policy":{"id":%q,"summary":"Platform"},"escalation_level":%d,"schedule":%s,"user":{"id":"U%s","summary":%q,"contact_methods":[{"id":"C1","type":"email_contact_method_reference"},{"id":"C2","type":"phone_contact_method_reference"}]},"start":%s,"end":%s}`,
		policy, level, of, who, who, moment(from), moment(until))
}

// standard is a rotation of two on the first level, one of them in another time
// zone, and somebody permanent on the second.
func standard() []string {
	return []string{
		on("PPOL", "PONE", 1, "Ann", "2026-03-01T08:00:00Z", "2026-03-01T14:00:00Z"),
		on("PPOL", "PONE", 1, "Ben", "2026-03-01T15:00:00+01:00", "2026-03-02T09:00:00+01:00"),
		on("PPOL", "", 2, "Cem", "always", "always"),
		on("PPOL", "PTWO", 3, "Dee", "2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z"),
	}
}

func noon(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:PAGERDUTY_TOKEN": token, "env:ROUTING": routingKey, "env:SHORT": "abc", "env:LINES": "a\nb"})
	e.Now = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	e.Ledger = &checktest.Ledger{Facts: map[string]string{"plan.window": "2026-03-01T22:00:00Z/2026-03-02T00:00:00Z"}}
}

func (pd *pagerDuty) params(more string) string {
	return fmt.Sprintf("{api: %q, %s}", pd.URL, more)
}

func TestOnCall(t *testing.T) {
	const policy = "policies: PPOL, window: 4h"
	with := func(oncalls ...string) *pagerDuty { return newPagerDuty(t, oncalls...) }
	swap := func(i int, oncall string) *pagerDuty {
		list := standard()
		list[i] = oncall
		return with(list...)
	}
	green := with(standard()...)
	late := swap(1, on("PPOL", "PONE", 1, "Ben", "2026-03-01T14:00:01Z", "2026-03-02T08:00:00Z"))
	twice := swap(2, on("PPOL", "", 2, "Ben", "always", "always"))
	cases := []checktest.Case{
		{Name: "covered", Params: green.params(policy), Want: "pass: 2 levels are covered from 2026-03-01 12:00:00 UTC to 2026-03-01 16:00:00 UTC: level 1 Ann, Ben; level 2 Cem; level 3 Dee", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["now"] != "level 1 Ann; level 2 Cem; level 3 Dee" || o.Facts["oncalls"] != "4" || o.Facts["window"] != "2026-03-01T12:00:00Z/2026-03-01T16:00:00Z" || len(o.Artefacts) != 1 {
				t.Errorf("%v", o)
			}
		}},
		{Name: "by the fact", Params: green.params("policies: PPOL, window: plan.window"), Want: "pass: 2 levels are covered from 2026-03-01 22:00:00 UTC to 2026-03-02 00:00:00 UTC: ..."},
		{Name: "a fact that nobody supplied", Params: green.params("policies: PPOL, window: plan.other"), Want: "error: plan.other was not supplied"},
		{Name: "a gap of a second", Params: late.params(policy), Want: "fail: policy Platform has nobody on level 1 from 2026-03-01 14:00:00 UTC to 2026-03-01 14:00:01 UTC"},
		{Name: "a gap that does not matter", Params: late.params(policy + ", no_gaps: false"), Want: "pass: 2 levels are covered at 2026-03-01 12:00:00 UTC: level 1 Ann; ..."},
		{Name: "nobody at the start", Params: late.params("policies: PPOL, no_gaps: false, window: 2026-03-01T14:00:00Z/1h"), Want: "fail: policy Platform has nobody on level 1 at 2026-03-01 14:00:00 UTC"},
		{Name: "a gap at the end", Params: green.params("policies: PPOL, window: 24h"), Want: "fail: policy Platform has nobody on level 1 from 2026-03-02 08:00:00 UTC to 2026-03-02 12:00:00 UTC"},
		{Name: "too few levels", Params: green.params(policy + ", levels: 4"), Want: "fail: policy Platform has nobody on level 4 from ..."},
		{Name: "one person on two levels", Params: twice.params(policy), Want: "fail: policy Platform has fewer than 2 different people on its levels from 2026-03-01 14:00:00 UTC to 2026-03-01 16:00:00 UTC: level 1 Ben; level 2 Ben"},
		{Name: "one person on two levels, accepted", Params: twice.params(policy + ", distinct: false"), Want: "pass: 2 levels are covered..."},
		{Name: "a schedule", Params: green.params("schedules: PONE, levels: 1"), Want: "pass: 1 level is covered from ...: level 1 Ann, Ben"},
		{Name: "schedules on two levels", Params: green.params("schedules: [PONE, PTWO], levels: 1"), Want: "pass: 1 level is covered..."},
		{Name: "schedules without a level", Params: green.params("schedules: [PONE, PTWO]"), Want: "fail: policy Platform, of these schedules, has nobody on level 2 ..."},
		{Name: "a schedule with nobody", Params: green.params("schedules: PIDLE"), Want: "fail: schedule PIDLE has nobody from 2026-03-01 12:00:00 UTC to ..."},
		{Name: "no such schedule", Params: green.params("schedules: [PONE, PGONE]"), Want: "error: PagerDuty knows no PGONE: ..."},
		{Name: "a policy with nobody", Params: with().params(policy), Want: "fail: policy PPOL has nobody on level 1 ...; policy PPOL has nobody on level 2 ..."},
		{Name: "no such policy", Params: with().params("policies: PGONE"), Want: "error: PagerDuty knows no PGONE: ..."},
		{Name: "roles", Params: green.params("roles: {deployer: PONE, dba: PTWO}"), Want: "pass: the roles dba, deployer are covered...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["role.deployer"] != "Ann; Ben" || o.Facts["role.dba"] != "Dee" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "a role with nobody", Params: late.params("roles: {deployer: PONE}"), Want: "fail: role deployer has nobody from 2026-03-01 14:00:00 UTC to 2026-03-01 14:00:01 UTC"},
		{Name: "unreachable", Params: green.params(policy + ", contacts: 3"), Want: "fail: Ann has 2 contact methods, fewer than 3; Ben ..."},
		{Name: "contacts are not told", Params: swap(0, strings.ReplaceAll(standard()[0], "contact_methods", "other")).params(policy), Want: "error: PagerDuty does not tell the contact methods of Ann ..."},
		{Name: "contacts are not wanted", Params: swap(0, strings.ReplaceAll(standard()[0], "contact_methods", "other")).params(policy + ", contacts: 0"), Want: "pass: ..."},
		{Name: "backwards", Params: swap(0, on("PPOL", "PONE", 1, "Ann", "2026-03-01T14:00:00Z", "2026-03-01T08:00:00Z")).params(policy), Want: "error: PagerDuty listed an on-call of Ann that ends before it begins"},
		{Name: "no user", Params: swap(0, `{"escalation_policy":{"id":"PPOL"},"escalation_level":1}`).params(policy), Want: "error: ...without its policy, level or user"},
		{Name: "of another policy", Params: swap(0, on("PWRONG", "PONE", 1, "Ann", "always", "always")).params(policy), Want: "error: ...PWRONG, which was not asked for"},
		{Name: "a time that is none", Params: swap(0, on("PPOL", "PONE", 1, "Ann", "yesterday", "always")).params(policy), Want: "error: ...something else than the JSON..."},
		{Name: "over", Params: green.params("policies: PPOL, window: 2026-02-01T00:00:00Z/1h"), Want: "error: the window ended at 2026-02-01 01:00:00 UTC; ..."},
		{Name: "too long", Params: green.params("policies: PPOL, window: 2161h"), Want: "error: the window is 2161h0m0s long; PagerDuty lists at most 90 days"},
		{Name: "no token", Params: green.params(policy + ", token: env:NONE"), Want: "error: ...not set"},
		{Name: "a token of two lines", Params: green.params(policy + ", token: env:LINES"), Want: "error: the token env:LINES is not one line of text"},
		{Name: "nothing named", Params: green.params("window: 4h"), Want: "problem: ...name at least one..."},
		{Name: "no id", Params: green.params("schedules: 'a/b'"), Want: "problem: ...is no id..."},
		{Name: "no level", Params: green.params("policies: PPOL, levels: 0"), Want: "problem: ...want 1 to 20..."},
		{Name: "contacts below zero", Params: green.params("policies: PPOL, contacts: -1"), Want: "problem: ...must not be negative..."},
	}
	for i := range cases {
		cases[i].Env = noon
	}
	checktest.Run(t, oncall.OnCall, cases)
	checktest.Page(t, oncall.OnCall)
}

func TestEveryRequestMayFail(t *testing.T) {
	pd := newPagerDuty(t, standard()...)
	env := checktest.NewEnv(t)
	noon(env)
	for params, least := range map[string]int{"policies: PPOL": 2, "policies: PPOL, roles: {x: PTWO}": 3} {
		inst := decode(t, pd.params(params))
		pd.EachFault(least, func(ctx context.Context) error { return passes(inst, ctx, env) }, nil)
	}
	idle := decode(t, pd.params("schedules: PIDLE"))
	pd.EachFault(2, func(ctx context.Context) error {
		o, err := idle.Runner.Run(ctx, env)
		if err == nil && !strings.Contains(o.Reason, "schedule PIDLE has nobody") {
			t.Errorf("%v", o)
		}
		return err
	}, nil)
}

func decode(t *testing.T, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(oncall.OnCall, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	return inst
}

func passes(inst *check.Instance, ctx context.Context, env *check.Env) error {
	o, err := inst.Runner.Run(ctx, env)
	if err == nil && o.Verdict != check.Pass {
		return errors.New(o.Reason)
	}
	return err
}

// events is the Events API; alerts holds the open alerts, sent every event.
type events struct {
	*resttest.Fake
	sent []string
	open map[string]bool
}

func newEvents(t *testing.T) *events {
	ev := &events{open: map[string]bool{}}
	ev.Fake = resttest.New(t, nil, resttest.Route{
		Method: "POST", Path: "/v2/enqueue", Docs: eventDocs, Needs: []string{"routing_key", "event_action"},
		Body: []string{"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"},
		Answer: func(w http.ResponseWriter, r *http.Request) {
			var e struct {
				Key     string                     `json:"routing_key"`
				Action  string                     `json:"event_action"`
				Dedup   string                     `json:"dedup_key"`
				Payload map[string]json.RawMessage `json:"payload"`
			}
			text, _ := io.ReadAll(r.Body)
			if json.Unmarshal(text, &e) != nil || e.Key != routingKey || e.Action == "trigger" && (e.Payload["summary"] == nil || e.Payload["source"] == nil || e.Payload["severity"] == nil) {
				resttest.JSON(400, `{"status":"invalid event","message":"Event object is invalid","errors":["routing_key is invalid"]}`)(w, r)
				return
			}
			ev.sent = append(ev.sent, e.Action)
			ev.open[e.Dedup] = e.Action == "trigger"
			resttest.JSON(202, `{"status":"success","message":"Event processed","dedup_key":"`+e.Dedup+`"}`)(w, r)
		},
	})
	return ev
}

func (ev *events) params(more string) string {
	return fmt.Sprintf("policies: PPOL, events_api: %q, %s", ev.URL, more)
}

func TestATestPageIsSentOnceAndResolved(t *testing.T) {
	pd, ev, env := newPagerDuty(t, standard()...), newEvents(t), checktest.NewEnv(t)
	noon(env)
	inst := decode(t, pd.params(ev.params("test_page: env:ROUTING")))
	if inst.Traits.Kind != check.Action || inst.Traits.Class != check.Keyed || inst.Traits.Effect != check.Message {
		t.Errorf("%+v", inst.Traits)
	}
	progress := func(want check.Progress) {
		t.Helper()
		got, _, err := inst.Prober().Probe(t.Context(), env)
		if got != want || err != nil {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	examined, err := inst.Runner.(check.Examiner).Examine(t.Context(), env)
	if err != nil || !strings.HasPrefix(examined, "2 levels are covered") || len(ev.sent) > 0 {
		t.Errorf("%s, %v, %v", examined, err, ev.sent)
	}
	progress(check.NotDone)
	for _, want := range []string{"; a test page was sent and resolved", "; the test page was sent and resolved before"} {
		o, err := inst.Runner.Run(t.Context(), env)
		if err != nil || o.Verdict != check.Pass || !strings.HasSuffix(o.Reason, want) || o.Facts["dedup_key"] == "" {
			t.Errorf("%v, %v", o, err)
		}
	}
	progress(check.Done)
	if !slices.Equal(ev.sent, []string{"trigger", "resolve"}) {
		t.Errorf("%v", ev.sent)
	}
	env.Key += "/again"
	if o, err := inst.Runner.Run(t.Context(), env); err != nil || o.Verdict != check.Pass || len(ev.sent) != 4 || len(ev.open) != 2 {
		t.Errorf("a deliberate start pages anew: %v, %v, %v", o, err, ev.sent)
	}
	for key, open := range ev.open {
		if open {
			t.Errorf("%s is still open", key)
		}
	}
}

func TestATestPageWhoseResolveFailsIsResolvedByTheNext(t *testing.T) {
	pd, ev, env := newPagerDuty(t, standard()...), newEvents(t), checktest.NewEnv(t)
	noon(env)
	inst := decode(t, pd.params(ev.params("test_page: env:ROUTING")))
	ev.FailAt(2, resttest.JSON(400, `{"status":"invalid event"}`))
	if o, err := inst.Runner.Run(t.Context(), env); err == nil || !strings.Contains(err.Error(), "triggered, but not resolved") {
		t.Errorf("%v, %v", o, err)
	}
	if got, _, err := inst.Prober().Probe(t.Context(), env); got != check.Partly || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if err := passes(inst, t.Context(), env); err != nil || !slices.Equal(ev.sent, []string{"trigger", "trigger", "resolve"}) || len(ev.open) != 1 {
		t.Errorf("%v, %v, %v", err, ev.sent, ev.open)
	}
	ev.EachFault(2, func(ctx context.Context) error { return passes(inst, ctx, env) }, func() { env.Key += "x" })
}

func TestNobodyIsPagedUnlessAllIsCovered(t *testing.T) {
	pd, ev, env := newPagerDuty(t), newEvents(t), checktest.NewEnv(t)
	noon(env)
	run := func(more string) (check.Outcome, error) {
		return decode(t, pd.params(ev.params(more))).Runner.Run(t.Context(), env)
	}
	if o, err := run("test_page: env:ROUTING"); err != nil || o.Verdict != check.Fail {
		t.Errorf("%v, %v", o, err)
	}
	pd.oncalls = standard()
	if o, err := run("test_page: env:SHORT"); err == nil || !strings.Contains(err.Error(), "32 characters") {
		t.Errorf("%v, %v", o, err)
	}
	if len(ev.Calls()) > 0 {
		t.Errorf("%v", ev.sent)
	}
	ev.Fail(resttest.JSON(400, `{"status":"invalid event","message":"routing_key is invalid"}`))
	if o, err := run("test_page: env:ROUTING"); err != nil || o.Verdict != check.Fail || !strings.Contains(o.Reason, "not taken") {
		t.Errorf("%v, %v", o, err)
	}
}
