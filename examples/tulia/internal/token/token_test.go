package token

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	key, now := []byte("a key of the test"), time.Unix(1_700_000_000, 0)
	good, err := Sign(key, Claims{Subject: "u1", Use: Access, Issued: now.Unix(), Expires: now.Unix() + 60})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Parse(key, good, Access, now); err != nil || c.Subject != "u1" {
		t.Fatalf("Parse = %v, %v", c, err)
	}
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	for name, bad := range map[string]string{
		"empty": "", "two parts": parts[0] + "." + parts[1], "other algorithm": none + "." + parts[1] + ".",
		"no signature": parts[0] + "." + parts[1] + ".", "bad base64": parts[0] + "." + parts[1] + ".!",
		"changed claims": parts[0] + "." + parts[1] + "AA." + parts[2],
	} {
		if _, err := Parse(key, bad, Access, now); err != ErrInvalid {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if _, err := Parse(key, good, Refresh, now); err != ErrInvalid {
		t.Errorf("other use: %v", err)
	}
	if _, err := Parse(key, good, Access, now.Add(time.Minute)); err != ErrInvalid {
		t.Errorf("expired: %v", err)
	}
	if _, err := Parse([]byte("another key"), good, Access, now); err != ErrInvalid {
		t.Errorf("other key: %v", err)
	}
}

func TestPasswordMatches(t *testing.T) {
	hash, err := HashPassword("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	if !PasswordMatches(hash, "open sesame") || PasswordMatches(hash, "open sesam") {
		t.Error("the wrong password matches, or the right one does not")
	}
	for _, bad := range []string{"", "x", "md5$1$00$00", "pbkdf2-sha256$0$00$00", "pbkdf2-sha256$1$zz$00", "pbkdf2-sha256$1$00$zz"} {
		if PasswordMatches(bad, "open sesame") {
			t.Errorf("the malformed hash %q matches", bad)
		}
	}
}

func TestCheckWebhook(t *testing.T) {
	secret, body, now := []byte("secret"), []byte(`{"a":1}`), time.Unix(1_700_000_000, 0)
	good := SignWebhook(secret, body, now)
	// From outside: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
	if want := "t=1700000000,v1=" + externalSignature; good != want {
		t.Errorf("SignWebhook = %s, want %s", good, want)
	}
	if err := CheckWebhook(secret, body, good, now.Add(WebhookTolerance)); err != nil {
		t.Error(err)
	}
	for name, header := range map[string]string{
		"empty": "", "no time": strings.Replace(good, "t=", "x=", 1), "not hex": "t=1700000000,v1=zz",
		"other time": strings.Replace(good, "t=17000000", "t=17000001", 1),
	} {
		if CheckWebhook(secret, body, header, now) == nil {
			t.Errorf("%s passes", name)
		}
	}
	if CheckWebhook(secret, body, good, now.Add(WebhookTolerance+time.Second)) == nil {
		t.Error("a stale one passes")
	}
	if CheckWebhook(secret, append(body, ' '), good, now) == nil {
		t.Error("a tampered one passes")
	}
}

const externalSignature = "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
