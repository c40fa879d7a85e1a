package lint

import (
	"fmt"
	"slices"
)

// commandLock is the lock that ALTER TABLE takes for a command (PostgreSQL's
// AlterTableGetLockLevel); a statement takes the strongest of its commands'.
func commandLock(cmd alterCommand) Mode {
	switch cmd.Subtype {
	case "AT_ValidateConstraint", "AT_SetStatistics", "AT_SetOptions", "AT_ResetOptions", "AT_ClusterOn", "AT_DropCluster",
		"AT_SetRelOptions", "AT_ResetRelOptions", "AT_ReplaceRelOptions", "AT_AttachPartition", "AT_DetachPartitionFinalize":
		return ShareUpdateExclusive
	case "AT_DetachPartition":
		if decode[partitionCmd](cmd.Def).Concurrent {
			return ShareUpdateExclusive
		}
	case "AT_EnableTrig", "AT_EnableAlwaysTrig", "AT_EnableReplicaTrig", "AT_EnableTrigAll", "AT_EnableTrigUser",
		"AT_DisableTrig", "AT_DisableTrigAll", "AT_DisableTrigUser":
		return ShareRowExclusive
	case "AT_AddConstraint":
		if decode[constraint](cmd.Def).Type == "CONSTR_FOREIGN" {
			return ShareRowExclusive
		}
	}
	return AccessExclusive
}

func (l *linter) alterTable(s alterTable) {
	key := s.Relation.key()
	var commands []alterCommand
	strongest := NoLock
	for _, n := range s.Commands {
		cmd := decode[alterCommand](n)
		commands = append(commands, cmd)
		strongest = max(strongest, commandLock(cmd))
	}
	if s.Object == "OBJECT_INDEX" {
		l.alterIndex(key, commands)
		return
	}
	l.lock(key, strongest)
	if s.Relation.Inh && slices.ContainsFunc(commands, inherited) {
		for _, child := range l.catalog.heirs(key) {
			l.lock(child, strongest)
		}
	}
	if s.Relation.Inh && s.Object == "OBJECT_TABLE" && !slices.ContainsFunc(commands, func(c alterCommand) bool {
		return c.Subtype == "AT_AttachPartition" || c.Subtype == "AT_DetachPartition"
	}) {
		for _, child := range l.catalog.family(key) {
			l.lock(child, partitionLock(commands, strongest))
		}
	}
	if s.Object != "OBJECT_TABLE" && s.Object != "OBJECT_MATVIEW" && s.Object != "OBJECT_FOREIGN_TABLE" {
		return
	}
	// Type changes come first, as they do in PostgreSQL; the constraints of one
	// statement do not prove anything to each other.
	for _, cmd := range commands {
		l.alterCommand(key, cmd)
	}
}

// partitionLock is the lock on the partitions: a key is built on each of them like
// an index.
func partitionLock(commands []alterCommand, strongest Mode) Mode {
	for _, cmd := range commands {
		c := decode[constraint](cmd.Def)
		if cmd.Subtype != "AT_AddConstraint" || c.Type != "CONSTR_PRIMARY" && c.Type != "CONSTR_UNIQUE" {
			return strongest
		}
	}
	return Share
}

func (l *linter) alterCommand(key string, cmd alterCommand) {
	t := l.catalog.tables[key]
	switch cmd.Subtype {
	case "AT_AddColumn":
		l.addColumn(key, decode[columnDef](cmd.Def))
	case "AT_DropColumn":
		l.find("drop-column", key, fmt.Sprintf("column %s and what is in it are gone; code that still names it fails", cmd.Name),
			"stop using the column in a release first, drop it in a later one; keep a copy of what is in it until then")
		if t != nil {
			t.dropColumn(cmd.Name)
		}
	case "AT_SetNotNull":
		l.setNotNull(key, cmd.Name)
	case "AT_DropNotNull":
		l.find("drop-not-null", key, fmt.Sprintf("column %s may be null from now on; code that reads it must know", cmd.Name), "release code that copes with null first")
		if c := l.catalog.column(key, cmd.Name); c != nil {
			c.notNull = false
		}
	case "AT_AlterColumnType":
		l.alterType(key, cmd.Name, decode[columnDef](cmd.Def))
	case "AT_AddConstraint":
		l.addConstraint(key, decode[constraint](cmd.Def))
	case "AT_ValidateConstraint":
		l.validate(key, cmd.Name)
	case "AT_DropConstraint":
		l.dropConstraint(key, cmd)
	case "AT_SetLogged", "AT_SetUnLogged":
		l.rewriting("set-logged", key, "the whole table is written again", "plan a window for it, or create the table so from the start")
	case "AT_SetAccessMethod":
		if t != nil && cmd.Name == "heap" {
			return // it is what tables are
		}
		l.rewriting("set-access-method", key, "the whole table is written again with the other access method", "plan a window for it")
	case "AT_SetTableSpace":
		if t != nil && cmd.Name == "pg_default" {
			return // where tables are
		}
		l.rewriting("set-tablespace", key, "the whole table is copied to the other tablespace", "move it with pg_repack --tablespace, or plan a window")
	case "AT_SetExpression":
		l.rewriting("set-expression", key, fmt.Sprintf("every row is written again with the new expression of %s", cmd.Name), addAndFill(key, cmd.Name))
	case "AT_AddIdentity":
		l.identitySequence(key, cmd.Name)
	case "AT_AttachPartition":
		l.attach(key, decode[partitionCmd](cmd.Def))
	case "AT_AddInherit":
		l.inherit(key, decode[rangeVar](cmd.Def).key())
	case "AT_DropInherit":
		l.disinherit(key, decode[rangeVar](cmd.Def).key())
	case "AT_DetachPartition":
		l.detach(key, decode[partitionCmd](cmd.Def))
	}
}

// identitySequence notes that a column that exists gets a sequence, which costs
// nothing but the lock.
func (l *linter) identitySequence(key, column string) {
	if c := l.catalog.column(key, column); c != nil {
		c.notNull = true
	}
}

// rewriting notes a command that writes the table, and its partitions, again.
func (l *linter) rewriting(rule, key, message, safe string) {
	for _, k := range l.heirs(key) {
		if t := l.catalog.tables[k]; t == nil || !t.partitioned {
			l.rewrite(k)
		}
	}
	if !l.now.rewrite[key] && len(l.now.rewrite) > 0 {
		message += ", in every partition"
	}
	l.hazard(rule, key, message, safe)
}

// hazard is find with what the lock keeps out, in words.
func (l *linter) hazard(rule, key, message, safe string) {
	if m := l.now.locks[key]; m >= Share {
		message += fmt.Sprintf("; %s wait until it is done (%s)", m.blocks(), m)
	}
	l.find(rule, key, message, safe)
}

func addAndFill(key, column string) string {
	return fmt.Sprintf("add a new column beside %s.%s, write both from the code, fill the old rows in batches, then switch the reads", shown(key), column)
}

// addColumn adds a column: free when every row can keep the bytes that it has.
func (l *linter) addColumn(key string, def columnDef) {
	typ := typeOf(def.Type)
	col := &column{typ: typ}
	table := shown(key)
	var hasDefault, required, volatileDefault, generated bool
	var inline []constraint
	for _, n := range def.Constraints {
		c := decode[constraint](n)
		switch c.Type {
		case "CONSTR_DEFAULT":
			hasDefault = true
			volatileDefault = l.catalog.volatile(c.Expr)
			if l.callsUnknown(c.Expr) {
				l.now.opaque = true
			}
		case "CONSTR_NOTNULL":
			required, col.notNull = true, true
		case "CONSTR_GENERATED":
			generated = true
			l.rewriting("add-generated", key, fmt.Sprintf("every row is written again to hold %s", def.Name),
				"add a plain column, fill it in batches, keep it up to date by a trigger or in the code")
		case "CONSTR_IDENTITY":
			hasDefault = true
			l.rewriting("add-identity", key, fmt.Sprintf("every row is written again to hold its number in %s", def.Name), sequenceSteps(table, def.Name))
		default:
			inline = append(inline, c)
		}
	}
	if isSerial(typ.name) {
		hasDefault = true
		l.rewriting("add-serial", key, fmt.Sprintf("every row is written again to hold its number in %s", def.Name), sequenceSteps(table, def.Name))
	}
	if d := l.catalog.domainOf(typ); d != nil && d.constrained {
		l.rewriting("add-domain", key, fmt.Sprintf("every row is written again to check the conditions of %s", typ.name),
			fmt.Sprintf("add %s with the domain's base type, and a CHECK of its own NOT VALID", def.Name))
	}
	if volatileDefault && !generated {
		l.rewriting("default-volatile", key, fmt.Sprintf("every row is written again, because the default of %s may differ from row to row", def.Name),
			fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s; ALTER TABLE %s ALTER COLUMN %s SET DEFAULT …; then fill the old rows in batches", table, def.Name, typ, table, def.Name))
	}
	if required && !hasDefault && !generated {
		l.scan(key)
		l.find("add-required", key, fmt.Sprintf("column %s must not be null and has no default: it fails when the table has rows, and inserts of code that does not know it fail", def.Name),
			"give it a constant default, or add it nullable and make it NOT NULL later")
	}
	l.columnStyle(key, def.Name, typ)
	l.inlineConstraints(key, def.Name, inline, hasDefault)
	if t := l.catalog.tables[key]; t != nil {
		t.columns[def.Name] = col
	}
}

// callsUnknown reports a call of a function that the catalog does not know.
func (l *linter) callsUnknown(n node) bool {
	unknown := false
	n.each(func(n node) bool {
		if n.kind == "FuncCall" {
			parts := words(decode[funcCall](n).Name)
			_, known := l.catalog.functions[qualified(parts)]
			unknown = unknown || !known && len(parts) > 1 && parts[0] != "pg_catalog"
		}
		return true
	})
	return unknown
}

func sequenceSteps(table, column string) string {
	return fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s bigint; CREATE SEQUENCE …; ALTER TABLE %s ALTER COLUMN %s SET DEFAULT nextval('…'); then number the old rows in batches", table, column, table, column)
}

// inlineConstraints are those written behind a new column.
func (l *linter) inlineConstraints(key, column string, list []constraint, hasDefault bool) {
	table := shown(key)
	for _, c := range list {
		switch c.Type {
		case "CONSTR_CHECK":
			l.scan(key)
			l.hazard("check-inline", key, fmt.Sprintf("every row is looked at for the condition on %s, although it is the same for all", column),
				fmt.Sprintf("add the column alone; then ALTER TABLE %s ADD CONSTRAINT … CHECK (…) NOT VALID; and, in a transaction of its own, VALIDATE CONSTRAINT", table))
		case "CONSTR_FOREIGN":
			l.lock(c.Table.key(), ShareRowExclusive)
			if hasDefault {
				l.scan(key)
				l.hazard("fk-inline-default", key, fmt.Sprintf("every row's default is looked up in %s", shown(c.Table.key())),
					fmt.Sprintf("add the column alone; then ALTER TABLE %s ADD CONSTRAINT … FOREIGN KEY (%s) REFERENCES … NOT VALID; and VALIDATE it in a transaction of its own", table, column))
			}
			l.fkStyle(key, []string{column}, c)
			if t := l.catalog.tables[key]; t != nil {
				t.refer(name(c.Name, key, column, "fkey"), []string{column}, c)
			}
		case "CONSTR_UNIQUE", "CONSTR_PRIMARY":
			c.Keys = []node{stringNode(column)}
			l.addKey(key, c)
		}
	}
}

// alterType changes a column's type, with all that hangs on the column.
func (l *linter) alterType(key, name string, def columnDef) {
	to := typeOf(def.Type)
	table := shown(key)
	old := l.catalog.column(key, name)
	change := typeRewrites
	switch {
	case def.Default.kind != "" && !plainUsing(def.Default, name, to):
	case old != nil:
		change = l.catalog.changeOf(old.typ, to, l.session.utc)
		if change == typeKeeps && len(def.Collate.Names) > 0 && last(words(def.Collate.Names)) != old.collation {
			change = typeReindex
		}
	}
	from := ""
	if old != nil {
		from = " from " + old.typ.String()
	}
	t := l.catalog.tables[key]
	if change == typeKeeps && t != nil && t.partitioned && !old.typ.same(to) {
		change = typeReindex // an index of a partitioned table is always made anew
	}
	switch change {
	case typeRewrites:
		what := fmt.Sprintf("every row is written again to turn %s%s into %s", name, from, to)
		if old == nil {
			what += " (unless the old type is read the same way: --schema tells it)"
		}
		l.rewriting("type-change", key, what, addAndFill(key, name))
		l.checkReferences(key, name)
	case typeReindex:
		if t != nil && t.indexedOn(name) {
			for _, k := range append([]string{key}, l.catalog.family(key)...) {
				l.build(k)
			}
			l.hazard("type-collation", key, fmt.Sprintf("the indexes on %s are built again", name),
				fmt.Sprintf("drop those indexes first (CONCURRENTLY), change the type, then CREATE INDEX CONCURRENTLY them on %s", table))
		}
	}
	if t != nil && change != typeRewrites { // even when the type stays what it is
		for _, constraintName := range t.checksOn(name) {
			l.scan(key)
			l.hazard("type-check-recheck", key, fmt.Sprintf("every row is looked at again for constraint %s", constraintName),
				fmt.Sprintf("drop %s first, change the type, then add it again NOT VALID and VALIDATE it on its own", constraintName))
			break
		}
	}
	l.columnStyle(key, name, to)
	if old != nil {
		old.typ, old.collation = to, last(words(def.Collate.Names))
	}
}

// setNotNull looks at every row unless a validated CHECK has already proved it.
func (l *linter) setNotNull(key, column string) {
	t := l.catalog.tables[key]
	known := l.catalog.column(key, column)
	proved := known != nil && known.notNull || t != nil && t.proves(column)
	if !proved {
		for _, k := range l.heirs(key) {
			l.scan(k)
		}
		table := shown(key)
		l.hazard("notnull-set", key, fmt.Sprintf("every row is looked at for a null in %s", column), fmt.Sprintf(
			"ALTER TABLE %s ADD CONSTRAINT %s_not_null CHECK (%s IS NOT NULL) NOT VALID; VALIDATE it in a transaction of its own; then SET NOT NULL, which trusts it; then drop it", table, column, column))
	}
	if known != nil {
		known.notNull = true
	}
}

// last gives the last part of a name.
func last(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return parts[len(parts)-1]
}

func (t *table) dropColumn(name string) {
	delete(t.columns, name)
	for index, info := range t.indexes {
		if slices.Contains(info.columns, name) {
			delete(t.indexes, index)
		}
	}
	for check, info := range t.checks {
		if slices.Contains(info.columns, name) {
			delete(t.checks, check)
		}
	}
}

func (t *table) indexedOn(column string) bool {
	for _, info := range t.indexes {
		if slices.Contains(info.columns, column) {
			return true
		}
	}
	return false
}

// checksOn lists the CHECK constraints that read a column.
func (t *table) checksOn(column string) []string {
	var out []string
	for name, info := range t.checks {
		if slices.Contains(info.columns, column) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// alterIndex changes an index; only SET TABLESPACE copies it.
func (l *linter) alterIndex(key string, commands []alterCommand) {
	tableKey := l.catalog.indexes[key]
	for _, cmd := range commands {
		if cmd.Subtype == "AT_SetTableSpace" {
			l.lock(key, AccessExclusive)
			l.rewrite(key)
			l.hazard("set-tablespace", key, "the whole index is copied to the other tablespace", "REINDEX (TABLESPACE …) INDEX CONCURRENTLY, from PostgreSQL 14 on")
			continue
		}
		if cmd.Subtype == "AT_AttachPartition" {
			l.lock(tableKey, AccessShare)
		}
		l.lock(key, commandLock(cmd))
	}
}
