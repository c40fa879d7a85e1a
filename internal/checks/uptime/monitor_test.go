package uptime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/uptime"
	"allclear.dev/allclear/internal/rest/resttest"
)

const token = "ur-very-secret-key"

// watch is a monitor at any of the providers.
type watch struct {
	id           int
	name, url    string
	state        string
	interval     int
	keyword      string
	contacts     int
	kind, policy string
}

// vendor is a provider with these monitors, two on a page.
type vendor struct {
	*resttest.Fake
	name    string
	watches []*watch
	// deaf takes changes and does not make them.
	deaf bool
	set  []string
}

func shop() []*watch {
	return []*watch{
		{id: 1, name: "blog", url: "https://blog.example.com/", state: "up", interval: 60, contacts: 1},
		{id: 2, name: "api", url: "https://api.example.com/", state: "up", interval: 60, contacts: 1},
		{id: 3, name: "shop", url: "https://Shop.example.com:443/health/", state: "up", interval: 60, keyword: "ok", contacts: 2},
	}
}

func (v *vendor) page(r *http.Request, key string) ([]*watch, int) {
	from := 0
	if n, err := strconv.Atoi(r.URL.Query().Get(key)); err == nil {
		from = n
	}
	return v.watches[min(from, len(v.watches)):min(from+2, len(v.watches))], from + 2
}

func (v *vendor) change(w http.ResponseWriter, r *http.Request, pause bool, answer string) {
	for _, m := range v.watches {
		if r.PathValue("id") == strconv.Itoa(m.id) {
			v.set = append(v.set, fmt.Sprintf("%d %t", m.id, pause))
			if !v.deaf {
				m.state = map[bool]string{true: "paused", false: "up"}[pause]
			}
			resttest.JSON(200, answer)(w, r)
			return
		}
	}
	resttest.JSON(404, `{"message":"Monitor not found"}`)(w, r)
}

func wantsPause(r *http.Request) bool {
	var change struct{ Paused bool }
	text, _ := io.ReadAll(r.Body)
	return json.Unmarshal(text, &change) == nil && change.Paused
}

func bearer() http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func robot(t *testing.T, watches ...*watch) *vendor {
	const docs = "https://uptimerobot.com/api/v3/"
	v := &vendor{name: "uptimerobot", watches: watches}
	words := map[string]string{"up": "UP", "down": "DOWN", "paused": "PAUSED", "pending": "NOT_CHECKED_YET"}
	v.Fake = resttest.New(t, bearer(),
		resttest.Route{Method: "GET", Path: "/monitors", Docs: docs, Query: []string{"cursor", "limit", "name", "url", "groupId", "status", "tags"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			page, next := v.page(r, "cursor")
			var out []string
			for _, m := range page {
				contacts := strings.TrimSuffix(strings.Repeat(`{"alertContactId":7,"threshold":0,"recurrence":0},`, m.contacts), ",")
				state, known := words[m.state]
				if !known {
					state = m.state
				}
				out = append(out, fmt.Sprintf(`{"id":%d,"friendlyName":%q,"url":%q,"status":%q,"interval":%d,"keywordValue":%q,"assignedAlertContacts":[%s],"type":"HTTP"}`, m.id, m.name, m.url, state, m.interval, m.keyword, contacts))
			}
			link := "null"
			if next < len(v.watches) {
				link = fmt.Sprintf(`"https://api.uptimerobot.com/v3/monitors?cursor=%d"`, next)
			}
			resttest.JSON(200, fmt.Sprintf(`{"data":[%s],"nextLink":%s}`, strings.Join(out, ","), link))(w, r)
		}},
		resttest.Route{Method: "POST", Path: "/monitors/{id}/pause", Docs: docs, Body: []string{}, Answer: func(w http.ResponseWriter, r *http.Request) { v.change(w, r, true, `{}`) }},
		resttest.Route{Method: "POST", Path: "/monitors/{id}/start", Docs: docs, Body: []string{}, Answer: func(w http.ResponseWriter, r *http.Request) { v.change(w, r, false, `{}`) }},
	)
	return v
}

func better(t *testing.T, watches ...*watch) *vendor {
	v := &vendor{name: "betterstack", watches: watches}
	v.Fake = resttest.New(t, bearer(),
		resttest.Route{Method: "GET", Path: "/api/v2/monitors", Docs: "https://betterstack.com/docs/uptime/api/list-all-existing-monitors", Query: []string{"per_page", "page", "url", "pronounceable_name"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			number, _ := strconv.Atoi(r.URL.Query().Get("page"))
			from := 2 * (number - 1)
			var out []string
			for _, m := range v.watches[min(from, len(v.watches)):min(from+2, len(v.watches))] {
				policy := "null"
				if m.policy != "" {
					policy = strconv.Quote(m.policy)
				}
				out = append(out, fmt.Sprintf(`{"id":"%d","type":"monitor","attributes":{"url":%q,"pronounceable_name":%q,"status":%q,"check_frequency":%d,"required_keyword":%q,"policy_id":%s,"call":%t,"sms":false,"email":%t,"push":false,"last_checked_at":"2026-03-01T12:00:00.000Z"}}`, m.id, m.url, m.name, m.state, m.interval, m.keyword, policy, m.contacts > 1, m.contacts > 0))
			}
			link := "null"
			if from+2 < len(v.watches) {
				link = fmt.Sprintf(`"https://uptime.betterstack.com/api/v2/monitors?page=%d"`, number+1)
			}
			resttest.JSON(200, fmt.Sprintf(`{"data":[%s],"pagination":{"first":"x","last":"x","prev":null,"next":%s}}`, strings.Join(out, ","), link))(w, r)
		}},
		resttest.Route{Method: "PATCH", Path: "/api/v2/monitors/{id}", Docs: "https://betterstack.com/docs/uptime/api/update-an-existing-monitor/", Body: []string{"paused"}, Needs: []string{"paused"}, Answer: func(w http.ResponseWriter, r *http.Request) { v.change(w, r, wantsPause(r), `{"data":{}}`) }},
	)
	return v
}

func pingdom(t *testing.T, watches ...*watch) *vendor {
	const docs = "https://docs.pingdom.com/api/#tag/Checks"
	v := &vendor{name: "pingdom", watches: watches}
	v.Fake = resttest.New(t, bearer(),
		resttest.Route{Method: "GET", Path: "/api/3.1/checks", Docs: docs, Query: []string{"limit", "offset", "showencryption", "include_tags", "include_severity", "tags"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			var out []string
			for _, m := range v.watches {
				out = append(out, fmt.Sprintf(`{"id":%d,"name":%q,"hostname":%q,"status":%q,"type":"http"}`, m.id, m.name, host(m.url), m.state))
			}
			resttest.JSON(200, fmt.Sprintf(`{"checks":[%s],"counts":{"total":%d}}`, strings.Join(out, ","), len(out)))(w, r)
		}},
		resttest.Route{Method: "GET", Path: "/api/3.1/checks/{id}", Docs: docs, Query: []string{"include_teams"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			for _, m := range v.watches {
				if r.PathValue("id") != strconv.Itoa(m.id) {
					continue
				}
				kind := fmt.Sprintf(`"http":{"url":"/health","encryption":true,"port":443,"shouldcontain":%q}`, m.keyword)
				if m.kind != "" {
					kind = fmt.Sprintf(`%q:{}`, m.kind)
				}
				users := strings.TrimSuffix(strings.Repeat("5,", m.contacts), ",")
				resttest.JSON(200, fmt.Sprintf(`{"check":{"id":%d,"name":%q,"hostname":%q,"status":%q,"resolution":%d,"lasttesttime":1772366400,"type":{%s},"userids":[%s],"integrationids":[]}}`, m.id, m.name, host(m.url), m.state, m.interval/60, kind, users))(w, r)
				return
			}
			resttest.JSON(404, `{"error":{"statuscode":404,"errormessage":"Invalid check identifier"}}`)(w, r)
		}},
		resttest.Route{Method: "PUT", Path: "/api/3.1/checks/{id}", Docs: docs, Body: []string{"paused"}, Needs: []string{"paused"}, Answer: func(w http.ResponseWriter, r *http.Request) {
			v.change(w, r, wantsPause(r), `{"message":"Modification of check was successful!"}`)
		}},
	)
	return v
}

func host(address string) string {
	name := strings.TrimPrefix(address, "https://")
	name, _, _ = strings.Cut(name, "/")
	name, _, _ = strings.Cut(name, ":")
	return strings.ToLower(name)
}

const scraped = `# HELP monitor_status Monitor Status (1 = UP, 0= DOWN, 2= PENDING, 3= MAINTENANCE)
# TYPE monitor_status gauge
monitor_status{monitor_id="9",monitor_name="The \"blog\"",monitor_type="http",monitor_url="https://blog.example.com",monitor_hostname="null",monitor_port="null"} 0
monitor_status{monitor_id="8",monitor_name="shop",monitor_type="keyword",monitor_url="https://shop.example.com/health",monitor_hostname="null",monitor_port="null"} 1
# TYPE monitor_response_time gauge
monitor_response_time{monitor_id="8",monitor_name="shop"} 33
`

func kuma(t *testing.T, text string) *vendor {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth("", token)
	return &vendor{name: "kuma", Fake: resttest.New(t, r.Header, resttest.Route{Method: "GET", Path: "/metrics", Docs: "https://github.com/louislam/uptime-kuma/wiki/Prometheus-Integration",
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = io.WriteString(w, text)
		}})}
}

func (v *vendor) params(more string) string {
	if v.name == "kuma" {
		more = "max_interval: 0s, contacts: 0, " + more
	}
	return fmt.Sprintf("{provider: %s, api: %q, token: env:KEY, url: 'https://shop.example.com/health', %s}", v.name, v.URL, more)
}

func env(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:KEY": token, "env:EMPTY": " "})
}

func TestWatched(t *testing.T) {
	with := func(change func(*watch)) *vendor {
		list := shop()
		change(list[2])
		return robot(t, list...)
	}
	down := kuma(t, strings.Replace(scraped, `port="null"} 1`, `port="null"} 0`, 1))
	second := append(shop(), &watch{id: 4, name: "shop 2", url: "https://shop.example.com/health", state: "paused", interval: 60, contacts: 1})
	cases := []checktest.Case{
		{Name: "UptimeRobot", Params: robot(t, shop()...).params("keyword: ok"), Want: `pass: monitor 3 (shop) watches https://shop.example.com/health: every 1m0s, looks for "ok", tells 2 contacts`, Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["monitor"] != "3" || o.Facts["state"] != "UP" || o.Facts["interval"] != "1m0s" || o.Facts["contacts"] != "2" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "Better Stack", Params: better(t, shop()...).params("contacts: 2"), Want: "pass: monitor 3 (shop) watches ...: every 1m0s, tells 2 contacts", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["last_check"] != "2026-03-01T12:00:00.000Z" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "a policy", Params: better(t, &watch{id: 3, name: "shop", url: "https://shop.example.com/health", state: "up", interval: 30, policy: "12"}).params(""), Want: "pass: ...every 30s, tells 1 contact"},
		{Name: "Pingdom", Params: pingdom(t, shop()...).params("keyword: ok"), Want: "pass: monitor 3 (shop) watches ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["last_check"] != "2026-03-01T12:00:00Z" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "Pingdom, another kind", Params: pingdom(t, &watch{id: 3, url: "https://shop.example.com/", state: "up", kind: "ping"}).params(""), Want: "fail: none of the 1 monitors at Pingdom watches ..."},
		{Name: "Uptime Kuma", Params: kuma(t, scraped).params(""), Want: "pass: monitor 8 (shop) watches https://shop.example.com/health"},
		{Name: "Uptime Kuma, down", Params: down.params(""), Want: "fail: monitor 8 (shop) says down"},
		{Name: "Uptime Kuma, in maintenance", Params: kuma(t, strings.Replace(scraped, `port="null"} 1`, `port="null"} 3`, 1)).params(""), Want: "error: monitor 8 (shop) says maintenance, from which nothing follows yet"},
		{Name: "Uptime Kuma, no number", Params: kuma(t, strings.Replace(scraped, `port="null"} 1`, `port="null"} NaN`, 1)).params(""), Want: `error: monitor "shop": unknown state "NaN"`},
		{Name: "Uptime Kuma, cut", Params: kuma(t, scraped[:len(scraped)-1]).params(""), Want: "error: ...not its whole list..."},
		{Name: "Uptime Kuma, cut in a line", Params: kuma(t, scraped[:300]).params(""), Want: "error: ...cut or malformed..."},
		{Name: "Uptime Kuma, other metrics", Params: kuma(t, "up 1\n").params(""), Want: "error: ...not its whole list..."},
		{Name: "Uptime Kuma, no monitors", Params: kuma(t, "# TYPE monitor_status gauge\n").params(""), Want: "error: Uptime Kuma lists no monitors at all..."},
		{Name: "down", Params: with(func(w *watch) { w.state = "down" }).params(""), Want: "fail: monitor 3 (shop) says DOWN"},
		{Name: "paused", Params: with(func(w *watch) { w.state = "paused" }).params(""), Want: "fail: monitor 3 (shop) is paused"},
		{Name: "not looked yet", Params: with(func(w *watch) { w.state = "pending" }).params(""), Want: "error: monitor 3 (shop) says NOT_CHECKED_YET..."},
		{Name: "a new word", Params: with(func(w *watch) { w.state = "BLESSED" }).params(""), Want: `error: ...unknown state "BLESSED"`},
		{Name: "too seldom", Params: with(func(w *watch) { w.interval = 3600 }).params(""), Want: "fail: monitor 3 (shop) looks every 1h0m0s, less often than every 5m0s"},
		{Name: "no interval told", Params: with(func(w *watch) { w.interval = 0 }).params(""), Want: "error: the answer does not say how often monitor 3 (shop) looks"},
		{Name: "another keyword", Params: robot(t, shop()...).params("keyword: fine"), Want: `fail: monitor 3 (shop) does not look for "fine"`},
		{Name: "nobody is told", Params: with(func(w *watch) { w.contacts, w.state = 0, "paused" }).params(""), Want: "fail: monitor 3 (shop) is paused, tells 0 contacts, fewer than 1"},
		{Name: "one of two", Params: robot(t, second...).params(""), Want: "pass: monitor 3 (shop) ..."},
		{Name: "that of the name", Params: robot(t, second...).params("name: shop 2"), Want: "fail: monitor 4 (shop 2) is paused"},
		{Name: "no such name", Params: robot(t, second...).params("name: other"), Want: "fail: none of the 4 monitors at UptimeRobot watches https://shop.example.com/health under the name other"},
		{Name: "another path", Params: with(func(w *watch) { w.url = "https://shop.example.com/" }).params(""), Want: "fail: none of the 3 monitors ..."},
		{Name: "nothing at all", Params: robot(t).params(""), Want: "error: UptimeRobot lists no monitors at all..."},
		{Name: "no token", Params: strings.ReplaceAll(robot(t).params(""), "env:KEY", "env:EMPTY"), Want: "error: the token env:EMPTY is not one line of text"},
		{Name: "Uptime Kuma does not pause", Params: kuma(t, scraped).params("do: pause"), Want: "problem: ...no API that pauses..."},
		{Name: "Uptime Kuma tells no contacts", Params: "{provider: kuma, api: 'https://status.example.com', url: 'https://shop.example.com'}", Want: "problem: ...write max_interval: 0s and contacts: 0..."},
		{Name: "Uptime Kuma has no address", Params: "{provider: kuma, url: 'https://shop.example.com'}", Want: "problem: ...api: ..."},
		{Name: "no address", Params: "{provider: pingdom, url: shop}", Want: "problem: ...url: want a whole address..."},
		{Name: "contacts below zero", Params: robot(t).params("contacts: -1"), Want: "problem: ...must not be negative..."},
		{Name: "no resource", Params: robot(t).params("holds: ' '"), Want: "problem: ...holds: ..."},
	}
	for i := range cases {
		cases[i].Env = env
	}
	checktest.Run(t, uptime.Monitor, cases)
	checktest.Page(t, uptime.Monitor)
}

func decode(t *testing.T, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(uptime.Monitor, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	return inst
}

func passes(ctx context.Context, inst *check.Instance, e *check.Env) error {
	o, err := inst.Runner.Run(ctx, e)
	if err == nil && o.Verdict != check.Pass {
		return errors.New(o.Reason)
	}
	return err
}

func TestEveryRequestMayFail(t *testing.T) {
	e := checktest.NewEnv(t)
	env(e)
	for _, v := range []*vendor{robot(t, shop()...), better(t, shop()...), pingdom(t, shop()...), kuma(t, scraped)} {
		inst := decode(t, v.params(""))
		v.EachFault(map[bool]int{true: 1, false: 2}[v.name == "kuma"], func(ctx context.Context) error { return passes(ctx, inst, e) }, nil)
		if v.name == "kuma" {
			continue
		}
		off := decode(t, v.params("do: pause"))
		v.EachFault(4, func(ctx context.Context) error { return passes(ctx, off, e) }, func() { v.watches = shop() })
	}
}

func TestPauseAndResume(t *testing.T) {
	for _, v := range []*vendor{robot(t, shop()...), better(t, shop()...), pingdom(t, shop()...)} {
		v.watches = append(v.watches, &watch{id: 4, name: "shop 2", url: "https://shop.example.com/health", state: "paused", interval: 60, contacts: 1})
		e := checktest.NewEnv(t)
		env(e)
		ledger := &checktest.Ledger{Facts: map[string]string{}}
		e.Ledger = ledger
		off, on := decode(t, v.params("do: pause")), decode(t, v.params("do: resume"))
		if off.Traits.Holds != "monitors" || on.Traits.Releases != "monitors" || off.Traits.Kind != check.Action || off.Traits.Class != check.Idempotent || off.Traits.Undo == "" {
			t.Errorf("%+v %+v", off.Traits, on.Traits)
		}
		progress(t, e, off, check.Partly)
		if said, err := off.Runner.(check.Examiner).Examine(t.Context(), e); err != nil || !strings.Contains(said, "monitor 3 (shop), monitor 4 (shop 2)") || len(v.set) > 0 {
			t.Errorf("%s, %v, %v", said, err, v.set)
		}
		for range 2 {
			o, err := off.Runner.Run(t.Context(), e)
			checktest.Match(t, "2 monitors are paused: monitor 3 (shop), monitor 4 (shop 2); 1 of them before this run, and is not resumed by it", o.Reason)
			if err != nil || o.Sets["monitors.paused"] != "3" {
				t.Errorf("%v, %v", o, err)
			}
			ledger.Facts["monitors.paused"] = o.Sets["monitors.paused"]
		}
		progress(t, e, off, check.Done)
		progress(t, e, on, check.NotDone)
		e.Run.Item = "another.item"
		for range 2 {
			o, err := on.Runner.Run(t.Context(), e)
			checktest.Match(t, "1 monitor is watching again: monitor 3 (shop); paused before this run, and left so: monitor 4 (shop 2)", o.Reason)
			if err != nil || o.Verdict != check.Pass {
				t.Errorf("%v, %v", o, err)
			}
		}
		progress(t, e, on, check.Done)
		if got := strings.Join(v.set, ", "); got != "3 true, 3 false" {
			t.Errorf("%s: %s", v.name, got)
		}
	}
}

// Two items pause what watches two addresses. The fact holds what the last of them
// left; each resume finds its own all the same.
func TestTwoPausesInARun(t *testing.T) {
	v, e := robot(t, shop()...), checktest.NewEnv(t)
	env(e)
	run := func(item, more, url, want string) check.Outcome {
		t.Helper()
		e.Run.Item = item
		o, err := decode(t, strings.Replace(v.params(more), "https://shop.example.com/health", url, 1)).Runner.Run(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		checktest.Match(t, want, o.Reason)
		return o
	}
	first := run("a.pause", "do: pause", "https://shop.example.com/health", "1 monitor is paused: monitor 3 (shop)")
	second := run("b.pause", "do: pause", "https://api.example.com/", "1 monitor is paused: monitor 2 (api)")
	if first.Sets["monitors.paused"] != "3" || second.Sets["monitors.paused"] != "2,3" {
		t.Errorf("%v, %v", first.Sets, second.Sets)
	}
	e.Ledger = &checktest.Ledger{Facts: map[string]string{"monitors.paused": "2"}}
	run("a.resume", "do: resume", "https://shop.example.com/health", "1 monitor is watching again: monitor 3 (shop)")
	e.Run.Item = "b.pause"
	undone := decode(t, strings.Replace(v.params("do: pause"), "https://shop.example.com/health", "https://api.example.com/", 1))
	if o, err := undone.Undoer().Undo(t.Context(), e, check.Outcome{}); err != nil || o.Reason != "1 monitor is watching again: monitor 2 (api)" {
		t.Errorf("%+v, %v", o, err)
	}
}

func progress(t *testing.T, e *check.Env, inst *check.Instance, want check.Progress) {
	t.Helper()
	if got, o, err := inst.Prober().Probe(t.Context(), e); got != want || err != nil {
		t.Errorf("%s (%s), %v, want %s", got, o.Reason, err, want)
	}
}

func TestUndoResumesWhatWasPausedHere(t *testing.T) {
	v, e := robot(t, shop()...), checktest.NewEnv(t)
	env(e)
	off := decode(t, v.params("do: pause"))
	undo := func(want string) {
		t.Helper()
		o, err := off.Undoer().Undo(t.Context(), e, check.Outcome{})
		if err != nil {
			o.Reason = "error: " + err.Error()
		}
		checktest.Match(t, want, o.Reason)
	}
	undo("nothing was paused here, so nothing is resumed")
	v.FailAt(3, func(_ http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	if err := passes(t.Context(), off, e); err == nil {
		t.Error("an answer that did not come is no error")
	}
	v.watches[2].state = "paused" // it was taken all the same
	undo("1 monitor is watching again: monitor 3 (shop)")
	if v.watches[2].state != "up" {
		t.Error(v.watches[2].state)
	}
	v.deaf = true
	if err := passes(t.Context(), off, e); err == nil || !strings.Contains(err.Error(), "is not seen to be") {
		t.Errorf("%v", err)
	}
	v.deaf = false
	v.FailAt(3, resttest.JSON(403, `{"message":"read-only"}`))
	checktest.Match(t, "monitor 3 (shop) was not paused: UptimeRobot answered 403 ...", passes(t.Context(), off, e).Error())
	undo("nothing was paused here, so nothing is resumed")
	if err := passes(t.Context(), off, e); err != nil {
		t.Error(err)
	}
	v.watches[2].url = "https://elsewhere.example.com"
	undo("monitor 3 was paused here and does not watch https://shop.example.com/health any more...")
	if _, err := decode(t, v.params("do: resume")).Undoer().Undo(t.Context(), e, check.Outcome{}); err == nil {
		t.Error("resuming is taken back")
	}
}
