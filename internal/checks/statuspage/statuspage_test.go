package statuspage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/statuspage"
	"allclear.dev/allclear/internal/rest/resttest"
)

const (
	token = "sp-very-secret-key"
	docs  = "https://developer.statuspage.io/#operation/"
	base  = "/v1/pages/qfn30z5r6s5h/"
)

// site is a status page with its incidents, the newest first.
type site struct {
	*resttest.Fake
	incidents []map[string]any
	// told counts the changes that subscribers hear of, made counts all.
	told, made int
	// lose takes a change and does not answer.
	lose bool
	// deaf answers changes and does not make them.
	deaf bool
}

func newSite(t *testing.T) *site {
	s := &site{}
	s.Fake = resttest.New(t, http.Header{"Authorization": {"OAuth " + token}},
		resttest.Route{Method: "GET", Path: base + "incidents", Docs: docs + "getPagesPageIdIncidents", Query: []string{"q", "limit", "page"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			number, _ := strconv.Atoi(r.URL.Query().Get("page"))
			from := min(100*(number-1), len(s.incidents))
			s.answer(w, r, 200, append([]map[string]any{}, s.incidents[from:min(from+100, len(s.incidents))]...))
		}},
		resttest.Route{Method: "POST", Path: base + "incidents", Docs: docs + "postPagesPageIdIncidents", Body: []string{"incident"}, Needs: []string{"incident"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			c, wrong := sent(r, "name", "status", "body")
			if wrong != "" {
				t.Error(wrong)
			}
			i := map[string]any{"id": fmt.Sprintf("inc%d", len(s.incidents)+1), "created_at": "2026-03-01T12:00:00Z", "shortlink": "https://stspg.example.com/x", "incident_updates": []any{}}
			var of []any
			if ids, ok := c["component_ids"].([]any); ok {
				for _, id := range ids {
					of = append(of, map[string]any{"id": id, "name": "Web"})
				}
			}
			i["components"] = of
			s.incidents = slices.Insert(s.incidents, 0, i)
			s.change(w, r, i, c, 201)
		}},
		resttest.Route{Method: "PATCH", Path: base + "incidents/{id}", Docs: docs + "patchPagesPageIdIncidentsIncidentId", Body: []string{"incident"}, Needs: []string{"incident"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			c, wrong := sent(r)
			if wrong != "" {
				t.Error(wrong)
			}
			for _, i := range s.incidents {
				if i["id"] == r.PathValue("id") {
					s.change(w, r, i, c, 200)
					return
				}
			}
			resttest.JSON(404, `{"error":"Not found"}`)(w, r)
		}},
		resttest.Route{Method: "GET", Path: base + "components", Docs: docs + "getPagesPageIdComponents", Query: []string{"page", "per_page"}, Answer: resttest.JSON(200, `[{"id":"web1","name":"Web"},{"id":"api1","name":"API"}]`)},
	)
	return s
}

// sent reads the change, and says what of it the documentation does not know.
func sent(r *http.Request, needs ...string) (map[string]any, string) {
	var body struct {
		Incident map[string]any `json:"incident"`
	}
	text, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, err.Error()
	}
	known := []string{"name", "status", "body", "impact_override", "scheduled_for", "scheduled_until", "scheduled_remind_prior", "scheduled_auto_in_progress", "scheduled_auto_completed",
		"auto_transition_to_maintenance_state", "auto_transition_to_operational_state", "auto_transition_deliver_notifications_at_start", "auto_transition_deliver_notifications_at_end",
		"metadata", "deliver_notifications", "components", "component_ids", "backfilled", "backfill_date"}
	for name := range body.Incident {
		if !slices.Contains(known, name) {
			return nil, "unknown field of an incident: " + name
		}
	}
	for _, name := range needs {
		if body.Incident[name] == nil {
			return nil, name + " is missing"
		}
	}
	return body.Incident, ""
}

func (s *site) change(w http.ResponseWriter, r *http.Request, i, c map[string]any, status int) {
	s.made++
	if c["deliver_notifications"] == true {
		s.told++
	}
	if s.deaf {
		s.answer(w, r, status, i)
		return
	}
	for _, name := range []string{"name", "status", "scheduled_for", "scheduled_until", "metadata"} {
		if c[name] != nil {
			i[name] = c[name]
		}
	}
	if c["components"] != nil {
		i["component_states"] = c["components"]
	}
	if c["body"] != nil {
		i["incident_updates"] = append([]any{map[string]any{"body": c["body"], "status": i["status"]}}, i["incident_updates"].([]any)...)
	}
	if s.lose {
		s.lose = false
		panic(http.ErrAbortHandler)
	}
	s.answer(w, r, status, i)
}

func (s *site) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	resttest.JSON(status, string(text))(w, r)
}

// put adds an incident that somebody else made.
func (s *site) put(id, name, status, created string, more map[string]any) {
	i := map[string]any{"id": id, "name": name, "status": status, "created_at": created, "components": nil, "incident_updates": []any{}, "metadata": map[string]any{}}
	maps.Copy(i, more)
	s.incidents = append(s.incidents, i)
}

func (s *site) params(more string) string {
	return fmt.Sprintf("{page: qfn30z5r6s5h, api: %q, token: env:KEY, %s}", s.URL, more)
}

const (
	window   = "2026-03-01T22:00:00Z/2h"
	planning = "do: schedule, window: " + window + ", components: [web1]"
)

func noon(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:KEY": token, "env:EMPTY": " "})
	e.Now = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	e.Ledger = &checktest.Ledger{Facts: map[string]string{"release.window": "2026-03-01T22:00:00Z/2026-03-02T00:00:00Z"}}
}

func decode(t *testing.T, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(statuspage.Statuspage, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	return inst
}

func TestStatuspage(t *testing.T) {
	mine := map[string]any{"metadata": map[string]any{"allclear": map[string]any{"run": "r-1"}}, "scheduled_for": "2026-03-01T22:00:00Z", "scheduled_until": "2026-03-02T00:00:00Z"}
	with := func(status string, more map[string]any) *site {
		s := newSite(t)
		s.put("old1", "Old", "resolved", "2026-02-01T00:00:00Z", nil)
		all := maps.Clone(mine)
		maps.Copy(all, more)
		s.put("m1", "Maintenance of tulia (test)", status, "2026-02-20T00:00:00Z", all)
		return s
	}
	two := with("scheduled", nil)
	two.put("m2", "x", "scheduled", "2026-02-19T00:00:00Z", mine)
	byHand := with("scheduled", map[string]any{"metadata": map[string]any{}})
	text := `text: "Half done."`
	told := map[string]any{"incident_updates": []any{map[string]any{"body": "Half done."}}}
	cases := []checktest.Case{
		{Name: "scheduled", Params: newSite(t).params(planning), Want: "pass: maintenance inc1 (Maintenance of tulia (test)) is scheduled from 2026-03-01 22:00 UTC to 2026-03-02 00:00 UTC", Check: func(t *testing.T, o check.Outcome) {
			if o.Sets["plan.window"] != "2026-03-01T22:00:00Z/2026-03-02T00:00:00Z" || o.Sets["statuspage.incident"] != "inc1" || o.Facts["components"] != "web1" || o.Facts["url"] == "" {
				t.Errorf("%v", o)
			}
		}},
		{Name: "by a fact", Params: newSite(t).params("do: schedule, window: release.window"), Want: "pass: ...from 2026-03-01 22:00 UTC..."},
		{Name: "a fact that nobody supplied", Params: newSite(t).params("do: schedule, window: other.window"), Want: "error: other.window was not supplied"},
		{Name: "scheduled before", Params: with("scheduled", nil).params(planning), Want: "pass: maintenance m1 (...) is scheduled from ..., as wanted"},
		{Name: "scheduled by a person", Params: byHand.params(planning), Want: "pass: maintenance m1 ..., as wanted"},
		{Name: "moved", Params: with("scheduled", map[string]any{"scheduled_until": "2026-03-01T23:00:00Z"}).params(planning), Want: "pass: maintenance m1 (...) is scheduled from ... to 2026-03-02 00:00 UTC"},
		{Name: "moved too late", Params: with("in_progress", map[string]any{"scheduled_until": "2026-03-01T23:00:00Z"}).params(planning), Want: "fail: maintenance m1 (...) is in progress: it cannot be moved any more"},
		{Name: "over", Params: newSite(t).params("do: schedule, window: 2026-02-01T22:00:00Z/2h"), Want: "fail: the window ended at 2026-02-02 00:00 UTC"},
		{Name: "no such component", Params: newSite(t).params("do: schedule, window: " + window + ", components: [web1, x1]"), Want: "fail: the page has no component x1; it has api1 (API), web1 (Web)"},
		{Name: "begun", Params: with("scheduled", nil).params("do: start"), Want: "pass: maintenance m1 (...) is in progress"},
		{Name: "begun before", Params: with("verifying", nil).params("do: start"), Want: "pass: maintenance m1 (...) is verifying, as wanted"},
		{Name: "begun too late", Params: with("completed", nil).params("do: start"), Want: "fail: ...it cannot begin again"},
		{Name: "told", Params: with("in_progress", nil).params("do: update, " + text), Want: "pass: maintenance m1 (...) is in progress"},
		{Name: "told before", Params: with("in_progress", told).params("do: update, " + text), Want: "pass: ..., as wanted"},
		{Name: "completed", Params: with("in_progress", nil).params("do: complete"), Want: "pass: maintenance m1 (...) is completed"},
		{Name: "completed before", Params: with("completed", nil).params("do: complete"), Want: "pass: maintenance m1 (...) is completed, as wanted"},
		{Name: "nothing there", Params: newSite(t).params("do: start"), Want: "fail: there is no maintenance of this run, and none called Maintenance of tulia (test), on the page: schedule it first"},
		{Name: "two", Params: two.params("do: start"), Want: "error: there are 2 maintenances of this run or name on the page (m1, m2): which is meant?"},
		{Name: "an incident without id", Params: with("scheduled", map[string]any{"id": ""}).params("do: start"), Want: "error: Statuspage lists an incident without its id, status or time"},
		{Name: "no token", Params: strings.ReplaceAll(newSite(t).params("do: start"), "env:KEY", "env:EMPTY"), Want: "error: the token env:EMPTY is not one line of text"},
		{Name: "no window", Params: newSite(t).params("do: schedule"), Want: "problem: ...window: goes with do: schedule..."},
		{Name: "a window of nothing", Params: newSite(t).params("do: start, window: " + window), Want: "problem: ...window: goes with do: schedule..."},
		{Name: "from now on", Params: newSite(t).params("do: schedule, window: 2h"), Want: "problem: ...another one at every try..."},
		{Name: "no text", Params: newSite(t).params("do: update"), Want: "problem: ...do: update needs it..."},
		{Name: "transitions of nothing", Params: newSite(t).params("do: start, auto_transitions: true"), Want: "problem: ...auto_transitions..."},
		{Name: "components of a text", Params: newSite(t).params("do: update, components: web1, " + text), Want: "problem: ...components..."},
		{Name: "no id of a component", Params: newSite(t).params("do: start, components: 'a/b'"), Want: "problem: ...no id of a component..."},
		{Name: "no id of a page", Params: "{do: start, page: '../x'}", Want: "problem: ...no id of a page..."},
		{Name: "too long", Params: newSite(t).params("do: start, name: " + strings.Repeat("x", 256)), Want: "problem: ...name 255..."},
	}
	for i := range cases {
		cases[i].Env = noon
	}
	checktest.Run(t, statuspage.Statuspage, cases)
	checktest.Page(t, statuspage.Statuspage)
}

func TestAMaintenanceFromPlanToEnd(t *testing.T) {
	s, e := newSite(t), checktest.NewEnv(t)
	noon(e)
	run := func(params string, class string) {
		t.Helper()
		inst := decode(t, s.params(params))
		if got := fmt.Sprint(inst.Traits.Holds, "/", inst.Traits.Releases, "/", inst.Traits.Undo != ""); got != class || inst.Traits.Class != check.Probed || inst.Traits.Effect != check.Message {
			t.Errorf("%s: %s, %+v", params, got, inst.Traits)
		}
		if got, _, err := inst.Prober().Probe(t.Context(), e); err != nil || got != check.NotDone {
			t.Errorf("%s: %s, %v", params, got, err)
		}
		before := s.made
		s.lose = true
		if o, err := inst.Runner.Run(t.Context(), e); err == nil {
			t.Errorf("%s: an answer that did not come is no error: %v", params, o)
		}
		if got, _, err := inst.Prober().Probe(t.Context(), e); err != nil || got != check.Done {
			t.Errorf("%s: %s, %v", params, got, err)
		}
		if o, err := inst.Runner.Run(t.Context(), e); err != nil || o.Verdict != check.Pass || s.made != before+1 {
			t.Errorf("%s: %v, %v, %d changes", params, o, err, s.made-before)
		}
	}
	run(planning, "//true")
	run("do: start", "statuspage//true")
	if got := fmt.Sprint(s.incidents[0]["component_states"]); got != "map[web1:under_maintenance]" {
		t.Error(got)
	}
	run(`do: update, text: "Half done.", notify: false`, "//false")
	run("do: complete", "/statuspage/false")
	if got := fmt.Sprint(s.incidents[0]["component_states"]); got != "map[web1:operational]" {
		t.Error(got)
	}
	if s.told != 3 || len(s.incidents) != 1 {
		t.Errorf("%d told, %d incidents", s.told, len(s.incidents))
	}
	if said, err := decode(t, s.params(planning)).Runner.(check.Examiner).Examine(t.Context(), e); err != nil || s.made != 4 {
		t.Errorf("%s, %v", said, err)
	}
	if _, err := decode(t, s.params("do: start, components: x1")).Runner.(check.Examiner).Examine(t.Context(), e); err == nil {
		t.Error("a component that is not there is not told")
	}
}

func TestUndo(t *testing.T) {
	s, e := newSite(t), checktest.NewEnv(t)
	noon(e)
	undo := func(params, want string) {
		t.Helper()
		o, err := decode(t, s.params(params)).Undoer().Undo(t.Context(), e, check.Outcome{})
		if err != nil {
			o.Reason = "error: " + err.Error()
		}
		checktest.Match(t, want, o.Reason)
	}
	do := func(params string) {
		t.Helper()
		if o, err := decode(t, s.params(params)).Runner.Run(t.Context(), e); err != nil || o.Verdict != check.Pass {
			t.Errorf("%v, %v", o, err)
		}
	}
	undo(planning, "there is no maintenance of this run on the page")
	do(planning)
	undo(planning, "maintenance inc1 (...) is completed")
	undo(planning, "maintenance inc1 (...) is completed already")
	if got := fmt.Sprint(s.incidents[0]["incident_updates"]); !strings.Contains(got, "The maintenance is called off.") {
		t.Error(got)
	}
	e.Run.ID = "r-2"
	do(planning)
	do("do: start")
	undo("do: start", "maintenance inc2 (...) is completed")
	undo("do: complete", "error: what people have read is not taken back")
	e.Run.ID = "r-3"
	s.put("hand", "Maintenance of tulia (test)", "scheduled", "2026-03-01T11:00:00Z", map[string]any{"scheduled_for": "2026-03-01T22:00:00Z", "scheduled_until": "2026-03-02T00:00:00Z"})
	undo(planning, "maintenance hand (...)...; somebody else scheduled it, so it stays")
}

func TestAnAnswerThatShowsNoChangeIsNoSuccess(t *testing.T) {
	s, e := newSite(t), checktest.NewEnv(t)
	noon(e)
	s.put("m1", "Maintenance of tulia (test)", "scheduled", "2026-03-01T11:00:00Z", map[string]any{"scheduled_for": "2026-03-01T22:00:00Z", "scheduled_until": "2026-03-01T23:00:00Z"})
	s.deaf = true
	for params, want := range map[string]string{"do: start": `not this maintenance as in_progress: id "m1", status "scheduled"`, planning: "another window than was sent"} {
		if o, err := decode(t, s.params(params)).Runner.Run(t.Context(), e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", params, o, err)
		}
	}
}

func TestTheListIsReadUntilItIsTooOld(t *testing.T) {
	e := checktest.NewEnv(t)
	noon(e)
	for created, want := range map[string]int{"2026-02-28T00:00:00Z": 3, "2025-01-01T00:00:00Z": 1} {
		s := newSite(t)
		for n := range 250 {
			s.put(fmt.Sprintf("i%d", n), "x", "resolved", created, nil)
		}
		o, err := decode(t, s.params("do: start")).Runner.Run(t.Context(), e)
		if err != nil || o.Verdict != check.Fail || len(s.Calls()) != want {
			t.Errorf("%s: %v, %v, %d requests, want %d", created, o, err, len(s.Calls()), want)
		}
	}
}

func TestEveryRequestMayFail(t *testing.T) {
	s, e := newSite(t), checktest.NewEnv(t)
	noon(e)
	run := func(params string) func(context.Context) error {
		inst := decode(t, s.params(params))
		return func(ctx context.Context) error {
			o, err := inst.Runner.Run(ctx, e)
			if err == nil && o.Verdict != check.Pass {
				return errors.New(o.Reason)
			}
			return err
		}
	}
	s.EachFault(3, run(planning), func() { s.incidents = nil })
	plan := run(planning)
	s.EachFault(2, run("do: start"), func() {
		s.Fail(nil)
		s.incidents = nil
		if err := plan(t.Context()); err != nil {
			t.Error(err)
		}
	})
	s.FailAt(1, resttest.JSON(420, `{"error":"enhance your calm"}`))
	_, err := decode(t, s.params("do: start")).Runner.Run(t.Context(), e)
	if _, ok := errors.AsType[*check.RetryLater](err); !ok {
		t.Errorf("%v", err)
	}
}
