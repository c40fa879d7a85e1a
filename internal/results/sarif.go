package results

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
)

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	// Columns says how columns are counted.
	Columns string        `json:"columnKind"`
	Results []sarifResult `json:"results"`
}

type sarifDriver struct {
	Name  string      `json:"name"`
	Rules []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID    string    `json:"id"`
	Short sarifText `json:"shortDescription"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	Rule      string          `json:"ruleId"`
	Index     int             `json:"ruleIndex"`
	Kind      string          `json:"kind"`
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations"`
}

type sarifLocation struct {
	Physical struct {
		Artifact struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region struct {
			Line   int `json:"startLine"`
			Column int `json:"startColumn,omitempty"`
		} `json:"region"`
	} `json:"physicalLocation"`
}

// sarif is the Static Analysis Results Interchange Format 2.1.0 (OASIS). Every
// item that was looked at is a rule; the results are the bad ones only, because
// several readers take each result for a finding, whatever its kind.
func sarif(s *Set) ([]byte, error) {
	var rules []Rule
	for _, r := range s.Results {
		rules = append(rules, Rule{r.ID, r.Text})
	}
	return SARIF(rules, s.findings())
}

// Rule is what findings are of.
type Rule struct {
	ID, Text string
}

// Finding is a place in a file and what is to be said about it.
type Finding struct {
	Rule, Message string
	// Level is error, warning or note.
	Level string
	File  string
	Line  int
	// Column counts characters from 1; 0 is unknown.
	Column int
}

// findings are the bad results, failures first.
func (s *Set) findings() []Finding {
	var out []Finding
	for _, r := range s.bad() {
		level := "error"
		if r.Verdict == Inconclusive {
			level = "warning"
		}
		out = append(out, Finding{Rule: r.ID, Message: r.Word + ": " + r.Text + ": " + r.Reason, Level: level, File: s.File, Line: r.Line})
	}
	return out
}

// SARIF writes findings for code scanners and editors.
func SARIF(rules []Rule, findings []Finding) ([]byte, error) {
	var run sarifRun
	run.Tool.Driver = sarifDriver{Name: "allclear", Rules: []sarifRule{}}
	run.Columns, run.Results = "unicodeCodePoints", []sarifResult{}
	index := map[string]int{}
	for i, r := range rules {
		index[r.ID] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{r.ID, sarifText{r.Text}})
	}
	for _, f := range findings {
		out := sarifResult{Rule: f.Rule, Index: index[f.Rule], Kind: "fail", Level: f.Level, Message: sarifText{OneLine(f.Message)}}
		var where sarifLocation
		where.Physical.Artifact.URI, where.Physical.Region.Line, where.Physical.Region.Column = reference(f.File), max(f.Line, 1), f.Column
		out.Locations = []sarifLocation{where}
		run.Results = append(run.Results, out)
	}
	text, err := json.MarshalIndent(sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode SARIF: %w", err)
	}
	return append(text, '\n'), nil
}

// reference is a path as a URI: what stands in it apart from letters is escaped, and
// an absolute one has its scheme.
func reference(name string) string {
	u := url.URL{Path: OneLine(name)}
	if path.IsAbs(u.Path) {
		u.Scheme = "file"
	}
	return u.String()
}
