package celery

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed celery.beat.md
var beatDoc string

// Beat is the type celery.beat.
var Beat = check.Define[beat](check.Desc{
	Name:    "celery.beat",
	Summary: "Celery's scheduler sends a periodic task in its time, and exactly as many schedulers run as must",
	Doc:     beatDoc,
})

type beat struct {
	broker
	Task      string        `param:"expect_task" doc:"a periodic task's name (shop.tasks.heartbeat)"`
	Interval  time.Duration `param:"interval" doc:"how often the scheduler sends it"`
	Within    time.Duration `param:"within" doc:"how long to wait for it to be started; twice the interval when left out" default:""`
	Instances *int          `param:"instances" doc:"how many schedulers must run on the host" default:""`
	Match     string        `param:"match" doc:"with instances, a regular expression for the scheduler's command line" default:"celery.* beat( |$)"`
	On        string        `param:"on" doc:"with instances, the host of the scheduler; this machine when left out" default:""`
}

// maxProc bounds a file of /proc, in bytes.
const maxProc = 1 << 20

// Validate holds the rules between the parameters.
func (p *beat) Validate() error {
	if err := p.broker.Validate(); err != nil {
		return err
	}
	if p.Task == "" || p.Interval <= 0 {
		return errors.New("expect_task and interval: name a periodic task and how often it is sent")
	}
	if _, err := path.Match(p.Task, ""); err != nil || strings.ContainsAny(p.Task, "*?[") {
		return errors.New("expect_task: want one task's whole name")
	}
	if p.Instances != nil && *p.Instances < 0 {
		return errors.New("instances: want a number from 0")
	}
	if _, err := regexp.Compile(p.Match); err != nil {
		return fmt.Errorf("match: %w", err)
	}
	return nil
}

// Traits says what is waited for.
func (p *beat) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: fmt.Sprintf("waits up to %s until workers start %s", p.within(), p.Task), Target: p.URL,
	}
}

func (p *beat) within() time.Duration {
	if p.Within > 0 {
		return p.Within
	}
	return 2 * p.Interval
}

// Run counts the schedulers, and then waits for the task.
func (p *beat) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	facts := map[string]string{}
	if p.Instances != nil {
		found, err := p.schedulers(ctx, env)
		if err != nil {
			return check.Outcome{}, err
		}
		facts["instances"] = fmt.Sprint(len(found))
		if len(found) != *p.Instances {
			o := check.Failf("%d schedulers run (%s), want exactly %d", len(found), list(found), *p.Instances)
			o.Facts = facts
			return o, ctx.Err()
		}
	}
	o, err := p.wait(ctx, env)
	for name, value := range o.Facts {
		facts[name] = value
	}
	o.Facts = facts
	return o, err
}

// wait looks at the workers' counters until the task was started once more. The
// scheduler has no remote control: what it sends is what shows that it runs.
func (p *beat) wait(ctx context.Context, env *check.Env) (check.Outcome, error) {
	last, err := p.look(ctx, env, false)
	if err != nil {
		return check.Outcome{}, err
	}
	if text := last.silent(p.Answer); text != "" {
		return check.Outcome{}, fmt.Errorf("what the scheduler sends cannot be seen: %s", text)
	}
	start, pause := env.Now(), min(max(p.within()/20, 200*time.Millisecond), 30*time.Second)
	for {
		left := p.within() - env.Now().Sub(start)
		if left <= 0 {
			break
		}
		if err := env.Sleep(ctx, min(pause, left)); err != nil {
			return check.Outcome{}, err
		}
		now, err := p.look(ctx, env, false)
		if err != nil {
			return check.Outcome{}, err
		}
		if text := now.silent(p.Answer); text != "" {
			return check.Outcome{}, fmt.Errorf("what the scheduler sends cannot be seen: %s", text)
		}
		counts, _, err := between(last, now)
		if err != nil {
			return check.Outcome{}, err
		}
		if n := tally(counts, nil, p.Task); n > 0 {
			took := now.at.Sub(start).Round(10 * time.Millisecond)
			return check.Passf("%s was started %d times within %s", p.Task, n, took).With("seen_after", took.String()), ctx.Err()
		}
		// A worker that was started again counts from here on.
		last = now
	}
	return check.Failf("%s was not started within %s, although it is sent every %s: the scheduler does not run, or no worker gets to it", p.Task, p.within(), p.Interval), ctx.Err()
}

// schedulers looks through the processes of the host. A process whose parent is
// one as well is its child, not another scheduler.
func (p *beat) schedulers(ctx context.Context, env *check.Env) ([]string, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return nil, err
	}
	pattern, err := regexp.Compile(p.Match)
	if err != nil {
		return nil, err
	}
	paths, err := host.Glob(ctx, "/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	if len(paths) == 0 {
		return nil, errors.New("list the processes: none is shown")
	}
	found := map[int]check.Stat{}
	for _, dir := range paths {
		pid, err := strconv.Atoi(path.Base(dir))
		if err != nil {
			continue
		}
		line, err := host.ReadFile(ctx, dir+"/cmdline", maxProc)
		if err == nil && !pattern.MatchString(strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))) {
			continue
		}
		var text []byte
		if err == nil {
			text, err = host.ReadFile(ctx, dir+"/stat", maxProc)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("look at process %d: %w", pid, err)
		}
		st, err := check.ParseStat(text)
		if err != nil {
			return nil, fmt.Errorf("look at process %d: %w", pid, err)
		}
		if !st.Ended() {
			found[pid] = st
		}
	}
	var names []string
	for pid, st := range found {
		if _, child := found[st.Parent]; !child {
			names = append(names, fmt.Sprint("pid ", pid))
		}
	}
	slices.Sort(names)
	return names, nil
}
