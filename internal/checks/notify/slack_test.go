package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/notify"
	"allclear.dev/allclear/internal/rest/resttest"
)

const token = "xoxb-0123456789-abcdef"

// workspace is Slack's Web API as its reference describes it.
type workspace struct {
	*resttest.Fake
	// refuse gives an error by method; reactions is the answer of reactions.get.
	refuse    map[string]string
	reactions string
}

func newWorkspace(t *testing.T) *workspace {
	w := &workspace{refuse: map[string]string{}, reactions: "[]"}
	answer := func(method, text string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			out := text
			if why := w.refuse[method]; why != "" {
				out = `{"ok":false,"error":"` + why + `"}`
			}
			resttest.JSON(200, out)(rw, r)
		}
	}
	w.Fake = resttest.New(t, http.Header{"Authorization": {"Bearer " + token}},
		resttest.Route{Method: "POST", Path: "/auth.test", Docs: "https://docs.slack.dev/reference/methods/auth.test", Body: []string{"token"},
			Answer: answer("auth.test", `{"ok":true,"url":"https://acme.slack.com/","team":"Acme","user":"allclear","team_id":"T1","user_id":"U0BOT","bot_id":"B1"}`)},
		resttest.Route{Method: "POST", Path: "/chat.postMessage", Docs: "https://docs.slack.dev/reference/methods/chat.postMessage",
			Body: []string{"channel", "text", "unfurl_links", "unfurl_media", "metadata", "thread_ts", "blocks", "mrkdwn"}, Needs: []string{"channel", "text"},
			Answer: answer("chat.postMessage", `{"ok":true,"channel":"C0123456","ts":"1503435956.000247","message":{"text":"x"}}`)},
		resttest.Route{Method: "GET", Path: "/chat.getPermalink", Docs: "https://docs.slack.dev/reference/methods/chat.getPermalink",
			Query: []string{"channel", "message_ts"}, Needs: []string{"channel", "message_ts"},
			Answer: answer("chat.getPermalink", `{"ok":true,"channel":"C0123456","permalink":"https://acme.slack.com/archives/C0123456/p1503435956000247"}`)},
		resttest.Route{Method: "GET", Path: "/reactions.get", Docs: "https://docs.slack.dev/reference/methods/reactions.get",
			Query: []string{"channel", "timestamp", "full"}, Needs: []string{"channel", "timestamp"},
			Answer: func(rw http.ResponseWriter, r *http.Request) {
				answer("reactions.get", `{"ok":true,"type":"message","channel":"C0123456","message":{"ts":"1503435956.000247","reactions":`+w.reactions+`}}`)(rw, r)
			}},
		resttest.Route{Method: "GET", Path: "/users.lookupByEmail", Docs: "https://docs.slack.dev/reference/methods/users.lookupByEmail",
			Query: []string{"email"}, Needs: []string{"email"},
			Answer: func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("email") != "ana@tulia.test" {
					resttest.JSON(200, `{"ok":false,"error":"users_not_found"}`)(rw, r)
					return
				}
				answer("users.lookupByEmail", `{"ok":true,"user":{"id":"U0ANA","name":"ana"}}`)(rw, r)
			}},
	)
	return w
}

func (w *workspace) count(path string) int {
	n := 0
	for _, c := range w.Calls() {
		n += map[bool]int{true: 1}[c.Path == path]
	}
	return n
}

// to gives the parameters for one channel and what follows.
func (w *workspace) to(more string) string {
	return "to: ['slack:#deploys']\nslack: {api: '" + w.URL + "'}\n" + more
}

func inSlack(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:SLACK_BOT_TOKEN": token})
}

// attempt runs an instance and gives what it said.
func attempt(ctx context.Context, t *testing.T, inst *check.Instance, e *check.Env) (string, check.Outcome) {
	t.Helper()
	o, err := inst.Runner.Run(ctx, e)
	if err != nil {
		return "error: " + err.Error(), o
	}
	return string(o.Verdict) + ": " + o.Reason, o
}

func probed(t *testing.T, inst *check.Instance, e *check.Env) string {
	t.Helper()
	progress, o, err := inst.Prober().Probe(t.Context(), e)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(progress) + ": " + o.Reason
}

func decode(t *testing.T, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(notify.Notify, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	return inst
}

func TestSlack(t *testing.T) {
	w, e := newWorkspace(t), checktest.NewEnv(t)
	inSlack(e)
	inst := decode(t, w.to("template: start\ntext: 'See <docs> & <!channel>'"))
	if tr := inst.Traits; tr.Kind != check.Action || tr.Class != check.Probed || !strings.Contains(tr.Does, "slack:#deploys: template start, “See <docs>") {
		t.Errorf("traits %+v", tr)
	}
	if text, err := inst.Runner.(check.Examiner).Examine(t.Context(), e); err != nil || w.count("/chat.postMessage") > 0 ||
		!strings.Contains(text, "told by allclear in Acme") || !strings.Contains(text, "Deployment of tulia 1.2.3 to test started by eve") {
		t.Errorf("examined %q, %v", text, err)
	}
	checktest.Match(t, "not_done: ...", probed(t, inst, e))
	for range 3 {
		got, o := attempt(t.Context(), t, inst, e)
		checktest.Match(t, "pass: slack:#deploys took the message", got)
		if o.Facts["channel.slack:#deploys"] != "C0123456" || o.Facts["ts.slack:#deploys"] != "1503435956.000247" || o.Facts["team.slack:#deploys"] != "Acme" ||
			!strings.HasPrefix(o.Facts["permalink.slack:#deploys"], "https://acme.slack.com/archives/") {
			t.Errorf("facts %v", o.Facts)
		}
	}
	checktest.Match(t, "done: ...", probed(t, inst, e))
	if n := w.count("/chat.postMessage"); n != 1 {
		t.Fatalf("people were told %d times", n)
	}
	for _, c := range w.Calls() {
		if c.Path != "/chat.postMessage" {
			continue
		}
		var body struct {
			Channel, Text string
			Metadata      struct {
				Payload map[string]string `json:"event_payload"`
			}
		}
		if err := json.Unmarshal(c.Body, &body); err != nil || body.Channel != "#deploys" || body.Metadata.Payload["item"] != "an.item" ||
			!strings.HasSuffix(body.Text, "See &lt;docs&gt; &amp; &lt;!channel&gt;") {
			t.Errorf("body %s, %v", c.Body, err)
		}
	}
	e.Run.ID = "r-2"
	if _, _ = attempt(t.Context(), t, inst, e); w.count("/chat.postMessage") != 2 {
		t.Error("another run tells nobody")
	}
	// Without the link the message is there all the same.
	w.refuse["chat.getPermalink"], e.Run.ID = "message_not_found", "r-3"
	got, o := attempt(t.Context(), t, inst, e)
	checktest.Match(t, "pass: ...", got)
	checktest.Match(t, "not known: ...message_not_found...", o.Facts["permalink.slack:#deploys"])
}

func TestSlackRefuses(t *testing.T) {
	w, e := newWorkspace(t), checktest.NewEnv(t)
	inSlack(e)
	inst := decode(t, w.to("text: x"))
	for i, c := range []struct{ method, why, want, probe string }{
		{"auth.test", "invalid_auth", "fail: ...did not take it: Slack answered invalid_auth to auth.test (is the token right?)", "not_done: ..."},
		{"auth.test", "internal_error", "error: ...internal_error...", "not_done: ..."},
		{"chat.postMessage", "not_in_channel", "fail: ...not_in_channel...(invite the app to the channel)", "not_done: ..."},
		{"chat.postMessage", "is_archived", "fail: ...is_archived...", "not_done: ..."},
		{"chat.postMessage", "ratelimited", "error: ...ratelimited...", "not_done: ..."},
		{"chat.postMessage", "fatal_error", "error: ...fatal_error...is not known", "error: whether slack:#deploys took the message is not known: ..."},
	} {
		w.refuse = map[string]string{c.method: c.why}
		e.Run.ID = "r-" + string(rune('a'+i))
		got, _ := attempt(t.Context(), t, inst, e)
		checktest.Match(t, c.want, got)
		checktest.Match(t, c.probe, probed(t, inst, e))
	}
	// A person has looked: the message was not there, and is sent now.
	w.refuse = map[string]string{}
	got, _ := attempt(t.Context(), t, inst, e)
	checktest.Match(t, "pass: ...", got)
}

// faulty runs an instance against every way not to answer: none is ever a pass,
// and only those that are certain refusals are a fail.
func faulty(t *testing.T, f *resttest.Fake, e *check.Env, inst *check.Instance, certain ...string) {
	t.Helper()
	for _, fault := range resttest.Faults() {
		f.Fail(fault.Answer)
		e.Run.ID = "r-" + fault.Name
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		got, _ := attempt(ctx, t, inst, e)
		cancel()
		want := "error: "
		if slices.Contains(certain, fault.Name) {
			want = "fail: "
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", fault.Name, got)
		}
		if strings.Contains(got, token) {
			t.Errorf("%s shows the token: %s", fault.Name, got)
		}
		if probe := probed(t, inst, e); strings.HasPrefix(probe, "done") {
			t.Errorf("%s: the probe says %s", fault.Name, probe)
		}
	}
	f.Fail(nil)
}

func TestSlackFaults(t *testing.T) {
	w, e := newWorkspace(t), checktest.NewEnv(t)
	inSlack(e)
	faulty(t, w.Fake, e, decode(t, w.to("text: x")), "401", "403")
	// The same after auth.test has answered.
	for _, fault := range resttest.Faults() {
		w.Fail(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/auth.test" {
				_, _ = io.WriteString(rw, `{"ok":true,"user_id":"U0BOT"}`)
				return
			}
			fault.Answer(rw, r)
		})
		e.Run.ID = "r-later " + fault.Name
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		got, _ := attempt(ctx, t, decode(t, w.to("text: x")), e)
		cancel()
		if strings.HasPrefix(got, "pass") {
			t.Errorf("%s: %s", fault.Name, got)
		}
	}
}

// TestAcks proves that a role counts when one of its people has reacted, that the
// item's time ends the waiting, and that the message is not sent again then.
func TestAcks(t *testing.T) {
	w, e := newWorkspace(t), checktest.NewEnv(t)
	inSlack(e)
	inst := decode(t, w.to("text: x\nack_roles: {dba: 'bob@tulia.test, ana@tulia.test', on-call: [U0EVE1]}"))
	if inst.Traits.Class != check.Probed {
		t.Errorf("class %s", inst.Traits.Class)
	}
	got, _ := attempt(t.Context(), t, inst, e)
	checktest.Match(t, "error: the message was taken; look for reactions: find bob@tulia.test of dba: Slack answered users_not_found...", got)

	inst = decode(t, w.to("text: x\nack_roles: {dba: ana@tulia.test, on-call: [U0EVE1]}"))
	ctx, cancel := context.WithCancelCause(t.Context())
	looks := 0
	e.Sleep = func(ctx context.Context, d time.Duration) error {
		switch looks++; looks {
		case 1:
			w.reactions = `[{"name":"eyes","count":1,"users":["U0ANA"]},{"name":"+1::skin-tone-3","count":1,"users":["U0EVE1"]}]`
		case 2:
			cancel(errors.New("no answer within 30m"))
		}
		return context.Cause(ctx)
	}
	got, _ = attempt(ctx, t, inst, e)
	checktest.Match(t, "error: the message was taken, and nobody has reacted for dba: no answer within 30m", got)
	checktest.Match(t, "partly: the message was taken, and nobody has reacted for dba", probed(t, inst, e))
	w.reactions = `[{"name":"white_check_mark","count":2,"users":["U0ANA","U0EVE1"]}]`
	checktest.Match(t, "done: ...", probed(t, inst, e))
	got, o := attempt(t.Context(), t, inst, e)
	checktest.Match(t, "pass: ...; somebody has reacted for dba, on-call", got)
	if o.Facts["ack.dba"] != "ana@tulia.test" || o.Facts["ack.on-call"] != "U0EVE1" || w.count("/chat.postMessage") != 1 {
		t.Errorf("facts %v, %d messages", o.Facts, w.count("/chat.postMessage"))
	}
	for _, fault := range resttest.Faults() {
		w.Fail(fault.Answer)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if progress, _, err := inst.Prober().Probe(ctx, e); err == nil {
			t.Errorf("%s: the probe says %s", fault.Name, progress)
		}
		cancel()
	}
}
