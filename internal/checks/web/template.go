package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// captured is a value that a flow knows by name: its text, and its JSON, so that
// a number stays a number inside a JSON body.
type captured struct {
	text string
	json json.RawMessage
}

// values are what {{name}} stands for. Text is put in once and never read again,
// so that what a server answers cannot become a template.
type values map[string]captured

func (v values) text(name, text string) {
	quoted, err := json.Marshal(text)
	if err != nil {
		quoted = []byte(`""`)
	}
	v[name] = captured{text, quoted}
}

// names matches {{name}}.
func names() *regexp.Regexp {
	return regexp.MustCompile(`\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)
}

// uses lists the names in texts.
func uses(texts ...string) []string {
	var out []string
	for _, text := range texts {
		for _, m := range names().FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

// missing is a name that has no value: a step before did not get so far.
type missing struct{ name string }

func (m *missing) Error() string { return m.name + " was never captured" }

// expand puts values into a text, each as encode writes it.
func (v values) expand(text string, encode func(string) string) (string, error) {
	var lost error
	out := names().ReplaceAllStringFunc(text, func(found string) string {
		name := names().FindStringSubmatch(found)[1]
		value, known := v[name]
		if !known {
			lost = &missing{name}
			return ""
		}
		return encode(value.text)
	})
	return out, lost
}

func plain(s string) string { return s }

// inURL encodes a value for a path or a query; what it holds can leave neither.
func inURL(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// expandJSON puts values into the strings of a document. A string that is nothing
// but one name becomes the value itself, with its type.
func (v values) expandJSON(doc check.Value) (check.Value, error) {
	if doc == nil {
		return nil, nil
	}
	root, err := check.FromJSON(doc)
	if err != nil {
		return nil, err
	}
	if root, err = v.walk(root); err != nil {
		return nil, err
	}
	text, err := json.Marshal(root)
	return text, err
}

func (v values) walk(node any) (any, error) {
	var err error
	switch n := node.(type) {
	case string:
		whole := names().FindStringSubmatch(n)
		if whole == nil || whole[0] != n {
			return v.expand(n, plain)
		}
		value, known := v[whole[1]]
		if !known {
			return nil, &missing{whole[1]}
		}
		return value.json, nil
	case []any:
		for i := range n {
			if n[i], err = v.walk(n[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range n {
			if n[key], err = v.walk(n[key]); err != nil {
				return nil, err
			}
		}
	}
	return node, nil
}

// texts lists every text of a request that may hold names.
func (r *request) texts() []string {
	out := []string{r.URL, r.Body, string(r.JSON), r.Host}
	for _, value := range r.Headers {
		out = append(out, value)
	}
	for _, value := range r.Form {
		out = append(out, value)
	}
	return out
}

// filled gives the request with all values put in.
func (r *request) filled(v values) (request, error) {
	out := *r
	var err error
	put := func(text string, encode func(string) string) string {
		filled, lost := v.expand(text, encode)
		if err == nil {
			err = lost
		}
		return filled
	}
	out.URL, out.Body, out.Host = put(r.URL, inURL), put(r.Body, plain), put(r.Host, plain)
	out.Headers, out.Form = map[string]string{}, nil
	for name, value := range r.Headers {
		if out.Headers[name] = put(value, plain); !headerValue(out.Headers[name]) && err == nil {
			err = fmt.Errorf("header %s: a value holds a character that no header can carry", name)
		}
	}
	if r.Form != nil {
		out.Form = map[string]string{}
		for name, value := range r.Form {
			out.Form[name] = put(value, plain)
		}
	}
	if err != nil {
		return out, err
	}
	out.JSON, err = v.expandJSON(r.JSON)
	return out, err
}

// filled gives the expectation with all values put into JSON, header and body.
func (e *expectation) filled(v values) (*expectation, error) {
	out := *e
	if e.JSON != nil {
		out.JSON = map[string]check.Value{}
	}
	for path, want := range e.JSON {
		filled, err := v.expandJSON(want)
		if err != nil {
			return nil, err
		}
		out.JSON[path] = filled
	}
	if e.Body.Contains != nil {
		out.Body.Contains = nil
	}
	for _, part := range e.Body.Contains {
		filled, err := v.expand(part, plain)
		if err != nil {
			return nil, err
		}
		if filled == "" {
			return nil, fmt.Errorf("body: %s: %w", part, errEmptyText)
		}
		out.Body.Contains = append(out.Body.Contains, filled)
	}
	return &out, nil
}

// texts lists every text of an expectation that may hold names.
func (e *expectation) texts() []string {
	out := append([]string{}, e.Body.Contains...)
	for _, want := range e.JSON {
		out = append(out, string(want))
	}
	return out
}
