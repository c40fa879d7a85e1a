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
	}
	state, known, err := a.watch(ctx)
	switch {
	case err != nil:
		return Result{}, state, err
	case state == Finished:
		return *known.result, state, nil
	case state == NeverStarted && a.complaint != "":
		return Result{}, state, fmt.Errorf("attempt %s: %s", a.ID, a.complaint)
	}
	return Result{}, state, nil
}

// watch follows an attempt to its end. It looks again when the file was changed
// or its writer ended, a few times in quick succession because the kernel reports
// that just before it frees the lock, and slowly in between for what no event
// tells: the end of a process that outlived its shim.
func (a *Attempt) watch(ctx context.Context) (State, contents, error) {
	const quick, slow = time.Millisecond, 250 * time.Millisecond
	state, known, err := a.look()
	if err != nil || state != Running {
		return state, known, err
	}
	events, stop := watchFile(a.Path)
	defer stop()
	interval := quick
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		state, known, err := a.look()
		if err != nil || state != Running {
			return state, known, err
		}
		timer.Reset(interval)
		select {
		case <-ctx.Done():
			return Running, known, ctx.Err()
		case <-events:
			interval = quick
		case <-timer.C:
			interval = min(interval*2, slow)
		}
	}
}
