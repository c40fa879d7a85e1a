package check

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
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
	if len(text) > maxExpression {
		return fmt.Errorf("longer than %d bytes", maxExpression)
	}
	names := &identifiers{seen: map[string]bool{}}
	program, err := expr.Compile(string(text), expr.AsBool(), expr.MaxNodes(maxExpression), expr.DisableBuiltin("now"),
		expr.Function(memberFunction, member), expr.Patch(names))
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Errorf("%s", first)
	}
	if names.seen["now"] {
		return fmt.Errorf("unknown name now: an expression reads no clock")
	}
	*e = Expression{text: string(text), program: program, names: slices.Sorted(maps.Keys(names.seen))}
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
		first, _, _ := strings.Cut(err.Error(), "\n")
		return false, fmt.Errorf("evaluate %s: %s", e.text, first)
	}
	b, ok := result.(bool)
	if !ok {
		return false, fmt.Errorf("evaluate %s: gives %v, want true or false", e.text, result)
	}
	return b, nil
}

// identifiers collects the names that an expression takes from its variables,
// without those it declares itself (let x = …; …), and makes a field that is not
// there an error instead of nil. "a?.b" still allows it to be missing.
type identifiers struct {
	seen map[string]bool
}

// Visit notes one node; the walker goes from the leaves up.
func (i *identifiers) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value != memberFunction {
			i.seen[n.Value] = true
		}
	case *ast.VariableDeclaratorNode:
		delete(i.seen, n.Name)
	case *ast.MemberNode:
		if _, named := n.Property.(*ast.StringNode); named && !n.Optional {
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: memberFunction}, Arguments: []ast.Node{n.Node, n.Property}})
		}
	}
}

// memberFunction is the name under which member stands in compiled expressions;
// nobody can write it.
const memberFunction = "#member"

func member(params ...any) (any, error) {
	if len(params) != 2 {
		return nil, fmt.Errorf("want a mapping and a name")
	}
	m, ok := params[0].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%v is not a mapping with %v", params[0], params[1])
	}
	v, ok := m[fmt.Sprint(params[1])]
	if !ok {
		return nil, fmt.Errorf("%v is missing", params[1])
	}
	return v, nil
}
