package results

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"
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

// junit is for build servers: a gate is a test suite, an item a test; what has no
// answer is an error, what failed a failure.
func junit(s *Set) ([]byte, error) {
	suites := junitSuites{
		Name: "allclear " + s.Name, Time: seconds(s.Took), Tests: len(s.Results),
		Failures: s.Count(Fail), Errors: s.Count(Inconclusive), Skipped: s.Count(Skipped) + s.Count(Waived),
	}
	s.byGate(func(gate string, results []Result) {
		part := Set{Results: results}
		suite := junitSuite{
			Name: gate, Tests: len(results), Failures: part.Count(Fail), Errors: part.Count(Inconclusive), Skipped: part.Count(Skipped) + part.Count(Waived),
			Timestamp: s.Started.UTC().Format("2006-01-02T15:04:05"),
		}
		var took time.Duration
		for _, r := range results {
			took += r.Took
			suite.Cases = append(suite.Cases, junitCaseOf(r))
		}
		suite.Time = seconds(took)
		suites.Suites = append(suites.Suites, suite)
	})
	text, err := xml.MarshalIndent(suites, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode JUnit report: %w", err)
	}
	return append([]byte(xml.Header), append(text, '\n')...), nil
}

func junitCaseOf(r Result) junitCase {
	c := junitCase{Name: r.Text, Class: r.ID, Time: seconds(r.Took)}
	switch r.Verdict {
	case Pass:
	case Skipped, Waived:
		c.Skipped = &junitDetail{Message: r.excuse()}
	case Fail:
		c.Failure = &junitDetail{Message: r.Reason, Type: r.Word}
	default:
		c.Error = &junitDetail{Message: r.Reason, Type: r.Word}
	}
	if len(r.Evidence) > 0 {
		c.Out = "evidence sha256:" + strings.Join(r.Evidence, " sha256:")
	}
	return c
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", max(d, 0).Seconds()) }
