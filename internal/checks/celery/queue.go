package celery

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/redis"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

//go:embed celery.queue.md
var queueDoc string

// Queue is the type celery.queue.
var Queue = check.Define[depth](check.Desc{
	Name:    "celery.queue",
	Summary: "queues hold no more messages than they may, what was delivered is acknowledged, and they do not grow",
	Doc:     queueDoc,
})

type depth struct {
	URL      string         `param:"broker" doc:"the broker: redis:// or rediss:// with the database's number, or for RabbitMQ the http:// or https:// address of its management API; without a password" default:"${env.redis}"`
	Username string         `param:"username" doc:"the broker's user" default:""`
	Password secret.Ref     `param:"password" doc:"the broker's password" default:""`
	Queues   []string       `param:"queues,short" doc:"the queues"`
	Max      int            `param:"max" doc:"the largest acceptable number of waiting messages in each queue" default:"100"`
	MaxOf    map[string]int `param:"max_of" doc:"another maximum for some of the queues" default:""`
	Unacked  *int           `param:"max_unacked" doc:"the largest acceptable number of messages that were delivered and not acknowledged, of all queues together" default:""`
	Oldest   time.Duration  `param:"max_unacked_age" doc:"the longest time since the oldest of them was delivered; Redis only" default:""`
	Over     time.Duration  `param:"over" doc:"look repeatedly for so long, and judge how the queues grow" default:""`
	Slope    float64        `param:"max_slope" doc:"with over, the largest acceptable growth in messages a minute of each queue; 0 means that none may grow" default:"0"`

	Steps  []int  `param:"priority_steps" doc:"Redis only: the transport option priority_steps; 0, 3, 6, 9 when left out" default:""`
	Sep    string `param:"sep" doc:"Redis only: the transport option sep, which stands between a queue's name and a step; Kombu's own when left out" default:""`
	Prefix string `param:"key_prefix" doc:"Redis only: the transport option global_keyprefix" default:""`
	Vhost  string `param:"vhost" doc:"RabbitMQ only: the virtual host" default:"/"`
}

// reading is one look at the queues.
type reading struct {
	at time.Time
	// waiting is by queue; steps has the parts by priority, where they are told.
	waiting map[string]int64
	steps   map[string]string
	unacked int64
	// oldest is when the oldest unacknowledged message was delivered, zero if there
	// is none or it is not told.
	oldest time.Time
}

// Validate holds the rules between the parameters.
func (p *depth) Validate() error {
	if p.rabbit() {
		if err := rest.CheckBase(p.URL); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
		if p.Oldest > 0 || len(p.Steps) > 0 || p.Sep != "" || p.Prefix != "" {
			return errors.New("max_unacked_age, priority_steps, sep and key_prefix go with Redis")
		}
	} else if err := p.server().Check(); err != nil {
		return fmt.Errorf("broker: %w, or the http(s) address of RabbitMQ's management API", err)
	}
	if len(p.Queues) == 0 {
		return errors.New("queues: name at least one")
	}
	for _, q := range p.Queues {
		if q == "" || strings.ContainsAny(q, "\x00\r\n") {
			return fmt.Errorf("queues: %q is not a queue's name", q)
		}
	}
	for q, n := range p.MaxOf {
		if !slices.Contains(p.Queues, q) || n < 0 {
			return fmt.Errorf("max_of: want queues of the list and numbers from 0, got %s: %d", q, n)
		}
	}
	switch {
	case p.Max < 0 || p.Unacked != nil && *p.Unacked < 0:
		return errors.New("max and max_unacked: want numbers from 0")
	case p.Slope < 0:
		return errors.New("max_slope: want a growth from 0")
	case p.Slope > 0 && p.Over == 0:
		return errors.New("max_slope goes with over")
	case p.Over > 0 && p.Over < time.Second:
		return errors.New("over: want at least 1s")
	}
	return nil
}

func (p *depth) rabbit() bool { return strings.HasPrefix(p.URL, "http") }

func (p *depth) server() redis.Server {
	return redis.Server{URL: p.URL, Username: p.Username, Password: p.Password}
}

// Traits says which broker is asked.
func (p *depth) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "counts the messages in " + list(p.Queues), Target: p.URL,
	}
}

// Run counts once, or repeatedly for as long as over says.
func (p *depth) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	// Twenty looks tell a trend from a burst.
	const looks = 20
	pause := max(p.Over/looks, time.Second)
	var all []reading
	for start := env.Now(); ; {
		read := p.redis
		if p.rabbit() {
			read = p.rabbitMQ
		}
		r, err := read(ctx, env)
		if err != nil {
			return check.Outcome{}, err
		}
		all = append(all, r)
		left := p.Over - env.Now().Sub(start)
		if left <= 0 {
			break
		}
		if err := env.Sleep(ctx, min(pause, left)); err != nil {
			return check.Outcome{}, err
		}
	}
	return p.judge(all), ctx.Err()
}

// judge looks at the last reading, and at the growth over all of them.
func (p *depth) judge(all []reading) check.Outcome {
	last := all[len(all)-1]
	facts, misses, shown := map[string]string{}, []string{}, []string{}
	miss := func(format string, args ...any) { misses = append(misses, fmt.Sprintf(format, args...)) }
	for _, q := range p.Queues {
		n := last.waiting[q]
		facts["waiting."+q] = fmt.Sprint(n)
		if steps := last.steps[q]; steps != "" {
			facts["priorities."+q] = steps
		}
		shown = append(shown, fmt.Sprintf("%s %d", q, n))
		limit := p.Max
		if own, ok := p.MaxOf[q]; ok {
			limit = own
		}
		if n > int64(limit) {
			miss("%d messages wait in %s, want at most %d", n, q, limit)
		}
		if p.Over > 0 {
			growth := slope(all, q)
			facts["slope."+q] = fmt.Sprintf("%.2f", growth)
			if growth > p.Slope+1e-9 {
				miss("%s grows by %.1f messages a minute, want at most %.1f", q, growth, p.Slope)
			}
		}
	}
	facts["unacked"] = fmt.Sprint(last.unacked)
	if p.Unacked != nil && last.unacked > int64(*p.Unacked) {
		miss("%d messages were delivered and are not acknowledged, want at most %d", last.unacked, *p.Unacked)
	}
	if !last.oldest.IsZero() {
		age := last.at.Sub(last.oldest).Round(time.Second)
		facts["unacked.oldest"] = age.String()
		if p.Oldest > 0 && age > p.Oldest {
			miss("a message was delivered %s ago and is not acknowledged, want at most %s", age, p.Oldest)
		}
	}
	o := check.Passf("waiting: %s; %d unacknowledged", list(shown), last.unacked)
	if len(all) > 1 {
		facts["samples"] = fmt.Sprint(len(all))
	}
	if len(misses) > 0 {
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = facts
	return o
}

// slope is the growth of a queue in messages a minute: the line of least squares
// through all readings.
func slope(all []reading, name string) float64 {
	var meanT, meanN float64
	for _, r := range all {
		meanT += r.at.Sub(all[0].at).Minutes() / float64(len(all))
		meanN += float64(r.waiting[name]) / float64(len(all))
	}
	var up, down float64
	for _, r := range all {
		t := r.at.Sub(all[0].at).Minutes() - meanT
		up, down = up+t*(float64(r.waiting[name])-meanN), down+t*t
	}
	if down == 0 {
		return 0 // one reading has no growth; with over there are two at least
	}
	return up / down
}
