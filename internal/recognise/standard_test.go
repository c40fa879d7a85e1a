package recognise_test

import (
	"testing"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/plan"
	"allclear.dev/allclear/internal/recognise"
	"allclear.dev/allclear/internal/run"
)

// TestStandardBinds holds that the standard checklist makes a plan in every
// environment of a configuration in which nothing is set yet.
func TestStandardBinds(t *testing.T) {
	list, problems := checklist.Parse("DEPLOYMENT_CHECKLIST.md", recognise.Standard())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, environment := range []string{"staging", "production"} {
		p, problems := plan.Bind(plan.Input{
			Checklist: list, Types: catalog.ByName(),
			Vars:  config.Vars{Project: "p", Env: config.Environment{Name: environment}, Release: config.Release{Version: "1.0"}},
			Facts: map[string]any{"env": map[string]any{"name": environment}, "changed": map[string]any{}},
			Plan:  run.Plan{Project: "p", Environment: environment},
		})
		if p == nil {
			t.Fatalf("%s: %v", environment, problems)
		}
		kinds := map[run.Kind]int{}
		for _, it := range p.Items {
			kinds[it.Kind]++
		}
		if len(p.Items) != 183 || kinds[run.Signoff] != 8 {
			t.Errorf("%s: %d items, %v", environment, len(p.Items), kinds)
		}
		if len(p.Missing()) == 0 {
			t.Errorf("%s: nothing is missing although nothing is set", environment)
		}
	}
}
