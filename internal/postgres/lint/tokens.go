package lint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/wasilibs/go-pgquery/parser"
)

// token is a word, a literal or a sign of a text, comments left out.
type token struct {
	start, end int
	text       string
	// reserved tells a keyword that is no name of a relation or column.
	reserved bool
}

// is compares a token with a keyword or sign.
func (t token) is(word string) bool { return strings.EqualFold(t.text, word) }

// tokens reads a text with PostgreSQL's own scanner.
func tokens(text string) (out []token, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the scanner gave up on it")
		}
	}()
	raw, err := parser.ScanToProtobuf(text)
	if err != nil {
		return nil, err
	}
	// ScanResult of pg_query.proto: field 2 holds the tokens, each with start (1), end
	// (2) and the kind of keyword (5), of which 0 to 2 may name a column.
	err = fields(raw, func(number int, _ uint64, body []byte) error {
		if number != 2 {
			return nil
		}
		t, kind := token{}, uint64(0)
		if err := fields(body, func(number int, value uint64, _ []byte) error {
			switch number {
			case 1:
				t.start = int(value)
			case 2:
				t.end = int(value)
			case 5:
				kind = value
			}
			return nil
		}); err != nil {
			return err
		}
		if t.start < 0 || t.end > len(text) || t.start > t.end {
			return errors.New("the scanner gave a place outside of the text")
		}
		t.text, t.reserved = text[t.start:t.end], kind > 2
		if !strings.HasPrefix(t.text, "--") && !strings.HasPrefix(t.text, "/*") {
			out = append(out, t)
		}
		return nil
	})
	return out, err
}

// fields reads a message of the protobuf wire format: numbers and pieces.
func fields(raw []byte, each func(number int, value uint64, body []byte) error) error {
	const varint, piece = 0, 2
	for len(raw) > 0 {
		tag, n := binary.Uvarint(raw)
		if n <= 0 {
			return errors.New("read the scanner's answer")
		}
		raw = raw[n:]
		value, n := binary.Uvarint(raw)
		if n <= 0 {
			return errors.New("read the scanner's answer")
		}
		raw = raw[n:]
		var body []byte
		switch tag & 7 {
		case varint:
		case piece:
			if value > uint64(len(raw)) {
				return errors.New("read the scanner's answer")
			}
			body, raw = raw[:value], raw[value:]
		default:
			return fmt.Errorf("read the scanner's answer: wire type %d", tag&7)
		}
		if err := each(int(tag>>3), value, body); err != nil {
			return err
		}
	}
	return nil
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_$]*$`)

// ident writes a name as SQL, quoted where it has to be.
func ident(name string) string {
	if plainName.MatchString(name) {
		if found, err := tokens(name); err == nil && len(found) == 1 && !found[0].reserved {
			return name
		}
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// literal writes a text as SQL.
func literal(s string) string {
	if strings.Contains(s, `\`) {
		return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// sql writes a relation's name as SQL.
func (r rangeVar) sql() string {
	if r.Schema == "" {
		return ident(r.Name)
	}
	return ident(r.Schema) + "." + ident(r.Name)
}

// sqlOf writes a relation's key as SQL. What is in public needs no schema, as in
// the texts that it came from.
func sqlOf(key string) string {
	schema, name, _ := strings.Cut(key, ".")
	if schema == "public" {
		return ident(name)
	}
	return ident(schema) + "." + ident(name)
}

// commas splits tokens at the commas that stand outside of parentheses.
func commas(list []token) [][]token {
	var out [][]token
	depth, from := 0, 0
	for i, t := range list {
		switch t.text {
		case "(", "[":
			depth++
		case ")", "]":
			depth--
		case ",":
			if depth == 0 {
				out = append(out, list[from:i])
				from = i + 1
			}
		}
	}
	return append(out, list[from:])
}

// closing gives the place of the parenthesis that closes the one at i, or -1.
func closing(list []token, i int) int {
	depth := 0
	for ; i < len(list); i++ {
		switch list[i].text {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// position gives the place of the first token that is word, or -1.
func position(list []token, word string) int {
	for i, t := range list {
		if t.is(word) {
			return i
		}
	}
	return -1
}
