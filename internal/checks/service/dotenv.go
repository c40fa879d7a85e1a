package service

import (
	"fmt"
	"strings"
)

// dotenv reads lines of NAME=value: empty lines and those that begin with # are
// left out, "export" is allowed, and a value may stand in single quotes (as it
// is) or double quotes (\n, \" and \\ are understood). Nothing is substituted.
// The error begins with the line's number and never shows a value.
func dotenv(text string) ([]string, error) {
	var pairs []string
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(name, " \t\"'") {
			return nil, fmt.Errorf("%d: want NAME=value", i+1)
		}
		value, err := unquote(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("%d: %s: %w", i+1, name, err)
		}
		pairs = append(pairs, name+"="+value)
	}
	return pairs, nil
}

func unquote(value string) (string, error) {
	if value == "" || (value[0] != '"' && value[0] != '\'') {
		// Only " #" begins a comment; a # within a value stays.
		value, _, _ = strings.Cut(value, " #")
		return strings.TrimSpace(value), nil
	}
	quote, out, rest := value[0], strings.Builder{}, value[1:]
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == quote:
			if after := strings.TrimSpace(rest[i+1:]); after != "" && !strings.HasPrefix(after, "#") {
				return "", fmt.Errorf("something stands behind the closing quote")
			}
			return out.String(), nil
		case c == '\\' && quote == '"' && i+1 < len(rest):
			i++
			out.WriteString(escape(rest[i]))
		default:
			out.WriteByte(c)
		}
	}
	return "", fmt.Errorf("the quote is not closed")
}

// escape gives what \c stands for within double quotes; an unknown one stays.
func escape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case '"', '\\', '$':
		return string(c)
	}
	return `\` + string(c)
}
