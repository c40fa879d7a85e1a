// Command reports runs the module's tests and two scanners, and writes what a pipeline would hand to a deployment:
// reports/junit/{unit,integration,e2e}.xml (JUnit) and reports/coverage.xml (Cobertura),
// reports/{staticcheck,gosec}.sarif. Run it in the module's
// directory: go run ./scripts/reports
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// suites returns the arguments of go test by report.
func suites() map[string][]string {
	return map[string][]string{
		"unit":        {"./cmd/...", "./internal/...", "./migrations", "."},
		"integration": {"-run", "TestVersions|TestOperations", "./test"},
		"e2e":         {"-run", "TestEveryFeature|TestSwitch|TestLostRequests", "./test"},
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "reports: %v\n", err)
		os.Exit(1)
	}
}

// run writes all reports, also of tests that fail, and then returns an error if one did.
func run() error {
	temp, err := os.MkdirTemp("", "tulia-reports-")
	if err != nil {
		return fmt.Errorf("create temp directory: %w", err)
	}
	defer os.RemoveAll(temp)
	if err := os.MkdirAll("reports/junit", 0o755); err != nil {
		return fmt.Errorf("create reports: %w", err)
	}
	lines := profile{}
	var failed []string
	for name, args := range suites() {
		ok, err := suite(name, args, temp, lines)
		if err != nil {
			return fmt.Errorf("suite %s: %w", name, err)
		}
		if !ok {
			failed = append(failed, name)
		}
	}
	if err := writeCobertura("reports/coverage.xml", lines, time.Now()); err != nil {
		return err
	}
	for name, args := range scanners() {
		if err := scan(name, args); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// suite runs one set of tests, writes its JUnit report and adds what it covered to lines. What the tests cover in
// their own process comes from -coverprofile; what the binaries that they start cover comes from their GOCOVERDIR,
// which go test sets for itself: the tests pass TULIA_COVERDIR on to them.
func suite(name string, args []string, temp string, lines profile) (ok bool, err error) {
	dir := filepath.Join(temp, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return false, err
	}
	own := filepath.Join(temp, name+".own")
	var out bytes.Buffer
	cmd := exec.Command("go", append([]string{"test", "-count=1", "-json", "-coverpkg=./...", "-coverprofile=" + own}, args...)...)
	cmd.Env = append(os.Environ(), "TULIA_COVERDIR="+dir)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	started := time.Now()
	failed := cmd.Run()
	if err := writeJUnit(filepath.Join("reports", "junit", name+".xml"), name, &out, started); err != nil {
		return false, err
	}
	if failed != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, failed)
	}
	if err := lines.add(own); err != nil && failed == nil {
		return false, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		children := filepath.Join(temp, name+".children")
		if text, err := exec.Command("go", "tool", "covdata", "textfmt", "-i", dir, "-o", children).CombinedOutput(); err != nil {
			return false, fmt.Errorf("read coverage of processes: %w: %s", err, text)
		}
		if err := lines.add(children); err != nil {
			return false, err
		}
	}
	return failed == nil, nil
}
