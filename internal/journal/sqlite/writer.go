package sqlite

import (
	"context"
	"errors"

	"allclear.dev/allclear/internal/journal"
)

// maxTails is how many tails of runs are remembered.
const maxTails = 4096

// writer writes. Its fields but queue belong to the goroutine whose turn it is in
// the queue.
type writer struct {
	queue   *queue
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
	w := &writer{dir: dir, anchors: anchors, tails: map[string]journal.Tail{}}
	w.queue = newQueue(w.commit)
	session, err := openSession(ctx, dir, true)
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

// shut closes the files; nobody is at work.
func (w *writer) shut() error {
	var err error
	if w.session != nil {
		err = w.session.close()
		w.session = nil
	}
	return errors.Join(err, w.anchors.close())
}

// staged is a commit in the making: what the state will be once it is stored.
type staged struct {
	requests []*request
	events   []journal.Event
	// stored are the hashes that each event adds to the log, its leaf first.
	stored [][][32]byte
	tree   *journal.Tree
	tails  map[string]journal.Tail
	end    stored
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
			next.stored = append(next.stored, next.tree.Add(journal.Leaf(event.Hash)))
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
