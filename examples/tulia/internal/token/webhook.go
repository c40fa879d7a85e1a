package token

import (
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrSignature reports a webhook whose signature is missing, malformed, stale or not made with our secret.
var ErrSignature = errors.New("invalid webhook signature")

// WebhookTolerance is how far a webhook's timestamp may be from our clock.
const WebhookTolerance = 5 * time.Minute

// SignWebhook returns the header value "t=SECONDS,v1=HEX": the HMAC-SHA256 of "SECONDS.BODY" (Stripe's scheme).
func SignWebhook(secret, body []byte, at time.Time) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	return fmt.Sprintf("t=%s,v1=%x", seconds, mac(secret, seconds+"."+string(body)))
}

// CheckWebhook returns ErrSignature unless header is SignWebhook's answer for body at a time close to now.
func CheckWebhook(secret, body []byte, header string, now time.Time) error {
	var seconds, signature string
	for _, part := range strings.Split(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			seconds = value
		case "v1":
			signature = value
		}
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || now.Sub(time.Unix(unix, 0)).Abs() > WebhookTolerance {
		return ErrSignature
	}
	got, err := hex.DecodeString(signature)
	if err != nil || !hmac.Equal(got, mac(secret, seconds+"."+string(body))) {
		return ErrSignature
	}
	return nil
}
