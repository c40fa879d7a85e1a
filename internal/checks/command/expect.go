package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// expect is what makes a program's end a pass.
type expect struct {
	Exit   []int                  `param:"exit" doc:"exit codes that are right" default:"0"`
	Stdout stream                 `param:"stdout" doc:"what standard output must be" default:""`
	Stderr stream                 `param:"stderr" doc:"what standard error must be" default:""`
	JSON   map[string]check.Value `param:"json" doc:"standard output is JSON with these values by path (status.db)" default:""`
	Expr   check.Expression       `param:"expr" doc:"condition over exit, stdout, stderr, seconds and json" default:""`
}

// stream is what one output must be.
type stream struct {
	Contains []string         `param:"contains,short" doc:"texts that must be there" default:""`
	Lacks    []string         `param:"lacks" doc:"texts that must not be there" default:""`
	Matches  []*regexp.Regexp `param:"matches" doc:"regular expressions (RE2) that must match" default:""`
	Equals   *string          `param:"equals" doc:"the whole text, white space at both ends aside" default:""`
}

// validate refuses what every output meets.
func (x expect) validate() error {
	for _, s := range []stream{x.Stdout, x.Stderr} {
		if slices.Contains(s.Contains, "") || slices.Contains(s.Lacks, "") {
			return errors.New("an empty text is in every output; for no output write equals: ''")
		}
	}
	return nil
}

func (s stream) asks() bool {
	return len(s.Contains)+len(s.Lacks)+len(s.Matches) > 0 || s.Equals != nil
}

// missed says in which way the end differs from what is expected; empty when in
// none. An output that was cut or cannot be read decides nothing.
func (x expect) missed(end ending) (string, error) {
	exits := x.Exit
	if len(exits) == 0 { // the whole mapping was left out
		exits = []int{0}
	}
	if !slices.Contains(exits, end.Code) {
		return fmt.Sprintf("ended with exit %d, want %s%s", end.Code, joinInts(exits), end.tail()), nil
	}
	reads := x.Stdout.asks() || x.Stderr.asks() || len(x.JSON) > 0 || !x.Expr.IsZero()
	if end.Truncated && reads {
		return "", fmt.Errorf("%s printed more than %d bytes or left its output open: the rest was not seen", end.name(), maxStream)
	}
	if miss := x.Stdout.missed("stdout", end.Stdout); miss != "" {
		return miss, nil
	}
	if miss := x.Stderr.missed("stderr", end.Stderr); miss != "" {
		return miss, nil
	}
	return x.missedJSON(end)
}

func (s stream) missed(name string, text []byte) string {
	for _, want := range s.Contains {
		if !bytes.Contains(text, []byte(want)) {
			return fmt.Sprintf("printed no %q on %s", want, name)
		}
	}
	for _, no := range s.Lacks {
		if bytes.Contains(text, []byte(no)) {
			return fmt.Sprintf("printed %q on %s", no, name)
		}
	}
	for _, re := range s.Matches {
		if !re.Match(text) {
			return fmt.Sprintf("printed nothing that matches %s on %s", re, name)
		}
	}
	if got := string(bytes.TrimSpace(text)); s.Equals != nil && got != strings.TrimSpace(*s.Equals) {
		return fmt.Sprintf("printed %q on %s, want %q", shorten(got), name, *s.Equals)
	}
	return ""
}

func (x expect) missedJSON(end ending) (string, error) {
	needs := len(x.JSON) > 0 || slices.Contains(x.Expr.Names(), "json")
	var doc any
	if needs {
		var err error
		if doc, err = check.FromJSON(end.Stdout); err != nil {
			return "", fmt.Errorf("%s printed no JSON: %w", end.name(), err)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(x.JSON)) {
		got, err := at(doc, path)
		if err != nil {
			return "", fmt.Errorf("%s printed JSON without %s: %w", end.name(), path, err)
		}
		want, err := check.FromJSON(x.JSON[path])
		if err != nil {
			return "", fmt.Errorf("expect json %s: %w", path, err)
		}
		have, err := json.Marshal(got)
		if err != nil {
			return "", err
		}
		wanted, err := json.Marshal(want)
		if err != nil {
			return "", err
		}
		// As text, in which 1 and 1.0 are equal and long numbers keep every digit.
		if !bytes.Equal(have, wanted) {
			return fmt.Sprintf("printed %s = %s, want %s", path, shorten(string(have)), x.JSON[path]), nil
		}
	}
	if x.Expr.IsZero() {
		return "", nil
	}
	ok, err := x.Expr.Eval(map[string]any{
		"exit": end.Code, "stdout": string(end.Stdout), "stderr": string(end.Stderr), "seconds": end.Took.Seconds(), "json": doc,
	})
	if err != nil || ok {
		return "", err
	}
	return fmt.Sprintf("did not meet %s%s", x.Expr, end.tail()), nil
}

// at finds the value at a dotted path; a number steps into a list.
func at(doc any, path string) (any, error) {
	for step := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[step]
			if !ok {
				return nil, fmt.Errorf("%s is missing", step)
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil, fmt.Errorf("%s is not in a list of %d", step, len(v))
			}
			doc = v[i]
		default:
			return nil, fmt.Errorf("%s is not in %T", step, v)
		}
	}
	return doc, nil
}

func joinInts(list []int) string {
	var words []string
	for _, n := range list {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, " or ")
}
