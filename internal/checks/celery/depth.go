package celery

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/redis"
	"allclear.dev/allclear/internal/rest"
)

// maxScans bounds how many steps of SCAN are made for a queue's binding; a step
// looks at about a thousand keys.
const maxScans = 2000

// redis counts as Kombu's Redis transport stores messages: a list for each queue
// and step of priority, and for what was delivered a hash and a sorted set by time
// of delivery
// (https://docs.celeryq.dev/en/stable/userguide/routing.html, Redis Message
// Priorities).
func (p *depth) redis(ctx context.Context, env *check.Env) (reading, error) {
	conn, err := p.server().Connect(ctx, env)
	if err != nil {
		return reading{}, err
	}
	defer conn.Close()
	r := reading{at: env.Now(), waiting: map[string]int64{}, steps: map[string]string{}}
	steps := p.Steps
	if len(steps) == 0 {
		steps = []int{0, 3, 6, 9}
	}
	between := p.Sep
	if between == "" {
		between = sep
	}
	var absent []string
	for _, q := range p.Queues {
		var parts []string
		for _, step := range steps {
			key := p.Prefix + q
			if step > 0 {
				key += fmt.Sprint(between, step)
			}
			n, err := conn.LLen(ctx, key).Result()
			if err != nil {
				return r, p.server().Explain(ctx, "count "+q+" at", err)
			}
			r.waiting[q] += n
			parts = append(parts, fmt.Sprintf("%d: %d", step, n))
		}
		r.steps[q] = strings.Join(parts, ", ")
		if r.waiting[q] == 0 {
			absent = append(absent, q)
		}
	}
	if err := p.declared(ctx, conn, absent); err != nil {
		return r, err
	}
	if r.unacked, err = conn.HLen(ctx, p.Prefix+"unacked").Result(); err != nil {
		return r, p.server().Explain(ctx, "count what is not acknowledged at", err)
	}
	oldest, err := conn.ZRangeWithScores(ctx, p.Prefix+"unacked_index", 0, 0).Result()
	if err != nil {
		return r, p.server().Explain(ctx, "look at what is not acknowledged at", err)
	}
	if len(oldest) > 0 {
		r.oldest = time.UnixMilli(int64(oldest[0].Score * 1000))
	}
	return r, nil
}

// declared makes sure that queues without a message are queues at all: Redis
// forgets an empty list, and a wrong name, database or prefix has none either. A
// queue that was declared is bound to an exchange, most often one of its own name.
func (p *depth) declared(ctx context.Context, conn *redis.Conn, queues []string) error {
	bound := func(key string) error {
		members, err := conn.SMembers(ctx, key).Result()
		if err != nil {
			return p.server().Explain(ctx, "read the bindings of queues at", err)
		}
		for _, m := range members {
			parts := strings.Split(m, sep)
			queues = slices.DeleteFunc(queues, func(q string) bool { return q == parts[len(parts)-1] })
		}
		return nil
	}
	const table = "_kombu.binding."
	for _, name := range append(slices.Clone(queues), "celery") {
		if err := bound(p.Prefix + table + name); err != nil {
			return err
		}
	}
	var cursor uint64
	for range maxScans {
		if len(queues) == 0 {
			return nil
		}
		keys, next, err := conn.Scan(ctx, cursor, literal(p.Prefix+table)+"*", 1000).Result()
		if err != nil {
			return p.server().Explain(ctx, "look for bindings of queues at", err)
		}
		for _, key := range keys {
			if err := bound(key); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	switch {
	case len(queues) == 0:
		return nil
	case cursor != 0:
		return fmt.Errorf("no message is in %s, and the database has too many keys to find out whether such a queue is declared", list(queues))
	}
	return fmt.Errorf("%s is declared nowhere on this broker: is the name right, and the database's number and key_prefix? A queue is declared when a worker consumes it or a task is sent to it", list(queues))
}

// literal quotes a text for a pattern of SCAN.
func literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
}

// rabbitQueue is what the management API tells of a queue. Right after it was
// declared the numbers are not there yet.
type rabbitQueue struct {
	Name    string `json:"name"`
	Ready   *int64 `json:"messages_ready"`
	Unacked *int64 `json:"messages_unacknowledged"`
}

// rabbitMQ asks the management API (https://www.rabbitmq.com/docs/management).
func (p *depth) rabbitMQ(ctx context.Context, env *check.Env) (reading, error) {
	r := reading{at: env.Now(), waiting: map[string]int64{}}
	header := http.Header{}
	if p.Username != "" || !p.Password.IsZero() {
		password := ""
		if !p.Password.IsZero() {
			value, err := env.Secret(ctx, p.Password)
			if err != nil {
				return r, err
			}
			password = value.Reveal()
		}
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.Username+":"+password)))
	}
	client, err := rest.New(env, "RabbitMQ", p.URL, header)
	if err != nil {
		return r, err
	}
	for _, name := range p.Queues {
		q, err := rest.Get[rabbitQueue](ctx, client, "/api/queues/"+url.PathEscape(p.Vhost)+"/"+url.PathEscape(name), nil)
		switch {
		case rest.IsStatus(err, http.StatusNotFound):
			return r, fmt.Errorf("%s is declared nowhere in the virtual host %s", name, p.Vhost)
		case err != nil:
			return r, err
		case q.Name != name || q.Ready == nil || q.Unacked == nil || *q.Ready < 0 || *q.Unacked < 0:
			return r, fmt.Errorf("RabbitMQ does not tell how many messages %s holds; right after a start it takes some seconds", name)
		}
		r.waiting[name], r.unacked = *q.Ready, r.unacked+*q.Unacked
	}
	return r, nil
}
