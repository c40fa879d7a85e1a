package web_test

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/web"
)

// TestNothingMeasuredIsNotGreen holds the expectations that would be met by an
// answer of which nothing was looked at.
func TestNothingMeasuredIsNotGreen(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/packed", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, "Traceback (most recent call last)")
		_ = z.Close()
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "Traceback") })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	packed, page := "url: "+s.URL+"/packed\n", "url: "+s.URL+"/page\n"
	checktest.Run(t, web.HTTP, []checktest.Case{
		{Name: "unpacked by the client", Params: packed + "expect: {body: {lacks: Traceback}}", Want: `fail: ...body holds "Traceback"`},
		{Name: "packed body", Params: packed + "headers: {Accept-Encoding: gzip}\nexpect: {body: {lacks: Traceback}}", Want: "error: ...the body is encoded as gzip..."},
		{Name: "packed body in an expression", Params: packed + "headers: {Accept-Encoding: gzip}\nexpect: {expr: '!(body contains \"Traceback\")'}", Want: "error: ...the body is encoded as gzip..."},
		{Name: "packed body of no interest", Params: packed + "headers: {Accept-Encoding: gzip}\nexpect: {status: 200}", Want: "pass: ..."},
		{Name: "HEAD has no body", Params: page + "method: HEAD\nexpect: {body: {lacks: Traceback}}", Want: "problem: ...the answer to HEAD has no body..."},
		{Name: "HEAD has no body for an expression", Params: page + "method: HEAD\nexpect: {expr: '!(body contains \"Traceback\")'}", Want: "problem: ...the answer to HEAD has no body..."},
		{Name: "HEAD has no body in a case", Params: page + "method: HEAD\ncases: [{name: a, expect: {body: {lacks: Traceback}}}]", Want: "problem: ...the answer to HEAD has no body..."},
		{Name: "header without a rule", Params: page + "expect: {header: {Strict-Transport-Security: {}}}", Want: "problem: ...header Strict-Transport-Security: ...no rule..."},
		{Name: "empty text", Params: page + "expect: {body: {contains: ['']}}", Want: "problem: ...body: an empty text is in everything"},
		{Name: "absent and more", Params: page + "expect: {header: {Server: {absent: true, lacks: x}}}", Want: "problem: ...absent goes with no other rule"},
		{Name: "no different values", Params: page + "distinct: {header: X-Served-By, min: 0}", Want: "problem: ...distinct: ...at least 1"},
		{Name: "an empty status list", Params: page + "expect: {status: []}", Want: "pass: ..."},
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"id":""}`) })
	mux.HandleFunc("/orders/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `[]`) })
	checktest.Run(t, web.Flow, []checktest.Case{
		{Name: "an empty value is nothing to go on with", Params: "base: " + s.URL + "\nsteps: [{name: a, url: /empty, capture: {id: id}}, {name: b, url: '/orders/{{id}}'}]",
			Want: "fail: step 1 (a): GET /empty has no id to capture"},
		{Name: "text that becomes empty", Params: "base: " + s.URL + "\nvars: {word: ''}\nsteps: [{name: a, url: /page, expect: {body: {contains: ['{{word}}']}}}]",
			Want: "error: ...an empty text is in everything..."},
		{Name: "HEAD in a step", Params: "base: " + s.URL + "\nsteps: [{name: a, url: /page, method: HEAD, expect: {body: {lacks: x}}}]", Want: "problem: ...the answer to HEAD has no body..."},
	})
}
