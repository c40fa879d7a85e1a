package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// work is one item at work on its host.
type work struct {
	*service
	env     *check.Env
	host    check.Host
	driver  driver
	secrets []secret.Value
}

func (s *service) open(ctx context.Context, env *check.Env) (*work, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	host, err := env.Host(s.On)
	if err != nil {
		return nil, err
	}
	w := &work{service: s, env: env, host: host}
	w.driver = newDriver(w)
	return w, nil
}

// startAll starts units in order, and then waits until all are healthy.
func (w *work) startAll(ctx context.Context, units []unit) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	if _, err := w.remember(ctx, units); err != nil {
		return outcome, err
	}
	for i := range units {
		miss, err := w.start(ctx, &units[i], outcome.Facts)
		if err != nil || miss != "" {
			return failed(outcome, miss), err
		}
	}
	return w.gate(ctx, units, outcome, "started", nil)
}

// start starts a unit, unless it runs or is about to.
func (w *work) start(ctx context.Context, u *unit, facts map[string]string) (string, error) {
	st, err := w.driver.look(ctx, u)
	if err != nil {
		return "", err
	}
	switch {
	case st.phase == missing:
		return u.Name + " " + st.why, nil
	case st.phase == up || st.phase == changing:
		facts["unit."+u.Name] = "was " + st.String() + " already"
		return "", nil
	}
	did, err := w.driver.start(ctx, u)
	return w.acted(ctx, u, st, did, err, facts)
}

// acted notes what an act did, or finds out what became of it.
func (w *work) acted(ctx context.Context, u *unit, was status, did string, err error, facts map[string]string) (string, error) {
	if err == nil {
		facts["unit."+u.Name] = did
		fmt.Fprintf(w.env.Log, "%s: %s\n", u.Name, did)
		return "", nil
	}
	if no, ok := errors.AsType[*refused](err); ok {
		return u.Name + " " + no.why, nil
	}
	end, ok := errors.AsType[*ended](err)
	if !ok || ctx.Err() != nil {
		return "", fmt.Errorf("%s %s: %w", w.Do, u.Name, err)
	}
	// The program has ended, so nothing of it goes on; what stands now decides
	// whether anything came of it.
	st, lookErr := w.driver.look(ctx, u)
	then := standing{Mark: was.mark, Instances: was.instances}
	if lookErr != nil || st.phase == changing || st.phase == up && (was.stopped() || then.begun(st)) {
		return "", errors.Join(fmt.Errorf("%s %s: %w", w.Do, u.Name, err), lookErr)
	}
	return fmt.Sprintf("%s: %s; it is %s%s", u.Name, end.Error(), st, w.tail(ctx, u, st)), nil
}

// stopAll stops units in order, each to its end before the next.
func (w *work) stopAll(ctx context.Context, units []unit) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	if _, err := w.remember(ctx, units); err != nil {
		return outcome, err
	}
	for i := range units {
		u := &units[i]
		miss, err := w.stop(ctx, u, outcome.Facts)
		if err != nil || miss != "" {
			return failed(outcome, miss), err
		}
	}
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("stopped: %s", list(units))
	return outcome, nil
}

func (w *work) stop(ctx context.Context, u *unit, facts map[string]string) (string, error) {
	st, err := w.driver.look(ctx, u)
	if err != nil {
		return "", err
	}
	if st.phase == missing {
		return u.Name + " " + st.why, nil
	}
	did, left, err := w.driver.stop(ctx, u, st)
	if miss, err := w.acted(ctx, u, st, did, err, facts); err != nil || miss != "" {
		return miss, err
	}
	if len(left) > 0 {
		return fmt.Sprintf("%s: an instance still runs (%s)", u.Name, strings.Join(left, ", ")), nil
	}
	return "", nil
}

// restartAll restarts one unit after the other. Rolling, each must be healthy
// before the next is touched, so that a bad release takes down one unit only.
func (w *work) restartAll(ctx context.Context) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	then, err := w.remember(ctx, w.Units)
	if err != nil {
		return outcome, err
	}
	for i := range w.Units {
		u := &w.Units[i]
		miss, err := w.restart(ctx, u, then, outcome.Facts)
		if err != nil {
			return outcome, fmt.Errorf("%w%s", err, w.soFar(i))
		}
		if miss != "" {
			return failed(outcome, miss+w.soFar(i)), nil
		}
		if !w.Rolling {
			continue
		}
		gated, err := w.gate(ctx, w.Units[i:i+1], outcome, "restarted", then)
		if err != nil {
			return gated, fmt.Errorf("%w%s", err, w.soFar(i))
		}
		if gated.Verdict == check.Fail {
			gated.Reason += w.soFar(i)
			return gated, nil
		}
	}
	return w.gate(ctx, w.Units, outcome, "restarted", then)
}

// soFar says which units are new and which are old when the i-th did not go well.
func (w *work) soFar(i int) string {
	var text string
	if i > 0 {
		text = "; restarted before it: " + list(w.Units[:i])
	}
	if rest := w.Units[i+1:]; len(rest) > 0 {
		text += "; not touched: " + list(rest)
	}
	return text
}

// restart restarts a unit once: what this attempt has restarted already is left
// to the gate.
func (w *work) restart(ctx context.Context, u *unit, then before, facts map[string]string) (string, error) {
	st, err := w.driver.look(ctx, u)
	if err != nil {
		return "", err
	}
	switch {
	case st.phase == missing:
		return u.Name + " " + st.why, nil
	case !st.stopped() && then[u.Name].Asked && then[u.Name].begun(st):
		facts["unit."+u.Name] = "was restarted by this attempt already"
		return "", nil
	}
	if err := w.ask(u, then); err != nil {
		return "", err
	}
	did, err := w.driver.restart(ctx, u, st)
	return w.acted(ctx, u, st, did, err, facts)
}

// reloadAll has every unit read its configuration again; it must go on running.
func (w *work) reloadAll(ctx context.Context) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	for i := range w.Units {
		u := &w.Units[i]
		st, err := w.driver.look(ctx, u)
		if err != nil {
			return outcome, err
		}
		if st.phase != up {
			return failed(outcome, u.Name+" does not run: "+st.String()), nil
		}
		err = w.driver.reload(ctx, u, st)
		if miss, err := w.acted(ctx, u, st, "reloaded", err, outcome.Facts); err != nil || miss != "" {
			return failed(outcome, miss), err
		}
	}
	return w.gate(ctx, w.Units, outcome, "reloaded", nil)
}

func failed(o check.Outcome, why string) check.Outcome {
	if why != "" {
		o.Verdict, o.Reason = check.Fail, why
	}
	return o
}

func list(units []unit) string {
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	return strings.Join(names, ", ")
}

// pairs gives environment variables as NAME=value, sorted.
func pairs(env map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}
