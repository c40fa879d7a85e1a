package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/config"
)

const made = "<!-- Written by make generate from the type itself: change the type, not this file. -->\n"

// index lists the types by the part of the name before the dot.
func index(types []*check.Type) []byte {
	var b bytes.Buffer
	b.WriteString("# The built-in types\n\n" + made + "\n")
	b.WriteString("A type resolves an item: it is the one key of the item's block that is not the item's own. An item without a block\n" +
		"is stated by a person. `allclear types NAME` prints the page of a type.\n\n")
	b.WriteString("| type | an item of it passes when | probe | undo |\n|---|---|---|---|\n")
	for _, t := range types {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %s |\n", t.Name, t.Name, cell(t.Summary), yes(t.Probes), yes(t.Undoes))
	}
	b.WriteString("\n*probe*: tells by reading alone whether the action has been done. *undo*: can take the action back by itself.\n\n" +
		"## Words for values\n\n| word | written as |\n|---|---|\n")
	for _, w := range words() {
		fmt.Fprintf(&b, "| %s | %s |\n", w.name, cell(w.written))
	}
	b.WriteString("\nWhere a list is wanted, one value stands for a list of one. `${name}` is put in before a value is read.\n" +
		"For editors: [one block](../schema/checklist-block.schema.json), [allclear.yaml](../schema/allclear.schema.json).\n")
	return b.Bytes()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// page is the type's own page with its parameters and what its examples are.
func page(t *check.Type) ([]byte, error) {
	_, own, _ := strings.Cut(strings.TrimSpace(t.Doc), "\n")
	examples, err := exampleRows(t)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n%s\n%s.\n\n", t.Name, made, strings.TrimSuffix(capital(t.Summary), "."))
	b.WriteString("## Parameters\n\n")
	if len(t.Params) == 0 {
		b.WriteString("None.\n")
	} else {
		b.WriteString("| parameter | type | default | meaning |\n|---|---|---|---|\n")
		rows(&b, "", t.Params)
	}
	b.WriteString("\n## What the examples are\n\n| example | kind | class | effect | what it does |\n|---|---|---|---|---|\n")
	b.WriteString(examples)
	fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(own))
	return b.Bytes(), nil
}

// rows writes parameters and, below each, its own fields: a.b in a mapping,
// a[].b in a list of mappings, a.*.b in a map of them.
func rows(b *bytes.Buffer, prefix string, params []check.Param) {
	for _, p := range params {
		name, meaning := prefix+p.Name, capital(p.Doc)
		if len(p.Enum) > 0 {
			meaning += "; one of `" + strings.Join(p.Enum, "`, `") + "`"
		}
		if p.Short {
			meaning += "; a bare value in place of the mapping is this one"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, p.Type, cell(defaultWord(p)), cell(meaning))
		if len(p.Fields) > 0 {
			rows(b, name+steps(p.Type)+".", p.Fields)
		}
	}
}

func steps(word string) string {
	var b strings.Builder
	for {
		if inner, ok := strings.CutPrefix(word, "list of "); ok {
			b.WriteString("[]")
			word = inner
		} else if inner, ok := strings.CutPrefix(word, "map of "); ok {
			b.WriteString(".*")
			word = inner
		} else {
			return b.String()
		}
	}
}

func defaultWord(p check.Param) string {
	switch {
	case !p.HasDefault:
		return "**required**"
	case p.Default == "":
		return "none"
	}
	return "`" + p.Default + "`"
}

func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// blocks gives the fenced examples of a page.
func blocks(doc string) []string {
	var out []string
	for i, part := range strings.Split(doc, "```") {
		if body, ok := strings.CutPrefix(part, "yaml allclear\n"); ok && i%2 == 1 {
			out = append(out, body)
		}
	}
	return out
}

// exampleRows asks each example of a type's page what it is: kind, class and
// effect depend on the parameters.
func exampleRows(t *check.Type) (string, error) {
	var b strings.Builder
	for i, body := range blocks(t.Doc) {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(body), &doc); err != nil || len(doc.Content) != 1 {
			return "", fmt.Errorf("example %d is no block: %v", i+1, err)
		}
		params, id := value(doc.Content[0], t.Name), value(doc.Content[0], "id")
		if params == nil {
			continue
		}
		name := fmt.Sprint(i + 1)
		if id != nil {
			name = "`" + id.Value + "`"
		}
		inst, problems := t.Decode(params, check.Source{File: t.Name + ".md", Vars: exampleVars()})
		if len(problems) > 0 {
			return "", fmt.Errorf("example %d: %w", i+1, problems)
		}
		tr := inst.Traits
		kind := string(tr.Kind)
		if value(doc.Content[0], "watch") != nil && tr.Kind == check.Check {
			kind = string(check.Watch)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, kind, cmp.Or(string(tr.Class), "–"), cmp.Or(string(tr.Effect), "–"), cell(cmp.Or(tr.Does, t.Summary)))
	}
	return b.String(), nil
}

func value(n *yaml.Node, key string) *yaml.Node {
	i := slices.IndexFunc(n.Content, func(k *yaml.Node) bool { return k.Value == key })
	if i < 0 || i%2 != 0 || i+1 >= len(n.Content) {
		return nil
	}
	return n.Content[i+1]
}

// pageVars knows every variable that a checklist may use, and no other: what the
// configuration leaves unset has a value for the examples.
type pageVars struct{ config.Vars }

func exampleVars() check.Vars {
	release := config.Release{Version: "1.4.0", Revision: strings.Repeat("a1b2c3d4", 5)}
	return pageVars{config.Vars{
		Project: "tulia", Env: config.Environment{Name: "production", URL: "https://api.example.com"},
		Release: release, Previous: config.Release{Version: "1.3.0", Revision: strings.Repeat("d4c3b2a1", 5)},
		Emails: map[string]string{"ana": "ana@example.com", "dba": "ana@example.com,bo@example.com"},
	}}
}

// Lookup gives a value to what the configuration may set.
func (v pageVars) Lookup(name string) (string, check.Known) {
	text, known := v.Vars.Lookup(name)
	switch {
	case known != check.Unset:
		return text, known
	case strings.HasPrefix(name, "env.windows."):
		return "15m", check.Set
	case strings.HasSuffix(name, "url"):
		return "https://" + strings.TrimSuffix(strings.TrimPrefix(name, "env."), "_url") + ".example.com", check.Set
	case strings.HasSuffix(name, "redis"):
		return "redis://cache.example.com:6379", check.Set
	case strings.HasSuffix(name, "database"):
		return "env:" + strings.ToUpper(strings.TrimPrefix(name, "env.")) + "_URL", check.Set
	}
	return "a1b2c3d4", check.Set
}
