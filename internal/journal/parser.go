package journal

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// parser reads JSON (RFC 8259) strictly and writes it canonically as it goes.
type parser struct {
	in    []byte
	pos   int
	depth int
}

// wrong is an error at the current offset.
func (p *parser) wrong(format string, args ...any) error {
	return fmt.Errorf("offset %d: "+format, append([]any{p.pos}, args...)...)
}

// space skips white space.
func (p *parser) space() {
	for p.pos < len(p.in) {
		switch p.in[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// eat takes one byte if it is next.
func (p *parser) eat(c byte) bool {
	if p.pos < len(p.in) && p.in[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// closes takes the closing bracket if it is next.
func (p *parser) closes(c byte) bool {
	p.space()
	return p.eat(c)
}

// comma takes the comma before all elements but the first.
func (p *parser) comma(first bool) error {
	if first {
		return nil
	}
	if !p.eat(',') {
		return p.wrong("want a comma")
	}
	p.space()
	return nil
}

// value reads any value and appends its canonical form.
func (p *parser) value(out []byte) ([]byte, error) {
	p.space()
	if p.pos == len(p.in) {
		return nil, p.wrong("want a value")
	}
	if p.depth++; p.depth > maxDepth {
		return nil, p.wrong("nested deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	switch c := p.in[p.pos]; {
	case c == '{':
		p.pos++
		return p.object(out)
	case c == '[':
		p.pos++
		return p.array(out)
	case c == '"':
		p.pos++
		s, err := p.text()
		return appendText(out, s), err
	case c == '-' || c >= '0' && c <= '9':
		return p.number(out)
	}
	for _, word := range []string{"true", "false", "null"} {
		if rest := p.in[p.pos:]; len(rest) >= len(word) && string(rest[:len(word)]) == word {
			p.pos += len(word)
			return append(out, word...), nil
		}
	}
	return nil, p.wrong("want a value")
}

// number reads a whole number of the range of int64.
func (p *parser) number(out []byte) ([]byte, error) {
	start := p.pos
	p.eat('-')
	digits := p.pos
	for p.pos < len(p.in) && p.in[p.pos] >= '0' && p.in[p.pos] <= '9' {
		p.pos++
	}
	text := string(p.in[start:p.pos])
	switch {
	case p.pos == digits:
		return nil, p.wrong("want a digit")
	case p.in[digits] == '0' && (p.pos > digits+1 || digits > start):
		return nil, p.wrong("number %s starts with a zero", text)
	case p.pos < len(p.in) && (p.in[p.pos] == '.' || p.in[p.pos]|0x20 == 'e'):
		return nil, p.wrong("number is not written as a whole number")
	}
	if _, err := strconv.ParseInt(text, 10, 64); err != nil {
		return nil, p.wrong("number is beyond 64 bits")
	}
	return append(out, text...), nil
}

// text reads a string behind its opening quote.
func (p *parser) text() (string, error) {
	start := p.pos
	for p.pos < len(p.in) {
		switch c := p.in[p.pos]; {
		case c == '"':
			s := p.in[start:p.pos]
			if !utf8.Valid(s) {
				return "", p.wrong("text is not UTF-8")
			}
			p.pos++
			return string(s), nil
		case c == '\\':
			return p.escapedText(start)
		case c < ' ':
			return "", p.wrong("control character in text")
		}
		p.pos++
	}
	return "", p.wrong("text has no end")
}

// escapedText reads on from the first backslash.
func (p *parser) escapedText(start int) (string, error) {
	s := append([]byte(nil), p.in[start:p.pos]...)
	for p.pos < len(p.in) {
		c := p.in[p.pos]
		p.pos++
		switch {
		case c == '"':
			if !utf8.Valid(s) {
				return "", p.wrong("text is not UTF-8")
			}
			return string(s), nil
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			s = utf8.AppendRune(s, r)
		case c < ' ':
			return "", p.wrong("control character in text")
		default:
			s = append(s, c)
		}
	}
	return "", p.wrong("text has no end")
}

// escape reads what follows a backslash.
func (p *parser) escape() (rune, error) {
	if p.pos == len(p.in) {
		return 0, p.wrong("text has no end")
	}
	c := p.in[p.pos]
	p.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return p.unicodeEscape()
	}
	return 0, p.wrong("unknown escape")
}

// unicodeEscape reads four hexadecimal digits, and the second half of a surrogate
// pair. Half a pair is an error (RFC 8785, section 3.2.2.2).
func (p *parser) unicodeEscape() (rune, error) {
	r, err := p.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if !p.eat('\\') || !p.eat('u') {
		return 0, p.wrong("half a surrogate pair")
	}
	low, err := p.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, p.wrong("half a surrogate pair")
	}
	return r, nil
}

// hex4 reads four hexadecimal digits.
func (p *parser) hex4() (rune, error) {
	if len(p.in)-p.pos < 4 {
		return 0, p.wrong("want four hexadecimal digits")
	}
	n, err := strconv.ParseUint(string(p.in[p.pos:p.pos+4]), 16, 16)
	if err != nil {
		return 0, p.wrong("want four hexadecimal digits")
	}
	p.pos += 4
	return rune(n), nil
}

// appendText writes a string with the escapes of RFC 8785, section 3.2.2.2.
func appendText(out []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\b':
			out = append(out, '\\', 'b')
		case '\f':
			out = append(out, '\\', 'f')
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			if c < ' ' {
				out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			} else {
				out = append(out, c)
			}
		}
	}
	return append(out, '"')
}
