package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// sarif is what is read of a log (OASIS, SARIF 2.1.0).
type sarif struct {
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver     sarifTool   `json:"driver"`
		Extensions []sarifTool `json:"extensions"`
	} `json:"tool"`
	// Results is null when the scan did not get that far (3.14.23).
	Results     *[]sarifResult `json:"results"`
	Invocations []struct {
		Successful *bool `json:"executionSuccessful"`
	} `json:"invocations"`
	Provenance []struct {
		Revision string `json:"revisionId"`
	} `json:"versionControlProvenance"`
}

type sarifTool struct {
	Name    string      `json:"name"`
	Version string      `json:"version"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID            string `json:"id"`
	Configuration struct {
		Level string `json:"level"`
	} `json:"defaultConfiguration"`
	Properties struct {
		Severity json.RawMessage `json:"security-severity"`
	} `json:"properties"`
}

type sarifResult struct {
	RuleID    string `json:"ruleId"`
	RuleIndex *int   `json:"ruleIndex"`
	Rule      struct {
		ID    string `json:"id"`
		Index *int   `json:"index"`
		Tool  struct {
			Index *int `json:"index"`
		} `json:"toolComponent"`
	} `json:"rule"`
	Kind    string `json:"kind"`
	Level   string `json:"level"`
	Message struct {
		Text string `json:"text"`
	} `json:"message"`
	Baseline     string `json:"baselineState"`
	Suppressions []struct {
		Status string `json:"status"`
	} `json:"suppressions"`
	Locations []struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region struct {
				Line int `json:"startLine"`
			} `json:"region"`
		} `json:"physicalLocation"`
	} `json:"locations"`
}

func parseSARIF(text []byte) (scan, error) {
	log, err := decode[sarif](text)
	if err != nil {
		return scan{}, err
	}
	if len(log.Runs) == 0 {
		return scan{}, errors.New("the SARIF log holds no run: nothing was scanned")
	}
	var out scan
	for i, run := range log.Runs {
		if run.Results == nil {
			return scan{}, fmt.Errorf("run %d of the SARIF log has no results: the scan did not get that far", i+1)
		}
		for _, inv := range run.Invocations {
			if inv.Successful != nil && !*inv.Successful {
				return scan{}, fmt.Errorf("run %d of the SARIF log says that the scan did not end well", i+1)
			}
		}
		for _, p := range run.Provenance {
			if out.commit != "" && p.Revision != "" && out.commit != p.Revision {
				return scan{}, errors.New("the SARIF log is of several commits")
			}
			out.commit = named(out.commit, p.Revision)
		}
		out.targets++
		out.scanner = named(out.scanner, named(run.Tool.Driver.Name, "SARIF")+version(run.Tool.Driver.Version))
		for _, r := range *run.Results {
			if f, counts := run.finding(r); counts {
				out.findings = append(out.findings, f)
			}
		}
	}
	return out, nil
}

func version(v string) string {
	if v == "" {
		return ""
	}
	return " " + v
}

// finding reads a result. One that is told to hold, not to apply or to be gone is
// none (3.27.9, 3.27.24).
func (run sarifRun) finding(r sarifResult) (finding, bool) {
	switch {
	case r.Kind == "pass" || r.Kind == "notApplicable" || r.Kind == "informational", r.Baseline == "absent":
		return finding{}, false
	}
	rule := run.rule(r)
	f := finding{ID: named(r.RuleID, r.Rule.ID, rule.ID, "without a rule"), What: r.Message.Text, Severity: severityOf(r, rule)}
	for _, s := range r.Suppressions {
		// One that is under review or was rejected does not suppress (3.27.23).
		f.Suppressed = f.Suppressed || s.Status == "" || s.Status == "accepted"
	}
	for _, s := range r.Suppressions {
		f.Suppressed = f.Suppressed && s.Status != "rejected" && s.Status != "underReview"
	}
	if len(r.Locations) > 0 {
		at := r.Locations[0].Physical
		if f.Where = at.Artifact.URI; at.Region.Line > 0 {
			f.Where += ":" + strconv.Itoa(at.Region.Line)
		}
	}
	return f, true
}

// rule finds a result's rule by its index or by its name.
func (run sarifRun) rule(r sarifResult) sarifRule {
	tools := append([]sarifTool{run.Tool.Driver}, run.Tool.Extensions...)
	component, index := run.Tool.Driver, r.RuleIndex
	if r.Rule.Index != nil {
		index = r.Rule.Index
	}
	if t := r.Rule.Tool.Index; t != nil && *t >= 0 && *t < len(run.Tool.Extensions) {
		component = run.Tool.Extensions[*t]
	}
	if index != nil && *index >= 0 && *index < len(component.Rules) {
		return component.Rules[*index]
	}
	for _, tool := range tools {
		for _, rule := range tool.Rules {
			if rule.ID != "" && rule.ID == named(r.RuleID, r.Rule.ID) {
				return rule
			}
		}
	}
	return sarifRule{}
}

// severityOf grades a result: by the rule's security-severity, a CVSS score as code
// scanning reads it, or else by its level; without one a result is a warning
// (3.27.10, 3.50.3).
func severityOf(r sarifResult, rule sarifRule) string {
	var text string
	if json.Unmarshal(rule.Properties.Severity, &text) != nil {
		text = string(rule.Properties.Severity)
	}
	if score, err := strconv.ParseFloat(text, 64); err == nil {
		return byScore(score)
	}
	switch named(r.Level, rule.Configuration.Level, "warning") {
	case "error":
		return high
	case "warning":
		return medium
	case "note":
		return low
	case "none":
		return info
	}
	return unknown
}
