package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// npmReport is npm audit --json, of npm 7 and later (auditReportVersion 2) and of
// npm 6 (docs.npmjs.com, "npm-audit").
type npmReport struct {
	Error           json.RawMessage `json:"error"`
	Vulnerabilities map[string]struct {
		Name     string            `json:"name"`
		Severity string            `json:"severity"`
		Via      []json.RawMessage `json:"via"`
		Range    string            `json:"range"`
	} `json:"vulnerabilities"`
	Advisories map[string]struct {
		Module   string   `json:"module_name"`
		Severity string   `json:"severity"`
		CVEs     []string `json:"cves"`
		Title    string   `json:"title"`
		Patched  string   `json:"patched_versions"`
		GHSA     string   `json:"github_advisory_id"`
	} `json:"advisories"`
	Metadata struct {
		Total        int             `json:"totalDependencies"`
		Dependencies json.RawMessage `json:"dependencies"`
	} `json:"metadata"`
}

func parseNPM(text []byte) (scan, error) {
	r, err := decode[npmReport](text)
	if err != nil {
		return scan{}, err
	}
	if len(r.Error) > 0 && string(r.Error) != "null" {
		return scan{}, fmt.Errorf("npm audit has failed: %.200s", r.Error)
	}
	s := scan{scanner: "npm audit", targets: r.Metadata.Total}
	var counts struct {
		Total int `json:"total"`
	}
	if json.Unmarshal(r.Metadata.Dependencies, &counts) == nil {
		s.targets = max(s.targets, counts.Total)
	}
	if s.targets == 0 {
		return s, errors.New("npm audit has looked at no dependency")
	}
	for _, id := range slices.Sorted(maps.Keys(r.Advisories)) {
		a := r.Advisories[id]
		s.findings = append(s.findings, finding{ID: named(a.GHSA, "npm "+id), Aliases: a.CVEs, Severity: byWord(a.Severity), What: a.Module + " " + a.Title, Fixed: a.Patched, Package: a.Module})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Vulnerabilities)) {
		v := r.Vulnerabilities[name]
		found := false
		for _, raw := range v.Via {
			var via struct {
				Source   json.Number `json:"source"`
				Title    string      `json:"title"`
				URL      string      `json:"url"`
				Severity string      `json:"severity"`
			}
			if json.Unmarshal(raw, &via) != nil || via.Source == "" {
				continue // a text names another package of the list
			}
			found = true
			s.findings = append(s.findings, finding{ID: named(via.URL[strings.LastIndex(via.URL, "/")+1:], "npm "+via.Source.String()), Severity: byWord(named(via.Severity, v.Severity)), What: name + " " + v.Range + ": " + via.Title, Package: name})
		}
		if !found && len(v.Via) == 0 {
			s.findings = append(s.findings, finding{ID: "npm " + name, Severity: byWord(v.Severity), What: name + " " + v.Range, Package: name})
		}
	}
	return s, nil
}

// parseOSV reads osv-scanner --format json (google.github.io/osv-scanner,
// "Output"). Without --all-packages it lists only what has vulnerabilities, so that
// an empty list does not show that anything was scanned.
func parseOSV(text []byte) (scan, error) {
	r, err := decode[struct {
		Results []struct {
			Source struct {
				Path string `json:"path"`
			} `json:"source"`
			Packages []struct {
				Package struct {
					Name    string `json:"name"`
					Version string `json:"version"`
				} `json:"package"`
				Vulnerabilities []struct {
					ID      string   `json:"id"`
					Aliases []string `json:"aliases"`
					Own     struct {
						Severity string `json:"severity"`
					} `json:"database_specific"`
				} `json:"vulnerabilities"`
				Groups []struct {
					IDs []string `json:"ids"`
					Max string   `json:"max_severity"`
				} `json:"groups"`
			} `json:"packages"`
		} `json:"results"`
	}](text)
	if err != nil {
		return scan{}, err
	}
	s := scan{scanner: "OSV-Scanner"}
	for _, result := range r.Results {
		for _, p := range result.Packages {
			s.targets++
			scores := map[string]string{}
			for _, g := range p.Groups {
				if score, err := strconv.ParseFloat(g.Max, 64); err == nil {
					for _, id := range g.IDs {
						scores[id] = byScore(score)
					}
				}
			}
			for _, v := range p.Vulnerabilities {
				s.findings = append(s.findings, finding{ID: v.ID, Aliases: v.Aliases, Severity: named(scores[v.ID], byWord(v.Own.Severity)), What: p.Package.Name + " " + p.Package.Version, Where: result.Source.Path, Package: p.Package.Name, Version: p.Package.Version})
			}
		}
	}
	if s.targets == 0 {
		return s, errors.New("the report names no package: run osv-scanner with --all-packages, so that it shows what was scanned")
	}
	return s, nil
}

// parseZAP reads ZAP's traditional JSON report (zaproxy.org, "Report Generation").
func parseZAP(text []byte) (scan, error) {
	r, err := decode[struct {
		Version string `json:"@version"`
		Sites   []struct {
			Name   string `json:"@name"`
			Alerts *[]struct {
				Plugin string `json:"pluginid"`
				Alert  string `json:"alert"`
				Risk   string `json:"riskcode"`
				Trust  string `json:"confidence"`
			} `json:"alerts"`
		} `json:"site"`
	}](text)
	if err != nil {
		return scan{}, err
	}
	s := scan{scanner: "ZAP" + version(r.Version), targets: len(r.Sites)}
	if s.targets == 0 {
		return s, errors.New("ZAP has reached no site")
	}
	words := map[string]string{"3": high, "2": medium, "1": low, "0": info}
	for _, site := range r.Sites {
		if site.Alerts == nil {
			return s, fmt.Errorf("ZAP's report has no list of alerts for %s", site.Name)
		}
		for _, a := range *site.Alerts {
			const falsePositive = "0"
			s.findings = append(s.findings, finding{ID: "ZAP " + a.Plugin, Severity: named(words[a.Risk], unknown), What: a.Alert, Where: site.Name, Suppressed: a.Trust == falsePositive})
		}
	}
	return s, nil
}

// parseNuclei reads nuclei -jsonl (docs.projectdiscovery.io, "Nuclei, output"). It
// writes nothing when it finds nothing, and an empty file shows nothing either.
func parseNuclei(text []byte) (scan, error) {
	s := scan{scanner: "nuclei"}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxFile)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		r, err := decode[struct {
			Template string `json:"template-id"`
			Info     struct {
				Name     string `json:"name"`
				Severity string `json:"severity"`
				Class    struct {
					CVE []string `json:"cve-id"`
				} `json:"classification"`
			} `json:"info"`
			Host string `json:"host"`
			At   string `json:"matched-at"`
		}](lines.Bytes())
		if err != nil || r.Template == "" {
			return s, fmt.Errorf("line %d is no finding of nuclei (%w)", n, errors.Join(err, errors.New("want template-id")))
		}
		s.targets++
		s.findings = append(s.findings, finding{ID: r.Template, Aliases: r.Info.Class.CVE, Severity: byWord(r.Info.Severity), What: r.Info.Name, Where: named(r.At, r.Host)})
	}
	return s, lines.Err()
}
