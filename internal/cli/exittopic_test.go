package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExitCodes holds that the page lists the codes as the help does, and that a
// test reaches each of them: a script, or for the interrupted view the test of
// the terminal.
func TestExitCodes(t *testing.T) {
	page, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	reached := ""
	for _, file := range append(scripts, "pty_test.go") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		reached += string(text)
	}
	rows := 0
	for _, c := range exitCodes() {
		rows++
		if row := strings.TrimSpace(fmt.Sprintf("| %d | %s | %s", c.code, c.means, c.do)) + " |"; !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/exit-codes.md has no row\n%s", row)
		}
		script := strings.Contains(reached, fmt.Sprintf("exitcode %d ", c.code))
		terminal := c.code == ExitInterrupted && strings.Contains(reached, "ExitInterrupted") || c.code == ExitInterrupted && strings.Contains(reached, "130")
		if !script && !terminal {
			t.Errorf("no test ends with %d", c.code)
		}
	}
	if listed := strings.Count(string(page), "\n| ") - 1; listed != rows { // the head of the table
		t.Errorf("docs/exit-codes.md lists %d codes, there are %d", listed, rows)
	}
}
