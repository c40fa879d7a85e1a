package seal

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func TestBox(t *testing.T) {
	box, err := New(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	sealed := box.Seal("+15550100")
	if bytes.Contains(sealed, []byte("5550100")) || bytes.Equal(sealed, box.Seal("+15550100")) {
		t.Error("the text shows, or sealing twice gives the same")
	}
	if text, err := box.Open(sealed); err != nil || text != "+15550100" {
		t.Errorf("Open = %q, %v", text, err)
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := box.Open(sealed); err == nil {
		t.Error("a changed text opens")
	}
	for _, key := range []string{"", "not base64!", "c2hvcnQ="} {
		if _, err := New(key); err == nil {
			t.Errorf("New(%q) works", key)
		}
	}
}
