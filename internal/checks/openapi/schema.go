package openapi

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// direction says who sends what a schema describes.
type direction string

// A request is sent by clients, an answer by the server.
const (
	request direction = "request"
	answer  direction = "response"
)

// shape is a schema with its references followed and its allOf put together.
type shape struct {
	types      []string
	enum       []string
	closed     bool // an enum is given
	extensible bool
	properties map[string]*node
	required   []string
	items      *node
	additional *node
	limits     map[string]float64
	pattern    string
	format     string
	either     map[string][]*node
	// other is what is compared as a whole, because its effect is not judged.
	other map[string]string
	hides string // readOnly or writeOnly
}

// lower and upper are limits from below and above (JSON Schema 2020-12 validation).
func lower() []string {
	return []string{"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
}
func upper() []string {
	return []string{"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
}

// understood are the keys that shape reads, or that mean nothing to a client.
func understood(key string) bool {
	switch key {
	case "$ref", "type", "enum", "const", "properties", "required", "items", "additionalProperties", "pattern", "format", "nullable",
		"allOf", "oneOf", "anyOf", "readOnly", "writeOnly", "title", "description", "default", "example", "examples", "deprecated",
		"externalDocs", "xml", "discriminator", "$comment", "$id", "$schema", "$anchor", "collectionFormat", "allowEmptyValue",
		"name", "in", "style", "explode", "allowReserved", "schema", "content":
		return true
	}
	return strings.HasPrefix(key, "x-") || slices.Contains(lower(), key) || slices.Contains(upper(), key)
}

// shapeOf reads a schema of an api.
func (a *api) shapeOf(n *node) (*shape, error) {
	s := &shape{properties: map[string]*node{}, limits: map[string]float64{}, either: map[string][]*node{}, other: map[string]string{}}
	return s, a.gather(s, n, 0)
}

// target is what a reference leads to, or the schema itself.
func (a *api) target(n *node) *node {
	if target, err := a.resolve(n); err == nil {
		return target
	}
	return n // whose reading will say what is wrong
}

// gather adds what a schema says to a shape.
func (a *api) gather(s *shape, n *node, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("allOf goes round in a circle")
	}
	if ref := n.get("$ref"); ref != nil && !ref.isMap {
		target, err := a.resolve(n)
		if err != nil {
			return err
		}
		if err := a.gather(s, target, depth+1); err != nil {
			return err
		}
	}
	if n != nil && !n.isMap { // true and false are schemas of 3.1
		s.other["boolean"] = n.text
		return nil
	}
	for _, part := range n.get("allOf").items() {
		if err := a.gather(s, part, depth+1); err != nil {
			return err
		}
	}
	if own := n.get("type").texts(); len(own) > 0 {
		s.types = slices.Clone(own)
	}
	if n.get("nullable").is() || n.get("x-nullable").is() {
		s.types = append(s.types, "null")
	}
	if n.get("enum") != nil {
		s.enum, s.closed = n.get("enum").texts(), true
	}
	if n.get("const") != nil {
		s.enum, s.closed = []string{n.get("const").canonical()}, true
	}
	s.extensible = s.extensible || n.get("x-extensible-enum") != nil
	for _, name := range n.get("properties").keys() {
		s.properties[name] = n.get("properties", name)
	}
	if list := n.get("required"); list != nil && list.isList {
		s.required = append(s.required, list.texts()...)
	}
	a.rest(s, n)
	return nil
}

// rest reads what is simple.
func (a *api) rest(s *shape, n *node) {
	if n.get("items") != nil {
		s.items = n.get("items")
	}
	if n.get("additionalProperties") != nil {
		s.additional = n.get("additionalProperties")
	}
	for _, key := range slices.Concat(lower(), upper()) {
		text := n.get(key).str()
		if text == "true" { // 3.0: the limit itself is excluded
			plain := "m" + strings.TrimPrefix(key, "exclusiveM")
			text = n.get(plain).str()
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			s.limits[key] = f
		}
	}
	if p := n.get("pattern").str(); p != "" {
		s.pattern = p
	}
	if f := n.get("format").str(); f != "" {
		s.format = f
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		s.either[key] = append(s.either[key], n.get(key).items()...)
	}
	for _, key := range []string{"readOnly", "writeOnly"} {
		if n.get(key).is() {
			s.hides = key
		}
	}
	for _, key := range n.keys() {
		if !understood(key) {
			s.other[key] = n.get(key).canonical()
		}
	}
}

// schema compares two schemas. Errors are kept in c.err: then nothing is judged.
func (c *comparer) schema(where string, d direction, old, now *node) {
	if c.err != nil || old == nil && now == nil {
		return
	}
	from, to := c.old.target(old), c.now.target(now)
	pair := fmt.Sprintf("%p %p %s", from, to, d)
	if c.seen[pair] {
		return
	}
	c.seen[pair] = true
	if len(c.seen) > maxNodes {
		c.err = fmt.Errorf("more than %d pairs of schemas", maxNodes)
		return
	}
	was, err := c.old.shapeOf(old)
	if err != nil {
		c.err = fmt.Errorf("old: %s: %s: %w", c.op.name, where, err)
		return
	}
	is, err := c.now.shapeOf(now)
	if err != nil {
		c.err = fmt.Errorf("new: %s: %s: %w", c.op.name, where, err)
		return
	}
	c.types(where, d, was, is)
	c.enums(where, d, was, is)
	c.limits(where, d, was, is)
	c.objects(where, d, was, is)
	c.eithers(where, d, was, is)
	if was.items != nil || is.items != nil {
		c.schema(where+"[]", d, was.items, is.items)
	}
	if !maps.Equal(was.other, is.other) {
		c.add("schema-not-judged", "%s: %s differs, which is not judged", where, strings.Join(changed(was.other, is.other), ", "))
	}
}

func changed(a, b map[string]string) (out []string) {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if a[key] != b[key] {
			out = append(out, key)
		}
	}
	return out
}

// types: a request must go on taking what it took, an answer must not give what
// it did not give. No type is any type.
func (c *comparer) types(where string, d direction, was, is *shape) {
	sender, taker := was.types, is.types
	if d == answer {
		sender, taker = is.types, was.types
	}
	without := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(t string) bool { return t == "null" })
	}
	null := slices.Contains(sender, "null") && !slices.Contains(taker, "null") && len(without(taker)) > 0
	sent, taken := without(sender), without(taker)
	fits := len(taken) == 0 || len(sent) > 0 && !slices.ContainsFunc(sent, func(t string) bool {
		return !slices.Contains(taken, t) && !(t == "integer" && slices.Contains(taken, "number"))
	})
	switch {
	case !fits:
		c.add(string(d)+"-type-changed", "%s was %s and is %s", where, typeNames(was.types), typeNames(is.types))
	case null && d == request:
		c.add("request-became-not-nullable", "%s may no longer be null", where)
	case null:
		c.add("response-became-nullable", "%s may now be null", where)
	}
	if was.format != is.format && (d == request && is.format != "" || d == answer && was.format != "") {
		c.add(string(d)+"-format-changed", "%s had the format %q and has %q", where, was.format, is.format)
	}
}

func typeNames(list []string) string {
	if len(list) == 0 {
		return "any type"
	}
	return strings.Join(list, " or ")
}

func (c *comparer) enums(where string, d direction, was, is *shape) {
	switch {
	case d == request && is.closed:
		if !was.closed {
			c.add("request-enum-introduced", "%s takes only certain values now", where)
			return
		}
		for _, v := range was.enum {
			if !slices.Contains(is.enum, v) {
				c.add("request-enum-value-removed", "%s no longer takes %s", where, v)
			}
		}
	case d == answer && was.closed && !was.extensible:
		if !is.closed {
			c.add("response-enum-opened", "%s may now have any value", where)
			return
		}
		for _, v := range is.enum {
			if !slices.Contains(was.enum, v) {
				c.add("response-enum-value-added", "%s may now be %s", where, v)
			}
		}
	}
}

// limits are of interest in requests only: a tighter one refuses what was taken.
func (c *comparer) limits(where string, d direction, was, is *shape) {
	if d == answer {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(is.limits)) {
		limit := is.limits[key]
		before, had := was.limits[key]
		tighter := !had || slices.Contains(lower(), key) && limit > before || slices.Contains(upper(), key) && limit < before
		if !had && slices.Contains([]string{"minLength", "minItems", "minProperties"}, key) && limit == 0 {
			tighter = false
		}
		if tighter {
			c.add("request-limit-tightened", "%s: %s is now %s", where, key, strconv.FormatFloat(limit, 'g', -1, 64))
		}
	}
	if is.pattern != "" && is.pattern != was.pattern {
		c.add("request-pattern-changed", "%s must now match %q", where, is.pattern)
	}
}
