// Package token makes and checks what proves who somebody is: signed tokens, password hashes, webhook signatures.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The two uses of a token; one never passes for the other.
const (
	Access  = "access"
	Refresh = "refresh"
)

// ErrInvalid reports a token that is malformed, expired, of the wrong use or not signed with our key.
var ErrInvalid = errors.New("invalid token")

// Claims are the contents of a token (RFC 7519 names).
type Claims struct {
	Subject string `json:"sub"` // the user's id
	Use     string `json:"use"` // Access or Refresh
	Issued  int64  `json:"iat"` // Unix seconds
	Expires int64  `json:"exp"` // Unix seconds
}

// header is the only one accepted, so that a token cannot choose its own algorithm.
const header = `{"alg":"HS256","typ":"JWT"}`

// Sign returns claims as a JSON Web Token signed with HMAC-SHA256.
func Sign(key []byte, claims Claims) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	unsigned := encode([]byte(header)) + "." + encode(body)
	return unsigned + "." + encode(mac(key, unsigned)), nil
}

// Parse returns the claims of text if it is a token for use, signed with key and not expired at now.
// Every other token is ErrInvalid.
func Parse(key []byte, text, use string, now time.Time) (Claims, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || parts[0] != encode([]byte(header)) {
		return Claims{}, ErrInvalid
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, mac(key, parts[0]+"."+parts[1])) {
		return Claims{}, ErrInvalid
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, ErrInvalid
	}
	var claims Claims
	if err := json.Unmarshal(body, &claims); err != nil || claims.Use != use || now.Unix() >= claims.Expires {
		return Claims{}, ErrInvalid
	}
	return claims, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
