package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// scanners are the programs that read the sources, by report, in the versions whose reports are kept.
func scanners() map[string][]string {
	return map[string][]string{
		"staticcheck": {"honnef.co/go/tools/cmd/staticcheck@v0.8.2", "-f", "sarif", "./..."},
		"gosec": {"github.com/securego/gosec/v2/cmd/gosec@v2.30.0", "-quiet", "-fmt", "sarif", "-severity", "high", "-track-suppressions",
			"./internal/...", "./cmd/tulia", "./migrations", "./static"},
	}
}

// scan runs a scanner and writes what it found. That it found something is no failure here: its report says so. What every
// report repeats of the scanner's manual, and where it ran, is left out.
func scan(name string, args []string) error {
	var said bytes.Buffer
	cmd := exec.Command("go", append([]string{"run"}, args...)...)
	cmd.Stderr = &said
	out, _ := cmd.Output() // scanners end with another code when they find something
	var log struct {
		Schema  string           `json:"$schema,omitempty"`
		Version string           `json:"version"`
		Runs    []map[string]any `json:"runs"`
	}
	if err := json.Unmarshal(out, &log); err != nil || len(log.Runs) == 0 {
		return fmt.Errorf("%s wrote no report: %w\n%s", name, err, said.Bytes())
	}
	for _, run := range log.Runs {
		for _, invocation := range list(run["invocations"]) {
			// staticcheck leaves the list out when it was through and found nothing; elsewhere that means that a scan broke off.
			if _, there := run["results"]; !there && invocation["executionSuccessful"] == true {
				run["results"] = []any{}
			}
			delete(invocation, "arguments")
			delete(invocation, "workingDirectory")
		}
		tool, _ := run["tool"].(map[string]any)
		driver, _ := tool["driver"].(map[string]any)
		for _, rule := range list(driver["rules"]) {
			for _, text := range []string{"help", "helpUri", "fullDescription", "shortDescription"} {
				delete(rule, text)
			}
		}
		delete(run, "taxonomies")
		delete(run, "originalUriBaseIds")
	}
	text, err := json.MarshalIndent(log, "", " ")
	if err != nil {
		return fmt.Errorf("write the report of %s: %w", name, err)
	}
	return os.WriteFile("reports/"+name+".sarif", append(text, '\n'), 0o644)
}

// list gives the objects of a JSON list.
func list(value any) []map[string]any {
	var out []map[string]any
	entries, _ := value.([]any)
	for _, entry := range entries {
		if object, is := entry.(map[string]any); is {
			out = append(out, object)
		}
	}
	return out
}
