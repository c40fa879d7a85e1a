package rest_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/rest/resttest"
)

const docs = "https://docs.example/api"

func client(f *resttest.Fake) *rest.Client {
	return &rest.Client{
		Service: "Example", Base: f.URL, Header: http.Header{"Authorization": {"Bearer t"}},
		HTTP: http.DefaultTransport, Now: func() time.Time { return time.Unix(1000, 0) },
	}
}

type thing struct {
	ID *int `json:"id"`
}

func things(t *testing.T, answer http.HandlerFunc) *resttest.Fake {
	return resttest.New(t, http.Header{"Authorization": {"Bearer t"}},
		resttest.Route{Method: "GET", Path: "/things", Docs: docs, Query: []string{"page"}, Answer: answer},
		resttest.Route{Method: "POST", Path: "/things", Docs: docs, Body: []string{"id"}, Needs: []string{"id"}, Answer: answer})
}

func TestGetAndSend(t *testing.T) {
	c := client(things(t, resttest.JSON(200, `{"id": 7, "more": true}`)))
	got, err := rest.Get[thing](t.Context(), c, "/things", nil)
	if err != nil || *got.ID != 7 {
		t.Errorf("%v, %v", got, err)
	}
	id := 3
	if got, err = rest.Send[thing](t.Context(), c, "POST", "/things", thing{&id}); err != nil || *got.ID != 7 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFaultsAreErrors(t *testing.T) {
	f := things(t, resttest.JSON(200, `[]`))
	c := client(f)
	for _, fault := range resttest.Faults() {
		f.Fail(fault.Answer)
		ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := rest.Get[[]thing](ctx, c, "/things", nil)
		stop()
		if err == nil {
			t.Errorf("%s: no error", fault.Name)
			continue
		}
		later, limited := errors.AsType[*check.RetryLater](err)
		_, refused := errors.AsType[*rest.Refused](err)
		want := map[string]time.Duration{"429": 7 * time.Second, "503": 30 * time.Second, "403 limit": time.Second}[fault.Name]
		if limited != (want > 0) || limited && later.After != want {
			t.Errorf("%s: %v, want to wait %s", fault.Name, err, want)
		}
		if wantRefused := strings.HasPrefix(fault.Name, "4"); refused != wantRefused {
			t.Errorf("%s: refused is %t: %v", fault.Name, refused, err)
		}
		if strings.Contains(err.Error(), "<html") {
			t.Errorf("%s: a page in a message: %v", fault.Name, err)
		}
	}
}

func TestListReadsEveryPageAndStaysAtHome(t *testing.T) {
	f := things(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("page") {
		case "":
			w.Header().Set("Link", `<http://`+r.Host+`/things?page=2>; rel="next", <http://`+r.Host+`/things?page=9>; rel="last"`)
		case "2":
			w.Header().Set("Link", `</things?page=3>; rel="next"; results="true"`)
		case "3":
			w.Header().Set("Link", `</things?page=4>; rel="next"; results="false"`)
		}
		resttest.JSON(200, `[{"id":1},{"id":2}]`)(w, r)
	})
	n := 0
	count := func(page []thing) error { n += len(page); return nil }
	if err := rest.List(t.Context(), client(f), "/things", nil, count); err != nil || n != 6 {
		t.Errorf("%d things, %v; want 6 of three pages", n, err)
	}
	away := things(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", `<https://thief.example/things?page=2>; rel="next"`)
		resttest.JSON(200, `[]`)(w, r)
	})
	if err := rest.List(t.Context(), client(away), "/things", nil, count); err == nil || !strings.Contains(err.Error(), "the token does not go there") {
		t.Errorf("a page on another server: %v", err)
	}
	endless := things(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", `</things?page=2>; rel="next"`)
		resttest.JSON(200, `[]`)(w, r)
	})
	if err := rest.List(t.Context(), client(endless), "/things", nil, count); err == nil || !strings.Contains(err.Error(), "more than 100 pages") {
		t.Errorf("an endless list: %v", err)
	}
}

func TestCursor(t *testing.T) {
	f := things(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "b" {
			resttest.JSON(200, `{"id":2}`)(w, r)
			return
		}
		resttest.JSON(200, `{"id":1}`)(w, r)
	})
	var seen []int
	err := rest.Cursor(t.Context(), client(f), "/things", nil, func(page thing) (url.Values, error) {
		if seen = append(seen, *page.ID); *page.ID == 1 {
			return url.Values{"page": {"b"}}, nil
		}
		return nil, nil
	})
	if err != nil || len(seen) != 2 {
		t.Errorf("%v, %v", seen, err)
	}
}

func TestCheckBase(t *testing.T) {
	for base, good := range map[string]bool{
		"https://api.example.com": true, "http://localhost:8080/api/v4": true,
		"": false, "api.example.com": false, "ftp://x": false, "https://u:p@x": false, "https://x?a=b": false,
	} {
		if err := rest.CheckBase(base); (err == nil) != good {
			t.Errorf("%q: %v", base, err)
		}
	}
}

func TestEndOfALimitIsReadInEveryDialect(t *testing.T) {
	for _, prefix := range []string{"X-RateLimit-", "RateLimit-", "X-Sentry-Rate-Limit-"} {
		f := things(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(prefix+"Remaining", "0")
			w.Header().Set(prefix+"Reset", "1042")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		_, err := rest.Get[thing](t.Context(), client(f), "/things", nil)
		if later, ok := errors.AsType[*check.RetryLater](err); !ok || later.After != 42*time.Second {
			t.Errorf("%s: %v, want to wait 42s", prefix, err)
		}
	}
}
