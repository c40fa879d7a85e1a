package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/plan"
	"allclear.dev/allclear/internal/run"
)

const root = "../../.."

func TestWhatIsStoredIsWhatIsGenerated(t *testing.T) {
	made, err := files()
	if err != nil {
		t.Fatal(err)
	}
	again, err := files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range made {
		if !bytes.Equal(want, again[name]) {
			t.Errorf("%s is different when made again", name)
		}
		stored, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !bytes.Equal(stored, want) {
			t.Errorf("%s is not what make generate makes (%v)", name, err)
		}
	}
	stale, err := leftovers(root, made)
	if err != nil || len(stale) > 0 {
		t.Errorf("no type makes %v: %v", stale, err)
	}
}

func TestAFileOfATypeThatIsGoneIsRemoved(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "docs", "checks", "gone.md")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the page of a type that is gone is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "docs", "checks", "http.md")); err != nil {
		t.Error(err)
	}
}

// An example is a block that a team may paste: every key and every variable of it
// exists.
func TestEveryExampleIsAnItem(t *testing.T) {
	types := catalog.ByName()
	var names []string
	for name := range types {
		names = append(names, name)
	}
	examples(t, func(t *testing.T, body string) {
		src := "# List\n\n## Phase\n\n- [ ] An item\n  ```yaml allclear\n"
		for line := range strings.Lines(body) {
			src += "  " + line
		}
		list, problems := checklist.ParseWith("page.md", []byte(src+"  ```\n"), checklist.Options{Types: names})
		if len(problems) > 0 {
			t.Fatalf("%v", problems)
		}
		_, problems = plan.Bind(plan.Input{
			Hosts: map[string]string{"web-1": "web-1", "web1": "web1", "db1": "db1"}, Groups: map[string][]string{"web": {"web-1", "web1"}},
			Checklist: list, Types: types, Vars: exampleVars(),
			Plan: run.Plan{Project: "tulia", Environment: "production"},
		})
		if problems.HasErrors() {
			t.Errorf("%s\n%v", body, problems)
		}
	})
}

func TestVariablesOfExamplesAreThoseThatExist(t *testing.T) {
	for name, want := range map[string]check.Known{
		"env.url": check.Set, "env.windows.bake": check.Set, "env.redis": check.Set, "env.anything": check.Set,
		"release.version": check.Set, "run.id": check.Later, "fact.x": check.Later, "relase.version": check.Unknown, "version": check.Unknown,
	} {
		if _, known := exampleVars().Lookup(name); known != want {
			t.Errorf("%s: known %v, want %v", name, known, want)
		}
	}
}

// examples calls f for each example of each page.
func examples(t *testing.T, f func(*testing.T, string)) {
	t.Helper()
	for _, typ := range catalog.Types() {
		bodies := blocks(typ.Doc)
		if len(bodies) == 0 {
			t.Errorf("%s: the page has no example", typ.Name)
		}
		for _, body := range bodies {
			t.Run(typ.Name, func(t *testing.T) { f(t, body) })
		}
	}
}

// compiled loads a generated schema; the compiler checks it against the schema
// of schemas.
func compiled(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	made, err := files()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(made[name]))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read gives a YAML text as the values of JSON; what YAML calls a timestamp is a
// text there.
func read(t *testing.T, text string) any {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) != 1 {
		t.Fatalf("%q: %v", text, err)
	}
	return values(t, doc.Content[0])
}

func values(t *testing.T, n *yaml.Node) any {
	t.Helper()
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = values(t, n.Content[i+1])
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			out = append(out, values(t, c))
		}
		return out
	}
	if !slices.Contains([]string{"!!int", "!!float", "!!bool", "!!null"}, n.Tag) {
		return n.Value
	}
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatalf("%q: %v", n.Value, err)
	}
	return v
}

func TestBlockSchemaAcceptsEveryExample(t *testing.T) {
	s := compiled(t, "docs/schema/checklist-block.schema.json")
	examples(t, func(t *testing.T, body string) {
		if err := s.Validate(read(t, body)); err != nil {
			t.Errorf("%s\n%v", body, err)
		}
	})
}

func TestBlockSchema(t *testing.T) {
	s := compiled(t, "docs/schema/checklist-block.schema.json")
	judge(t, s, []string{
		"by: DBA", "http: https://a.example", "{phase: rollback, order: sequential}",
		"{http: {url: 'https://a', consecutive: '${env.n}'}, watch: {for: 15m, every: 30s}}",
		"{id: a.b-c, timeout: 1d12h, retry: {times: 3, every: 5s}, needs: [a, 'b.*'], evidence: url}",
		"{command: {run: [a]}, undo: {command: {run: [b]}}}",
	}, []string{
		"{}", "[]", "htpp: https://a.example", "http: {url: 'https://a', ulr: x}", "http: {}",
		"{http: 'https://a', command: [a]}", "{http: 'https://a', phase: rollback}", "{phase: x, id: a}",
		"id: A b", "timeout: soon", "retry: {every: 5s}", "retry: {times: 0}", "watch: {for: 15m}", "evidence: word",
		"order: backwards", "{http: {url: 'https://a', consecutive: many}}", "{http: {url: 'https://a', method: FETCH}}",
		"{command: {run: [a]}, undo: {command: {run: [b]}, http: 'https://a'}}", "{http: {url: [1, {a: 2}]}}",
	})
}

func TestConfigurationSchema(t *testing.T) {
	s := compiled(t, "docs/schema/allclear.schema.json")
	judge(t, s, []string{
		"{project: tulia, environments: {production: {}}}",
		"{project: tulia, environments: {production: }}",
		"project: tulia\npeople:\n  ana: {name: Ana, key: ssh-ed25519 AAAA, roles: [DBA]}\nroles: {DBA: ana}\n" +
			"policy: {distinct: false, signature_expires: 12h}\nenvironments:\n  production:\n    url: https://a\n    database: env:DB\n" +
			"    windows: {bake: 24h}\n    vars: {replicas: 3}\n    lease: {kind: postgres}\nnotifications: {on: held, to: [file:x]}",
	}, []string{
		"{}", "{project: tulia}", "{project: tulia, environments: {production: {ulr: x}}}", "{project: tulia, environments: {production: {}}, polcy: {}}",
		"{project: tulia, environments: {production: {database: 'postgres://u:p@h/d'}}}",
		"{project: tulia, environments: {production: {lease: {kind: maybe}}}}", "{project: tulia, environments: [production]}",
		"{project: tulia, environments: {}, policy: {waive_max: long}}",
	})
}

func judge(t *testing.T, s *jsonschema.Schema, good, bad []string) {
	t.Helper()
	for _, text := range good {
		if err := s.Validate(read(t, text)); err != nil {
			t.Errorf("%s is refused: %v", text, err)
		}
	}
	for _, text := range bad {
		if s.Validate(read(t, text)) == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// The schema names the same keys as the decoder.
func TestSchemaHasTheKeysOfTheChecklist(t *testing.T) {
	block := blockSchema(catalog.Types())
	for _, part := range []struct {
		def  string
		keys []string
	}{{"item", checklist.ItemKeys()}, {"heading", checklist.HeadingKeys()}} {
		for _, key := range part.keys {
			if block.Defs[part.def].Properties[key] == nil {
				t.Errorf("%s: no key %s", part.def, key)
			}
		}
		for key := range block.Defs[part.def].Properties {
			if !slices.Contains(part.keys, key) && catalog.ByName()[key] == nil {
				t.Errorf("%s: there is no key %s", part.def, key)
			}
		}
	}
}
