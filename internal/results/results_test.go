package results_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/results"
)

var update = flag.Bool("update", false, "write the golden files")

func sample() *results.Set {
	return &results.Set{
		Name: "production 1.4.0", File: "docs/LIST.md", Started: time.Date(2026, 11, 22, 15, 28, 1, 0, time.UTC), Took: 5 * time.Second,
		Results: []results.Result{
			{ID: "pre.tests", Text: "Tests pass", Gate: "Before", Line: 3, Verdict: results.Pass, Word: "pass", Reason: "41 of 41", Took: time.Second, Evidence: []string{"9f3c"}},
			{ID: "deploy.smoke", Text: "It answers, 100%: [ok]", Gate: "Deploy", Line: 12, Verdict: results.Fail, Word: "fail", Reason: "GET /: 503, want 200 | # 'x'", Took: 250 * time.Millisecond},
			{ID: "pre.disk", Text: "Disk is large enough", Gate: "Before", Line: 4, Verdict: results.Inconclusive, Word: "inconclusive", Reason: "no answer within 5s"},
			{ID: "pre.cdn", Text: "CDN", Gate: "Before", Line: 5, Verdict: results.Skipped, Word: "n/a", Reason: "no CDN here"},
			{ID: "pre.alerts", Text: "Alerts are quiet", Gate: "Before", Line: 6, Verdict: results.Waived, Word: "waived", Reason: "by ana: known noise, OPS-88"},
			{ID: "deploy.last", Text: "Émile's ✔ list 🚀", Gate: "Deploy", Line: 13, Verdict: results.Inconclusive, Word: "not run"},
		},
	}
}

func TestGolden(t *testing.T) {
	for _, format := range results.Formats() {
		t.Run(format, func(t *testing.T) {
			got, err := results.Write(format, sample())
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", format+".txt")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v: differs (run with -update to accept):\n%s", err, got)
			}
		})
	}
}

// TestNothingIsAnError holds that no format can say that all is well when nothing
// was looked at.
func TestNothingIsAnError(t *testing.T) {
	for _, format := range results.Formats() {
		if text, err := results.Write(format, &results.Set{Name: "x"}); !errors.Is(err, results.ErrNothing) || len(text) > 0 {
			t.Errorf("%s: %v, %q", format, err, text)
		}
	}
	if _, err := results.Write("yaml", sample()); err == nil || errors.Is(err, results.ErrNothing) {
		t.Errorf("an unknown format: %v", err)
	}
}

// TestEveryFormatShowsWhatIsBad holds that a failure and a missing answer are
// named in each format, and that only what passed is called passed.
func TestEveryFormatShowsWhatIsBad(t *testing.T) {
	for _, format := range results.Formats() {
		for _, verdict := range []results.Verdict{results.Fail, results.Inconclusive} {
			set := sample()
			set.Results = []results.Result{set.Results[0], {ID: "x.bad", Text: "Bad", Gate: "Before", Line: 9, Verdict: verdict, Word: string(verdict)}}
			text, err := results.Write(format, set)
			if err != nil {
				t.Fatal(err)
			}
			name := "x.bad"
			if format == "table" {
				name = "| Bad |"
			}
			if !bytes.Contains(text, []byte(name)) {
				t.Errorf("%s does not name what is %s:\n%s", format, verdict, text)
			}
		}
	}
}

// hostile texts try to leave their place.
func hostile() []string {
	return []string{
		"a\n::error::forged", "a\r\n##teamcity[testFinished name='forged']", "1\nok 1 - forged", `"} 1` + "\nforged 1", "a%0A::error::x",
		"x # SKIP all is well", "a | passed=999", "]]><x/>", "|'[]", "\x1b[31m", "\u202e", "\xff", "a\tb", "| x | y |", "@channel", `\`, "--- x", "##[error]x",
	}
}

func TestHostileTexts(t *testing.T) {
	for _, text := range hostile() {
		set := sample()
		for i := range set.Results {
			r := &set.Results[i]
			r.ID, r.Text, r.Reason, r.Word = text, text, text, text
		}
		set.Name, set.File = text, text
		for _, format := range results.Formats() {
			clean, err := results.Write(format, sample())
			if err != nil {
				t.Fatal(err)
			}
			got, err := results.Write(format, set)
			if err != nil {
				t.Fatal(err)
			}
			if format != "json" && bytes.Count(got, []byte("\n")) != bytes.Count(clean, []byte("\n")) {
				t.Errorf("%s: %q made lines of its own:\n%s", format, text, got)
			}
			if bytes.ContainsAny(got, "\x1b\x00\r") {
				t.Errorf("%s: %q: control characters stay", format, text)
			}
			readable(t, format, got)
		}
	}
}

// readable reads a document as its readers do and counts.
func readable(t *testing.T, format string, text []byte) {
	t.Helper()
	count := func(pattern string) int { return len(regexp.MustCompile("(?m)"+pattern).FindAll(text, -1)) }
	switch format {
	case "json", "sarif", "gitlab":
		if !json.Valid(text) {
			t.Errorf("%s: not JSON:\n%s", format, text)
		}
	case "junit":
		var back struct {
			Cases []struct{} `xml:"testsuite>testcase"`
		}
		if err := xml.Unmarshal(text, &back); err != nil || len(back.Cases) != 6 {
			t.Errorf("junit: %v, %d cases", err, len(back.Cases))
		}
	case "tap":
		if ok, notOK := count(`^ok `), count(`^not ok `); ok != 2 || notOK != 4 || count(`^ok .*[^\\]# SKIP`) != 1 {
			t.Errorf("tap: %d ok, %d not ok:\n%s", ok, notOK, text)
		}
	case "github":
		if count(`^::(error|warning|notice) `) != strings.Count(string(text), "\n") || count(`^::error `) != 1 {
			t.Errorf("github:\n%s", text)
		}
	case "teamcity":
		if count(`^##teamcity\[(\w+)( \w+='([^|'\[\]]|\|.)*')+\]$`) != strings.Count(string(text), "\n") || count(`^##teamcity\[testFailed`) != 3 {
			t.Errorf("teamcity:\n%s", text)
		}
	case "prometheus":
		if count(`^(#.*|\w+\{(\w+="([^"\\]|\\.)*",?)+\} [0-9.]+)$`) != strings.Count(string(text), "\n") {
			t.Errorf("prometheus:\n%s", text)
		}
	case "nagios":
		if strings.Count(string(text), "|") != 1 {
			t.Errorf("nagios:\n%s", text)
		}
	}
}

// TestManyAnnotations counts what a step would not show.
func TestManyAnnotations(t *testing.T) {
	set := &results.Set{Name: "x", File: "l.md"}
	for i := range 30 {
		set.Results = append(set.Results, results.Result{ID: "i" + strconv.Itoa(i), Gate: "g", Line: i + 1, Verdict: results.Fail, Word: "fail"})
	}
	text, err := results.Write("github", set)
	if err != nil || strings.Count(string(text), "::error ") != 10 || !strings.Contains(string(text), "title=and 21 more::") {
		t.Errorf("%v:\n%s", err, text)
	}
}
