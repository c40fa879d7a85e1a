package openapi_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/openapi"
)

const base = `openapi: 3.0.3
info: {title: Tulia, version: 1.0.0}
paths:
  /v1/orders/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string}}
    get:
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}}
        - {name: X-Trace, in: header, schema: {type: string}}
        - {name: state, in: query, schema: {type: string, enum: [open, done]}}
      responses:
        "200":
          description: the order
          headers: {X-Total: {schema: {type: integer}}}
          content: {application/json: {schema: {$ref: "#/components/schemas/Order"}}}
        "404": {description: none}
    post:
      requestBody:
        content:
          application/json: {schema: {$ref: "#/components/schemas/Change"}}
          text/csv: {schema: {type: string}}
      responses: {"204": {description: done}}
    delete: {deprecated: true, x-sunset: 2027-06-01, responses: {"204": {description: done}}}
components:
  schemas:
    Order:
      type: object
      required: [id, total]
      properties:
        id: {type: string, format: uuid}
        total: {type: number}
        state: {type: string, enum: [open, done]}
        note: {type: string}
        secret: {type: string, writeOnly: true}
        parent: {$ref: "#/components/schemas/Order"}
        payment: {oneOf: [{$ref: "#/components/schemas/Card"}, {$ref: "#/components/schemas/Cash"}]}
        labels: {type: object, additionalProperties: {type: string}}
    Change:
      type: object
      required: [total]
      properties:
        total: {type: integer}
        note: {type: string, maxLength: 10, pattern: "^a"}
        tags: {type: array, items: {type: string}}
        made: {type: string, readOnly: true}
        by: {allOf: [{$ref: "#/components/schemas/Cash"}]}
        payment: {oneOf: [{$ref: "#/components/schemas/Card"}, {$ref: "#/components/schemas/Cash"}]}
    Card: {type: object, properties: {number: {type: string}}}
    Cash: {type: object, properties: {coins: {type: integer}}}
`

// compare gives the rules that a change of description breaks.
func compare(t *testing.T, old, now string) (rules []string, o check.Outcome, err error) {
	t.Helper()
	env := checktest.NewEnv(t)
	files(t, "old.yml", old, "new.yml", now)(env)
	var kept []byte
	env.Store = func(_ string, r io.Reader) (check.Artefact, error) {
		text, err := io.ReadAll(r)
		kept = text
		return check.Artefact{Name: "breaking.json"}, err
	}
	inst, problems := checktest.Decode(openapi.Diff, "{old: old.yml, new: new.yml}", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	o, err = inst.Runner.Run(t.Context(), env)
	if err != nil {
		return nil, o, err
	}
	var changes []struct{ Rule string }
	if err := json.Unmarshal(kept, &changes); err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		rules = append(rules, c.Rule)
	}
	slices.Sort(rules)
	return slices.Compact(rules), o, nil
}

func files(t *testing.T, pairs ...string) func(*check.Env) {
	return func(env *check.Env) {
		env.Now = func() time.Time { return time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC) }
		for i := 0; i < len(pairs); i += 2 {
			if err := os.WriteFile(filepath.Join(env.Dir, pairs[i]), []byte(pairs[i+1]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Every rule is held in both directions: there breaks what back does not, or breaks
// in another way.
func TestRules(t *testing.T) {
	for _, c := range []struct{ name, from, to, there, back string }{
		{"path", "/v1/orders/{id}:", "/v2/orders/{id}:", "operation-removed", "operation-removed"},
		{"method", "    post:\n", "    put:\n", "operation-removed", "operation-removed"},
		{"name of a path parameter", "{id}:\n    parameters:\n      - {name: id", "{key}:\n    parameters:\n      - {name: key", "", ""},
		{"parameter", "        - {name: X-Trace, in: header, schema: {type: string}}\n", "", "request-parameter-removed", ""},
		{"header in another case", "X-Trace", "x-trace", "", ""},
		{"required parameter", "{name: X-Trace, in: header", "{name: X-Trace, in: header, required: true", "request-parameter-became-required", ""},
		{"new required parameter", "        - {name: X-Trace", "        - {name: q, in: query, required: true}\n        - {name: X-Trace", "new-required-request-parameter", "request-parameter-removed"},
		{"limit", "maximum: 100", "maximum: 50", "request-limit-tightened", ""},
		{"lower limit", "minimum: 1,", "minimum: 2,", "request-limit-tightened", ""},
		{"limit of a text", ", maxLength: 10", "", "", "request-limit-tightened"},
		{"excluded limit", "minimum: 1,", "minimum: 1, exclusiveMinimum: true,", "request-limit-tightened", ""},
		{"pattern", `, pattern: "^a"`, "", "", "request-pattern-changed"},
		{"enum of a request", "in: query, schema: {type: string, enum: [open, done]}", "in: query, schema: {type: string, enum: [open]}", "request-enum-value-removed", ""},
		{"no enum of a request", "in: query, schema: {type: string, enum: [open, done]}", "in: query, schema: {type: string}", "", "request-enum-introduced"},
		{"enum of an answer", "state: {type: string, enum: [open, done]}", "state: {type: string, enum: [open, done, lost]}", "response-enum-value-added", ""},
		{"extensible enum", "state: {type: string, enum: [open, done]}", "state: {type: string, x-extensible-enum: true, enum: [open, done]}", "", ""},
		{"no enum of an answer", "state: {type: string, enum: [open, done]}", "state: {type: string}", "response-enum-opened", ""},
		{"order of an enum", "[open, done]", "[done, open]", "", ""},
		{"type of a request", "total: {type: integer}", "total: {type: string}", "request-type-changed", "request-type-changed"},
		{"integer and number of a request", "total: {type: integer}", "total: {type: number}", "", "request-type-changed"},
		{"number and integer of an answer", "total: {type: number}", "total: {type: integer}", "", "response-type-changed"},
		{"any type of an answer", "total: {type: number}", "total: {}", "response-type-changed", ""},
		{"format of an answer", ", format: uuid", "", "response-format-changed", ""},
		{"nullable answer", "total: {type: number}", "total: {type: number, nullable: true}", "response-became-nullable", ""},
		{"nullable request", "total: {type: integer}", "total: {type: integer, nullable: true}", "", "request-became-not-nullable"},
		{"property of a request", "        tags: {type: array, items: {type: string}}\n", "", "request-property-removed", ""},
		{"items of a request", "items: {type: string}", "items: {type: integer}", "request-type-changed", "request-type-changed"},
		{"required property", "required: [total]", "required: [total, note]", "request-property-became-required", ""},
		{"new required property", "required: [total]\n      properties:\n", "required: [total, when]\n      properties:\n        when: {type: string}\n", "new-required-request-property", "request-property-removed"},
		{"read-only property", "made: {type: string, readOnly: true}", "made: {type: integer, readOnly: true}", "", ""},
		{"write-only property", "        secret: {type: string, writeOnly: true}\n", "", "", ""},
		{"property of an answer", "        note: {type: string}\n", "", "response-property-removed", ""},
		{"optional property of an answer", "required: [id, total]", "required: [id]", "response-property-became-optional", ""},
		{"closed object", "    Change:\n      type: object\n", "    Change:\n      type: object\n      additionalProperties: false\n", "request-additional-properties-forbidden", ""},
		{"values of a map", "additionalProperties: {type: string}", "additionalProperties: {type: integer}", "response-type-changed", "response-type-changed"},
		{"any values of a map", "additionalProperties: {type: string}", "additionalProperties: true", "response-additional-properties-opened", ""},
		{"narrowed map", "    Change:\n      type: object\n", "    Change:\n      type: object\n      additionalProperties: {type: string}\n", "request-additional-properties-narrowed", ""},
		{"alternative", `        payment: {oneOf: [{$ref: "#/components/schemas/Card"}, {$ref: "#/components/schemas/Cash"}]}` + "\n        labels", `        payment: {oneOf: [{$ref: "#/components/schemas/Card"}]}` + "\n        labels", "", "response-alternative-added"},
		{"alternative of a request", `{$ref: "#/components/schemas/Cash"}]}` + "\n    Card", "]}\n    Card", "request-alternative-removed", ""},
		{"in an allOf", "coins: {type: integer}", "coins: {type: string}", "request-type-changed response-type-changed", "request-type-changed response-type-changed"},
		{"body required", "requestBody:\n", "requestBody:\n        required: true\n", "request-body-became-required", ""},
		{"media type of a request", "          text/csv: {schema: {type: string}}\n", "", "request-media-type-removed", ""},
		{"media type of an answer", "content: {application/json: {schema: {$ref: \"#/components/schemas/Order\"}}}", "content: {text/csv: {schema: {type: string}}}", "response-media-type-removed", "response-media-type-removed"},
		{"success", `responses: {"204": {description: done}}` + "\n    delete", `responses: {"202": {description: done}}` + "\n    delete", "response-status-added response-status-removed", "response-status-added response-status-removed"},
		{"range of successes", `responses: {"204": {description: done}}` + "\n    delete", `responses: {2XX: {description: done}}` + "\n    delete", "response-status-added", "response-status-removed"},
		{"failure", `        "404": {description: none}` + "\n", "", "", ""},
		{"header of an answer", "          headers: {X-Total: {schema: {type: integer}}}\n", "", "response-header-removed", ""},
		{"security", "paths:\n", "security: [{key: []}]\npaths:\n", "security-tightened", ""},
		{"other security", "paths:\n", "security: [{key: []}, {}]\npaths:\n", "", ""},
		{"server's path", "paths:\n", "servers: [{url: \"https://api.example.com/{base}\", variables: {base: {default: api}}}]\npaths:\n", "operation-removed", "operation-removed"},
		{"descriptions", "description: the order", "description: an order", "", ""},
		{"not judged", "note: {type: string}\n", "note: {type: string, not: {enum: [x]}}\n", "schema-not-judged", "schema-not-judged"},
		{"sunset to come", "    delete: {deprecated: true, x-sunset: 2027-06-01, responses: {\"204\": {description: done}}}\n", "", "operation-removed", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(base, c.from, c.to, 1)
			if changed == base {
				t.Fatal("the change changes nothing")
			}
			for _, way := range []struct{ old, now, want string }{{base, changed, c.there}, {changed, base, c.back}} {
				rules, o, err := compare(t, way.old, way.now)
				if got := strings.Join(rules, " "); err != nil || got != way.want {
					t.Errorf("got  %s %v (%s)\nwant %s", got, err, o.Reason, way.want)
				}
			}
		})
	}
}

func TestSunsetOver(t *testing.T) {
	old := strings.Replace(base, "2027-06-01", "2026-06-01", 1)
	now := strings.Replace(old, "    delete: {deprecated: true, x-sunset: 2026-06-01, responses: {\"204\": {description: done}}}\n", "", 1)
	if rules, _, err := compare(t, old, now); err != nil || len(rules) > 0 {
		t.Errorf("%v %v", rules, err)
	}
}

func TestOtherVersions(t *testing.T) {
	const swagger = `{"swagger": "2.0", "basePath": "/v1", "paths": {"/a": {"post": {"parameters": [{"name": "b", "in": "body", "schema": {"type": "object", "properties": {"x": {"type": "string"}}}}, {"name": "q", "in": "query", "type": "string"}], "responses": {"200": {"schema": {"type": "integer"}}}}}}}`
	const three = `{"openapi": "3.1.0", "paths": {"/v1/a": {"post": {"requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": {"x": {"type": ["string", "null"]}}}}}}, "parameters": [{"name": "q", "in": "query", "schema": {"type": "string"}}], "responses": {"200": {"content": {"application/json": {"schema": {"type": "integer"}}}}}}}}}`
	for _, c := range []struct{ name, old, now, want string }{
		{"Swagger", swagger, strings.Replace(swagger, `"type": "string"}]`, `"type": "integer"}]`, 1), "request-type-changed"},
		{"Swagger's body", swagger, strings.Replace(swagger, `{"x": {"type": "string"}}`, `{"x": {"type": "boolean"}}`, 1), "request-type-changed"},
		{"Swagger's answer", swagger, strings.Replace(swagger, `"integer"`, `"string"`, 1), "response-type-changed"},
		{"Swagger to 3.1", swagger, three, ""},
		{"3.1 to Swagger", three, swagger, "request-became-not-nullable"},
		{"3.1", three, strings.Replace(three, `"x": {"type": ["string", "null"]}`, `"x": {"const": "a"}`, 1), "request-enum-introduced"},
	} {
		rules, _, err := compare(t, c.old, c.now)
		if got := strings.Join(rules, " "); err != nil || got != c.want {
			t.Errorf("%s: got %s %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestDiff(t *testing.T) {
	checktest.Page(t, openapi.Diff)
	less := strings.Replace(base, "        note: {type: string}\n", "", 1)
	const params = "{old: old.yml, new: new.yml}"
	const acked = "{old: old.yml, new: new.yml, ack: [{rule: response-property-removed, at: 'GET /v1/orders/*', until: 2026-12-01, why: nobody reads it}]}"
	const same = "{old: old.yml, generate: [cat, new.yml], expect: identical}"
	both := func(old, now string) func(*check.Env) { return files(t, "old.yml", old, "new.yml", now) }
	asJSON := func(from string) string {
		return strings.NewReplacer("version: 1.0.0}", "version: \"1.0.0\"}", "required: [id, total]", "required: [total, id]").Replace(from)
	}
	checktest.Run(t, openapi.Diff, []checktest.Case{
		{Name: "alike", Params: params, Env: both(base, base), Want: "pass: 3 operations compared with 3 before: no breaking change that is not accepted (0 are)", Check: func(t *testing.T, o check.Outcome) {
			if v, set := o.Sets["openapi.breaking_paths"]; v != "" || !set || o.Facts["breaking"] != "0" {
				t.Errorf("%v %v", o.Sets, o.Facts)
			}
		}},
		{Name: "breaking", Params: params, Env: both(base, less), Want: "fail: 1 breaking changes: GET /v1/orders/{id}: answer 200.note is gone (response-property-removed)", Check: func(t *testing.T, o check.Outcome) {
			if o.Sets["openapi.breaking_paths"] != "/v1/orders/{id}" {
				t.Errorf("%v", o.Sets)
			}
		}},
		{Name: "accepted", Params: acked, Env: both(base, less), Want: "pass: ...(1 are)"},
		{Name: "no longer accepted", Params: acked, Env: func(e *check.Env) {
			both(base, less)(e)
			e.Now = func() time.Time { return time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC) }
		}, Want: "fail: 1 breaking changes: ...; what was accepted at GET /v1/orders/* until 2026-12-01 counts again"},
		{Name: "another accepted", Params: strings.Replace(acked, "GET", "PUT", 1), Env: both(base, less), Want: "fail: 1 breaking changes..."},
		{Name: "identical", Params: same, Env: both(base, asJSON(base)), Want: "pass: both describe the same 3 operations"},
		{Name: "not identical", Params: same, Env: both(base, strings.Replace(less, "an order", "x", 1)), Want: "fail: the descriptions differ: /components/schemas/Order/properties/note is gone"},
		{Name: "versioned", Params: "{old: old.yml, new: new.yml, expect: versioned}", Env: both(base, strings.Replace(base, "components:", "  /v2/orders/{key}: {get: {responses: {\"200\": {description: x}}}}\ncomponents:", 1)), Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["versions"] != "v1, v2" || !strings.HasSuffix(o.Facts["carried.v2"], "changes against v1") {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "not versioned", Params: "{old: old.yml, new: new.yml, expect: versioned}", Env: both(base, strings.Replace(base, "components:", "  /orders: {get: {responses: {}}}\ncomponents:", 1)), Want: "fail: 1 operations without a version in their path: GET /orders"},
		{Name: "no old", Params: params, Env: files(t, "new.yml", base), Want: "error: old: ...no such file..."},
		{Name: "no description", Params: params, Env: both(base, "a: 1"), Want: "error: new: it is no description by OpenAPI..."},
		{Name: "empty", Params: params, Env: both(base, ""), Want: "error: new: ..."},
		{Name: "malformed", Params: params, Env: both(base, base[:500]+"\n  - {"), Want: "error: new: ..."},
		{Name: "no operation", Params: params, Env: both("openapi: 3.0.0\npaths: {}", base), Want: "error: old: it describes no operation"},
		{Name: "another file", Params: params, Env: both(base, strings.Replace(base, "#/components/schemas/Order", "orders.yml#/Order", 1)), Want: "error: new: GET /v1/orders/{id}: answer 200: orders.yml#/Order is in another file..."},
		{Name: "dangling", Params: params, Env: both(strings.Replace(base, "    Order:\n", "    Ordre:\n", 1), base), Want: "error: old: GET /v1/orders/{id}: answer 200: #/components/schemas/Order leads nowhere"},
		{Name: "circle", Params: params, Env: both(base, strings.Replace(base, "    Order:\n", "    Order: {$ref: \"#/components/schemas/Order\"}\n    Was:\n", 1)), Want: "error: new: ...in a circle"},
		{Name: "generator fails", Params: "{old: old.yml, generate: ['false']}", Env: both(base, base), Want: "error: new: false ended with code 1..."},
		{Name: "generator is silent", Params: "{old: old.yml, generate: ['true']}", Env: both(base, base), Want: "error: new: true wrote nothing"},
		{Name: "generator hangs", Params: "{old: old.yml, generate: [sleep, 60]}", Env: both(base, base), Timeout: 100 * time.Millisecond, Want: "error: new: sleep: ..."},
		{Name: "nothing live", Params: "{old: 'previous:new.yml', new: new.yml}", Env: both(base, base), Want: "error: old: the revision that is live was not supplied"},
		{Name: "no repository", Params: "{old: 'main:new.yml', new: new.yml}", Env: both(base, base), Want: "error: old: git ended with code 128..."},
		{Name: "not a revision", Params: "{old: 'a..b:new.yml', new: new.yml}", Env: both(base, base), Want: "error: old: ...is no REVISION:FILE"},
		{Name: "problem: no new", Params: "old: a", Want: "problem: ...say new or generate..."},
		{Name: "problem: same", Params: "{old: a, new: a}", Want: "problem: ...are the same"},
		{Name: "problem: option", Params: "{old: --a, new: b}", Want: "problem: ...is no file"},
		{Name: "problem: until", Params: "{old: a, new: b, ack: [{at: x, until: soon, why: y}]}", Want: "problem: ...want a day..."},
		{Name: "problem: all", Params: "{old: a, new: b, ack: [{at: '*', until: 2026-12-31, why: y}]}", Want: "problem: ...say at, or a rule..."},
	})
}

func TestPrevious(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	git := func(dir string, args ...string) string {
		cmd := exec.Command("git", append([]string{"-c", "user.name=Eve", "-c", "user.email=eve@example.com"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	world := func(e *check.Env) {
		files(t, "api.yml", base)(e)
		git(e.Dir, "init", "-q", "-b", "main")
		git(e.Dir, "add", "-A")
		git(e.Dir, "commit", "-q", "-m", "one")
		e.Run.PreviousRev = git(e.Dir, "rev-parse", "HEAD")
		files(t, "api.yml", strings.Replace(base, "        note: {type: string}\n", "", 1))(e)
	}
	checktest.Run(t, openapi.Diff, []checktest.Case{
		{Name: "what is live", Params: "{old: 'previous:api.yml', new: api.yml}", Env: world, Want: "fail: 1 breaking changes..."},
		{Name: "a branch", Params: "{old: 'main:api.yml', new: 'previous:api.yml'}", Env: world, Want: "pass: ..."},
		{Name: "not there", Params: "{old: 'main:none.yml', new: api.yml}", Env: world, Want: "error: old: git ended with code 128..."},
	})
}
