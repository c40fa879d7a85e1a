package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// expectation is what an answer must be. Without a status, 2xx is expected.
type expectation struct {
	Status     []status               `param:"status" doc:"statuses that are right: 200, 2xx, 200-204" default:""`
	JSON       map[string]check.Value `param:"json" doc:"values by path (a.b[0].c) in the JSON answer" default:""`
	Expr       check.Expression       `param:"expr" doc:"condition over status, headers (lower case), json, body, seconds" default:""`
	Header     map[string]textRule    `param:"header" doc:"what each header must be" default:""`
	Body       textRule               `param:"body" doc:"what the body must be" default:""`
	MaxLatency time.Duration          `param:"max_latency" doc:"longest acceptable time to the whole answer" default:""`
}

// textRule is what a text must be; a bare value is the exact text.
type textRule struct {
	Is       *string   `param:"is,short" doc:"the exact text" default:""`
	Contains []string  `param:"contains" doc:"texts that must occur" default:""`
	Lacks    []string  `param:"lacks" doc:"texts that must not occur" default:""`
	Matches  []pattern `param:"matches" doc:"regular expressions (RE2) that must match" default:""`
	Absent   bool      `param:"absent" doc:"there must be no such header, or an empty body" default:"false"`
}

// validate refuses rules that every text meets.
func (r textRule) validate() error {
	switch {
	case slices.Contains(r.Contains, ""):
		return errEmptyText
	case r.Absent && (r.Is != nil || len(r.Contains)+len(r.Lacks)+len(r.Matches) > 0):
		return errors.New("absent goes with no other rule")
	}
	return nil
}

// errEmptyText says that a text which is looked for cannot fail to be found.
var errEmptyText = errors.New("an empty text is in everything")

func (r textRule) given() bool {
	return r.Is != nil || r.Absent || len(r.Contains)+len(r.Lacks)+len(r.Matches) > 0
}

// status is a status code or a range of them.
type status struct{ from, to int }

// UnmarshalText reads 200, 2xx or 200-204.
func (s *status) UnmarshalText(text []byte) error {
	word := string(text)
	if class, ok := strings.CutSuffix(word, "xx"); ok && len(class) == 1 && class >= "1" && class <= "5" {
		n := int(class[0]-'0') * 100
		*s = status{n, n + 99}
		return nil
	}
	from, to, isRange := strings.Cut(word, "-")
	if !isRange {
		to = from
	}
	a, err1 := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
		return fmt.Errorf("want 200, 2xx or 200-204")
	}
	*s = status{a, b}
	return nil
}

// String gives the status as written.
func (s status) String() string {
	switch {
	case s.from == s.to:
		return strconv.Itoa(s.from)
	case s.from%100 == 0 && s.to == s.from+99:
		return strconv.Itoa(s.from/100) + "xx"
	}
	return fmt.Sprintf("%d-%d", s.from, s.to)
}

// pattern is a regular expression that is compiled while the file is read.
type pattern struct{ *regexp.Regexp }

// UnmarshalText compiles the pattern.
func (p *pattern) UnmarshalText(text []byte) error {
	if len(text) > 1000 {
		return fmt.Errorf("longer than 1000 bytes")
	}
	re, err := regexp.Compile(string(text))
	p.Regexp = re
	return err
}

// validate checks what can be checked before any answer to the method.
func (e *expectation) validate(method string) error {
	if method == http.MethodHead && e.reads() {
		return errors.New("expect: the answer to HEAD has no body to look into")
	}
	for name, rule := range e.Header {
		if err := rule.validate(); err != nil {
			return fmt.Errorf("expect: header %s: %w", name, err)
		}
		if !rule.given() {
			return fmt.Errorf("expect: header %s: there is no rule for it", name)
		}
	}
	if err := e.Body.validate(); err != nil {
		return fmt.Errorf("expect: body: %w", err)
	}
	for path := range e.JSON {
		if _, err := parsePath(path); err != nil {
			return fmt.Errorf("expect.json: %w", err)
		}
	}
	if err := e.Expr.Only("status", "headers", "json", "body", "seconds"); err != nil {
		return err
	}
	return nil
}

// reads tells whether the body is looked into.
func (e *expectation) reads() bool {
	return len(e.JSON) > 0 || e.Body.given() || slices.Contains(e.Expr.Names(), "json") || slices.Contains(e.Expr.Names(), "body")
}

// accepts tells whether a status is right.
func (e *expectation) accepts(code int) bool {
	if len(e.Status) == 0 {
		return code >= 200 && code <= 299
	}
	return slices.ContainsFunc(e.Status, func(s status) bool { return code >= s.from && code <= s.to })
}

// statusWords gives the accepted statuses for a message.
func (e *expectation) statusWords() string {
	if len(e.Status) == 0 {
		return "2xx"
	}
	var words []string
	for _, s := range e.Status {
		words = append(words, s.String())
	}
	return strings.Join(words, " or ")
}

// judge gives the first way in which the answer is not as expected, or "". An
// answer that cannot be judged (no JSON where JSON is looked into, a body cut at
// the limit) is an error.
func (e *expectation) judge(a answer) (string, error) {
	if !e.accepts(a.status) {
		miss := fmt.Sprintf("answered %d, want %s", a.status, e.statusWords())
		if where := a.header.Get("Location"); where != "" {
			miss += ", and redirects to " + where
		}
		return miss, nil
	}
	if e.MaxLatency > 0 && a.took > e.MaxLatency {
		return fmt.Sprintf("took %s, want at most %s", a.took.Round(time.Millisecond), e.MaxLatency), nil
	}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		values := a.header.Values(name)
		if miss := e.Header[name].judge(strings.Join(values, ", "), len(values) > 0); miss != "" {
			return "header " + http.CanonicalHeaderKey(name) + " " + miss, nil
		}
	}
	if e.reads() && a.cut {
		return "", fmt.Errorf("the body is longer than %d bytes", maxBody)
	}
	// The client unpacks only what it asked for by itself; nothing can be found in
	// a body that is still packed.
	if coding := a.header.Get("Content-Encoding"); e.reads() && coding != "" && coding != "identity" {
		return "", fmt.Errorf("the body is encoded as %s and cannot be looked into: send no Accept-Encoding", shorten(coding))
	}
	if e.Body.given() {
		if miss := e.Body.judge(string(a.body), len(a.body) > 0); miss != "" {
			return "body " + miss, nil
		}
	}
	if miss, err := e.judgeJSON(a); miss != "" || err != nil {
		return miss, err
	}
	return e.judgeExpr(a)
}

func (e *expectation) judgeJSON(a answer) (string, error) {
	if len(e.JSON) == 0 {
		return "", nil
	}
	doc, err := check.FromJSON(a.body)
	if err != nil {
		return "", fmt.Errorf("the answer is not JSON: %w", err)
	}
	for _, path := range slices.Sorted(maps.Keys(e.JSON)) {
		got, found := lookup(doc, path)
		if !found {
			return fmt.Sprintf("%s is missing", path), nil
		}
		want, err := check.FromJSON(e.JSON[path])
		if err != nil {
			return "", err
		}
		if g, w := canonical(got), canonical(want); g != w {
			return fmt.Sprintf("%s is %s, want %s", path, shorten(g), w), nil
		}
	}
	return "", nil
}

func (e *expectation) judgeExpr(a answer) (string, error) {
	if e.Expr.IsZero() {
		return "", nil
	}
	headers := map[string]any{}
	for name, values := range a.header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	scope := map[string]any{"status": a.status, "headers": headers, "body": string(a.body), "seconds": a.took.Seconds()}
	if slices.Contains(e.Expr.Names(), "json") {
		doc, err := check.FromJSON(a.body)
		if err != nil {
			return "", fmt.Errorf("the answer is not JSON: %w", err)
		}
		scope["json"] = doc
	}
	held, err := e.Expr.Eval(scope)
	if err != nil || held {
		return "", err
	}
	return fmt.Sprintf("does not hold: %s", e.Expr), nil
}

func (r textRule) judge(text string, present bool) string {
	if r.Absent {
		if present {
			return "is there: " + shorten(strconv.Quote(text))
		}
		return ""
	}
	if !present && !(len(r.Contains)+len(r.Matches) == 0 && r.Is == nil) {
		return "is missing"
	}
	if r.Is != nil && text != *r.Is {
		return fmt.Sprintf("is %s, want %q", shorten(strconv.Quote(text)), *r.Is)
	}
	for _, part := range r.Contains {
		if !strings.Contains(text, part) {
			return fmt.Sprintf("lacks %q", part)
		}
	}
	for _, part := range r.Lacks {
		if strings.Contains(text, part) {
			return fmt.Sprintf("holds %q", part)
		}
	}
	for _, p := range r.Matches {
		if !p.MatchString(text) {
			return fmt.Sprintf("does not match %s", p)
		}
	}
	return ""
}

// canonical gives a JSON value's text, in which equal values are equal.
func canonical(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// shorten bounds what a message quotes.
func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
