package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/rest/resttest"
)

const routingKey = "0123456789abcdef0123456789abcdef"

const (
	alertDocs  = "https://developer.pagerduty.com/docs/send-alert-event"
	changeDocs = "https://developer.pagerduty.com/docs/send-change-event"
	slackHook  = "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"
	teamsHook  = "https://support.microsoft.com/office/create-incoming-webhooks-with-workflows-for-microsoft-teams-8ae491c7-0394-4861-ba59-055e33f75498"
)

// pagerDuty is the Events API as its documentation describes it.
func pagerDuty(t *testing.T) *resttest.Fake {
	return resttest.New(t, nil,
		resttest.Route{Method: "POST", Path: "/v2/enqueue", Docs: alertDocs, Needs: []string{"routing_key", "event_action"},
			Body: []string{"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				var e struct {
					Action  string                     `json:"event_action"`
					Key     string                     `json:"dedup_key"`
					Payload map[string]json.RawMessage `json:"payload"`
				}
				text, _ := io.ReadAll(r.Body)
				if json.Unmarshal(text, &e) != nil || e.Action == "trigger" && (e.Payload["summary"] == nil || e.Payload["source"] == nil || e.Payload["severity"] == nil) || e.Action != "trigger" && e.Key == "" {
					resttest.JSON(400, `{"status":"invalid event","message":"Event object is invalid","errors":["payload is missing"]}`)(w, r)
					return
				}
				resttest.JSON(202, `{"status":"success","message":"Event processed","dedup_key":"`+e.Key+`"}`)(w, r)
			}},
		resttest.Route{Method: "POST", Path: "/v2/change/enqueue", Docs: changeDocs, Needs: []string{"routing_key", "payload"},
			Body: []string{"routing_key", "payload", "links"}, Answer: resttest.JSON(202, `{"status":"success","message":"Change event processed"}`)},
	)
}

func TestPagerDuty(t *testing.T) {
	f, e := pagerDuty(t), checktest.NewEnv(t)
	checktest.SetSecrets(e, checktest.Secrets{"env:PD": routingKey})
	with := func(event, more string) *check.Instance {
		return decode(t, "to: pagerduty:env:PD\ntext: x\n"+more+"\npagerduty: {api: '"+f.URL+"', event: "+event+"}")
	}
	for event, class := range map[string]check.Class{"trigger": check.Keyed, "acknowledge": check.Keyed, "resolve": check.Keyed, "change": check.Probed} {
		inst := with(event, "")
		if inst.Traits.Class != class {
			t.Errorf("%s: class %s", event, inst.Traits.Class)
		}
		e.Run.ID = "r-" + event
		before := len(f.Calls())
		for range 2 {
			got, o := attempt(t.Context(), t, inst, e)
			checktest.Match(t, "pass: pagerduty:env:PD took the message", got)
			if want := map[bool]string{true: "allclear/tulia/test/" + e.Run.ID}[event != "change"]; o.Facts["dedup_key.pagerduty:env:PD"] != want || o.Facts["event.pagerduty:env:PD"] != event {
				t.Errorf("facts %v", o.Facts)
			}
		}
		if len(f.Calls()) != before+1 {
			t.Errorf("%s: %d events", event, len(f.Calls())-before)
		}
		faulty(t, f, e, inst, "401", "403")
		if text, err := inst.Runner.(check.Examiner).Examine(t.Context(), e); err != nil || !strings.Contains(text, "nothing was sent") {
			t.Errorf("examined %q, %v", text, err)
		}
	}
	f.Fail(resttest.JSON(400, `{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' is incorrect"]}`))
	e.Run.ID = "r-wrong"
	got, _ := attempt(t.Context(), t, with("change", ""), e)
	checktest.Match(t, "fail: pagerduty:env:PD did not take it: PagerDuty answered 400 to POST /v2/change/enqueue: Event object is invalid", got)
	if inst, problems := checktest.Decode(with("change", "").Type, "to: pagerduty:env:PD\ntext: x\nmode: test\npagerduty: {event: trigger}", nil); inst != nil || !strings.Contains(problems.Error(), "a test does not wake anybody") {
		t.Error(problems)
	}
}

func TestTeams(t *testing.T) {
	status, text := 202, ""
	f := resttest.New(t, nil, resttest.Route{Method: "POST", Path: "/workflows/abc", Docs: teamsHook, Query: []string{"sig"}, Body: []string{"type", "attachments"}, Needs: []string{"type", "attachments", "sig"},
		Answer: func(w http.ResponseWriter, r *http.Request) {
			var body struct {
				Type        string
				Attachments []struct {
					ContentType string
					Content     struct {
						Type, Version string
						Body          []struct {
							Type, Text string
							Wrap       bool
						}
					}
				}
			}
			said, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(said, &body); err != nil || body.Type != "message" || len(body.Attachments) != 1 || body.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" ||
				body.Attachments[0].Content.Type != "AdaptiveCard" || len(body.Attachments[0].Content.Body) != 2 || body.Attachments[0].Content.Body[1].Text != "second" {
				t.Errorf("card %s", said)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}})
	e := checktest.NewEnv(t)
	checktest.SetSecrets(e, checktest.Secrets{"env:TEAMS": f.URL + "/workflows/abc?sig=very-secret"})
	inst := decode(t, "to: teams:env:TEAMS\ntext: \"first\\nsecond\"")
	for i, c := range []struct {
		status     int
		text, want string
	}{
		{202, "", "pass: teams:env:TEAMS took the message"},
		{200, "1", "pass: ..."},
		{200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413", "error: ...answered 200, which neither..."},
		{204, "", "error: ...answered 204..."},
		{404, `{"error":{"code":"WorkflowNotFound"}}`, "fail: ...answered 404, want 2xx"},
		{401, "", "fail: ...answered 401, want 2xx"},
		{502, "", "error: ...answered 502: whether the message was taken is not known"},
	} {
		status, text, e.Run.ID = c.status, c.text, "r-"+string(rune('a'+i))
		got, o := attempt(t.Context(), t, inst, e)
		checktest.Match(t, c.want, got)
		if c.status == 202 && !strings.Contains(o.Facts["evidence.teams:env:TEAMS"], "does not tell whether it posted the card") {
			t.Errorf("facts %v", o.Facts)
		}
		if strings.Contains(got, "very-secret") {
			t.Errorf("the address shows: %s", got)
		}
	}
	faulty(t, f, e, inst, "401", "403", "403 limit", "302")
	e.Run.ID = "r-long"
	got, _ := attempt(t.Context(), t, decode(t, "to: teams:env:TEAMS\ntext: "+strings.Repeat("x", 25<<10)), e)
	checktest.Match(t, "error: ...the card is longer...", got)
}

func TestSlackHook(t *testing.T) {
	status, text := 200, "ok"
	f := resttest.New(t, nil, resttest.Route{Method: "POST", Path: "/services/T/B/secret", Docs: slackHook, Body: []string{"text", "blocks"}, Needs: []string{"text"},
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}})
	e := checktest.NewEnv(t)
	checktest.SetSecrets(e, checktest.Secrets{"env:HOOK": f.URL + "/services/T/B/secret"})
	inst := decode(t, "to: slack-webhook:env:HOOK\ntext: x")
	for i, c := range []struct {
		status     int
		text, want string
	}{
		{200, "ok", "pass: ..."}, {200, "<html>", "error: ...something else than ok..."}, {200, "", "error: ..."},
		{400, "invalid_payload", `fail: ...answered 400, want 2xx: "invalid_payload"`}, {404, "no_service", `fail: ..."no_service"`},
		{410, "channel_is_archived", `fail: ..."channel_is_archived"`}, {429, "", "error: ...answered 429"}, {500, "rollup_error", "error: ..."},
	} {
		status, text, e.Run.ID = c.status, c.text, "r-"+string(rune('a'+i))
		got, o := attempt(t.Context(), t, inst, e)
		checktest.Match(t, c.want, got)
		if c.want == "pass: ..." && !strings.Contains(o.Facts["evidence.slack-webhook:env:HOOK"], "no channel and no link") {
			t.Errorf("facts %v", o.Facts)
		}
	}
	faulty(t, f, e, inst, "401", "403", "403 limit", "302")
}

// TestSigned proves the signature, the headers, the method and the body of a
// webhook's own.
func TestSigned(t *testing.T) {
	var got *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, body = r, nil
		body, _ = io.ReadAll(r.Body)
	}))
	t.Cleanup(s.Close)
	e := checktest.NewEnv(t)
	checktest.SetSecrets(e, checktest.Secrets{"env:KEY": "a-signing-key", "env:AUTH": "Bearer abcdef"})
	inst := decode(t, "to: 'webhook:"+s.URL+"/x'\ntext: \"say \\\"hi\\\"\"\nwebhook:\n  method: PUT\n  headers: {Authorization: 'env:AUTH', X-Team: ops}\n  sign: env:KEY\n  sign_header: X-Hub-Signature-256\n  body: '{\"content\": {{text}}, \"of\": {{ release }}}'")
	said, o := attempt(t.Context(), t, inst, e)
	checktest.Match(t, "pass: ...", said)
	mac := hmac.New(sha256.New, []byte("a-signing-key"))
	mac.Write(body)
	if string(body) != `{"content": "say \"hi\"", "of": "1.2.3"}` || got.Method != "PUT" || got.Header.Get("Authorization") != "Bearer abcdef" || got.Header.Get("X-Team") != "ops" ||
		got.Header.Get("X-Hub-Signature-256") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("%s %v %s", got.Method, got.Header, body)
	}
	if inst.Traits.Class != check.Probed || strings.Contains(o.Facts["response"], "abcdef") {
		t.Errorf("class %s, facts %v", inst.Traits.Class, o.Facts)
	}
	if refs := inst.Secrets(); len(refs) != 2 {
		t.Errorf("secrets %v", refs)
	}
}

func TestComposed(t *testing.T) {
	rows := &checktest.Ledger{Runs: []check.Results{{Run: "r-1", Items: []check.ItemResult{{ID: "pre.db.rollback-plan", Verdict: "pass", Reason: "docs/rollback.md is approved", At: time.Unix(0, 0)}}}}}
	ledger := func(e *check.Env) { e.Ledger = rows }
	file := func(text string) func(*check.Env) {
		return func(e *check.Env) { _ = os.WriteFile(filepath.Join(e.Dir, "notice.txt"), []byte(text), 0o600) }
	}
	message := func(t *testing.T, o check.Outcome) {
		if len(o.Facts["text.sha256"]) != 64 {
			t.Errorf("facts %v", o.Facts)
		}
	}
	checktest.Run(t, decode(t, "to: file:x\ntext: x").Type, []checktest.Case{
		{Name: "file of text", Params: "to: file:out\ntext_file: notice.txt", Env: file("{{release}} goes to {{ environment }}, {{starter}} does it\n"), Want: "pass: ...", Check: message},
		{Name: "an unknown name", Params: "to: file:out\ntext_file: notice.txt", Env: file("{{relase}}"), Want: "error: text_file notice.txt: {{relase}} stands for nothing; there are {{project}}..."},
		{Name: "an empty file", Params: "to: file:out\ntext_file: notice.txt", Env: file(" \n"), Want: "error: text_file notice.txt is empty"},
		{Name: "no file", Params: "to: file:out\ntext_file: notice.txt", Want: "error: read text_file: ..."},
		{Name: "attached file", Params: "to: file:out\ntext: x\nattach: [file:notice.txt]", Env: file("plan"), Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			sum := sha256.Sum256([]byte("plan"))
			if o.Facts["attach.file:notice.txt"] != hex.EncodeToString(sum[:]) || len(o.Artefacts) != 1 || o.Artefacts[0].SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("facts %v, artefacts %v", o.Facts, o.Artefacts)
			}
		}},
		{Name: "attached item", Params: "to: file:out\ntext: x\nattach: [pre.db.rollback-plan]", Env: ledger, Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if len(o.Facts["attach.pre.db.rollback-plan"]) != 64 {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "attached, and nothing is known", Params: "to: file:out\ntext: x\nattach: [pre.db.rollback-plan]", Env: func(e *check.Env) { e.Ledger = &checktest.Ledger{Runs: []check.Results{{}}} }, Want: "error: attach pre.db.rollback-plan: the result of pre.db.rollback-plan was not supplied"},
		{Name: "confirmed", Params: "to: file:out\ntext: x\nconfirm: [pre.db.rollback-plan]", Env: ledger, Want: "pass: ..."},
		{Name: "not confirmed", Params: "to: file:out\ntext: x\nconfirm: [a]", Env: func(e *check.Env) {
			e.Ledger = &checktest.Ledger{Runs: []check.Results{{Items: []check.ItemResult{{ID: "a", Verdict: "pending"}}}}}
		}, Want: "fail: a is pending: nothing was sent"},
		{Name: "waived is not confirmed", Params: "to: file:out\ntext: x\nconfirm: [a]", Env: func(e *check.Env) {
			e.Ledger = &checktest.Ledger{Runs: []check.Results{{Items: []check.ItemResult{{ID: "a", Verdict: "waived"}}}}}
		}, Want: "fail: a is waived: nothing was sent"},
		{Name: "nobody to confirm", Params: "to: file:out\ntext: x\nconfirm: [a]", Env: func(e *check.Env) { e.Ledger = &checktest.Ledger{Runs: []check.Results{{}}} }, Want: "error: confirm: there is no item a"},
		{Name: "no ledger", Params: "to: file:out\ntext: x\nconfirm: [a]", Env: func(e *check.Env) { e.Ledger = &checktest.Ledger{Failure: io.ErrUnexpectedEOF} }, Want: "error: look up confirm: unexpected EOF"},
		{Name: "address in the clear", Params: "to: teams:https://a.test/x\ntext: x", Want: "problem: ...write teams:env:NAME, a reference to it"},
		{Name: "channel", Params: "to: 'slack:two words'\ntext: x", Want: "problem: ...want slack:#name or slack: and the channel's id"},
		{Name: "acks without Slack", Params: "to: file:x\ntext: x\nack_roles: {dba: a@b.test}", Want: "problem: ...only a target slack:#channel..."},
		{Name: "acks of nobody", Params: "to: 'slack:#a'\ntext: x\nack_roles: {dba: ''}", Want: "problem: ...nobody is named for dba"},
		{Name: "mail without a server", Params: "to: email:a@b.test\ntext: x", Want: "problem: ...say from whom, and through which host"},
		{Name: "no recipient", Params: "to: email:nobody\ntext: x", Want: `problem: ..."nobody" is not a mail address...`},
		{Name: "body that is no JSON", Params: "to: webhook:https://a.test/\ntext: x\nwebhook: {body: '{\"a\": \"{{text}}\"}'}", Want: "problem: ...webhook.body: it is not JSON once filled in..."},
		{Name: "header", Params: "to: webhook:https://a.test/\ntext: x\nwebhook: {headers: {'a b': c}}", Want: `problem: ..."a b" is not a header's name...`},
	})
}

// TestMissing proves that a repetition tells only those who were not told.
func TestMissing(t *testing.T) {
	w, hook, e := newWorkspace(t), newHook(t), checktest.NewEnv(t)
	inSlack(e)
	inst := decode(t, "to: ['slack:#deploys', 'webhook:"+hook.url+"/', file:out]\nslack: {api: '"+w.URL+"'}\ntext: x")
	w.refuse["chat.postMessage"] = "not_in_channel"
	got, _ := attempt(t.Context(), t, inst, e)
	checktest.Match(t, "fail: slack:#deploys did not take it: ...", got)
	checktest.Match(t, "partly: 2 of 3 have taken the message; a retry of the item sends it to the others alone", probed(t, inst, e))
	w.refuse = map[string]string{}
	e.Key = "allclear/r-1/an.item/2" // a person starts it anew
	got, o := attempt(t.Context(), t, inst, e)
	checktest.Match(t, "pass: slack:#deploys, webhook:..., file:out took the message", got)
	text, err := os.ReadFile(filepath.Join(e.Dir, "out"))
	if err != nil || strings.Count(string(text), "\n") != 1 || slices.Max(countOf(hook.seen)) != 1 || o.Facts["repeat.webhook:"+hook.url+"/"] == "" || w.count("/chat.postMessage") != 2 {
		t.Errorf("file %q, webhook %v, facts %v, %v", text, hook.seen, o.Facts, err)
	}
	checktest.Match(t, "done: ...", probed(t, inst, e))
}

func countOf(m map[string]int) []int {
	var out []int
	for _, n := range m {
		out = append(out, n)
	}
	return out
}
