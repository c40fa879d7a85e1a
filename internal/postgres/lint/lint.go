// Package lint tells what SQL migrations will do to a PostgreSQL database that is
// in use: which locks they take, what is scanned, built or written again while a
// lock is held, what data is lost, what older code will miss. It reads SQL with
// PostgreSQL's own grammar and follows the statements with a catalog of its own,
// so that it knows a table made a moment ago from one with users.
//
// It is pure: texts in, findings out. What it cannot see into, such as a DO block
// or a function, it says so; it is never silently clean.
package lint

import (
	"fmt"
	"maps"
	"slices"
)

// Mode is a table lock, in rising strength (PostgreSQL documentation, 13.3.1).
type Mode int

// The modes. From Share on a lock blocks writes; AccessExclusive blocks reads too.
const (
	NoLock Mode = iota
	AccessShare
	RowShare
	RowExclusive
	ShareUpdateExclusive
	Share
	ShareRowExclusive
	Exclusive
	AccessExclusive
)

// String is the mode's name as pg_locks shows it.
func (m Mode) String() string {
	names := []string{"", "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
	if m < 0 || int(m) >= len(names) {
		return ""
	}
	return names[m]
}

// blocks says what a lock keeps out.
func (m Mode) blocks() string {
	if m == AccessExclusive {
		return "reads and writes"
	}
	return "writes"
}

// Level is how much a finding matters.
type Level string

// The levels. A hazard is a lock that blocks reads or writes and is held over a
// scan, a build or a rewrite; a risk loses data, breaks code that is still
// running, or fails half-way; all else is style.
const (
	Hazard Level = "hazard"
	Risk   Level = "risk"
	Style  Level = "style"
)

// Finding is what is to be said about a statement.
type Finding struct {
	Rule    string `json:"rule"`
	Level   Level  `json:"level"`
	Message string `json:"message"`
	// Lock is the strongest lock that matters here, Relation what it is on.
	Lock     string `json:"lock"`
	Relation string `json:"relation,omitempty"`
	Scan     bool   `json:"scan"`
	Rewrite  bool   `json:"rewrite"`
	// Safe is a way that does not have the problem: SQL, or steps.
	Safe string `json:"safe"`
	// Bytes is how large the relation is, if that is known; 0 otherwise.
	Bytes int64 `json:"bytes,omitempty"`
	// Allowed is the reason that somebody gave for letting it be.
	Allowed string `json:"allowed,omitempty"`
}

// Lock is a relation and the lock that a statement takes on it.
type Lock struct {
	Relation string `json:"relation"`
	Mode     string `json:"mode"`
}

// Statement is one statement and all that was found.
type Statement struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"column"`
	Text string `json:"statement"`
	// Transaction numbers the transaction that it runs in with others; 0 means that it
	// is committed by itself.
	Transaction int `json:"transaction"`
	// Locks are those on relations that were there before, strongest first.
	Locks []Lock `json:"locks"`
	Scan  bool   `json:"scan"`
	// Rewrite tells that rows are written again, Build that an index is built.
	Rewrite bool `json:"rewrite"`
	Build   bool `json:"build"`
	// Opaque tells that something in it cannot be seen.
	Opaque bool `json:"opaque,omitempty"`
	// Unread tells that it is no statement but stands for what a tool does in another
	// language.
	Unread bool `json:"unread,omitempty"`
	// Steps do the same without its hazards, if such steps are known.
	Steps    []Step    `json:"steps,omitempty"`
	Findings []Finding `json:"findings"`
}

// Options say what is known around the files.
type Options struct {
	// Version is PostgreSQL's major version, 13 to 18; 0 means 15.
	Version int
	// Schema is what exists before.
	Schema []Source
	// TimeZone is the server's setting, if it is known: it decides whether a timestamp
	// changes its meaning with its type.
	TimeZone string
	// Sizes are the sizes of tables in bytes by name, if a database was asked.
	Sizes map[string]int64
}

// Versions that the rules know.
const (
	MinVersion, MaxVersion, DefaultVersion = 13, 18, 15
)

// Run looks at files in the order in which they will be applied. The error is a
// *diag.Problem when a file is not SQL.
func Run(files []Source, opts Options) ([]Statement, error) {
	if opts.Version == 0 {
		opts.Version = DefaultVersion
	}
	if opts.Version < MinVersion || opts.Version > MaxVersion {
		return nil, fmt.Errorf("PostgreSQL %d: versions %d to %d are known", opts.Version, MinVersion, MaxVersion)
	}
	l := &linter{levels: levels(), opts: opts, catalog: newCatalog(), known: len(opts.Schema) > 0}
	for _, src := range opts.Schema {
		src.Text = withoutMeta(src.Text)
		if _, err := l.file(src); err != nil {
			return nil, err
		}
	}
	for _, t := range l.catalog.tables {
		t.created = ""
	}
	clear(l.catalog.made)
	var out []Statement
	for _, src := range files {
		found, err := l.file(src)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// linter follows statements.
type linter struct {
	opts    Options
	levels  map[string]Level
	catalog *catalog
	name    string // of the file
	// known tells that what the catalog does not have is not there.
	known   bool
	session session
	// transactions counts those begun so far.
	transactions int
	// now is the statement that is looked at.
	now *effects
}

// session is what earlier statements of a file have set up.
type session struct {
	open         bool // a transaction
	implicit     bool // and the tool's own
	ofMessage    bool // or that of a message with several statements
	message      int  // the message that the statement before was sent in
	lockTimeout  bool
	stmtTimeout  bool
	utc          bool
	told         map[string]bool // rules that are said once
	held         map[string]heldLock
	enumsChanged map[string]int
	unvalidated  map[string]int // constraints added in this transaction
	changed      map[string]int // tables of which this transaction has changed many rows
	count        int            // statements so far
	begun        int            // the statement that has begun the transaction
	savepoints   []savepoint
}

// savepoint is what a transaction held when it was set.
type savepoint struct {
	name string
	held map[string]heldLock
}

type heldLock struct {
	mode Mode
	line int
	// statement counts within the session.
	statement int
}

// effects are what one statement does.
type effects struct {
	line                   int
	locks                  map[string]Mode
	scan, rewrite, build   map[string]bool
	opaque, inTransactions bool
	// moved are the new names of tables.
	moved    map[string]string
	findings []Finding
}

func (l *linter) file(src Source) ([]Statement, error) {
	statements, err := parse(src)
	if err != nil {
		return nil, err
	}
	l.name = src.Name
	l.session = session{told: map[string]bool{}, utc: isUTC(l.opts.TimeZone)}
	if src.OneTransaction {
		l.begin()
		l.session.implicit = true
	}
	allowances, problem := readAllowances(src, statements)
	if problem != nil {
		return nil, problem
	}
	places := &places{text: src.Text, line: 1}
	out := make([]Statement, 0, len(statements))
	for i, p := range statements {
		line, col := places.of(p.start)
		l.now = &effects{line: line, locks: map[string]Mode{}, scan: map[string]bool{}, rewrite: map[string]bool{}, build: map[string]bool{}}
		l.boundary(p)
		inside := l.session.open
		steps := l.rewriteOf(p, src.Text[p.start:p.end])
		l.look(p)
		l.transactionRules()
		steps = l.now.offer(steps)
		number := 0
		if inside || l.session.open {
			number = l.transactions
		}
		s := Statement{
			File: src.Name, Line: line, Col: col, Text: src.Text[p.start:p.end], Transaction: number, Locks: l.shownLocks(),
			Scan: len(l.now.scan) > 0, Rewrite: len(l.now.rewrite) > 0, Build: len(l.now.build) > 0, Opaque: l.now.opaque, Unread: p.unseen != nil,
			Steps:    steps,
			Findings: l.now.findings,
		}
		out = append(out, s)
		if l.session.open && !inside {
			l.session.begun = i
		}
	}
	l.leftOpen(out)
	for i := range out {
		if out[i].Findings = allowances[i].apply(out[i].Findings); out[i].Findings == nil {
			out[i].Findings = []Finding{}
		}
	}
	return out, nil
}

// look notes what a statement does, or that it cannot be seen.
func (l *linter) look(p parsed) {
	if p.unseen == nil {
		l.statement(p.node)
		return
	}
	l.cannotSee(p.unseen.What)
	if p.unseen.Instead != "" {
		l.now.findings[len(l.now.findings)-1].Safe = p.unseen.Instead
	}
}

// ours reports whether a relation was made by this file: nobody else uses it yet,
// so that nobody waits for it.
func (l *linter) ours(key string) bool {
	if t := l.catalog.tables[key]; t != nil {
		return t.created == l.name && l.name != ""
	}
	return l.catalog.made[key] == l.name && l.name != ""
}

// fresh reports whether a relation was made by this file and has no rows: there is
// nothing to scan either.
func (l *linter) fresh(key string) bool {
	t := l.catalog.tables[key]
	return t != nil && l.ours(key) && !t.filled
}

// lock notes a lock, on a relation that somebody may be using.
func (l *linter) lock(key string, m Mode) {
	if key != "" && !l.ours(key) && l.now.locks[key] < m {
		l.now.locks[key] = m
	}
}

func (l *linter) scan(key string) {
	if !l.fresh(key) {
		l.now.scan[key] = true
	}
}

func (l *linter) build(key string) {
	if !l.fresh(key) {
		l.now.build[key], l.now.scan[key] = true, true
	}
}

func (l *linter) rewrite(key string) {
	if !l.fresh(key) {
		l.now.rewrite[key], l.now.scan[key] = true, true
	}
}

// find notes a finding about a relation. A hazard or a risk of a table that is new
// concerns nobody.
func (l *linter) find(rule, key, message, safe string) {
	level := l.levels[rule]
	if key != "" && l.ours(key) {
		return
	}
	for _, f := range l.now.findings {
		if f.Rule == rule && f.Relation == shown(key) {
			return
		}
	}
	f := Finding{Rule: rule, Level: level, Message: message, Relation: shown(key), Safe: safe, Bytes: l.opts.Sizes[shown(key)]}
	if m := l.now.locks[key]; m > NoLock {
		f.Lock = m.String()
	}
	f.Scan, f.Rewrite = l.now.scan[key], l.now.rewrite[key]
	l.now.findings = append(l.now.findings, f)
}

func (l *linter) shownLocks() []Lock {
	out := []Lock{}
	for _, key := range slices.Sorted(maps.Keys(l.now.locks)) {
		out = append(out, Lock{shown(key), l.now.locks[key].String()})
	}
	slices.SortStableFunc(out, func(a, b Lock) int { return rank(b) - rank(a) })
	return out
}

func rank(lock Lock) int {
	for m := AccessShare; m <= AccessExclusive; m++ {
		if m.String() == lock.Mode {
			return int(m)
		}
	}
	return 0
}
