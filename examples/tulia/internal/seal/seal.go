// Package seal encrypts what must not be readable in the database: customers' phone numbers.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
)

// Box encrypts and decrypts with one key (AES-256-GCM, a random nonce in front of each text).
type Box struct {
	aead cipher.AEAD
}

// New returns the box of key: 32 bytes in standard base64.
func New(key string) (*Box, error) {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil, errors.New("key is not base64")
	}
	if len(raw) != 32 {
		return nil, fmt.Errorf("key has %d bytes, want 32", len(raw))
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &Box{aead: aead}, nil
}

// Seal returns text encrypted.
func (b *Box) Seal(text string) []byte {
	return b.aead.Seal(nil, nil, []byte(text), nil) // #nosec G407 -- this AEAD takes no nonce: it makes a random one
}

// Open returns the text that Seal was given, or an error if sealed was changed or made with another key.
func (b *Box) Open(sealed []byte) (string, error) {
	text, err := b.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return "", fmt.Errorf("open sealed text: %w", err)
	}
	return string(text), nil
}
