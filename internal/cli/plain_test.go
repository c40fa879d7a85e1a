package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPlainOutput holds that where nobody sits at a terminal, a run is told by
// lines without control characters, each of which says something new: nothing is
// repeated within a minute, however often a check is tried, and two runs say the
// same but for times and ids.
func TestPlainOutput(t *testing.T) {
	first, second := plainRun(t), plainRun(t)
	if first != second {
		t.Errorf("two runs say different things:\n%s\n---\n%s", first, second)
	}
	for _, want := range []string{
		"started by ana", "gate 1 Before passed: 1 ok", "pre.late retrying", "pre.late pass", "deploy.watched watching for 1s",
		"deploy.bad fail: false ended with exit 1", "(line ", "deploy.bad failed: ", "a decision is needed",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the run does not say %q:\n%s", want, first)
		}
	}
}

// plainRun makes a run with a check that comes right late, a watch and a failure,
// and gives what it said without times and ids.
func plainRun(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"allclear.yaml": "project: demo\nchecklist: list.md\npeople:\n  ana: {roles: [Tech Lead]}\nenvironments:\n  test: {protected: false}\n",
		// It fails the same way five times before it passes.
		"late": "echo x >> tries\n[ $(wc -l < tries) -gt 5 ]\n",
		"list.md": "## Before\n\n" + item("pre.late", "It comes right", "command: {run: [sh, late]}\n  retry: {times: 20, every: 100ms}") +
			"\n## Deploy\n\n" + item("deploy.act", "It is done\t\x1b[31mred", `command: {run: ["true"], changes: true, class: idempotent}`) +
			item("deploy.watched", "It stays", "command: {run: [\"true\"]}\n  watch: {for: 1s, every: 100ms}") +
			item("deploy.bad", "It is good", `command: {run: ["false"]}`),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	out, code := allclear(t, dir, "run", "test", "--release", "1.0", "--as", "ana")
	if code != 1 {
		t.Fatalf("the run ends with %d:\n%s", code, out)
	}
	if strings.ContainsAny(out, "\r\x1b\b") {
		t.Errorf("control characters: %q", out)
	}
	times := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `)
	ids := regexp.MustCompile(`test-\d{8}-\d{6}-[0-9a-f]{4}|plan [0-9a-f]{12}`)
	lengths := regexp.MustCompile(`\d+(\.\d+)?ms|\d+ of \d+ samples`)
	text := lengths.ReplaceAllString(ids.ReplaceAllString(times.ReplaceAllString(out, ""), "ID"), "N")
	seen := map[string]int{}
	for line := range strings.Lines(text) {
		seen[line]++
	}
	for line, n := range seen {
		if most := 1 + int(time.Since(begun)/time.Minute); n > most {
			t.Errorf("%d times in %s: %s", n, time.Since(begun).Round(time.Second), line)
		}
	}
	return text
}
