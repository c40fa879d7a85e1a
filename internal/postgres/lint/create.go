package lint

import (
	"fmt"
	"slices"
	"strings"
)

func (l *linter) createTable(s createTable) {
	key := s.Relation.key()
	if l.catalog.tables[key] != nil && s.IfNotExists {
		return
	}
	t := newTable(key)
	t.created = l.name
	if t.partitioned = s.Partition != nil; t.partitioned {
		for _, n := range s.Partition.Columns {
			t.by = append(t.by, decode[indexElem](n).Name)
		}
	}
	// Until the table is known, its name is nobody's: what is written inside a
	// CREATE TABLE costs nothing.
	l.catalog.tables[key] = t
	for _, n := range s.Elements {
		switch n.kind {
		case "ColumnDef":
			l.newColumn(t, decode[columnDef](n))
		case "Constraint":
			l.newConstraint(t, decode[constraint](n))
		case "TableLikeClause":
			like := decode[oneRelation](n)
			if other := l.catalog.tables[like.Relation.key()]; other != nil {
				l.like(t, other, like.Options)
			}
		}
	}
	for _, n := range s.Inherits {
		parent := decode[rangeVar](n).key()
		if s.Bound != nil {
			l.newPartition(t, parent, *s.Bound)
			continue
		}
		l.lock(parent, ShareUpdateExclusive)
		l.inherit(key, parent)
	}
}

func (l *linter) newColumn(t *table, def columnDef) {
	col := &column{typ: typeOf(def.Type), collation: last(words(def.Collate.Names))}
	t.columns[def.Name] = col
	l.columnStyle("", def.Name, col.typ)
	for _, n := range def.Constraints {
		c := decode[constraint](n)
		switch c.Type {
		case "CONSTR_NOTNULL":
			col.notNull = true
		case "CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_FOREIGN":
			c.Keys, c.FKColumns = []node{stringNode(def.Name)}, []node{stringNode(def.Name)}
			l.newConstraint(t, c)
		default:
			l.newConstraint(t, c)
		}
	}
	if isSerial(col.typ.name) {
		col.notNull = true
	}
}

func (l *linter) newConstraint(t *table, c constraint) {
	switch c.Type {
	case "CONSTR_CHECK":
		t.checks[name(c.Name, t.key, append(columnsOf(c.Expr), "check")...)] = &checkInfo{columns: columnsOf(c.Expr), notNull: notNullColumn(c.Expr), validated: true}
	case "CONSTR_FOREIGN":
		l.lock(c.Table.key(), ShareRowExclusive)
		t.refer(name(c.Name, t.key, append(words(c.FKColumns), "fkey")...), words(c.FKColumns), c)
	case "CONSTR_PRIMARY", "CONSTR_UNIQUE":
		columns := words(c.Keys)
		constraintName := name(c.Name, t.key, append(slices.Clone(columns), "key")...)
		if c.Type == "CONSTR_PRIMARY" {
			constraintName = name(c.Name, t.key, "pkey")
			for _, column := range columns {
				if col := t.columns[column]; col != nil {
					col.notNull = true
				}
			}
			if len(columns) == 1 && t.columns[columns[0]] != nil && slices.Contains([]string{"int4", "serial", "int2", "smallserial", "serial4", "serial2"}, t.columns[columns[0]].typ.name) {
				l.find("int-key", "", fmt.Sprintf("%s.%s runs out of numbers at 2,147,483,647 at the latest, and changing it then writes the table again", shown(t.key), columns[0]), "bigint")
			}
		}
		t.keys[constraintName] = using(c)
		index := indexKey(t.key, constraintName)
		t.indexes[index] = &indexInfo{columns: columns, valid: true, unique: true}
		l.catalog.indexes[index] = t.key
	}
}

// newPartition makes a table a partition of one that is in use.
func (l *linter) newPartition(t *table, parent string, bound partitionBound) {
	l.lock(parent, AccessExclusive)
	p := l.catalog.tables[parent]
	t.parent = parent
	if p == nil {
		return
	}
	for name, col := range p.columns {
		copied := *col
		t.columns[name] = &copied
	}
	for constraintName, target := range p.fks {
		l.lock(target, ShareRowExclusive)
		t.fks[constraintName], t.refers[constraintName] = target, p.refers[constraintName]
	}
	if p.fallback != "" {
		l.lock(p.fallback, AccessExclusive)
		if !l.fresh(parent) {
			l.scan(p.fallback)
			l.hazard("part-create", parent, fmt.Sprintf("the DEFAULT partition %s is scanned for rows that belong into the new one", shown(p.fallback)),
				"CREATE TABLE … (LIKE …) on its own with a CHECK that matches the bounds, a CHECK on the DEFAULT partition that excludes them (NOT VALID, then VALIDATE), then ATTACH PARTITION")
		}
	}
	p.partitions = append(p.partitions, t.key)
	if bound.IsDefault {
		p.fallback = t.key
	}
}

// attach makes an existing table a partition.
func (l *linter) attach(parent string, cmd partitionCmd) {
	child := cmd.Name.key()
	l.lock(child, AccessExclusive)
	p, t := l.catalog.tables[parent], l.catalog.tables[child]
	if !l.proves(p, t) && !cmd.Bound.IsDefault {
		l.scan(child)
		l.hazard("part-attach", child, fmt.Sprintf("every row of %s is looked at for the bounds, and indexes that it lacks are built", shown(child)),
			fmt.Sprintf("first give %s a CHECK that says the same as the bounds (NOT VALID, then VALIDATE) and the indexes of %s (CONCURRENTLY)", shown(child), shown(parent)))
	}
	if t != nil && p != nil && lacks(t, p) {
		l.build(child)
		l.hazard("part-attach", child, fmt.Sprintf("indexes that %s has and %s lacks are built", shown(parent), shown(child)), "build them first, CONCURRENTLY")
	}
	if p != nil {
		if p.fallback != "" && !cmd.Bound.IsDefault {
			l.lock(p.fallback, AccessExclusive)
			l.scan(p.fallback)
			l.hazard("part-attach", p.fallback, fmt.Sprintf("the DEFAULT partition %s is scanned for rows that belong into %s", shown(p.fallback), shown(child)),
				fmt.Sprintf("first give %s a CHECK that excludes the new bounds (NOT VALID, then VALIDATE)", shown(p.fallback)))
		}
		for _, target := range p.fks {
			l.lock(target, ShareRowExclusive)
		}
		p.partitions = append(p.partitions, child)
		if cmd.Bound.IsDefault {
			p.fallback = child
		}
	}
	if t != nil {
		t.parent = parent
	}
}

// proves reports whether a table's validated CHECKs can show that its rows are
// within the bounds of a partition: they read the columns that the parent is divided
// by, which are never null. Whether they say the same as the bounds is PostgreSQL's
// to find out.
func (l *linter) proves(parent, t *table) bool {
	if t == nil {
		return false
	}
	if parent == nil || len(parent.by) == 0 || slices.Contains(parent.by, "") {
		return slices.ContainsFunc(slices.Collect(checksOf(t)), func(c *checkInfo) bool { return c.validated })
	}
	for _, column := range parent.by {
		col := t.columns[column]
		if (col == nil || !col.notNull) && !t.proves(column) {
			return false
		}
	}
	return slices.ContainsFunc(slices.Collect(checksOf(t)), func(c *checkInfo) bool {
		return c.validated && !slices.ContainsFunc(parent.by, func(column string) bool { return !slices.Contains(c.columns, column) })
	})
}

// lacks reports whether a table has no index like one of its parent's.
func lacks(t, parent *table) bool {
	for _, wanted := range parent.indexes {
		if !slices.ContainsFunc(slices.Collect(valuesOf(t.indexes)), func(i *indexInfo) bool {
			return slices.Equal(i.columns, wanted.columns) && (i.unique || !wanted.unique)
		}) {
			return true
		}
	}
	return false
}

func checksOf(t *table) func(func(*checkInfo) bool) {
	return func(yield func(*checkInfo) bool) {
		for _, c := range t.checks {
			if !yield(c) {
				return
			}
		}
	}
}

func (l *linter) detach(parent string, cmd partitionCmd) {
	child := cmd.Name.key()
	p := l.catalog.tables[parent]
	switch {
	case cmd.Concurrent && p != nil && p.fallback != "":
		l.find("part-detach-default", parent, "PostgreSQL refuses to detach a partition concurrently from a table with a DEFAULT partition", "DETACH PARTITION without CONCURRENTLY, with a short lock_timeout")
	case cmd.Concurrent:
		l.lock(child, AccessExclusive)
		l.outsideTransaction("DETACH PARTITION CONCURRENTLY")
	default:
		l.lock(child, AccessExclusive)
		if p != nil && p.fallback != "" {
			l.lock(p.fallback, AccessExclusive)
		}
		l.find("part-detach", parent, "reads and writes of the whole table wait for a moment", "DETACH PARTITION … CONCURRENTLY, from PostgreSQL 14 on, or a short lock_timeout")
	}
	if p != nil {
		p.partitions = slices.DeleteFunc(p.partitions, func(k string) bool { return k == child })
		if p.fallback == child {
			p.fallback = ""
		}
	}
	if t := l.catalog.tables[child]; t != nil {
		t.parent = ""
	}
}

func (l *linter) createIndex(s createIndex) {
	key := s.Relation.key()
	t := l.catalog.tables[key]
	table := shown(key)
	var columns []string
	for _, n := range s.Params {
		columns = append(columns, decode[indexElem](n).Name)
	}
	partitioned := t != nil && t.partitioned
	if _, there := l.catalog.indexes[indexKey(key, s.Name)]; there && s.IfNotExists {
		l.lock(key, Share)
		return
	}
	switch {
	case s.Concurrent && partitioned:
		l.find("idx-conc-partitioned", key, "PostgreSQL refuses to build an index concurrently on a partitioned table", partitionSteps(table))
	case s.Concurrent:
		l.lock(key, ShareUpdateExclusive)
		l.build(key)
		l.concurrently(key, s)
	case partitioned && !s.Relation.Inh:
		l.lock(key, Share) // only the parent's entry in the catalog
	case partitioned:
		l.lock(key, Share)
		for _, child := range l.catalog.family(key) {
			l.lock(child, Share)
			l.build(child)
		}
		if len(l.now.build) > 0 {
			l.hazard("idx-create-partitioned", key, "an index is built on every partition", partitionSteps(table))
		}
	default:
		l.lock(key, Share)
		l.build(key)
		rule := "idx-create"
		if line := l.exclusiveSince(key); line > 0 {
			rule = "idx-in-ddl-tx"
		}
		l.hazard(rule, key, "the index is built while the table cannot be written", fmt.Sprintf(
			"CREATE %sINDEX CONCURRENTLY … ON %s (%s); alone, outside of a transaction; then look whether pg_index.indisvalid is true", unique(s), table, strings.Join(columns, ", ")))
	}
	index := indexKey(key, orName(s.Name, key, columns))
	if t != nil {
		t.indexes[index] = &indexInfo{columns: columns, valid: true, unique: s.Unique}
		l.catalog.indexes[index] = key
	}
}

func unique(s createIndex) string {
	if s.Unique {
		return "UNIQUE "
	}
	return ""
}

func orName(given, key string, columns []string) string {
	return name(given, key, append(slices.Clone(columns), "idx")...)
}

func partitionSteps(table string) string {
	return fmt.Sprintf("CREATE INDEX … ON ONLY %s; CREATE INDEX CONCURRENTLY on each partition; ALTER INDEX … ATTACH PARTITION each of them", table)
}

// concurrently says what goes wrong with CREATE INDEX CONCURRENTLY.
func (l *linter) concurrently(key string, s createIndex) {
	l.outsideTransaction("CREATE INDEX CONCURRENTLY")
	if s.IfNotExists {
		l.find("idx-conc-ifnotexists", key, "after a build that failed, the index that it left behind is not valid, and IF NOT EXISTS takes it for done",
			"DROP INDEX CONCURRENTLY IF EXISTS first; look at pg_index.indisvalid afterwards")
	}
	if l.session.lockTimeout {
		l.find("idx-conc-lock-timeout", key, "the build waits for every older transaction; with a short lock_timeout it is given up and leaves an index that is not valid",
			"SET lock_timeout = 0 (or minutes) for this statement only")
	}
	if l.opts.Version == 14 {
		l.find("idx-corruption-14", key, "PostgreSQL 14.0 to 14.3 can build a corrupt index this way", "be on 14.4 or later")
	}
}

// outsideTransaction notes a statement that PostgreSQL refuses within one.
func (l *linter) outsideTransaction(what string) {
	if l.session.open {
		l.find("idx-conc-in-tx", "", what+" is refused inside a transaction", "put it alone into a file that the tool runs without a transaction")
	}
}

// columnStyle says what a type of a column is known for.
func (l *linter) columnStyle(key, column string, typ sqlType) {
	switch typ.name {
	case "json":
		l.find("json-column", key, fmt.Sprintf("json values of %s cannot be compared: SELECT DISTINCT and UNION over the row fail", column), "jsonb")
	case "bpchar":
		if len(typ.mods) > 0 {
			l.find("char-column", key, fmt.Sprintf("%s is filled up with spaces", column), "text, with a CHECK on its length where that matters")
		}
	case "money":
		l.find("money-column", key, fmt.Sprintf("the meaning of %s depends on the server's lc_monetary", column), "numeric")
	}
	const longest = 63 // bytes of a name, NAMEDATALEN - 1
	if len(column) > longest {
		l.find("long-name", key, fmt.Sprintf("the name %s is cut at %d bytes", column, longest), "a shorter name")
	}
}
