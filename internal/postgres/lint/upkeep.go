package lint

import (
	"fmt"
	"strings"
)

// option reports whether a utility statement carries an option that is on.
func option(options []node, name string) bool {
	for _, n := range options {
		o := decode[defElem](n)
		if !strings.EqualFold(o.Name, name) {
			continue
		}
		switch o.Arg.kind {
		case "":
			return true
		case "String":
			value := strings.ToLower(decode[text](o.Arg).Value)
			return value != "off" && value != "false"
		case "Boolean":
			return decode[struct {
				Value bool `json:"boolval"`
			}](o.Arg).Value
		case "Integer":
			return decode[struct {
				Value int `json:"ival"`
			}](o.Arg).Value != 0
		}
	}
	return false
}

func (l *linter) reindex(s reindex) {
	concurrently := option(s.Params, "concurrently")
	key := s.Relation.key()
	indexed, table := "", key
	if s.Kind == "REINDEX_OBJECT_INDEX" {
		indexed, table = key, l.catalog.indexes[key]
	}
	if s.Kind != "REINDEX_OBJECT_INDEX" && s.Kind != "REINDEX_OBJECT_TABLE" {
		key, table = "", ""
	}
	if concurrently {
		if table != "" {
			l.lock(table, ShareUpdateExclusive)
			l.build(table)
		}
		l.outsideTransaction("REINDEX CONCURRENTLY")
		return
	}
	if table != "" {
		l.lock(table, Share)
		l.build(table)
	}
	if indexed != "" {
		l.lock(indexed, AccessExclusive)
		l.build(indexed)
	}
	if table != "" && l.ours(table) {
		return
	}
	where := orDefault(table, indexed)
	l.hazard("idx-reindex", where, "the indexes are built again while the table cannot be written; reads that need them wait too", "REINDEX … CONCURRENTLY, outside of a transaction")
}

func orDefault(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// maintenance notes the statements that work on whole tables.
func (l *linter) maintenance(n node) {
	switch n.kind {
	case "ClusterStmt":
		s := decode[oneRelation](n)
		if s.Relation.Name == "" {
			l.find("cluster", "", "every clustered table is written again while nobody can read it", "pg_repack, or a window")
			return
		}
		l.lock(s.Relation.key(), AccessExclusive)
		l.rewriting("cluster", s.Relation.key(), "the whole table is written again in the order of the index", "pg_repack, or a window")
	case "RefreshMatViewStmt":
		l.refresh(decode[oneRelation](n))
	case "TruncateStmt":
		l.truncate(decode[relations](n))
	case "VacuumStmt":
		l.vacuum(decode[vacuum](n))
	case "LockStmt":
		s := decode[relations](n)
		for _, r := range s.Relations {
			key := decode[rangeVar](r).key()
			l.lock(key, Mode(s.Mode))
			if Mode(s.Mode) >= Share {
				l.find("lock-table", key, fmt.Sprintf("%s wait until the transaction is over", Mode(s.Mode).blocks()), "a weaker mode, a short lock_timeout, and nothing slow behind it")
			}
		}
	}
}

func (l *linter) refresh(s oneRelation) {
	key := s.Relation.key()
	t := l.catalog.tables[key]
	if t != nil && t.matview && l.ours(key) {
		t.filled = !s.SkipData
		for _, read := range l.catalog.views[key] {
			l.scan(read)
		}
		return
	}
	if s.Concurrent {
		l.lock(key, Exclusive)
	} else {
		l.lock(key, AccessExclusive)
	}
	if s.SkipData {
		return // it is emptied
	}
	l.rewrite(key)
	if s.Concurrent {
		l.hazard("refresh-mv", key, "the query runs while nobody else can refresh or change the view; reads go on", "at a quiet hour")
		return
	}
	l.hazard("refresh-mv", key, "the query runs while nobody can read the view", "REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index")
}

func (l *linter) truncate(s relations) {
	for _, n := range s.Relations {
		key := decode[rangeVar](n).key()
		l.lock(key, AccessExclusive)
		l.find("truncate", key, "every row is gone", "keep a copy, or delete in batches what is not needed")
		for _, child := range l.heirs(key) {
			l.lock(child, AccessExclusive)
		}
		if s.Behavior == "DROP_CASCADE" {
			l.cascade(key, map[string]bool{key: true})
			l.find("truncate-cascade", key, "so is every row of every table that refers to it", "name the tables")
		}
	}
}

func (l *linter) cascade(key string, seen map[string]bool) {
	for _, other := range l.catalog.referencing(key) {
		if !seen[other] {
			seen[other] = true
			l.lock(other, AccessExclusive)
			l.cascade(other, seen)
		}
	}
}

func (l *linter) vacuum(s vacuum) {
	full := option(s.Options, "full")
	if s.IsVacuum {
		l.outsideTransaction("VACUUM")
	}
	for _, n := range s.Relations {
		key := decode[vacuumRelation](n).Relation.key()
		if !full {
			l.lock(key, ShareUpdateExclusive)
			continue
		}
		l.lock(key, AccessExclusive)
		l.rewriting("vacuum-full", key, "the whole table is written again", "pg_repack or pg_squeeze; plain VACUUM keeps nobody out")
	}
	if full && len(s.Relations) == 0 {
		l.find("vacuum-full", "", "every table of the database is written again while nobody can read it", "pg_repack or pg_squeeze for the tables that need it")
	}
}

// data notes what reads and writes rows.
func (l *linter) data(n node) {
	s := decode[oneRelation](n)
	key := s.Relation.key()
	switch n.kind {
	case "SelectStmt":
		l.reads(n, "")
		l.queried(n)
		return
	case "CopyStmt":
		if s.Relation.Name == "" || !s.IsFrom {
			l.copyOut(s, n)
			return
		}
	}
	l.reads(n, key)
	l.lock(key, RowExclusive)
	l.usesNewEnum(n)
	l.queried(n)
	switch n.kind {
	case "InsertStmt", "CopyStmt", "MergeStmt":
		if t := l.catalog.tables[key]; t != nil && t.created == l.name {
			t.filled = t.filled || n.kind != "InsertStmt" || !isValues(s.Select)
		}
	case "UpdateStmt", "DeleteStmt":
		l.changes(n, key, s.Where)
	}
}

// copyOut notes a COPY that only reads.
func (l *linter) copyOut(s oneRelation, n node) {
	l.reads(n, "")
	l.queried(n)
	if s.Relation.Name != "" {
		l.scan(s.Relation.key())
	}
}

// isValues reports an INSERT of rows that are written out.
func isValues(n node) bool {
	return len(decode[struct {
		Values []node `json:"valuesLists"`
	}](n).Values) > 0
}

// usesNewEnum finds a value of an enum that the same transaction has added.
func (l *linter) usesNewEnum(n node) {
	n.each(func(n node) bool {
		if n.kind == "A_Const" {
			c := decode[struct {
				Text text `json:"sval"`
			}](n)
			if line, added := l.session.enumsChanged[c.Text.Value]; added && c.Text.Value != "" {
				l.find("enum-used-in-tx", "", fmt.Sprintf("'%s' was added on line %d of the same transaction, and may not be used before it is committed", c.Text.Value, line), "add the value in a file of its own")
			}
		}
		return true
	})
}
