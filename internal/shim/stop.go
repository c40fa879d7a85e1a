package shim

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Stop tells the attempt to end and waits until it has: SIGTERM to everything
// the handler started, the handler's context cancelled, and after grace SIGKILL.
// The shim then stores a result that says Stopped. Only if the shim does not
// answer either is it killed too, and the attempt is InDoubt.
//
// The error is ErrNotRunning if there was nothing to stop.
func (a *Attempt) Stop(ctx context.Context, grace time.Duration) (State, error) {
	state, err := a.State()
	if err != nil {
		return state, err
	}
	if state != Running {
		return state, fmt.Errorf("attempt %s: %w", a.ID, ErrNotRunning)
	}
	if err := a.waitBegun(ctx); err != nil {
		return Running, err
	}
	// A shim takes the first signal as a request and any further one as an order.
	// The order is repeated, because signals that are pending together are one. A
	// process whose shim is gone gets the signals itself.
	const orders, between, lastWait = 20, 250 * time.Millisecond, 5 * time.Second
	steps := []stopStep{{syscall.SIGTERM, syscall.SIGTERM, grace}}
	for range orders {
		steps = append(steps, stopStep{syscall.SIGTERM, syscall.SIGKILL, between})
	}
	steps = append(steps, stopStep{syscall.SIGKILL, syscall.SIGKILL, lastWait})
	for _, step := range steps {
		if err := a.signal(step.shim, step.others); err != nil {
			return Running, err
		}
		state, err = a.waitFor(ctx, step.wait)
		if err != nil || state != Running {
			return state, err
		}
	}
	return Running, fmt.Errorf("attempt %s: still running after it was killed", a.ID)
}

// stopStep is one step of Stop: which signals, and how long to wait after them.
type stopStep struct {
	shim, others syscall.Signal
	wait         time.Duration
}

// waitBegun waits until the shim can be told to stop, which it can a moment after
// it was spawned: its pid is in the file. An attempt that ends before that,
// or that takes long to begin, is left to what Stop does next.
func (a *Attempt) waitBegun(ctx context.Context) error {
	const looks, between = 2000, time.Millisecond
	for range looks {
		if state, known, err := a.look(); err != nil || known.begun || state != Running {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(between):
		}
	}
	return nil
}

// signal sends one signal to the shim, or another to what is left without it.
func (a *Attempt) signal(toShim, toOthers syscall.Signal) error {
	_, known, err := a.look()
	if err != nil {
		return err
	}
	all := a.survivors(known)
	for _, one := range all {
		if one.PID == known.started.PID && toShim != syscall.SIGKILL {
			return signalProcess(one, toShim)
		}
	}
	var failed error
	for _, one := range all {
		failed = errors.Join(failed, signalProcess(one, toOthers))
	}
	return failed
}

// waitFor gives the state after at most limit.
func (a *Attempt) waitFor(ctx context.Context, limit time.Duration) (State, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, state, err := a.Wait(limited)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return Running, nil
	}
	return state, err
}
