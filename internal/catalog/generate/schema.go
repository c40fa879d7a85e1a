package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/config"
)

// schema is the part of JSON Schema 2020-12 that is needed here.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Ref         string             `json:"$ref,omitempty"`
	Type        []string           `json:"type,omitempty"`
	Enum        []json.RawMessage  `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Minimum     *int               `json:"minimum,omitempty"`
	MinLength   int                `json:"minLength,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	MinItems    int                `json:"minItems,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	MinProps    int                `json:"minProperties,omitempty"`
	MaxProps    int                `json:"maxProperties,omitempty"`
	// Additional is "false" or a schema.
	Additional json.RawMessage    `json:"additionalProperties,omitempty"`
	AnyOf      []*schema          `json:"anyOf,omitempty"`
	OneOf      []*schema          `json:"oneOf,omitempty"`
	Not        *schema            `json:"not,omitempty"`
	Default    json.RawMessage    `json:"default,omitempty"`
	Defs       map[string]*schema `json:"$defs,omitempty"`
}

const dialect = "https://json-schema.org/draft/2020-12/schema"

// encode gives the file: indented, keys in order, < and > as they are.
func (s *schema) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return b.Bytes(), nil
}

func (s *schema) raw() json.RawMessage {
	text, err := s.encode()
	if err != nil { // texts, numbers and schemas only
		panic(err)
	}
	return bytes.TrimSpace(text)
}

func text(s string) json.RawMessage {
	quoted, err := json.Marshal(s)
	if err != nil { // a string has a JSON form
		panic(err)
	}
	return quoted
}

func ref(name string) *schema { return &schema{Ref: "#/$defs/" + name} }

// variable is in the pattern of every text that is not a plain string: what
// ${name} will be is not known to an editor.
const variable = `\$\{[^}]+\}`

func orVariable(pattern string) string { return "^(" + pattern + ")$|" + variable }

// word is the word for a kind of value, how it is written, and its schema.
type word struct {
	name, written string
	schema        *schema
}

func scalar() []string { return []string{"string", "number", "boolean"} }

// words are the plain values of parameters. A number or a boolean where a text is
// wanted is its text.
func words() []word {
	const length = `([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)`
	whole, part := `[+-]?[0-9]+`, `[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?`
	zero := &schema{Enum: []json.RawMessage{json.RawMessage("0")}}
	return []word{
		{"string", "a text", &schema{Type: scalar()}},
		{"integer", "a whole number", &schema{Type: []string{"integer", "string"}, Pattern: orVariable(whole)}},
		{"number", "a number, finite", &schema{Type: []string{"number", "string"}, Pattern: orVariable(part)}},
		{"boolean", "`true` or `false`", &schema{Type: []string{"boolean", "string"}, Pattern: orVariable("true|false")}},
		{"duration", "`30s`, `5m`, `1h30m`", &schema{AnyOf: []*schema{zero, {Type: []string{"string"}, Pattern: orVariable(`\+?((` + length + `)+|0)`)}}}},
		{"size", "bytes: `512`, `80kB`, `1.5MB`, `2GiB`", &schema{Type: []string{"number", "string"}, Pattern: orVariable(`\+?` + part[len(`[+-]?`):] + ` *(KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB|B)?`)}},
		{"percentage", "`80%` or `0.8`", &schema{Type: []string{"number", "string"}, Pattern: orVariable(`\+?` + part[len(`[+-]?`):] + ` *%?`)}},
		{"secret", "a reference, never the value: `env:NAME`, `file:PATH`, `cmd:PROGRAM ARG…`", &schema{Type: []string{"string"}, Pattern: `^(env|file|cmd):.*\S|` + variable}},
		{"argument", "one argument of a program; what a variable puts there can be neither an option nor a second line", &schema{Type: scalar()}},
		{"script", "a text for a shell; no variable is put in", &schema{Type: scalar()}},
		{"value", "anything: text, number, list, mapping", &schema{}},
		{"expression", "an expression over the names that the page gives", &schema{Type: scalar()}},
	}
}

func addWords(defs map[string]*schema) {
	for _, w := range words() {
		w.schema.Description = strings.ReplaceAll(w.written, "`", "")
		defs[w.name] = w.schema
	}
}

// paramSchema is what may stand under a parameter's key.
func paramSchema(p check.Param) *schema {
	s := wordSchema(p.Type, p)
	out := *s
	out.Description = p.Doc
	if p.HasDefault && p.Default != "" && !strings.Contains(p.Default, "${") {
		out.Default = defaultValue(p)
	}
	return &out
}

func defaultValue(p check.Param) json.RawMessage {
	switch p.Type {
	case "integer", "number", "boolean":
		return json.RawMessage(p.Default)
	}
	return text(p.Default)
}

func wordSchema(kind string, p check.Param) *schema {
	if inner, ok := strings.CutPrefix(kind, "list of "); ok {
		one := wordSchema(inner, p)
		return &schema{AnyOf: []*schema{{Type: []string{"array"}, Items: one}, one}}
	}
	if inner, ok := strings.CutPrefix(kind, "map of "); ok {
		return &schema{Type: []string{"object"}, Additional: wordSchema(inner, p).raw()}
	}
	switch {
	case kind == "mapping":
		return mapping(p.Fields)
	case len(p.Enum) > 0:
		return enum(kind, p.Enum)
	case slices.ContainsFunc(words(), func(w word) bool { return w.name == kind }):
		return ref(kind)
	}
	return ref("string") // a text with a syntax of its own
}

// enum lists values; of a number or boolean both as such and as text.
func enum(kind string, values []string) *schema {
	s := &schema{}
	for _, v := range values {
		s.Enum = append(s.Enum, text(v))
		if kind == "integer" || kind == "number" || kind == "boolean" || v == "true" || v == "false" {
			s.Enum = append(s.Enum, json.RawMessage(v))
		}
	}
	return &schema{AnyOf: []*schema{s, {Type: []string{"string"}, Pattern: variable}}}
}

// mapping is an object with exactly the parameters given, or the short form.
func mapping(params []check.Param) *schema {
	s := &schema{Type: []string{"object"}, Properties: map[string]*schema{}, Additional: json.RawMessage("false")}
	var forms []*schema
	for _, p := range params {
		s.Properties[p.Name] = paramSchema(p)
		if !p.HasDefault {
			s.Required = append(s.Required, p.Name)
		}
		if p.Short {
			forms = append(forms, wordSchema(p.Type, p))
		}
	}
	if len(s.Required) == 0 {
		s.Type = append(s.Type, "null")
	}
	if len(forms) == 0 {
		return s
	}
	return &schema{AnyOf: append([]*schema{s}, forms...)}
}

// configSchema describes allclear.yaml.
func configSchema() *schema {
	s := mapping(check.Describe[config.Config]())
	s.Schema, s.ID, s.Title = dialect, "https://allclear.dev/schema/allclear.schema.json", "allclear.yaml"
	s.Description = "What differs per environment, who the people are, and what they may do."
	s.Defs = map[string]*schema{}
	addWords(s.Defs)
	return s
}
