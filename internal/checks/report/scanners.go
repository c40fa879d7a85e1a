package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// parser reads one format; has are the names at the top of a document that no other
// format has together.
type parser struct {
	format string
	has    []string
	read   func([]byte) (scan, error)
}

func parsers() []parser {
	return []parser{
		{"sarif", []string{"runs", "version"}, parseSARIF},
		{"trivy", []string{"SchemaVersion", "ArtifactName"}, parseTrivy},
		{"bandit", []string{"metrics", "results", "generated_at"}, parseBandit},
		{"pip-audit", []string{"dependencies"}, parsePipAudit},
		{"safety", []string{"report_meta"}, parseSafety},
		{"npm-audit", []string{"auditReportVersion"}, parseNPM},
		{"npm-audit", []string{"advisories", "metadata"}, parseNPM},
		{"zap", []string{"site"}, parseZAP},
		{"nuclei", []string{"template-id", "info"}, parseNuclei},
		{"osv", []string{"results"}, parseOSV},
	}
}

// parseScan reads a report of a format, or of the one that it looks like. What is
// none of them is an error.
func parseScan(text []byte, format string) (scan, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return scan{}, errors.New("the report is empty, which does not show that anything was scanned")
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if format == "" {
		var err error
		if format, err = recognised(text); err != nil {
			return scan{}, err
		}
	}
	for _, p := range parsers() {
		if p.format == format {
			return p.read(text)
		}
	}
	return scan{}, fmt.Errorf("format %s is not known", format)
}

// recognised tells a report's format by the names at its top.
func recognised(text []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	var top map[string]json.RawMessage
	if err := d.Decode(&top); err != nil {
		return "", fmt.Errorf("it is no JSON object of a scanner: %w", err)
	}
	for _, p := range parsers() {
		all := true
		for _, name := range p.has {
			_, there := top[name]
			all = all && there
		}
		if all {
			return p.format, nil
		}
	}
	return "", errors.New("it is the report of no scanner that is known; say its format")
}

// decode reads one JSON document; anything behind it is an error.
func decode[T any](text []byte) (out T, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&out); err != nil {
		return out, fmt.Errorf("the report cannot be read: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return out, errors.New("the report holds more than one document")
	}
	return out, nil
}

// parseTrivy reads trivy --format json (trivy.dev, "Reporting", schema version 2).
func parseTrivy(text []byte) (scan, error) {
	r, err := decode[struct {
		Artifact string `json:"ArtifactName"`
		Trivy    struct {
			Version string
		}
		Results []struct {
			Target            string
			Vulnerabilities   []trivyFinding
			Misconfigurations []trivyFinding
			Secrets           []trivyFinding
		}
	}](text)
	if err != nil {
		return scan{}, err
	}
	s := scan{scanner: "Trivy" + version(r.Trivy.Version), targets: len(r.Results)}
	if s.targets == 0 {
		return s, fmt.Errorf("trivy found nothing to scan in %s", named(r.Artifact, "it"))
	}
	for _, result := range r.Results {
		for _, list := range [][]trivyFinding{result.Vulnerabilities, result.Misconfigurations, result.Secrets} {
			for _, v := range list {
				if v.Status == "PASS" {
					continue // of a misconfiguration that is none
				}
				s.findings = append(s.findings, finding{
					ID: named(v.VulnerabilityID, v.ID, v.RuleID), Severity: byWord(v.Severity), Fixed: v.FixedVersion,
					What: strings.TrimSpace(named(v.PkgName, v.Title) + " " + v.InstalledVersion), Where: result.Target,
					Package: v.PkgName, Version: v.InstalledVersion,
				})
			}
		}
	}
	return s, nil
}

// trivyFinding is a vulnerability, a misconfiguration or a secret.
type trivyFinding struct {
	VulnerabilityID, ID, RuleID                              string
	PkgName, InstalledVersion, FixedVersion, Severity, Title string
	Status                                                   string
}

// parseBandit reads bandit -f json (bandit.readthedocs.io, "formatters").
func parseBandit(text []byte) (scan, error) {
	r, err := decode[struct {
		Errors []struct {
			File   string `json:"filename"`
			Reason string `json:"reason"`
		} `json:"errors"`
		Metrics map[string]struct {
			Lines int `json:"loc"`
		} `json:"metrics"`
		Results *[]struct {
			ID       string `json:"test_id"`
			Severity string `json:"issue_severity"`
			Text     string `json:"issue_text"`
			File     string `json:"filename"`
			Line     int    `json:"line_number"`
		} `json:"results"`
	}](text)
	switch {
	case err != nil:
		return scan{}, err
	case len(r.Errors) > 0:
		return scan{}, fmt.Errorf("bandit could not read %s: %s", r.Errors[0].File, r.Errors[0].Reason)
	case r.Results == nil || r.Metrics["_totals"].Lines == 0:
		return scan{}, errors.New("bandit has looked at no line of code")
	}
	s := scan{scanner: "Bandit", targets: r.Metrics["_totals"].Lines}
	for _, f := range *r.Results {
		s.findings = append(s.findings, finding{ID: f.ID, Severity: byWord(f.Severity), What: f.Text, Where: f.File + ":" + strconv.Itoa(f.Line)})
	}
	return s, nil
}

// parsePipAudit reads pip-audit -f json (github.com/pypa/pip-audit, README). It
// grades nothing.
func parsePipAudit(text []byte) (scan, error) {
	r, err := decode[struct {
		Dependencies []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Skipped string `json:"skip_reason"`
			Vulns   []struct {
				ID      string   `json:"id"`
				Aliases []string `json:"aliases"`
				Fixed   []string `json:"fix_versions"`
			} `json:"vulns"`
		} `json:"dependencies"`
	}](text)
	if err != nil {
		return scan{}, err
	}
	s := scan{scanner: "pip-audit"}
	for _, d := range r.Dependencies {
		if d.Skipped != "" {
			return s, fmt.Errorf("pip-audit did not look at %s: %s", d.Name, d.Skipped)
		}
		s.targets++
		for _, v := range d.Vulns {
			s.findings = append(s.findings, finding{ID: v.ID, Aliases: v.Aliases, Severity: unknown, What: d.Name + " " + d.Version, Fixed: strings.Join(v.Fixed, ", "), Package: d.Name, Version: d.Version})
		}
	}
	if s.targets == 0 {
		return s, errors.New("pip-audit has looked at no package")
	}
	return s, nil
}

// parseSafety reads safety check --output json (docs.safetycli.com, version 2 of
// the report).
func parseSafety(text []byte) (scan, error) {
	r, err := decode[struct {
		Meta struct {
			Packages int             `json:"packages_found"`
			Version  string          `json:"safety_version"`
			Time     json.RawMessage `json:"timestamp"`
		} `json:"report_meta"`
		Vulnerabilities *[]struct {
			ID       string `json:"vulnerability_id"`
			CVE      string `json:"CVE"`
			Package  string `json:"package_name"`
			Version  string `json:"analyzed_version"`
			Severity *struct {
				V3 *struct {
					Score float64 `json:"base_score"`
					Word  string  `json:"base_severity"`
				} `json:"cvssv3"`
			} `json:"severity"`
			Fixed []string `json:"fixed_versions"`
		} `json:"vulnerabilities"`
	}](text)
	switch {
	case err != nil:
		return scan{}, err
	case r.Vulnerabilities == nil || r.Meta.Packages == 0:
		return scan{}, errors.New("safety has looked at no package")
	}
	s := scan{scanner: "Safety" + version(r.Meta.Version), targets: r.Meta.Packages}
	for _, v := range *r.Vulnerabilities {
		f := finding{ID: v.ID, Severity: unknown, What: v.Package + " " + v.Version, Fixed: strings.Join(v.Fixed, ", "), Package: v.Package, Version: v.Version}
		if v.CVE != "" {
			f.Aliases = []string{v.CVE}
		}
		if v.Severity != nil && v.Severity.V3 != nil {
			if f.Severity = byWord(v.Severity.V3.Word); f.Severity == unknown && v.Severity.V3.Score > 0 {
				f.Severity = byScore(v.Severity.V3.Score)
			}
		}
		s.findings = append(s.findings, f)
	}
	return s, nil
}
