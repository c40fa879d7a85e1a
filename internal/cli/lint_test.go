package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/cli"
)

// lintOutput runs the linter on a file and gives what it prints.
func lintOutput(t *testing.T, name, text string, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	argv := append([]string{"allclear", "-C", dir, "lint", "migrations", name}, args...)
	if code := cli.Main(argv, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); code != cli.ExitFailed {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	return out.Bytes()
}

const lintedName = "a, 100%: ü#.sql"

// linted has characters of several bytes, and what annotations must escape.
const linted = `/* é */ SET lock_timeout = '1s'; /* üü */ ALTER TABLE "50%: a,b" ADD CONSTRAINT c CHECK ("100%" > 0);
DROP TABLE t;`

// TestLintJSON holds the shape that other programs read.
func TestLintJSON(t *testing.T) {
	var statements []map[string]json.RawMessage
	if err := json.Unmarshal(lintOutput(t, lintedName, linted, "--json"), &statements); err != nil {
		t.Fatal(err)
	}
	if len(statements) != 3 {
		t.Fatalf("%d statements", len(statements))
	}
	var texts []string
	for _, s := range statements {
		for _, key := range []string{"file", "line", "statement", "findings"} {
			if _, there := s[key]; !there {
				t.Errorf("no %s in %v", key, slices.Sorted(maps.Keys(s)))
			}
		}
		var findings []map[string]json.RawMessage
		if err := json.Unmarshal(s["findings"], &findings); err != nil || findings == nil {
			t.Fatalf("findings %s: %v", s["findings"], err)
		}
		for _, f := range findings {
			for _, key := range []string{"rule", "level", "lock", "scan", "rewrite", "safe"} {
				if _, there := f[key]; !there {
					t.Errorf("no %s in %s", key, s["findings"])
				}
			}
			texts = append(texts, fmt.Sprint(string(s["line"]), string(f["rule"]), string(f["level"]), string(f["lock"]), string(f["scan"]), string(f["rewrite"])))
		}
	}
	want := []string{`1"check-add""hazard""AccessExclusiveLock"truefalse`, `2"drop-table""risk""AccessExclusiveLock"falsefalse`}
	if !slices.Equal(texts, want) {
		t.Errorf("%v, want %v", texts, want)
	}
}

// TestLintSARIF holds the rules of SARIF 2.1.0 (OASIS, sections 3.4, 3.14, 3.27 to
// 3.30): known levels, results that name a rule of the list, references that are
// URIs, columns in characters from 1.
func TestLintSARIF(t *testing.T) {
	var log struct {
		Version string `json:"version"`
		Runs    []struct {
			Columns string `json:"columnKind"`
			Tool    struct {
				Driver struct {
					Name  string                `json:"name"`
					Rules []struct{ ID string } `json:"rules"`
				} `json:"driver"`
			} `json:"tool"`
			Results []struct {
				RuleID    string `json:"ruleId"`
				RuleIndex int    `json:"ruleIndex"`
				Level     string `json:"level"`
				Message   struct{ Text string }
				Locations []struct {
					Physical struct {
						Artifact struct{ URI string }                 `json:"artifactLocation"`
						Region   struct{ StartLine, StartColumn int } `json:"region"`
					} `json:"physicalLocation"`
				}
			}
		}
	}
	if err := json.Unmarshal(lintOutput(t, lintedName, linted, "--format", "sarif"), &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || len(log.Runs) != 1 || log.Runs[0].Tool.Driver.Name != "allclear" || log.Runs[0].Columns != "unicodeCodePoints" {
		t.Fatalf("%+v", log)
	}
	var got []string
	for _, r := range log.Runs[0].Results {
		if rule := log.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID; rule != r.RuleID {
			t.Errorf("rule %s is not number %d of the list, which is %s", r.RuleID, r.RuleIndex, rule)
		}
		if r.Message.Text == "" || len(r.Locations) != 1 {
			t.Fatalf("%+v", r)
		}
		where := r.Locations[0].Physical
		got = append(got, fmt.Sprintf("%s %s %s %d:%d", r.RuleID, r.Level, where.Artifact.URI, where.Region.StartLine, where.Region.StartColumn))
	}
	// The second statement begins at byte 46, which is character 43.
	want := []string{"check-add error ./a,%20100%25:%20%C3%BC%23.sql 1:43", "drop-table warning ./a,%20100%25:%20%C3%BC%23.sql 2:1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLintGitHub holds the escapes of workflow commands: %, line ends, and in
// properties colon and comma.
func TestLintGitHub(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(string(lintOutput(t, lintedName, linted, "--format", "github"))), "\n")
	if len(lines) != 2 {
		t.Fatalf("%q", lines)
	}
	for i, want := range []string{
		"::error file=a%2C 100%25%3A ü#.sql,line=1,col=43,title=check-add::",
		"::warning file=a%2C 100%25%3A ü#.sql,line=2,col=1,title=drop-table::",
	} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("%q, want %q", lines[i], want)
		}
	}
	if !strings.Contains(lines[0], `50%25: a,b`) {
		t.Errorf("the name is lost or not escaped: %q", lines[0])
	}
}
