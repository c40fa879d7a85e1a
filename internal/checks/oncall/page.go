package oncall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/receipt"
	"allclear.dev/allclear/internal/rest"
)

// paged is the target in the receipts.
const paged = "pagerduty"

// event is an alert event (https://developer.pagerduty.com/docs/send-alert-event).
type event struct {
	RoutingKey string   `json:"routing_key"`
	Action     string   `json:"event_action"`
	DedupKey   string   `json:"dedup_key"`
	Payload    *payload `json:"payload,omitempty"`
	Client     string   `json:"client,omitempty"`
}

type payload struct {
	Summary  string `json:"summary"`
	Source   string `json:"source"`
	Severity string `json:"severity"`
}

// page triggers and resolves an alert. Both events carry one key, so that what an
// attempt that crashed left open is joined and resolved by the next.
func (p *oncall) page(ctx context.Context, env *check.Env, o check.Outcome) (out check.Outcome, err error) {
	key, err := p.routingKey(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	book, err := receipt.Open(ctx, env, env.Key)
	if err != nil {
		return check.Outcome{}, err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	dedup := dedupKey(env)
	o = o.With("dedup_key", dedup)
	if entry, known := book.Get(paged); known && entry.State == receipt.Taken {
		o.Reason += "; the test page was sent and resolved before"
		return o, nil
	}
	c, err := rest.New(env, "PagerDuty", p.Events, http.Header{})
	if err != nil {
		return check.Outcome{}, err
	}
	if err := book.Put(paged, receipt.Sending, nil); err != nil {
		return check.Outcome{}, err
	}
	trigger := event{RoutingKey: key, Action: "trigger", DedupKey: dedup, Client: "allclear", Payload: &payload{
		Summary: fmt.Sprintf("Test page before %s of %s goes to %s; it resolves itself", env.Run.Release, env.Run.Project, env.Run.Environment),
		Source:  env.Run.Project + " " + env.Run.Environment, Severity: p.Severity,
	}}
	err = send(ctx, c, trigger)
	if refused, ok := errors.AsType[*rest.Refused](err); ok {
		return check.Failf("the test page was not taken: %v", refused), book.Put(paged, receipt.Refused, nil)
	}
	if err != nil {
		return check.Outcome{}, fmt.Errorf("trigger the test page: %w", err)
	}
	if err := send(ctx, c, event{RoutingKey: key, Action: "resolve", DedupKey: dedup}); err != nil {
		return check.Outcome{}, fmt.Errorf("the test page is triggered, but not resolved (alert key %s); repeat the item or resolve it by hand: %w", dedup, err)
	}
	o.Reason += "; a test page was sent and resolved"
	return o, book.Put(paged, receipt.Taken, nil)
}

// send sends one event and wants its answer to say that it was processed.
func send(ctx context.Context, c *rest.Client, e event) error {
	answer, err := rest.Send[struct {
		Status   string `json:"status"`
		DedupKey string `json:"dedup_key"`
	}](ctx, c, http.MethodPost, "/v2/enqueue", e)
	if err != nil {
		return err
	}
	if answer.Status != "success" || answer.DedupKey != e.DedupKey {
		return fmt.Errorf("PagerDuty's answer is not that of this event: status %q, alert key %q", line(answer.Status), line(answer.DedupKey))
	}
	return nil
}

// dedupKey is the same for every repetition of one start of the item.
func dedupKey(env *check.Env) string {
	sum := sha256.Sum256([]byte(env.Key))
	return "allclear-test-page-" + hex.EncodeToString(sum[:8])
}

func (p *oncall) routingKey(ctx context.Context, env *check.Env) (string, error) {
	key, err := p.text(ctx, env, p.TestPage, "routing key")
	if err == nil && len(key) != 32 {
		err = fmt.Errorf("the routing key %s is not the 32 characters of an integration of the Events API v2", p.TestPage)
	}
	return key, err
}

// Probe tells by the receipts whether the test page was sent and resolved.
func (p *oncall) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return "", check.Outcome{}, err
	}
	entries, err := receipt.Read(env, env.Key)
	if err != nil {
		return "", check.Outcome{}, err
	}
	switch entries[paged].State {
	case receipt.Taken:
		return check.Done, check.Passf("a test page was sent and resolved"), nil
	case receipt.Sending:
		return check.Partly, check.Failf("a test page was begun; repeating the item joins and resolves it"), nil
	}
	return check.NotDone, check.Failf("no test page was sent"), nil
}
