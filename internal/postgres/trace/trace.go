// Package trace runs a statement on a database that is there to be tried on, and
// tells exactly what PostgreSQL did: which locks it took on what was there before,
// which tables it scanned or wrote again, which indexes it built. Locks are read
// by a second connection while the transaction is still open, so that none is
// missed however short it is; statements that refuse a transaction are watched
// while they run.
//
// A rewrite shows in three ways, none of which sees all of them: a relation's file
// changes, an index is replaced by another of its name, rows are read by a scan
// that nobody asked for. All three are looked at.
package trace

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/postgres"
)

// Lock is a relation that was there before and the strongest lock taken on it.
type Lock struct {
	Relation string `json:"relation"`
	Mode     string `json:"mode"`
}

// Trace is what a statement did.
type Trace struct {
	// Locks are in the order of their relations' names.
	Locks []Lock `json:"locks"`
	// Scanned, Rewritten and Built name tables that were there before: read from end
	// to end, written again, and given an index that had to be built.
	Scanned   []string `json:"scanned,omitempty"`
	Rewritten []string `json:"rewritten,omitempty"`
	Built     []string `json:"built,omitempty"`
	// WAL is how much the statement wrote ahead, in bytes; Took is its time.
	WAL  int64         `json:"-"`
	Took time.Duration `json:"-"`
	// Error is PostgreSQL's code and message when it refused.
	Error string `json:"error,omitempty"`
}

// Tracer has a session that does things and one that looks on.
type Tracer struct {
	worker, observer *postgres.Conn
	pid              string
}

// Open opens both sessions on a database.
func Open(ctx context.Context, server *postgres.Server) (*Tracer, error) {
	worker, err := server.Open(ctx, postgres.Options{Plain: true})
	if err != nil {
		return nil, err
	}
	observer, err := server.Open(ctx, postgres.Options{})
	if err != nil {
		worker.Close()
		return nil, err
	}
	t := &Tracer{worker: worker, observer: observer}
	// Scans by helpers are counted in the helpers' processes only.
	err = worker.Script(ctx, "SET max_parallel_maintenance_workers = 0; SET max_parallel_workers_per_gather = 0; SET client_min_messages = warning")
	if err == nil {
		t.pid, err = worker.Value(ctx, "SELECT pg_backend_pid()")
	}
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("prepare to trace: %w", err)
	}
	return t, nil
}

// Close ends both sessions.
func (t *Tracer) Close() {
	t.worker.Close()
	t.observer.Close()
}

// maxRelations bounds the relations of a database that is traced.
const maxRelations = 200_000

// relation is one that is there, as it can be recognised later.
type relation struct {
	name, kind, file string
	table            string // of an index
}

// relationsSQL lists the relations of people, not of the system, by their numbers.
// It takes no lock on any of them: whoever asks may not have to wait for what is
// traced.
const relationsSQL = `
	SELECT c.oid, CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || c.relname, c.relkind,
		coalesce(pg_relation_filenode(c.oid), 0),
		coalesce((SELECT CASE WHEN m.nspname = 'public' THEN '' ELSE m.nspname || '.' END || t.relname
			FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace m ON m.oid = t.relnamespace WHERE i.indexrelid = c.oid), '')
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`

// relations lists what a session sees.
func relations(ctx context.Context, conn *postgres.Conn) (map[string]relation, error) {
	t, err := conn.Query(ctx, maxRelations, relationsSQL)
	if err != nil {
		return nil, fmt.Errorf("list relations: %w", err)
	}
	return listed(texts(t)), nil
}

// texts are a result's values.
func texts(t postgres.Table) [][]string {
	var out [][]string
	for _, row := range t.Rows {
		var line []string
		for _, cell := range row {
			line = append(line, cell.Text)
		}
		out = append(out, line)
	}
	return out
}

func listed(rows [][]string) map[string]relation {
	out := map[string]relation{}
	for _, r := range rows {
		out[r[0]] = relation{name: r[1], kind: r[2], file: r[3], table: r[4]}
	}
	return out
}

// scansSQL counts the scans of each table by the session that asks, as far as it
// has not reported them yet: only differences say anything.
const scansSQL = "SELECT relid, coalesce(seq_scan, 0) FROM pg_stat_xact_user_tables"

// scans gives how often each table has been scanned by the worker's transaction.
func (t *Tracer) scans(ctx context.Context) (map[string]int64, error) {
	result, err := t.worker.Query(ctx, maxRelations, scansSQL)
	if err != nil {
		return nil, fmt.Errorf("count scans: %w", err)
	}
	return counted(texts(result))
}

func counted(rows [][]string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, r := range rows {
		n, err := strconv.ParseInt(r[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("count scans: %w", err)
		}
		out[r[0]] = n
	}
	return out, nil
}

// locks gives the strongest lock that the worker holds or waits for on each
// relation.
func (t *Tracer) locks(ctx context.Context) (map[string]string, error) {
	return locksOf(ctx, t.observer, t.pid)
}

func locksOf(ctx context.Context, observer *postgres.Conn, pid string) (map[string]string, error) {
	result, err := observer.Query(ctx, maxRelations, "SELECT relation, mode FROM pg_locks WHERE pid = $1::int AND locktype = 'relation' AND relation IS NOT NULL", pid)
	if err != nil {
		return nil, fmt.Errorf("read locks: %w", err)
	}
	out := map[string]string{}
	for _, row := range result.Rows {
		if oid, mode := row[0].Text, row[1].Text; strength(mode) > strength(out[oid]) {
			out[oid] = mode
		}
	}
	return out, nil
}

// strength ranks the lock modes.
func strength(mode string) int {
	return slices.Index([]string{"AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}, mode)
}

// InTransaction runs a statement in a transaction, looks, and rolls it back.
func (t *Tracer) InTransaction(ctx context.Context, sql string) (Trace, error) {
	before, err := relations(ctx, t.observer)
	if err != nil {
		return Trace{}, err
	}
	if err := t.worker.Script(ctx, "BEGIN"); err != nil {
		return Trace{}, fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = t.worker.Script(context.WithoutCancel(ctx), "ROLLBACK") }()
	scanned, err := t.scans(ctx)
	if err != nil {
		return Trace{}, err
	}
	out := Trace{Locks: []Lock{}}
	lsn, err := t.written(ctx)
	if err != nil {
		return Trace{}, err
	}
	start := time.Now()
	err = t.worker.Script(ctx, sql)
	out.Took = time.Since(start)
	if postgres.Code(err) != "" {
		out.Error = postgres.Message(err, "")
		return out, nil
	}
	if err != nil {
		return Trace{}, fmt.Errorf("run the statement: %w", err)
	}
	held, err := t.locks(ctx)
	if err != nil {
		return Trace{}, err
	}
	out.note(held, before)
	end, err := t.written(ctx)
	if err != nil {
		return Trace{}, err
	}
	out.WAL = end - lsn
	after, err := relations(ctx, t.worker)
	if err != nil {
		return Trace{}, err
	}
	now, err := t.scans(ctx)
	if err != nil {
		return Trace{}, err
	}
	empty, err := emptied(ctx, before, after, asking(t.worker))
	if err != nil {
		return Trace{}, err
	}
	out.compare(before, after, scanned, now, empty)
	return out, nil
}

func (t *Tracer) written(ctx context.Context) (int64, error) { return writtenBy(ctx, t.observer) }

func writtenBy(ctx context.Context, observer *postgres.Conn) (int64, error) {
	n, err := observer.Int(ctx, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
	if err != nil {
		return 0, fmt.Errorf("read the log's position: %w", err)
	}
	return n, nil
}

func (o *Trace) note(held map[string]string, before map[string]relation) {
	strongest := map[string]string{}
	for oid, mode := range held {
		if r, ok := before[oid]; ok && strength(mode) > strength(strongest[r.name]) {
			strongest[r.name] = mode
		}
	}
	for _, l := range o.Locks {
		if strength(l.Mode) > strength(strongest[l.Relation]) {
			strongest[l.Relation] = l.Mode
		}
	}
	o.Locks = []Lock{}
	for _, name := range slices.Sorted(maps.Keys(strongest)) {
		o.Locks = append(o.Locks, Lock{name, strongest[name]})
	}
}

// compare finds what was scanned, written again and built. An index that is
// replaced by one that keeps its file was not built; a table that was emptied was
// neither scanned nor written again.
func (o *Trace) compare(before, after map[string]relation, counted, now map[string]int64, emptied []string) {
	scanned, rewritten, built := map[string]bool{}, map[string]bool{}, map[string]bool{}
	tables, files := map[string]bool{}, map[string]bool{}
	for _, r := range before {
		files[r.file] = true
		if r.holdsRows() {
			tables[r.name] = true
		}
	}
	for oid, r := range before {
		is, still := after[oid]
		switch {
		case still && is.file != r.file && r.kind == "i":
			built[r.table] = true
		case still && is.file != r.file && tables[r.name]:
			rewritten[r.name] = true
		}
		if now[oid] > counted[oid] && tables[r.name] {
			scanned[r.name] = true
		}
	}
	for oid, r := range after {
		if _, was := before[oid]; !was && r.kind == "i" && tables[r.table] && !files[r.file] {
			built[r.table] = true
		}
	}
	for _, table := range emptied {
		delete(scanned, table)
		delete(rewritten, table)
		delete(built, table)
	}
	o.Scanned, o.Rewritten, o.Built = sorted(scanned), sorted(rewritten), sorted(built)
}

func (r relation) holdsRows() bool { return r.kind == "r" || r.kind == "m" }

// emptied lists the tables that have another file, with nothing in it. Only the
// sizes of those are asked for, which whoever gave them another file has locked.
func emptied(ctx context.Context, before, after map[string]relation, ask func(ctx context.Context, sql string) ([][]string, error)) ([]string, error) {
	var changed []string
	for oid, r := range before {
		if is, still := after[oid]; still && r.holdsRows() && is.file != r.file {
			changed = append(changed, oid)
		}
	}
	if len(changed) == 0 {
		return nil, nil
	}
	rows, err := ask(ctx, "SELECT oid FROM pg_class WHERE oid IN ("+strings.Join(changed, ", ")+") AND pg_relation_size(oid) = 0")
	if err != nil {
		return nil, fmt.Errorf("ask for sizes: %w", err)
	}
	var out []string
	for _, row := range rows {
		out = append(out, before[row[0]].name)
	}
	return out, nil
}

// asking puts questions on a session of ours.
func asking(conn *postgres.Conn) func(context.Context, string) ([][]string, error) {
	return func(ctx context.Context, sql string) ([][]string, error) {
		t, err := conn.Query(ctx, maxRelations, sql)
		return texts(t), err
	}
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

// polls is how often a statement that refuses a transaction is looked at.
const polls = 500 * time.Microsecond

// Alone runs a statement outside of a transaction and looks on while it does. A
// lock that is held for less than a millisecond can be missed. What it does
// stays done.
func (t *Tracer) Alone(ctx context.Context, sql string) (Trace, error) {
	before, err := relations(ctx, t.observer)
	if err != nil {
		return Trace{}, err
	}
	out := Trace{Locks: []Lock{}}
	done := make(chan error, 1)
	start := time.Now()
	go func() {
		done <- t.worker.Script(ctx, sql)
	}()
	ticker := time.NewTicker(polls)
	defer ticker.Stop()
	for waiting := true; waiting; {
		select {
		case err = <-done:
			waiting = false
		case <-ticker.C:
			held, lookErr := t.locks(ctx)
			if lookErr != nil {
				<-done
				return Trace{}, lookErr
			}
			out.note(held, before)
		}
	}
	out.Took = time.Since(start)
	if postgres.Code(err) != "" {
		out.Error = postgres.Message(err, "")
		return out, nil
	}
	if err != nil {
		return Trace{}, fmt.Errorf("run the statement: %w", err)
	}
	after, err := relations(ctx, t.observer)
	if err != nil {
		return Trace{}, err
	}
	empty, err := emptied(ctx, before, after, asking(t.observer))
	if err != nil {
		return Trace{}, err
	}
	out.compare(before, after, nil, nil, empty)
	return out, nil
}

// Refuses reports whether a statement is one that PostgreSQL runs outside of
// transactions only.
func Refuses(sql string) bool {
	text := strings.ToUpper(sql)
	return strings.Contains(text, "CONCURRENTLY") && !strings.HasPrefix(text, "REFRESH") || strings.HasPrefix(text, "VACUUM")
}
