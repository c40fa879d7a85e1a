package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxNesting bounds how deep a report's elements may nest, and maxNames how many
// names of failed tests are kept.
const maxNesting, maxNames = 64, 50

// tally is what was counted in reports.
type tally struct {
	tests, failed, errors, skipped, reruns int
	names                                  []string
	properties                             map[string][]string
	// claimed is the largest number of failures and errors that the reports' own
	// counters tell.
	claimed int
	// claimedTests is the number of tests that their counters tell.
	claimedTests int
	// root is what the counters of the present report's <testsuites> tell.
	root counters
	// results is how each test ended, by class and name, where reruns are allowed.
	results map[string]ending
}

// counters are the numbers that a report's element tells about what is in it.
type counters struct{ bad, tests int }

type ending string

const (
	good    ending = "passed"
	failed  ending = "failed"
	errored ending = "error"
	skipped ending = "skipped"
)

func newTally() *tally {
	return &tally{properties: map[string][]string{}, results: map[string]ending{}}
}

// testcase is the test being read.
type testcase struct {
	name   string
	ending ending
	reruns int
}

// worse keeps the worst ending that a test's elements tell.
func (c *testcase) worse(e ending) {
	rank := []ending{good, skipped, failed, errored}
	if slices.Index(rank, e) > slices.Index(rank, c.ending) {
		c.ending = e
	}
}

// read counts one report, element by element; the counters that reports carry
// differ between tools and are only compared. Entities that a document declares
// are not expanded, so that none can grow.
func (t *tally) read(text []byte, lastWins bool) error {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.CharsetReader = charset
	var path []string
	var current *testcase
	root, bad, tests := false, t.claimed, t.claimedTests
	t.root = counters{}
	for {
		token, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF):
			if !root {
				return errors.New("there is no XML element in it")
			}
			if len(path) > 0 {
				return fmt.Errorf("the document ends inside <%s>", path[len(path)-1])
			}
			t.claimed = max(t.claimed, bad+t.root.bad)
			t.claimedTests = max(t.claimedTests, tests+t.root.tests)
			return nil
		case err != nil:
			return err
		}
		switch e := token.(type) {
		case xml.StartElement:
			name := e.Name.Local
			if len(path) == 0 && name != "testsuites" && name != "testsuite" {
				return fmt.Errorf("the root is <%s>, want <testsuites> or <testsuite>", name)
			}
			if name == "testcase" && current != nil {
				return errors.New("a <testcase> within <testcase>")
			}
			root = true
			if path = append(path, name); len(path) > maxNesting {
				return fmt.Errorf("elements nest deeper than %d", maxNesting)
			}
			current = t.start(e, path, current)
		case xml.EndElement:
			path = path[:len(path)-1]
			if e.Name.Local == "testcase" && current != nil {
				t.end(*current, lastWins)
				current = nil
			}
		}
	}
}

// start notes what an element's beginning tells and gives the current test.
func (t *tally) start(e xml.StartElement, path []string, current *testcase) *testcase {
	switch e.Name.Local {
	case "testcase":
		name := strings.TrimPrefix(attribute(e, "classname")+"."+attribute(e, "name"), ".")
		c := &testcase{name: name, ending: good}
		// Some tools tell the ending in an attribute only.
		for _, key := range []string{"status", "result"} {
			switch strings.ToLower(attribute(e, key)) {
			case "failed", "failure", "fail", "broken":
				c.worse(failed)
			case "error", "errored", "timeout", "timedout", "aborted", "cancelled", "canceled", "interrupted":
				c.worse(errored)
			case "skipped", "notrun", "disabled", "suppressed", "ignored", "pending", "todo":
				c.worse(skipped)
			}
		}
		return c
	case "testsuites":
		t.root = counters{bad: count(e, "failures") + count(e, "errors"), tests: count(e, "tests")}
	case "testsuite":
		if len(path) <= 2 { // inner suites are counted in the outer ones
			t.claimed += count(e, "failures") + count(e, "errors")
			t.claimedTests += count(e, "tests")
		}
	case "property":
		name, value := attribute(e, "name"), attribute(e, "value")
		if len(t.properties[name]) < maxNames && !slices.Contains(t.properties[name], value) {
			t.properties[name] = append(t.properties[name], value)
		}
	case "failure", "error", "skipped", "flakyFailure", "flakyError", "rerunFailure", "rerunError":
		if current == nil { // an ending outside any test: a suite that broke
			if e.Name.Local == "failure" || e.Name.Local == "error" {
				t.errors++
				t.note("outside any test")
			}
			return nil
		}
		current.tell(e.Name.Local)
	}
	return current
}

func (c *testcase) tell(element string) {
	switch element {
	case "failure":
		c.worse(failed)
	case "error":
		c.worse(errored)
	case "skipped":
		c.worse(skipped)
	default: // surefire: an attempt that another one followed
		c.reruns++
	}
}

// end counts a test. With lastWins a test that ran again counts by its last run.
func (t *tally) end(c testcase, lastWins bool) {
	t.reruns += c.reruns
	before, again := t.results[c.name]
	if again && lastWins && c.name != "" {
		if c.ending == skipped && before != good { // it did not pass when it ran again
			c.ending = before
		}
		t.reruns++
		t.add(before, -1)
		t.names = slices.DeleteFunc(t.names, func(n string) bool { return n == c.name })
	}
	t.results[c.name] = c.ending
	t.add(c.ending, 1)
	if c.ending == failed || c.ending == errored {
		t.note(c.name)
	}
}

func (t *tally) add(e ending, n int) {
	t.tests += n
	switch e {
	case failed:
		t.failed += n
	case errored:
		t.errors += n
	case skipped:
		t.skipped += n
	}
}

func (t *tally) note(name string) {
	if len(t.names) < maxNames {
		const most = 200
		t.names = append(t.names, strings.ToValidUTF8(name[:min(len(name), most)], ""))
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func count(e xml.StartElement, name string) int {
	n, err := strconv.Atoi(attribute(e, name))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// charset reads the encodings besides UTF-8 that test tools write.
func charset(label string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "us-ascii", "ascii", "utf8":
		return in, nil
	case "iso-8859-1", "latin1":
		text, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		var out strings.Builder
		for _, b := range text {
			out.WriteRune(rune(b))
		}
		return strings.NewReader(out.String()), nil
	}
	return nil, fmt.Errorf("the encoding %q is not known", label)
}
