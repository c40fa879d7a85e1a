package notify_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/notify"
)

const path = "/hook/abcdef-very-secret"

// hook is a webhook that drops repeats and can answer in every way.
type hook struct {
	mu     sync.Mutex
	seen   map[string]int
	bodies []string
	url    string
}

func newHook(t *testing.T) *hook {
	h := &hook{seen: map[string]int{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		switch r.URL.Path {
		case "/refuse":
			w.WriteHeader(403)
		case "/broken":
			w.WriteHeader(502)
		case "/busy":
			w.Header().Set("Retry-After", "12")
			w.WriteHeader(429)
		case "/polite":
			_, _ = io.WriteString(w, `{"ok":false,"error":"channel_not_found"}`)
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			if h.seen[r.Header.Get("Idempotency-Key")]++; h.seen[r.Header.Get("Idempotency-Key")] == 1 {
				h.bodies = append(h.bodies, string(body))
			}
			_, _ = io.WriteString(w, `{"id": 4711}`)
		}
	}))
	t.Cleanup(s.Close)
	h.url = s.URL
	return h
}

func TestNotify(t *testing.T) {
	h := newHook(t)
	closed := raw(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) })
	garbage := raw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "hello\r\n\r\n")
	})
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	hang := raw(t, func(net.Conn) { <-block })
	secrets := func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:HOOK": h.url + path, "env:DOWN": "http://127.0.0.1:1" + path, "env:ODD": "not an address"})
	}
	checktest.Run(t, notify.Notify, []checktest.Case{
		{Name: "webhook", Params: "to: webhook:" + h.url + "/\ntemplate: start", Want: "pass: webhook:" + h.url + "/ took the message", Check: func(t *testing.T, o check.Outcome) {
			if to := "webhook:" + h.url + "/"; o.Facts["status."+to] != "200" || o.Facts["response."+to] != "4711" || len(o.Facts["sha256."+to]) != 64 || len(o.Facts["id."+to]) != 32 {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "secret address", Params: "to: webhook:env:HOOK\ntext: hello", Env: secrets, Want: "pass: webhook:env:HOOK took the message"},
		{Name: "secret address, nobody there", Params: "to: webhook:env:DOWN\ntext: hello", Env: secrets, Want: "error: webhook:env:DOWN: ...refused"},
		{Name: "no address", Params: "to: webhook:env:ODD\ntext: hello", Env: secrets, Want: "error: webhook:env:ODD: env:ODD holds no address"},
		{Name: "unset", Params: "to: webhook:env:GONE\ntext: hello", Env: secrets, Want: "error: ...secret env:GONE: not set"},
		{Name: "refused politely", Params: "to: webhook:" + h.url + "/polite\ntext: x", Want: "fail: ...answered 200, but its answer says ok: false (channel_not_found)"},
		{Name: "refused", Params: "to: webhook:" + h.url + "/refuse\ntext: x", Want: "fail: ...answered 403, want 2xx"},
		{Name: "redirected", Params: "to: webhook:" + h.url + "/moved\ntext: x", Want: "fail: ...answered 302, want 2xx"},
		{Name: "broken", Params: "to: webhook:" + h.url + "/broken\ntext: x", Want: "error: ...answered 502: whether the message was taken is not known"},
		{Name: "busy", Params: "to: webhook:" + h.url + "/busy\ntext: x", Want: "error: ...answered 429 (try again in 12s)"},
		{Name: "nobody", Params: "to: webhook:http://127.0.0.1:1/\ntext: x", Want: "error: ...refused"},
		{Name: "no answer", Params: "to: webhook:" + closed + "\ntext: x", Want: "error: ...EOF"},
		{Name: "garbage", Params: "to: webhook:" + garbage + "\ntext: x", Want: "error: ...malformed HTTP response..."},
		{Name: "hang", Params: "to: webhook:" + hang + "\ntext: x", Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded"},
		{Name: "a fact", Params: "to: file:out\ntext: x\nfacts: downtime.seconds", Env: func(e *check.Env) {
			e.Ledger = &checktest.Ledger{Facts: map[string]string{"downtime.seconds": "42"}}
		}, Want: "pass: ..."},
		{Name: "an unknown fact", Params: "to: file:out\ntext: x\nfacts: downtime.seconds", Want: "error: ...downtime.seconds was not supplied"},
		{Name: "file", Params: "to: file:out\ntext: x", Want: "pass: file:out took the message"},
		{Name: "no folder", Params: "to: file:gone/out\ntext: x", Want: "error: ...no such file..."},
		{Name: "a link", Params: "to: file:link\ntext: x", Env: func(e *check.Env) { _ = os.Symlink("/etc/passwd", filepath.Join(e.Dir, "link")) }, Want: "error: ...too many levels of symbolic links"},
		{Name: "a pipe", Params: "to: file:pipe\ntext: x", Env: func(e *check.Env) { _ = syscall.Mkfifo(filepath.Join(e.Dir, "pipe"), 0o600) }, Want: "error: ...is not a regular file"},
		{Name: "nothing to say", Params: "to: file:x", Want: "problem: ...give template, text or text_file"},
		{Name: "no target", Params: "to: mail:x\ntext: x", Want: "problem: ...want slack:#channel, slack-webhook:env:NAME, teams:env:NAME, ..."},
		{Name: "password", Params: "to: webhook:https://a:b@c/\ntext: x", Want: "problem: ...is a secret: write webhook:env:NAME"},
		{Name: "twice", Params: "to: [file:x, file:x]\ntext: x", Want: "problem: ...is given twice"},
		{Name: "template", Params: "to: file:x\ntemplate: strat", Want: `problem: ...unknown value "strat"`},
	})
}

// TestRepeat proves that an item done twice with one key tells people once.
func TestRepeat(t *testing.T) {
	h := newHook(t)
	e := checktest.NewEnv(t)
	inst, problems := checktest.Decode(notify.Notify, "to: ['webhook:"+h.url+"/', file:out]\ntemplate: rollback-start", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	if inst.Traits.Kind != check.Action || inst.Traits.Class != check.Keyed || inst.Traits.Effect != check.Message {
		t.Errorf("traits %+v", inst.Traits)
	}
	for range 3 {
		if o, err := inst.Runner.Run(t.Context(), e); err != nil || o.Verdict != check.Pass {
			t.Fatal(o, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(e.Dir, "out"))
	if err != nil || strings.Count(string(text), "\n") != 1 || len(h.bodies) != 1 {
		t.Fatalf("file %q, webhook %q, %v", text, h.bodies, err)
	}
	for _, body := range []string{string(text), h.bodies[0]} {
		var m map[string]string
		if err := json.Unmarshal([]byte(body), &m); err != nil || m["text"] != "Rollback of tulia 1.2.3 to test to 1.2.2 started (run r-1)." || m["item"] != "an.item" {
			t.Errorf("body %s, %v", body, err)
		}
	}
	e.Run.ID = "r-2"
	if _, err := inst.Runner.Run(t.Context(), e); err != nil || len(h.bodies) != 2 {
		t.Errorf("another run does not notify: %v", err)
	}
}

// TestProbe proves that a file tells done from not done, also after a writer was
// cut off within a line.
func TestProbe(t *testing.T) {
	e := checktest.NewEnv(t)
	inst, _ := checktest.Decode(notify.Notify, "to: [file:a, file:b]\ntext: x", nil)
	if inst.Traits.Class != check.Probed {
		t.Errorf("class %s", inst.Traits.Class)
	}
	probe := func(want check.Progress) {
		t.Helper()
		if got, _, err := inst.Prober().Probe(t.Context(), e); got != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	probe(check.NotDone)
	first, _ := checktest.Decode(notify.Notify, "to: file:a\ntext: x", nil)
	if err := os.WriteFile(filepath.Join(e.Dir, "a"), []byte(`{"id":"cut`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Runner.Run(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	probe(check.Partly)
	if _, err := inst.Runner.Run(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	probe(check.Done)
	if text, _ := os.ReadFile(filepath.Join(e.Dir, "a")); strings.Count(string(text), "\n") != 2 {
		t.Errorf("file %q", text)
	}
	web, _ := checktest.Decode(notify.Notify, "to: webhook:https://a/\ntext: x", nil)
	if progress, _, err := web.Prober().Probe(t.Context(), e); progress != check.NotDone || err != nil {
		t.Errorf("nothing was sent to a webhook: %s, %v", progress, err)
	}
}

// TestChat proves what a chat system gets, and that a repeat is looked up.
func TestChat(t *testing.T) {
	h := newHook(t)
	e := checktest.NewEnv(t)
	inst, _ := checktest.Decode(notify.Notify, "to: webhook:"+h.url+"/\ntext: \"a \\\"b\\\"\"\nformat: chat", nil)
	if _, err := inst.Runner.Run(t.Context(), e); err != nil || h.bodies[0] != `{"text":"a \"b\""}` {
		t.Errorf("bodies %q, %v", h.bodies, err)
	}
	if inst.Traits.Class != check.Probed {
		t.Errorf("class %s", inst.Traits.Class)
	}
}

func TestPage(t *testing.T) { checktest.Page(t, notify.Notify) }

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
