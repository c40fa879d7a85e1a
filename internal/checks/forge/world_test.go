package forge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/rest/resttest"
)

const (
	token = "glpat-very-secret"
	shaA  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	shaB  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	shaC  = "cccccccccccccccccccccccccccccccccccccccc"
	shaD  = "dddddddddddddddddddddddddddddddddddddddd"
	tip1  = "1111111111111111111111111111111111111111"
	old1  = "0101010101010101010101010101010101010101"
)

// world is a provider whose answers are texts by path. A path with "#2" is the
// second page of the list, and so on; a path that has no text is answered 404.
type world struct {
	*resttest.Fake
	t  *testing.T
	mu sync.Mutex
	// prefix is the API's path.
	prefix string
	texts  map[string]string
	// failAt counts down to the request that fault answers.
	failAt int
	fault  http.HandlerFunc
	asked  int
}

// newWorld starts a provider with the routes, whose answers are the world's.
func newWorld(t *testing.T, provider string, routes []resttest.Route) *world {
	w := &world{t: t, texts: map[string]string{}, prefix: "/api/v4"}
	header := http.Header{"Private-Token": {token}}
	if provider == "github" {
		w.prefix = "/api/v3"
		header = http.Header{"Authorization": {"Bearer " + token}, "X-Github-Api-Version": {"2022-11-28"}}
	}
	for i := range routes {
		if !strings.HasPrefix(routes[i].Path, "/api/uploads") {
			routes[i].Path = w.prefix + routes[i].Path
		}
		own := routes[i].Answer
		if own == nil {
			own = w.answer
		}
		routes[i].Answer = func(rw http.ResponseWriter, r *http.Request) {
			if fault := w.due(); fault != nil {
				fault(rw, r)
				return
			}
			own(rw, r)
		}
	}
	w.Fake = resttest.New(t, header, routes...)
	return w
}

// due gives the fault for this request, if it is its turn.
func (w *world) due() http.HandlerFunc {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.failAt--; w.failAt == 0 {
		return w.fault
	}
	return nil
}

func (w *world) set(path, text string) *world {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text != "" && !json.Valid([]byte(text)) {
		w.t.Fatalf("%s: not JSON: %s", path, text)
	}
	w.texts[path] = text
	return w
}

func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	path := strings.TrimPrefix(r.URL.EscapedPath(), w.prefix)
	key, next := path, "2"
	if n := r.URL.Query().Get("page"); n != "" {
		key = path + "#" + n
		next = fmt.Sprint(n[0] - '0' + 1)
	}
	text, known := w.texts[key]
	if !known {
		resttest.JSON(404, `{"message":"Not Found"}`)(rw, r)
		return
	}
	if _, more := w.texts[path+"#"+next]; more {
		q := r.URL.Query()
		q.Set("page", next)
		rw.Header().Set("Link", "<"+w.URL+r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
	}
	resttest.JSON(200, text)(rw, r)
}

// params begins the parameters of a type with what reaches the world.
func (w *world) params(more string) string {
	provider, repo := "github", "example/shop"
	if w.prefix == "/api/v4" {
		provider, repo = "gitlab", "group/sub/shop"
	}
	return fmt.Sprintf("{provider: %s, api: %q, repo: %s, token: env:TOKEN, %s}", provider, w.URL+w.prefix, repo, more)
}

// run gives the env of a run of release 1.3.0 (shaC) after 1.2.0 (shaA).
func run(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:TOKEN": token})
	e.Run.Release, e.Run.Revision, e.Run.Previous, e.Run.PreviousRev = "1.3.0", shaC, "1.2.0", shaA
}

// keep makes the env remember what is stored.
func keep(e *check.Env, into map[string]string) {
	store := e.Store
	e.Store = func(name string, content io.Reader) (check.Artefact, error) {
		text, err := io.ReadAll(content)
		if err != nil {
			return check.Artefact{}, err
		}
		into[name] = string(text)
		return store(name, bytes.NewReader(text))
	}
}

// eachFault lets every request that a run makes fail in every way; none may lead
// to a verdict.
func (w *world) eachFault(typ *check.Type, params string, want int) {
	w.t.Helper()
	env := checktest.NewEnv(w.t)
	run(env)
	inst, problems := checktest.Decode(typ, params, nil)
	if inst == nil {
		w.t.Fatal(problems)
	}
	w.asked = 0
	if o, err := inst.Runner.Run(w.t.Context(), env); err != nil || o.Verdict != check.Pass || w.asked < want {
		w.t.Fatalf("%v, %v, %d requests, want at least %d", o, err, w.asked, want)
	}
	requests := w.asked
	for n := 1; n <= requests; n++ {
		for _, fault := range resttest.Faults() {
			w.mu.Lock()
			w.failAt, w.fault = n, fault.Answer
			w.mu.Unlock()
			ctx, stop := context.WithTimeout(w.t.Context(), 50*time.Millisecond)
			if fault.Name != "hang" {
				ctx = w.t.Context()
			}
			o, err := inst.Runner.Run(ctx, env)
			stop()
			if err == nil {
				w.t.Errorf("request %d, %s: %s: %s", n, fault.Name, o.Verdict, o.Reason)
			}
		}
	}
}
