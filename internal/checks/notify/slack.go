package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// said is what every answer of Slack's Web API begins with (Slack, "Using the
// Slack Web API", evaluating responses).
type said struct {
	OK    *bool  `json:"ok"`
	Error string `json:"error"`
}

// slackRefused is a certain no of a method.
type slackRefused struct{ method, why string }

// Error names the method and Slack's word for the reason.
func (s *slackRefused) Error() string {
	hints := map[string]string{
		"not_in_channel": "invite the app to the channel", "channel_not_found": "is the name right, and may the app see the channel?",
		"invalid_auth": "is the token right?", "not_authed": "is the token right?", "token_revoked": "the token was taken back",
		"account_inactive": "the token's user or workspace is gone", "missing_scope": "the app lacks a scope",
		"users_not_found": "nobody in the workspace has this address",
	}
	if hint := hints[s.why]; hint != "" {
		return fmt.Sprintf("Slack answered %s to %s (%s)", s.why, s.method, hint)
	}
	return fmt.Sprintf("Slack answered %s to %s", s.why, s.method)
}

// limited is how long is waited when Slack does not say how long.
const limited = 30 * time.Second

// judge tells an answer, a certain no, and not knowing apart. Slack says of
// fatal_error and internal_error that a part may have been done ("chat.postMessage",
// errors).
func (s said) judge(method string) error {
	open := []string{"fatal_error", "internal_error", "service_unavailable", "request_timeout", "team_added_to_org", "accesslimited"}
	switch {
	case s.OK == nil:
		return fmt.Errorf("the answer of Slack to %s does not say whether it is ok", method)
	case *s.OK:
		return nil
	case s.Error == "":
		return fmt.Errorf("Slack answered %s with ok: false and no reason", method)
	case s.Error == "ratelimited" || s.Error == "rate_limited":
		return &check.RetryLater{After: limited, Err: fmt.Errorf("Slack answered %s to %s", s.Error, method)}
	case slices.Contains(open, s.Error):
		return fmt.Errorf("Slack answered %s to %s: whether it was done is not known", s.Error, method)
	}
	return &slackRefused{method, clip(strings.Join(strings.Fields(s.Error), " "), 60)}
}

// workspace is Slack's Web API with a token.
type workspace struct{ c *rest.Client }

func (p *notification) workspace(ctx context.Context, env *check.Env) (*workspace, error) {
	token, err := env.Secret(ctx, p.Slack.token())
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	header.Set("Authorization", "Bearer "+token.Reveal())
	header.Set("Content-Type", "application/json; charset=utf-8")
	c, err := rest.New(env, "Slack", p.Slack.api(), header)
	if err != nil {
		return nil, err
	}
	return &workspace{c}, nil
}

// identity is the answer of auth.test (https://docs.slack.dev/reference/methods/auth.test).
type identity struct {
	said
	URL    string `json:"url"`
	Team   string `json:"team"`
	User   string `json:"user"`
	UserID string `json:"user_id"`
}

func (w *workspace) whoAmI(ctx context.Context) (identity, error) {
	me, err := rest.Send[identity](ctx, w.c, http.MethodPost, "/auth.test", struct{}{})
	if err != nil {
		return me, err
	}
	if err := me.judge("auth.test"); err != nil {
		return me, err
	}
	if me.UserID == "" {
		return me, errors.New("the answer of Slack to auth.test names no user")
	}
	return me, nil
}

// post is the request of chat.postMessage
// (https://docs.slack.dev/reference/methods/chat.postMessage). The metadata name
// the message for apps that look for it.
type post struct {
	Channel     string   `json:"channel"`
	Text        string   `json:"text"`
	UnfurlLinks bool     `json:"unfurl_links"`
	Metadata    metadata `json:"metadata"`
}

type metadata struct {
	Type    string            `json:"event_type"`
	Payload map[string]string `json:"event_payload"`
}

type posted struct {
	said
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

// toSlack posts to a channel and fetches the message's link.
func (p *notification) toSlack(ctx context.Context, env *check.Env, t target, m message) (sender, error) {
	w, err := p.workspace(ctx, env)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) answer {
		me, err := w.whoAmI(ctx)
		if err != nil {
			return refusedOr(err, true)
		}
		body := post{Channel: t.name, Text: escape(m.Text), Metadata: metadata{
			"allclear_message", map[string]string{"id": m.ID, "run": m.Run, "item": m.Item},
		}}
		out, err := rest.Send[posted](ctx, w.c, http.MethodPost, "/chat.postMessage", body)
		if err == nil {
			err = out.judge("chat.postMessage")
		}
		if err != nil {
			return refusedOr(err, false)
		}
		if out.Channel == "" || out.TS == "" {
			return answer{err: errors.New("Slack took the message and names neither channel nor time")}
		}
		a := answer{facts: map[string]string{"team": me.Team, "by": me.User, "channel": out.Channel, "ts": out.TS}}
		link, err := w.permalink(ctx, out.Channel, out.TS)
		if err != nil { // the message is there all the same
			link = "not known: " + err.Error()
		}
		a.facts["permalink"] = link
		return a
	}, nil
}

// refusedOr makes an answer of an error. Before the message is sent, no error
// leaves open whether it was taken.
func refusedOr(err error, before bool) answer {
	var miss string
	if no, ok := errors.AsType[*slackRefused](err); ok {
		miss = no.Error()
	}
	if no, ok := errors.AsType[*rest.Refused](err); ok {
		miss = no.Error()
	}
	if _, later := errors.AsType[*check.RetryLater](err); miss != "" && !later {
		return answer{miss: "did not take it: " + miss}
	}
	if before {
		return answer{err: &unsent{err}}
	}
	return answer{err: err}
}

// permalink asks for a message's link
// (https://docs.slack.dev/reference/methods/chat.getPermalink).
func (w *workspace) permalink(ctx context.Context, channel, ts string) (string, error) {
	out, err := rest.Get[struct {
		said
		Permalink string `json:"permalink"`
	}](ctx, w.c, "/chat.getPermalink", url.Values{"channel": {channel}, "message_ts": {ts}})
	if err == nil {
		err = out.judge("chat.getPermalink")
	}
	if err == nil && out.Permalink == "" {
		err = errors.New("the answer of Slack holds no link")
	}
	return out.Permalink, err
}
