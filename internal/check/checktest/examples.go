package checktest

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
)

// examples holds the law that a type's page has an example, and that every
// example of the type on it can be read.
func examples(t *testing.T, typ *check.Type) {
	found := 0
	for i, block := range strings.Split(typ.Doc, "```yaml allclear\n") {
		text, _, closed := strings.Cut(block, "```")
		if i == 0 {
			continue
		}
		if !closed {
			t.Errorf("example %d is not closed", i)
		}
		var binding map[string]yaml.Node
		if err := yaml.Unmarshal([]byte(text), &binding); err != nil {
			t.Errorf("example %d: %v", i, err)
			continue
		}
		node, own := binding[typ.Name]
		if !own {
			continue
		}
		found++
		if _, problems := typ.Decode(&node, check.Source{File: typ.Name + ".md", Vars: anyVars{}}); len(problems) > 0 {
			t.Errorf("example %d: %v", i, problems)
		}
	}
	if found == 0 {
		t.Errorf("the page of %s has no example of it", typ.Name)
	}
}

// anyVars knows every variable by name, none by value.
type anyVars struct{}

// Lookup says that only the run will know.
func (anyVars) Lookup(string) (string, check.Known) { return "", check.Later }

// Names is empty.
func (anyVars) Names() []string { return nil }
