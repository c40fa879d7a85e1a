// Package rest speaks JSON over HTTP with the services that teams rent: forges,
// trackers, chat and alerting systems. It tells apart what a caller must never
// confuse: an answer, a refusal, a limit, and not having found out.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxAnswer bounds one answer, in bytes. A longer one is an error: half a list
	// is not a list.
	maxAnswer = 16 << 20
	// maxWait bounds what a service may ask for with Retry-After.
	maxWait = time.Hour
	// maxQuoted bounds what a message quotes from an answer, in bytes.
	maxQuoted = 200
)

// Client reaches one service.
type Client struct {
	// Service names it in messages: "GitHub".
	Service string
	// Base is the address that paths are joined to, without a slash at the end.
	Base string
	// Header is sent with every request: authorization, version, media type.
	Header http.Header
	// HTTP sends; Now gives the time that a limit's end is compared with.
	HTTP http.RoundTripper
	Now  func() time.Time
}

// New makes a client that sends through env. base must be an http or https
// address without user, query and fragment.
func New(env *check.Env, service, base string, header http.Header) (*Client, error) {
	if err := CheckBase(base); err != nil {
		return nil, err
	}
	return &Client{Service: service, Base: strings.TrimRight(base, "/"), Header: header, HTTP: env.HTTP, Now: env.Now}, nil
}

// CheckBase says what is wrong with the address of a service's API.
func CheckBase(base string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return errors.New("want the API's address, such as https://api.example.com")
	case u.User != nil:
		return errors.New("a password belongs in the token, not in the address")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("want an address without query and fragment")
	}
	return nil
}

// Refused is an answer that is certain: the service took the request as such and
// said no. Of a request that changes something, nothing was changed.
type Refused struct {
	Service string
	// Method and Path name the request, without its query.
	Method, Path string
	// Status is the HTTP status, 400 to 499.
	Status int
	// Message is what the service said, cut.
	Message string
}

// Error names the request and the answer.
func (r *Refused) Error() string {
	text := fmt.Sprintf("%s answered %d to %s %s", r.Service, r.Status, r.Method, r.Path)
	if r.Message != "" {
		text += ": " + r.Message
	}
	switch r.Status {
	case http.StatusUnauthorized:
		text += " (is the token right, and has it not expired?)"
	case http.StatusForbidden:
		text += " (does the token have the permission for this?)"
	}
	return text
}

// IsStatus tells whether err is a refusal with this status.
func IsStatus(err error, status int) bool {
	refused, ok := errors.AsType[*Refused](err)
	return ok && refused.Status == status
}

// Answer is one answer as it came.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Get asks for path, which begins with a slash, and reads the JSON answer.
func Get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	out, _, err := GetWithHeader[T](ctx, c, path, query)
	return out, err
}

// GetWithHeader does what Get does and gives the answer's header too.
func GetWithHeader[T any](ctx context.Context, c *Client, path string, query url.Values) (T, http.Header, error) {
	var out T
	a, err := c.Do(ctx, http.MethodGet, c.Base+path, query, nil)
	if err != nil {
		return out, nil, err
	}
	err = Decode(c, path, a.Body, &out)
	return out, a.Header, err
}

// Send sends body as JSON by a method that changes something, and reads the JSON
// answer. An error that is not a *Refused leaves open whether it was taken.
func Send[T, B any](ctx context.Context, c *Client, method, path string, body B) (T, error) {
	var out T
	text, err := json.Marshal(body)
	if err != nil {
		return out, fmt.Errorf("write request: %w", err)
	}
	a, err := c.Do(ctx, method, c.Base+path, nil, text)
	if err != nil {
		return out, err
	}
	if len(bytes.TrimSpace(a.Body)) == 0 && a.Status == http.StatusNoContent {
		return out, nil
	}
	return out, Decode(c, path, a.Body, &out)
}

// Decode reads a JSON answer into out, whose fields are what is used of it. A
// field that must be there is a pointer that the caller looks at: one that is
// missing reads as nothing, which must never look like "none found".
func Decode[T any](c *Client, path string, body []byte, out *T) error {
	if string(bytes.TrimSpace(body)) == "null" {
		return fmt.Errorf("%s answered %s with null", c.Service, path)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(out); err != nil {
		return fmt.Errorf("%s answered %s with something else than the JSON its documentation describes: %w", c.Service, path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s answered %s with more than one JSON value", c.Service, path)
	}
	return nil
}

// Do sends one request to a whole address, which must be below Base, and reads
// the whole answer. Only 2xx is an answer. 4xx is *Refused, except limits: 429,
// or 403 that says so, and 503 with Retry-After, are *check.RetryLater. Anything
// else, redirects too, is an error.
func (c *Client) Do(ctx context.Context, method, address string, query url.Values, body []byte) (Answer, error) {
	u, err := c.inside(address)
	if err != nil {
		return Answer{}, err
	}
	if len(query) > 0 {
		u.RawQuery = query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("%s: the address cannot be used", c.Service)
	}
	r.Header = c.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("User-Agent", "allclear")
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	if body != nil && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := c.HTTP.RoundTrip(r)
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", c.Service, err)
	}
	defer response.Body.Close()
	return c.read(ctx, r, response)
}

// inside parses an address and refuses one that would carry the token elsewhere.
func (c *Client) inside(address string) (*url.URL, error) {
	base, err := url.Parse(c.Base)
	if err != nil {
		return nil, fmt.Errorf("%s: the address cannot be used", c.Service)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%s: %q is not an address", c.Service, cut(address))
	}
	if u.Scheme != base.Scheme || u.Host != base.Host {
		return nil, fmt.Errorf("%s: an answer leads to another server (%s); the token does not go there", c.Service, cut(u.Host))
	}
	return u, nil
}

func (c *Client) read(ctx context.Context, r *http.Request, response *http.Response) (Answer, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer of %s: %w", c.Service, err)
	}
	if err := ctx.Err(); err != nil {
		return Answer{}, err
	}
	if len(body) > maxAnswer {
		return Answer{}, fmt.Errorf("%s answered %s with more than %d MiB", c.Service, r.URL.Path, maxAnswer>>20)
	}
	a := Answer{Status: response.StatusCode, Header: response.Header, Body: body}
	switch code := a.Status; {
	case code >= 200 && code <= 299:
		return a, nil
	case code >= 300 && code <= 399:
		return a, fmt.Errorf("%s answered %d to %s %s, a redirect: write the address it leads to", c.Service, code, r.Method, r.URL.Path)
	case code >= 400 && code <= 499 && code != http.StatusRequestTimeout && code != http.StatusTooEarly:
		refused := &Refused{Service: c.Service, Method: r.Method, Path: r.URL.Path, Status: code, Message: said(a)}
		if after, limited := c.limit(a); limited {
			return a, &check.RetryLater{After: after, Err: refused}
		}
		return a, refused
	case code == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != "":
		after, _ := c.limit(a)
		return a, &check.RetryLater{After: after, Err: fmt.Errorf("%s answered %d to %s %s", c.Service, code, r.Method, r.URL.Path)}
	}
	return a, fmt.Errorf("%s answered %d to %s %s: %s", c.Service, a.Status, r.Method, r.URL.Path, said(a))
}

// limit tells whether an answer is about asking too often, and how long to wait.
// Retry-After is RFC 9110 section 10.2.3; X-RateLimit-Reset in seconds since 1970
// is how GitHub, GitLab (RateLimit-Reset) and Sentry (X-Sentry-Rate-Limit-Reset)
// tell it.
func (c *Client) limit(a Answer) (time.Duration, bool) {
	after := time.Duration(0)
	asked := a.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(asked, 10, 32); err == nil && seconds > 0 {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(asked); err == nil {
		after = at.Sub(c.Now())
	}
	spent := false
	for _, prefix := range []string{"X-Ratelimit-", "Ratelimit-", "X-Sentry-Rate-Limit-"} {
		if a.Header.Get(prefix+"Remaining") != "0" {
			continue
		}
		spent = true
		if reset, err := strconv.ParseInt(a.Header.Get(prefix+"Reset"), 10, 64); err == nil && after <= 0 {
			after = time.Unix(reset, 0).Sub(c.Now())
		}
	}
	limited := a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable ||
		a.Status == http.StatusForbidden && (asked != "" || spent)
	return min(max(after, time.Second), maxWait), limited
}

// said gives what an answer says about itself, cut: the message of a JSON error,
// or the first words of plain text. HTML says nothing to people.
func said(a Answer) string {
	var e struct {
		Message          json.RawMessage `json:"message"`
		Error            json.RawMessage `json:"error"`
		Detail           json.RawMessage `json:"detail"`
		ErrorDescription string          `json:"error_description"`
	}
	if json.Unmarshal(a.Body, &e) == nil {
		for _, raw := range []json.RawMessage{e.Message, e.Detail, e.Error} {
			if text := strings.Trim(string(raw), `"`); text != "" && text != "null" {
				return cut(inner(raw, text))
			}
		}
		return cut(e.ErrorDescription)
	}
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || kind != "text/plain" {
		return ""
	}
	return cut(strings.TrimSpace(string(a.Body)))
}

// inner gives the message of an error that is an object, as PagerDuty, OpenAI and
// Stripe write it; otherwise the text.
func inner(raw json.RawMessage, text string) string {
	var e struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &e) == nil && e.Message != "" {
		return e.Message
	}
	return text
}

func cut(text string) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) > maxQuoted {
		text = strings.ToValidUTF8(text[:maxQuoted], "") + "…"
	}
	return strings.Join(strings.Fields(text), " ")
}
