package lint

import (
	"fmt"
	"slices"
	"strings"
)

// alterTable takes a statement's commands apart: each is a step of its own, or
// several.
func (r *rewriter) alterTable(s alterTable) {
	if s.Object == "OBJECT_INDEX" {
		r.alterIndex(s)
		return
	}
	head := 2 // ALTER TABLE
	for _, w := range []string{"MATERIALIZED", "FOREIGN"} {
		if r.tokens[1].is(w) {
			head = 3
		}
	}
	if s.MissingOK {
		head += 2 // IF EXISTS
	}
	if head >= len(r.tokens) {
		r.no = true
		return
	}
	_, rest := relationEnd(r.tokens[head:])
	commands := commas(rest)
	if len(commands) != len(s.Commands) {
		r.no = true
		return
	}
	prefix := strings.TrimSpace(strings.TrimSuffix(r.text[:rest[0].start], " "))
	for i, n := range s.Commands {
		r.command(prefix, s.Relation, decode[alterCommand](n), commands[i])
	}
}

// alterIndex moves an index by building it anew in the other place.
func (r *rewriter) alterIndex(s alterTable) {
	if len(s.Commands) != 1 || r.l.opts.Version < 14 {
		r.no = true
		return
	}
	cmd := decode[alterCommand](s.Commands[0])
	if cmd.Subtype != "AT_SetTableSpace" {
		r.no = true
		return
	}
	r.alone(fmt.Sprintf("REINDEX (TABLESPACE %s) INDEX CONCURRENTLY %s", ident(cmd.Name), s.Relation.sql()))
}

func (r *rewriter) command(prefix string, relation rangeVar, cmd alterCommand, part []token) {
	switch cmd.Subtype {
	case "AT_AddConstraint":
		r.addConstraint(prefix, relation, decode[constraint](cmd.Def), part)
	case "AT_SetNotNull":
		t := r.l.catalog.tables[relation.key()]
		if c := r.l.catalog.column(relation.key(), cmd.Name); c != nil && c.notNull || t != nil && t.proves(cmd.Name) {
			r.add("%s %s", prefix, r.span(part))
			return
		}
		r.notNull(prefix, relation, cmd.Name)
	case "AT_AddColumn":
		r.addColumn(prefix, relation, cmd, decode[columnDef](cmd.Def), part)
	case "AT_AttachPartition":
		r.attach(prefix, relation, decode[partitionCmd](cmd.Def), part)
	case "AT_SetTableSpace":
		r.no = true
	default:
		r.add("%s %s", prefix, r.span(part))
	}
}

// notNull proves that a column is never null before PostgreSQL is told so (from
// version 12 on SET NOT NULL trusts a validated CHECK).
func (r *rewriter) notNull(prefix string, relation rangeVar, column string) {
	proof := ident(r.free(relation, relation.Name+"_"+column+"_not_null"))
	r.add("%s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID", prefix, proof, ident(column))
	r.add("%s VALIDATE CONSTRAINT %s", prefix, proof)
	r.add("%s ALTER COLUMN %s SET NOT NULL", prefix, ident(column))
	r.add("%s DROP CONSTRAINT %s", prefix, proof)
}

// free holds that a name fits and that the table has none like it.
func (r *rewriter) free(relation rangeVar, name string) string {
	t := r.l.catalog.tables[relation.key()]
	taken := false
	if t != nil {
		_, check := t.checks[name]
		_, fk := t.fks[name]
		_, key := t.keys[name]
		_, index := t.indexes[indexKey(t.key, name)]
		taken = check || fk || key || index
	}
	r.no = r.no || taken || len(name) > longestName || slices.Contains(r.made, name)
	r.made = append(r.made, name)
	return name
}

// named gives the name of a constraint and its definition behind ADD [CONSTRAINT
// name]. One without a name gets the one that PostgreSQL would make up.
func (r *rewriter) named(relation rangeVar, c constraint, part []token) (name string, definition []token) {
	if c.Name != "" {
		if len(part) < 4 {
			r.no = true
			return "", nil
		}
		return c.Name, part[3:]
	}
	var parts []string
	switch c.Type {
	case "CONSTR_CHECK":
		if columns := distinct(columnsOf(c.Expr)); len(columns) == 1 {
			parts = columns
		}
		parts = append(parts, "check")
	case "CONSTR_FOREIGN":
		parts = append(words(c.FKColumns), "fkey")
	case "CONSTR_PRIMARY":
		parts = []string{"pkey"}
	case "CONSTR_UNIQUE":
		parts = append(append(words(c.Keys), words(c.Including)...), "key")
	}
	return r.free(relation, strings.Join(append([]string{relation.Name}, parts...), "_")), part[1:]
}

func distinct(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// addConstraint adds one that the rows are not looked at for, and looks at them
// with a lock that keeps nobody out; keys are built as indexes first.
func (r *rewriter) addConstraint(prefix string, relation rangeVar, c constraint, part []token) {
	t := r.l.catalog.tables[relation.key()]
	switch {
	case c.SkipValidation:
		r.add("%s %s", prefix, r.span(part))
	case c.Type == "CONSTR_FOREIGN" && t != nil && t.partitioned && r.l.opts.Version < 18:
		r.no = true // PostgreSQL refuses NOT VALID there
	case c.Type == "CONSTR_CHECK", c.Type == "CONSTR_FOREIGN":
		name, definition := r.named(relation, c, part)
		r.later(prefix, name, r.span(definition))
	case c.Index != "" && c.Type == "CONSTR_PRIMARY":
		r.primaryOfIndex(prefix, relation, c, part)
	case c.Index != "":
		r.add("%s %s", prefix, r.span(part))
	case c.Type == "CONSTR_PRIMARY", c.Type == "CONSTR_UNIQUE":
		name, definition := r.named(relation, c, part)
		r.key(prefix, relation, c, name, definition)
	default:
		r.no = true
	}
}

func (r *rewriter) later(prefix, name, definition string) {
	r.add("%s ADD CONSTRAINT %s %s NOT VALID", prefix, ident(name), definition)
	r.add("%s VALIDATE CONSTRAINT %s", prefix, ident(name))
}

// key builds the index of a primary key or unique constraint first. definition is
// [UNIQUE | PRIMARY KEY] … (columns) … .
func (r *rewriter) key(prefix string, relation rangeVar, c constraint, name string, definition []token) {
	if t := r.l.catalog.tables[relation.key()]; t != nil && t.partitioned {
		r.no = true // PostgreSQL refuses USING INDEX there
		return
	}
	open := position(definition, "(")
	end := closing(definition, max(open, 0))
	if open < 0 || end < 0 {
		r.no = true
		return
	}
	columns, rest, include := r.span(definition[open:end+1]), definition[end+1:], ""
	if len(rest) > 0 && rest[0].is("INCLUDE") {
		end := closing(rest, 1)
		if end < 0 {
			r.no = true
			return
		}
		include, rest = " "+r.span(rest[:end+1]), rest[end+1:]
	}
	if slices.ContainsFunc(rest, func(t token) bool { return t.is("WITH") || t.is("USING") }) {
		r.no = true
		return
	}
	if position(definition[:open], "NULLS") >= 0 && position(definition[:open], "NOT") >= 0 {
		include += " NULLS NOT DISTINCT"
	}
	r.alone(fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY %s ON %s %s%s", ident(name), relation.sql(), columns, include))
	what := "UNIQUE"
	if c.Type == "CONSTR_PRIMARY" {
		what = "PRIMARY KEY"
		r.nullables(prefix, relation, words(c.Keys))
	}
	attributes := r.span(rest)
	r.add("%s", strings.TrimSpace(fmt.Sprintf("%s ADD CONSTRAINT %s %s USING INDEX %s %s", prefix, ident(name), what, ident(name), attributes)))
}

// nullables makes the columns of a primary key NOT NULL that are not.
func (r *rewriter) nullables(prefix string, relation rangeVar, columns []string) {
	t := r.l.catalog.tables[relation.key()]
	for _, column := range columns {
		switch col := r.l.catalog.column(relation.key(), column); {
		case col != nil && col.notNull:
		case t != nil && t.proves(column):
			r.add("%s ALTER COLUMN %s SET NOT NULL", prefix, ident(column))
		default:
			r.notNull(prefix, relation, column)
		}
	}
}

func (r *rewriter) primaryOfIndex(prefix string, relation rangeVar, c constraint, part []token) {
	_, index := r.l.catalog.indexOf(indexKey(relation.key(), c.Index))
	if index == nil {
		r.no = true
		return
	}
	r.nullables(prefix, relation, index.columns)
	r.add("%s %s", prefix, r.span(part))
}

// attach proves a partition's bounds before it is attached, and that the DEFAULT
// partition has no row that belongs into it.
func (r *rewriter) attach(prefix string, parent rangeVar, cmd partitionCmd, part []token) {
	p, child := r.l.catalog.tables[parent.key()], r.l.catalog.tables[cmd.Name.key()]
	if p == nil || child == nil || len(p.by) != 1 || p.by[0] == "" || cmd.Bound.IsDefault || len(p.indexes) > len(child.indexes) {
		r.no = true
		return
	}
	inside, outside := r.bounds(ident(p.by[0]), part)
	if r.no {
		return
	}
	type proof struct{ prefix, name string }
	var proofs []proof
	prove := func(key, condition string) {
		_, short, _ := strings.Cut(key, ".")
		name := ident(r.free(rangeVar{Schema: strings.TrimSuffix(key, "."+short), Name: short}, short+"_bounds"))
		alter := "ALTER TABLE " + sqlOf(key)
		r.add("%s ADD CONSTRAINT %s CHECK (%s) NOT VALID", alter, name, condition)
		r.add("%s VALIDATE CONSTRAINT %s", alter, name)
		proofs = append(proofs, proof{alter, name})
	}
	prove(child.key, inside)
	if p.fallback != "" {
		prove(p.fallback, outside)
	}
	r.add("%s %s", prefix, r.span(part))
	for _, done := range proofs {
		r.add("%s DROP CONSTRAINT %s", done.prefix, done.name)
	}
}

// bounds writes FOR VALUES of one column as a condition, and its contrary.
func (r *rewriter) bounds(column string, part []token) (inside, outside string) {
	value := func(word string) string {
		at := position(part, word)
		if at < 0 || at+1 >= len(part) || part[at+1].text != "(" {
			return ""
		}
		end := closing(part, at+1)
		if end < 0 {
			return ""
		}
		return r.span(part[at+2 : end])
	}
	if in := value("IN"); in != "" && position(part, "NULL") < 0 {
		return fmt.Sprintf("%s IS NOT NULL AND %s IN (%s)", column, column, in), fmt.Sprintf("%s IS NULL OR %s NOT IN (%s)", column, column, in)
	}
	from, to := value("FROM"), value("TO")
	if from == "" || to == "" || strings.EqualFold(from, "MINVALUE") && strings.EqualFold(to, "MAXVALUE") {
		r.no = true
		return "", ""
	}
	inside, outside = column+" IS NOT NULL", column+" IS NULL"
	if !strings.EqualFold(from, "MINVALUE") {
		inside, outside = inside+" AND "+column+" >= "+from, outside+" OR "+column+" < "+from
	}
	if !strings.EqualFold(to, "MAXVALUE") {
		inside, outside = inside+" AND "+column+" < "+to, outside+" OR "+column+" >= "+to
	}
	return inside, outside
}
