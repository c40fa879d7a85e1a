// Package resttest is a strict stand-in for a service's HTTP API, written from
// its documentation: a request that the documentation does not describe fails
// the test.
package resttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fake is a running service.
type Fake struct {
	// URL is its address.
	URL string
	t   *testing.T
	// require are headers that every request must carry, with these values.
	require http.Header
	routes  []Route

	mu    sync.Mutex
	calls []Call
	// fault answers instead of a route while it is set; of the requests from now on
	// only the one that failAt counts to, unless that is 0.
	fault  http.HandlerFunc
	failAt int
}

// Route is one documented request.
type Route struct {
	// Method and Path as documented; a segment in braces ("{id}") stands for any.
	Method, Path string
	// Docs is the page that describes it.
	Docs string
	// Query and Headers list the parameters and further headers that may be sent;
	// Body lists the top-level fields that the JSON body may have, Needs those of
	// the query or body that must be there.
	Query, Headers, Body, Needs []string
	// Lines says that the body is no JSON document but lines or a file, which Answer
	// reads.
	Lines bool
	// Answer answers. Segments in braces are in r.PathValue by their names.
	Answer http.HandlerFunc
}

// Call is one request that came.
type Call struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

// New starts a service with these routes until the test ends. Every request must
// carry the headers in require.
func New(t *testing.T, require http.Header, routes ...Route) *Fake {
	t.Helper()
	f := &Fake{t: t, require: require, routes: routes}
	for _, r := range routes {
		if !strings.HasPrefix(r.Docs, "https://") {
			t.Fatalf("%s %s: name the page of the documentation", r.Method, r.Path)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// Fail makes every request be answered by h instead, until Fail(nil).
func (f *Fake) Fail(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.failAt = h, 0
}

// FailAt makes h answer the n-th request from now on, counted from 1, and no
// other.
func (f *Fake) FailAt(n int, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.failAt = h, n
}

// due gives the fault that answers this request, if one does.
func (f *Fake) due() http.HandlerFunc {
	if f.failAt == 0 {
		return f.fault
	}
	if f.failAt--; f.failAt > 0 {
		return nil
	}
	due := f.fault
	f.fault = nil
	return due
}

// EachFault lets each request that run makes fail in every way of Faults. run
// must succeed undisturbed, with at least so many requests, and must give an error
// whenever one of them fails. again is called before each try and puts back what
// an earlier one has changed; it may be nil.
func (f *Fake) EachFault(least int, run func(ctx context.Context) error, again func()) {
	f.t.Helper()
	if again == nil {
		again = func() {}
	}
	again()
	before := len(f.Calls())
	if err := run(f.t.Context()); err != nil {
		f.t.Fatalf("undisturbed: %v", err)
	}
	requests := len(f.Calls()) - before
	if requests < least {
		f.t.Fatalf("%d requests, want at least %d", requests, least)
	}
	for n := 1; n <= requests; n++ {
		for _, fault := range Faults() {
			again()
			f.FailAt(n, fault.Answer)
			ctx, stop := f.t.Context(), context.CancelFunc(func() {})
			if fault.Name == "hang" {
				ctx, stop = context.WithTimeout(ctx, 50*time.Millisecond)
			}
			err := run(ctx)
			stop()
			if err == nil {
				f.t.Errorf("request %d, %s: no error", n, fault.Name)
			}
		}
	}
	f.Fail(nil)
}

// Calls gives the requests that came so far.
func (f *Fake) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *Fake) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return // the client hung up
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.mu.Lock()
	f.calls = append(f.calls, Call{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Clone(), body})
	fault := f.due()
	f.mu.Unlock()
	for _, route := range f.routes {
		if route.Method != r.Method || !route.fits(r) {
			continue
		}
		if wrong := f.wrong(route, r, body); wrong != "" {
			f.t.Errorf("%s %s: %s (%s)", r.Method, r.URL.Path, wrong, route.Docs)
			http.Error(w, wrong, http.StatusBadRequest)
			return
		}
		if fault != nil {
			fault(w, r)
			return
		}
		route.Answer(w, r)
		return
	}
	f.t.Errorf("%s %s is not in the documentation", r.Method, r.URL.Path)
	http.NotFound(w, r)
}

// fits compares the path's segments and remembers what the braces stand for.
func (route Route) fits(r *http.Request) bool {
	want, got := strings.Split(route.Path, "/"), strings.Split(r.URL.EscapedPath(), "/")
	if len(want) != len(got) {
		return false
	}
	for i, w := range want {
		if name, ok := strings.CutPrefix(w, "{"); ok && got[i] != "" {
			r.SetPathValue(strings.TrimSuffix(name, "}"), got[i])
		} else if w != got[i] {
			return false
		}
	}
	return true
}

// common are headers that any client may send.
func common() []string {
	return []string{"Accept", "Accept-Encoding", "Content-Length", "Content-Type", "User-Agent"}
}

func (f *Fake) wrong(route Route, r *http.Request, body []byte) string {
	for name, values := range f.require {
		if !slices.Equal(r.Header.Values(name), values) {
			return fmt.Sprintf("header %s is %q, want %q", name, r.Header.Values(name), values)
		}
	}
	for name := range r.Header {
		if f.require.Get(name) == "" && !slices.Contains(common(), name) && !slices.Contains(route.Headers, name) {
			return "unknown header " + name
		}
	}
	var given []string
	for name := range r.URL.Query() {
		if given = append(given, name); !slices.Contains(route.Query, name) {
			return "unknown parameter " + name
		}
	}
	if len(body) > 0 && route.Body != nil {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil {
			return "the body is not a JSON object: " + err.Error()
		}
		for name := range fields {
			if given = append(given, name); !slices.Contains(route.Body, name) {
				return "unknown field " + name
			}
		}
	} else if len(body) > 0 && !route.Lines {
		return "a body where none is documented"
	}
	for _, name := range route.Needs {
		if !slices.Contains(given, name) {
			return name + " is missing"
		}
	}
	return ""
}

// JSON answers with a status and a text that must be JSON.
func JSON(status int, text string) http.HandlerFunc {
	if !json.Valid([]byte(text)) {
		panic("resttest.JSON: not JSON: " + text)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the client may have hung up
	}
}

// Fault is a way in which a service does not answer a question.
type Fault struct {
	Name string
	// Answer is given instead of every answer; nil hangs until the client gives up.
	Answer http.HandlerFunc
}

// Faults lists the ways, each of which must lead to an error and never to a
// verdict: wrong or expired token, missing permission, limits, server errors,
// malformed, truncated, empty and HTML answers, redirects, and the hang.
func Faults() []Fault {
	text := func(status int, kind, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const js = "application/json"
	return []Fault{
		{"401", text(401, js, `{"message":"Bad credentials"}`)},
		{"403", text(403, js, `{"message":"Forbidden"}`)},
		{"403 limit", text(403, js, `{}`, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1")},
		{"429", text(429, js, `{}`, "Retry-After", "7")},
		{"500", text(500, js, `{"message":"oops"}`)},
		{"502 page", text(502, "text/html", "<html>Bad gateway</html>")},
		{"503", text(503, "text/plain", "later", "Retry-After", "30")},
		{"302", text(302, "text/html", "", "Location", "https://login.example/")},
		{"login page", text(200, "text/html", "<html><form>Sign in</form></html>")},
		{"empty", text(200, js, "")},
		{"truncated", text(200, js, `{"items":[{"id":1`)},
		{"malformed", text(200, js, `{"items": nope}`)},
		{"null", text(200, js, "null")},
		{"empty object", text(200, js, "{}")},
		{"another type", text(200, js, `"ok"`)},
		{"hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	}
}
