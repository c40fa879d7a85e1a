package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// step is one part of a path: a key, or a place in a list.
type step struct {
	key   string
	index int
	list  bool
}

// parsePath reads a.b[0]."key.with.dots": keys are joined by dots, places in lists
// stand in brackets, and a key may stand in double quotes.
func parsePath(path string) ([]step, error) {
	var out []step
	rest := path
	for first := true; rest != "" || first; first = false {
		switch {
		case strings.HasPrefix(rest, "["):
			inside, after, closed := strings.Cut(rest[1:], "]")
			n, err := strconv.Atoi(inside)
			if !closed || err != nil || n < 0 {
				return nil, fmt.Errorf("path %q: want a number from 0 in brackets", path)
			}
			out, rest = append(out, step{index: n, list: true}), after
		case !first && !strings.HasPrefix(rest, "."):
			return nil, fmt.Errorf("path %q: want a dot or a bracket before %q", path, rest)
		default:
			if !first {
				rest = rest[1:]
			}
			key, after, err := parseKey(rest)
			if err != nil {
				return nil, fmt.Errorf("path %q: %w", path, err)
			}
			out, rest = append(out, step{key: key}), after
		}
	}
	return out, nil
}

func parseKey(text string) (key, rest string, err error) {
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		key, rest, ok = strings.Cut(quoted, `"`)
		if !ok {
			return "", "", errors.New("a quote is not closed")
		}
		return key, rest, nil
	}
	end := strings.IndexAny(text, ".[")
	if end < 0 {
		end = len(text)
	}
	if end == 0 {
		return "", "", errors.New("a key is empty")
	}
	return text[:end], text[end:], nil
}

// lookup follows a path through JSON. Nothing at its end, or on the way, is not
// there; a path that leads through something without parts is an error of the path.
func lookup(config []byte, path string) (found []byte, there bool, err error) {
	steps, err := parsePath(path)
	if err != nil {
		return nil, false, err
	}
	at := json.RawMessage(config)
	for _, s := range steps {
		switch text := bytes.TrimSpace(at); {
		case string(text) == "null":
			return nil, false, nil
		case text[0] == '{':
			if s.list {
				return nil, false, fmt.Errorf("path %s: [%d] asks a mapping for a place in a list", path, s.index)
			}
			var from map[string]json.RawMessage
			if err := json.Unmarshal(text, &from); err != nil {
				return nil, false, err
			}
			if at, there = from[s.key]; !there {
				return nil, false, nil
			}
		case text[0] == '[':
			if !s.list {
				return nil, false, fmt.Errorf("path %s: %s asks a list for a key", path, s.key)
			}
			var from []json.RawMessage
			if err := json.Unmarshal(text, &from); err != nil {
				return nil, false, err
			}
			if s.index >= len(from) {
				return nil, false, nil
			}
			at = from[s.index]
		default:
			return nil, false, fmt.Errorf("path %s leads on behind a plain value", path)
		}
	}
	return at, true, nil
}

// equal compares two JSON texts by their values. 1 and 1.0 are the same number;
// whole numbers are compared digit by digit, however long they are.
func equal(a, b []byte) (bool, error) {
	a, b = bytes.TrimSpace(a), bytes.TrimSpace(b)
	if len(a) == 0 || len(b) == 0 {
		return false, errors.New("a value is empty")
	}
	switch {
	case a[0] == '{' && b[0] == '{':
		var left, right map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(a, &left), json.Unmarshal(b, &right)); err != nil || len(left) != len(right) {
			return false, err
		}
		for key, value := range left {
			other, there := right[key]
			if !there {
				return false, nil
			}
			if same, err := equal(value, other); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case a[0] == '[' && b[0] == '[':
		var left, right []json.RawMessage
		if err := errors.Join(json.Unmarshal(a, &left), json.Unmarshal(b, &right)); err != nil || len(left) != len(right) {
			return false, err
		}
		for i := range left {
			if same, err := equal(left[i], right[i]); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case a[0] == '"' && b[0] == '"':
		var left, right string
		err := errors.Join(json.Unmarshal(a, &left), json.Unmarshal(b, &right))
		return left == right, err
	}
	return bytes.Equal(a, b) || sameNumber(string(a), string(b)), nil
}

// sameNumber compares numbers of which at least one is not written as a whole one.
func sameNumber(a, b string) bool {
	if !strings.ContainsAny(a, ".eE") && !strings.ContainsAny(b, ".eE") {
		return false
	}
	left, err := strconv.ParseFloat(a, 64)
	right, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && left == right
}

// unique finds a key that stands twice in one mapping; the last one would win
// without a word.
func unique(text []byte) error {
	type level struct {
		keys  map[string]bool // nil in a list
		value bool            // what comes next is a value
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		top := len(open) - 1
		key, isText := token.(string)
		switch {
		case token == json.Delim('}') || token == json.Delim(']'):
			open = open[:top]
			continue
		case top >= 0 && open[top].keys != nil && !open[top].value && isText:
			if open[top].keys[key] {
				return fmt.Errorf("%q stands there twice", key)
			}
			open[top].keys[key], open[top].value = true, true
			continue
		case top >= 0:
			open[top].value = false
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{keys: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		}
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
