package web_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/web"
)

const token = "t0p-s3cr3t-token"

// app is the server of these tests.
func app(t *testing.T) *httptest.Server {
	t.Helper()
	var hits, served atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/health/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"status":"healthy","n":3,"deps":[{"name":"db","up":true}],"a.b":1}`)
	})
	mux.HandleFunc("/hops", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/moved", http.StatusFound) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/health/", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/cors", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") == "https://app.example" {
			w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
		}
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
	})
	mux.HandleFunc("/asset", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Cache", map[bool]string{true: "MISS", false: "HIT"}[hits.Add(1)%2 == 1])
	})
	mux.HandleFunc("/served", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served-By", fmt.Sprint("web-", served.Add(1)%2))
	})
	mux.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		if r.Header.Get("Authorization") != "Bearer "+token && password != token && r.Header.Get("X-Key") != token {
			w.WriteHeader(401)
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: token})
		fmt.Fprintf(w, `{"echo":%q}`, token)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.Header.Get("Content-Type"), body)
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 1<<20)
		for range 1 << 10 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/flaky", func(w http.ResponseWriter, r *http.Request) {
		if hits.Add(1)%3 == 0 {
			w.WriteHeader(500)
		}
	})
	mux.HandleFunc("/leave", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func secrets(env *check.Env) { checktest.SetSecrets(env, checktest.Secrets{"env:TOKEN": token}) }

func TestHTTP(t *testing.T) {
	s := app(t)
	host := strings.TrimPrefix(s.URL, "http://")
	u := "url: " + s.URL
	checktest.Run(t, web.HTTP, []checktest.Case{
		{Name: "short form", Params: s.URL + "/health/", Want: "pass: GET " + s.URL + "/health/ answered 200", Check: timed},
		{Name: "JSON", Params: u + "/health/\nexpect: {status: 200, json: {status: healthy, n: 3.0, 'deps[0].up': true, 'deps.-1.name': db, '[\"a.b\"]': 1}, expr: 'json.n < 4 && status == 200 && headers[\"content-type\"] contains \"text\" && seconds < 5'}", Want: "pass: ..."},
		{Name: "JSON differs", Params: u + "/health/\nexpect: {json: {status: degraded}}", Want: `fail: GET ...status is "healthy", want "degraded"`},
		{Name: "JSON lacks", Params: u + "/health/\nexpect: {json: {'deps[4].up': true}}", Want: "fail: ...deps[4].up is missing"},
		{Name: "not JSON", Params: u + "/cors\nexpect: {json: {a: 1}}", Want: "error: ...the answer is not JSON: EOF"},
		{Name: "expression fails", Params: u + "/health/\nexpect: {expr: json.n > 3}", Want: "fail: ...does not hold: json.n > 3"},
		{Name: "expression of nothing", Params: u + "/health/\nexpect: {expr: json.gone != 3}", Want: `error: ...there is no field "gone"...`},
		{Name: "redirect", Params: u + "/moved", Want: "fail: GET ...answered 301, want 2xx, and redirects to /health/", Check: fact("redirect.1", "301 /health/")},
		{Name: "redirect expected", Params: u + "/moved\nexpect: {status: 301, header: {Location: /health/}}", Want: "pass: ...answered 301"},
		{Name: "redirects followed", Params: u + "/hops\nfollow: true", Want: "pass: ...answered 200", Check: fact("redirect.2", "301 "+s.URL+"/health/")},
		{Name: "redirects without end", Params: u + "/loop\nfollow: true", Want: "fail: ...more than 10 redirects"},
		{Name: "CORS", Params: u + "/cors\nmethod: OPTIONS\ncases:\n- {name: ours, headers: {Origin: 'https://app.example'}, expect: {header: {access-control-allow-origin: 'https://app.example'}}}\n- {name: stranger, headers: {Origin: 'https://evil.example'}, expect: {header: {Access-Control-Allow-Origin: {absent: true}}}}", Want: "pass: ...all 2 answers are as expected"},
		{Name: "CORS too wide", Params: u + "/cors\ncases:\n- {name: stranger, headers: {Origin: 'https://app.example'}, expect: {header: {Access-Control-Allow-Origin: {absent: true}}}}", Want: `fail: stranger: ...header Access-Control-Allow-Origin is there: "https://app.example"`},
		{Name: "too many", Params: u + "/busy", Want: "error: ...429 (too many requests) (try again in 7s)"},
		{Name: "too many expected", Params: u + "/busy\nexpect: {status: 429}", Want: "pass: ..."},
		{Name: "cache", Params: u + "/asset\ntwice: {header: {X-Cache: HIT}}", Want: "pass: ...all 2 answers..."},
		{Name: "no cache", Params: u + "/served\ntwice: {header: {X-Cache: HIT}}", Want: "fail: the second time: ...header X-Cache is missing"},
		{Name: "several servers", Params: u + "/served\nrepeat: 6\ndistinct: X-Served-By", Want: "pass: ...all 6...", Check: fact("distinct.web-0", "3")},
		{Name: "one server", Params: u + "/asset\nrepeat: 3\ndistinct: {header: X-Served-By, min: 1}", Want: "fail: ...showed 0 different values in 3 answers, want at least 1"},
		{Name: "consecutive", Params: u + "/health/\nconsecutive: 3", Want: "pass: ...all 3 answers..."},
		{Name: "consecutive broken", Params: u + "/flaky\nconsecutive: 3", Want: "fail: ...answered 500, want 2xx"},
		{Name: "bearer", Params: u + "/auth\nauth: {bearer: 'env:TOKEN'}", Env: secrets, Want: "pass: ..."},
		{Name: "basic", Params: u + "/auth\nauth: {basic: {user: a, password: 'env:TOKEN'}}", Env: secrets, Want: "pass: ..."},
		{Name: "secret header, echoed", Params: u + "/auth\nauth: {headers: {X-Key: 'env:TOKEN'}}\nexpect: {json: {echo: x}}", Env: secrets, Want: `fail: ...echo is "[redacted]", want "x"`},
		{Name: "no secret", Params: u + "/auth\nauth: {bearer: 'env:GONE'}", Want: "error: ...secret env:GONE: not set"},
		{Name: "form", Params: u + "/echo\nmethod: POST\nform: {a: 'b c'}\nhost: good.example\nexpect: {body: 'POST good.example application/x-www-form-urlencoded a=b+c'}", Want: "pass: ..."},
		{Name: "JSON body", Params: u + "/echo\nmethod: POST\njson: {a: [1]}\nexpect: {body: {contains: '{\"a\":[1]}', lacks: x-www, matches: '^POST .*json'}}", Want: "pass: ..."},
		{Name: "body lacks", Params: u + "/echo\nexpect: {body: {contains: gone}}", Want: `fail: ...body lacks "gone"`},
		{Name: "body holds", Params: u + "/echo\nexpect: {body: {lacks: GET}}", Want: `fail: ...body holds "GET"`},
		{Name: "resolve", Params: "url: http://nowhere.invalid/health/\nresolve: [" + host + ", 'localhost:" + host[strings.LastIndex(host, ":")+1:] + "']", Want: "pass: ...all 2..."},
		{Name: "huge, status only", Params: u + "/huge", Want: "pass: ...", Check: fact("body.bytes", "1048576")},
		{Name: "huge, looked into", Params: u + "/huge\nexpect: {body: {lacks: x}}", Want: "error: ...the body is longer than 1048576 bytes"},
		{Name: "slow", Params: u + "/health/\nexpect: {max_latency: 1ns}", Want: "fail: ...took ...want at most 1ns"},
		{Name: "nobody", Params: "http://127.0.0.1:1/", Want: "error: ...connection refused"},
	})
}

func TestHTTPMistakes(t *testing.T) {
	checktest.Run(t, web.HTTP, []checktest.Case{
		{Name: "no scheme", Params: "example.com", Want: "problem: ...want http:// or https:// and a host..."},
		{Name: "password", Params: "https://a:b@example.com", Want: "problem: ...a password belongs in auth..."},
		{Name: "status", Params: "url: http://a\nexpect: {status: 20}", Want: `problem: ...want a status, got "20": want 200, 2xx or 200-204`},
		{Name: "insecure", Params: "url: https://a\ntls: {insecure: 'yes'}", Want: "problem: ...say why..."},
		{Name: "name", Params: "url: http://a\nexpect: {expr: stauts == 200}", Want: `problem: ...reads "stauts", which is not known here...`},
		{Name: "path", Params: "url: http://a\nexpect: {json: {'a..b': 1}}", Want: "problem: ...an empty name"},
		{Name: "bodies", Params: "url: http://a\nbody: x\njson: 1", Want: "problem: ...only one of body, json and form"},
		{Name: "header", Params: "url: http://a\nheaders: {'a b': c}", Want: "problem: ...is not a header"},
		{Name: "flood", Params: "url: http://a\nrepeat: 100000", Want: "problem: ...more than 1000 requests"},
		{Name: "regexp", Params: "url: http://a\nexpect: {body: {matches: '('}}", Want: "problem: ...missing closing )..."},
		{Name: "header injection", Params: "url: http://a\nheaders: {a: \"b\\r\\nc: d\"}", Want: "problem: ...is not a header"},
	})
}

// raw is a TCP server whose every connection is given to serve.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestHTTPBrokenServers(t *testing.T) {
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	hang := raw(t, func(net.Conn) { <-block })
	slow := raw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1000))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		<-block
	})
	garbage := raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "\x00\x01 hello\r\n\r\n") })
	short := raw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1000))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
	})
	checktest.Run(t, web.HTTP, []checktest.Case{
		{Name: "hangs", Params: hang, Timeout: 100 * time.Millisecond, Want: "error: ...no complete answer: context deadline exceeded"},
		{Name: "body hangs", Params: slow, Timeout: 100 * time.Millisecond, Want: "error: ...no complete answer: context deadline exceeded"},
		{Name: "garbage", Params: garbage, Want: "error: ..."},
		{Name: "cut", Params: short, Want: "error: ...unexpected EOF"},
	})
}

// certificate makes a key pair that ends at the given time.
func certificate(t *testing.T, until time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"good.example"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestHTTPCertificates(t *testing.T) {
	serve := func(until time.Time) (string, string) {
		pair, text := certificate(t, until)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		path := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return s.URL, path
	}
	good, ca := serve(time.Now().Add(24 * time.Hour))
	old, oldCA := serve(time.Now().Add(-time.Hour))
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(good, "https://"))
	checktest.Run(t, web.HTTP, []checktest.Case{
		{Name: "trusted", Params: "url: " + good + "\ntls: {ca: " + ca + "}", Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if !strings.Contains(o.Facts["certificate"], "CN=test") || o.Facts["latency.tls"] == "" {
				t.Errorf("facts = %v", o.Facts)
			}
		}},
		{Name: "server name", Params: "url: https://good.example:" + port + "\nresolve: 127.0.0.1\ntls: {ca: " + ca + "}", Want: "pass: ..."},
		{Name: "wrong name", Params: "url: https://bad.example:" + port + "\nresolve: 127.0.0.1\ntls: {ca: " + ca + "}", Want: "fail: ...the certificate is not trusted: ...not bad.example"},
		{Name: "unknown authority", Params: good, Want: "fail: ...the certificate is not trusted: x509: certificate signed by unknown authority"},
		{Name: "expired", Params: "url: " + old + "\ntls: {ca: " + oldCA + "}", Want: "fail: ...certificate has expired..."},
		{Name: "insecure", Params: "url: " + old + "\ntls: {insecure: internal address of staging}", Want: "pass: ...", Check: fact("tls.insecure", "internal address of staging")},
		{Name: "no authority", Params: "url: " + good + "\ntls: {ca: /gone.pem}", Want: "error: read tls.ca: ..."},
	})
}

// TestHTTPRedirectKeepsSecrets proves that a redirect to another host does not
// carry the headers along.
func TestHTTPRedirectKeepsSecrets(t *testing.T) {
	got := make(chan http.Header, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	t.Cleanup(other.Close)
	s := app(t)
	env := checktest.NewEnv(t)
	secrets(env)
	inst, problems := checktest.Decode(web.HTTP, "url: "+s.URL+"/leave?to="+other.URL+"\nfollow: true\nauth: {bearer: 'env:TOKEN', headers: {X-Key: 'env:TOKEN'}}", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	if _, err := inst.Runner.Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if h := <-got; strings.Contains(fmt.Sprint(h), token) {
		t.Errorf("the other host was told the secret: %v", h)
	}
}

// TestHTTPEvidence proves that what is kept holds no secret.
func TestHTTPEvidence(t *testing.T) {
	s := app(t)
	env := checktest.NewEnv(t)
	secrets(env)
	kept := map[string]string{}
	env.Store = func(name string, r io.Reader) (check.Artefact, error) {
		text, err := io.ReadAll(r)
		kept[name] = string(text)
		return check.Artefact{Name: name}, err
	}
	inst, problems := checktest.Decode(web.HTTP, "url: "+s.URL+"/auth\nauth: {bearer: 'env:TOKEN'}", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	if _, err := inst.Runner.Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if kept["body"] != `{"echo":"[redacted]"}` || !strings.Contains(kept["answers.json"], "session=[redacted]") {
		t.Errorf("kept %v", kept)
	}
}

func TestPages(t *testing.T) {
	checktest.Page(t, web.HTTP)
	checktest.Page(t, web.Flow)
}

func fact(name, want string) func(*testing.T, check.Outcome) {
	return func(t *testing.T, o check.Outcome) {
		t.Helper()
		if o.Facts[name] != want {
			t.Errorf("fact %s = %q, want %q; all: %v", name, o.Facts[name], want, o.Facts)
		}
	}
}

func timed(t *testing.T, o check.Outcome) {
	for _, name := range []string{"latency", "latency.connect", "latency.first_byte", "remote", "body.sha256"} {
		if o.Facts[name] == "" {
			t.Errorf("no fact %s: %v", name, o.Facts)
		}
	}
	if len(o.Artefacts) != 2 {
		t.Errorf("artefacts %v", o.Artefacts)
	}
}
