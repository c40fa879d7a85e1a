package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/receipt"
)

// answer is what a target made of a message: facts by short names; miss says why
// it certainly did not take it; err that this is not known.
type answer struct {
	facts map[string]string
	miss  string
	err   error
}

// sender sends one message; what it needs of secrets has been fetched.
type sender func(ctx context.Context) answer

// prepare gets ready to send to a target. An error leaves nothing sent.
func (r *round) prepare(ctx context.Context, t target) (sender, error) {
	m := r.composed.to(r.env, t)
	switch t.kind {
	case toSlack:
		return r.p.toSlack(ctx, r.env, t, m)
	case toSlackHook:
		return r.p.toSlackHook(ctx, r.env, t, m)
	case toTeams:
		return r.p.toTeams(ctx, r.env, t, m)
	case toPagerDuty:
		return r.p.toPagerDuty(ctx, r.env, t, m)
	}
	return r.p.toWebhook(ctx, r.env, t, m)
}

// deliver sends to one target unless it has taken the message, and keeps the
// receipt.
func (r *round) deliver(ctx context.Context, t target) {
	to := t.String()
	r.facts["id."+to] = id(r.env, t)
	if entry, known := r.book.Get(to); known && entry.State == receipt.Taken {
		r.fact(to, entry.Facts)
		r.facts["repeat."+to] = "it had taken the message already"
		return
	}
	send, err := r.prepare(ctx, t)
	if err != nil {
		r.note(to, err)
		return
	}
	a, err := r.record(ctx, to, send)
	r.fact(to, a.facts)
	if a.miss != "" {
		r.refused = append(r.refused, to+" "+a.miss)
	}
	r.note(to, errors.Join(a.err, err))
}

func (r *round) fact(to string, facts map[string]string) {
	for name, value := range facts {
		r.facts[name+"."+to] = value
	}
}

// record writes down that a message is under way, sends it, and writes down what
// came of it. An entry that stays Sending is one whose end is not known.
func (r *round) record(ctx context.Context, to string, send sender) (answer, error) {
	if err := r.book.Put(to, receipt.Sending, nil); err != nil {
		return answer{}, err
	}
	a := send(ctx)
	switch {
	case a.err == nil && a.miss == "":
		return a, r.book.Put(to, receipt.Taken, maps.Clone(a.facts))
	case a.miss != "" || notTaken(a.err):
		return a, r.book.Put(to, receipt.Refused, nil)
	}
	return a, nil
}

// notTaken tells errors after which the target certainly has nothing: no
// connection was made, or it asked to come again later.
func notTaken(err error) bool {
	if _, later := errors.AsType[*check.RetryLater](err); later {
		return true
	}
	if _, temporary := errors.AsType[*unsent](err); temporary {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// unsent is an error after which the target certainly has nothing.
type unsent struct{ err error }

// Error gives the cause.
func (u *unsent) Error() string { return u.err.Error() }

// Unwrap gives the cause.
func (u *unsent) Unwrap() error { return u.err }

// short cuts what a target says about itself.
func short(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q", text)
}
