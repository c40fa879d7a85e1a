package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
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

// hook is a request to an address, and what takes secrets out of messages.
type hook struct {
	address, method string
	header          http.Header
	body            []byte
	hide            *strings.Replacer
}

// toWebhook sends all fields, only the text, or a body of the team's own.
func (p *notification) toWebhook(ctx context.Context, env *check.Env, t target, m message) (sender, error) {
	h, err := newHook(ctx, env, t)
	if err != nil {
		return nil, err
	}
	if h.body, err = p.body(env, m); err != nil {
		return nil, err
	}
	h.method = p.Hook.method()
	h.header.Set("Idempotency-Key", m.ID)
	for name, value := range p.Hook.Headers {
		text := value.text
		if !value.ref.IsZero() {
			kept, err := env.Secret(ctx, value.ref)
			if err != nil {
				return nil, err
			}
			text = kept.Reveal()
		}
		h.header.Set(name, text)
	}
	if !p.Hook.Sign.IsZero() {
		key, err := env.Secret(ctx, p.Hook.Sign)
		if err != nil {
			return nil, err
		}
		mac := hmac.New(sha256.New, []byte(key.Reveal()))
		mac.Write(h.body)
		h.header.Set(p.Hook.signHeader(), "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return func(ctx context.Context) answer {
		a, said := h.send(ctx, env)
		if a.miss == "" && a.err == nil {
			if why, refused := refusal(said); refused {
				a.miss = h.hide.Replace(fmt.Sprintf("answered %s, but its answer says ok: false (%s)", a.facts["status"], why))
			}
		}
		return a
	}, nil
}

// body gives what a webhook gets.
func (p *notification) body(env *check.Env, m message) ([]byte, error) {
	if p.Hook.Body != "" {
		v := values(env.Run)
		v["text"], v["id"] = m.Text, m.ID
		text, err := fill(p.Hook.Body, v, true)
		return []byte(text), err
	}
	if p.Format == "chat" {
		return json.Marshal(chat{m.Text})
	}
	return json.Marshal(m)
}

// chat is what the incoming webhooks of chat systems take.
type chat struct {
	Text string `json:"text"`
}

// newHook fetches an address. A transport's errors carry it or parts of it, so
// that it is taken out of them if it is secret.
func newHook(ctx context.Context, env *check.Env, t target) (*hook, error) {
	h := &hook{address: t.name, method: http.MethodPost, header: http.Header{}, hide: strings.NewReplacer()}
	h.header.Set("Content-Type", "application/json")
	h.header.Set("User-Agent", "allclear")
	if t.ref.IsZero() {
		return h, nil
	}
	value, err := env.Secret(ctx, t.ref)
	if err != nil {
		return nil, err
	}
	h.address = strings.TrimSpace(value.Reveal())
	u, err := url.Parse(h.address)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, fmt.Errorf("%s holds no address", t.ref)
	}
	pairs := []string{h.address, secret.Redacted, u.Host, secret.Redacted}
	if path := u.RequestURI(); len(path) > 1 {
		pairs = append(pairs, path, secret.Redacted)
	}
	h.hide = strings.NewReplacer(pairs...)
	return h, nil
}

// send sends the request and reads the answer. Only 2xx is taken; 4xx is a certain
// refusal; of anything else it is not known whether the message went on.
func (h *hook) send(ctx context.Context, env *check.Env) (answer, []byte) {
	request, err := http.NewRequestWithContext(ctx, h.method, h.address, bytes.NewReader(h.body))
	if err != nil {
		return answer{err: &unsent{errors.New("the webhook's address cannot be used")}}, nil
	}
	request.Header = h.header
	response, err := env.HTTP.RoundTrip(request)
	if err != nil {
		hidden := errors.New(h.hide.Replace(err.Error()))
		if notTaken(err) {
			return answer{err: &unsent{hidden}}, nil
		}
		return answer{err: hidden}, nil
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return answer{err: fmt.Errorf("read answer: %s", h.hide.Replace(err.Error()))}, nil
	}
	sum := sha256.Sum256(h.body)
	a := answer{facts: map[string]string{"status": strconv.Itoa(response.StatusCode), "sha256": hex.EncodeToString(sum[:])}}
	if name := responseID(response.Header, said); name != "" {
		a.facts["response"] = h.hide.Replace(name)
	}
	a.miss, a.err = verdict(response, env.Now())
	return a, said
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
		if code == http.StatusTooManyRequests {
			return "", &unsent{err}
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
