package lint

import (
	"fmt"
	"slices"
	"strings"
)

// pieceOf is a constraint behind a new column and its text.
type pieceOf struct {
	constraint
	text []token
}

// addColumn adds a column bare, so that no row is touched, and then what was
// written behind it.
func (r *rewriter) addColumn(prefix string, relation rangeVar, cmd alterCommand, def columnDef, part []token) {
	head, pieces := r.columnParts(def, part)
	if cmd.MissingOK || r.no {
		r.no = true
		return
	}
	column := ident(def.Name)
	add := "ADD COLUMN " + r.columnHead(def, head)
	var fill, moved, keys []pieceOf
	required := false
	kept := ""
	hasDefault := slices.ContainsFunc(pieces, func(p pieceOf) bool { return p.Type == "CONSTR_DEFAULT" || p.Type == "CONSTR_IDENTITY" }) || isSerial(typeOf(def.Type).name)
	for _, p := range pieces {
		switch p.Type {
		case "CONSTR_NOTNULL":
			required = true
		case "CONSTR_DEFAULT":
			if r.l.catalog.volatile(p.Expr) {
				fill = append(fill, p)
			} else {
				kept += " " + r.span(p.text)
			}
		case "CONSTR_IDENTITY":
			required = true
			fill = append(fill, p)
		case "CONSTR_CHECK":
			moved = append(moved, p)
		case "CONSTR_FOREIGN":
			if hasDefault {
				moved = append(moved, p)
			} else {
				kept += " " + r.span(p.text)
			}
		case "CONSTR_UNIQUE", "CONSTR_PRIMARY":
			required = required || p.Type == "CONSTR_PRIMARY"
			keys = append(keys, p)
		case "CONSTR_NULL":
		default:
			r.no = true
		}
	}
	serial := isSerial(typeOf(def.Type).name)
	required = required || serial
	if required && len(fill) == 0 && !serial {
		kept += " NOT NULL" // every row has the default's value
	}
	r.add("%s %s%s", prefix, add, kept)
	switch {
	case serial:
		r.serial(prefix, relation, def)
	case len(fill) == 1 && fill[0].Type == "CONSTR_IDENTITY":
		r.identity(prefix, relation, column, fill[0])
	case len(fill) == 1:
		r.add("%s ALTER COLUMN %s SET %s", prefix, column, r.span(fill[0].text))
		r.fill(relation, column)
		if required {
			r.notNull(prefix, relation, def.Name)
		}
	case len(fill) > 1:
		r.no = true
	}
	r.behind(prefix, relation, def.Name, moved, keys)
}

// behind adds the constraints that stood behind a column.
func (r *rewriter) behind(prefix string, relation rangeVar, column string, moved, keys []pieceOf) {
	for _, p := range moved {
		definition := p.text
		if p.Name != "" {
			definition = definition[2:]
		}
		text := r.span(definition)
		if p.Type == "CONSTR_FOREIGN" {
			p.FKColumns = []node{stringNode(column)}
			text = fmt.Sprintf("FOREIGN KEY (%s) %s", ident(column), text)
		}
		name, _ := r.named(relation, p.constraint, append([]token{{}, {}, {}}, definition...))
		r.later(prefix, name, text)
	}
	for _, p := range keys {
		p.Keys = []node{stringNode(column)}
		name, _ := r.named(relation, p.constraint, []token{{}, {}, {}, {}})
		what := "UNIQUE"
		if p.Type == "CONSTR_PRIMARY" {
			what = "PRIMARY KEY"
		}
		simple := len(p.text) <= 2 || p.Name != "" && len(p.text) <= 4
		r.no = r.no || !simple
		r.alone(fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY %s ON %s (%s)", ident(name), relation.sql(), ident(column)))
		r.add("%s ADD CONSTRAINT %s %s USING INDEX %s", prefix, ident(name), what, ident(name))
	}
}

// columnParts splits ADD [COLUMN] name type {constraint} into the part before the
// first constraint and the constraints.
func (r *rewriter) columnParts(def columnDef, part []token) (head []token, pieces []pieceOf) {
	var starts []int
	for _, n := range def.Constraints {
		starts = append(starts, decode[located](n).Location-r.origin)
	}
	if def.Collate.Location > 0 {
		starts = append(starts, def.Collate.Location-r.origin)
	}
	slices.Sort(starts)
	until := func(from int) int {
		for _, s := range starts {
			if s > from {
				return s
			}
		}
		return len(r.text) + 1
	}
	between := func(from, to int) (out []token) {
		for _, t := range part {
			if t.start >= from && t.start < to {
				out = append(out, t)
			}
		}
		return out
	}
	for _, n := range def.Constraints {
		c := decode[constraint](n)
		at := decode[located](n).Location - r.origin
		text := between(at, until(at))
		if len(text) == 0 || strings.HasPrefix(c.Type, "CONSTR_ATTR_") {
			r.no = true // DEFERRABLE and the like belong to the one before
			return nil, nil
		}
		if c.Type == "CONSTR_FOREIGN" || c.Type == "CONSTR_CHECK" || c.Name == "" {
			pieces = append(pieces, pieceOf{c, text})
			continue
		}
		pieces = append(pieces, pieceOf{c, text})
		r.no = r.no || c.Type == "CONSTR_DEFAULT" || c.Type == "CONSTR_IDENTITY"
	}
	first := len(r.text) + 1
	if len(def.Constraints) > 0 {
		first = decode[located](def.Constraints[0]).Location - r.origin
	}
	if def.Collate.Location > 0 && first < def.Collate.Location-r.origin {
		r.no = true // COLLATE stands behind a constraint
		return nil, nil
	}
	head = between(0, first)
	if len(head) > 0 && head[0].is("ADD") {
		head = head[1:]
	}
	if len(head) > 0 && head[0].is("COLUMN") && len(head) > 2 {
		head = head[1:]
	}
	r.no = r.no || len(head) < 2
	return head, pieces
}

// located is a node's place, in bytes of what the parser was given.
type located struct {
	Location int `json:"location"`
}

// columnHead is the name and the type; a serial is a number.
func (r *rewriter) columnHead(def columnDef, head []token) string {
	if number := numberOf(typeOf(def.Type).name); number != "" {
		return ident(def.Name) + " " + number
	}
	return r.span(head)
}

// numberOf gives the type that a serial stands for.
func numberOf(serial string) string {
	switch serial {
	case "serial", "serial4":
		return "integer"
	case "bigserial", "serial8":
		return "bigint"
	case "smallserial", "serial2":
		return "smallint"
	}
	return ""
}

// fill gives the rows that are there the column's default.
func (r *rewriter) fill(relation rangeVar, column string) {
	r.steps = append(r.steps, Step{SQL: fmt.Sprintf("UPDATE %s SET %s = DEFAULT WHERE %s IS NULL", relation.sql(), column, column), Batches: true})
}

// serial gives a column what serial stands for (PostgreSQL documentation, 8.1.4).
func (r *rewriter) serial(prefix string, relation rangeVar, def columnDef) {
	name := r.free(relation, relation.Name+"_"+def.Name+"_seq")
	sequence := rangeVar{Schema: relation.Schema, Name: name}.sql()
	column := ident(def.Name)
	r.add("CREATE SEQUENCE %s AS %s OWNED BY %s.%s", sequence, numberOf(typeOf(def.Type).name), relation.sql(), column)
	r.add("%s ALTER COLUMN %s SET DEFAULT nextval(%s)", prefix, column, literal(sequence))
	r.fill(relation, column)
	r.notNull(prefix, relation, def.Name)
}

// identity numbers the rows by a sequence of its own, from whose end the column's
// own goes on.
func (r *rewriter) identity(prefix string, relation rangeVar, column string, p pieceOf) {
	if position(p.text, "(") >= 0 {
		r.no = true // options of the sequence
		return
	}
	name := strings.Trim(column, `"`)
	sequence := rangeVar{Schema: relation.Schema, Name: r.free(relation, relation.Name+"_"+name+"_fill")}.sql()
	r.add("CREATE SEQUENCE %s", sequence)
	r.add("%s ALTER COLUMN %s SET DEFAULT nextval(%s)", prefix, column, literal(sequence))
	r.fill(relation, column)
	r.notNull(prefix, relation, name)
	r.add("BEGIN; %s ALTER COLUMN %s DROP DEFAULT; %s ALTER COLUMN %s ADD %s; SELECT setval(pg_get_serial_sequence(%s, %s), nextval(%s), false); DROP SEQUENCE %s; COMMIT",
		prefix, column, prefix, column, r.span(p.text), literal(relation.sql()), literal(name), literal(sequence), sequence)
}
