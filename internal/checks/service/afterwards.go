package service

import (
	"context"
	"errors"
	"fmt"

	"allclear.dev/allclear/internal/check"
)

// Probe tells whether the units are as the action should have left them. A
// restart is known by what was written down before it.
func (s *service) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	if s.Do == "" || s.Do == "reload" {
		return "", check.Outcome{}, fmt.Errorf("nothing tells whether do: %s was done", s.Do)
	}
	w, err := s.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	then, err := w.recall()
	if err != nil {
		return "", check.Outcome{}, err
	}
	done, begun, facts := 0, 0, map[string]string{}
	for i := range s.Units {
		u := &s.Units[i]
		st, err := w.driver.look(ctx, u)
		if err != nil {
			return "", check.Outcome{}, err
		}
		facts["unit."+u.Name] = st.String()
		is, partly := w.stands(u, st, then)
		if is {
			done++
		}
		if partly {
			begun++
		}
	}
	outcome := check.Passf("%d of %d units as %s leaves them", done, len(s.Units), s.Do)
	outcome.Facts = facts
	switch {
	case done == len(s.Units):
		return w.confirm(ctx, outcome)
	case done+begun == 0:
		return check.NotDone, outcome, nil
	}
	return check.Partly, outcome, nil
}

// stands tells whether a unit is as the action leaves it, or on its way there.
func (w *work) stands(u *unit, st status, then before) (done, partly bool) {
	switch w.Do {
	case "start":
		return st.phase == up, st.phase == changing
	case "stop":
		return st.stopped(), st.phase == changing
	}
	was := then[u.Name]
	if !was.Asked {
		return false, false // it is written down before the unit is touched
	}
	gone := len(was.Instances) > 0 && was.renewed(st)
	return st.phase == up && was.begun(st) && was.renewed(st), was.begun(st) || gone
}

// confirm looks closer at what seems done: a unit that only just runs, or an
// instance that nobody knows of, is not done.
func (w *work) confirm(ctx context.Context, seen check.Outcome) (check.Progress, check.Outcome, error) {
	look := func() (check.Outcome, error) { return w.lookRunning(ctx, w.Units) }
	if w.Do == "stop" {
		look = func() (check.Outcome, error) { return w.lookStopped(ctx) }
	}
	closer, err := look()
	if err != nil {
		return "", seen, err
	}
	if closer.Verdict == check.Fail {
		return check.Partly, closer, nil
	}
	return check.Done, closer, nil
}

// Undo starts what was stopped, or stops what was started.
func (s *service) Undo(ctx context.Context, env *check.Env, done check.Outcome) (check.Outcome, error) {
	if s.Do != "stop" && s.Do != "start" {
		return check.Outcome{}, fmt.Errorf("do: %s is not taken back", s.Do)
	}
	w, err := s.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	then, err := w.recall()
	switch {
	case err != nil:
		return check.Outcome{}, err
	case then == nil && done.Verdict != "":
		return check.Outcome{}, errors.New("how the units stood before is not written down any more")
	case then == nil:
		return check.Passf("nothing was touched"), nil
	}
	var units []unit
	for _, u := range s.Units {
		was, known := then[u.Name]
		if known && was.Up == (s.Do == "stop") {
			units = append(units, u)
		}
	}
	if len(units) == 0 {
		return check.Passf("nothing to take back: each unit stood so before"), nil
	}
	if s.Do == "stop" {
		return w.startAll(ctx, units)
	}
	return w.stopAll(ctx, units)
}
