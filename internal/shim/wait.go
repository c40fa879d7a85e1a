package shim

import (
	"context"
	"fmt"
	"time"
)

// Wait returns when the attempt is no longer running, with its result if it is
// Finished. If ctx ends first the state is Running and the error ctx's; the
// attempt goes on. NeverStarted comes with an error if this process started the
// shim and the shim said why it could not call the handler.
func (a *Attempt) Wait(ctx context.Context) (Result, State, error) {
	if a.done != nil {
		select {
		case <-ctx.Done():
			return Result{}, Running, ctx.Err()
		case <-a.done:
		}
		if result, err := a.result(); err == nil {
			return result, Finished, nil
		}
	}
	state, err := a.watch(ctx)
	switch {
	case err != nil:
		return Result{}, state, err
	case state == Finished:
		result, err := a.result()
		return result, state, err
	case state == NeverStarted && a.complaint != "":
		return Result{}, state, fmt.Errorf("attempt %s: %s", a.ID, a.complaint)
	}
	return Result{}, state, nil
}

// watch follows an attempt whose shim is not this process's child, or has
// already ended. It looks again after every change in the directory, a few times
// in quick succession because the kernel reports a closed lock just before it
// frees it, and slowly in between for what no event tells: the end of a process
// that does not hold the lock.
func (a *Attempt) watch(ctx context.Context) (State, error) {
	const quick, slow = time.Millisecond, 250 * time.Millisecond
	events, stop := watchDir(a.Dir)
	defer stop()
	interval := quick
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		state, err := a.State()
		if err != nil || state != Running {
			return state, err
		}
		timer.Reset(interval)
		select {
		case <-ctx.Done():
			return Running, ctx.Err()
		case <-events:
			interval = quick
		case <-timer.C:
			interval = min(interval*2, slow)
		}
	}
}
