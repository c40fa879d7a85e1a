// Package celery holds the types that look at Celery's workers, queues and
// scheduler, and make workers stop and go on.
package celery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/redis"
	"allclear.dev/allclear/internal/secret"
)

// broker is how the types that talk to workers reach them: Celery's remote control
// over Redis, as Kombu's Redis transport carries it
// (https://docs.celeryq.dev/en/stable/userguide/workers.html and
// https://docs.celeryq.dev/projects/kombu/en/stable/reference/kombu.transport.redis.html).
type broker struct {
	URL      string        `param:"broker,short" doc:"the broker, redis:// or rediss://, with the database's number, without a password" default:"${env.redis}"`
	Username string        `param:"username" doc:"the broker's user" default:""`
	Password secret.Ref    `param:"password" doc:"the broker's password" default:""`
	Exchange string        `param:"control_exchange" doc:"the application's control_exchange" default:"celery"`
	Prefix   string        `param:"key_prefix" doc:"the transport option global_keyprefix" default:""`
	Fanout   string        `param:"fanout_prefix" doc:"the transport option fanout_prefix when it is a text; {db} is the database's number" default:"/{db}."`
	Answer   time.Duration `param:"answer_within" doc:"how long workers may take to answer" default:"5s"`
}

// Validate holds the rules of the broker.
func (b *broker) Validate() error {
	if strings.HasPrefix(b.URL, "amqp") || strings.HasPrefix(b.URL, "http") {
		return errors.New("broker: workers are reached over Redis only; for RabbitMQ there is celery.queue")
	}
	if err := b.server().Check(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if b.Exchange == "" || b.Answer <= 0 {
		return errors.New("control_exchange and answer_within must not be empty")
	}
	return nil
}

func (b *broker) server() redis.Server {
	return redis.Server{URL: b.URL, Username: b.Username, Password: b.Password}
}

// stats is what a worker tells of itself (Worker.stats in celery/worker/worker.py).
// Pointers are fields that must be there.
type stats struct {
	Total  *map[string]int64 `json:"total"`
	PID    int               `json:"pid"`
	Uptime *float64          `json:"uptime"`
	Pool   struct {
		Slots *int `json:"max-concurrency"`
		// Timeouts are the soft and the hard time limit in seconds, 0 for none; pools
		// other than prefork tell none.
		Timeouts []float64 `json:"timeouts"`
	} `json:"pool"`
	Prefetch *int `json:"prefetch_count"`
}

// started is how many tasks the worker has begun to execute since it runs.
func (s stats) started() int64 {
	var n int64
	for _, count := range *s.Total {
		n += count
	}
	return n
}

// up is how long the worker runs.
func (s stats) up() time.Duration {
	if s.Uptime == nil {
		return 0
	}
	return time.Duration(*s.Uptime * float64(time.Second))
}

// queue is a queue that a worker consumes (active_queues in celery/worker/control.py).
type queue struct {
	Name     string `json:"name"`
	Exchange struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

// task is a task that a worker holds (Request.info in celery/worker/request.py).
type task struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Started *float64 `json:"time_start"`
}

// node is one worker and what it has told.
type node struct {
	stats  stats
	queues []queue
	active []task
	// later is how many tasks with an ETA the worker holds, where that was asked.
	later int
}

// consumes reports whether the worker takes tasks from a queue.
func (n *node) consumes(name string) bool {
	for _, q := range n.queues {
		if q.Name == name {
			return true
		}
	}
	return false
}

// sight is one look at all workers.
type sight struct {
	at time.Time
	// subscribed is how many workers the broker handed the question to.
	subscribed int
	nodes      map[string]*node
}

// names lists the workers that answered.
func (s *sight) names() []string { return sorted(s.nodes) }

// silent says that workers have the question and do not answer, or that there is
// none; nothing when all is well.
func (s *sight) silent(within time.Duration) string {
	switch {
	case s.subscribed == 0:
		return "no worker is there: nobody listens to Celery's remote control on this broker"
	case len(s.nodes) < s.subscribed:
		return fmt.Sprintf("%d of %d workers that are connected to the broker did not answer within %s (those that did: %s)",
			s.subscribed-len(s.nodes), s.subscribed, within, list(s.names()))
	}
	return ""
}

// look asks all workers for their state, their queues and what they execute, and
// with later for what they hold for a later time.
func (b *broker) look(ctx context.Context, env *check.Env, later bool) (*sight, error) {
	at := env.Now()
	calls := []call{{method: "stats"}, {method: "active_queues"}, {method: "active", arguments: json.RawMessage(`{"safe":true}`)}}
	if later {
		calls = append(calls, call{method: "scheduled"})
	}
	answers, err := b.ask(ctx, env, calls...)
	if err != nil {
		return nil, err
	}
	s := &sight{at: at, subscribed: answers[0].receivers, nodes: map[string]*node{}}
	for name, text := range answers[0].replies {
		n := &node{}
		if err := decode(name, "stats", text, &n.stats); err != nil {
			return nil, err
		}
		if n.stats.Total == nil || n.stats.PID <= 0 {
			return nil, fmt.Errorf("%s answered stats without its counters and its pid", name)
		}
		queues, told := answers[1].replies[name]
		active, toldActive := answers[2].replies[name]
		if !told || !toldActive {
			continue // it stopped answering midway: silent
		}
		if err := decode(name, "active_queues", queues, &n.queues); err != nil {
			return nil, err
		}
		if err := decode(name, "active", active, &n.active); err != nil {
			return nil, err
		}
		if later {
			var tasks []json.RawMessage
			text, told := answers[3].replies[name]
			if !told {
				continue
			}
			if err := decode(name, "scheduled", text, &tasks); err != nil {
				return nil, err
			}
			n.later = len(tasks)
		}
		s.nodes[name] = n
	}
	return s, nil
}

// decode reads a worker's reply. A worker that could not do what it was asked says
// so with a mapping that has the one key error.
func decode[T any](name, method string, text json.RawMessage, out *T) error {
	var refusal map[string]json.RawMessage
	if json.Unmarshal(text, &refusal) == nil && len(refusal) == 1 && refusal["error"] != nil {
		return fmt.Errorf("%s could not answer %s: %.200s", name, method, refusal["error"])
	}
	if string(text) == "null" {
		return fmt.Errorf("%s answered %s with nothing", name, method)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s answered %s with something unexpected: %w", name, method, err)
	}
	return nil
}

// match reports whether a worker's name fits a pattern.
func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}
