package lint

import (
	"fmt"
	"maps"
	"slices"
)

// inherited reports the commands that reach the tables that inherit from one:
// ALTER TABLE … ONLY leaves them alone.
func inherited(cmd alterCommand) bool {
	switch cmd.Subtype {
	case "AT_AddColumn", "AT_DropColumn", "AT_AlterColumnType", "AT_SetNotNull", "AT_DropNotNull", "AT_ColumnDefault", "AT_SetStatistics",
		"AT_SetStorage", "AT_SetCompression", "AT_DropExpression", "AT_ValidateConstraint", "AT_DropConstraint":
		return true
	case "AT_AddConstraint":
		c := decode[constraint](cmd.Def)
		return c.Type == "CONSTR_CHECK" && !c.NoInherit
	}
	return false
}

// inherit makes a table one that inherits from another.
func (l *linter) inherit(key, parent string) {
	l.lock(parent, ShareUpdateExclusive)
	if p := l.catalog.tables[parent]; p != nil && !slices.Contains(p.children, key) {
		p.children = append(p.children, key)
		if t := l.catalog.tables[key]; t != nil {
			for name, col := range p.columns {
				if t.columns[name] == nil {
					copied := *col
					t.columns[name] = &copied
				}
			}
		}
	}
}

func (l *linter) disinherit(key, parent string) {
	l.lock(parent, AccessShare)
	if p := l.catalog.tables[parent]; p != nil {
		p.children = slices.DeleteFunc(p.children, func(child string) bool { return child == key })
	}
}

// like copies what CREATE TABLE (LIKE … INCLUDING …) does. The options are those of
// PostgreSQL's TableLikeOption.
func (l *linter) like(t, other *table, options int) {
	const constraints, indexes = 1 << 2, 1 << 6
	for name, col := range other.columns {
		copied := *col
		t.columns[name] = &copied
	}
	if options&constraints != 0 {
		for name, check := range other.checks {
			copied := *check
			t.checks[name] = &copied
		}
	}
	if options&indexes != 0 {
		n := 0
		for _, key := range slices.Sorted(maps.Keys(other.indexes)) {
			copied := *other.indexes[key]
			n++
			index := indexKey(t.key, fmt.Sprintf("%s_like_%d", shown(t.key), n))
			t.indexes[index], l.catalog.indexes[index] = &copied, t.key
		}
	}
}

// checkReferences notes that the foreign keys of a column whose type changes are
// made anew, and looked at if they were valid.
func (l *linter) checkReferences(key, column string) {
	for _, other := range slices.Sorted(maps.Keys(l.catalog.tables)) {
		t := l.catalog.tables[other]
		for constraintName, target := range t.fks {
			r := t.refers[constraintName]
			own := other == key && slices.Contains(r.from, column)
			if !own && (target != key || !slices.Contains(l.catalog.referred(target, r), column)) {
				continue
			}
			l.lock(other, AccessExclusive)
			l.lock(target, AccessExclusive)
			if !t.invalid[constraintName] {
				l.scan(other)
			}
		}
	}
}
