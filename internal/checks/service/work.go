package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// wasStopped is the fact of a unit that did not run before it was to be stopped.
const wasStopped = "was not running"

// maxEnvFile bounds a file of environment variables, in bytes.
const maxEnvFile = 256 << 10

// driver is what runs units: processes of our own, an init system, containers.
type driver interface {
	// status tells whether a unit runs and as which process.
	status(ctx context.Context, u *unit) (status, error)
	// start starts a unit that does not run.
	start(ctx context.Context, u *unit, env []string, key string) error
	// signal ends a process in good order, ends it at once, or has it read its
	// configuration again. It is no error when the process is no more.
	signal(ctx context.Context, st status, s check.Signal) error
	// instances lists the pids of everything on the host that is this unit.
	instances(ctx context.Context, u *unit) ([]int, error)
	// forget removes what is kept about a unit that was stopped.
	forget(ctx context.Context, u *unit) error
}

// status is how a unit stands.
type status struct {
	running bool
	process check.Process
	key     string
}

// id changes when the unit is restarted by whomever.
func (s status) id() string { return fmt.Sprint(s.process.PID, " ", s.process.Ticks) }

// String describes the status for the evidence.
func (s status) String() string {
	if !s.running {
		return "not running"
	}
	return fmt.Sprintf("running, pid %d, started at tick %s", s.process.PID, s.process.Ticks)
}

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
	return &work{service: s, env: env, host: host, driver: &processes{host: host}}, nil
}

// startAll starts units in order, and then waits until all are healthy.
func (w *work) startAll(ctx context.Context, units []unit) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	for i := range units {
		miss, err := w.start(ctx, &units[i], outcome.Facts)
		if err != nil || miss != "" {
			return failed(outcome, miss), err
		}
	}
	return w.gate(ctx, units, outcome, "started")
}

// start starts a unit, unless it runs. An instance that the pid file does not
// know of would become a second one, so it fails instead.
func (w *work) start(ctx context.Context, u *unit, facts map[string]string) (string, error) {
	st, err := w.driver.status(ctx, u)
	if err != nil {
		return "", err
	}
	if st.running {
		facts["unit."+u.Name] = "was running already, pid " + fmt.Sprint(st.process.PID)
		return "", nil
	}
	strangers, err := w.driver.instances(ctx, u)
	if err != nil {
		return "", err
	}
	if len(strangers) > 0 {
		return fmt.Sprintf("%s runs already, but %s does not know of it (pid %s)", u.Name, u.PIDFile, pids(strangers)), nil
	}
	env, err := w.environ(ctx, u)
	if err != nil {
		return "", err
	}
	if err := w.driver.start(ctx, u, env, w.env.Key); err != nil {
		return couldNotStart(ctx, u, err)
	}
	facts["unit."+u.Name] = "started"
	fmt.Fprintf(w.env.Log, "%s: started\n", u.Name)
	return "", nil
}

// stopAll stops units in order, each to its end before the next.
func (w *work) stopAll(ctx context.Context, units []unit) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	for i := range units {
		miss, err := w.stop(ctx, &units[i], outcome.Facts)
		if err != nil || miss != "" {
			return failed(outcome, miss), err
		}
	}
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("stopped: %s", list(units))
	return outcome, nil
}

// stop ends a unit in good order, and at once when that takes too long.
func (w *work) stop(ctx context.Context, u *unit, facts map[string]string) (string, error) {
	st, err := w.driver.status(ctx, u)
	if err != nil {
		return "", err
	}
	name := "unit." + u.Name
	facts[name] = wasStopped
	if st.running {
		facts[name], err = w.end(ctx, u, st)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(w.env.Log, "%s: %s\n", u.Name, facts[name])
	}
	left, err := w.left(ctx, u, st.running)
	if err != nil {
		return "", err
	}
	if len(left) > 0 {
		return fmt.Sprintf("%s: an instance still runs (pid %s)", u.Name, pids(left)), nil
	}
	return "", w.driver.forget(ctx, u)
}

// left lists what still runs of a unit. Workers may need a moment after their
// master.
func (w *work) left(ctx context.Context, u *unit, wait bool) ([]int, error) {
	end := w.env.Now().Add(w.StopTimeout)
	for {
		found, err := w.driver.instances(ctx, u)
		if err != nil || len(found) == 0 || !wait || !w.env.Now().Before(end) {
			return found, err
		}
		if err := w.env.Sleep(ctx, min(w.Every, 50*time.Millisecond)); err != nil {
			return nil, err
		}
	}
}

func (w *work) end(ctx context.Context, u *unit, st status) (string, error) {
	start := w.env.Now()
	if err := w.driver.signal(ctx, st, check.Terminate); err != nil {
		return "", fmt.Errorf("stop %s: %w", u.Name, err)
	}
	gone, err := w.gone(ctx, u, st, w.StopTimeout)
	if err != nil || gone {
		return fmt.Sprintf("stopped after %s", w.env.Now().Sub(start).Round(time.Millisecond)), err
	}
	if err := w.driver.signal(ctx, st, check.Kill); err != nil {
		return "", fmt.Errorf("stop %s: %w", u.Name, err)
	}
	gone, err = w.gone(ctx, u, st, killWait)
	if err == nil && !gone {
		err = fmt.Errorf("stop %s: pid %d still runs after SIGKILL", u.Name, st.process.PID)
	}
	return fmt.Sprintf("killed, because it did not end within %s", w.StopTimeout), err
}

// killWait is how long the kernel may take to end a killed process.
const killWait = 5 * time.Second

// gone waits until the process is no more, for at most the time given.
func (w *work) gone(ctx context.Context, u *unit, was status, limit time.Duration) (bool, error) {
	end := w.env.Now().Add(limit)
	for {
		st, err := w.driver.status(ctx, u)
		if err != nil {
			return false, err
		}
		if !st.running || st.id() != was.id() {
			return true, nil
		}
		if !w.env.Now().Before(end) {
			return false, nil
		}
		if err := w.env.Sleep(ctx, min(w.Every, 50*time.Millisecond)); err != nil {
			return false, err
		}
	}
}

// restartAll restarts one unit after the other. Rolling, each must be healthy
// before the next is touched, so that a bad release takes down one unit only.
func (w *work) restartAll(ctx context.Context) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	for i := range w.Units {
		u := &w.Units[i]
		miss, err := w.stop(ctx, u, outcome.Facts)
		stopped := outcome.Facts["unit."+u.Name]
		if err == nil && miss == "" {
			miss, err = w.start(ctx, u, outcome.Facts)
		}
		if err != nil || miss != "" {
			return failed(outcome, miss), err
		}
		outcome.Facts["unit."+u.Name] = stopped + ", started again"
		if !w.Rolling {
			continue
		}
		gated, err := w.gate(ctx, w.Units[i:i+1], outcome, "restarted")
		if err != nil || gated.Verdict == check.Fail {
			if rest := w.Units[i+1:]; len(rest) > 0 {
				gated.Reason += "; not touched: " + list(rest)
			}
			return gated, err
		}
	}
	return w.gate(ctx, w.Units, outcome, "restarted")
}

// reloadAll has every unit read its configuration again; it must go on as the
// same process.
func (w *work) reloadAll(ctx context.Context) (check.Outcome, error) {
	outcome := check.Outcome{Facts: map[string]string{}}
	for i := range w.Units {
		u := &w.Units[i]
		st, err := w.driver.status(ctx, u)
		if err != nil {
			return outcome, err
		}
		if !st.running {
			return failed(outcome, u.Name+" does not run"), nil
		}
		if err := w.driver.signal(ctx, st, check.Reload); err != nil {
			return outcome, fmt.Errorf("reload %s: %w", u.Name, err)
		}
	}
	return w.gate(ctx, w.Units, outcome, "reloaded")
}

// environ gathers a unit's environment; what is written in the list wins over
// the file.
func (w *work) environ(ctx context.Context, u *unit) ([]string, error) {
	var env []string
	if u.EnvFile != "" {
		text, err := w.host.ReadFile(ctx, u.EnvFile, maxEnvFile)
		if err != nil {
			return nil, fmt.Errorf("read the environment of %s: %w", u.Name, err)
		}
		pairs, err := dotenv(string(text))
		if err != nil {
			return nil, fmt.Errorf("read the environment of %s: %s:%w", u.Name, u.EnvFile, err)
		}
		env = append(env, pairs...)
	}
	for _, name := range slices.Sorted(maps.Keys(u.Env)) {
		env = append(env, name+"="+u.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(u.SecretEnv)) {
		value, err := w.env.Secret(ctx, u.SecretEnv[name])
		if err != nil {
			return nil, err
		}
		env = append(env, name+"="+value.Reveal())
		if !value.IsZero() {
			w.secrets = append(w.secrets, value)
		}
	}
	return env, nil
}

// couldNotStart tells a start that failed for certain from one whose end is not
// known.
func couldNotStart(ctx context.Context, u *unit, err error) (string, error) {
	if ctx.Err() == nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, exec.ErrNotFound)) {
		return fmt.Sprintf("%s could not be started: %v", u.Name, err), nil
	}
	return "", err
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

func pids(list []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(list)), ", "), "[]")
}
