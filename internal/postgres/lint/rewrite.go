package lint

import (
	"fmt"
	"slices"
	"strings"
)

// Step is a part of a rewrite: SQL that is committed before the next one begins.
type Step struct {
	// SQL is one statement, or several that are one transaction.
	SQL string `json:"sql"`
	// Alone tells that PostgreSQL refuses it within a transaction.
	Alone bool `json:"alone,omitempty"`
	// Batches tells that it changes every row, and is to be run in ranges of the
	// primary key, as postgres.batches does.
	Batches bool `json:"batches,omitempty"`
}

// covered are the hazards that a rewrite takes away.
func covered() []string {
	return []string{
		"idx-create", "idx-in-ddl-tx", "idx-create-partitioned", "idx-reindex", "pk-add", "pk-using-index-nullable", "uq-add", "fk-add", "fk-inline-default",
		"check-add", "check-inline", "notnull-set", "default-volatile", "add-serial", "add-identity", "part-attach", "set-tablespace", "lock-held", "idx-drop",
	}
}

// rewriter writes the steps for one statement.
type rewriter struct {
	l      *linter
	text   string // of the statement
	tokens []token
	// origin is where the text begins in what the parser was given, whose offsets
	// the nodes carry.
	origin int
	steps  []Step
	// made are the names made up so far.
	made []string
	// no tells that there is a part for which no steps are known.
	no bool
}

// rewriteOf gives the steps that leave the database as a statement would without
// its hazards, or nil when none are known. It looks at the catalog as it is before
// the statement.
func (l *linter) rewriteOf(p parsed, text string) []Step {
	r := &rewriter{l: l, text: text, origin: p.start - p.origin}
	switch p.node.kind {
	case "AlterTableStmt", "IndexStmt", "ReindexStmt", "DropStmt":
	default:
		return nil
	}
	var err error
	if r.tokens, err = tokens(text); err != nil || len(r.tokens) < 3 {
		return nil
	}
	switch p.node.kind {
	case "AlterTableStmt":
		r.alterTable(decode[alterTable](p.node))
	case "IndexStmt":
		r.index(decode[createIndex](p.node))
	case "ReindexStmt":
		r.reindex(decode[reindex](p.node))
	case "DropStmt":
		r.dropIndex(decode[drop](p.node))
	}
	if r.no {
		return nil
	}
	return r.steps
}

// offer puts the steps to the findings that they answer, if they answer every
// hazard of the statement.
func (e *effects) offer(steps []Step) []Step {
	helps := false
	for _, f := range e.findings {
		known := slices.Contains(covered(), f.Rule)
		if f.Level == Hazard && !known {
			return nil
		}
		helps = helps || known
	}
	if !helps || len(steps) == 0 {
		return nil
	}
	for i, f := range e.findings {
		if slices.Contains(covered(), f.Rule) {
			e.findings[i].Safe = Script(steps)
		}
	}
	return steps
}

// Script writes steps as one text of SQL.
func Script(steps []Step) string {
	var out []string
	for _, s := range steps {
		line := s.SQL + ";"
		switch {
		case s.Batches:
			line += " /* in batches */"
		case s.Alone && len(steps) == 1:
			line += " /* outside of a transaction */"
		}
		out = append(out, line)
	}
	if len(steps) > 1 {
		out = append([]string{"/* each committed before the next */"}, out...)
	}
	return strings.Join(out, " ")
}

func (r *rewriter) add(format string, args ...string) {
	texts := make([]any, len(args))
	for i, a := range args {
		texts[i] = a
	}
	r.steps = append(r.steps, Step{SQL: fmt.Sprintf(format, texts...)})
}

func (r *rewriter) alone(sql string) { r.steps = append(r.steps, Step{SQL: sql, Alone: true}) }

// span is the text from one token to another, the latter left out.
func (r *rewriter) span(list []token) string {
	if len(list) == 0 {
		return ""
	}
	return r.text[list[0].start:list[len(list)-1].end]
}

// index builds an index without keeping writers out.
func (r *rewriter) index(s createIndex) {
	t := r.l.catalog.tables[s.Relation.key()]
	at := position(r.tokens, "INDEX")
	if s.Concurrent || at < 0 {
		r.no = true
		return
	}
	rest := r.tokens[at+1:]
	if s.IfNotExists { // it would take an index that a failed build left for a good one
		rest = rest[3:]
	}
	if t != nil && t.partitioned {
		r.partitionedIndex(s, t, rest)
		return
	}
	r.alone(r.span(r.tokens[:at+1]) + " CONCURRENTLY " + r.span(rest))
}

// partitionedIndex builds an index of one level of partitions: an empty one on the
// parent, one on each partition, which make the parent's valid once all are there.
func (r *rewriter) partitionedIndex(s createIndex, t *table, rest []token) {
	on := position(rest, "ON")
	var columns []string
	for _, n := range s.Params {
		columns = append(columns, decode[indexElem](n).Name)
	}
	// PostgreSQL makes up the names of plain columns alone.
	r.no = r.no || slices.Contains(columns, "")
	if s.Name == "" {
		s.Name = r.free(s.Relation, orName("", s.Relation.key(), columns))
	}
	if r.no || on < 0 || len(t.partitions) == 0 {
		r.no = true
		return
	}
	_, behind := relationEnd(rest[on+1:])
	unique := ""
	if s.Unique {
		unique = "UNIQUE "
	}
	r.add("CREATE %sINDEX %s ON ONLY %s %s", unique, ident(s.Name), s.Relation.sql(), r.span(behind))
	for _, child := range t.partitions {
		if c := r.l.catalog.tables[child]; c == nil || c.partitioned {
			r.no = true
			return
		}
		schema, _, _ := strings.Cut(child, ".")
		name, index := orName("", child, columns), ""
		if index = ident(name); schema != "public" {
			index = ident(schema) + "." + index
		}
		if len(name) > longestName {
			r.no = true
			return
		}
		r.alone(fmt.Sprintf("CREATE %sINDEX CONCURRENTLY %s ON %s %s", unique, ident(name), sqlOf(child), r.span(behind)))
		parent := ident(s.Name)
		if s.Relation.Schema != "" {
			parent = ident(s.Relation.Schema) + "." + parent
		}
		r.add("ALTER INDEX %s ATTACH PARTITION %s", parent, index)
	}
}

// longestName is how many bytes PostgreSQL keeps of a name (NAMEDATALEN - 1).
const longestName = 63

// relationEnd splits tokens behind a relation's name: [ONLY] [schema.]name [*].
func relationEnd(list []token) (name, rest []token) {
	i := 0
	if i < len(list) && list[i].is("ONLY") {
		i++
	}
	for i++; i+1 < len(list) && list[i].text == "."; i += 2 {
	}
	if i < len(list) && list[i].text == "*" {
		i++
	}
	i = min(i, len(list))
	return list[:i], list[i:]
}

// reindex builds indexes again without keeping writers out.
func (r *rewriter) reindex(s reindex) {
	word := map[string]string{"REINDEX_OBJECT_INDEX": "INDEX", "REINDEX_OBJECT_TABLE": "TABLE", "REINDEX_OBJECT_SCHEMA": "SCHEMA"}[s.Kind]
	at := position(r.tokens[1:], word) + 1
	if word == "" || at < 1 || option(s.Params, "concurrently") {
		r.no = true
		return
	}
	r.alone(r.span(r.tokens[:at+1]) + " CONCURRENTLY " + r.span(r.tokens[at+1:]))
}

// dropIndex drops indexes without keeping anybody out.
func (r *rewriter) dropIndex(s drop) {
	at := position(r.tokens, "INDEX")
	if s.Type != "OBJECT_INDEX" || s.Concurrent || s.Behavior == "DROP_CASCADE" || len(s.Objects) != 1 || at < 0 {
		r.no = true
		return
	}
	key := qualified(words(decode[list](s.Objects[0]).Items))
	if t := r.l.catalog.tables[r.l.catalog.indexes[key]]; t != nil && (t.partitioned || t.parent != "") {
		r.no = true // PostgreSQL refuses it
		return
	}
	r.alone(r.span(r.tokens[:at+1]) + " CONCURRENTLY " + r.span(r.tokens[at+1:]))
}
