package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// maxDepth is how deep arrays and objects may nest.
const maxDepth = 100

// Canonical encodes a value as canonical JSON: the form of RFC 8785 (no spaces,
// members sorted by the UTF-16 units of their names, the shortest escapes and no
// others) with one rule more and one less. Numbers are whole: a fraction or an
// exponent is an error, since decimal fractions do not survive being read as
// doubles. And the whole range of int64 is allowed, beyond 2^53 too, since bodies
// are never encoded again and boot time in nanoseconds passes 2^53 after 104 days.
// Bytes that are not UTF-8 become U+FFFD, as in encoding/json.
func Canonical[T any](v T) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return canonicalize(raw.Bytes())
}

// CheckCanonical tells whether the bytes are one canonical JSON value, as Canonical
// makes it.
func CheckCanonical(body []byte) error {
	want, err := canonicalize(body)
	if err != nil {
		return err
	}
	if !bytes.Equal(want, body) {
		at := 0
		for at < len(want) && at < len(body) && want[at] == body[at] {
			at++
		}
		return fmt.Errorf("offset %d: JSON is not canonical", at)
	}
	return nil
}

// canonicalize reads one JSON value and writes it canonically.
func canonicalize(raw []byte) ([]byte, error) {
	p := &parser{in: raw}
	out, err := p.value(make([]byte, 0, len(raw)))
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos != len(p.in) {
		return nil, p.wrong("text after the value")
	}
	return out, nil
}

// member is one name of an object with its encoded name and value.
type member struct {
	name string
	text []byte
}

// object reads an object behind its brace and writes it with sorted members.
func (p *parser) object(out []byte) ([]byte, error) {
	var members []member
	sorted := true
	for first := true; !p.closes('}'); first = false {
		m, err := p.member(first)
		if err != nil {
			return nil, err
		}
		if n := len(members); n > 0 {
			switch c := compareUTF16(members[n-1].name, m.name); {
			case c == 0:
				return nil, p.wrong("name %q stands twice", m.name)
			case c > 0:
				sorted = false
			}
		}
		members = append(members, m)
	}
	if !sorted {
		slices.SortStableFunc(members, func(a, b member) int { return compareUTF16(a.name, b.name) })
	}
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			if m.name == members[i-1].name {
				return nil, p.wrong("name %q stands twice", m.name)
			}
			out = append(out, ',')
		}
		out = append(out, m.text...)
	}
	return append(out, '}'), nil
}

// member reads a name, a colon and a value, and the comma before them.
func (p *parser) member(first bool) (member, error) {
	if err := p.comma(first); err != nil {
		return member{}, err
	}
	if !p.eat('"') {
		return member{}, p.wrong("want a name")
	}
	name, err := p.text()
	if err != nil {
		return member{}, err
	}
	if p.space(); !p.eat(':') {
		return member{}, p.wrong("want a colon")
	}
	text, err := p.value(append(appendText(nil, name), ':'))
	return member{name: name, text: text}, err
}

// array reads an array behind its bracket and writes it.
func (p *parser) array(out []byte) ([]byte, error) {
	out = append(out, '[')
	for first := true; !p.closes(']'); first = false {
		err := p.comma(first)
		if err != nil {
			return nil, err
		}
		if !first {
			out = append(out, ',')
		}
		if out, err = p.value(out); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

// compareUTF16 compares by UTF-16 code units (RFC 8785, section 3.2.3). It differs
// from comparing runes only where one side lies beyond U+FFFF: its first unit is a
// surrogate, below U+E000.
func compareUTF16(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	return slices.CompareFunc(ra, rb, func(x, y rune) int {
		if (x > 0xFFFF) == (y > 0xFFFF) {
			return int(x) - int(y)
		}
		return int(firstUnit(x)) - int(firstUnit(y))
	})
}

// firstUnit is the first UTF-16 code unit of a rune.
func firstUnit(r rune) rune {
	if r > 0xFFFF {
		return 0xD800 + (r-0x10000)>>10
	}
	return r
}
