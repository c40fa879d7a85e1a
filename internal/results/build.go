package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// maxAnnotations is how many annotations of a level a GitHub step shows; the rest
// is counted in one more.
const maxAnnotations = 9

// github is workflow commands (docs.github.com, "Workflow commands for GitHub
// Actions"): an annotation for each bad item, failures first.
func github(s *Set) []byte {
	return append(GitHub(s.findings()), fmt.Sprintf("::notice file=%s,title=%s::%s\n", githubProperty(s.File), githubProperty(s.Name), githubData(s.summary()))...)
}

// GitHub writes findings as annotations; of each level as many as a step shows,
// and how many more there are.
func GitHub(findings []Finding) []byte {
	var b bytes.Buffer
	for _, level := range []string{"error", "warning", "note"} {
		word, n := level, 0
		if level == "note" {
			word = "notice"
		}
		file := ""
		for _, f := range findings {
			if f.Level != level {
				continue
			}
			file = OneLine(f.File)
			if n++; n <= maxAnnotations {
				column := ""
				if f.Column > 0 {
					column = fmt.Sprintf(",col=%d", f.Column)
				}
				fmt.Fprintf(&b, "::%s file=%s,line=%d%s,title=%s::%s\n", word, githubProperty(file), f.Line, column, githubProperty(f.Rule), githubData(OneLine(f.Message)))
			}
		}
		if rest := n - maxAnnotations; rest > 0 {
			fmt.Fprintf(&b, "::%s file=%s,title=and %d more::they are in the log\n", word, githubProperty(file), rest)
		}
	}
	return b.Bytes()
}

func githubData(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

func githubProperty(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(text)
}

type gitlabIssue struct {
	Description string         `json:"description"`
	Check       string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string `json:"path"`
	Lines struct {
		Begin int `json:"begin"`
	} `json:"lines"`
}

// gitlab is a Code Quality report (docs.gitlab.com, "Code Quality", report
// format): the bad items only, because the format has nothing else.
func gitlab(s *Set) ([]byte, error) {
	issues := []gitlabIssue{}
	for _, r := range s.bad() {
		sum := sha256.Sum256([]byte(s.File + "\n" + r.ID))
		issue := gitlabIssue{
			Description: r.Word + ": " + r.Text + ": " + r.Reason, Check: r.ID,
			Fingerprint: hex.EncodeToString(sum[:16]), Severity: "blocker", Location: gitlabLocation{Path: s.File},
		}
		if r.Verdict == Inconclusive {
			issue.Severity = "critical"
		}
		issue.Location.Lines.Begin = max(r.Line, 1)
		issues = append(issues, issue)
	}
	text, err := json.MarshalIndent(issues, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode Code Quality report: %w", err)
	}
	return append(text, '\n'), nil
}

// buildkite groups a job's log (buildkite.com/docs, "Managing log output"): a gate
// with something bad is unfolded.
func buildkite(s *Set) []byte {
	var b bytes.Buffer
	s.byGate(func(gate string, results []Result) {
		part := Set{Results: results}
		fold := "---"
		if len(part.bad()) > 0 {
			fold = "+++"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", fold, gate, part.summary())
		for _, r := range results {
			fmt.Fprintf(&b, "%s %s: %s\n", r.Word, r.ID, r.Reason)
		}
	})
	return b.Bytes()
}

// teamcity is service messages (jetbrains.com/help/teamcity, "Service Messages"):
// a gate is a suite, an item a test. What was waived or has no answer is a failed
// or an ignored test, never a passed one.
func teamcity(s *Set) []byte {
	var b bytes.Buffer
	s.byGate(func(gate string, results []Result) {
		fmt.Fprintf(&b, "##teamcity[testSuiteStarted name='%s']\n", teamcityEscape(gate))
		for _, r := range results {
			name := teamcityEscape(r.ID)
			if r.Verdict == Skipped || r.Verdict == Waived {
				fmt.Fprintf(&b, "##teamcity[testIgnored name='%s' message='%s']\n", name, teamcityEscape(r.excuse()))
				continue
			}
			fmt.Fprintf(&b, "##teamcity[testStarted name='%s']\n", name)
			if r.Verdict != Pass {
				fmt.Fprintf(&b, "##teamcity[testFailed name='%s' message='%s' details='%s']\n", name, teamcityEscape(r.Word), teamcityEscape(r.Text+": "+r.Reason))
			}
			fmt.Fprintf(&b, "##teamcity[testFinished name='%s' duration='%d']\n", name, max(r.Took, 0).Milliseconds())
		}
		fmt.Fprintf(&b, "##teamcity[testSuiteFinished name='%s']\n", teamcityEscape(gate))
	})
	return b.Bytes()
}

func teamcityEscape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case strings.ContainsRune("|'[]", r):
			b.WriteByte('|')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString("|n")
		case r == '\r':
			b.WriteString("|r")
		case r > 0x7e && r <= 0xffff:
			fmt.Fprintf(&b, "|0x%04X", r)
		case r > 0xffff: // the escape has four digits
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
