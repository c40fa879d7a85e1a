package check

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"allclear.dev/allclear/internal/secret"
)

// Param describes one parameter of a type, as its struct tags do:
//
//	param:"name"        the key; ",short" lets a bare value stand for the whole mapping
//	doc:"…"             one line for people
//	default:"…"         the value when left out (may hold ${variables}); present but
//	                    empty means optional without a value
//	enum:"a,b"          the values allowed
//
// A parameter without a default is required.
type Param struct {
	Name string
	// Type is the word for its values: string, integer, number, boolean, duration,
	// size, percentage, secret, list of …, map of …, mapping, value.
	Type       string
	Doc        string
	Default    string
	HasDefault bool
	Short      bool
	Enum       []string
	// Fields describes a mapping's (or list of mappings') own parameters.
	Fields []Param
	index  []int
}

// Value is any YAML value, kept as its JSON; for parameters that are compared
// with what an answer holds.
type Value json.RawMessage

// String gives the JSON text.
func (v Value) String() string { return string(v) }

// MarshalJSON gives the text itself.
func (v Value) MarshalJSON() ([]byte, error) {
	if v == nil {
		return []byte("null"), nil
	}
	return v, nil
}

// Size is a number of bytes, written as 512, 80kB, 1.5MB, 2GiB.
type Size int64

// Share is a part of a whole, written as 80% or 0.8.
type Share float64

// Text is a parameter type with its own syntax: it decodes itself from the text
// written and says so in its error.
type Text interface{ encoding.TextUnmarshaler }

// SyntaxError is what a Text may return to tell where in the text it went wrong.
type SyntaxError struct {
	// Offset counts characters from the text's start.
	Offset  int
	Message string
}

// Error gives the message and the place, counted from 1.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s (at character %d)", e.Message, e.Offset+1)
}

// describe reads a struct's tags.
func describe(t reflect.Type) ([]Param, error) {
	var params []Param
	for f := range t.Fields() {
		tag, tagged := f.Tag.Lookup("param")
		if !tagged {
			if f.Anonymous && f.Type.Kind() == reflect.Struct {
				inner, err := describe(f.Type)
				if err != nil {
					return nil, err
				}
				for _, p := range inner {
					p.index = append(append([]int{}, f.Index...), p.index...)
					params = append(params, p)
				}
			}
			continue
		}
		p, err := describeField(f, tag)
		if err != nil {
			return nil, err
		}
		params = append(params, p)
	}
	return params, nil
}

func describeField(f reflect.StructField, tag string) (Param, error) {
	name, option, _ := strings.Cut(tag, ",")
	p := Param{Name: name, Doc: f.Tag.Get("doc"), Short: option == "short", index: f.Index}
	if name == "" || p.Doc == "" {
		return p, fmt.Errorf("field %s: needs a name and a doc", f.Name)
	}
	if !f.IsExported() {
		return p, fmt.Errorf("field %s: not exported", f.Name)
	}
	p.Default, p.HasDefault = f.Tag.Lookup("default")
	if enum := f.Tag.Get("enum"); enum != "" {
		p.Enum = strings.Split(enum, ",")
	}
	var err error
	p.Type, p.Fields, err = typeWord(f.Type)
	if err != nil {
		return p, fmt.Errorf("field %s: %w", f.Name, err)
	}
	return p, nil
}

// typeWord gives the word for a Go type in documentation and messages.
func typeWord(t reflect.Type) (string, []Param, error) {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration", nil, nil
	case reflect.TypeFor[Size]():
		return "size", nil, nil
	case reflect.TypeFor[Share]():
		return "percentage", nil, nil
	case reflect.TypeFor[secret.Ref]():
		return "secret", nil, nil
	case reflect.TypeFor[Value]():
		return "value", nil, nil
	case reflect.TypeFor[Arg]():
		return "argument", nil, nil
	case reflect.TypeFor[Script]():
		return "script", nil, nil
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return strings.ToLower(t.Name()), nil, nil
	}
	switch t.Kind() {
	case reflect.String:
		return "string", nil, nil
	case reflect.Bool:
		return "boolean", nil, nil
	case reflect.Int, reflect.Int64:
		return "integer", nil, nil
	case reflect.Float64:
		return "number", nil, nil
	case reflect.Pointer:
		return typeWord(t.Elem())
	case reflect.Slice:
		word, fields, err := typeWord(t.Elem())
		return "list of " + word, fields, err
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return "", nil, fmt.Errorf("map keys must be strings")
		}
		word, fields, err := typeWord(t.Elem())
		return "map of " + word, fields, err
	case reflect.Struct:
		fields, err := describe(t)
		return "mapping", fields, err
	}
	return "", nil, fmt.Errorf("type %s cannot be a parameter", t)
}
