package plan_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/plan"
)

var update = flag.Bool("update", false, "rewrite the expected messages")

// bind reads a checklist and binds it to the environment test of
// testdata/allclear.yaml. It gives what a person is shown: the problems, and what
// the environment still has to set.
func bind(t *testing.T, name string, src []byte) string {
	t.Helper()
	text, err := os.ReadFile("testdata/allclear.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Parse("allclear.yaml", text)
	if cfg == nil {
		t.Fatal(problems)
	}
	types := catalog.ByName()
	list, problems := checklist.ParseWith(name, src, checklist.Options{Types: slices.Sorted(maps.Keys(types))})
	p, bound := plan.Bind(plan.Input{
		Checklist: list, Types: types, Roles: cfg.RoleNames(), Unfilled: cfg.UnfilledRoles(), Hosts: cfg.Environments["test"].Addresses(), Groups: cfg.Environments["test"].Groups,
		Vars: config.Vars{Project: cfg.Project, Env: cfg.Environments["test"]},
	})
	var out bytes.Buffer
	if err := append(problems, bound...).Sorted().Write(&out); err != nil {
		t.Fatal(err)
	}
	if p != nil {
		for _, missing := range p.Missing() {
			fmt.Fprintf(&out, "missing: %s\n", missing)
		}
	}
	return out.String()
}

// TestProblems compares what is said about each checklist of testdata/problems,
// which does not fit its configuration, with the .txt beside it.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/problems/*.md")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".md"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, golden := bind(t, "list.md", src), strings.TrimSuffix(file, ".md")+".txt"
			if got == "" {
				t.Fatal("the checklist was accepted")
			}
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); err != nil || got != string(want) {
				t.Errorf("got\n%s\nwant\n%s (%v)", got, want, err)
			}
		})
	}
}
