package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
}

type testsuites struct {
	XMLName  xml.Name    `xml:"testsuites"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Suites   []testsuite `xml:"testsuite"`
}

type testsuite struct {
	Name      string     `xml:"name,attr"`
	Tests     int        `xml:"tests,attr"`
	Failures  int        `xml:"failures,attr"`
	Skipped   int        `xml:"skipped,attr"`
	Time      string     `xml:"time,attr"`
	Timestamp string     `xml:"timestamp,attr"`
	Cases     []testcase `xml:"testcase"`
}

type testcase struct {
	Class   string    `xml:"classname,attr"`
	Name    string    `xml:"name,attr"`
	Time    string    `xml:"time,attr"`
	Failure *failure  `xml:"failure,omitempty"`
	Skipped *struct{} `xml:"skipped,omitempty"`
}

type failure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit turns the events into a JUnit file with one suite per package. A package that fails without a failed
// test (it did not build, it panicked) gets a failed case of its own, so that it cannot go unseen.
func writeJUnit(path, name string, events io.Reader, started time.Time) error {
	all := testsuites{Name: name}
	output := map[[2]string]string{}
	cases := map[string][]testcase{}
	for in := json.NewDecoder(events); ; {
		var e event
		if err := in.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
		key := [2]string{e.Package, e.Test}
		switch e.Action {
		case "output":
			output[key] += e.Output
		case "pass", "fail", "skip":
			if e.Test != "" {
				cases[e.Package] = append(cases[e.Package], newCase(e, output[key]))
				continue
			}
			all.Suites = append(all.Suites, newSuite(e, cases[e.Package], output[key], started))
		}
	}
	for _, s := range all.Suites {
		all.Tests, all.Failures, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Skipped+s.Skipped
	}
	return writeXML(path, all)
}

func newCase(e event, output string) testcase {
	c := testcase{Class: e.Package, Name: e.Test, Time: fmt.Sprintf("%.3f", e.Elapsed)}
	switch e.Action {
	case "fail":
		c.Failure = &failure{Message: "failed", Text: output}
	case "skip":
		c.Skipped = &struct{}{}
	}
	return c
}

func newSuite(e event, cases []testcase, output string, started time.Time) testsuite {
	s := testsuite{
		Name: e.Package, Cases: cases, Time: fmt.Sprintf("%.3f", e.Elapsed),
		Timestamp: started.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, c := range cases {
		if c.Failure != nil {
			s.Failures++
		}
		if c.Skipped != nil {
			s.Skipped++
		}
	}
	if e.Action == "fail" && s.Failures == 0 {
		s.Failures++
		s.Cases = append(s.Cases, testcase{
			Class: e.Package, Name: "package", Time: "0.000", Failure: &failure{Message: "package failed", Text: output},
		})
	}
	s.Tests = len(s.Cases)
	return s
}

func writeXML(path string, v any) error {
	text, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	text = append([]byte(xml.Header), append(text, '\n')...)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
