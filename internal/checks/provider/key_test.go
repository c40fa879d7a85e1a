package provider_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/provider"
	"allclear.dev/allclear/internal/rest/resttest"
)

const (
	secretKey = "sk-very-secret-key-0123"
	account   = "AC0123456789abcdef0123456789abcdef"
)

// vendor is a provider whose answers may be replaced.
type vendor struct {
	*resttest.Fake
	name string
	// list and probe answer the question about the key and the spend probe.
	list, probe http.HandlerFunc
}

func newVendor(t *testing.T, name string, header http.Header, routes ...resttest.Route) *vendor {
	v := &vendor{name: name}
	for i := range routes {
		own := routes[i].Answer
		routes[i].Answer = func(w http.ResponseWriter, r *http.Request) {
			replaced := v.list
			if r.Method == http.MethodPost {
				replaced = v.probe
			}
			if replaced != nil {
				own = replaced
			}
			own(w, r)
		}
	}
	v.Fake = resttest.New(t, header, routes...)
	return v
}

func (v *vendor) params(more string) string {
	if v.name == "twilio" {
		more = "account: " + account + ", " + more
	}
	return fmt.Sprintf("{provider: %s, api: %q, key: env:KEY, %s}", v.name, v.URL, more)
}

func bearer() http.Header { return http.Header{"Authorization": {"Bearer " + secretKey}} }

func openAI(t *testing.T) *vendor {
	return newVendor(t, "openai", bearer(),
		resttest.Route{Method: "GET", Path: "/v1/models", Docs: "https://platform.openai.com/docs/api-reference/models/list", Answer: resttest.JSON(200, `{"object":"list","data":[{"id":"gpt-4o-mini","object":"model"},{"id":"gpt-4o","object":"model"}]}`)},
		resttest.Route{Method: "POST", Path: "/v1/chat/completions", Docs: "https://platform.openai.com/docs/api-reference/chat/create", Body: []string{"model", "messages", "max_completion_tokens"}, Needs: []string{"model", "messages"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Ratelimit-Remaining-Requests", "4999")
				w.Header().Set("Openai-Organization", "example")
				resttest.JSON(200, `{"id":"c1","choices":[{"index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":8,"completion_tokens":1,"total_tokens":9}}`)(w, r)
			}})
}

func anthropic(t *testing.T) *vendor {
	return newVendor(t, "anthropic", http.Header{"X-Api-Key": {secretKey}, "Anthropic-Version": {"2023-06-01"}},
		resttest.Route{Method: "GET", Path: "/v1/models", Docs: "https://platform.claude.com/docs/en/api/models-list", Query: []string{"limit", "after_id", "before_id"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("after_id") == "claude-b" {
					resttest.JSON(200, `{"data":[{"type":"model","id":"claude-a"}],"has_more":false,"first_id":"claude-a","last_id":"claude-a"}`)(w, r)
					return
				}
				resttest.JSON(200, `{"data":[{"type":"model","id":"claude-b"}],"has_more":true,"first_id":"claude-b","last_id":"claude-b"}`)(w, r)
			}},
		resttest.Route{Method: "POST", Path: "/v1/messages", Docs: "https://platform.claude.com/docs/en/api/messages", Body: []string{"model", "messages", "max_tokens"}, Needs: []string{"model", "messages", "max_tokens"},
			Answer: resttest.JSON(200, `{"id":"m1","type":"message","usage":{"input_tokens":8,"output_tokens":1}}`)})
}

func gemini(t *testing.T) *vendor {
	return newVendor(t, "gemini", http.Header{"X-Goog-Api-Key": {secretKey}},
		resttest.Route{Method: "GET", Path: "/v1beta/models", Docs: "https://ai.google.dev/api/models#method:-models.list", Query: []string{"pageSize", "pageToken"},
			Answer: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("pageToken") == "p2" {
					resttest.JSON(200, `{"models":[{"name":"models/gemini-b"}]}`)(w, r)
					return
				}
				resttest.JSON(200, `{"models":[{"name":"models/gemini-a"}],"nextPageToken":"p2"}`)(w, r)
			}},
		resttest.Route{Method: "POST", Path: "/v1beta/models/gemini-b:generateContent", Docs: "https://ai.google.dev/api/generate-content", Body: []string{"contents", "generationConfig"}, Needs: []string{"contents"},
			Answer: resttest.JSON(200, `{"candidates":[{"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":2,"totalTokenCount":3}}`)})
}

func sendGrid(t *testing.T) *vendor {
	return newVendor(t, "sendgrid", bearer(), resttest.Route{Method: "GET", Path: "/v3/scopes", Docs: "https://www.twilio.com/docs/sendgrid/api-reference/api-key-permissions/retrieve-a-list-of-scopes-for-which-this-user-has-access",
		Answer: resttest.JSON(200, `{"scopes":["mail.send","alerts.read"]}`)})
}

func stripe(t *testing.T) *vendor {
	return newVendor(t, "stripe", bearer(), resttest.Route{Method: "GET", Path: "/v1/balance", Docs: "https://docs.stripe.com/api/balance/balance_retrieve",
		Answer: resttest.JSON(200, `{"object":"balance","available":[],"livemode":false}`)})
}

func twilio(t *testing.T) *vendor {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(account, secretKey)
	return newVendor(t, "twilio", r.Header, resttest.Route{Method: "GET", Path: "/2010-04-01/Accounts/" + account + ".json", Docs: "https://www.twilio.com/docs/iam/api/account",
		Answer: resttest.JSON(200, `{"sid":"`+account+`","status":"active","type":"Full"}`)})
}

// all gives every provider with what is asked of it and how it refuses a key.
func all(t *testing.T) []struct {
	v               *vendor
	params, refused string
	status          int
} {
	return []struct {
		v               *vendor
		params, refused string
		status          int
	}{
		{openAI(t), "models: [gpt-4o-mini], spend_probe: true", `{"error":{"message":"Incorrect API key provided: sk-very-****0123.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, 401},
		{anthropic(t), "models: [claude-a], spend_probe: true", `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, 401},
		{gemini(t), "models: [gemini-b], spend_probe: true", `{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}`, 400},
		{sendGrid(t), "scopes: [mail.send]", `{"errors":[{"field":null,"message":"The provided authorization grant is invalid, expired, or revoked"}]}`, 401},
		{stripe(t), "mode: test", `{"error":{"message":"Invalid API Key provided: sk_test_****0123","type":"invalid_request_error"}}`, 401},
		{twilio(t), "", `{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}`, 401},
	}
}

func env(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:KEY": secretKey, "env:EMPTY": " ", "env:OPENAI_API_KEY": secretKey})
}

func TestKey(t *testing.T) {
	answers := func(v *vendor, text string) *vendor {
		v.list = resttest.JSON(200, text)
		return v
	}
	refuses := func(v *vendor, status int, text string) *vendor {
		v.list = resttest.JSON(status, text)
		return v
	}
	spends := func(status int, text string) *vendor {
		v := openAI(t)
		v.probe = resttest.JSON(status, text)
		return v
	}
	const spend = "models: gpt-4o-mini, spend_probe: true"
	cases := []checktest.Case{
		{Name: "models", Params: openAI(t).params("models: [gpt-4o, gpt-4o-mini]"), Want: "pass: OpenAI accepts the key env:KEY, which may use 2 models, with gpt-4o, gpt-4o-mini"},
		{Name: "a model is missing", Params: openAI(t).params("models: [gpt-4o, o9]"), Want: "fail: the key env:KEY has 2 models, but not o9"},
		{Name: "spent", Params: openAI(t).params(spend), Want: "pass: ...; gpt-4o-mini answered a request of 8 tokens", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["header.x-ratelimit-remaining-requests"] != "4999" || o.Facts["header.openai-organization"] != "example" || o.Facts["models"] != "2" || o.Facts["latency"] == "" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "nothing left", Params: spends(429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`).params(spend), Want: "fail: the key env:KEY is accepted, but nothing can be spent with it: insufficient_quota"},
		{Name: "too often", Params: spends(429, `{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}`).params(spend), Want: "error: let gpt-4o-mini write one token: OpenAI answered 429 ... (try again in 1s)"},
		{Name: "no use told", Params: spends(200, `{"choices":[]}`).params(spend), Want: "error: the answer to the probe does not say how many tokens it used"},
		{Name: "on the second page", Params: anthropic(t).params("models: [claude-a, claude-b], spend_probe: true"), Want: "pass: Anthropic accepts the key env:KEY, which may use 2 models, with claude-a, claude-b; claude-a answered a request of 8 tokens"},
		{Name: "pages of Gemini", Params: gemini(t).params("models: [gemini-b], spend_probe: true"), Want: "pass: Gemini accepts ... 2 models, with gemini-b; gemini-b answered a request of 2 tokens"},
		{Name: "scopes", Params: sendGrid(t).params("scopes: mail.send"), Want: "pass: SendGrid accepts the key env:KEY, which has 2 scopes, with mail.send"},
		{Name: "a scope is missing", Params: sendGrid(t).params("scopes: [mail.send, mail.batch.create]"), Want: "fail: the key env:KEY has 2 scopes, but not mail.batch.create"},
		{Name: "no scopes", Params: answers(sendGrid(t), `{"scopes":[]}`).params(""), Want: "error: SendGrid lists no scopes at all"},
		{Name: "Stripe", Params: stripe(t).params("mode: test"), Want: "pass: Stripe accepts the key env:KEY", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["mode"] != "test" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "a test key where money is real", Params: stripe(t).params("mode: live"), Want: "fail: Stripe accepts the key env:KEY, but it is a key for mode test, not live"},
		{Name: "no mode told", Params: answers(stripe(t), `{"object":"balance"}`).params(""), Want: "error: ...not a balance..."},
		{Name: "expired", Params: refuses(stripe(t), 401, `{"error":{"type":"invalid_request_error","code":"api_key_expired"}}`).params(""), Want: "fail: Stripe does not accept the key env:KEY: api_key_expired"},
		{Name: "Twilio", Params: twilio(t).params(""), Want: "pass: Twilio accepts the key env:KEY"},
		{Name: "suspended", Params: answers(twilio(t), `{"sid":"`+account+`","status":"suspended"}`).params(""), Want: "fail: Twilio accepts the key env:KEY, but its account is suspended"},
		{Name: "another account", Params: answers(twilio(t), `{"sid":"AC1","status":"active"}`).params(""), Want: "error: ...not this account..."},
		{Name: "no models at all", Params: answers(openAI(t), `{"data":[]}`).params(""), Want: "error: the provider lists no models at all"},
		{Name: "a model without id", Params: answers(openAI(t), `{"data":[{}]}`).params(""), Want: "error: the provider lists a model without an id"},
		{Name: "no end told", Params: answers(anthropic(t), `{"data":[{"id":"x"}]}`).params(""), Want: "error: ...whether there are more models"},
		{Name: "a list without end", Params: answers(anthropic(t), `{"data":[{"id":"x"}],"has_more":true,"last_id":"x"}`).params(""), Want: "error: the list of Anthropic's models does not end"},
		{Name: "restricted", Params: refuses(openAI(t), 403, `{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read."}}`).params(""), Want: "error: a restricted key may not be asked about, though ...Missing scopes: api.model.read. (does ..."},
		{Name: "an unknown 401", Params: refuses(openAI(t), 401, `{"message":"proxy says no to `+secretKey+`"}`).params(""), Want: "error: OpenAI answered 401, but not with what it says about a key..."},
		{Name: "an unknown 400", Params: refuses(gemini(t), 400, `{"error":{"code":400,"message":"location is not supported","status":"FAILED_PRECONDITION"}}`).params(""), Want: "error: Gemini answered 400 ...location is not supported"},
		{Name: "the usual variable", Params: strings.ReplaceAll(openAI(t).params(""), "key: env:KEY, ", ""), Want: "pass: OpenAI accepts the key env:OPENAI_API_KEY, ..."},
		{Name: "no key", Params: strings.ReplaceAll(openAI(t).params(""), "env:KEY", "env:NONE"), Want: "error: ...not set"},
		{Name: "an empty key", Params: strings.ReplaceAll(openAI(t).params(""), "env:KEY", "env:EMPTY"), Want: "error: the key env:EMPTY is not one line of text"},
		{Name: "models of a bank", Params: stripe(t).params("models: x"), Want: "problem: ...models: ..."},
		{Name: "scopes of a model", Params: openAI(t).params("scopes: x"), Want: "problem: ...scopes: ..."},
		{Name: "mode of a model", Params: openAI(t).params("mode: live"), Want: "problem: ...mode: ..."},
		{Name: "probe without a model", Params: openAI(t).params("spend_probe: true"), Want: "problem: ...spend_probe: ..."},
		{Name: "no account", Params: "{provider: twilio}", Want: "problem: ...account: ..."},
		{Name: "no SID", Params: "{provider: twilio, account: ../x}", Want: "problem: ...account: want the account's SID..."},
		{Name: "a model that leads elsewhere", Params: openAI(t).params("models: '../x'"), Want: "problem: ...is no id of a model..."},
	}
	for _, a := range all(t) {
		a.v.list = resttest.JSON(a.status, a.refused)
		cases = append(cases, checktest.Case{Name: a.v.name + " refuses", Params: a.v.params(a.params), Want: "fail: ... does not accept the key env:KEY: ..."})
	}
	for i := range cases {
		cases[i].Env = env
	}
	checktest.Run(t, provider.Key, cases)
	checktest.Page(t, provider.Key)
}

func TestEveryRequestMayFail(t *testing.T) {
	e := checktest.NewEnv(t)
	env(e)
	for _, a := range all(t) {
		inst, problems := checktest.Decode(provider.Key, a.v.params(a.params), nil)
		if inst == nil {
			t.Fatal(problems)
		}
		if want := map[bool]check.Effect{true: check.Traffic, false: check.Reads}[strings.Contains(a.params, "spend")]; inst.Traits.Effect != want {
			t.Errorf("%s: effect %s", a.v.name, inst.Traits.Effect)
		}
		a.v.EachFault(1, func(ctx context.Context) error {
			o, err := inst.Runner.Run(ctx, e)
			if err == nil && o.Verdict != check.Pass {
				return errors.New(o.Reason)
			}
			return err
		}, nil)
		for _, call := range a.v.Calls() {
			if call.Method == http.MethodPost && !json.Valid(call.Body) {
				t.Errorf("%s", call.Body)
			}
		}
	}
}
