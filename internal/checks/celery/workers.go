package celery

import (
	"cmp"
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed celery.workers.md
var workersDoc string

// Workers is the type celery.workers.
var Workers = check.Define[workers](check.Desc{
	Name:    "celery.workers",
	Summary: "Celery's workers answer, consume the queues and are sized as they must be, or get through tasks",
	Doc:     workersDoc,
})

type workers struct {
	broker
	Mode   string              `param:"mode" doc:"present: they are there and set up as wanted; progress: tasks are being worked on" default:"present" enum:"present,progress"`
	Nodes  map[string]nodeRule `param:"nodes" doc:"workers that must be there, by patterns of their names (web-*@*), and how they must be set up" default:""`
	Queues []string            `param:"all_queues_consumed" doc:"queues of which each must have a worker" default:""`
	Min    int                 `param:"min" doc:"the least number of workers" default:"1"`
	Since  check.Moment        `param:"restarted_since" doc:"every worker must have been started since then: a duration, a time, or a fact such as run.started_at" default:""`

	Over     time.Duration  `param:"over" doc:"with mode: progress, the time between the two looks" default:"10s"`
	Tasks    map[string]int `param:"tasks" doc:"with mode: progress, how many of the tasks that fit a pattern of names must have been started in that time" default:""`
	MinTasks int            `param:"min_tasks" doc:"with mode: progress, how many tasks of any name must have been started" default:"1"`
	PerQueue bool           `param:"per_queue" doc:"with mode: progress, min_tasks counts for the workers of each of all_queues_consumed" default:"false"`
	Limit    time.Duration  `param:"time_limit" doc:"with mode: progress, the longest time that a task may run; the worker's own hard limit when left out" default:""`
}

// nodeRule is what the workers of one pattern must be like.
type nodeRule struct {
	Min         int      `param:"min" doc:"how many of them" default:"1"`
	Queues      []string `param:"queues" doc:"queues that each of them consumes" default:""`
	Only        bool     `param:"only" doc:"they consume no other queue" default:"false"`
	Concurrency *int     `param:"concurrency" doc:"how many tasks each executes at once" default:""`
	Prefetch    *int     `param:"prefetch" doc:"how many messages each may hold (0: any number)" default:""`
}

// Validate holds the rules between the parameters.
func (p *workers) Validate() error {
	if err := p.broker.Validate(); err != nil {
		return err
	}
	for _, patterns := range [][]string{sorted(p.Nodes), sorted(p.Tasks)} {
		for _, pattern := range patterns {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				return fmt.Errorf("%q is not a pattern: want * and ? for what differs", pattern)
			}
		}
	}
	switch {
	case p.Min < 1:
		return errors.New("min: want at least 1; that no worker is there is what celery.control makes sure of")
	case p.Mode != "progress" && (len(p.Tasks) > 0 || p.PerQueue || p.Limit > 0):
		return errors.New("tasks, per_queue and time_limit go with mode: progress")
	case p.PerQueue && len(p.Queues) == 0:
		return errors.New("per_queue: name the queues in all_queues_consumed")
	case p.Mode == "progress" && p.Over <= 0:
		return errors.New("over: want a time between the two looks")
	case p.MinTasks < 0 || p.Mode == "progress" && p.MinTasks == 0 && len(p.Tasks) == 0:
		return errors.New("min_tasks: want at least 1, or say tasks")
	}
	return nil
}

// Traits says which workers are asked.
func (p *workers) Traits() check.Traits {
	does := "asks the Celery workers at " + p.URL + " for their state"
	if p.Mode == "progress" {
		does = fmt.Sprintf("counts what the Celery workers at %s start within %s", p.URL, p.Over)
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network, Does: does, Target: p.URL}
}

// Run looks once, or twice for progress.
func (p *workers) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	first, err := p.look(ctx, env, p.counts())
	if err != nil {
		return check.Outcome{}, err
	}
	facts := map[string]string{}
	misses, err := p.present(env, first, facts)
	if err != nil {
		return check.Outcome{}, err
	}
	reason := fmt.Sprintf("%d workers answer: %s", len(first.nodes), list(first.names()))
	if p.Mode == "progress" && len(misses) == 0 {
		if misses, reason, err = p.progress(ctx, env, first, facts); err != nil {
			return check.Outcome{}, err
		}
	}
	o := check.Passf("%s", reason)
	if len(misses) > 0 {
		const most = 8
		if n := len(misses); n > most {
			misses = append(misses[:most:most], fmt.Sprintf("and %d more", n-most))
		}
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = facts
	return o, ctx.Err()
}

// present judges what one look showed.
func (p *workers) present(env *check.Env, s *sight, facts map[string]string) ([]string, error) {
	var misses []string
	miss := func(format string, args ...any) { misses = append(misses, fmt.Sprintf(format, args...)) }
	facts["workers.connected"], facts["workers.answered"] = fmt.Sprint(s.subscribed), fmt.Sprint(len(s.nodes))
	for i, name := range s.names() {
		const shown = 50
		if i < shown {
			facts["worker."+name] = s.nodes[name].String()
		}
	}
	if text := s.silent(p.Answer); text != "" {
		miss("%s", text)
	}
	if s.subscribed > 0 && len(s.nodes) < p.Min {
		miss("%d workers answer, want at least %d", len(s.nodes), p.Min)
	}
	for _, pattern := range sorted(p.Nodes) {
		misses = append(misses, p.Nodes[pattern].judge(pattern, s)...)
	}
	for _, name := range p.Queues {
		if !slices.ContainsFunc(s.names(), func(n string) bool { return s.nodes[n].consumes(name) }) {
			miss("no worker that answers consumes the queue %s", name)
		}
	}
	if p.Since.IsZero() {
		return misses, nil
	}
	since, err := p.Since.In(env)
	if err != nil {
		return nil, fmt.Errorf("restarted_since: %w", err)
	}
	for _, name := range s.names() {
		n := s.nodes[name]
		if n.stats.Uptime == nil {
			return nil, fmt.Errorf("%s does not tell how long it runs; Celery tells it from version 4.4.3 on", name)
		}
		// The uptime is rounded to the second.
		if begun := s.at.Add(-n.stats.up()); begun.Add(time.Second).Before(since) {
			miss("%s was started at %s, before %s", name, begun.UTC().Format(time.RFC3339), since.UTC().Format(time.RFC3339))
		}
	}
	return misses, nil
}

// judge compares the workers of one pattern with their rule.
func (r nodeRule) judge(pattern string, s *sight) (misses []string) {
	miss := func(format string, args ...any) { misses = append(misses, fmt.Sprintf(format, args...)) }
	found := 0
	for _, name := range s.names() {
		if !match(pattern, name) {
			continue
		}
		found++
		n := s.nodes[name]
		for _, q := range r.Queues {
			if !n.consumes(q) {
				miss("%s does not consume %s", name, q)
			}
		}
		for _, q := range n.queues {
			if r.Only && !slices.Contains(r.Queues, q.Name) {
				miss("%s also consumes %s", name, q.Name)
			}
		}
		if r.Concurrency != nil && (n.stats.Pool.Slots == nil || *n.stats.Pool.Slots != *r.Concurrency) {
			miss("%s executes %s tasks at once, want %d", name, told(n.stats.Pool.Slots), *r.Concurrency)
		}
		if r.Prefetch != nil && (n.stats.Prefetch == nil || n.prefetch() != *r.Prefetch) {
			miss("%s may hold %s messages, %d of them for tasks with an ETA; want %d without those", name, told(n.stats.Prefetch), n.later, *r.Prefetch)
		}
	}
	if found < r.Min {
		miss("%d workers that fit %s answer, want at least %d", found, pattern, r.Min)
	}
	return misses
}

// counts reports whether tasks with an ETA have to be counted for prefetch.
func (p *workers) counts() bool {
	for _, r := range p.Nodes {
		if r.Prefetch != nil {
			return true
		}
	}
	return false
}

// prefetch is how many messages the worker was set up to hold: for each task with
// an ETA that it keeps until it is due it allows itself one more.
func (n *node) prefetch() int {
	if *n.stats.Prefetch == 0 {
		return 0
	}
	return *n.stats.Prefetch - n.later
}

// told shows a number that may not have been told.
func told(n *int) string {
	if n == nil {
		return "an untold number of"
	}
	return fmt.Sprint(*n)
}

// String shows a worker in one line.
func (n *node) String() string {
	var queues []string
	for _, q := range n.queues {
		queues = append(queues, q.Name)
	}
	slices.SortFunc(queues, cmp.Compare[string])
	return fmt.Sprintf("pid %d, up %s, %s at once, prefetch %s, %d started, %d active, queues %s",
		n.stats.PID, n.stats.up(), told(n.stats.Pool.Slots), told(n.stats.Prefetch), n.stats.started(), len(n.active), list(queues))
}
