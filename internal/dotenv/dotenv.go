// Package dotenv reads files of environment variables.
package dotenv

import (
	"fmt"
	"strings"
)

// Parse reads NAME=value lines as the usual libraries do: "export" is allowed,
// a value may be quoted over several lines, # after a space begins a comment
// outside quotes, backslash escapes count in double quotes only, and the last of
// two equal names wins. References to other variables stay as written, since the
// libraries disagree about them. A message never shows a line's text.
func Parse(text []byte) (map[string]string, error) {
	out := map[string]string{}
	rest := strings.TrimPrefix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\ufeff")
	for number := 1; rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			rest, number = after, number+1
			continue
		}
		name, value, found := strings.Cut(strings.TrimSpace(strings.TrimPrefix(trimmed, "export ")), "=")
		name, value = strings.TrimSpace(name), strings.TrimLeft(value, " \t")
		if !found || !ValidName(name) {
			return nil, fmt.Errorf("line %d is not NAME=value", number)
		}
		if value != "" && (value[0] == '"' || value[0] == '\'' || value[0] == '`') {
			from := strings.Index(rest, "=") + 1
			from += strings.IndexByte(rest[from:], value[0])
			unquoted, end, ok := quoted(rest[from:])
			if !ok {
				return nil, fmt.Errorf("line %d: a quote is not closed", number)
			}
			number += strings.Count(rest[:from+end], "\n")
			tail, next, _ := strings.Cut(rest[from+end:], "\n")
			if tail = strings.TrimSpace(tail); tail != "" && tail[0] != '#' {
				return nil, fmt.Errorf("line %d: text after the closing quote", number)
			}
			out[name], rest, number = unquoted, next, number+1
			continue
		}
		out[name] = bare(value)
		rest, number = after, number+1
	}
	return out, nil
}

// bare ends an unquoted value at a comment.
func bare(value string) string {
	for i := range value {
		if value[i] == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			value = value[:i]
			break
		}
	}
	return strings.TrimSpace(value)
}

// quoted reads a quoted text from its opening quote and gives where it ends.
func quoted(s string) (string, int, bool) {
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return out.String(), i + 1, true
		case s[0] == '"' && s[i] == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				out.WriteByte('\n')
			case 'r':
				out.WriteByte('\r')
			case 't':
				out.WriteByte('\t')
			case '"', '\\', '$':
				out.WriteByte(s[i])
			default:
				out.WriteByte('\\')
				out.WriteByte(s[i])
			}
		default:
			out.WriteByte(s[i])
		}
	}
	return "", 0, false
}

// ValidName tells whether a text may name an environment variable.
func ValidName(s string) bool {
	for i, r := range s {
		letter := r == '_' || (r >= 'A' && r <= 'Z') || (r >= 'a' && r <= 'z')
		if !letter && (i == 0 || (r != '.' && (r < '0' || r > '9'))) {
			return false
		}
	}
	return s != ""
}
