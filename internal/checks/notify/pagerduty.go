package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// event is an alert event or a change event (PagerDuty, "Send an Alert Event" and
// "Send a Change Event").
type event struct {
	RoutingKey string   `json:"routing_key"`
	Action     string   `json:"event_action,omitempty"`
	DedupKey   string   `json:"dedup_key,omitempty"`
	Payload    *payload `json:"payload,omitempty"`
	Client     string   `json:"client,omitempty"`
}

type payload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity,omitempty"`
	Timestamp string            `json:"timestamp"`
	Details   map[string]string `json:"custom_details"`
}

// maxSummary is PagerDuty's limit, in characters.
const maxSummary = 1024

// dedupKey joins the events of one run.
func (p *notification) dedupKey(m message) string {
	return cmp.Or(p.Pager.DedupKey, strings.Join([]string{"allclear", m.Project, m.Environment, m.Run}, "/"))
}

// toPagerDuty sends an event. Its answer says that the event was processed; what
// came of it in the service, its rules decide.
func (p *notification) toPagerDuty(ctx context.Context, env *check.Env, t target, m message) (sender, error) {
	key, err := env.Secret(ctx, t.ref)
	if err != nil {
		return nil, err
	}
	c, err := rest.New(env, "PagerDuty", p.Pager.api(), http.Header{})
	if err != nil {
		return nil, err
	}
	action := p.Pager.event()
	e, path := event{RoutingKey: key.Reveal()}, "/v2/enqueue"
	about := &payload{
		Summary: clip(m.Text, maxSummary), Source: m.Project + " " + m.Environment, Timestamp: env.Now().UTC().Format("2006-01-02T15:04:05.000-0700"),
		Details: map[string]string{"id": m.ID, "release": m.Release, "run": m.Run, "item": m.Item, "text": m.Text},
	}
	switch action {
	case change:
		e.Payload, path = about, "/v2/change/enqueue"
	case trigger:
		about.Severity = cmp.Or(p.Pager.Severity, "info")
		e.Action, e.DedupKey, e.Payload, e.Client = action, p.dedupKey(m), about, "allclear"
	default:
		e.Action, e.DedupKey = action, p.dedupKey(m)
	}
	return func(ctx context.Context) answer {
		out, err := rest.Send[struct {
			Status   string `json:"status"`
			Message  string `json:"message"`
			DedupKey string `json:"dedup_key"`
		}](ctx, c, http.MethodPost, path, e)
		if err != nil {
			return refusedOr(err, false)
		}
		if out.Status != "success" {
			return answer{err: errors.New("the answer of PagerDuty does not say success: " + short(out.Status))}
		}
		a := answer{facts: map[string]string{"event": action, "status": out.Status, "response": clip(out.Message, 200)}}
		if e.DedupKey != "" {
			if out.DedupKey != e.DedupKey {
				return answer{err: fmt.Errorf("PagerDuty answered with another dedup_key: %s", short(out.DedupKey))}
			}
			a.facts["dedup_key"] = e.DedupKey
		}
		return a
	}, nil
}

// clip cuts a text to so many characters.
func clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
