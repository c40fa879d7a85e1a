package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/shim"
)

const (
	defaultCheckTimeout = time.Minute
	maxStarts           = 3
)

// perform does one effect. Nothing here waits: what takes time goes on in a
// goroutine and comes back as an event.
func (e *Engine) perform(ctx context.Context, epoch uint64, effect run.Effect) {
	item, _ := e.state.Of(effect.Item)
	state := e.state
	switch effect.Type {
	case run.RunCheck:
		e.goDo(func() { e.runCheck(ctx, run.CheckFinished, &state, item, effect) })
	case run.Sample:
		e.goDo(func() { e.runCheck(ctx, run.SampleTaken, &state, item, effect) })
	case run.Intend:
		e.push(run.Event{Type: run.ActionIntended, Item: effect.Item, Attempt: effect.Attempt, Key: effect.Key, Facts: e.facts()})
	case run.IntendUndo:
		e.push(run.Event{Type: run.UndoIntended, Item: effect.Item, Attempt: effect.Attempt, Key: effect.Key, Facts: e.facts()})
	case run.Perform, run.Recover, run.PerformUndo, run.RecoverUndo:
		e.goDo(func() { e.act(ctx, epoch, &state, item, effect) })
	case run.Probe:
		e.goDo(func() { e.probe(ctx, &state, item, effect) })
	case run.SetTimer:
		e.setTimer(ctx, effect)
	case run.Notify:
		if e.Notify != nil {
			// The message that a run is over is sent when its process is about to end.
			told := context.WithoutCancel(ctx)
			e.goDo(func() { e.Notify(told, effect, &state) })
		}
	case run.Close:
		e.push(run.Event{Type: run.RunClosed, Verdict: effect.Reason})
	}
}

func (e *Engine) goDo(f func()) {
	e.working.Add(1)
	go func() {
		defer e.working.Done()
		f()
	}()
}

func (e *Engine) setTimer(ctx context.Context, effect run.Effect) {
	if old := e.timers[effect.Timer]; old != nil {
		old.Stop()
	}
	e.timers[effect.Timer] = time.AfterFunc(time.Until(effect.At), func() {
		e.send(ctx, run.Event{Type: run.TimerFired, Timer: effect.Timer})
	})
}

func (e *Engine) info(s *run.State, item *run.Item, attempt int) check.RunInfo {
	return check.RunInfo{
		ID: s.Run, Item: item.ID, Project: s.Plan.Project, Environment: s.Plan.Environment,
		Release: s.Plan.Release.Version, Revision: s.Plan.Release.Revision,
		Previous: s.Plan.Previous.Version, PreviousRev: s.Plan.Previous.Revision,
		Starter: s.Starter, StartedAt: s.StartedAt, Rollback: s.Plan.InRollback(item), Attempt: attempt,
	}
}

func (e *Engine) ledger(s *run.State) *Ledger {
	l := &Ledger{Environment: s.Plan.Environment, State: s, Open: e.Open}
	l.Again = func(ctx context.Context, item *run.Item) (check.Outcome, error) {
		return e.check(ctx, s, item, 1)
	}
	return l
}

// runCheck runs a check once and reports what it found: a verdict, or that it
// could not be found out.
func (e *Engine) runCheck(ctx context.Context, answer run.EventType, s *run.State, item *run.Item, effect run.Effect) {
	started := time.Now().UTC()
	release := e.acquire(ctx, item)
	if release == nil {
		return
	}
	outcome, err := e.check(ctx, s, item, effect.Attempt)
	release()
	if ctx.Err() != nil {
		return // the process ends; whoever takes the run up runs the check again
	}
	event := run.Event{Type: answer, Item: item.ID, Attempt: effect.Attempt, Key: effect.Key, Started: started}
	fill(&event, clean(outcome, e.World))
	event.Verdict = string(outcome.Verdict)
	if err != nil {
		event.Verdict, event.Reason = string(run.Inconclusive), cut(e.World.Redactor.String(err.Error()), maxReason)
	}
	e.send(ctx, event)
}

func (e *Engine) acquire(ctx context.Context, item *run.Item) (release func()) {
	pool := item.Pool
	if item.Host != "" && pool == string(check.Exec) {
		pool = farPrograms
	}
	slots, ok := e.pools[pool]
	if !ok {
		slots = e.pools[string(check.Exec)]
	}
	select {
	case <-ctx.Done():
		return nil
	case slots <- struct{}{}:
		return func() { <-slots }
	}
}

// check runs an item's type with its time limit. A verdict that comes after the
// limit does not count, and neither does one of a type that panics.
func (e *Engine) check(ctx context.Context, s *run.State, item *run.Item, attempt int) (check.Outcome, error) {
	limit := item.Timeout
	if limit == 0 {
		limit = defaultCheckTimeout
	}
	info := e.info(s, item, attempt)
	inst, err := e.World.Instance(item.Type, item.Params, runVars{info, s.Facts})
	if err != nil {
		return check.Outcome{}, err
	}
	_, maintenance := s.Held[run.Maintenance]
	env := e.World.Env(info, "", e.ledger(s), maintenance, io.Discard)
	client := http.Client{Transport: env.HTTP}
	f := within(ctx, limit, "the type", func(ctx context.Context) (f found) {
		defer client.CloseIdleConnections()
		f.outcome, f.err = inst.Runner.Run(ctx, env)
		return f
	})
	if f.err == nil && f.outcome.Verdict != check.Pass && f.outcome.Verdict != check.Fail {
		return check.Outcome{}, fmt.Errorf("type %s gave no verdict", item.Type)
	}
	return f.outcome, f.err
}

// found is what a type answered.
type found struct {
	progress check.Progress
	outcome  check.Outcome
	err      error
}

// within asks a type and waits for its answer no longer than the limit, even when
// the type does not look at its context. A late answer is dropped; a panic is an
// answer that could not be had.
func within(ctx context.Context, limit time.Duration, who string, ask func(context.Context) found) found {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
	defer cancel()
	answer := make(chan found, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answer <- found{err: fmt.Errorf("%s panicked: %v\n%s", who, p, firstLines(string(debug.Stack()), 12))}
			}
		}()
		answer <- ask(ctx)
	}()
	select {
	case <-ctx.Done():
		return found{err: context.Cause(ctx)}
	case f := <-answer:
		if ctx.Err() != nil {
			return found{err: context.Cause(ctx)}
		}
		return f
	}
}

func fill(event *run.Event, o check.Outcome) {
	event.Reason, event.Target, event.Facts, event.Sets = o.Reason, o.Target, o.Facts, o.Sets
	for _, a := range o.Artefacts {
		event.Artefacts = append(event.Artefacts, run.Artefact(a))
	}
}

// act does an action, or takes one back, in a process of its own, or finds the
// one that an earlier process has started. It reports how that ended.
func (e *Engine) act(ctx context.Context, epoch uint64, s *run.State, item *run.Item, effect run.Effect) {
	undo := effect.Type == run.PerformUndo || effect.Type == run.RecoverUndo
	event := run.Event{Type: run.ActionFinished, Item: item.ID, Attempt: effect.Attempt, Started: time.Now().UTC()}
	id := shim.ID{Run: s.Run, Item: item.ID, Attempt: effect.Attempt}
	if undo {
		event.Type, id.Item = run.UndoFinished, item.ID+" undo"
	}
	job, err := e.job(s, item, effect, undo)
	if err != nil {
		event.Verdict, event.Reason = string(run.Failed), err.Error()
		e.send(ctx, event)
		return
	}
	opts := e.Shim
	opts.Timeout = item.Timeout
	opts.Lease = shim.Lease{Epoch: epoch}
	for start := 1; ; start++ {
		result, state, err := e.attempt(ctx, id, job, opts)
		if ctx.Err() != nil {
			return // the action goes on; whoever takes the run up finds it
		}
		if state == shim.NeverStarted && start < maxStarts {
			continue
		}
		e.conclude(&event, result, state, err)
		e.send(ctx, event)
		return
	}
}

func (e *Engine) attempt(ctx context.Context, id shim.ID, job []byte, opts shim.Options) (shim.Result, shim.State, error) {
	a, err := shim.Start(ctx, e.Attempts, id, job, opts)
	if a == nil || (err != nil && !errors.Is(err, shim.ErrOtherJob)) {
		return shim.Result{}, shim.NeverStarted, err
	}
	return a.Wait(ctx)
}

// conclude turns how an attempt ended into a verdict: done, failed for certain,
// or in doubt.
func (e *Engine) conclude(event *run.Event, result shim.Result, state shim.State, err error) {
	doubt := func(reason string) { event.Verdict, event.Reason = string(run.InDoubt), cut(reason, maxReason) }
	switch {
	case state == shim.NeverStarted:
		event.Verdict, event.Reason = string(run.Failed), fmt.Sprintf("it could not be started, nothing happened: %v", err)
	case err != nil:
		doubt(err.Error())
	case state == shim.InDoubt:
		doubt("its process is gone and left no result: it may or may not have happened")
	case result.Fenced != "":
		event.Verdict, event.Reason = string(run.Failed), "not begun: "+result.Fenced
	case result.TimedOut:
		doubt("it did not end within its time limit and was stopped: " + result.Error)
	case result.Stopped || result.Abandoned:
		doubt("it was stopped before its end: " + result.Error)
	case result.Error != "":
		doubt(result.Error)
	default:
		e.decodeResult(event, result, doubt)
	}
}

func (e *Engine) decodeResult(event *run.Event, result shim.Result, doubt func(string)) {
	var outcome check.Outcome
	if err := json.Unmarshal(result.Bytes, &outcome); err != nil {
		doubt("its result cannot be read: " + err.Error())
		return
	}
	fill(event, clean(outcome, e.World))
	event.Started = result.Started
	switch outcome.Verdict {
	case check.Pass:
		event.Verdict = string(run.Done)
	case check.Fail:
		event.Verdict = string(run.Failed)
	default:
		doubt("its result has no verdict")
	}
}

// job makes the same job from the same intent, however often it is asked.
func (e *Engine) job(s *run.State, item *run.Item, effect run.Effect, undo bool) ([]byte, error) {
	_, st := s.Of(item.ID)
	j := Job{
		Type: item.Type, Params: item.Params, Info: e.info(s, item, effect.Attempt), Key: effect.Key,
		Facts: st.IntentFacts, Undo: undo, Maintenance: st.IntentFacts[maintenanceFact] == "on",
		Dir: e.World.Dir, DataDir: e.World.DataDir, Bypass: e.World.Bypass, Hosts: e.World.Hosts, BypassToken: e.BypassToken,
	}
	if undo {
		j.Done = check.Outcome{Verdict: check.Pass, Reason: st.Reason, Target: st.Target, Facts: st.Facts}
		if item.UndoType != "" {
			j.Type, j.Params, j.Undo = item.UndoType, item.UndoParams, false
		}
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("encode job: %w", err)
	}
	return text, nil
}

// probe asks twice whether an action in doubt has been done. Two answers that
// differ are not an answer: something may still be going on.
func (e *Engine) probe(ctx context.Context, s *run.State, item *run.Item, effect run.Effect) {
	event := run.Event{Type: run.ActionProbed, Item: item.ID, Attempt: effect.Attempt, Started: time.Now().UTC()}
	first, outcome, err := e.probeOnce(ctx, s, item, effect)
	if err == nil {
		err = sleep(ctx, e.ProbeGap)
	}
	if err == nil {
		var second check.Progress
		second, outcome, err = e.probeOnce(ctx, s, item, effect)
		if err == nil && second != first {
			err = fmt.Errorf("the probe said %s, then %s", first, second)
		}
	}
	if ctx.Err() != nil {
		return
	}
	fill(&event, clean(outcome, e.World))
	event.Verdict = string(first)
	if err != nil {
		event.Verdict, event.Reason = string(run.Inconclusive), cut(e.World.Redactor.String(err.Error()), maxReason)
	}
	e.send(ctx, event)
}

func (e *Engine) probeOnce(ctx context.Context, s *run.State, item *run.Item, effect run.Effect) (check.Progress, check.Outcome, error) {
	_, st := s.Of(item.ID)
	info := e.info(s, item, effect.Attempt)
	inst, err := e.World.Instance(item.Type, item.Params, runVars{info, st.IntentFacts})
	if err != nil {
		return "", check.Outcome{}, err
	}
	prober := inst.Prober()
	if prober == nil {
		return "", check.Outcome{}, fmt.Errorf("type %s has no probe", item.Type)
	}
	env := e.World.Env(info, effect.Key, e.ledger(s), st.IntentFacts[maintenanceFact] == "on", io.Discard)
	f := within(ctx, defaultCheckTimeout, "the probe", func(ctx context.Context) (f found) {
		f.progress, f.outcome, f.err = prober.Probe(ctx, env)
		return f
	})
	return f.progress, f.outcome, f.err
}

// CheckNow runs an item's check once, outside a run's loop.
func (e *Engine) CheckNow(ctx context.Context, s *run.State, item *run.Item) (check.Outcome, error) {
	release := e.acquire(ctx, item)
	if release == nil {
		return check.Outcome{}, context.Cause(ctx)
	}
	defer release()
	outcome, err := e.check(ctx, s, item, 1)
	if err != nil {
		return check.Outcome{}, errors.New(cut(e.World.Redactor.String(err.Error()), maxReason))
	}
	return clean(outcome, e.World), nil
}
