package web_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/web"
)

// shop is a small application with users, orders and webhooks.
type shop struct {
	mu      sync.Mutex
	orders  map[string]string
	deleted int
	next    int
	pending int
	tries   int
	// hold, when set, keeps POST /slow waiting.
	hold    chan struct{}
	arrived chan struct{}
	url     string
}

const access = "eyJhbGciOi.access-token-of-shop"

func newShop(t *testing.T) *shop {
	s := &shop{orders: map[string]string{}, hold: make(chan struct{}), arrived: make(chan struct{}, 10), next: 41}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("/orders/", s.order)
	mux.HandleFunc("POST /hook", webhook)
	mux.HandleFunc("GET /cookie", func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("session"); err != nil || c.Value != access {
			w.WriteHeader(401)
		}
	})
	mux.HandleFunc("GET /pending", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending++
		fmt.Fprintf(w, `{"state":%q}`, map[bool]string{true: "done", false: "queued"}[s.pending%3 == 0])
	})
	mux.HandleFunc("POST /slow", func(w http.ResponseWriter, r *http.Request) {
		s.arrived <- struct{}{}
		<-s.hold
	})
	mux.HandleFunc("/limited", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(429)
	})
	mux.HandleFunc("DELETE /flaky", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.tries++; s.tries%2 == 1 {
			panic(http.ErrAbortHandler) // the connection is cut
		}
	})
	mux.HandleFunc("/echo/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s", r.RequestURI) })
	mux.HandleFunc("/inject", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"x":"{{password}}","y":"a/../b?c=d&e#f","z":"line\r\nX-Evil: 1"}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(s.hold) })
	s.url = server.URL
	return s
}

func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	var body struct{ Email, Password string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	if body.Password != token {
		w.WriteHeader(401)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "session", Value: access, Path: "/"})
	w.Header().Set("Location", "/users/7")
	fmt.Fprintf(w, `{"data":{"access":%q,"user":7}}`, access)
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	role := r.Header.Get("Authorization")
	if role != "Bearer "+access && role != "Bearer viewer-token" {
		w.WriteHeader(401)
		return
	}
	id := strings.Trim(strings.TrimPrefix(r.URL.Path, "/orders/"), "/")
	switch {
	case r.Method == "POST" && role == "Bearer viewer-token":
		w.WriteHeader(403)
	case r.Method == "POST":
		body, _ := io.ReadAll(r.Body)
		s.next++
		s.orders[strconv.Itoa(s.next)] = string(body)
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"id":%d}`, s.next)
	case id == "":
	case s.orders[id] == "":
		w.WriteHeader(404)
	case r.Method == "DELETE":
		delete(s.orders, id)
		s.deleted++
		w.WriteHeader(204)
	default:
		fmt.Fprintf(w, `{"id":%s,"order":%s}`, id, s.orders[id])
	}
}

// webhook checks signatures as three providers make them, each written here anew.
func webhook(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	sum := func(h func() []byte) string { return hex.EncodeToString(h()) }
	ok := false
	if header := r.Header.Get("Stripe-Signature"); header != "" {
		at, v1, _ := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
		seconds, _ := strconv.ParseInt(at, 10, 64)
		mac := hmac.New(sha256.New, []byte(token))
		mac.Write([]byte(at + "." + string(body)))
		ok = sum(func() []byte { return mac.Sum(nil) }) == v1 && time.Since(time.Unix(seconds, 0)) < 5*time.Minute
	}
	if header := r.Header.Get("X-Paystack-Signature"); header != "" {
		mac := hmac.New(sha512.New, []byte(token))
		mac.Write(body)
		ok = sum(func() []byte { return mac.Sum(nil) }) == header
	}
	if header := r.Header.Get("X-Twilio-Signature"); header != "" {
		form, _ := url.ParseQuery(string(body))
		text := "http://" + r.Host + r.URL.Path
		keys := []string{}
		for key := range form {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			text += key + form.Get(key)
		}
		mac := hmac.New(sha1.New, []byte(token))
		mac.Write([]byte(text))
		ok = base64.StdEncoding.EncodeToString(mac.Sum(nil)) == header
	}
	if !ok {
		w.WriteHeader(400)
	}
}

const (
	logIn   = "- {name: log in, method: POST, url: /login, json: {email: a, password: '{{password}}'}, capture: {token: data.access, user: data.user, where: 'header:Location', sid: 'cookie:session'}}\n"
	create  = "- {name: create, method: POST, url: /orders/, headers: {Authorization: 'Bearer {{token}}'}, json: {ref: '{{unique}}', user: '{{user}}'}, expect: {status: 201}, capture: {order: id}}\n"
	read    = "- {name: read, url: '/orders/{{order}}/', headers: {Authorization: 'Bearer {{token}}'}, expect: {json: {id: '{{order}}', order.user: 7}}}\n"
	cleanup = "cleanup:\n- {name: delete, method: DELETE, url: '/orders/{{order}}/', headers: {Authorization: 'Bearer {{token}}'}}\n"
)

func TestFlow(t *testing.T) {
	s := newShop(t)
	know := func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:PW": token, "env:ACCESS": access, "env:VIEW": "viewer-token"})
	}
	head := "base: " + s.url + "\nsecrets: {password: 'env:PW'}\nshow: [order]\nsteps:\n"
	bare := "base: " + s.url + "\nsecrets: {password: 'env:PW'}\nsteps:\n"
	sign := func(more string) string {
		return bare + "- {name: hook, method: POST, url: /hook, json: {event: ping}, expect: {status: 200}, sign: {secret: 'env:PW', header: Stripe-Signature, payload: '{{timestamp}}.{{body}}', format: 't={{timestamp}},v1={{signature}}'" + more + "}}\n"
	}
	clean := func(t *testing.T, o check.Outcome) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, order := range s.orders {
			if order != "{}" { // what the matrix's owner posts has no cleanup
				t.Errorf("left: %s %s", id, order)
			}
		}
	}
	checktest.Run(t, web.Flow, []checktest.Case{
		{Name: "one step", Params: bare + "- {name: hello, url: /echo/x}", Env: know, Want: "pass: all 1 requests went as expected"},
		{Name: "order", Params: head + logIn + create + read + cleanup, Env: know, Want: "pass: all 4 requests went as expected", Check: func(t *testing.T, o check.Outcome) {
			clean(t, o)
			if o.Facts["captured.order"] == "" || o.Facts["cleanup.delete"] != "done" || !strings.HasPrefix(o.Facts["request.02"], "create: POST /orders/ gave 201") {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "cleanup after a failure", Params: head + logIn + create + "- {name: odd, url: '/orders/{{order}}/'}\n" + read + cleanup, Env: know, Want: "fail: step 3 (odd): GET /orders/{{order}}/ answered 401, want 2xx", Check: clean},
		{Name: "cleanup after an error", Params: head + logIn + create + "- {name: odd, url: /echo/, expect: {json: {a: 1}}}\n" + cleanup, Env: know, Want: "error: step 3 (odd): the answer is not JSON...", Check: clean},
		{Name: "nothing to clean", Params: head + logIn + "- {name: odd, url: /orders/}\n" + create + cleanup, Env: know, Want: "fail: step 2 (odd): ...answered 401...", Check: fact("cleanup.delete", "not needed: order was never captured")},
		{Name: "cleanup fails", Params: head + logIn + create + "cleanup:\n- {name: wrong, method: DELETE, url: '/orders/{{order}}/'}\n- {name: delete, method: DELETE, url: '/orders/{{order}}/', headers: {Authorization: 'Bearer {{token}}'}}", Env: know, Want: "fail: test data may be left: cleanup: wrong: answered 401, want 2xx or 404 or 410", Check: clean},
		{Name: "cleanup repeated", Params: bare + "- {name: hello, url: /echo/x}\ncleanup:\n- {name: flaky, method: DELETE, url: /flaky}", Env: know, Want: "pass: all 3 requests..."},
		{Name: "cleanup unknown", Params: bare + "- {name: hello, url: /echo/x}\ncleanup_within: 200ms\ncleanup:\n- {name: slow, method: POST, url: /slow}", Env: know, Want: "error: cleanup: slow: no complete answer: context deadline exceeded"},
		{Name: "limited", Params: bare + "- {name: hello, url: /limited}", Env: know, Want: "error: step 1 (hello): answered 429 (too many requests) (try again in 9s)"},
		{Name: "limited as expected", Params: bare + "- {name: hello, url: /limited, expect: {status: 429}}", Env: know, Want: "pass: ..."},
		{Name: "cookies", Params: bare + logIn + "- {name: cookie, url: /cookie}", Env: know, Want: "pass: ..."},
		{Name: "no cookies", Params: "cookies: false\n" + bare + logIn + "- {name: cookie, url: /cookie, expect: {status: 401}}", Env: know, Want: "pass: ..."},
		{Name: "wrong password", Params: bare + "- {name: log in, method: POST, url: /login, json: {email: a, password: wrong}, expect: {status: 401}}", Env: know, Want: "pass: ..."},
		{Name: "capture of nothing", Params: bare + "- {name: log in, method: POST, url: /login, json: {password: '{{password}}'}, capture: {x: data.gone}}", Env: know, Want: "fail: step 1 (log in): POST /login has no data.gone to capture"},
		{Name: "capture from no JSON", Params: bare + "- {name: hello, url: /echo/, capture: {x: a}}", Env: know, Want: "error: ...the answer is not JSON..."},
		{Name: "poll", Params: bare + "- {name: wait, url: /pending, expect: {json: {state: done}}, poll: {every: 10ms, for: 5s}}", Env: know, Want: "pass: ..."},
		{Name: "poll in vain", Params: bare + "- {name: wait, url: /pending, expect: {json: {state: gone}}, poll: {every: 10ms, for: 50ms}}", Env: know, Want: `fail: ...state is ...want "gone", for 50ms`},
		{Name: "signed", Params: sign(""), Env: know, Want: "pass: ..."},
		{Name: "tampered", Params: sign(", tamper: true"), Env: know, Want: "fail: ...answered 400, want 200"},
		{Name: "replayed", Params: sign(", age: 10m"), Env: know, Want: "fail: ...answered 400, want 200"},
		{Name: "sha512", Params: bare + "- {name: hook, method: POST, url: /hook, body: abc, sign: {secret: 'env:PW', header: X-Paystack-Signature, algorithm: sha512}}", Env: know, Want: "pass: ..."},
		{Name: "sha1 over a form", Params: bare + "- {name: hook, method: POST, url: /hook, form: {To: '+1', Body: 'a b', From: '{{unique}}'}, sign: {secret: 'env:PW', header: X-Twilio-Signature, algorithm: sha1, encoding: base64, payload: '{{url}}{{form}}'}}", Env: know, Want: "pass: ..."},
		{Name: "matrix", Params: head + logIn + create + "matrix:\n  roles:\n    owner: {headers: {Authorization: 'Bearer {{token}}'}}\n    viewer: {auth: {bearer: 'env:VIEW'}}\n    nobody: {}\n  endpoints:\n  - {url: /orders/, expect: {owner: 200, viewer: 2xx, '*': 401}}\n  - {method: POST, url: /orders/, json: {}, expect: {owner: 2xx, viewer: 403, nobody: [401, 403]}}\n" + cleanup, Env: know, Want: "pass: all 9 requests...", Check: fact("matrix", "6 cells, 0 differ"), Once: true},
		{Name: "matrix differs", Params: bare + "- {name: hello, url: /echo/}\nmatrix: {roles: {viewer: {auth: {bearer: 'env:VIEW'}}, nobody: {}}, endpoints: [{url: /orders/, expect: {'*': 200}}, {url: /orders/1, expect: {'*': 200}}]}", Env: know, Want: "fail: 3 of 4 cells of the matrix differ: nobody: GET /orders/ answered 401, want 200; nobody: GET /orders/1 answered 401, want 200; viewer: GET /orders/1 answered 404, want 200"},
		{Name: "an answer is no template", Params: bare + "- {name: a, url: /inject, capture: {x: x}}\n- {name: b, url: '/echo/{{x}}', expect: {body: /echo/%7B%7Bpassword%7D%7D}}", Env: know, Want: "pass: ..."},
		{Name: "an answer cannot leave its place", Params: bare + "- {name: a, url: /inject, capture: {y: y}}\n- {name: b, url: '/echo/{{y}}', expect: {body: /echo/a%2F..%2Fb%3Fc%3Dd%26e%23f}}", Env: know, Want: "pass: ..."},
		{Name: "an answer cannot add a header", Params: bare + "- {name: a, url: /inject, capture: {z: z}}\n- {name: b, url: /echo/, headers: {X-A: '{{z}}'}}", Env: know, Want: "error: ...holds a character that no header can carry"},
		{Name: "a number stays one", Params: "vars: {name: 'a-{{unique}}'}\n" + head + logIn + create + "- {name: read, url: '/orders/{{order}}', headers: {Authorization: 'Bearer {{token}}'}, expect: {expr: json.order.user == 7 and json.order.ref startsWith \"allclear-\"}}\n" + cleanup, Env: know, Want: "pass: ...", Check: clean},
		{Name: "no secret", Params: "secrets: {password: 'env:GONE'}\nbase: " + s.url + "\nsteps:\n- {name: a, url: /echo/}", Want: "error: secret env:GONE: not set"},
	})
}

func TestFlowMistakes(t *testing.T) {
	b := "base: http://a\nsteps:\n"
	checktest.Run(t, web.Flow, []checktest.Case{
		{Name: "no steps", Params: "base: http://a", Want: "problem: ...give steps or matrix"},
		{Name: "not captured", Params: b + "- {name: x, url: '/{{id}}'}", Want: "problem: ...step x: {{id}} is used before a step captures it"},
		{Name: "captured later", Params: b + "- {name: x, url: '/{{id}}', capture: {id: id}}", Want: "problem: ...{{id}} is used before..."},
		{Name: "taken", Params: "vars: {id: a}\n" + b + "- {name: x, url: /, capture: {id: id}}", Want: "problem: ...the name id is taken..."},
		{Name: "no base", Params: "steps: [{name: x, url: /a}]", Want: "problem: ...want http:// or https:// and a host..."},
		{Name: "host from an answer", Params: b + "- {name: x, url: /, capture: {h: h}}\n- {name: y, url: 'http://{{h}}/'}", Want: "problem: ...a captured value cannot name the host..."},
		{Name: "other host by path", Params: b + "- {name: x, url: //evil.example/}", Want: "problem: ...want http:// or https://..."},
		{Name: "payload", Params: b + "- {name: x, url: /, sign: {secret: 'env:A', header: X, payload: '{{bdoy}}'}}", Want: "problem: ...sign.payload: {{bdoy}} is not known here"},
		{Name: "format", Params: b + "- {name: x, url: /, sign: {secret: 'env:A', header: X, format: 'v1'}}", Want: "problem: ...the signature is not in it"},
		{Name: "a role without expectation", Params: b + "- {name: x, url: /}\nmatrix: {roles: {a: {}, b: {}}, endpoints: [{url: /, expect: {a: 200}}]}", Want: "problem: ...expect does not say what role b must get"},
		{Name: "an unknown role", Params: b + "- {name: x, url: /}\nmatrix: {roles: {a: {}}, endpoints: [{url: /, expect: {a: 200, c: 200}}]}", Want: "problem: ...there is no role c"},
		{Name: "show", Params: b + "- {name: x, url: /}\nshow: [y]", Want: "problem: ...show: no step captures y"},
		{Name: "poll", Params: b + "- {name: x, url: /, poll: {every: 0s, for: 1s}}", Want: "problem: ...want every of at least 10ms..."},
		{Name: "misspelt", Params: b + "- {name: x, ulr: /}", Want: `problem: ...unknown parameter "ulr" of http.flow...`},
	})
}

// TestFlowCancelled proves that a run which is cancelled midway still takes its
// test data away.
func TestFlowCancelled(t *testing.T) {
	s := newShop(t)
	e := checktest.NewEnv(t)
	checktest.SetSecrets(e, checktest.Secrets{"env:PW": token})
	inst, problems := checktest.Decode(web.Flow, "base: "+s.url+"\nsecrets: {password: 'env:PW'}\nsteps:\n"+logIn+create+"- {name: slow, method: POST, url: /slow}\n"+cleanup, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-s.arrived; cancel() }()
	o, err := inst.Runner.Run(ctx, e)
	if err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got %v, %v", o, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.orders) != 0 || s.deleted != 1 {
		t.Errorf("left %v, deleted %d", s.orders, s.deleted)
	}
}

// TestFlowMasks proves that what a flow keeps holds no captured token.
func TestFlowMasks(t *testing.T) {
	s := newShop(t)
	e := checktest.NewEnv(t)
	checktest.SetSecrets(e, checktest.Secrets{"env:PW": token})
	kept := ""
	e.Store = func(name string, r io.Reader) (check.Artefact, error) {
		text, err := io.ReadAll(r)
		kept += string(text)
		return check.Artefact{Name: name}, err
	}
	inst, _ := checktest.Decode(web.Flow, "base: "+s.url+"\nsecrets: {password: 'env:PW'}\nsteps:\n"+logIn+
		"- {name: leak, url: '/echo/{{token}}/{{password}}', expect: {body: {contains: ['{{token}}']}, header: {X-A: x}}}\n", nil)
	o, err := inst.Runner.Run(t.Context(), e)
	if err != nil || o.Verdict != check.Fail {
		t.Fatal(o, err)
	}
	for _, hidden := range []string{access, token} {
		if text := kept + fmt.Sprint(o); strings.Contains(text, hidden) {
			t.Errorf("%s shows in %s", hidden, text)
		}
	}
	if !strings.Contains(kept, "/echo/[redacted]/[redacted]") {
		t.Errorf("kept %s", kept)
	}
	if tr := inst.Traits; tr.Kind != check.Check || tr.Effect != check.Traffic || tr.Class == check.Pure {
		t.Errorf("traits %+v", tr)
	}
}
