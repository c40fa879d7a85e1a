package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/run"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string       `xml:"name,attr"`
	Class   string       `xml:"classname,attr"`
	Time    string       `xml:"time,attr"`
	Skipped *junitDetail `xml:"skipped"`
	Error   *junitDetail `xml:"error"`
	Failure *junitDetail `xml:"failure"`
	Out     string       `xml:"system-out,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
}

// JUnit is the report for build servers: a gate is a test suite, an item a test.
// n/a and waived are skipped; fail, failed and undone are failures; whatever has
// no answer, because it was inconclusive, is in doubt or never ran, is an error.
// Groups are no tests: what they hold is. Gates without items, and the phases of a
// rollback that did not take place, are left out.
func JUnit(s *run.State) ([]byte, error) {
	if s == nil || s.Plan == nil {
		return nil, errors.New("the run has not been started")
	}
	suites := junitSuites{Name: clean("allclear " + s.Plan.Environment + " " + s.Plan.Release.Version), Time: seconds(s.Now.Sub(s.StartedAt))}
	all := entries(s)
	for _, ph := range s.Plan.Phases {
		if ph.Rollback && !s.Rollback {
			continue
		}
		suite := junitSuiteOf(s, &ph, all)
		if suite.Tests == 0 {
			continue
		}
		suites.Tests += suite.Tests
		suites.Failures += suite.Failures
		suites.Errors += suite.Errors
		suites.Skipped += suite.Skipped
		suites.Suites = append(suites.Suites, suite)
	}
	text, err := xml.MarshalIndent(suites, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode JUnit report: %w", err)
	}
	return append([]byte(xml.Header), append(text, '\n')...), nil
}

func junitSuiteOf(s *run.State, ph *run.Phase, all []entry) junitSuite {
	suite := junitSuite{Name: clean(ph.Title), Timestamp: s.StartedAt.UTC().Format("2006-01-02T15:04:05")}
	if suite.Name == "" {
		suite.Name = ph.ID
	}
	var took time.Duration
	for i := range all {
		e := &all[i]
		if e.Item.Gate != ph.ID || e.Item.Kind == run.Group {
			continue
		}
		c := junitCaseOf(e)
		suite.Tests++
		switch {
		case c.Skipped != nil:
			suite.Skipped++
		case c.Error != nil:
			suite.Errors++
		case c.Failure != nil:
			suite.Failures++
		}
		took += worked(e.St)
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = seconds(took)
	return suite
}

func junitCaseOf(e *entry) junitCase {
	c := junitCase{Name: clean(e.Item.Text), Class: clean(e.Item.ID), Time: seconds(worked(e.St))}
	detail := &junitDetail{Message: e.Reason, Type: e.Word}
	switch word := statusWord(e); {
	case e.Ticked:
	case word == "waived":
		c.Skipped = &junitDetail{Message: "waived by " + e.By + ": " + e.Reason}
	case e.St.Status == run.NA:
		c.Skipped = &junitDetail{Message: "n/a: " + e.Reason}
	case e.St.Status == run.Fail || e.St.Status == run.Failed || e.St.Status == run.Undone:
		c.Failure = detail
	default:
		if detail.Message == "" {
			detail.Message = e.Word
		}
		c.Error = detail
	}
	if len(e.Evidence) > 0 {
		c.Out = "evidence sha256:" + strings.Join(e.Evidence, " sha256:")
	}
	return c
}

// worked is how long the last attempt took.
func worked(st *run.ItemState) time.Duration {
	if st.StartedAt.IsZero() || st.SettledAt.Before(st.StartedAt) {
		return 0
	}
	return st.SettledAt.Sub(st.StartedAt)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", max(d, 0).Seconds()) }
