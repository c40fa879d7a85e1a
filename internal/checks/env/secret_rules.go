package env

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// pattern is a regular expression that is compiled while the file is read.
type pattern struct{ *regexp.Regexp }

// UnmarshalText compiles the pattern.
func (p *pattern) UnmarshalText(text []byte) error {
	if len(text) > 1000 {
		return errors.New("longer than 1000 bytes")
	}
	re, err := regexp.Compile(string(text))
	p.Regexp = re
	return err
}

// mode is a file's permissions in octal.
type mode uint32

// UnmarshalText reads 0600.
func (m *mode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(string(text), "0o"), 8, 12)
	if err != nil || n == 0 || n > 0o777 {
		return errors.New("want permissions such as 0600")
	}
	*m = mode(n)
	return nil
}

// date is a day, in UTC.
type date time.Time

// UnmarshalText reads 2026-11-23.
func (d *date) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return errors.New("want a day such as 2026-11-23")
	}
	*d = date(t)
	return nil
}

// placeholder matches values that were meant to be replaced.
func placeholder(value string) bool {
	usual := regexp.MustCompile(`(?i)^(your|my|some|the)[-_ ]|change[-_ ]?(me|this|it|in|before)|replace[-_ ]?(me|this|with)|insert[-_ ]|` +
		`^(secret|password|passwd|admin|test|testing|example|default|placeholder|todo|fixme|none|null|undefined|dummy|sample|foobar|letmein|qwerty)[-_ ]?(key|token|secret|password)?[-_ ]?\d*$|` +
		`^<.*>$|^\[.*\]$|^\{\{.*\}\}$|^\$\{?[A-Za-z_]+\}?$|^x{3,}$|^\*+$|^\.{3}|^1234`)
	return usual.MatchString(strings.TrimSpace(value)) || unique(value) == 1
}

func unique(value string) int {
	seen := map[rune]bool{}
	for _, r := range value {
		seen[r] = true
	}
	return len(seen)
}

// entropy is Shannon's entropy of the characters times their number, in bits
// (C. E. Shannon, A Mathematical Theory of Communication, 1948). It is an upper
// bound: a sentence has less.
func entropy(value string) float64 {
	counts, n := map[rune]int{}, 0
	for _, r := range value {
		counts[r]++
		n++
	}
	bits := 0.0
	for _, c := range counts {
		share := float64(c) / float64(n)
		bits -= share * math.Log2(share)
	}
	return bits * float64(n)
}

// measure applies the rules that need nothing but the value.
func (s *examined) measure() {
	length, different, bits := len([]rune(s.value)), unique(s.value), entropy(s.value)
	s.fact("length", strconv.Itoa(length))
	s.fact("unique", strconv.Itoa(different))
	s.fact("entropy", fmt.Sprintf("%.0f bits", bits))
	s.fact("fingerprint", s.fingerprint(s.value))
	if length < s.MinLen {
		s.miss("has %d characters, want at least %d", length, s.MinLen)
	}
	if different < s.MinUnique {
		s.miss("has %d different characters, want at least %d", different, s.MinUnique)
	}
	if bits < s.MinEntropy {
		s.miss("has %.0f bits of entropy, want at least %.0f", bits, s.MinEntropy)
	}
	for _, prefix := range s.NotPrefix {
		if prefix != "" && strings.HasPrefix(s.value, prefix) {
			s.miss("begins with %q: it was made for development", prefix)
		}
	}
	filler := placeholder(s.value)
	for _, p := range s.Placeholders {
		filler = filler || p.MatchString(s.value)
	}
	if filler {
		s.miss("is a placeholder that nobody replaced")
	}
	if s.Decode == "" {
		return
	}
	decoded, err := decode(s.Decode, strings.TrimSpace(s.value))
	if err != nil {
		s.miss("is not %s", s.Decode)
		return
	}
	s.fact("bytes", strconv.Itoa(len(decoded)))
	if s.Bytes > 0 && len(decoded) != s.Bytes {
		s.miss("decodes to %d bytes, want %d", len(decoded), s.Bytes)
	}
}

// decode reads an encoding, with or without padding.
func decode(encoding, value string) ([]byte, error) {
	unpadded := strings.TrimRight(value, "=")
	switch encoding {
	case "hex":
		return hex.DecodeString(value)
	case "base64url":
		return base64.RawURLEncoding.DecodeString(unpadded)
	}
	return base64.RawStdEncoding.DecodeString(unpadded)
}

// differs compares with other variables. One that is not set makes the question
// open: the application may fall back to this very value.
func (s *examined) differs(ctx context.Context) error {
	for _, o := range s.DiffersFrom {
		from := s.source
		if o.File != "" {
			from = source{On: o.On, File: o.File}
		}
		if o.File == "" && o.Var == s.name {
			continue // the variable itself, in a list of several
		}
		value, found, err := from.read(ctx, s.env, o.Var)
		if err != nil {
			return err
		}
		if !found || strings.TrimSpace(value) == "" {
			return fmt.Errorf("cannot compare: %s is not set in %s", o.Var, from.where())
		}
		if value == s.value {
			s.miss("is the same as %s in %s", o.Var, from.where())
		}
	}
	return nil
}

// stored compares with where the value is kept.
func (s *examined) stored(ctx context.Context) error {
	if s.StoredIn.IsZero() {
		return nil
	}
	kept, err := s.env.Secret(ctx, s.StoredIn)
	if err != nil {
		return fmt.Errorf("stored_in: %w", err)
	}
	if kept.IsZero() {
		return fmt.Errorf("stored_in: %s is empty", s.StoredIn)
	}
	s.fact("stored_in", s.StoredIn.String())
	if kept.Reveal() != s.value {
		s.miss("is another value than %s", s.StoredIn)
	}
	return nil
}
