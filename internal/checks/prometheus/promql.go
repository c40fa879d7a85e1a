package prometheus

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxExpr bounds an expression, in bytes: it travels in an address.
const maxExpr = 4096

// checkExpr refuses an expression that would show nothing where something is
// wrong. https://prometheus.io/docs/prometheus/latest/querying/operators/
func checkExpr(name, expr string) error {
	if strings.TrimSpace(expr) == "" {
		return fmt.Errorf("%s: the expression is empty", name)
	}
	if len(expr) > maxExpr {
		return fmt.Errorf("%s: longer than %d bytes", name, maxExpr)
	}
	if madeUp.MatchString(bare(expr)) {
		return fmt.Errorf("%s: or vector(…) makes a number out of nothing, even for a metric that does not exist: leave it out, and write absent: zero with exists", name)
	}
	return nil
}

// madeUp finds what gives a number where there is none.
var madeUp = regexp.MustCompile(`(?i)\bor\s+((on|ignoring)\s*\([^)]*\)\s*)?\(?\s*vector\s*\(`)

// errFilter is given for an expression that leaves out what is wrong.
var errFilter = errors.New("expr: a comparison leaves out every series that does not fulfil it, so that what is wrong would not be seen: write the limit as max, min or expect, or compare with bool (> bool 1)")

// filters tells whether an expression is, at its outermost, a comparison without
// bool: of its series only those come back for which it holds.
func filters(expr string) bool {
	text := strings.TrimSpace(bare(expr))
	for strings.HasPrefix(text, "(") && closing(text) == len(text)-1 {
		text = strings.TrimSpace(text[1 : len(text)-1])
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case '<', '>', '=', '!':
			if depth > 0 {
				continue
			}
			rest := strings.TrimSpace(strings.TrimLeft(text[i:], "<>=!"))
			if !boolean.MatchString(rest) {
				return true
			}
			i = len(text) - len(rest)
		}
	}
	return false
}

var boolean = regexp.MustCompile(`(?i)^bool\b`)

// closing gives the place of the bracket that closes the first one, or -1.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// bare empties the strings of an expression and leaves out its comments, so that
// what is left is PromQL's own.
func bare(expr string) string {
	var out strings.Builder
	quote := byte(0)
	for i := 0; i < len(expr); i++ {
		c := expr[i]
		switch {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
				out.WriteByte(c)
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
			out.WriteByte(c)
		case c == '#':
			if end := strings.IndexByte(expr[i:], '\n'); end >= 0 {
				i += end
				out.WriteByte(' ')
			} else {
				i = len(expr)
			}
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
