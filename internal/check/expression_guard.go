package check

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// The names of the functions that the guard puts into an expression; a person
// cannot write them, for # does not begin a name.
const (
	fieldGuard  = "#field"
	numberGuard = "#number"
	filledGuard = "#filled"
)

// guard walks an expression's tree: it collects the names that are read, and
// replaces field access and arithmetic by calls that refuse what is missing, not
// finite or empty.
type guard struct {
	names, local map[string]bool
	err          error
}

// Visit is called for every node, children first.
func (g *guard) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		switch n.Value {
		case fieldGuard, numberGuard, filledGuard:
		case "$env":
			g.refuse(n, "$env cannot be used")
		default:
			g.names[n.Value] = true
		}
	case *ast.VariableDeclaratorNode:
		g.local[n.Name] = true
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); !ok || !slices.Contains([]string{fieldGuard, numberGuard, filledGuard}, callee.Value) {
			g.refuse(n, "unknown function")
		}
	case *ast.MemberNode:
		if !n.Optional {
			call(node, fieldGuard, n.Node, n.Property)
		}
	case *ast.BinaryNode:
		if strings.Contains("+ - * / % ** ^", n.Operator) {
			call(node, numberGuard, n)
		}
	case *ast.BuiltinNode:
		switch n.Name {
		case "all", "mean", "median", "first", "last":
			call(&n.Arguments[0], filledGuard, n.Arguments[0])
		}
		switch n.Name {
		case "float", "sum", "mean", "median", "min", "max", "abs", "reduce", "fromJSON":
			call(node, numberGuard, n)
		}
	}
}

func (g *guard) refuse(n ast.Node, message string) {
	if g.err == nil {
		g.err = &SyntaxError{Offset: n.Location().From, Message: message}
	}
}

func call(node *ast.Node, name string, arguments ...ast.Node) {
	ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: arguments})
}

// field is a.b and a[b] where b must be there.
func field(args ...any) (any, error) {
	switch from := args[0].(type) {
	case map[string]any:
		name, ok := args[1].(string)
		if !ok {
			return nil, fmt.Errorf("a field's name is text, not %v", args[1])
		}
		value, found := from[name]
		if !found {
			return nil, fmt.Errorf("there is no field %q", name)
		}
		return value, nil
	case []any:
		i, ok := args[1].(int)
		if !ok {
			return nil, fmt.Errorf("a list is read by number, not by %v", args[1])
		}
		if i < 0 {
			i += len(from)
		}
		if i < 0 || i >= len(from) {
			return nil, fmt.Errorf("there is no entry %v in a list of %d", args[1], len(from))
		}
		return from[i], nil
	}
	return nil, fmt.Errorf("there is no %v in a value without fields", args[1])
}

// filled refuses an empty list where the language would give an answer about
// nothing: all of it holds, and its mean is 0.
func filled(args ...any) (any, error) {
	if list := reflect.ValueOf(args[0]); list.IsValid() && (list.Kind() == reflect.Slice || list.Kind() == reflect.Array) && list.Len() == 0 {
		return nil, errors.New("an empty list decides nothing")
	}
	return args[0], nil
}

// finite lets every value pass except a number that is not one.
func finite(args ...any) (any, error) {
	if f, ok := args[0].(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, errors.New("a number is not finite (a division by zero?)")
	}
	return args[0], nil
}
