package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (l *linter) begin() {
	l.transactions++
	l.session.open = true
	l.session.held = map[string]heldLock{}
	l.session.enumsChanged = map[string]int{}
	l.session.unvalidated = map[string]int{}
	l.session.changed = map[string]int{}
	l.session.savepoints = nil
}

// boundary ends and begins the transaction that PostgreSQL makes of several
// statements in one message (documentation, 55.2.2.1).
func (l *linter) boundary(p parsed) {
	s := &l.session
	if s.ofMessage && p.message != s.message {
		l.end()
	}
	s.message = p.message
	if p.together && !s.open {
		l.begin()
		s.ofMessage = true
	}
}

// end forgets the transaction.
func (l *linter) end() {
	s := &l.session
	s.open, s.implicit, s.ofMessage = false, false, false
	s.held, s.enumsChanged, s.unvalidated, s.changed, s.savepoints = nil, nil, nil, nil, nil
}

func (l *linter) transaction(s transaction) {
	switch s.Kind {
	case "TRANS_STMT_BEGIN", "TRANS_STMT_START":
		if l.session.ofMessage {
			l.session.ofMessage = false // from here on it lasts until COMMIT
			return
		}
		if l.session.open {
			l.find("tx-nesting", "", "a transaction is open already: this does nothing, and the COMMIT below ends the outer one", "leave BEGIN and COMMIT to the tool, or tell the tool to run the file without a transaction")
			return
		}
		l.begin()
	case "TRANS_STMT_SAVEPOINT":
		l.session.savepoints = append(l.session.savepoints, savepoint{s.Savepoint, maps.Clone(l.session.held)})
	case "TRANS_STMT_ROLLBACK_TO":
		l.backTo(s.Savepoint)
	case "TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK", "TRANS_STMT_PREPARE":
		implicit := l.session.implicit
		l.end()
		if implicit {
			l.find("tx-nesting", "", "this ends the tool's own transaction, and what follows runs without one", "leave BEGIN and COMMIT to the tool, or tell the tool to run the file without a transaction")
		}
	}
}

// backTo gives back the locks that were taken since a savepoint.
func (l *linter) backTo(name string) {
	all := l.session.savepoints
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].name == name {
			l.session.held, l.session.savepoints = maps.Clone(all[i].held), all[:i+1]
			return
		}
	}
}

// leftOpen says of a transaction of the file's own that nothing ends it.
func (l *linter) leftOpen(statements []Statement) {
	s := &l.session
	if !s.open || s.implicit || s.ofMessage || s.begun >= len(statements) {
		return
	}
	begin := &statements[s.begun]
	begin.Findings = append(begin.Findings, Finding{
		Rule: "tx-open", Level: l.levels["tx-open"], Message: "no COMMIT ends this transaction: what the file does is taken back when the session ends, and its locks are held until then",
		Safe: "COMMIT at the end, or leave transactions to the tool",
	})
}

func (l *linter) set(s setVariable) {
	on := s.Kind == "VAR_SET_VALUE" && len(s.Args) > 0 && !isZero(s.Args[0])
	switch s.Name {
	case "lock_timeout":
		l.session.lockTimeout = on
	case "statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout":
		l.session.stmtTimeout = on
	case "timezone":
		l.session.utc = false
		if len(s.Args) > 0 {
			l.session.utc = isUTC(decode[struct {
				Text text `json:"sval"`
			}](s.Args[0]).Text.Value)
		}
	}
}

// isUTC reports whether clocks show the same in a time zone as without one.
func isUTC(zone string) bool {
	return slices.Contains([]string{"utc", "etc/utc", "gmt", "etc/gmt", "zulu"}, strings.ToLower(zone))
}

func isZero(n node) bool {
	c := decode[struct {
		Int  *struct{ Value int } `json:"ival"`
		Text text                 `json:"sval"`
	}](n)
	if c.Int != nil {
		return c.Int.Value == 0
	}
	return c.Text.Value == "0" || c.Text.Value == "0s" || c.Text.Value == "0ms"
}

// exclusiveSince gives the line since which the transaction holds a lock that
// keeps reads out, of one relation or of any; 0 when it holds none.
func (l *linter) exclusiveSince(key string) int {
	if !l.session.open {
		return 0
	}
	for held, lock := range l.session.held {
		if lock.mode == AccessExclusive && (key == "" || held == key) {
			return lock.line
		}
	}
	return 0
}

// transactionRules are about a statement among the others of its session.
func (l *linter) transactionRules() {
	s := &l.session
	s.count++
	strongest, on := NoLock, ""
	for key, m := range l.now.locks {
		if m > strongest || m == strongest && key < on {
			strongest, on = m, key
		}
	}
	if strongest >= Share && !s.lockTimeout && !s.told["no-lock-timeout"] {
		s.told["no-lock-timeout"] = true
		l.find("no-lock-timeout", on, fmt.Sprintf("while it waits for %s, everybody who comes later waits behind it", strongest), "SET lock_timeout = '1s'; and try again when it is exceeded")
	}
	if !s.open {
		return
	}
	l.underLock()
	for _, key := range slices.Sorted(maps.Keys(l.now.locks)) {
		l.afterChange(key)
	}
	for key, m := range l.now.locks {
		if to := l.now.moved[key]; to != "" {
			key = to
		}
		if held := s.held[key]; m > held.mode {
			s.held[key] = heldLock{m, l.now.line, s.count}
		}
	}
	l.manyLocks()
}

// underLock says when a statement is slow while an earlier one's lock is held: the
// strongest of them, and of a lock that keeps only writers out only where nothing
// worse was said of the statement.
func (l *linter) underLock() {
	s := &l.session
	if len(l.now.scan)+len(l.now.build)+len(l.now.rewrite) == 0 {
		return
	}
	said := false
	for _, f := range l.now.findings {
		if f.Rule == "idx-in-ddl-tx" || f.Rule == "validate-same-tx" || f.Rule == "data-and-ddl-mixed" {
			return
		}
		said = said || f.Level == Hazard
	}
	worst := ""
	for _, key := range slices.Sorted(maps.Keys(s.held)) {
		if lock := s.held[key]; lock.mode >= Share && lock.statement != s.count && lock.mode > s.held[worst].mode {
			worst = key
		}
	}
	lock := s.held[worst]
	if worst == "" || said && lock.mode != AccessExclusive {
		return
	}
	doing := "read or write"
	if lock.mode != AccessExclusive {
		doing = "write"
	}
	l.find("lock-held", worst, fmt.Sprintf("it is slow, and the transaction holds %s on %s since line %d: nobody can %s it meanwhile", lock.mode, shown(worst), lock.line, doing), "a transaction of its own")
}

// blockedSince gives the line since which the transaction holds a lock that keeps
// writes out, or 0.
func (l *linter) blockedSince() int {
	first := 0
	for _, lock := range l.session.held {
		if lock.mode >= Share && (first == 0 || lock.line < first) {
			first = lock.line
		}
	}
	return first
}

// manyLocks says when a transaction keeps readers out of several tables.
func (l *linter) manyLocks() {
	s := &l.session
	n := 0
	for key, lock := range s.held {
		if t := l.catalog.tables[key]; lock.mode == AccessExclusive && (t == nil || t.parent == "") && l.catalog.indexes[key] == "" {
			n++
		}
	}
	if n > 1 && !s.told["lock-many"] {
		s.told["lock-many"] = true
		l.find("lock-many", "", fmt.Sprintf("the transaction keeps readers out of %d tables at once, and can deadlock with others", n), "one table for each transaction")
	}
}
