package celery

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/redis"
)

const (
	// sep joins the parts of a binding and of a priority queue's name, as Kombu's
	// Redis transport does by default.
	sep = "\x06\x16"
	// maxReplies bounds how many replies to one look are read.
	maxReplies = 5000
	// tidyTime bounds taking the reply queue away after the context has ended.
	tidyTime = 2 * time.Second
)

// call is one question to the workers, or one order.
type call struct {
	method    string
	arguments json.RawMessage
	// to names the workers meant; all when empty.
	to []string
	// changes marks an order, which a worker that wakes up later must not follow.
	changes bool
	// quiet marks one that is not answered.
	quiet bool
}

// answer is what came back to one call.
type answer struct {
	// receivers is how many workers were connected when the call went out.
	receivers int
	replies   map[string]json.RawMessage
}

// missing lists the workers that were asked by name and did not answer.
func (a answer) missing(to []string) []string {
	return slices.DeleteFunc(slices.Clone(to), func(name string) bool { return a.replies[name] != nil })
}

// message is a message as Kombu's virtual transports write it
// (kombu.transport.virtual.base).
type message struct {
	Body            string     `json:"body"`
	ContentType     string     `json:"content-type"`
	ContentEncoding string     `json:"content-encoding"`
	Headers         headers    `json:"headers"`
	Properties      properties `json:"properties"`
}

type headers struct {
	Clock   int64   `json:"clock"`
	Expires float64 `json:"expires"`
	Ticket  string  `json:"ticket,omitempty"`
}

type properties struct {
	DeliveryMode int      `json:"delivery_mode"`
	Priority     int      `json:"priority"`
	BodyEncoding string   `json:"body_encoding"`
	DeliveryTag  string   `json:"delivery_tag"`
	DeliveryInfo delivery `json:"delivery_info"`
}

type delivery struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

// order is a message's body to a worker (kombu.pidbox).
type order struct {
	Method      string          `json:"method"`
	Arguments   json.RawMessage `json:"arguments"`
	Destination []string        `json:"destination"`
	Pattern     *string         `json:"pattern"`
	Matcher     *string         `json:"matcher"`
	Ticket      string          `json:"ticket"`
	ReplyTo     delivery        `json:"reply_to"`
}

// mailbox is one reply queue on the broker.
type mailbox struct {
	*broker
	env  *check.Env
	conn *redis.Conn
	id   string
}

// ask sends calls to the workers and collects their answers until each that got
// the call has answered, or the time for it is over. The broker tells how many
// workers it handed a call to, so that silence is seen and not waited for twice.
func (b *broker) ask(ctx context.Context, env *check.Env, calls ...call) ([]answer, error) {
	conn, err := b.server().Connect(ctx, env)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	m := &mailbox{broker: b, env: env, conn: conn, id: unique()}
	if err := conn.SAdd(ctx, m.binding(), m.bound()).Err(); err != nil {
		return nil, b.server().Explain(ctx, "register with the broker", err)
	}
	defer m.tidy(ctx)
	answers, tickets := make([]answer, len(calls)), map[string]int{}
	for i, c := range calls {
		ticket := unique()
		n, err := m.send(ctx, c, ticket)
		if err != nil {
			return nil, err
		}
		answers[i], tickets[ticket] = answer{receivers: n, replies: map[string]json.RawMessage{}}, i
	}
	return answers, m.collect(ctx, calls, answers, tickets)
}

func unique() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, as crypto/rand says
	text := hex.EncodeToString(id[:])
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

func (m *mailbox) exchange() string { return "reply." + m.Exchange + ".pidbox" }
func (m *mailbox) queue() string    { return m.id + "." + m.exchange() }
func (m *mailbox) binding() string  { return m.Prefix + "_kombu.binding." + m.exchange() }
func (m *mailbox) bound() string    { return m.id + sep + sep + m.queue() }

// send publishes a call and gives how many workers got it.
func (m *mailbox) send(ctx context.Context, c call, ticket string) (int, error) {
	o := order{Method: c.method, Arguments: c.arguments, Destination: c.to, Ticket: ticket, ReplyTo: delivery{Exchange: m.exchange(), RoutingKey: m.id}}
	if o.Arguments == nil {
		o.Arguments = json.RawMessage("{}")
	}
	body, err := json.Marshal(o)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", c.method, err)
	}
	out := message{
		Body: base64.StdEncoding.EncodeToString(body), ContentType: "application/json", ContentEncoding: "utf-8", Headers: headers{Clock: 1},
		Properties: properties{DeliveryMode: 2, BodyEncoding: "base64", DeliveryTag: unique(), DeliveryInfo: delivery{Exchange: m.Exchange + ".pidbox"}},
	}
	if c.changes {
		// A question has no end: a worker whose clock is ahead would not answer it.
		out.Headers.Expires = float64(m.env.Now().Add(m.Answer).UnixMilli()) / 1000
	}
	text, err := json.Marshal(out)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", c.method, err)
	}
	db, err := m.server().Database()
	if err != nil {
		return 0, err
	}
	topic := m.Prefix + strings.ReplaceAll(m.Fanout, "{db}", fmt.Sprint(db)) + m.Exchange + ".pidbox"
	n, err := m.conn.Publish(ctx, topic, text).Result()
	if err != nil {
		return 0, m.server().Explain(ctx, "send "+c.method+" to the workers through", err)
	}
	return int(n), nil
}

// collect reads replies.
func (m *mailbox) collect(ctx context.Context, calls []call, answers []answer, tickets map[string]int) error {
	end := m.env.Now().Add(m.Answer)
	for read := 0; ; read++ {
		open := false
		for i, c := range calls {
			want := answers[i].receivers
			if len(c.to) > 0 {
				want = min(want, len(c.to))
			}
			open = open || !c.quiet && len(answers[i].replies) < want
		}
		left := end.Sub(m.env.Now())
		if !open || left <= 0 {
			return ctx.Err()
		}
		if read >= maxReplies {
			return fmt.Errorf("more than %d replies came", maxReplies)
		}
		// Redis before 6 takes whole seconds only.
		got, err := m.conn.Do(ctx, "BRPOP", m.Prefix+m.queue(), int(math.Ceil(left.Seconds()))).StringSlice()
		if redis.IsNil(err) {
			continue
		}
		if err != nil {
			return m.server().Explain(ctx, "wait for the workers' replies at", err)
		}
		if len(got) != 2 {
			return fmt.Errorf("%s gave %d values for one reply", m.URL, len(got))
		}
		if err := m.take(got[1], answers, tickets); err != nil {
			return err
		}
	}
}

// take reads one reply: a message whose body is a mapping of the worker's name to
// what it says.
func (m *mailbox) take(text string, answers []answer, tickets map[string]int) error {
	var in message
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return fmt.Errorf("a worker's reply is malformed: %w", err)
	}
	if in.ContentType != "application/json" {
		return fmt.Errorf("a worker replies in %.60q, which is not read here: replies come in the application's task_serializer, which has to be json", in.ContentType)
	}
	body := []byte(in.Body)
	if in.Properties.BodyEncoding == "base64" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(in.Body); err != nil {
			return fmt.Errorf("a worker's reply is malformed: %w", err)
		}
	}
	var said map[string]json.RawMessage
	if err := json.Unmarshal(body, &said); err != nil || len(said) != 1 {
		return fmt.Errorf("a worker's reply is malformed: %.80q", body)
	}
	i, ours := tickets[in.Headers.Ticket]
	if !ours {
		return fmt.Errorf("a reply came to a question that nobody has asked (ticket %.60q)", in.Headers.Ticket)
	}
	for name, value := range said {
		if answers[i].replies[name] != nil {
			return fmt.Errorf("two workers call themselves %s, so that nobody can tell them apart: give each its own name (-n)", name)
		}
		answers[i].replies[name] = value
	}
	return nil
}

// tidy takes the reply queue away, over a new connection where the context that
// the old one belonged to has ended.
func (m *mailbox) tidy(ctx context.Context) {
	conn := m.conn
	if ctx.Err() != nil {
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
		defer cancel()
		fresh, err := m.server().Connect(short, m.env)
		if err != nil {
			return // the binding of a queue that nobody writes to does no harm
		}
		defer fresh.Close()
		ctx, conn = short, fresh
	}
	_ = conn.SRem(ctx, m.binding(), m.bound()).Err()
	_ = conn.Del(ctx, m.Prefix+m.queue()).Err()
}

// sorted gives a map's keys in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// list shows some names.
func list(names []string) string {
	const most = 10
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
