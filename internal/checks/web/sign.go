package web

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // some providers still sign with it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// sign adds an HMAC as providers of webhooks do.
type sign struct {
	Secret    secret.Ref    `param:"secret" doc:"key that the receiver knows"`
	Header    string        `param:"header" doc:"header for the signature"`
	Algorithm string        `param:"algorithm" doc:"hash of the HMAC" default:"sha256" enum:"sha256,sha1,sha512"`
	Encoding  string        `param:"encoding" doc:"how the signature is written" default:"hex" enum:"hex,base64"`
	Payload   string        `param:"payload" doc:"what is signed, of {{body}}, {{timestamp}}, {{url}}, {{method}}, {{form}} (sorted names and values, joined)" default:"{{body}}"`
	Format    string        `param:"format" doc:"the header's text, of {{signature}} and {{timestamp}}" default:"{{signature}}"`
	Age       time.Duration `param:"age" doc:"how long ago the timestamp lies, to show that old ones are refused" default:"0s"`
	Tamper    bool          `param:"tamper" doc:"change the signature, to show that a wrong one is refused" default:"false"`
}

func (s *sign) validate() error {
	for _, name := range uses(s.Payload) {
		if !slices.Contains([]string{"body", "timestamp", "url", "method", "form"}, name) {
			return fmt.Errorf("sign.payload: {{%s}} is not known here", name)
		}
	}
	for _, name := range uses(s.Format) {
		if name != "signature" && name != "timestamp" {
			return fmt.Errorf("sign.format: {{%s}} is not known here", name)
		}
	}
	if !headerName(s.Header) {
		return fmt.Errorf("sign.header: %q is not a header", s.Header)
	}
	if !strings.Contains(s.Format, "signature") {
		return fmt.Errorf("sign.format: the signature is not in it")
	}
	return nil
}

// apply signs a request that is otherwise complete.
func (s *sign) apply(ctx context.Context, env *check.Env, r *request, out *http.Request, m *mask) error {
	key, err := env.Secret(ctx, s.Secret)
	if err != nil {
		return err
	}
	if key.IsZero() {
		return fmt.Errorf("secret %s is empty", s.Secret)
	}
	m.add(key.Reveal())
	body, _ := r.content()
	v := values{}
	v.text("body", string(body))
	v.text("url", out.URL.String())
	v.text("method", out.Method)
	v.text("timestamp", strconv.FormatInt(env.Now().Add(-s.Age).Unix(), 10))
	form := ""
	for _, name := range slices.Sorted(maps.Keys(r.Form)) {
		form += name + r.Form[name]
	}
	v.text("form", form)
	payload, err := v.expand(s.Payload, plain)
	if err != nil {
		return err
	}
	h := hmac.New(s.hash(), []byte(key.Reveal()))
	h.Write([]byte(payload))
	sum := h.Sum(nil)
	if s.Tamper {
		sum[0] ^= 1
	}
	signature := hex.EncodeToString(sum)
	if s.Encoding == "base64" {
		signature = base64.StdEncoding.EncodeToString(sum)
	}
	v.text("signature", signature)
	text, err := v.expand(s.Format, plain)
	if err != nil {
		return err
	}
	out.Header.Set(s.Header, text)
	return nil
}

func (s *sign) hash() func() hash.Hash {
	switch s.Algorithm {
	case "sha1":
		return sha1.New
	case "sha512":
		return sha512.New
	}
	return sha256.New
}
