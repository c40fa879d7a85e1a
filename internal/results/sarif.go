package results

import (
	"encoding/json"
	"fmt"
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
			Line int `json:"startLine"`
		} `json:"region"`
	} `json:"physicalLocation"`
}

// sarif is the Static Analysis Results Interchange Format 2.1.0 (OASIS). Every
// item that was looked at is a rule; the results are the bad ones only, because
// several readers take each result for a finding, whatever its kind.
func sarif(s *Set) ([]byte, error) {
	var run sarifRun
	run.Tool.Driver = sarifDriver{Name: "allclear", Rules: []sarifRule{}}
	run.Results = []sarifResult{}
	for i, r := range s.Results {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{r.ID, sarifText{r.Text}})
		out := sarifResult{Rule: r.ID, Index: i, Kind: "fail", Message: sarifText{r.Word + ": " + r.Text + ": " + r.Reason}}
		switch r.Verdict {
		case Pass, Skipped, Waived:
			continue
		case Fail:
			out.Level = "error"
		default:
			out.Level = "warning"
		}
		var where sarifLocation
		where.Physical.Artifact.URI, where.Physical.Region.Line = s.File, max(r.Line, 1)
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
