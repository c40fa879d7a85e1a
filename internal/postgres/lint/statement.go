package lint

import (
	"fmt"
	"slices"
	"strings"
)

// statement notes what one statement does.
func (l *linter) statement(n node) {
	switch n.kind {
	case "AlterTableStmt":
		l.alterTable(decode[alterTable](n))
	case "CreateStmt":
		l.createTable(decode[createTable](n))
	case "IndexStmt":
		l.createIndex(decode[createIndex](n))
	case "CreateTableAsStmt":
		l.createAs(decode[createAs](n), n)
	case "DropStmt":
		l.drop(decode[drop](n))
	case "RenameStmt":
		l.rename(decode[rename](n))
	case "AlterObjectSchemaStmt":
		l.setSchema(n)
	case "ReindexStmt":
		l.reindex(decode[reindex](n))
	case "ClusterStmt", "RefreshMatViewStmt", "TruncateStmt", "VacuumStmt", "LockStmt":
		l.maintenance(n)
	case "UpdateStmt", "DeleteStmt", "InsertStmt", "CopyStmt", "MergeStmt", "SelectStmt":
		l.data(n)
	case "CreateDomainStmt", "AlterDomainStmt", "CreateEnumStmt", "AlterEnumStmt":
		l.types(n)
	case "CreateTrigStmt", "CreatePolicyStmt", "AlterPolicyStmt", "RuleStmt", "CreateFunctionStmt", "DoStmt", "CallStmt", "ExecuteStmt":
		l.code(n)
	case "TransactionStmt":
		l.transaction(decode[transaction](n))
	case "VariableSetStmt":
		l.set(decode[setVariable](n))
	case "ViewStmt":
		l.view(n)
	case "AlterSeqStmt":
		l.lock(decode[struct {
			Sequence rangeVar `json:"sequence"`
		}](n).Sequence.key(), ShareRowExclusive)
	case "CommentStmt", "SecLabelStmt", "CreateStatsStmt":
		l.remark(n)
	case "DropdbStmt":
		l.find("drop-database", "", "the database and all that is in it are gone", "rename it first, drop it when nobody has missed it")
	}
}

func (l *linter) createAs(s createAs, n node) {
	key := s.Into.Relation.key()
	t := newTable(key)
	t.created, t.filled, t.matview = l.name, !s.Into.SkipData, s.Object == "OBJECT_MATVIEW"
	l.reads(n, key)
	if t.filled {
		l.queried(n)
	}
	l.catalog.tables[key] = t
	if t.matview {
		l.catalog.views[key] = tablesIn(n, key)
	}
}

// tablesIn lists the tables that a statement names.
func tablesIn(n node, except string) []string {
	var out []string
	n.each(func(n node) bool {
		if n.kind == "RangeVar" {
			if key := decode[rangeVar](n).key(); key != except {
				out = append(out, key)
			}
		}
		return true
	})
	return out
}

// reads notes the tables that a query reads.
func (l *linter) reads(n node, except string) {
	n.each(func(n node) bool {
		if n.kind == "RangeVar" {
			if key := decode[rangeVar](n).key(); key != except && l.catalog.tables[key] != nil {
				l.lock(key, AccessShare)
			}
		}
		if n.kind == "FuncCall" {
			l.callIn(decode[funcCall](n))
		}
		return true
	})
}

// callIn says of a function that it cannot be seen into.
func (l *linter) callIn(call funcCall) {
	parts := words(call.Name)
	if _, ours := l.catalog.functions[qualified(parts)]; ours || len(parts) > 1 && parts[0] != "pg_catalog" {
		l.cannotSee(fmt.Sprintf("function %s", strings.Join(parts, ".")))
	}
}

func (l *linter) cannotSee(what string) {
	l.now.opaque = true
	l.find("cannot-see-inside", "", "what "+what+" does cannot be read here", "rehearse it on a copy of the database, where its locks are traced")
}

// view notes a view that is made or replaced.
func (l *linter) view(n node) {
	s := decode[struct {
		View    rangeVar `json:"view"`
		Replace bool     `json:"replace"`
	}](n)
	key := s.View.key()
	if _, there := l.catalog.views[key]; !there {
		l.catalog.made[key] = l.name
	} else if s.Replace {
		l.lock(key, AccessExclusive)
	}
	l.reads(n, key)
	l.catalog.views[key] = tablesIn(n, key)
}

// remark notes statements that only write about a table.
func (l *linter) remark(n node) {
	s := decode[struct {
		Type      string `json:"objtype"`
		Object    node   `json:"object"`
		Relations []node `json:"relations"`
	}](n)
	for _, r := range s.Relations {
		l.lock(decode[rangeVar](r).key(), ShareUpdateExclusive)
	}
	parts := words(decode[list](s.Object).Items)
	switch s.Type {
	case "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_INDEX":
		l.lock(qualified(parts), ShareUpdateExclusive)
	case "OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER":
		if len(parts) > 1 {
			l.lock(qualified(parts[:len(parts)-1]), ShareUpdateExclusive)
		}
	}
}

// types notes what happens to domains and enums.
func (l *linter) types(n node) {
	switch n.kind {
	case "CreateDomainStmt":
		s := decode[domain](n)
		l.catalog.domains[qualified(words(s.Name))] = &domainInfo{base: typeOf(s.Base), constrained: slices.ContainsFunc(s.Constraints, func(n node) bool {
			kind := decode[constraint](n).Type
			return kind == "CONSTR_CHECK" || kind == "CONSTR_NOTNULL"
		})}
	case "AlterDomainStmt":
		l.alterDomain(decode[alterDomain](n))
	case "CreateEnumStmt":
		l.catalog.enums[qualified(words(decode[alterEnum](n).Name))] = true
	case "AlterEnumStmt":
		s := decode[alterEnum](n)
		switch {
		case s.OldValue != "":
			l.find("rename-enum-value", "", fmt.Sprintf("code that still uses '%s' fails at once", s.OldValue), "add the new value, move the rows in batches, stop using the old one")
		default:
			if s.Neighbour == "" {
				l.find("enum-order", "", fmt.Sprintf("'%s' is put at the end, and sorts there", s.NewValue), "say BEFORE or AFTER which value where the order matters")
			}
			if l.session.open && l.session.enumsChanged != nil {
				l.session.enumsChanged[s.NewValue] = l.now.line
			}
		}
	}
}

func (l *linter) alterDomain(s alterDomain) {
	key := qualified(words(s.Name))
	info := l.catalog.domains[key]
	looks := s.Subtype == "O" || s.Subtype == "C" && !decode[constraint](s.Def).SkipValidation || s.Subtype == "V"
	if s.Subtype == "C" && info != nil {
		info.constrained = true
	}
	if !looks {
		return
	}
	users := l.catalog.usersOf(key)
	for _, user := range users {
		l.lock(user, Share)
		l.scan(user)
	}
	message := "every row of every table that uses the domain is looked at"
	if len(users) > 0 {
		var names []string
		for _, user := range users {
			names = append(names, shown(user))
		}
		message = fmt.Sprintf("every row of %s is looked at", strings.Join(names, ", "))
	} else if info != nil {
		return // nobody uses it
	}
	safe := fmt.Sprintf("ALTER DOMAIN %s ADD CONSTRAINT … CHECK (…) NOT VALID; then VALIDATE CONSTRAINT at a quiet hour, one table's worth of time", shown(key))
	l.find("domain-add", "", message+"; writes to them wait until it is done (ShareLock)", safe)
	if len(l.now.findings) > 0 {
		f := &l.now.findings[len(l.now.findings)-1]
		f.Lock, f.Scan = Share.String(), true
	}
}

// code notes triggers, functions and what is run out of sight.
func (l *linter) code(n node) {
	switch n.kind {
	case "CreateTrigStmt":
		key := decode[oneRelation](n).Relation.key()
		l.lock(key, ShareRowExclusive)
		l.catalog.triggers[key] = qualified(words(decode[struct {
			Function []node `json:"funcname"`
		}](n).Function))
		l.find("trigger", key, "writes wait for a moment, and from then on each runs the trigger", "SET lock_timeout first")
	case "CreatePolicyStmt", "AlterPolicyStmt", "RuleStmt":
		field := decode[struct {
			Table    rangeVar `json:"table"`
			Relation rangeVar `json:"relation"`
		}](n)
		key := field.Table.key()
		if field.Table.Name == "" {
			key = field.Relation.key()
		}
		l.lock(key, AccessExclusive)
	case "CreateFunctionStmt":
		l.createFunction(decode[createFunction](n))
	case "DoStmt":
		l.cannotSee("a DO block")
	case "CallStmt":
		l.cannotSee("a procedure")
	case "ExecuteStmt":
		l.cannotSee("a prepared statement")
	}
}

func (l *linter) createFunction(s createFunction) {
	info := funcInfo{volatility: "v"}
	language, body := "", ""
	for _, n := range s.Options {
		option := decode[defElem](n)
		switch option.Name {
		case "volatility":
			info.volatility = decode[text](option.Arg).Value[:1]
		case "language":
			language = decode[text](option.Arg).Value
		case "as":
			if parts := words(decode[list](option.Arg).Items); len(parts) > 0 {
				body = parts[0]
			}
		}
	}
	if language == "sql" && body != "" {
		if statements, err := parse(Source{Name: "body", Text: body}); err == nil && len(statements) == 1 && statements[0].node.kind == "SelectStmt" {
			info.body = soleTarget(statements[0].node)
		}
	}
	l.catalog.functions[qualified(words(s.Name))] = info
}

// soleTarget gives the expression that a SELECT without FROM computes, if it is
// one.
func soleTarget(n node) node {
	s := decode[struct {
		Targets []node `json:"targetList"`
		From    []node `json:"fromClause"`
		Where   node   `json:"whereClause"`
	}](n)
	if len(s.Targets) != 1 || len(s.From) > 0 || s.Where.kind != "" {
		return node{}
	}
	return decode[struct {
		Value node `json:"val"`
	}](s.Targets[0]).Value
}
