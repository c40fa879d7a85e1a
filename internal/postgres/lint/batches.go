package lint

import "fmt"

// largeTable is where changing many rows in one statement begins to matter, in
// bytes: 16 MB, some hundred thousand narrow rows, are changed in about a second.
const largeTable = 16 << 20

// changes says what comes of changing or deleting many rows at once: they stay
// locked until the end, their old versions stay as bloat, replicas fall behind, and
// all of it is lost when it is given up. Reads go on, which makes it a risk and no
// hazard, unless the transaction keeps somebody out meanwhile.
func (l *linter) changes(n node, key string, where node) {
	verb, all := "changed", "update-all"
	if n.kind == "DeleteStmt" {
		verb, all = "deleted", "delete-all"
	}
	if line := l.blockedSince(); line > 0 && len(l.now.scan) > 0 {
		l.find("data-and-ddl-mixed", key, fmt.Sprintf("rows are %s while the transaction holds the lock of line %d", verb, line), "change the data in a transaction of its own, "+batches(key))
	}
	if isSmall(key) || isLimited(n) {
		return
	}
	l.noteChange(key)
	size, known := l.opts.Sizes[shown(key)]
	small := known && size < largeTable
	switch {
	case where.kind == "" && (!small || all == "delete-all"):
		l.find(all, key, fmt.Sprintf("every row is %s in one go: locked until the end, and its old version stays as bloat", verb), batches(key))
	case where.kind != "" && !small && !l.picks(where, []string{key}, few):
		l.find("not-batched", key, fmt.Sprintf("all rows that the condition finds are %s in one go, and nothing bounds how many: locked until the end, and their old versions stay as bloat", verb), batches(key))
	}
}

// isLimited reports a statement that takes a number of rows at most.
func isLimited(n node) bool {
	found := false
	n.each(func(n node) bool {
		found = found || n.kind == "SelectStmt" && limited(n)
		return !found
	})
	return found
}

func batches(key string) string {
	return fmt.Sprintf("in batches along %s's primary key, a transaction each: an item of type postgres.batches does that, with a checkpoint and pauses", shown(key))
}

// noteChange remembers that the transaction has changed many rows of a table.
func (l *linter) noteChange(key string) {
	s := &l.session
	if s.open && s.changed != nil && s.changed[key] == 0 && !l.ours(key) {
		s.changed[key] = l.now.line
	}
}

// afterChange says that a table's definition is changed behind its rows, in one
// transaction.
func (l *linter) afterChange(key string) {
	if line := l.session.changed[key]; line > 0 && l.now.locks[key] == AccessExclusive {
		l.find("ddl-after-data", key, fmt.Sprintf("the transaction has changed rows on line %d and now waits for a lock against everybody: two that do so wait for each other, and PostgreSQL refuses it while a deferred constraint still has rows to look at", line),
			"change the rows first, in a transaction of its own, "+batches(key))
	}
}
