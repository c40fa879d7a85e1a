package celery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"allclear.dev/allclear/internal/check"
)

// grace is what a worker has to end a task that is over its own hard limit.
const grace = 10 * time.Second

// progress looks a second time and counts what was started in between.
func (p *workers) progress(ctx context.Context, env *check.Env, first *sight, facts map[string]string) (misses []string, reason string, err error) {
	if err := env.Sleep(ctx, p.Over); err != nil {
		return nil, "", err
	}
	second, err := p.look(ctx, env, p.counts())
	if err != nil {
		return nil, "", err
	}
	if misses, err = p.present(env, second, facts); err != nil {
		return nil, "", err
	}
	took := second.at.Sub(first.at)
	counts, lost, err := between(first, second)
	if err != nil {
		return nil, "", err
	}
	misses = append(misses, lost...)
	total := tally(counts, nil, "")
	facts["tasks.started"], facts["tasks.per_minute"] = fmt.Sprint(total), fmt.Sprintf("%.1f", float64(total)/max(took.Minutes(), 1e-9))
	misses = append(misses, p.enough(second, counts, took, facts)...)
	for _, name := range second.names() {
		over, err := p.overdue(env.Now(), name, second.nodes[name])
		if err != nil {
			return nil, "", err
		}
		misses = append(misses, over...)
	}
	return misses, fmt.Sprintf("%d tasks were started within %s by %d workers", total, took.Round(time.Second), len(second.nodes)), nil
}

// between gives how many tasks of each name each worker has started from one look
// to the next. Counters begin again with a process, so only the same process
// counts; a worker that is gone or new under its name was lost.
func between(first, second *sight) (counts map[string]map[string]int64, lost []string, err error) {
	counts = map[string]map[string]int64{}
	for _, name := range first.names() {
		was, is := first.nodes[name], second.nodes[name]
		switch {
		case is == nil:
			lost = append(lost, fmt.Sprintf("%s answered before and does not any more", name))
			continue
		case is.stats.PID != was.stats.PID:
			lost = append(lost, fmt.Sprintf("%s was started again meanwhile (pid %d, before %d)", name, is.stats.PID, was.stats.PID))
			continue
		}
		counts[name] = map[string]int64{}
		for task, n := range *is.stats.Total {
			delta := n - (*was.stats.Total)[task]
			if delta < 0 || n < 0 {
				return nil, nil, fmt.Errorf("%s has started fewer %s than before: the counter cannot be right", name, task)
			}
			counts[name][task] = delta
		}
	}
	return counts, lost, nil
}

// tally adds up the tasks that fit a pattern ("" is any), of some workers or (nil) of all.
func tally(counts map[string]map[string]int64, nodes []string, pattern string) (sum int64) {
	for node, tasks := range counts {
		if nodes != nil && !slices.Contains(nodes, node) {
			continue
		}
		for task, n := range tasks {
			if pattern == "" || match(pattern, task) {
				sum += n
			}
		}
	}
	return sum
}

// enough compares the counts with what is wanted.
func (p *workers) enough(s *sight, counts map[string]map[string]int64, took time.Duration, facts map[string]string) (misses []string) {
	within := took.Round(time.Second)
	for _, pattern := range sorted(p.Tasks) {
		n := tally(counts, nil, pattern)
		facts["tasks.started."+pattern] = fmt.Sprint(n)
		if n < int64(p.Tasks[pattern]) {
			misses = append(misses, fmt.Sprintf("%d of %s were started within %s, want at least %d", n, pattern, within, p.Tasks[pattern]))
		}
	}
	if !p.PerQueue {
		if n := tally(counts, nil, ""); n < int64(p.MinTasks) {
			misses = append(misses, fmt.Sprintf("%d tasks were started within %s, want at least %d", n, within, p.MinTasks))
		}
		return misses
	}
	for _, q := range p.Queues {
		nodes := slices.DeleteFunc(s.names(), func(name string) bool { return !s.nodes[name].consumes(q) })
		n := tally(counts, append([]string{}, nodes...), "")
		facts["tasks.started_by_workers_of."+q] = fmt.Sprint(n)
		if n < int64(p.MinTasks) {
			misses = append(misses, fmt.Sprintf("the workers of %s started %d tasks within %s, want at least %d", q, n, within, p.MinTasks))
		}
	}
	return misses
}

// overdue lists tasks that run for longer than they may. With a hard limit of the
// worker's own this means that the worker does not end them, so it gets a grace.
func (p *workers) overdue(now time.Time, name string, n *node) (misses []string, err error) {
	limit, most := p.Limit, p.Limit
	if limit == 0 && len(n.stats.Pool.Timeouts) == 2 && n.stats.Pool.Timeouts[1] > 0 {
		limit = time.Duration(n.stats.Pool.Timeouts[1] * float64(time.Second))
		most = limit + grace
	}
	if limit == 0 {
		return nil, nil
	}
	for _, t := range n.active {
		if t.Started == nil {
			continue // taken, and not yet begun
		}
		begun := time.UnixMilli(int64(*t.Started * 1000))
		ran := now.Sub(begun)
		if ran < -time.Minute || ran > 10*365*24*time.Hour {
			return nil, fmt.Errorf("%s says that %s was begun at %s: its clock cannot be compared with ours", name, t.Name, begun.UTC().Format(time.RFC3339))
		}
		if ran > most {
			misses = append(misses, fmt.Sprintf("%s runs %s (%s) for %s, want at most %s", name, t.Name, t.ID, ran.Round(time.Second), limit))
		}
	}
	return misses, nil
}
