package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// maxAnswer bounds how much of a webhook's answer is read, in bytes.
const maxAnswer = 64 << 10

// post sends the message to a webhook. Only 2xx is taken; 4xx is a certain
// refusal; of anything else it is not known whether the message went on.
func (p *notification) post(ctx context.Context, env *check.Env, t target, m message, facts map[string]string) (string, error) {
	address, hide, err := t.address(ctx, env)
	if err != nil {
		return "", err
	}
	body, err := p.body(m)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return "", errors.New("the webhook's address cannot be used")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "allclear")
	request.Header.Set("Idempotency-Key", m.ID)
	response, err := env.HTTP.RoundTrip(request)
	if err != nil {
		return "", errors.New(hide.Replace(err.Error()))
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return "", fmt.Errorf("read answer: %s", hide.Replace(err.Error()))
	}
	sum := sha256.Sum256(body)
	facts["status."+t.String()] = strconv.Itoa(response.StatusCode)
	facts["sha256."+t.String()] = hex.EncodeToString(sum[:])
	if name := responseID(response.Header, answer); name != "" {
		facts["response."+t.String()] = hide.Replace(name)
	}
	miss, err := verdict(response, env.Now())
	if miss == "" && err == nil {
		if why, refused := refusal(answer); refused {
			miss = hide.Replace(fmt.Sprintf("answered %d, but its answer says ok: false (%s)", response.StatusCode, why))
		}
	}
	return miss, err
}

// refusal reads the answer of chat systems that refuse with status 200 and
// {"ok": false, "error": …} (Slack's Web API, among others).
func refusal(answer []byte) (why string, refused bool) {
	var said struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	if json.Unmarshal(answer, &said) != nil || said.OK == nil || *said.OK {
		return "", false
	}
	const most = 100
	return strings.ToValidUTF8(said.Error[:min(len(said.Error), most)], ""), true
}

func verdict(response *http.Response, now time.Time) (string, error) {
	code := response.StatusCode
	switch {
	case code >= 200 && code <= 299:
		return "", nil
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		err := fmt.Errorf("answered %d", code)
		if after := retryAfter(response.Header.Get("Retry-After"), now); after > 0 {
			return "", &check.RetryLater{After: after, Err: err}
		}
		return "", err
	case code == http.StatusRequestTimeout || code == http.StatusConflict || code == http.StatusTooEarly || code >= 500:
		// 409 is what some targets answer while a message with this key is in work.
		return "", fmt.Errorf("answered %d: whether the message was taken is not known", code)
	}
	return fmt.Sprintf("answered %d, want 2xx", code), nil
}

// retryAfter reads a Retry-After header (seconds or a date), at most an hour.
func retryAfter(text string, now time.Time) time.Duration {
	after := time.Duration(0)
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil && seconds > 0 {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		after = max(at.Sub(now), 0)
	}
	return min(after, time.Hour)
}

// address gives where to send, and what removes it from a message if it is
// secret. A transport's errors carry the address or parts of it.
func (t target) address(ctx context.Context, env *check.Env) (string, *strings.Replacer, error) {
	if t.webhook != "" {
		return t.webhook, strings.NewReplacer(), nil
	}
	value, err := env.Secret(ctx, t.ref)
	if err != nil {
		return "", nil, err
	}
	address := strings.TrimSpace(value.Reveal())
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return "", nil, fmt.Errorf("%s holds no address", t.ref)
	}
	pairs := []string{address, secret.Redacted, u.Host, secret.Redacted}
	if path := u.RequestURI(); len(path) > 1 {
		pairs = append(pairs, path, secret.Redacted)
	}
	return address, strings.NewReplacer(pairs...), nil
}

// responseID gives the id by which the target names the message, if it tells one.
func responseID(h http.Header, answer []byte) string {
	var named struct {
		ID        json.RawMessage `json:"id"`
		MessageID string          `json:"message_id"`
		TS        string          `json:"ts"`
	}
	name := ""
	if json.Unmarshal(answer, &named) == nil {
		for _, n := range []string{strings.Trim(string(named.ID), `"`), named.MessageID, named.TS} {
			if name == "" && n != "null" {
				name = n
			}
		}
	}
	for _, header := range []string{"X-Message-Id", "X-Request-Id"} {
		if name == "" {
			name = h.Get(header)
		}
	}
	const most = 100
	return strings.ToValidUTF8(name[:min(len(name), most)], "")
}
