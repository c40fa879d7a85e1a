package web

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

const (
	// maxBody bounds how much of an answer's body is read, in bytes.
	maxBody = 1 << 20
	// maxRedirects bounds a chain of redirects.
	maxRedirects = 10
	// maxRetryAfter bounds what a server may ask for with Retry-After.
	maxRetryAfter = time.Hour
)

// answer is what came back, and how.
type answer struct {
	method, url string
	status      int
	header      http.Header
	body        []byte
	cut         bool
	took        time.Duration
	chain       []string
	peer        *x509.Certificate
	timings     timings
}

// untrusted is a definite finding: the server showed a certificate that is not
// valid for it.
type untrusted struct{ why string }

func (u *untrusted) Error() string { return "the certificate is not trusted: " + u.why }

// send sends one request and reads the whole answer, up to maxBody.
func send(ctx context.Context, env *check.Env, via http.RoundTripper, jar http.CookieJar, r *http.Request, follow bool) (answer, error) {
	a := answer{method: r.Method, url: r.URL.String()}
	secrets := secretHeaders(r)
	client := http.Client{Transport: via, Jar: jar, CheckRedirect: func(next *http.Request, past []*http.Request) error {
		if !follow {
			return http.ErrUseLastResponse
		}
		before := past[len(past)-1]
		a.chain = append(a.chain, fmt.Sprintf("%d %s", next.Response.StatusCode, next.URL))
		switch {
		case len(past) > maxRedirects:
			return &badRedirect{fmt.Sprintf("more than %d redirects", maxRedirects)}
		case before.URL.Scheme == "https" && next.URL.Scheme != "https":
			return &badRedirect{"a redirect leads from https to " + next.URL.Scheme}
		}
		if next.URL.Host != past[0].URL.Host {
			for _, name := range secrets {
				next.Header.Del(name)
			}
		}
		return nil
	}}
	watch := &stopwatch{now: env.Now}
	start := env.Now()
	response, err := client.Do(r.WithContext(watch.trace(ctx)))
	if outer, ok := errors.AsType[*url.Error](err); ok && len(a.chain) == 0 {
		err = outer.Err // the caller names the address itself
	}
	if err != nil {
		return a, sendError(ctx, err)
	}
	defer response.Body.Close()
	a.body, err = io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	a.took = env.Now().Sub(start)
	if err != nil {
		return a, sendError(ctx, fmt.Errorf("read answer: %w", err))
	}
	a.timings = watch.read()
	if len(a.body) > maxBody {
		a.body, a.cut = a.body[:maxBody], true
	}
	a.status, a.header = response.StatusCode, response.Header
	if response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		a.peer = response.TLS.PeerCertificates[0]
	}
	if where := response.Header.Get("Location"); where != "" && !follow {
		a.chain = append(a.chain, fmt.Sprintf("%d %s", a.status, where))
	}
	return a, ctx.Err()
}

// badRedirect is a definite finding about the server's redirects.
type badRedirect struct{ why string }

func (b *badRedirect) Error() string { return b.why }

// secretHeaders lists the headers that must not go to another host. The client
// itself drops only Authorization and Cookie.
func secretHeaders(r *http.Request) []string {
	var names []string
	for name := range r.Header {
		if name != "User-Agent" && name != "Accept" && name != "Content-Type" {
			names = append(names, name)
		}
	}
	return names
}

// sendError tells a definite finding from not having found out.
func sendError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no complete answer: %w", context.Cause(ctx))
	}
	if bad, ok := errors.AsType[*badRedirect](err); ok {
		return bad
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &untrusted{bad.Err.Error()}
	}
	return err
}

// finding gives the reason of a failure that send reports as an error.
func finding(err error) (string, bool) {
	if bad, ok := errors.AsType[*untrusted](err); ok {
		return bad.Error(), true
	}
	if bad, ok := errors.AsType[*badRedirect](err); ok {
		return bad.Error(), true
	}
	return "", false
}

// later gives the error for an answer 429: the server was asked too often, which
// says nothing about what was to be checked.
func later(a answer, now time.Time) error {
	err := errors.New("answered 429 (too many requests)")
	text := a.header.Get("Retry-After")
	after := time.Duration(0)
	if seconds, e := strconv.ParseInt(text, 10, 32); e == nil && seconds >= 0 {
		after = time.Duration(seconds) * time.Second
	} else if at, e := http.ParseTime(text); e == nil {
		after = max(at.Sub(now), 0)
	} else {
		return err
	}
	return &check.RetryLater{After: min(after, maxRetryAfter), Err: err}
}

// hideError gives an error without secrets; a server's delay stays known.
func hideError(err error, m *mask) error {
	text := m.hide(err.Error())
	if wait, ok := errors.AsType[*check.RetryLater](err); ok {
		text = strings.Replace(text, fmt.Sprintf(" (try again in %s)", wait.After), "", 1)
		return &check.RetryLater{After: wait.After, Err: errors.New(text)}
	}
	return errors.New(text)
}

// facts gives the evidence of one answer.
func (a answer) facts() map[string]string {
	sum := sha256.Sum256(a.body)
	facts := map[string]string{
		"status": strconv.Itoa(a.status), "latency": a.took.Round(time.Microsecond).String(),
		"body.bytes": strconv.Itoa(len(a.body)), "body.sha256": hex.EncodeToString(sum[:]),
	}
	for name, d := range map[string]time.Duration{"dns": a.timings.dns, "connect": a.timings.connect, "tls": a.timings.tls, "first_byte": a.timings.firstByte} {
		if d > 0 {
			facts["latency."+name] = d.Round(time.Microsecond).String()
		}
	}
	if a.timings.remote != "" {
		facts["remote"] = a.timings.remote
	}
	if a.timings.reused {
		facts["connection"] = "reused"
	}
	for i, hop := range a.chain {
		facts["redirect."+strconv.Itoa(i+1)] = hop
	}
	if a.peer != nil {
		sum := sha256.Sum256(a.peer.Raw)
		facts["certificate"] = fmt.Sprintf("%s, issued by %s, valid until %s", a.peer.Subject, a.peer.Issuer, a.peer.NotAfter.UTC().Format(time.RFC3339))
		facts["certificate.sha256"] = hex.EncodeToString(sum[:])
	}
	return facts
}

// shown gives the headers that evidence may hold: a cookie is a credential.
func (a answer) shown() http.Header {
	h := a.header.Clone()
	for i, cookie := range h["Set-Cookie"] {
		name, _, _ := strings.Cut(cookie, "=")
		h["Set-Cookie"][i] = name + "=" + secret.Redacted
	}
	return h
}
