package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
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

// lookup follows a path. Nothing at its end, or on the way, is not there; a path
// that leads through something without parts is an error of the path.
func lookup(config any, path string) (found any, there bool, err error) {
	steps, err := parsePath(path)
	if err != nil {
		return nil, false, err
	}
	at := config
	for _, s := range steps {
		switch from := at.(type) {
		case map[string]any:
			if s.list {
				return nil, false, fmt.Errorf("path %s: [%d] asks a mapping for a place in a list", path, s.index)
			}
			if at, there = from[s.key]; !there {
				return nil, false, nil
			}
		case []any:
			if !s.list {
				return nil, false, fmt.Errorf("path %s: %s asks a list for a key", path, s.key)
			}
			if s.index >= len(from) {
				return nil, false, nil
			}
			at = from[s.index]
		case nil:
			return nil, false, nil
		default:
			return nil, false, fmt.Errorf("path %s leads on behind a plain value", path)
		}
	}
	return at, true, nil
}

// equal compares two JSON texts by their values; 1 and 1.0 are the same number.
func equal(a, b []byte) (bool, error) {
	left, err := plain(a)
	if err != nil {
		return false, err
	}
	right, err := plain(b)
	if err != nil {
		return false, err
	}
	return reflect.DeepEqual(left, right), nil
}

func plain(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return out, nil
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
