package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// reply is what a handler returned.
type reply struct {
	bytes []byte
	err   error
}

// call runs the handler to its end, its timeout or a stop.
func (s *session) call(handler Handler) Result {
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), attemptKey{}, s))
	defer cancel(nil)
	out := &capture{path: s.path + outSuffix}
	from := Boottime()
	replies := make(chan reply, 1)
	go s.invoke(ctx, handler, out, replies)

	result := Result{ID: s.intent.ID}
	answer, returned, cause := s.await(replies)
	if !returned {
		result.TimedOut = errors.Is(cause, ErrTimeout)
		result.Stopped = errors.Is(cause, ErrStopped)
		cancel(cause)
		answer, returned = s.end(replies)
	}
	result.Abandoned = !returned
	result.Elapsed = Boottime() - from
	result.Output = out.finish()
	result.put(answer)
	if hasChildren() {
		result.Leftover = descendants(os.Getpid())
	}
	// A point that fails here would mean a lost result; only a kill is tested.
	_ = s.reach("handler returned")
	return result
}

// invoke calls the handler and always replies, also after a panic.
func (s *session) invoke(ctx context.Context, handler Handler, out io.Writer, replies chan<- reply) {
	answer := reply{err: errors.New("the handler ended without returning")}
	defer func() {
		if problem := recover(); problem != nil {
			answer = reply{err: panicked(problem)}
		}
		replies <- answer
	}()
	bytes, err := handler(ctx, s.intent.Job, out)
	answer = reply{bytes, err}
}

// panicked describes a panic without its value, which may hold a secret, unless
// the runtime made it.
func panicked(problem any) error {
	if fault, ok := problem.(runtime.Error); ok {
		return fmt.Errorf("the handler panicked: %w\n%s", fault, debug.Stack())
	}
	return fmt.Errorf("the handler panicked with a %T\n%s", problem, debug.Stack())
}

// await waits for the first of reply, timeout and stop.
func (s *session) await(replies <-chan reply) (answer reply, returned bool, cause error) {
	var limit <-chan time.Time
	if s.intent.Timeout > 0 {
		timer := time.NewTimer(s.intent.Timeout)
		defer timer.Stop()
		limit = timer.C
	}
	for {
		select {
		case answer = <-replies:
			return answer, true, nil
		case <-limit:
			return reply{}, false, ErrTimeout
		case got := <-s.signals:
			if got != syscall.SIGHUP {
				return reply{}, false, ErrStopped
			}
		}
	}
}

// end makes everything that the handler started end, and gives its reply if it
// made one after all. A second signal shortens the grace.
func (s *session) end(replies <-chan reply) (answer reply, returned bool) {
	const lastChance = time.Second
	s.signalAll(syscall.SIGTERM)
	grace := time.NewTimer(s.intent.Grace)
	defer grace.Stop()
	select {
	case answer = <-replies:
		returned = true
	case <-grace.C:
	case <-s.signals:
	}
	s.killAll()
	if returned {
		return answer, true
	}
	select {
	case answer = <-replies:
		return answer, true
	case <-time.After(lastChance):
		return reply{}, false
	}
}

// signalAll sends a signal to everything that descends from the handler. What it
// misses, because it was started meanwhile, killAll finds.
func (s *session) signalAll(with syscall.Signal) (found bool) {
	if !hasChildren() {
		return false
	}
	for _, one := range descendants(os.Getpid()) {
		// Another user's process cannot be signalled: it is listed as left over.
		_ = signalProcess(one, with)
		found = true
	}
	return found
}

// killAll kills until nothing is left, or for two seconds.
func (s *session) killAll() {
	const looks, between = 200, 10 * time.Millisecond
	for range looks {
		if !s.signalAll(syscall.SIGKILL) {
			return
		}
		time.Sleep(between)
	}
}

// put fills in what the handler returned, within the limits.
func (r *Result) put(answer reply) {
	const longestError = 64 << 10
	if len(answer.bytes) > MaxResult {
		tooLong := fmt.Errorf("the handler returned %d bytes, more than %d", len(answer.bytes), MaxResult)
		answer = reply{err: errors.Join(answer.err, tooLong)}
	}
	r.Bytes = answer.bytes
	if answer.err == nil {
		return
	}
	r.Error = answer.err.Error()
	if r.Error == "" {
		r.Error = "an error without a text"
	}
	r.Error = r.Error[:min(len(r.Error), longestError)]
}
