package trace

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/wire"
)

// maxEvents bounds the statements that are kept; more are counted.
const maxEvents = 10_000

// Event is one statement of a client and what it did.
type Event struct {
	wire.Statement
	Trace
	// Fresh are the locks that it took and the transaction did not have before.
	Fresh []Lock
}

// Transaction is one transaction of a client, or one statement that stood alone.
type Transaction struct {
	Session, Number int
	Events          []Event
	Start, End      time.Time
	Committed       bool
}

// Recorder writes down what clients of a wire.Proxy do to the relations that were
// there when it was opened.
type Recorder struct {
	light bool

	mu       sync.Mutex // of the observer and everything below
	observer *postgres.Conn
	base     map[string]relation
	open     map[int]*inside
	done     []Transaction
	events   int
	dropped  int
}

// inside is a client's transaction under way.
type inside struct {
	Transaction
	relations map[string]relation
	scans     map[string]int64
	held      map[string]Lock
	wal       int64
	stop      func() error
	polled    Trace
}

// Record opens a recorder on a database. A light one keeps statements and times
// and leaves the sessions alone, so that what it measures is what they cost.
func Record(ctx context.Context, server *postgres.Server, light bool) (*Recorder, error) {
	observer, err := server.Open(ctx, postgres.Options{})
	if err != nil {
		return nil, err
	}
	base, err := relations(ctx, observer)
	if err != nil {
		observer.Close()
		return nil, err
	}
	return &Recorder{observer: observer, base: base, light: light, open: map[int]*inside{}}, nil
}

// Settings are what a session needs so that its scans can be counted: helpers
// would count in their own processes.
func (r *Recorder) Settings() map[string]string {
	if r.light {
		return nil
	}
	return map[string]string{"max_parallel_maintenance_workers": "0", "max_parallel_workers_per_gather": "0"}
}

// Close ends the observer's session.
func (r *Recorder) Close() { r.observer.Close() }

// Transactions gives what was recorded, in the order of their ends, and how many
// statements were too many to keep.
func (r *Recorder) Transactions() (done []Transaction, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.done), r.dropped
}

// Begin notes how things are before a transaction.
func (r *Recorder) Begin(ctx context.Context, session int, ask wire.Ask) error {
	in := &inside{held: map[string]Lock{}, Transaction: Transaction{Session: session, Start: time.Now()}}
	if !r.light {
		var err error
		if in.relations, err = r.see(ctx); err != nil {
			return err
		}
		if in.scans, err = askScans(ctx, ask); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[session] = in
	return nil
}

func (r *Recorder) see(ctx context.Context) (map[string]relation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return relations(ctx, r.observer)
}

func askScans(ctx context.Context, ask wire.Ask) (map[string]int64, error) {
	rows, err := ask(ctx, scansSQL)
	if err != nil {
		return nil, err
	}
	return counted(rows)
}

// Starts notes the log's position, and looks on while a statement stands alone.
func (r *Recorder) Starts(ctx context.Context, st *wire.Statement) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.open[st.Session]
	in.Number = st.Transaction
	if r.light {
		return nil
	}
	var err error
	if in.wal, err = writtenBy(ctx, r.observer); err == nil && st.Alone {
		r.poll(ctx, st.PID, in)
	}
	return err
}

// poll reads a process's locks every half millisecond until in.stop is called.
func (r *Recorder) poll(ctx context.Context, pid uint32, in *inside) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	in.polled = Trace{}
	go func() {
		for ctx.Err() == nil {
			r.mu.Lock()
			locks, err := locksOf(ctx, r.observer, strconv.Itoa(int(pid)))
			r.mu.Unlock()
			if ctx.Err() == nil && err != nil {
				done <- err
				return
			}
			if err == nil {
				in.polled.note(locks, r.base)
			}
			select {
			case <-ctx.Done():
			case <-time.After(polls):
			}
		}
		done <- nil
	}()
	in.stop = func() error {
		cancel()
		return <-done
	}
}

// Held notes what a statement did.
func (r *Recorder) Held(ctx context.Context, st *wire.Statement, ask wire.Ask) error {
	r.mu.Lock()
	in := r.open[st.Session]
	r.mu.Unlock()
	e := Event{Statement: *st, Trace: Trace{Locks: []Lock{}, Took: st.Took}}
	if st.Code != "" {
		e.Error = st.Message + " (SQLSTATE " + st.Code + ")"
	}
	if in.stop != nil { // also after a light beginning, there is nothing to stop
		err := in.stop()
		in.stop = nil
		if err != nil {
			return err
		}
		e.Locks = in.polled.Locks
	}
	if !r.light {
		if err := r.look(ctx, in, &e, ask); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Of very many statements about rows, those that lock nobody out can be left out;
	// every other one is kept, or watching has failed.
	r.events++
	quiet := isData(e.Tag) && e.Error == "" && !slices.ContainsFunc(e.Fresh, Lock.Blocks)
	switch {
	case r.events > maxEvents && quiet:
		r.dropped++
		return nil
	case r.events > maxEvents && r.events-r.dropped > 10*maxEvents:
		return fmt.Errorf("more than %d statements that lock or change a structure", 10*maxEvents)
	}
	in.Events = append(in.Events, e)
	return nil
}

// look reads the locks from outside and the rest from inside. Questions from
// inside may wait for another client of the proxy, which must be able to go on.
func (r *Recorder) look(ctx context.Context, in *inside, e *Event, ask wire.Ask) error {
	done, err := r.lookOutside(ctx, in, e, ask != nil)
	if done || err != nil {
		return err
	}
	rows, err := ask(ctx, relationsSQL)
	if err != nil {
		return err
	}
	scans, err := askScans(ctx, ask)
	if err != nil {
		return err
	}
	after, before := listed(rows), r.known(in.relations)
	empty, err := emptied(ctx, before, after, ask)
	if err != nil {
		return err
	}
	e.compare(before, after, in.scans, scans, empty)
	in.relations, in.scans = after, scans
	return nil
}

// lookOutside reads what the observer sees, and tells whether that is all.
func (r *Recorder) lookOutside(ctx context.Context, in *inside, e *Event, inTransaction bool) (done bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end, err := writtenBy(ctx, r.observer)
	if err != nil {
		return true, err
	}
	e.WAL = end - in.wal
	if e.Alone {
		return true, r.lookAfter(ctx, in, e)
	}
	if !inTransaction {
		return true, nil // refused: what it held is being given back
	}
	locks, err := locksOf(ctx, r.observer, strconv.Itoa(int(e.PID)))
	if err != nil {
		return true, err
	}
	e.note(locks, r.base)
	e.Fresh = in.fresh(e.Locks)
	// What reads and changes rows, and nothing else, is seen by its locks.
	return isData(e.Tag) && !slices.ContainsFunc(e.Fresh, Lock.Blocks), nil
}

// lookAfter compares from outside what a statement that stood alone has left.
func (r *Recorder) lookAfter(ctx context.Context, in *inside, e *Event) error {
	e.Fresh = slices.Clone(e.Locks)
	after, err := relations(ctx, r.observer)
	if err != nil {
		return err
	}
	before := r.known(in.relations)
	empty, err := emptied(ctx, before, after, asking(r.observer))
	if err != nil {
		return err
	}
	e.compare(before, after, nil, nil, empty)
	in.relations = after
	return nil
}

// known leaves of the relations those that were there at the beginning, and the
// indexes that have taken the place of such.
func (r *Recorder) known(all map[string]relation) map[string]relation {
	out := map[string]relation{}
	tables := map[string]bool{}
	for _, b := range r.base {
		tables[b.name] = b.kind != "i"
	}
	for oid, is := range all {
		if _, was := r.base[oid]; was || is.kind == "i" && tables[is.table] {
			out[oid] = is
		}
	}
	return out
}

// fresh gives the locks that are new or stronger, and remembers them.
func (in *inside) fresh(locks []Lock) []Lock {
	var out []Lock
	for _, l := range locks {
		if strength(l.Mode) > strength(in.held[l.Relation].Mode) {
			in.held[l.Relation] = l
			out = append(out, l)
		}
	}
	return out
}

// isData tells by the server's word that a statement was about rows.
func isData(tag string) bool {
	word, _, _ := strings.Cut(tag, " ")
	return slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "SET", "SHOW", "BEGIN", "SAVEPOINT", "RELEASE"}, word)
}

// Ended keeps a transaction.
func (r *Recorder) Ended(_ context.Context, session, _ int, committed bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.open[session]
	delete(r.open, session)
	in.End, in.Committed = time.Now(), committed
	if len(in.Events) > 0 {
		r.done = append(r.done, in.Transaction)
	}
	return nil
}

// Blocks tells that writers, or also readers, of a relation have to wait.
func (l Lock) Blocks() bool { return strength(l.Mode) >= strength("ShareLock") }

// Readers tells that the lock keeps readers out too.
func (l Lock) Readers() bool { return l.Mode == "AccessExclusiveLock" }

// Work reports whether anything was scanned, written again or built.
func (t Trace) Work() bool { return len(t.Scanned)+len(t.Rewritten)+len(t.Built) > 0 }

// Hazard reports whether somebody had to wait for real work: writers or readers of
// a relation were kept out by a lock, and something was scanned, written again or
// built meanwhile. A lock on an index alone, at the end of a build that otherwise
// keeps nobody out, is brief.
func (e Event) Hazard() bool {
	return e.Work() && slices.ContainsFunc(e.Locks, func(l Lock) bool { return l.Blocks() && (!e.Alone || !e.builtIndex(l)) })
}

func (e Event) builtIndex(l Lock) bool {
	return !slices.Contains(slices.Concat(e.Built, e.Scanned, e.Rewritten), l.Relation)
}

// Window is how long a relation was locked against writers or readers within a
// transaction: from the statement that took the lock to the end.
type Window struct {
	Relation, Mode string
	// By is the statement that took the lock, counted from 0.
	By   int
	Took time.Duration
	// During are how many statements were carried out meanwhile.
	During int
}

// Windows gives the locks that kept others out, each in its strongest mode, with
// the time from its first blocking mode on. A statement that stood alone holds
// such locks for moments that are not measured.
func (t Transaction) Windows() []Window {
	first := map[string]int{}
	mode := map[string]string{}
	for i, e := range t.Events {
		if e.Alone {
			continue
		}
		for _, l := range e.Fresh {
			if !l.Blocks() {
				continue
			}
			if _, had := first[l.Relation]; !had {
				first[l.Relation] = i
			}
			mode[l.Relation] = l.Mode
		}
	}
	var out []Window
	for _, name := range slices.Sorted(maps.Keys(first)) {
		i := first[name]
		out = append(out, Window{Relation: name, Mode: mode[name], By: i, Took: t.End.Sub(t.Events[i].Start), During: len(t.Events) - i})
	}
	return out
}
