package celery

import (
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed celery.control.md
var controlDoc string

// Control is the type celery.control.
var Control = check.Define[control](check.Desc{
	Name:    "celery.control",
	Summary: "workers take no more tasks and have finished those they had, are told to end, or consume their queues again",
	Doc:     controlDoc,
})

// What can be done.
const (
	drain     = "drain"
	drainStop = "drain-stop"
	stop      = "stop"
	consume   = "consume"
)

// poll is the pause between two looks at workers that finish.
const poll = 500 * time.Millisecond

type control struct {
	broker
	Do     string   `param:"do" doc:"drain: consume no more, and finish; drain-stop: and then end; stop: end at once, as after SIGTERM; consume: take tasks again" enum:"drain,drain-stop,stop,consume"`
	Nodes  []string `param:"nodes" doc:"patterns of the workers' names (main@*); all when left out" default:""`
	Queues []string `param:"queues" doc:"the queues; with drain all that they consume when left out" default:""`
	Holds  string   `param:"holds" doc:"the resource that draining and stopping take, and consume gives back" default:"workers"`
}

// Validate holds the rules between the parameters.
func (p *control) Validate() error {
	if err := p.broker.Validate(); err != nil {
		return err
	}
	switch {
	case p.Do == consume && len(p.Queues) == 0:
		return errors.New("queues: say what is consumed again")
	case (p.Do == stop || p.Do == drainStop) && len(p.Queues) > 0:
		return errors.New("queues: a worker ends as a whole; leave it out with stop and drain-stop")
	case slices.Contains(p.Queues, "") || slices.Contains(p.Nodes, ""):
		return errors.New("queues and nodes: a name is empty")
	}
	return nil
}

// Traits says what happens and how it is taken back.
func (p *control) Traits() check.Traits {
	t := check.Traits{Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Network, Target: p.URL, Holds: p.Holds}
	who := "all workers"
	if len(p.Nodes) > 0 {
		who = "the workers " + list(p.Nodes)
	}
	switch p.Do {
	case drain:
		t.Does, t.Undo = who+" consume no more and finish what they have", "lets them consume the same queues again"
	case drainStop:
		t.Does = who + " consume no more, finish what they have, and end"
	case stop:
		t.Does = who + " are told to end"
	case consume:
		t.Does, t.Holds, t.Releases = who+" consume "+list(p.Queues), "", p.Holds
	}
	if p.Do == drainStop || p.Do == stop {
		t.Irreversible = "a worker that has ended is started by what runs it, as the type service does"
	}
	return t
}

// load is what a worker has to do.
type load struct {
	queues           []queue
	active, reserved []task
	later            []json.RawMessage
}

// loads is one look at what the workers have to do.
type loads struct {
	subscribed int
	nodes      map[string]*load
}

// measure asks the workers what they have to do.
func (p *control) measure(ctx context.Context, env *check.Env) (*loads, error) {
	answers, err := p.ask(ctx, env, call{method: "active_queues"}, call{method: "active", arguments: json.RawMessage(`{"safe":true}`)}, call{method: "reserved"}, call{method: "scheduled"})
	if err != nil {
		return nil, err
	}
	out := &loads{subscribed: answers[0].receivers, nodes: map[string]*load{}}
	for name := range answers[0].replies {
		l := &load{}
		whole := true
		for _, a := range answers {
			whole = whole && a.replies[name] != nil
		}
		if !whole {
			continue
		}
		err := errors.Join(
			decode(name, "active_queues", answers[0].replies[name], &l.queues), decode(name, "active", answers[1].replies[name], &l.active),
			decode(name, "reserved", answers[2].replies[name], &l.reserved), decode(name, "scheduled", answers[3].replies[name], &l.later))
		if err != nil {
			return nil, err
		}
		out.nodes[name] = l
	}
	return out, nil
}

// silent says that workers do not answer; nothing can be said about them then.
func (l *loads) silent(within time.Duration) error {
	if n := l.subscribed - len(l.nodes); n > 0 {
		return fmt.Errorf("%d of %d workers that are connected to the broker did not answer within %s (those that did: %s)", n, l.subscribed, within, list(sorted(l.nodes)))
	}
	return nil
}

// meant reports whether a worker is one of those that the item is about.
func (p *control) meant(name string) bool {
	return len(p.Nodes) == 0 || slices.ContainsFunc(p.Nodes, func(pattern string) bool { return match(pattern, name) })
}

// affected lists what a worker consumes and the item is about.
func (p *control) affected(l *load) (out consumed) {
	out = consumed{} // nothing consumed is known as well
	for _, q := range l.queues {
		if len(p.Queues) == 0 || slices.Contains(p.Queues, q.Name) {
			out = append(out, q)
		}
	}
	return out
}

// Run acts.
func (p *control) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	l, err := p.measure(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	known, err := p.recall(env)
	if err != nil {
		return check.Outcome{}, err
	}
	if err := l.silent(p.Answer); err != nil && len(known) == 0 {
		return check.Failf("nothing was done: %v", err), nil
	} else if err != nil {
		return check.Outcome{}, err
	}
	now := standing{}
	for name, load := range l.nodes {
		if p.meant(name) {
			now[name] = p.affected(load)
		}
	}
	if len(now) == 0 && len(known) == 0 {
		return check.Failf("nothing was done: no worker that is meant is there (%d answer: %s)", len(l.nodes), list(sorted(l.nodes))), nil
	}
	if p.Do == consume {
		return p.consume(ctx, env, sorted(now))
	}
	if known, err = p.remember(env, known, now); err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Verdict: check.Pass, Facts: map[string]string{}}
	for _, name := range sorted(known) {
		outcome.Facts["consumed."+name] = list(known[name].names())
	}
	if p.Do == drain {
		if err := left(known, now); err != nil {
			return outcome, err
		}
	}
	if p.Do != stop {
		if err := p.drain(ctx, env, now, &outcome); err != nil {
			return outcome, err
		}
	}
	if p.Do != drain {
		return outcome, p.end(ctx, env, known, &outcome)
	}
	return outcome, nil
}

// drain cancels consumers and waits until what the workers have is done.
func (p *control) drain(ctx context.Context, env *check.Env, now standing, outcome *check.Outcome) error {
	by := map[string][]string{}
	for name, queues := range now {
		for _, q := range queues {
			by[q.Name] = append(by[q.Name], name)
		}
	}
	for _, q := range sorted(by) {
		arguments, err := json.Marshal(map[string]string{"queue": q})
		if err != nil {
			return err
		}
		if err := p.order(ctx, env, call{method: "cancel_consumer", arguments: arguments, to: by[q], changes: true}); err != nil {
			return err
		}
	}
	start, quiet := env.Now(), 0
	for {
		l, err := p.measure(ctx, env)
		if err != nil {
			return err
		}
		if err := l.silent(p.Answer); err != nil {
			return err
		}
		if err := left(now, l.nodes); err != nil {
			return err
		}
		busy, later := p.busy(l)
		fmt.Fprintf(env.Log, "%d tasks are still to be finished\n", busy)
		// A message may be on its way when the consumer is cancelled: two looks in a
		// row must find nothing.
		if quiet++; busy > 0 {
			quiet = 0
		}
		if quiet == 2 {
			outcome.Facts["drained_in"], outcome.Facts["tasks.later"] = env.Now().Sub(start).Round(time.Millisecond).String(), fmt.Sprint(later)
			outcome.Reason = fmt.Sprintf("%s consume no more and have finished what they had", list(sorted(now)))
			if later > 0 {
				outcome.Reason += fmt.Sprintf("; they keep %d tasks with an ETA, which were not waited for", later)
			}
			return nil
		}
		if err := env.Sleep(ctx, poll); err != nil {
			return fmt.Errorf("%d tasks are still to be finished: %w", busy, err)
		}
	}
}

// left says which workers are not there any more. What they had may be finished,
// or may come back to another worker.
func left[V any](known standing, there map[string]V) error {
	gone := slices.DeleteFunc(sorted(known), func(name string) bool { _, is := there[name]; return is })
	if len(gone) == 0 {
		return nil
	}
	return fmt.Errorf("%s left the broker meanwhile: whether what they had was finished is not known", list(gone))
}

// busy counts the tasks that the workers have begun or taken, and the queues that
// they still consume; later counts those with an ETA.
func (p *control) busy(l *loads) (busy, later int) {
	for name, load := range l.nodes {
		if p.meant(name) {
			busy, later = busy+len(load.active)+len(load.reserved)+len(p.affected(load)), later+len(load.later)
		}
	}
	return busy, later
}

// end tells workers to end and waits until the broker has none of them.
func (p *control) end(ctx context.Context, env *check.Env, known standing, outcome *check.Outcome) error {
	l, err := p.measure(ctx, env)
	if err != nil {
		return err
	}
	there := slices.DeleteFunc(sorted(known), func(name string) bool { return l.nodes[name] == nil })
	if len(there) > 0 {
		if _, err := p.ask(ctx, env, call{method: "shutdown", to: there, changes: true, quiet: true}); err != nil {
			return err
		}
	}
	// Who has just left does not answer, and is not waited for as long as others.
	last := *p
	last.Answer = min(p.Answer, time.Second)
	for {
		if l, err = last.measure(ctx, env); err != nil {
			return err
		}
		left := slices.DeleteFunc(sorted(l.nodes), func(name string) bool { return known[name] == nil })
		if l.silent(p.Answer) == nil && len(left) == 0 {
			outcome.Reason = strings.TrimPrefix(outcome.Reason+"; ", "; ") + fmt.Sprintf("%s have left the broker", list(sorted(known)))
			return nil
		}
		if err := env.Sleep(ctx, poll); err != nil {
			return fmt.Errorf("%s have not left the broker: %w", list(left), err)
		}
	}
}

// consume lets workers take tasks from queues again.
func (p *control) consume(ctx context.Context, env *check.Env, names []string) (check.Outcome, error) {
	again := standing{}
	for _, name := range names {
		for _, q := range p.Queues {
			again[name] = append(again[name], queue{Name: q})
		}
	}
	return p.again(ctx, env, again)
}

// again adds consumers and waits until the workers say that they consume.
func (p *control) again(ctx context.Context, env *check.Env, queues standing) (check.Outcome, error) {
	for _, name := range sorted(queues) {
		for _, q := range queues[name] {
			arguments := map[string]string{"queue": q.Name}
			if q.Exchange.Name != "" {
				arguments["exchange"], arguments["exchange_type"], arguments["routing_key"] = q.Exchange.Name, q.Exchange.Type, q.RoutingKey
			}
			text, err := json.Marshal(arguments)
			if err != nil {
				return check.Outcome{}, err
			}
			if err := p.order(ctx, env, call{method: "add_consumer", arguments: text, to: []string{name}, changes: true}); err != nil {
				return check.Outcome{}, err
			}
		}
	}
	for {
		l, err := p.measure(ctx, env)
		if err != nil {
			return check.Outcome{}, err
		}
		missing := queues.missing(l)
		if len(missing) == 0 {
			return check.Passf("%s consume again", list(sorted(queues))), nil
		}
		if err := env.Sleep(ctx, poll); err != nil {
			return check.Outcome{}, fmt.Errorf("not yet: %s: %w", list(missing), err)
		}
	}
}

// order sends an order and wants every worker to have taken it.
func (p *control) order(ctx context.Context, env *check.Env, c call) error {
	answers, err := p.ask(ctx, env, c)
	if err != nil {
		return err
	}
	if missing := answers[0].missing(c.to); len(missing) > 0 {
		return fmt.Errorf("%s did not confirm %s within %s", list(missing), c.method, p.Answer)
	}
	for _, name := range sorted(answers[0].replies) {
		var said struct {
			OK *string `json:"ok"`
		}
		if err := decode(name, c.method, answers[0].replies[name], &said); err != nil {
			return err
		}
		if said.OK == nil {
			return fmt.Errorf("%s did not take %s: %.200s", name, c.method, answers[0].replies[name])
		}
	}
	return nil
}
