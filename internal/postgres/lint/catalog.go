package lint

import (
	"maps"
	"slices"
	"strings"
)

// catalog is what is known of the database before a statement: from the schema
// given, and from the statements before. A table that it does not know exists,
// has rows, and everything that could hold of it may hold.
type catalog struct {
	tables    map[string]*table
	domains   map[string]*domainInfo
	functions map[string]funcInfo
	enums     map[string]bool
	indexes   map[string]string // index to table
	// views are the tables that a view or materialized view reads; triggers the
	// functions of tables.
	views    map[string][]string
	triggers map[string]string
	// made are the views that a file made, by its name.
	made map[string]string
	// was are the names that tables had which were there before.
	was map[string]bool
}

// table is a table, a partition or a materialized view.
type table struct {
	key     string
	columns map[string]*column
	checks  map[string]*checkInfo
	// keys are primary keys, unique and exclusion constraints by name; fks foreign
	// keys to the table that they refer to.
	keys map[string]string
	fks  map[string]string
	// refers are the foreign keys' own columns and those that they refer to.
	refers map[string]reference
	// invalid are constraints that were added without looking at the rows.
	invalid map[string]bool
	indexes map[string]*indexInfo
	// partitioned has partitions; parent is what it is one of.
	partitioned bool
	parent      string
	partitions  []string
	// by are the columns that a partitioned table is divided by.
	by []string
	// children are the tables that inherit from it.
	children []string
	// fallback is the DEFAULT partition.
	fallback string
	matview  bool
	// created is the file that made it; filled tells that it has put rows in.
	created string
	filled  bool
}

// reference is a foreign key's columns: its own, and those of the other table, none
// for the primary key.
type reference struct{ from, to []string }

type column struct {
	typ       sqlType
	notNull   bool
	collation string
}

type checkInfo struct {
	columns   []string
	notNull   string // the column that it proves not to be null
	validated bool
	isNull    string
}

type indexInfo struct {
	columns []string
	valid   bool
	unique  bool
}

type domainInfo struct {
	base        sqlType
	constrained bool
}

type funcInfo struct {
	volatility string // i, s or v
	body       node   // of a function in SQL: the expression that it is
}

func newCatalog() *catalog {
	return &catalog{
		tables: map[string]*table{}, domains: map[string]*domainInfo{}, functions: map[string]funcInfo{},
		enums: map[string]bool{}, indexes: map[string]string{}, views: map[string][]string{}, triggers: map[string]string{}, was: map[string]bool{}, made: map[string]string{},
	}
}

func newTable(key string) *table {
	return &table{
		key: key, columns: map[string]*column{}, checks: map[string]*checkInfo{}, keys: map[string]string{},
		fks: map[string]string{}, refers: map[string]reference{}, invalid: map[string]bool{}, indexes: map[string]*indexInfo{},
	}
}

// column gives a column, or nil when the table is not known so well.
func (c *catalog) column(tableKey, name string) *column {
	if t := c.tables[tableKey]; t != nil {
		return t.columns[name]
	}
	return nil
}

// domainOf gives the domain that a type is, or nil.
func (c *catalog) domainOf(typ sqlType) *domainInfo {
	return c.domains[qualified(strings.Split(typ.name, "."))]
}

// refer notes a foreign key.
func (t *table) refer(name string, columns []string, c constraint) {
	t.fks[name] = c.Table.key()
	t.refers[name] = reference{columns, words(c.PKColumns)}
}

// referred lists the columns of a table that a foreign key refers to.
func (c *catalog) referred(target string, r reference) []string {
	t := c.tables[target]
	if len(r.to) > 0 || t == nil {
		return r.to
	}
	for name, kind := range t.keys {
		if kind == "primary" {
			if index := t.indexes[indexKey(target, name)]; index != nil {
				return index.columns
			}
		}
	}
	return nil
}

// usersOf lists the tables with a column of a domain.
func (c *catalog) usersOf(domainKey string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(c.tables)) {
		for _, col := range c.tables[key].columns {
			if qualified(strings.Split(col.typ.name, ".")) == domainKey {
				out = append(out, key)
				break
			}
		}
	}
	return out
}

// family lists a partitioned table's partitions, theirs included.
func (c *catalog) family(key string) []string {
	return c.below(key, func(t *table) []string { return t.partitions })
}

// heirs lists the tables that inherit from one, and from those.
func (c *catalog) heirs(key string) []string {
	return c.below(key, func(t *table) []string { return t.children })
}

// below lists what hangs below a table, each once: a text can also say what
// PostgreSQL refuses, a table that is a part of itself.
func (c *catalog) below(key string, next func(*table) []string) []string {
	var out []string
	seen := map[string]bool{key: true}
	var visit func(key string)
	visit = func(key string) {
		t := c.tables[key]
		if t == nil {
			return
		}
		for _, child := range next(t) {
			if !seen[child] {
				seen[child] = true
				out = append(out, child)
				visit(child)
			}
		}
	}
	visit(key)
	return out
}

// referencing lists the tables with a foreign key to one, itself left out.
func (c *catalog) referencing(key string) []string {
	var out []string
	for _, other := range slices.Sorted(maps.Keys(c.tables)) {
		if other == key {
			continue
		}
		for _, to := range c.tables[other].fks {
			if to == key {
				out = append(out, other)
				break
			}
		}
	}
	return out
}

// proves reports whether a validated CHECK shows that a column is never null.
func (t *table) proves(column string) bool {
	for _, c := range t.checks {
		if c.validated && c.notNull == column {
			return true
		}
	}
	return false
}

// forget drops a table and what hangs on it.
func (c *catalog) forget(key string) {
	t := c.tables[key]
	if t == nil {
		return
	}
	delete(c.tables, key) // first: a text can make it a part of itself
	for _, child := range t.partitions {
		c.forget(child)
	}
	for _, other := range c.tables {
		other.children = slices.DeleteFunc(other.children, func(child string) bool { return child == key })
	}
	if parent := c.tables[t.parent]; parent != nil {
		parent.partitions = slices.DeleteFunc(parent.partitions, func(p string) bool { return p == key })
		if parent.fallback == key {
			parent.fallback = ""
		}
	}
	for name := range t.indexes {
		delete(c.indexes, name)
	}
}

// indexOf gives an index and its table.
func (c *catalog) indexOf(key string) (*table, *indexInfo) {
	t := c.tables[c.indexes[key]]
	if t == nil {
		return nil, nil
	}
	return t, t.indexes[key]
}
