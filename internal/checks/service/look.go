package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

const (
	// probeTimeout bounds one health probe.
	probeTimeout = 10 * time.Second
	// tailLines and tailWidth bound what of a log is put into a reason.
	tailLines, tailWidth = "5", 300
)

// lookStopped passes when no unit runs, known or unknown.
func (w *work) lookStopped(ctx context.Context) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	var wrong []string
	for i := range w.Units {
		u := &w.Units[i]
		st, err := w.driver.status(ctx, u)
		if err != nil {
			return outcome, err
		}
		outcome.Facts["unit."+u.Name] = st.String()
		strangers, err := w.driver.instances(ctx, u)
		switch {
		case err != nil:
			return outcome, err
		case st.running:
			wrong = append(wrong, fmt.Sprintf("%s runs (pid %d)", u.Name, st.process.PID))
		case len(strangers) > 0:
			wrong = append(wrong, fmt.Sprintf("%s runs, but %s does not know of it (pid %s)", u.Name, u.PIDFile, pids(strangers)))
		}
	}
	if len(wrong) > 0 {
		return failed(outcome, strings.Join(wrong, "; ")), nil
	}
	outcome.Verdict, outcome.Reason = check.Pass, "stopped: "+list(w.Units)
	return outcome, nil
}

// lookRunning passes when every unit runs, stays the same process for the time
// wanted, is healthy, and has as many instances as wanted.
func (w *work) lookRunning(ctx context.Context, units []unit) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	miss, err := w.stable(ctx, units, outcome.Facts)
	if err == nil && miss == "" {
		miss, err = w.healthyNow(ctx, units)
	}
	if err == nil && miss == "" {
		miss, err = w.counted(ctx, units, outcome.Facts)
	}
	if err != nil || miss != "" {
		return failed(outcome, miss), err
	}
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("running for %s without a restart: %s", w.Stable, list(units))
	return outcome, nil
}

// gate waits after an action until the units are healthy, and then looks at them
// as a check does.
func (w *work) gate(ctx context.Context, units []unit, outcome check.Outcome, did string) (check.Outcome, error) {
	end := w.env.Now().Add(w.Within)
	for i := range units {
		if miss, err := w.becomes(ctx, &units[i], end); err != nil || miss != "" {
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
	return outcome, nil
}

// becomes waits for the first answer that is healthy.
func (w *work) becomes(ctx context.Context, u *unit, end time.Time) (string, error) {
	for {
		st, err := w.driver.status(ctx, u)
		if err != nil {
			return "", err
		}
		if !st.running {
			return u.Name + " ended after it was started" + w.tail(ctx, u), nil
		}
		miss, probeErr := w.probe(ctx, u)
		if miss == "" && probeErr == nil {
			return "", nil
		}
		if !w.env.Now().Before(end) {
			if probeErr != nil {
				return "", fmt.Errorf("%s is not known to be healthy after %s: %w", u.Name, w.Within, probeErr)
			}
			return fmt.Sprintf("%s is not healthy after %s: %s%s", u.Name, w.Within, miss, w.tail(ctx, u)), nil
		}
		if err := w.env.Sleep(ctx, w.Every); err != nil {
			return "", err
		}
	}
}

// stable samples the units for the time wanted. A program that crashes and is
// started again looks as if it ran at every look; its process tells.
func (w *work) stable(ctx context.Context, units []unit, facts map[string]string) (string, error) {
	end := w.env.Now().Add(w.Stable)
	first, restarts, samples := map[string]string{}, map[string]int{}, 0
	for {
		for i := range units {
			u := &units[i]
			st, err := w.driver.status(ctx, u)
			if err != nil {
				return "", err
			}
			facts["unit."+u.Name] = st.String()
			if !st.running {
				return u.Name + " does not run" + w.tail(ctx, u), nil
			}
			if before, seen := first[u.Name]; seen && before != st.id() {
				restarts[u.Name]++
			}
			first[u.Name] = st.id()
			if restarts[u.Name] > w.Restarts {
				return fmt.Sprintf("%s was restarted %d times while it was looked at%s", u.Name, restarts[u.Name], w.tail(ctx, u)), nil
			}
		}
		samples++
		if !w.env.Now().Before(end) {
			facts["samples"] = fmt.Sprint(samples)
			return "", nil
		}
		if err := w.env.Sleep(ctx, min(w.Every, w.Stable)); err != nil {
			return "", err
		}
	}
}

// healthyNow wants so many good answers in a row of every unit that can be asked.
func (w *work) healthyNow(ctx context.Context, units []unit) (string, error) {
	for i := range units {
		for n := range w.Consecutive {
			if !units[i].Healthy.given() {
				break
			}
			if n > 0 {
				if err := w.env.Sleep(ctx, w.Every); err != nil {
					return "", err
				}
			}
			miss, err := w.probe(ctx, &units[i])
			if err != nil {
				return "", fmt.Errorf("%s: %w", units[i].Name, err)
			}
			if miss != "" {
				return fmt.Sprintf("%s is not healthy: %s", units[i].Name, miss), nil
			}
		}
	}
	return "", nil
}

// counted compares the instances on the host with how many there may be.
func (w *work) counted(ctx context.Context, units []unit, facts map[string]string) (string, error) {
	for i := range units {
		u := &units[i]
		if u.Exactly == nil {
			continue
		}
		found, err := w.driver.instances(ctx, u)
		if err != nil {
			return "", err
		}
		facts["instances."+u.Name] = fmt.Sprint(len(found))
		if len(found) != *u.Exactly {
			return fmt.Sprintf("%s has %d instances (pid %s), want exactly %d", u.Name, len(found), pids(found), *u.Exactly), nil
		}
	}
	return "", nil
}

// probe asks once whether a unit works. What it answers decides; that nothing
// listens is an answer too. Anything else is not knowing.
func (w *work) probe(ctx context.Context, u *unit) (string, error) {
	if !u.Healthy.given() {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if len(u.Healthy.Argv) > 0 {
		return w.probeProgram(ctx, u)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Healthy.URL, nil)
	if err != nil {
		return "", err
	}
	resp, err := w.env.HTTP.RoundTrip(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens at " + u.Healthy.URL, nil
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if !slices.Contains(u.Healthy.Status, resp.StatusCode) {
		return fmt.Sprintf("%s answers %d", u.Healthy.URL, resp.StatusCode), nil
	}
	return "", nil
}

func (w *work) probeProgram(ctx context.Context, u *unit) (string, error) {
	argv, err := check.Args(u.Healthy.Argv, false)
	if err != nil {
		return "", err
	}
	result, err := w.host.Exec(ctx, check.Command{Argv: argv, Dir: u.Dir, User: u.User})
	switch {
	case err != nil:
		return "", err
	case result.Signal != "":
		return "", fmt.Errorf("%s was ended by signal: %s", argv[0], result.Signal)
	case result.Code != 0:
		return fmt.Sprintf("%s ended with exit %d", argv[0], result.Code), nil
	}
	return "", nil
}

// tail gives the end of a unit's log for a reason, with its own secrets taken
// out before it is shortened.
func (w *work) tail(ctx context.Context, u *unit) string {
	result, err := w.host.Exec(ctx, check.Command{Argv: []string{"tail", "-n", tailLines, "--", u.log()}})
	if err != nil || result.Code != 0 {
		return ""
	}
	text := bytes.TrimSpace(result.Stdout)
	for _, s := range w.secrets {
		text = bytes.ReplaceAll(text, []byte(s.Reveal()), []byte(secret.Redacted))
	}
	if len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.ToValidUTF8(string(text), "\uFFFD"), "\n")
	for i, line := range lines {
		if len(line) > tailWidth {
			lines[i] = strings.ToValidUTF8(line[:tailWidth], "") + "…"
		}
	}
	return "; its log ends: " + strings.Join(lines, " / ")
}
