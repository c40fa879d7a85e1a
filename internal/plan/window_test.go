package plan

import (
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/run"
)

const windowed = "# List\n\n## After\n\n### First\n```yaml allclear\nwindow: ${env.windows.m15}\n```\n\n- [ ] Health\n" +
	"  ```yaml allclear\n  id: after.health\n  http: http://127.0.0.1/\n  watch: {for: \"${env.windows.m15}\", every: \"${env.windows.every}\"}\n  ```\n"

func bindWindow(t *testing.T, text string, windows map[string]time.Duration) (*run.Plan, string) {
	t.Helper()
	var names []string
	for _, typ := range catalog.Types() {
		names = append(names, typ.Name)
	}
	list, problems := checklist.ParseWith("list.md", []byte(text), checklist.Options{Types: names})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	p, problems := Bind(Input{Checklist: list, Types: catalog.ByName(), Vars: config.Vars{Env: config.Environment{Windows: windows}}})
	return p, problems.Error()
}

func TestWindowFromTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		window, every time.Duration
		samples       int
	}{{15 * time.Minute, 30 * time.Second, 31}, {10 * time.Second, time.Second, 11}} {
		p, problems := bindWindow(t, windowed, map[string]time.Duration{"m15": c.window, "every": c.every})
		if p == nil {
			t.Fatal(problems)
		}
		it := p.Items[0]
		if it.Kind != run.Watch || it.WindowFor != c.window || it.Watch.For != c.window || it.Watch.Every != c.every || it.Watch.Expected() != c.samples {
			t.Errorf("got %+v, %+v", it, it.Watch)
		}
	}
}

func TestWindowThatIsNotSetIsMissing(t *testing.T) {
	p, problems := bindWindow(t, windowed, nil)
	if p == nil {
		t.Fatal(problems)
	}
	if got := strings.Join(p.Missing(), " "); got != "env.windows.m15 env.windows.every" {
		t.Errorf("missing: got %q", got)
	}
}

func TestWindowMistakes(t *testing.T) {
	set := map[string]time.Duration{"m15": time.Second, "every": time.Minute}
	for want, text := range map[string]string{
		"does not fit into a window":         windowed,
		`unknown variable "environment.m15"`: strings.Replace(windowed, "window: ${env.windows.m15}", "window: ${environment.m15}", 1),
		"is known only during the run":       strings.Replace(windowed, "window: ${env.windows.m15}", "window: ${fact.length}", 1),
		`env.name is "", want a duration`:    strings.Replace(windowed, "window: ${env.windows.m15}", "window: ${env.name}", 1),
	} {
		if p, problems := bindWindow(t, text, set); p != nil || !strings.Contains(problems, want) {
			t.Errorf("got %q, want %q", problems, want)
		}
	}
}
