package openapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	// maxNodes bounds how many values a description may have after aliases were put
	// in, and maxNesting how deep they may stand.
	maxNodes, maxNesting = 2_000_000, 200
)

// node is a value of a description, as YAML or JSON has it. A nil node stands for
// what is not there; its methods may be called.
type node struct {
	text   string
	list   []*node
	fields map[string]*node
	isList bool
	isMap  bool
}

// parse reads YAML or JSON.
func parse(text []byte) (*node, error) {
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("the description is empty")
	}
	left := maxNodes
	return build(doc.Content[0], 0, &left)
}

func build(y *yaml.Node, depth int, left *int) (*node, error) {
	if *left--; *left < 0 || depth > maxNesting {
		return nil, fmt.Errorf("line %d: more than %d values, or nested more than %d deep", y.Line, maxNodes, maxNesting)
	}
	n := &node{}
	switch y.Kind {
	case yaml.AliasNode:
		return build(y.Alias, depth+1, left)
	case yaml.SequenceNode:
		n.isList = true
		for _, c := range y.Content {
			child, err := build(c, depth+1, left)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, child)
		}
	case yaml.MappingNode:
		n.isMap, n.fields = true, map[string]*node{}
		for i := 0; i+1 < len(y.Content); i += 2 {
			child, err := build(y.Content[i+1], depth+1, left)
			if err != nil {
				return nil, err
			}
			n.fields[y.Content[i].Value] = child
		}
	default:
		n.text = scalar(y)
	}
	return n, nil
}

// scalar gives a value's text; of numbers, equal ones have equal texts.
func scalar(y *yaml.Node) string {
	switch y.ShortTag() {
	case "!!int", "!!float":
		if f, err := strconv.ParseFloat(y.Value, 64); err == nil {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
	case "!!null":
		return "null"
	}
	return y.Value
}

func (n *node) get(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		n = n.fields[name]
	}
	return n
}

func (n *node) str() string {
	if n == nil {
		return ""
	}
	return n.text
}

func (n *node) is() bool { return n.str() == "true" }

func (n *node) keys() []string {
	if n == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(n.fields))
}

func (n *node) items() []*node {
	if n == nil {
		return nil
	}
	return n.list
}

// texts gives a list of texts; a single text is a list of one.
func (n *node) texts() []string {
	if n == nil || n.isMap {
		return nil
	}
	if !n.isList {
		return []string{n.text}
	}
	var out []string
	for _, c := range n.list {
		out = append(out, c.canonical())
	}
	return out
}

// sets are the lists in which order means nothing (OpenAPI Specification 3.1.1,
// JSON Schema 2020-12 validation).
func sets(name string) bool {
	switch name {
	case "required", "enum", "type", "tags", "security", "parameters", "consumes", "produces", "schemes", "anyOf", "oneOf", "allOf":
		return true
	}
	return false
}

// canonical writes a value so that equal ones have equal texts, whatever the order
// of keys and sets.
func (n *node) canonical() string {
	var b strings.Builder
	n.write(&b, "")
	return b.String()
}

func (n *node) write(b *strings.Builder, name string) {
	switch {
	case n == nil:
		b.WriteString("nothing")
	case n.isMap:
		b.WriteByte('{')
		for _, key := range n.keys() {
			fmt.Fprintf(b, "%q:", key)
			n.fields[key].write(b, key)
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case n.isList:
		var parts []string
		for _, c := range n.list {
			parts = append(parts, c.canonical())
		}
		if sets(name) {
			slices.Sort(parts)
		}
		b.WriteString("[" + strings.Join(parts, ",") + "]")
	case name == "":
		b.WriteString(n.text)
	default:
		fmt.Fprintf(b, "%q", n.text)
	}
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// differences lists where two values differ, as JSON pointers, at most limit.
func differences(old, now *node, at string, limit int) []string {
	switch {
	case limit <= 0 || old.canonical() == now.canonical():
		return nil
	case old == nil:
		return []string{at + " is new"}
	case now == nil:
		return []string{at + " is gone"}
	case !old.isMap || !now.isMap:
		return []string{at + " differs"}
	}
	all := maps.Clone(old.fields)
	maps.Copy(all, now.fields)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		out = append(out, differences(old.get(key), now.get(key), at+"/"+escaped, limit-len(out))...)
	}
	if len(out) == 0 { // a key twice or of another order of a list within
		out = []string{at + " differs"}
	}
	return out
}
