package check

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/secret"
)

// maxDepth bounds how deep parameters may nest.
const maxDepth = 20

// decoder fills parameter structs from YAML nodes and collects every problem. It
// is the only place where values have no static type.
type decoder struct {
	owner    string
	src      Source
	problems diag.Problems
	missing  []string
	deferred []string
	depth    int
}

func newDecoder(owner string, src Source) *decoder {
	if src.Vars == nil {
		src.Vars = NoVars{}
	}
	return &decoder{owner: owner, src: src}
}

func (d *decoder) problem(n *yaml.Node, message string) diag.Problem {
	p := diag.Problem{Pos: diag.Pos{File: d.src.File, Line: n.Line, Col: n.Column}, Message: message, Width: max(len(n.Value), 1)}
	if d.src.Lines != nil && n.Line > 0 {
		p.Line = d.src.Lines(n.Line)
	}
	return p
}

func (d *decoder) add(n *yaml.Node, format string, args ...any) *diag.Problem {
	d.problems = append(d.problems, d.problem(n, fmt.Sprintf(format, args...)))
	return &d.problems[len(d.problems)-1]
}

// params fills a struct and gives the canonical JSON of what was decoded.
func (d *decoder) params(node *yaml.Node, into reflect.Value, params []Param) []byte {
	if d.depth++; d.depth > maxDepth {
		d.add(node, "%s: nested deeper than %d", d.owner, maxDepth)
		return nil
	}
	defer func() { d.depth-- }()
	node = d.long(node, params)
	if node == nil {
		return nil
	}
	given := map[string]*yaml.Node{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if !slices.ContainsFunc(params, func(p Param) bool { return p.Name == key.Value }) {
			d.unknown(key, params)
			continue
		}
		if _, twice := given[key.Value]; twice {
			d.add(key, "%s: %s is given twice", d.owner, key.Value)
			continue
		}
		given[key.Value] = value
	}
	out := map[string]json.RawMessage{}
	for _, p := range params {
		d.param(node, p, given[p.Name], into.FieldByIndex(p.index), out)
	}
	text, err := json.Marshal(out)
	if err != nil {
		d.add(node, "%s: %v", d.owner, err)
	}
	return text
}

// long turns the short form (a bare value) into the mapping it stands for.
func (d *decoder) long(node *yaml.Node, params []Param) *yaml.Node {
	if node.Kind == yaml.MappingNode {
		return node
	}
	i := slices.IndexFunc(params, func(p Param) bool { return p.Short })
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode, Line: node.Line, Column: node.Column}
	}
	if i < 0 || (node.Kind == yaml.SequenceNode && !strings.HasPrefix(params[i].Type, "list")) {
		p := d.add(node, "%s takes a mapping of parameters, got %s", d.owner, nodeWord(node))
		p.Allowed = names(params)
		return nil
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: params[i].Name, Line: node.Line, Column: node.Column}
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, node}, Line: node.Line, Column: node.Column}
}

// onHost puts the item's own host where the type's parameter on would stand.
func (d *decoder) onHost(node *yaml.Node, params []Param) *yaml.Node {
	if d.src.Host == "" || !slices.ContainsFunc(params, isHost) {
		return node
	}
	before := len(d.problems)
	mapping := d.long(node, params)
	if mapping == nil {
		d.problems = d.problems[:before] // params says it
		return node
	}
	for i := 0; i < len(mapping.Content); i += 2 {
		if key := mapping.Content[i]; key.Value == "on" {
			d.add(key, "%s: on stands here and among the item's own keys", d.owner).Hint = "keep the item's own"
			return mapping
		}
	}
	named := *mapping
	named.Content = append(slices.Clone(mapping.Content),
		&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "on", Line: node.Line, Column: node.Column},
		&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: d.src.Host, Line: node.Line, Column: node.Column})
	return &named
}

func (d *decoder) unknown(key *yaml.Node, params []Param) {
	p := d.add(key, "unknown parameter %q of %s", key.Value, d.owner)
	p.Allowed = names(params)
	if near := diag.Nearest(key.Value, p.Allowed); near != "" {
		p.Hint = fmt.Sprintf("did you mean %q?", near)
	}
}

func names(params []Param) []string {
	var out []string
	for _, p := range params {
		out = append(out, p.Name)
	}
	return out
}

func (d *decoder) param(owner *yaml.Node, p Param, node *yaml.Node, into reflect.Value, out map[string]json.RawMessage) {
	if node == nil {
		switch {
		case !p.HasDefault:
			d.add(owner, "%s needs %s: %s", d.owner, p.Name, p.Doc)
			return
		case p.Default == "":
			return
		}
		node = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: p.Default, Line: owner.Line, Column: owner.Column}
	}
	before := len(d.problems)
	text := d.value(node, p, into)
	if len(d.problems) == before && text != nil {
		out[p.Name] = text
	}
}

// value decodes one node by the Go type of its field and gives its JSON.
func (d *decoder) value(node *yaml.Node, p Param, into reflect.Value) json.RawMessage {
	if into.Kind() == reflect.Pointer {
		target := reflect.New(into.Type().Elem())
		text := d.value(node, p, target.Elem())
		into.Set(target)
		return text
	}
	if into.Type() == reflect.TypeFor[Value]() {
		return d.anyValue(node, p, into)
	}
	_, custom := into.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case custom || into.Type() == reflect.TypeFor[Arg]() || into.Type() == reflect.TypeFor[secret.Ref]():
	case into.Kind() == reflect.Struct:
		return d.params(node, into, p.Fields)
	case into.Kind() == reflect.Slice:
		return d.list(node, p, into)
	case into.Kind() == reflect.Map:
		return d.mapping(node, p, into)
	}
	if node.Kind != yaml.ScalarNode {
		d.add(node, "%s: want %s, got %s", p.Name, article(p.Type), nodeWord(node))
		return nil
	}
	return d.scalar(node, p, into)
}

func (d *decoder) list(node *yaml.Node, p Param, into reflect.Value) json.RawMessage {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	p.Type = strings.TrimPrefix(p.Type, "list of ")
	slice, out := reflect.MakeSlice(into.Type(), len(items), len(items)), []json.RawMessage{}
	for i, item := range items {
		if text := d.value(item, p, slice.Index(i)); text != nil {
			out = append(out, text)
		}
	}
	into.Set(slice)
	return d.marshal(node, out)
}

func (d *decoder) mapping(node *yaml.Node, p Param, into reflect.Value) json.RawMessage {
	if node.Kind != yaml.MappingNode {
		d.add(node, "%s: want %s, got %s", p.Name, article(p.Type), nodeWord(node))
		return nil
	}
	p.Type = strings.TrimPrefix(p.Type, "map of ")
	m, out := reflect.MakeMap(into.Type()), map[string]json.RawMessage{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		name, _ := d.expand(key, p)
		if _, twice := out[name]; twice {
			d.add(key, "%s: %s is given twice", p.Name, name)
			continue
		}
		v := reflect.New(into.Type().Elem()).Elem()
		if text := d.value(node.Content[i+1], p, v); text != nil {
			m.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), v)
			out[name] = text
		}
	}
	into.Set(m)
	return d.marshal(node, out)
}

func (d *decoder) marshal(node *yaml.Node, v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		d.add(node, "%s: %v", d.owner, err)
		return nil
	}
	return text
}

// anyValue keeps whatever was written as JSON, with variables put in.
func (d *decoder) anyValue(node *yaml.Node, p Param, into reflect.Value) json.RawMessage {
	text := d.raw(node, p)
	into.SetBytes(text)
	return text
}

func (d *decoder) raw(node *yaml.Node, p Param) json.RawMessage {
	switch node.Kind {
	case yaml.SequenceNode:
		out := []json.RawMessage{}
		for _, n := range node.Content {
			out = append(out, d.raw(n, p))
		}
		return d.marshal(node, out)
	case yaml.MappingNode:
		out := map[string]json.RawMessage{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			out[node.Content[i].Value] = d.raw(node.Content[i+1], p)
		}
		return d.marshal(node, out)
	case yaml.ScalarNode:
		switch node.Tag {
		case "!!null":
			return json.RawMessage("null")
		case "!!bool", "!!int", "!!float":
			var v any
			if err := node.Decode(&v); err == nil {
				if text, err := json.Marshal(v); err == nil {
					return text
				}
			}
		}
		text, _ := d.expand(node, p)
		return d.marshal(node, text)
	}
	d.add(node, "%s: want a plain value, got %s", p.Name, nodeWord(node))
	return json.RawMessage("null")
}

// expand puts variables into a text: one pass, never recursive. It reports
// whether every value is known now; what only the run will know stays as ${name}.
func (d *decoder) expand(node *yaml.Node, p Param) (string, bool) {
	text, ready := node.Value, true
	var out bytes.Buffer
	for {
		before, rest, found := strings.Cut(text, "${")
		out.WriteString(before)
		if !found {
			return out.String(), ready
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed && d.src.Frozen {
			out.WriteString("${" + rest)
			return out.String(), ready
		}
		if !closed {
			d.add(node, "%s: ${ without a closing }", p.Name)
			return "", false
		}
		value, known := d.src.Vars.Lookup(name)
		if d.src.Frozen && known == Unknown {
			out.WriteString("${" + name + "}") // text that only looks like a variable
			text = after
			continue
		}
		switch known {
		case Set:
			out.WriteString(value)
		case Later:
			d.deferred, ready = appendNew(d.deferred, name), false
			out.WriteString("${" + name + "}")
		case Unset:
			d.missing, ready = appendNew(d.missing, strings.TrimPrefix(name, "env.")), false
			out.WriteString("${" + name + "}")
		case Unknown:
			problem := d.add(node, "%s: unknown variable ${%s}", p.Name, name)
			problem.Allowed = d.src.Vars.Names()
			if near := diag.Nearest(name, problem.Allowed); near != "" {
				problem.Hint = fmt.Sprintf("did you mean ${%s}?", near)
			}
			ready = false
		}
		text = after
	}
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func nodeWord(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

func article(word string) string {
	if strings.ContainsAny(word[:1], "aeiou") {
		return "an " + word
	}
	return "a " + word
}
