package lint

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// stringNode is a name as the parser writes it.
func stringNode(value string) node {
	raw, err := json.Marshal(map[string]string{"sval": value})
	if err != nil { // a text always encodes
		return node{}
	}
	return node{"String", raw}
}

// name gives a constraint's name, or the one that PostgreSQL makes up.
func name(given, tableKey string, parts ...string) string {
	if given != "" {
		return given
	}
	_, table, _ := strings.Cut(tableKey, ".")
	return strings.Join(append([]string{table}, parts...), "_")
}

func (l *linter) addConstraint(key string, c constraint) {
	table := shown(key)
	switch c.Type {
	case "CONSTR_CHECK":
		l.addCheck(key, c)
	case "CONSTR_NOTNULL": // from PostgreSQL 18 on
		for _, column := range words(c.Keys) {
			if !c.SkipValidation {
				l.setNotNull(key, column)
			}
		}
	case "CONSTR_FOREIGN":
		l.addForeignKey(key, c)
	case "CONSTR_PRIMARY", "CONSTR_UNIQUE":
		l.addKey(key, c)
	case "CONSTR_EXCLUSION":
		l.build(key)
		l.hazard("excl-add", key, "an index is built to check that no two rows exclude each other", fmt.Sprintf(
			"there is no way to do that in place: make a new table with the constraint, copy %s in batches with the writes going to both, then switch", table))
		if t := l.catalog.tables[key]; t != nil {
			t.keys[name(c.Name, key, "excl")] = "exclusion"
		}
	}
}

func (l *linter) addCheck(key string, c constraint) {
	table := shown(key)
	constraintName := name(c.Name, key, append(columnsOf(c.Expr), "check")...)
	if !c.SkipValidation {
		for _, k := range l.heirs(key) {
			if t := l.catalog.tables[k]; k == key || !c.NoInherit || t == nil {
				l.scan(k)
			}
		}
		l.hazard("check-add", key, fmt.Sprintf("every row is looked at for the condition of %s", constraintName), fmt.Sprintf(
			"ALTER TABLE %s ADD CONSTRAINT %s CHECK (…) NOT VALID; and, in a transaction of its own, ALTER TABLE %s VALIDATE CONSTRAINT %s", table, constraintName, table, constraintName))
	} else {
		l.unvalidated(key, constraintName)
	}
	if t := l.catalog.tables[key]; t != nil {
		t.checks[constraintName] = &checkInfo{columns: columnsOf(c.Expr), notNull: notNullColumn(c.Expr), validated: !c.SkipValidation}
		t.invalid[constraintName] = c.SkipValidation
	}
}

func (l *linter) unvalidated(key, constraintName string) {
	if l.session.open && l.session.unvalidated != nil {
		l.session.unvalidated[key+"|"+constraintName] = l.now.line
	}
}

func (l *linter) addForeignKey(key string, c constraint) {
	table, target := shown(key), c.Table.key()
	l.lock(target, ShareRowExclusive)
	constraintName := name(c.Name, key, append(words(c.FKColumns), "fkey")...)
	t := l.catalog.tables[key]
	if c.SkipValidation {
		l.unvalidated(key, constraintName)
	} else {
		l.scan(key)
		if !l.fresh(key) {
			l.scan(target)
		}
		if l.ours(key) && !l.fresh(key) {
			l.hazard("fk-add", target, fmt.Sprintf("every row of %s is looked up in it", table), "make the foreign key before the rows are put in, or NOT VALID and VALIDATE it in a transaction of its own")
		}
		l.hazard("fk-add", key, fmt.Sprintf("every row is looked up in %s", shown(target)), fmt.Sprintf(
			"ALTER TABLE %s ADD CONSTRAINT %s FOREIGN KEY (…) REFERENCES %s NOT VALID; and, in a transaction of its own, ALTER TABLE %s VALIDATE CONSTRAINT %s",
			table, constraintName, shown(target), table, constraintName))
	}
	l.fkStyle(key, words(c.FKColumns), c)
	if t != nil {
		t.refer(constraintName, words(c.FKColumns), c)
		t.invalid[constraintName] = c.SkipValidation
	}
}

// fkStyle says what a foreign key lacks.
func (l *linter) fkStyle(key string, columns []string, c constraint) {
	t := l.catalog.tables[key]
	if t == nil || len(columns) == 0 {
		return
	}
	if !slices.ContainsFunc(slices.Collect(valuesOf(t.indexes)), func(i *indexInfo) bool {
		return len(i.columns) >= len(columns) && sameSet(i.columns[:len(columns)], columns)
	}) {
		l.find("fk-no-index", key, fmt.Sprintf("no index begins with %s: each delete in %s scans the whole table", strings.Join(columns, ", "), shown(c.Table.key())),
			fmt.Sprintf("CREATE INDEX CONCURRENTLY ON %s (%s)", shown(key), strings.Join(columns, ", ")))
	}
	others := words(c.PKColumns)
	for i, column := range columns {
		if i >= len(others) {
			break
		}
		ours, theirs := l.catalog.column(key, column), l.catalog.column(c.Table.key(), others[i])
		if ours != nil && theirs != nil && ours.typ.name != theirs.typ.name && !isSerial(theirs.typ.name) {
			l.find("fk-type-mismatch", key, fmt.Sprintf("%s is %s and refers to a %s", column, ours.typ, theirs.typ), "give both the same type")
		}
	}
}

func valuesOf(m map[string]*indexInfo) func(func(*indexInfo) bool) {
	return func(yield func(*indexInfo) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func sameSet(a, b []string) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return len(a) == len(b)
}

// addKey adds a primary key or a unique constraint.
func (l *linter) addKey(key string, c constraint) {
	table, t := shown(key), l.catalog.tables[key]
	primary := c.Type == "CONSTR_PRIMARY"
	columns := words(c.Keys)
	unknown := false
	if c.Index != "" {
		_, index := l.catalog.indexOf(indexKey(key, c.Index))
		if unknown = index == nil; !unknown {
			columns = index.columns
		}
	}
	suffix := map[bool]string{true: "pkey", false: "key"}[primary]
	constraintName := name(c.Name, key, suffix)
	if !primary && c.Name == "" {
		constraintName = name("", key, append(slices.Clone(columns), suffix)...)
	}
	var nullable []string
	for _, column := range columns {
		if col := l.catalog.column(key, column); (col == nil || !col.notNull) && (t == nil || !t.proves(column)) {
			nullable = append(nullable, column)
		}
	}
	switch {
	case c.Index == "":
		for _, k := range append([]string{key}, l.catalog.family(key)...) {
			l.build(k)
		}
		rule, using := "uq-add", "UNIQUE"
		if primary {
			rule, using = "pk-add", "PRIMARY KEY"
		}
		l.hazard(rule, key, fmt.Sprintf("an index is built for %s", constraintName), fmt.Sprintf(
			"CREATE UNIQUE INDEX CONCURRENTLY %s_idx ON %s (%s); then ALTER TABLE %s ADD CONSTRAINT %s %s USING INDEX %s_idx",
			constraintName, table, strings.Join(columns, ", "), table, constraintName, using, constraintName))
	case primary && (len(nullable) > 0 || unknown):
		l.scan(key)
		l.hazard("pk-using-index-nullable", key, fmt.Sprintf("every row is looked at for a null in %s", orDefault(strings.Join(nullable, ", "), "its columns, unless they are NOT NULL already")),
			"make the columns NOT NULL first, through a validated CHECK (… IS NOT NULL)")
	}
	if t == nil {
		return
	}
	t.keys[constraintName] = using(c)
	index := indexKey(key, constraintName)
	t.indexes[index] = &indexInfo{columns: columns, valid: true, unique: true}
	l.catalog.indexes[index] = key
	if primary {
		for _, column := range columns {
			if col := t.columns[column]; col != nil {
				col.notNull = true
			}
		}
	}
}

func using(c constraint) string {
	if c.Type == "CONSTR_PRIMARY" {
		return "primary"
	}
	return "unique"
}

// indexKey is an index's key: it lives in its table's schema.
func indexKey(tableKey, index string) string {
	schema, _, _ := strings.Cut(tableKey, ".")
	return schema + "." + index
}

// validate scans under a lock that keeps nobody out, unless the transaction holds
// a stronger one.
func (l *linter) validate(key, constraintName string) {
	t := l.catalog.tables[key]
	for _, k := range l.heirs(key) {
		l.scan(k)
	}
	if mode := l.now.locks[key]; mode >= Share {
		l.find("validate-same-tx", key, fmt.Sprintf("every row is looked at under the lock of the statement's other commands; %s wait until it is done (%s)", mode.blocks(), mode),
			"VALIDATE it in a statement and a transaction of its own")
	}
	if t != nil {
		if target := t.fks[constraintName]; target != "" {
			l.lock(target, RowShare)
		}
		if c := t.checks[constraintName]; c != nil {
			c.validated = true
		}
		delete(t.invalid, constraintName)
	}
	if line, same := l.session.unvalidated[key+"|"+constraintName]; same {
		l.find("validate-same-tx", key, fmt.Sprintf("every row is looked at while the transaction still holds the lock of line %d", line),
			"VALIDATE it in a transaction of its own")
	}
}

func (l *linter) dropConstraint(key string, cmd alterCommand) {
	t := l.catalog.tables[key]
	l.find("drop-constraint", key, fmt.Sprintf("constraint %s protects the data no more", cmd.Name), "drop it when no code relies on it")
	if t == nil {
		return
	}
	if target := t.fks[cmd.Name]; target != "" {
		l.lock(target, AccessExclusive)
		l.find("drop-referencing", key, fmt.Sprintf("%s is locked too, against reads as well, because the foreign key refers to it", shown(target)),
			"SET lock_timeout first, and one such statement for each transaction")
	}
	if cmd.Behavior == "DROP_CASCADE" && t.keys[cmd.Name] != "" {
		for _, other := range l.catalog.referencing(key) {
			l.lock(other, AccessExclusive)
		}
	}
	delete(t.fks, cmd.Name)
	delete(t.checks, cmd.Name)
	delete(t.keys, cmd.Name)
	delete(t.indexes, indexKey(key, cmd.Name))
}
