package checktest

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
)

// headings are what every type's page has, in this order.
func headings() []string {
	return []string{"What it checks", "Examples", "Evidence", "When it cannot find out", "Traps"}
}

// Page holds the rules of a type's page: a summary, the headings, at least one
// example, and that every example decodes with all variables given.
func Page(t *testing.T, typ *check.Type) {
	t.Helper()
	if typ.Summary == "" {
		t.Errorf("%s: no summary", typ.Name)
	}
	if first, _, _ := strings.Cut(typ.Doc, "\n"); first != "# "+typ.Name {
		t.Errorf("%s: the page begins with %q", typ.Name, first)
	}
	var found []string
	for line := range strings.Lines(typ.Doc) {
		if heading, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			found = append(found, heading)
		}
	}
	if !slices.Equal(found, headings()) {
		t.Errorf("%s: the page's headings are %q, want %q", typ.Name, found, headings())
	}
	examples := 0
	for i, part := range strings.Split(typ.Doc, "```") {
		if body, ok := strings.CutPrefix(part, "yaml allclear\n"); ok && i%2 == 1 {
			examples += example(t, typ, body)
		}
	}
	if examples == 0 {
		t.Errorf("%s: the page has no example", typ.Name)
	}
}

// example decodes what stands under the type's key in a block.
func example(t *testing.T, typ *check.Type, body string) int {
	t.Helper()
	var block yaml.Node
	if err := yaml.Unmarshal([]byte(body), &block); err != nil || len(block.Content) != 1 {
		t.Errorf("%s: example %q: %v", typ.Name, body, err)
		return 0
	}
	pairs, count := block.Content[0].Content, 0
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i].Value != typ.Name {
			continue
		}
		count++
		if _, problems := typ.Decode(pairs[i+1], check.Source{File: typ.Name + ".md", Vars: anything{}}); len(problems) > 0 {
			t.Errorf("%s: example %q: %v", typ.Name, body, problems)
		}
	}
	return count
}

// anything gives every variable a value that fits an address and a text.
type anything struct{}

// Lookup gives a value for every name.
func (anything) Lookup(name string) (string, check.Known) {
	if name == "env.protected" {
		return "true", check.Set
	}
	if strings.HasSuffix(name, "url") {
		return "https://api.example.com", check.Set
	}
	if strings.HasSuffix(name, "database") {
		return "env:DATABASE_URL", check.Set
	}
	if strings.HasSuffix(name, "redis") {
		return "redis://cache.example.com:6379", check.Set
	}
	return "a1b2c3d4", check.Set
}

// Names is empty: every name exists.
func (anything) Names() []string { return nil }
