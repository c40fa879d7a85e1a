// Package web holds the types that speak HTTP to the deployed system: one request
// (http) and a conversation of several (http.flow).
package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// request is what is sent.
type request struct {
	URL     string            `param:"url,short" doc:"address to ask, http:// or https://"`
	Method  string            `param:"method" doc:"HTTP method" default:"GET" enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"`
	Headers map[string]string `param:"headers" doc:"headers to send" default:""`
	Body    string            `param:"body" doc:"body to send, as it is" default:""`
	JSON    check.Value       `param:"json" doc:"body to send, as JSON" default:""`
	Form    map[string]string `param:"form" doc:"body to send, as a form" default:""`
	Auth    auth              `param:"auth" doc:"who asks; secrets are references" default:""`
	Host    string            `param:"host" doc:"Host header to send instead of the address's" default:""`
	Follow  bool              `param:"follow" doc:"follow up to 10 redirects instead of judging the first answer" default:"false"`
}

// auth says who asks.
type auth struct {
	Bearer  secret.Ref            `param:"bearer" doc:"token for Authorization: Bearer" default:""`
	Basic   *basic                `param:"basic" doc:"user and password" default:""`
	Headers map[string]secret.Ref `param:"headers" doc:"headers whose values are secrets" default:""`
}

type basic struct {
	User     string     `param:"user" doc:"user name"`
	Password secret.Ref `param:"password" doc:"password"`
}

// connection says how the server is reached and trusted.
type connection struct {
	Resolve []string   `param:"resolve" doc:"addresses (host or host:port) to connect to instead of looking the name up; each is asked" default:""`
	TLS     tlsOptions `param:"tls" doc:"trust other than the system's" default:""`
}

type tlsOptions struct {
	CA         string `param:"ca" doc:"PEM file of the authorities to trust, on this machine" default:""`
	ServerName string `param:"server_name" doc:"name that the certificate must carry" default:""`
	Insecure   string `param:"insecure" doc:"reason why the certificate is not verified at all; kept as evidence" default:""`
}

// validate holds the rules between the request's parameters. A flow's step may
// have a relative address.
func (r *request) validate(relative bool) error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil:
		return errors.New("url: not an address")
	case u.User != nil:
		return errors.New("url: a password belongs in auth, not in the address")
	case relative && u.Scheme == "" && strings.HasPrefix(r.URL, "/") && !strings.HasPrefix(r.URL, "//"):
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return fmt.Errorf("url: want http:// or https:// and a host, got %q", r.URL)
	}
	bodies := 0
	for _, given := range []bool{r.Body != "", r.JSON != nil, r.Form != nil} {
		if given {
			bodies++
		}
	}
	if bodies > 1 {
		return errors.New("give only one of body, json and form")
	}
	for name, value := range r.Headers {
		if !headerName(name) || !headerValue(value) {
			return fmt.Errorf("headers: %q is not a header", name)
		}
	}
	return nil
}

func (c *connection) validate() error {
	if c.TLS.Insecure != "" && len(strings.TrimSpace(c.TLS.Insecure)) < 10 {
		return errors.New("tls.insecure: say why, in at least 10 characters")
	}
	if c.TLS.Insecure != "" && c.TLS.CA != "" {
		return errors.New("tls: with ca the certificate is verified; leave insecure out")
	}
	return nil
}

// apply adds the credentials to a request's headers and tells the mask.
func (a *auth) apply(ctx context.Context, env *check.Env, h http.Header, m *mask) error {
	get := func(ref secret.Ref) (string, error) {
		value, err := env.Secret(ctx, ref)
		if err != nil {
			return "", err
		}
		if value.IsZero() {
			return "", fmt.Errorf("secret %s is empty", ref)
		}
		if !headerValue(value.Reveal()) {
			return "", fmt.Errorf("secret %s holds a character that no header can carry", ref)
		}
		m.add(value.Reveal())
		return value.Reveal(), nil
	}
	if !a.Bearer.IsZero() {
		token, err := get(a.Bearer)
		if err != nil {
			return err
		}
		h.Set("Authorization", "Bearer "+token)
	}
	if a.Basic != nil {
		password, err := get(a.Basic.Password)
		if err != nil {
			return err
		}
		r := http.Request{Header: h}
		r.SetBasicAuth(a.Basic.User, password)
		m.add(strings.TrimPrefix(h.Get("Authorization"), "Basic "))
	}
	for name, ref := range a.Headers {
		value, err := get(ref)
		if err != nil {
			return err
		}
		h.Set(name, value)
	}
	return nil
}

// headerName tells whether a text may name a header (RFC 9110, section 5.6.2).
func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

// headerValue tells whether a header can carry a text: no control characters.
func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < ' ' && r != '\t') || r == 0x7f })
}

// build makes the HTTP request.
func (r *request) build(ctx context.Context, env *check.Env, m *mask) (*http.Request, error) {
	body, kind := r.content()
	var reader io.Reader = http.NoBody
	if body != nil {
		reader = bytes.NewReader(body)
	}
	out, err := http.NewRequestWithContext(ctx, r.Method, r.URL, reader)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	out.Header.Set("User-Agent", "allclear")
	if kind != "" {
		out.Header.Set("Content-Type", kind)
	}
	for name, value := range r.Headers {
		out.Header.Set(name, value)
	}
	if r.Host != "" {
		out.Host = r.Host
	}
	return out, r.Auth.apply(ctx, env, out.Header, m)
}

// content gives the body and its media type; nil means none.
func (r *request) content() ([]byte, string) {
	switch {
	case r.JSON != nil:
		return r.JSON, "application/json"
	case r.Form != nil:
		form := url.Values{}
		for name, value := range r.Form {
			form.Set(name, value)
		}
		return []byte(form.Encode()), "application/x-www-form-urlencoded"
	case r.Body != "":
		return []byte(r.Body), ""
	}
	return nil, ""
}

// transport gives the way to the server at one address of Resolve ("" is where
// the name leads).
func (c *connection) transport(ctx context.Context, env *check.Env, address string) (http.RoundTripper, error) {
	if address == "" && c.TLS == (tlsOptions{}) {
		return env.HTTP, nil
	}
	config := &tls.Config{Time: env.Now, ServerName: c.TLS.ServerName, InsecureSkipVerify: c.TLS.Insecure != ""}
	if c.TLS.CA != "" {
		host, err := env.Host("")
		if err != nil {
			return nil, err
		}
		pem, err := host.ReadFile(ctx, c.TLS.CA, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("read tls.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate", c.TLS.CA)
		}
	}
	over := &http.Transport{
		TLSClientConfig: config, DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 18,
		DialContext: func(ctx context.Context, network, target string) (net.Conn, error) {
			return env.Dial(ctx, network, instead(address, target))
		},
	}
	if env.HTTPOver != nil {
		return env.HTTPOver(over), nil
	}
	return over, nil
}

// instead gives the address to connect to: the given one, with the target's port
// unless it has its own.
func instead(address, target string) string {
	if address == "" {
		return target
	}
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	_, port, _ := net.SplitHostPort(target)
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}

// mask removes secrets that this type itself has handled from what it says; the
// redactor behind it knows only those that env gave.
type mask struct{ values []string }

// add takes a secret; shorter ones than 4 characters would hide everything.
func (m *mask) add(value string) {
	if len(value) >= 4 && !slices.Contains(m.values, value) {
		m.values = append(m.values, value)
		// The longest first, so that no part of a value is left over.
		slices.SortFunc(m.values, func(a, b string) int { return len(b) - len(a) })
	}
}

// hide gives text without the secrets.
func (m *mask) hide(text string) string {
	for _, value := range m.values {
		for _, form := range []string{value, inURL(value), url.QueryEscape(value), strings.Trim(canonical(value), `"`)} {
			text = strings.ReplaceAll(text, form, secret.Redacted)
		}
	}
	return text
}
