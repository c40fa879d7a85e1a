package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (l *linter) drop(s drop) {
	what := map[string]string{"OBJECT_TABLE": "table", "OBJECT_VIEW": "view", "OBJECT_MATVIEW": "materialized view", "OBJECT_SCHEMA": "schema", "OBJECT_TYPE": "type", "OBJECT_DOMAIN": "domain"}[s.Type]
	for _, n := range s.Objects {
		parts := words(decode[list](n).Items)
		if n.kind == "String" {
			parts = []string{decode[text](n).Value}
		}
		if n.kind == "ObjectWithArgs" {
			parts = words(decode[struct {
				Name []node `json:"objname"`
			}](n).Name)
		}
		if n.kind == "TypeName" {
			parts = words(decode[typeName](n).Names)
		}
		key := qualified(parts)
		switch s.Type {
		case "OBJECT_TABLE", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE":
			l.dropTable(key, s, what)
		case "OBJECT_INDEX":
			l.dropIndex(key, s)
		case "OBJECT_VIEW":
			l.lock(key, AccessExclusive)
			l.find("drop-view", key, fmt.Sprintf("code that still reads view %s fails", shown(key)), "stop using it in a release first")
			delete(l.catalog.views, key)
			delete(l.catalog.made, key)
		case "OBJECT_SEQUENCE":
			l.lock(key, AccessExclusive)
		case "OBJECT_SCHEMA":
			for _, key := range slices.Sorted(maps.Keys(l.catalog.tables)) {
				if strings.HasPrefix(key, parts[0]+".") {
					l.lock(key, AccessExclusive)
				}
			}
			l.find("drop-schema", "", fmt.Sprintf("schema %s and what is in it are gone", strings.Join(parts, ".")), "rename it first, drop it when nobody has missed it")
		case "OBJECT_TYPE", "OBJECT_DOMAIN":
			l.find("drop-type", "", fmt.Sprintf("code that still uses %s %s fails", what, shown(key)), "stop using it in a release first")
			if s.Behavior == "DROP_CASCADE" {
				for _, user := range l.catalog.usersOf(key) {
					l.lock(user, AccessExclusive)
				}
			}
		case "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE":
			if len(parts) > 1 {
				l.lock(qualified(parts[:len(parts)-1]), AccessExclusive)
				l.find("trigger", qualified(parts[:len(parts)-1]), "reads and writes wait for a moment", "SET lock_timeout first")
			}
		case "OBJECT_FUNCTION", "OBJECT_PROCEDURE":
			if s.Behavior == "DROP_CASCADE" {
				for table, function := range l.catalog.triggers {
					if function == key {
						l.lock(table, AccessExclusive)
					}
				}
				l.find("drop-function-cascade", "", "CASCADE drops the triggers and defaults that use it, and locks their tables", "drop what uses it one by one, without CASCADE")
			}
		}
	}
}

func (l *linter) dropTable(key string, s drop, what string) {
	if s.MissingOK && l.known && l.catalog.tables[key] == nil {
		return
	}
	l.lock(key, AccessExclusive)
	for _, child := range l.catalog.family(key) {
		l.lock(child, AccessExclusive)
	}
	message := fmt.Sprintf("%s %s and what is in it are gone; code that still names it fails", what, shown(key))
	if s.Behavior == "DROP_CASCADE" {
		message += "; CASCADE drops views and foreign keys too, without naming them first"
	}
	l.find("drop-table", key, message, "rename it in a release, drop it in a later one; keep a dump of it")
	t := l.catalog.tables[key]
	if t == nil {
		return
	}
	for _, target := range t.fks {
		if target != key {
			l.lock(target, AccessExclusive)
			l.find("drop-referencing", key, fmt.Sprintf("%s is locked too, against reads as well, because a foreign key refers to it", shown(target)),
				"drop the foreign key first, in a transaction of its own, with a short lock_timeout")
		}
	}
	for _, other := range l.catalog.referencing(key) {
		if s.Behavior == "DROP_CASCADE" {
			l.lock(other, AccessExclusive)
		}
	}
	if p := l.catalog.tables[t.parent]; p != nil {
		l.lock(t.parent, AccessExclusive)
		l.lock(p.fallback, AccessExclusive)
	}
	for view, reads := range l.catalog.views {
		if s.Behavior == "DROP_CASCADE" && slices.Contains(reads, key) {
			l.lock(view, AccessExclusive)
		}
	}
	l.catalog.forget(key)
}

func (l *linter) dropIndex(key string, s drop) {
	tableKey := l.catalog.indexes[key]
	if s.MissingOK && l.known && tableKey == "" {
		return
	}
	if !s.Concurrent {
		for _, child := range l.catalog.family(tableKey) {
			l.lock(child, AccessExclusive)
		}
	}
	if s.Concurrent {
		l.lock(tableKey, ShareUpdateExclusive)
		l.lock(key, ShareUpdateExclusive)
		l.outsideTransaction("DROP INDEX CONCURRENTLY")
	} else {
		l.lock(tableKey, AccessExclusive)
		if tableKey == "" || !l.fresh(tableKey) {
			l.lock(key, AccessExclusive)
		}
		if tableKey == "" || !l.fresh(tableKey) {
			l.find("idx-drop", key, "reads and writes of the table wait for a moment, and longer if something holds it", "DROP INDEX CONCURRENTLY, outside of a transaction")
		}
	}
	if t := l.catalog.tables[tableKey]; t != nil {
		delete(t.indexes, key)
	}
	delete(l.catalog.indexes, key)
}

func (l *linter) rename(s rename) {
	key := s.Relation.key()
	switch s.Type {
	case "OBJECT_TABLE", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE":
		l.lock(key, AccessExclusive)
		l.find("rename-table", key, "code that still uses the old name fails at once", "make the new name a view of the table first, switch the code, rename later")
		l.move(key, strings.SplitN(key, ".", 2)[0]+"."+s.New)
	case "OBJECT_VIEW":
		l.lock(key, AccessExclusive)
		l.find("rename-view", key, "code that still uses the old name fails at once", "make another view with the new name, drop the old one later")
	case "OBJECT_COLUMN":
		l.lock(key, AccessExclusive)
		for _, child := range l.heirs(key) {
			l.lock(child, AccessExclusive)
		}
		l.find("rename-column", key, fmt.Sprintf("code that still uses %s fails at once", s.Sub), addAndFill(key, s.New))
		if t := l.catalog.tables[key]; t != nil && t.columns[s.Sub] != nil {
			t.columns[s.New] = t.columns[s.Sub]
			delete(t.columns, s.Sub)
		}
	case "OBJECT_SCHEMA":
		l.find("rename-schema", "", "code that still uses the old name fails at once", "add the new schema to the search_path of the roles first")
	case "OBJECT_INDEX":
		l.lock(key, ShareUpdateExclusive)
	case "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE":
		l.lock(key, AccessExclusive)
	case "OBJECT_TYPE", "OBJECT_DOMAIN":
		l.find("drop-type", "", "code that still uses the old name fails", "make another type with the new name")
		l.renameType(words(decode[list](s.Object).Items), s.New)
	}
}

// move gives a table another key.
func (l *linter) move(from, to string) {
	t := l.catalog.tables[from]
	if t == nil {
		return
	}
	delete(l.catalog.tables, from)
	l.now.moved = map[string]string{from: to}
	if lock, had := l.session.held[from]; had {
		delete(l.session.held, from)
		l.session.held[to] = lock
	}
	t.key, l.catalog.tables[to] = to, t
	if l.catalog.was[to] {
		t.created = "" // it takes the place of one that is in use
	}
	if t.created == "" {
		l.catalog.was[from] = true
	}
	for index := range t.indexes {
		l.catalog.indexes[index] = to
	}
	for _, other := range l.catalog.tables {
		other.renamed(from, to)
	}
}

// renamed puts a table's new name where a table has its old one.
func (t *table) renamed(from, to string) {
	for name, target := range t.fks {
		if target == from {
			t.fks[name] = to
		}
	}
	for _, list := range [][]string{t.partitions, t.children} {
		for i := range list {
			if list[i] == from {
				list[i] = to
			}
		}
	}
	if t.parent == from {
		t.parent = to
	}
	if t.fallback == from {
		t.fallback = to
	}
}

// renameType gives a type another name where columns have it.
func (l *linter) renameType(parts []string, to string) {
	if len(parts) == 0 {
		return
	}
	from := qualified(parts)
	schema, _, _ := strings.Cut(from, ".")
	for _, t := range l.catalog.tables {
		for _, c := range t.columns {
			if qualified(strings.Split(c.typ.name, ".")) == from {
				c.typ.name = shown(schema + "." + to)
			}
		}
	}
	if d := l.catalog.domains[from]; d != nil {
		delete(l.catalog.domains, from)
		l.catalog.domains[schema+"."+to] = d
	}
}

func (l *linter) setSchema(n node) {
	s := decode[struct {
		Type     string   `json:"objectType"`
		Relation rangeVar `json:"relation"`
		New      string   `json:"newschema"`
	}](n)
	if s.Relation.Name == "" {
		return
	}
	key := s.Relation.key()
	l.lock(key, AccessExclusive)
	for _, child := range l.catalog.family(key) {
		l.lock(child, AccessExclusive)
	}
	l.find("set-schema", key, "code that finds it in the old schema fails at once", "leave a view in the old schema")
	l.move(key, s.New+"."+s.Relation.Name)
}
