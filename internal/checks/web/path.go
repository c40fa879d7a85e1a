package web

import (
	"fmt"
	"strconv"
	"strings"
)

// parsePath splits a path into a JSON document: a.b[0].c, a.b.0.c, a["x.y"].
func parsePath(path string) ([]string, error) {
	rest, parts := path, []string{}
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, `["`):
			name, after, closed := strings.Cut(rest[2:], `"]`)
			if !closed {
				return nil, fmt.Errorf(`path %q: [" without "]`, path)
			}
			parts, rest = append(parts, name), after
		case rest[0] == '[':
			index, after, closed := strings.Cut(rest[1:], "]")
			if _, err := strconv.Atoi(index); !closed || err != nil {
				return nil, fmt.Errorf("path %q: want a number between [ and ]", path)
			}
			parts, rest = append(parts, index), after
		default:
			rest = strings.TrimPrefix(rest, ".")
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return nil, fmt.Errorf("path %q: an empty name", path)
			}
			parts, rest = append(parts, rest[:end]), rest[end:]
			if rest == "." {
				return nil, fmt.Errorf("path %q: ends with a dot", path)
			}
		}
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("an empty path")
	}
	return parts, nil
}

// lookup finds the value at a path. A number is an index in a list (negative
// from its end) and a name in a mapping.
func lookup(doc any, path string) (any, bool) {
	parts, err := parsePath(path)
	if err != nil {
		return nil, false
	}
	for _, part := range parts {
		switch node := doc.(type) {
		case map[string]any:
			value, found := node[part]
			if !found {
				return nil, false
			}
			doc = value
		case []any:
			i, err := strconv.Atoi(part)
			if i < 0 {
				i += len(node)
			}
			if err != nil || i < 0 || i >= len(node) {
				return nil, false
			}
			doc = node[i]
		default:
			return nil, false
		}
	}
	return doc, true
}
