package sqlite

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"allclear.dev/allclear/internal/journal"
)

// What one commit takes at most. The first request of a commit always goes in.
const (
	maxBatchBytes    = 8 << 20
	maxBatchRequests = 512
)

// request is one Append on its way.
type request struct {
	run             string
	expected, epoch uint64
	bodies          [][]byte
	events          []journal.Event
	err             error
	// done is closed when events and err are the answer, lead when it is this
	// request's turn to commit for all that wait.
	done, lead chan struct{}
}

// size is the bytes of the bodies.
func (r *request) size() int {
	n := 0
	for _, body := range r.bodies {
		n += len(body)
	}
	return n
}

// queue lets many goroutines append with few commits. Who comes while nobody is at
// work commits by itself, in its own goroutine, which saves an append alone two
// switches. Who comes meanwhile waits; when the commit is done, the first who waits
// commits for all who do.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	// busy tells that some goroutine is at work or was called to it.
	busy   bool
	closed bool
	idle   sync.Cond // busy became false
	// commit answers the requests of a batch. It is called by one goroutine at a time.
	commit func([]*request)
}

// newQueue makes a queue in front of a commit.
func newQueue(commit func([]*request)) *queue {
	q := &queue{commit: commit}
	q.idle.L = &q.mu
	return q
}

// submit gives a request its answer. A context that ends while the request waits
// takes it out again; a commit that has begun is waited for.
func (q *queue) submit(ctx context.Context, r *request) ([]journal.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.done, r.lead = make(chan struct{}), make(chan struct{})
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil, journal.ErrClosed
	}
	q.waiting = append(q.waiting, r)
	first := !q.busy
	q.busy = true
	q.mu.Unlock()
	if first {
		q.work()
		return r.events, r.err
	}
	select {
	case <-r.done:
	case <-r.lead:
		q.work()
	case <-ctx.Done():
		if q.withdraw(r) {
			return nil, ctx.Err()
		}
		select {
		case <-r.done:
		case <-r.lead:
			q.work()
		}
	}
	return r.events, r.err
}

// withdraw takes a request out, unless it is part of a commit or was called to
// lead.
func (q *queue) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-r.lead:
		return false
	default:
	}
	i := slices.Index(q.waiting, r)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// work commits one batch, which the caller's request is part of, and calls the next
// to lead.
func (q *queue) work() {
	q.gather()
	batch := q.take()
	q.commit(batch)
	for _, r := range batch {
		close(r.done)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		close(q.waiting[0].lead)
		return
	}
	q.busy = false
	q.idle.Broadcast()
}

// gather yields as long as that brings more requests: goroutines that have just been
// answered come back with their next append, and no commit is wasted on a few of
// them. An append alone yields once.
func (q *queue) gather() {
	for before := 1; ; {
		runtime.Gosched()
		q.mu.Lock()
		now := len(q.waiting)
		q.mu.Unlock()
		if now <= before || now >= maxBatchRequests {
			return
		}
		before = now
	}
}

// take takes the requests of one commit, oldest first.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.waiting) && n < maxBatchRequests && (n == 0 || bytes+q.waiting[n].size() <= maxBatchBytes) {
		bytes += q.waiting[n].size()
		n++
	}
	batch := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return batch
}

// close lets nobody in any more and waits until all who are in have their answer.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for q.busy {
		q.idle.Wait()
	}
}
