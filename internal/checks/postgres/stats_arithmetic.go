package postgres

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"strconv"
)

// arithmetic is a parameter that is computed from named numbers: numbers, names,
// + - * / and brackets.
type arithmetic struct {
	text string
	expr ast.Expr
}

// UnmarshalText reads it.
func (a *arithmetic) UnmarshalText(text []byte) error {
	if len(text) > 1000 {
		return errors.New("longer than 1000 bytes")
	}
	expr, err := parser.ParseExpr(string(text))
	if err != nil {
		return errors.New("want numbers, names, + - * / and brackets, as web * threads + celery + 5")
	}
	*a = arithmetic{text: string(text), expr: expr}
	return nil
}

// eval computes it. A name without a number, and a result that is no number of
// things, are errors.
func (a *arithmetic) eval(names map[string]float64) (float64, error) {
	v, err := number(a.expr, names)
	if err != nil {
		return 0, err
	}
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0, fmt.Errorf("%s is %v, want a number from 0", a.text, v)
	}
	return v, nil
}

func number(e ast.Expr, names map[string]float64) (float64, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return number(e.X, names)
	case *ast.BasicLit:
		if e.Kind != token.INT && e.Kind != token.FLOAT {
			return 0, fmt.Errorf("%s is no number", e.Value)
		}
		return strconv.ParseFloat(e.Value, 64)
	case *ast.Ident:
		v, ok := names[e.Name]
		if !ok {
			return 0, fmt.Errorf("with does not say what %s is", e.Name)
		}
		return v, nil
	case *ast.BinaryExpr:
		x, err := number(e.X, names)
		if err != nil {
			return 0, err
		}
		y, err := number(e.Y, names)
		if err != nil {
			return 0, err
		}
		switch e.Op {
		case token.ADD:
			return x + y, nil
		case token.SUB:
			return x - y, nil
		case token.MUL:
			return x * y, nil
		case token.QUO:
			return x / y, nil
		}
		return 0, fmt.Errorf("%s cannot be computed; want + - * /", e.Op)
	}
	return 0, errors.New("want numbers, names, + - * / and brackets only")
}
