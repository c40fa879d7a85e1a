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
	// invalid are constraints that were added without looking at the rows.
	invalid map[string]bool
	indexes map[string]*indexInfo
	// partitioned has partitions; parent is what it is one of.
	partitioned bool
	parent      string
	partitions  []string
	// partitionKey is the column that it is divided by, if it is a single one.
	partitionKey string
	// fallback is the DEFAULT partition.
	fallback string
	matview  bool
	// created is the file that made it; filled tells that it has put rows in.
	created string
	filled  bool
}

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
		enums: map[string]bool{}, indexes: map[string]string{}, views: map[string][]string{}, triggers: map[string]string{},
	}
}

func newTable(key string) *table {
	return &table{
		key: key, columns: map[string]*column{}, checks: map[string]*checkInfo{}, keys: map[string]string{},
		fks: map[string]string{}, invalid: map[string]bool{}, indexes: map[string]*indexInfo{},
	}
}

// column gives a column, or nil when the table is not known so well.
func (c *catalog) column(tableKey, name string) *column {
	if t := c.tables[tableKey]; t != nil {
		return t.columns[name]
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
	t := c.tables[key]
	if t == nil {
		return nil
	}
	var out []string
	for _, child := range t.partitions {
		out = append(out, child)
		out = append(out, c.family(child)...)
	}
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
	for _, child := range t.partitions {
		c.forget(child)
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
	delete(c.tables, key)
}

// indexOf gives an index and its table.
func (c *catalog) indexOf(key string) (*table, *indexInfo) {
	t := c.tables[c.indexes[key]]
	if t == nil {
		return nil, nil
	}
	return t, t.indexes[key]
}
