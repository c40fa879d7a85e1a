package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"unicode/utf16"
)

// MinLength is the shortest value that can be redacted, in bytes: anything
// shorter would be found in texts that have nothing to do with it.
const MinLength = 6

// forms lists the texts under which a value may turn up: itself, trimmed, each
// of its lines, each scalar inside it if it is JSON, and each of these as the
// common encodings write it. Texts shorter than MinLength are left out.
func forms(value string) []string {
	seen := map[string]bool{}
	var all []string
	for _, part := range parts(value) {
		for _, form := range encodings(part) {
			if len(form) >= MinLength && !seen[form] {
				seen[form] = true
				all = append(all, form)
			}
		}
	}
	return all
}

// parts lists the plain texts that a value consists of.
func parts(value string) []string {
	all := []string{value, strings.TrimSpace(value)}
	for line := range strings.Lines(value) {
		all = append(all, strings.TrimSpace(line))
	}
	all = append(all, leaves(value)...)
	kept := all[:0]
	for _, part := range all {
		if len(part) >= MinLength {
			kept = append(kept, part)
		}
	}
	return kept
}

// leaves gives the strings and numbers of a JSON object or array; nothing for
// any other value.
func leaves(value string) []string {
	trimmed := strings.TrimSpace(value)
	if !strings.HasPrefix(trimmed, "{") && !strings.HasPrefix(trimmed, "[") {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(trimmed))
	decoder.UseNumber()
	var all []string
	for {
		token, err := decoder.Token()
		if err != nil {
			return all
		}
		// Keys are taken too: the decoder does not tell them apart, and hiding a
		// long key of a secret harms nobody.
		switch leaf := token.(type) {
		case string:
			all = append(all, leaf, strings.TrimSpace(leaf))
			for line := range strings.Lines(leaf) {
				all = append(all, strings.TrimSpace(line))
			}
		case json.Number:
			all = append(all, leaf.String())
		}
	}
}

// encodings writes one text in every form that is covered.
func encodings(text string) []string {
	query := url.QueryEscape(text)
	escaped := html.EscapeString(text)
	all := []string{
		text,
		query, strings.ReplaceAll(query, "+", "%20"), url.PathEscape(text),
		jsonEscaped(text, true), jsonEscaped(text, false), asciiEscaped(text),
		escaped, strings.ReplaceAll(escaped, "&#34;", "&quot;"),
		strings.ReplaceAll(text, "'", `'\''`), strings.ReplaceAll(text, "'", `'"'"'`),
		hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))),
	}
	for _, form := range all[1:4] {
		all = append(all, lowerPercent(form))
	}
	for phase := range 3 {
		all = append(all, base64Core(base64.RawStdEncoding, text, phase), base64Core(base64.RawURLEncoding, text, phase))
	}
	return all
}

// jsonEscaped writes text as the inside of a JSON string, with or without the
// escapes for HTML.
func jsonEscaped(text string, forHTML bool) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(forHTML)
	if err := encoder.Encode(text); err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

// asciiEscaped is jsonEscaped with everything beyond ASCII as \uXXXX, the way
// some languages write JSON by default.
func asciiEscaped(text string) string {
	var b strings.Builder
	for _, r := range jsonEscaped(text, false) {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	return b.String()
}

// lowerPercent writes the hexadecimal digits of %XX in lower case.
func lowerPercent(text string) string {
	out := []byte(text)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:i+3], strings.ToLower(string(out[i+1:i+3])))
		}
	}
	return string(out)
}

// base64Core encodes text as it appears inside the encoding of a longer one that
// has phase bytes (modulo 3) before it: without the characters at either end
// that also depend on the neighbours.
func base64Core(encoding *base64.Encoding, text string, phase int) string {
	const charBits, byteBits = 6, 8
	whole := encoding.EncodeToString(append(make([]byte, phase), text...))
	first := (phase*byteBits + charBits - 1) / charBits
	last := (phase + len(text)) * byteBits / charBits
	return whole[first:last]
}
