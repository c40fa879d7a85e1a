package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"allclear.dev/allclear/internal/journal"
)

// What one commit takes at most. The first request of a commit always goes in.
const (
	maxBatchBytes    = 8 << 20
	maxBatchRequests = 512
	// maxTails is how many tails of runs are remembered.
	maxTails = 4096
)

// request is one Append on its way.
type request struct {
	run             string
	expected, epoch uint64
	bodies          [][]byte
	// state goes from waiting to taken (by the writer) or dropped (by its context).
	state  atomic.Int32
	done   chan struct{}
	events []journal.Event
	err    error
}

const (
	waiting = iota
	taken
	dropped
)

// size is the bytes of the bodies.
func (r *request) size() int {
	n := 0
	for _, body := range r.bodies {
		n += len(body)
	}
	return n
}

// writer is the one goroutine that writes. Its fields but queue, quit and idle
// belong to that goroutine.
type writer struct {
	queue chan *request
	quit  chan struct{}
	idle  chan struct{}
	once  sync.Once

	dir     string
	session *session
	anchors *anchors
	ballast *ballast
	tree    *journal.Tree
	tails   map[string]journal.Tail
	// failed is why nothing is written any more.
	failed error
}

// newWriter opens the database and applies the start-up rule.
func newWriter(ctx context.Context, dir string, anchors *anchors) (*writer, error) {
	w := &writer{
		queue: make(chan *request), quit: make(chan struct{}), idle: make(chan struct{}),
		dir: dir, anchors: anchors, tails: map[string]journal.Tail{},
	}
	session, err := openSession(ctx, dir)
	if err != nil {
		return nil, err
	}
	w.session = session
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, session.close())
	}
	return w, nil
}

// start checks the database against the anchors and anchors a last commit that has
// no anchor yet.
func (w *writer) start(ctx context.Context) error {
	end, err := readStored(ctx, w.session.conn)
	if err != nil {
		return err
	}
	if err := w.anchors.newest.check(end, false, rootAt(ctx, w.session.conn)); err != nil {
		return err
	}
	if w.tree, err = journal.RestoreTree(end.size, nodeReader(ctx, w.session.conn)); err != nil {
		return err
	}
	head, err := w.session.checkBatch(ctx, end)
	if err != nil {
		return err
	}
	if end.size == w.anchors.newest.size {
		return nil
	}
	return w.anchors.write(anchor{size: end.size, root: w.tree.Root(), head: head})
}

// submit hands a request to the writer and waits for its outcome.
func (w *writer) submit(ctx context.Context, r *request) ([]journal.Event, error) {
	r.done = make(chan struct{})
	select {
	case w.queue <- r:
	case <-w.quit:
		return nil, journal.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, dropped) {
			return nil, ctx.Err()
		}
		<-r.done
	}
	return r.events, r.err
}

// stop ends the goroutine and closes everything.
func (w *writer) stop() error {
	w.once.Do(func() { close(w.quit) })
	<-w.idle
	return w.shut()
}

// shut closes the files; the goroutine is not running.
func (w *writer) shut() error {
	var err error
	if w.session != nil {
		err = w.session.close()
		w.session = nil
	}
	return errors.Join(err, w.anchors.close())
}

// loop is the goroutine.
func (w *writer) loop() {
	defer close(w.idle)
	for {
		select {
		case r := <-w.queue:
			w.commit(w.collect(r))
		case <-w.quit:
			return
		}
	}
}

// collect takes all requests that are ready: they share one commit. Those whose
// context has ended are left out. Yielding once lets goroutines that have just been
// answered come back with their next append, so that a commit is not wasted on the
// first of them.
func (w *writer) collect(first *request) []*request {
	var batch []*request
	bytes := 0
	add := func(r *request) {
		if r.state.CompareAndSwap(waiting, taken) {
			batch = append(batch, r)
			bytes += r.size()
		}
	}
	add(first)
	runtime.Gosched()
	for len(batch) < maxBatchRequests && bytes < maxBatchBytes {
		select {
		case r := <-w.queue:
			add(r)
		default:
			return batch
		}
	}
	return batch
}

// staged is a commit in the making: what the state will be once it is stored.
type staged struct {
	requests []*request
	events   []journal.Event
	nodes    [][32]byte
	tree     *journal.Tree
	tails    map[string]journal.Tail
	end      stored
}

// commit stores what can be stored of a batch and answers all its requests.
func (w *writer) commit(batch []*request) {
	next, err := w.stage(batch)
	if err == nil && len(next.events) > 0 {
		err = w.store(next)
	}
	if err == nil {
		w.accept(next)
	}
	for _, r := range batch {
		if err != nil && r.err == nil {
			r.events, r.err = nil, err
		}
		close(r.done)
	}
}

// stage makes the events of a batch. A request that does not fit its run's tail is
// answered by itself and harms no other.
func (w *writer) stage(batch []*request) (*staged, error) {
	if w.failed != nil {
		return nil, w.failed
	}
	next := &staged{tree: w.tree.Clone(), tails: map[string]journal.Tail{}}
	next.end.batch = w.tree.Size()
	for _, r := range batch {
		tail, known := next.tails[r.run]
		if !known {
			var err error
			if tail, err = w.tail(r.run); err != nil {
				r.err = err
				continue
			}
		}
		if r.err = tail.Admit(r.run, r.expected, r.epoch); r.err != nil {
			continue
		}
		r.events = journal.Chain(r.run, tail, r.epoch, r.bodies)
		for _, event := range r.events {
			next.nodes = append(next.nodes, next.tree.Add(journal.Leaf(event.Hash))...)
		}
		next.events = append(next.events, r.events...)
		next.requests = append(next.requests, r)
		next.tails[r.run] = r.events[len(r.events)-1].Tail()
	}
	next.end.size = next.tree.Size()
	return next, nil
}

// tail gives the end of a run, from memory if it is there.
func (w *writer) tail(run string) (journal.Tail, error) {
	if tail, ok := w.tails[run]; ok {
		return tail, nil
	}
	return readTail(context.Background(), w.session.conn, run)
}

// accept makes a stored commit the state.
func (w *writer) accept(next *staged) {
	if len(w.tails)+len(next.tails) > maxTails {
		clear(w.tails)
	}
	for run, tail := range next.tails {
		w.tails[run] = tail
	}
	w.tree = next.tree
}

// store writes the commit and then its anchor. When it returns nil both are
// durable.
func (w *writer) store(next *staged) error {
	if err := w.session.write(next); err != nil {
		if err := w.settle(next, err); err != nil {
			return err
		}
	}
	last := next.events[len(next.events)-1]
	if err := w.anchors.write(anchor{size: next.end.size, root: next.tree.Root(), head: last.Hash}); err != nil {
		return w.halt(&journal.UncertainError{Cause: err})
	}
	w.ballast.refill()
	return nil
}

// halt ends all writing: this append and every later one get the error.
func (w *writer) halt(err error) error {
	w.failed = err
	if w.session != nil {
		w.failed = errors.Join(err, w.session.close())
		w.session = nil
	}
	return w.failed
}

// errNotStored is the cause of a commit that failed twice.
var errNotStored = errors.New("nothing was stored")

// settle is the protocol after an error of a commit, whose outcome is unknown:
// close everything, open it again and look at the tail. Stored: nil. Not stored:
// the same bytes once more, or the error. Cannot be told: halt.
func (w *writer) settle(next *staged, cause error) error {
	for try := 0; ; try++ {
		closeErr := w.session.close()
		w.session = nil
		if syncFailed(cause) {
			return w.halt(&journal.UncertainError{Cause: cause})
		}
		if err := classify(cause); errors.Is(err, journal.ErrCorrupt) {
			return w.halt(err)
		}
		full := code(cause)&0xff == codeFull
		freed := int64(0)
		if full {
			freed = w.ballast.release()
		}
		isStored, err := w.reopen(next)
		switch {
		case err != nil:
			return w.halt(&journal.UncertainError{Cause: errors.Join(cause, closeErr, err)})
		case isStored:
			return nil
		case full:
			return &journal.FullError{Cause: cause, Freed: freed}
		case try > 0:
			return fmt.Errorf("append: %w: %w", errNotStored, cause)
		}
		if cause = w.session.write(next); cause == nil {
			return nil
		}
	}
}

// reopen opens the database again and tells whether it holds the commit. Opening
// moves the WAL into the database file and syncs it, so what is seen is durable.
func (w *writer) reopen(next *staged) (isStored bool, err error) {
	ctx := context.Background()
	if w.session, err = openSession(ctx, w.dir); err != nil {
		return false, err
	}
	end, err := readStored(ctx, w.session.conn)
	if err != nil {
		return false, err
	}
	want := w.tree
	if end.size == next.end.size {
		want = next.tree
	}
	root, err := rootAt(ctx, w.session.conn)(end.size)
	if err != nil {
		return false, err
	}
	if end.size != want.Size() || root != want.Root() {
		return false, &journal.CorruptError{Reason: fmt.Sprintf("after an error the database holds %d other events than the %d that were written", end.size, want.Size())}
	}
	return want == next.tree, nil
}
