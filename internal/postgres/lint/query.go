package lint

import (
	"slices"
	"strings"
)

// The parts of a query that decide what it reads.
type (
	query struct {
		Relation rangeVar `json:"relation"` // of UPDATE, DELETE, MERGE
		From     []node   `json:"fromClause"`
		Using    []node   `json:"usingClause"`
		Where    node     `json:"whereClause"`
		Limit    node     `json:"limitCount"`
		Sort     []node   `json:"sortClause"`
	}
	join struct {
		Left  node `json:"larg"`
		Right node `json:"rarg"`
	}
	operation struct {
		Kind  string `json:"kind"`
		Name  []node `json:"name"`
		Left  node   `json:"lexpr"`
		Right node   `json:"rexpr"`
	}
	connective struct {
		Op   string `json:"boolop"`
		Args []node `json:"args"`
	}
	sublink struct {
		Test   node `json:"testexpr"`
		Select node `json:"subselect"`
	}
)

// bookkeeping are the tables in which tools count migrations: a row for each.
func bookkeeping() []string {
	return []string{
		"alembic_version", "schema_migrations", "ar_internal_metadata", "django_migrations", "flyway_schema_history", "goose_db_version",
		"schema_version", "databasechangelog", "databasechangeloglock", "knex_migrations", "knex_migrations_lock", "_prisma_migrations", "sequelizemeta",
	}
}

// isSmall reports the tables that are read in no time: those of tools and of the
// system.
func isSmall(key string) bool {
	schema, name, _ := strings.Cut(key, ".")
	return slices.Contains(bookkeeping(), strings.ToLower(name)) || schema == "pg_catalog" || schema == "information_schema" ||
		schema == "public" && strings.HasPrefix(name, "pg_")
}

// queried notes the tables that a statement reads from end to end, as far as its
// text and the indexes that are known tell: those of a SELECT, UPDATE or DELETE
// that does not pick its rows by a key, nor take a few that come first.
func (l *linter) queried(n node) {
	named := map[string]bool{}
	n.each(func(n node) bool {
		if n.kind == "CommonTableExpr" {
			named["public."+decode[struct {
				Name string `json:"ctename"`
			}](n).Name] = true
		}
		return true
	})
	n.each(func(n node) bool {
		q := decode[query](n)
		switch n.kind {
		case "SelectStmt", "UpdateStmt", "DeleteStmt":
			l.scans(n.kind, q, named)
		}
		return true
	})
}

func (l *linter) scans(kind string, q query, named map[string]bool) {
	tables := tablesOf(append(q.From, q.Using...))
	if kind != "SelectStmt" {
		tables = append(tables, q.Relation.key())
	}
	tables = slices.DeleteFunc(tables, func(key string) bool { return named[key] || isSmall(key) })
	if l.picks(q.Where, tables, some) || kind == "SelectStmt" && q.Limit.kind != "" && len(q.Sort) == 0 {
		return
	}
	for _, key := range tables {
		if read := l.catalog.views[key]; len(read) > 0 && l.catalog.tables[key] == nil {
			for _, behind := range read {
				l.scan(behind)
			}
			continue
		}
		for _, k := range l.heirs(key) {
			if t := l.catalog.tables[k]; t == nil || !t.partitioned {
				l.scan(k)
			}
		}
	}
}

// heirs is a table with its partitions and the tables that inherit from it.
func (l *linter) heirs(key string) []string {
	out := append([]string{key}, l.catalog.family(key)...)
	return append(out, l.catalog.heirs(key)...)
}

// tablesOf lists the tables of a FROM clause; subqueries have their own.
func tablesOf(from []node) []string {
	var out []string
	for _, n := range from {
		switch n.kind {
		case "RangeVar":
			out = append(out, decode[rangeVar](n).key())
		case "JoinExpr":
			j := decode[join](n)
			out = append(out, tablesOf([]node{j.Left, j.Right})...)
		}
	}
	return out
}

// selectivity is which indexes count for a condition: any, or those whose first
// column leads to few rows.
type selectivity bool

const (
	some selectivity = false
	few  selectivity = true
)

// picks reports whether a condition picks rows by an index: one side of all that
// must hold is a key that equals something, or lies between two ends.
func (l *linter) picks(where node, tables []string, by selectivity) bool {
	above, below := map[string]bool{}, map[string]bool{}
	for _, n := range conjuncts(where) {
		switch n.kind {
		case "A_Expr":
			o := decode[operation](n)
			column := l.keyColumn(o, tables, by)
			if column == "" {
				continue
			}
			switch last(words(o.Name)) {
			case ">", ">=":
				above[column] = true
			case "<", "<=":
				below[column] = true
			case "=", "BETWEEN":
				return true
			}
			if above[column] && below[column] {
				return true
			}
		case "NullTest":
			t := decode[nullTest](n)
			if t.Type == "IS_NULL" && by == some && l.keyed(t.Arg, tables, by) {
				return true
			}
		case "SubLink":
			s := decode[sublink](n)
			if s.Test.kind != "" && l.keyed(s.Test, tables, by) && limited(s.Select) {
				return true
			}
		case "BoolExpr":
			c := decode[connective](n)
			if c.Op == "OR_EXPR" && !slices.ContainsFunc(c.Args, func(arg node) bool { return !l.picks(arg, tables, by) }) {
				return true
			}
		}
	}
	return false
}

// limited reports a query that gives a number of rows at most.
func limited(n node) bool { return decode[query](n).Limit.kind != "" }

// conjuncts are the conditions that must all hold.
func conjuncts(n node) []node {
	if n.kind == "BoolExpr" {
		if c := decode[connective](n); c.Op == "AND_EXPR" {
			var out []node
			for _, arg := range c.Args {
				out = append(out, conjuncts(arg)...)
			}
			return out
		}
	}
	return []node{n}
}

// keyColumn gives the column that begins an index and is compared with what is no
// column, or "".
func (l *linter) keyColumn(o operation, tables []string, by selectivity) string {
	if o.Kind == "AEXPR_LIKE" || o.Kind == "AEXPR_ILIKE" || o.Kind == "AEXPR_SIMILAR" || len(columnsOf(o.Right)) > 0 && !limitedWithin(o.Right) {
		return ""
	}
	if !l.keyed(o.Left, tables, by) {
		return ""
	}
	return last(words(decode[columnRef](o.Left).Fields))
}

// limitedWithin reports a subquery with a limit: = ANY (ARRAY (SELECT … LIMIT 500)).
func limitedWithin(n node) bool {
	found := false
	n.each(func(n node) bool {
		found = found || n.kind == "SubLink" && limited(decode[sublink](n).Select)
		return !found
	})
	return found
}

// keyed reports a column that is the first of an index of one of the tables. Of a
// table that nobody knows, id is taken to be the key.
func (l *linter) keyed(n node, tables []string, by selectivity) bool {
	if n.kind != "ColumnRef" {
		return false
	}
	column := last(words(decode[columnRef](n).Fields))
	return slices.ContainsFunc(tables, func(key string) bool {
		t := l.catalog.tables[key]
		if t == nil || len(t.columns) == 0 {
			return column == "id" || column == "ctid"
		}
		return column == "ctid" || slices.ContainsFunc(slices.Collect(valuesOf(t.indexes)), func(i *indexInfo) bool {
			return len(i.columns) > 0 && i.columns[0] == column && (i.unique || by == some)
		})
	})
}
