package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/shim"
)

const (
	// renewEvery is how often the lease is renewed; a lease lasts 60 s.
	renewEvery = 15 * time.Second
	// maxBatch bounds how many events are committed together.
	maxBatch = 256
)

// ErrLeaseLost means that another process may be driving this environment now.
var ErrLeaseLost = errors.New("the deployment lease was lost")

// Lease is the right to deploy to an environment, kept on the target.
type Lease interface {
	// Renew keeps the lease; an error means that it is unknown whether it stands.
	Renew(ctx context.Context) error
	// Token grows with every holder; it fences off earlier ones.
	Token() uint64
	// Release gives the lease back.
	Release(ctx context.Context) error
}

// Options say what a run is driven with.
type Options struct {
	World *World
	Log   journal.Log
	// Run is the run's id.
	Run string
	// Attempts is the folder of the actions' attempts; Shim says how they start.
	Attempts string
	Shim     shim.Options
	Lease    Lease
	// Open gives the journal of another environment.
	Open func(ctx context.Context, environment string) (journal.Reader, error)
	// Notify tells people, once for each Attempt: after a crash it is asked again for
	// what may not have been sent. It may take its time, within limits of its own.
	Notify func(ctx context.Context, effect run.Effect, s *run.State)
	// BypassToken is the secret reference of the maintenance bypass.
	BypassToken string
	// Verify checks the signature of a sign-off or an attestation before its event
	// is accepted; nil accepts no sign-off.
	Verify func(event run.Event, s *run.State) error
	// ProbeGap is the time between the two probes that must agree.
	ProbeGap time.Duration
}

// Engine drives one run.
type Engine struct {
	Options
	state    run.State
	tail     journal.Tail
	incoming chan message
	queue    []message
	timers   map[string]*time.Timer
	pools    map[string]chan struct{}
	requests map[string]bool
	working  sync.WaitGroup
}

// message is an event on its way into the journal.
type message struct {
	event run.Event
	reply chan error
}

// Begin appends the first event of a run. The run is driven by Drive.
func Begin(ctx context.Context, log journal.Log, started run.Event) error {
	started.PlanDigest = started.Plan.Digest()
	body, err := journal.Canonical(started)
	if err != nil {
		return fmt.Errorf("encode the run's start: %w", err)
	}
	if _, err := log.Append(ctx, started.Run, 0, started.Epoch, body); err != nil {
		return fmt.Errorf("record the run's start: %w", err)
	}
	return nil
}

// farPrograms is the pool of programs on one of several hosts: they wait for the
// network more than for a processor of this machine.
const farPrograms = "hosts"

// New makes the engine of a run that has begun.
func New(opts Options) *Engine {
	pools := map[string]chan struct{}{
		string(check.Network):  make(chan struct{}, 200),
		string(check.Exec):     make(chan struct{}, 2*runtime.NumCPU()),
		string(check.Database): make(chan struct{}, 4),
		farPrograms:            make(chan struct{}, 64),
	}
	return &Engine{
		Options: opts, incoming: make(chan message), timers: map[string]*time.Timer{},
		pools: pools, requests: map[string]bool{},
	}
}

// Drive takes the run up where it stands and goes on until it is closed, ctx
// ends, the lease is lost or the journal fails. Actions under way outlive it.
func (e *Engine) Drive(ctx context.Context) (run.State, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer func() {
		stop(errors.New("the run's process ends"))
		for _, t := range e.timers {
			t.Stop()
		}
		e.working.Wait()
	}()
	var err error
	var told []run.Effect
	if e.state, e.tail, told, err = replay(ctx, e.Log, e.Run, e.requests); err != nil {
		return e.state, err
	}
	fence, err := shim.Fence(e.Attempts)
	if err != nil {
		return e.state, err
	}
	// Higher than that of every process before, of this run and of earlier ones:
	// otherwise their fence would keep our own actions out.
	epoch := max(e.tail.Epoch, fence) + 1
	if e.Lease != nil {
		epoch = max(epoch, e.Lease.Token())
		go e.renew(ctx, stop)
	}
	if err := shim.RaiseFence(e.Attempts, epoch); err != nil {
		return e.state, fmt.Errorf("raise the fence: %w", err)
	}
	if !e.state.Closed {
		e.push(run.Event{Type: run.RunResumed, Epoch: epoch})
	}
	for _, notice := range told { // all else is asked for again by the resumption
		if e.state.StillTrue(notice) {
			e.perform(ctx, epoch, notice)
		}
	}
	err = e.loop(ctx, epoch)
	return e.state, err
}

func (e *Engine) loop(ctx context.Context, epoch uint64) error {
	for !e.state.Closed {
		batch := e.next(ctx)
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := e.commit(ctx, epoch, batch); err != nil {
			return err
		}
	}
	return nil
}

// next waits for events and takes all that are there.
func (e *Engine) next(ctx context.Context) []message {
	batch := e.queue
	e.queue = nil
	if len(batch) == 0 {
		select {
		case <-ctx.Done():
			return nil
		case m := <-e.incoming:
			batch = append(batch, m)
		}
	}
	for len(batch) < maxBatch {
		select {
		case m := <-e.incoming:
			batch = append(batch, m)
		default:
			return batch
		}
	}
	return batch
}

// commit appends events in one commit and only then adopts the state that
// follows from them and does what it asks for.
func (e *Engine) commit(ctx context.Context, epoch uint64, batch []message) error {
	state := e.state
	var bodies [][]byte
	var effects []run.Effect
	var accepted []message
	for _, m := range batch {
		if m.event.At.IsZero() {
			m.event.At = time.Now().UTC()
		}
		if refused := e.refuse(&state, m.event); refused != nil {
			m.answer(refused)
			continue
		}
		body, err := journal.Canonical(m.event)
		if err != nil {
			m.answer(fmt.Errorf("encode event: %w", err))
			continue
		}
		if m.event.Request != "" {
			e.requests[m.event.Request] = true
		}
		var next []run.Effect
		state, next = run.Step(state, m.event)
		bodies, effects, accepted = append(bodies, body), append(effects, next...), append(accepted, m)
	}
	if len(bodies) == 0 {
		return nil
	}
	stored, err := e.Log.Append(ctx, e.Run, e.tail.Seq, epoch, bodies...)
	if err != nil {
		for _, m := range accepted {
			m.answer(err)
		}
		return e.lost(ctx, epoch, err)
	}
	e.state, e.tail = state, stored[len(stored)-1].Tail()
	for _, m := range accepted {
		m.answer(nil)
	}
	for _, effect := range effects {
		e.perform(ctx, epoch, effect)
	}
	return nil
}

// lost ends the run's process when the journal does not take events. On a full
// disk the run is paused first, in the room that the journal keeps for that: what
// is under way ends and keeps its result, nothing new begins, and a person who
// has made room lets the run go on.
func (e *Engine) lost(ctx context.Context, epoch uint64, reason error) error {
	reason = fmt.Errorf("append to the journal: %w", reason)
	pause := run.Event{Type: run.Paused, Actor: "allclear", At: time.Now().UTC(), Reason: "the disk is full"}
	if !errors.Is(reason, journal.ErrFull) || run.Refuse(&e.state, pause) != nil {
		return reason
	}
	body, err := journal.Canonical(pause)
	if err != nil {
		return errors.Join(reason, err)
	}
	stored, err := e.Log.Append(ctx, e.Run, e.tail.Seq, epoch, body)
	if err != nil {
		return errors.Join(reason, fmt.Errorf("record the pause: %w", err))
	}
	e.state, _ = run.Step(e.state, pause)
	e.tail = stored[0].Tail()
	return reason
}

// errRepeated tells that a request has been carried out before; to whoever
// repeats it, that is success.
var errRepeated = errors.New("this request has been carried out already")

func (e *Engine) refuse(s *run.State, event run.Event) error {
	if event.Request != "" && e.requests[event.Request] {
		return errRepeated
	}
	if err := run.Refuse(s, event); err != nil {
		return err
	}
	switch {
	case event.Type == run.Signed && e.Verify == nil:
		return errors.New("this run takes no signatures: nobody's keys are known")
	case (event.Type == run.Signed || event.Type == run.Attested) && e.Verify != nil:
		return e.Verify(event, s)
	}
	return nil
}

func (m message) answer(err error) {
	if m.reply == nil {
		return
	}
	if errors.Is(err, errRepeated) {
		err = nil
	}
	m.reply <- err
}

// push queues an event of the loop itself.
func (e *Engine) push(event run.Event) { e.queue = append(e.queue, message{event: event}) }

// send hands an event from another goroutine to the loop.
func (e *Engine) send(ctx context.Context, event run.Event) {
	event.At = time.Now().UTC()
	select {
	case <-ctx.Done():
	case e.incoming <- message{event: event}:
	}
}

// Submit hands in what a person does and tells whether it was accepted and is
// durable.
func (e *Engine) Submit(ctx context.Context, event run.Event) error {
	m := message{event: event, reply: make(chan error, 1)}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case e.incoming <- m:
	}
	select {
	case err := <-m.reply:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-m.reply: // the run may end with what it was asked for
		return err
	default:
		return ctx.Err()
	}
}

// renew keeps the lease and stops the run when it cannot be kept.
func (e *Engine) renew(ctx context.Context, stop context.CancelCauseFunc) {
	const lasts = 60 * time.Second
	last := time.Now()
	for {
		if sleep(ctx, renewEvery) != nil {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, renewEvery)
		err := e.Lease.Renew(attempt)
		cancel()
		switch {
		case err == nil:
			last = time.Now()
		case time.Since(last) > lasts-renewEvery:
			stop(fmt.Errorf("%w: %w", ErrLeaseLost, err))
			return
		}
	}
}

// facts gives the facts that a job is made with, and whether maintenance is on.
func (e *Engine) facts() map[string]string {
	facts := maps.Clone(e.state.Facts)
	if facts == nil {
		facts = map[string]string{}
	}
	delete(facts, maintenanceFact)
	if _, on := e.state.Held[run.Maintenance]; on {
		facts[maintenanceFact] = "on"
	}
	return facts
}

// maintenanceFact tells a job that users see the maintenance page.
const maintenanceFact = "run.maintenance"
