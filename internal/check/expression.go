package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

const (
	// maxExpression bounds an expression's length in bytes and its nodes.
	maxExpression = 4096
	// expressionMemory bounds what evaluating may allocate, in expr's own units
	// (roughly elements).
	expressionMemory = 100_000
)

// Expression is a parameter that decides something: a condition in the language
// of expr-lang.org ("value <= 2 * estimate"). It is compiled when it is read.
type Expression struct {
	text    string
	names   []string
	program *vm.Program
}

// UnmarshalText compiles the expression; its error says what is wrong where.
func (e *Expression) UnmarshalText(text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("the expression is empty")
	}
	if len(text) > maxExpression {
		return fmt.Errorf("longer than %d bytes", maxExpression)
	}
	options := []expr.Option{
		expr.AsBool(), expr.MaxNodes(maxExpression),
		expr.DisableBuiltin("now"), // the same world must give the same answer
	}
	// The first pass sees the types of what was written, before the guard hides them.
	if _, err := expr.Compile(string(text), options...); err != nil {
		return placed(err)
	}
	names := &guard{names: map[string]bool{}, local: map[string]bool{}}
	program, err := expr.Compile(string(text), append(options,
		expr.Function(fieldGuard, field), expr.Function(numberGuard, finite), expr.Function(filledGuard, filled), expr.Patch(names))...)
	if err == nil {
		err = names.err
	}
	if err != nil {
		return placed(err)
	}
	for name := range names.local {
		delete(names.names, name)
	}
	*e = Expression{text: string(text), program: program, names: slices.Sorted(maps.Keys(names.names))}
	return nil
}

// String gives the expression as written; empty when there is none.
func (e Expression) String() string { return e.text }

// IsZero reports whether no expression was given.
func (e Expression) IsZero() bool { return e.program == nil }

// Names lists the variables that the expression uses, sorted.
func (e Expression) Names() []string { return slices.Clone(e.names) }

// Eval decides over these variables. A variable that the expression uses and
// vars does not hold, and a number that is not finite, are errors: comparing
// with nothing would otherwise come out as true or false by chance.
func (e Expression) Eval(vars map[string]any) (bool, error) {
	if e.program == nil {
		return false, fmt.Errorf("no expression was given")
	}
	for _, name := range e.names {
		v, ok := vars[name]
		if !ok {
			return false, &NotSupplied{What: name + " (used in " + e.text + ")"}
		}
		if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return false, fmt.Errorf("evaluate %s: %s is %v", e.text, name, f)
		}
	}
	machine := vm.VM{MemoryBudget: expressionMemory}
	result, err := machine.Run(e.program, vars)
	if err != nil {
		return false, fmt.Errorf("evaluate %s: %w", e.text, placed(err))
	}
	b, ok := result.(bool)
	if !ok {
		return false, fmt.Errorf("evaluate %s: gives %v, want true or false", e.text, result)
	}
	return b, nil
}

// Only checks, while a file is read, that the expression reads nothing but the
// given names.
func (e Expression) Only(names ...string) error {
	for _, used := range e.names {
		if !slices.Contains(names, used) {
			return fmt.Errorf("expression %q reads %q, which is not known here; known are %s", e.text, used, strings.Join(names, ", "))
		}
	}
	return nil
}

// FromJSON decodes a document for Eval: whole numbers stay exact, and anything
// after the document is an error.
func FromJSON(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var out any
	if err := decoder.Decode(&out); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("text after the JSON document")
	}
	return numbers(out)
}

func numbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i), nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = numbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = numbers(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// placed turns the library's error into one line that knows its place.
func placed(err error) error {
	if at, ok := errors.AsType[*file.Error](err); ok {
		return &SyntaxError{Offset: at.Column, Message: at.Message}
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}
