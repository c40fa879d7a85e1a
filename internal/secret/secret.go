// Package secret holds values that must never be printed, the references by
// which files name them, and the redactor that removes them from text.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what stands wherever a secret would have been printed.
const Redacted = "[redacted]"

// Value is a secret. It prints, formats, marshals and logs as Redacted; only
// Reveal gives the text. The zero value is an absent secret.
type Value struct{ text string }

// New wraps text as a secret.
func New(text string) Value { return Value{text: text} }

// Reveal returns the secret's text, for the one place that must send it.
func (v Value) Reveal() string { return v.text }

// IsZero reports whether the secret is absent or empty.
func (v Value) IsZero() bool { return v.text == "" }

// String hides the value.
func (v Value) String() string { return Redacted }

// GoString hides the value from %#v.
func (v Value) GoString() string { return Redacted }

// Format hides the value from every fmt verb.
func (v Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Redacted) }

// MarshalText hides the value from JSON, YAML and XML encoders.
func (v Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// LogValue hides the value from structured logs.
func (v Value) LogValue() slog.Value { return slog.StringValue(Redacted) }
