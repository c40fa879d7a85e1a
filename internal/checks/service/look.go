package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// lookStopped passes when no unit runs, known or unknown.
func (w *work) lookStopped(ctx context.Context) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	var wrong []string
	for i := range w.Units {
		u := &w.Units[i]
		st, err := w.driver.look(ctx, u)
		if err != nil {
			return outcome, err
		}
		outcome.Facts["unit."+u.Name] = st.String()
		if st.phase == missing {
			wrong = append(wrong, u.Name+" "+st.why)
			continue
		}
		found, err := w.driver.instances(ctx, u, st)
		switch {
		case err != nil:
			return outcome, err
		case !st.stopped():
			wrong = append(wrong, w.runs(u, st, found))
		case len(found) > 0:
			wrong = append(wrong, fmt.Sprintf("%s runs, but %s does not know of it (%s)", u.Name, w.keeper(u), strings.Join(found, ", ")))
		}
	}
	if len(wrong) > 0 {
		return failed(outcome, strings.Join(wrong, "; ")), nil
	}
	outcome.Verdict, outcome.Reason = check.Pass, "stopped: "+list(w.Units)
	return outcome, nil
}

// runs says that a unit runs which should not.
func (w *work) runs(u *unit, st status, found []string) string {
	if st.phase != up {
		return u.Name + " is " + st.String()
	}
	if len(found) == 0 {
		return u.Name + " runs"
	}
	return u.Name + " runs (" + strings.Join(found, ", ") + ")"
}

// keeper names what knows of the unit.
func (w *work) keeper(u *unit) string {
	if w.Driver == byProcess {
		return u.PIDFile
	}
	return w.Driver
}

// lookRunning passes when every unit runs, stays the same process for the time
// wanted, is healthy, and has as many instances as wanted.
func (w *work) lookRunning(ctx context.Context, units []unit) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	last, miss, err := w.stable(ctx, units, outcome.Facts)
	if err == nil && miss == "" {
		miss, err = w.healthyNow(ctx, units)
	}
	if err == nil && miss == "" {
		miss, err = w.counted(ctx, units, last, outcome.Facts)
	}
	var unasked []string
	for _, u := range units {
		if !u.Healthy.given() && last[u.Name].health == "" {
			unasked = append(unasked, u.Name)
		}
	}
	if err == nil && miss == "" && w.State == "healthy" && len(unasked) > 0 {
		err = fmt.Errorf("%s: runs, but has no health check: give the unit healthy, or the service a health check of its own", strings.Join(unasked, ", "))
	}
	if err != nil || miss != "" {
		return failed(outcome, miss), err
	}
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("running for %s without a restart: %s", w.Stable, list(units))
	if len(unasked) > 0 {
		outcome.Reason += "; only seen to run, without a health check: " + strings.Join(unasked, ", ")
	}
	return outcome, nil
}

// gate waits after an action until the units are healthy, and then looks at them
// as a check does. After a restart nothing of what ran before may be left.
func (w *work) gate(ctx context.Context, units []unit, outcome check.Outcome, did string, then before) (check.Outcome, error) {
	end := w.env.Now().Add(w.Within)
	for i := range units {
		u := &units[i]
		var was *standing
		if s, ok := then[u.Name]; ok {
			was = &s
		}
		if miss, err := w.becomes(ctx, u, end, was); err != nil || miss != "" {
			return failed(outcome, miss), err
		}
	}
	looked, err := w.lookRunning(ctx, units)
	for name, value := range looked.Facts {
		outcome.Facts[name] = strings.TrimPrefix(outcome.Facts[name]+"; "+value, "; ")
	}
	if err != nil || looked.Verdict == check.Fail {
		return failed(outcome, looked.Reason), err
	}
	outcome.Verdict, outcome.Reason = check.Pass, did+": "+list(units)
	if _, without, found := strings.Cut(looked.Reason, "; only"); found {
		outcome.Reason += "; only" + without
	}
	return outcome, nil
}

// becomes waits for the first answer that is healthy.
func (w *work) becomes(ctx context.Context, u *unit, end time.Time, was *standing) (string, error) {
	for {
		st, err := w.driver.look(ctx, u)
		if err != nil {
			return "", err
		}
		var miss string
		var probeErr error
		switch {
		case st.phase == missing:
			return u.Name + " " + st.why, nil
		case st.phase == down && st.why == "":
			return u.Name + " ended after it was started" + w.tail(ctx, u, st), nil
		case st.phase == down || st.phase == broken:
			return u.Name + " is " + st.String() + w.tail(ctx, u, st), nil
		case st.phase == changing:
			miss = st.String()
		case was != nil && !was.renewed(st):
			miss = "still what ran before the restart: " + st.String()
		case st.off != "":
			miss = st.off
		case st.health != "" && st.health != "healthy":
			miss = st.health
		default:
			miss, probeErr = w.probe(ctx, u)
		}
		if miss == "" && probeErr == nil {
			return "", nil
		}
		if !w.env.Now().Before(end) {
			if probeErr != nil {
				return "", fmt.Errorf("%s is not known to be healthy after %s: %w", u.Name, w.Within, probeErr)
			}
			return fmt.Sprintf("%s is not healthy after %s: %s%s", u.Name, w.Within, miss, w.tail(ctx, u, st)), nil
		}
		if err := w.env.Sleep(ctx, w.Every); err != nil {
			return "", err
		}
	}
}

// stable samples the units for the time wanted, and gives how they stood last. A
// program that crashes and is started again looks as if it ran at every look; its
// start and its supervisor's counter tell. The time runs from the first sample to
// the last, so that looks which are slow do not shorten it.
func (w *work) stable(ctx context.Context, units []unit, facts map[string]string) (map[string]status, string, error) {
	var end time.Time
	last, restarts, samples := map[string]status{}, map[string]int{}, 0
	for {
		begun := w.env.Now()
		for i := range units {
			u := &units[i]
			st, err := w.driver.look(ctx, u)
			if err != nil {
				return last, "", err
			}
			facts["unit."+u.Name] = st.String()
			if seen, ok := last[u.Name]; ok {
				restarts[u.Name] += restartsSince(seen.instances, st.instances)
			}
			last[u.Name] = st
			if n := restarts[u.Name]; n > w.Restarts {
				return last, fmt.Sprintf("%s was restarted %d times while it was looked at%s", u.Name, n, w.tail(ctx, u, st)), nil
			}
			if miss := st.miss(u.Name); miss != "" {
				return last, miss + w.tail(ctx, u, st), nil
			}
		}
		if samples++; samples == 1 {
			end = w.env.Now().Add(w.Stable)
		}
		if w.Stable <= 0 || samples > 1 && !begun.Before(end) {
			facts["samples"] = fmt.Sprint(samples)
			return last, "", nil
		}
		if err := w.env.Sleep(ctx, min(w.Every, w.Stable)); err != nil {
			return last, "", err
		}
	}
}

// miss says what keeps a unit from counting as running, or nothing.
func (s status) miss(name string) string {
	switch {
	case s.phase == missing:
		return name + " " + s.why
	case s.phase == down && s.why == "":
		return name + " does not run"
	case s.phase == down:
		return name + " does not run: " + s.why
	case s.phase != up:
		return name + " does not run as it should: " + s.String()
	case s.off != "":
		return name + " runs, but " + s.off
	case s.health != "" && s.health != "healthy":
		return name + " runs, but its health check says: " + s.health
	}
	return ""
}

// counted compares the instances with how many there may be.
func (w *work) counted(ctx context.Context, units []unit, last map[string]status, facts map[string]string) (string, error) {
	for i := range units {
		u := &units[i]
		if u.Exactly == nil {
			continue
		}
		found, err := w.driver.instances(ctx, u, last[u.Name])
		if err != nil {
			return "", err
		}
		facts["instances."+u.Name] = fmt.Sprint(len(found))
		if len(found) != *u.Exactly {
			return fmt.Sprintf("%s has %d instances (%s), want exactly %d", u.Name, len(found), strings.Join(found, ", "), *u.Exactly), nil
		}
	}
	return "", nil
}
