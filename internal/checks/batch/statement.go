package batch

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// token is a word, a quoted name, a placeholder or a sign of a statement. Texts,
// dollar-quoted ones and comments are skipped.
var token = regexp.MustCompile(`(?s)--[^\n]*|/\*.*?\*/|[eE]?'(?:[^']|'')*'|\$(?:[A-Za-z_]\w*)?\$|"(?:[^"]|"")*"|\$\d+|[A-Za-z_\x80-\xff][\w$\x80-\xff]*|\d[\w.]*|::|[<>=!~@#%^&|?*/+-]+|\S`)

// tokens splits a statement.
func tokens(sql string) ([]string, error) {
	var out []string
	for rest := sql; ; {
		at := token.FindStringIndex(rest)
		if at == nil {
			return out, nil
		}
		t := rest[at[0]:at[1]]
		rest = rest[at[1]:]
		switch {
		case strings.HasPrefix(t, "--"), strings.HasPrefix(t, "/*"):
		case strings.HasPrefix(t, "$") && strings.HasSuffix(t, "$"):
			_, after, found := strings.Cut(rest, t)
			if !found {
				return nil, errors.New("a dollar-quoted text does not end")
			}
			out, rest = append(out, "''"), after
		case strings.HasSuffix(t, "'"):
			if len(t) > 1 && (t[0] == 'e' || t[0] == 'E') && strings.Contains(t, `\`) {
				return nil, errors.New(`a text with E'\…' cannot be read for certain: write it as '…' or $$…$$`)
			}
			if t == "'" {
				return nil, errors.New("a text does not end")
			}
			out = append(out, "''")
		default:
			out = append(out, t)
		}
	}
}

// verbs are what a statement of one range may begin with. What ends a
// transaction is not among them.
func verbs() []string { return []string{"update", "delete", "insert", "merge", "with"} }

// placeholders checks a statement and gives the number of columns of its bounds.
// Every bound must be used, and used as such: ">= $1" and "< $2" share no row
// between two ranges and leave none out; ">" or BETWEEN would.
func placeholders(sql string) (int, error) {
	list, err := tokens(sql)
	if err != nil {
		return 0, err
	}
	if n := len(list); n > 0 && list[n-1] == ";" {
		list = list[:n-1]
	}
	switch {
	case len(list) == 0:
		return 0, errors.New("it is empty")
	case slices.Contains(list, ";"):
		return 0, errors.New("want one statement, not several")
	case !slices.Contains(verbs(), strings.ToLower(list[0])):
		return 0, fmt.Errorf("want %s, got %s", strings.ToUpper(strings.Join(verbs(), ", ")), list[0])
	}
	highest, used := 0, map[int]bool{}
	for _, t := range list {
		if n, ok := number(t); ok {
			highest, used[n] = max(highest, n), true
		}
	}
	if highest == 0 {
		return 0, errors.New("it has no bounds: write key >= $1 AND key < $2")
	}
	for n := range highest {
		if !used[n+1] {
			return 0, fmt.Errorf("it does not use $%d: write key >= $1 AND key < $2", n+1)
		}
	}
	if highest%2 != 0 {
		return 0, fmt.Errorf("it has %d bounds: write key >= $1 AND key < $2, for two columns (a, b) >= ($1, $2) AND (a, b) < ($3, $4)", highest)
	}
	for i, t := range list {
		if n, ok := number(t); ok {
			if err := bound(list, i, n, highest/2); err != nil {
				return 0, err
			}
		}
	}
	return highest / 2, nil
}

// number gives a placeholder's number.
func number(t string) (int, bool) {
	if !strings.HasPrefix(t, "$") {
		return 0, false
	}
	n, err := strconv.Atoi(t[1:])
	return n, err == nil && n > 0 && n < 1000
}

// comparison is a comparison with bounds: the columns compared, in order, and the
// operator.
type comparison struct {
	columns  []string
	operator string
}

// before reads what stands before the placeholder at i: back over the other
// members of its row to the operator, and over the columns before that.
func before(list []string, i int) comparison {
	for i--; i >= 0; i-- {
		_, bound := number(list[i])
		cast := i > 0 && list[i-1] == "::"
		if list[i] != "(" && list[i] != "," && list[i] != "::" && !bound && !cast {
			break
		}
	}
	if i < 1 {
		return comparison{}
	}
	c := comparison{operator: list[i]}
	i--
	if list[i] != ")" {
		c.columns = []string{list[i]}
		return c
	}
	for i--; i >= 0 && list[i] != "("; i-- {
		if list[i] != "," && list[i] != "." && !(i+1 < len(list) && list[i+1] == ".") { // a table's name before the dot
			c.columns = append([]string{list[i]}, c.columns...)
		}
	}
	return c
}

// bound checks one use of a placeholder.
func bound(list []string, i, n, columns int) error {
	want := ">="
	if n > columns {
		want = "<"
	}
	if got := before(list, i); got.operator != want {
		return fmt.Errorf("$%d stands after %q, want %q: the ranges run from %s up to and without %s", n, got.operator, want, bounds(1, columns), bounds(columns+1, columns))
	}
	return nil
}

// bounds writes n placeholders from one on, as a row if there are several.
func bounds(from, n int) string {
	if n == 1 {
		return "$" + strconv.Itoa(from)
	}
	var out []string
	for i := range n {
		out = append(out, "$"+strconv.Itoa(from+i))
	}
	return "(" + strings.Join(out, ", ") + ")"
}

// compares reports whether every bound of a statement is compared with the key.
func compares(sql string, key []string) bool {
	list, err := tokens(sql)
	if err != nil {
		return false
	}
	for i, t := range list {
		if _, ok := number(t); !ok {
			continue
		}
		columns := before(list, i).columns
		if !slices.EqualFunc(columns, key, func(written, column string) bool {
			if quoted, ok := strings.CutPrefix(written, `"`); ok {
				return strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `""`, `"`) == column
			}
			return strings.ToLower(written) == column
		}) {
			return false
		}
	}
	return true
}
