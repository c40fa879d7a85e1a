package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// toSlackHook posts to an incoming webhook of Slack. Its answer is "ok" and
// nothing else: there is no channel, no time and no link as evidence (Slack,
// "Sending messages using incoming webhooks").
func (p *notification) toSlackHook(ctx context.Context, env *check.Env, t target, m message) (sender, error) {
	h, err := newHook(ctx, env, t)
	if err != nil {
		return nil, err
	}
	if h.body, err = json.Marshal(chat{escape(m.Text)}); err != nil {
		return nil, err
	}
	return func(ctx context.Context) answer {
		a, said := h.send(ctx, env)
		text := strings.TrimSpace(string(said))
		switch {
		case a.err != nil:
		case a.miss != "":
			a.miss += because(h, text)
		case text != "ok":
			a.err = fmt.Errorf("answered %s with something else than ok: whether the message was taken is not known", a.facts["status"])
		default:
			a.facts["evidence"] = "the webhook answered ok; it tells no channel and no link"
		}
		return a
	}, nil
}

// because adds the words of a refusal, such as channel_is_archived (Slack,
// "Changes to errors for incoming webhooks").
func because(h *hook, text string) string {
	if text == "" || strings.HasPrefix(text, "<") {
		return ""
	}
	return ": " + h.hide.Replace(short(text))
}

// escape keeps Slack from reading a text as links and mentions (Slack, "Formatting
// text for app surfaces", escaping text).
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// maxCard bounds what Teams takes, in bytes: 28 KB, with room for what it adds
// (Microsoft, "Microsoft Teams connector", message size limit).
const maxCard = 24 << 10

// card is a message with one Adaptive Card.
type card struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string      `json:"contentType"`
	ContentURL  *string     `json:"contentUrl"`
	Content     cardContent `json:"content"`
}

type cardContent struct {
	Schema  string      `json:"$schema"`
	Type    string      `json:"type"`
	Version string      `json:"version"`
	Body    []textBlock `json:"body"`
}

type textBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
	Wrap bool   `json:"wrap"`
}

// toTeams posts an Adaptive Card to a workflow "When a Teams webhook request is
// received" (Microsoft, "Create incoming webhooks with Workflows for Microsoft
// Teams"). 202 says that the workflow has begun, not that the card was posted.
func (p *notification) toTeams(ctx context.Context, env *check.Env, t target, m message) (sender, error) {
	h, err := newHook(ctx, env, t)
	if err != nil {
		return nil, err
	}
	content := cardContent{Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4"}
	for line := range strings.SplitSeq(m.Text, "\n") {
		if strings.TrimSpace(line) != "" {
			content.Body = append(content.Body, textBlock{"TextBlock", line, true})
		}
	}
	h.body, err = json.Marshal(card{"message", []attachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: content}}})
	if err != nil {
		return nil, err
	}
	if len(h.body) > maxCard {
		return nil, fmt.Errorf("the card is longer than the %d bytes that Teams takes", maxCard)
	}
	return func(ctx context.Context) answer {
		a, said := h.send(ctx, env)
		// The connectors that workflows replace answer 200 and "1", or 200 and words
		// about an error.
		text := strings.TrimSpace(string(said))
		switch {
		case a.err != nil || a.miss != "":
		case a.facts["status"] == "202":
			a.facts["evidence"] = "the workflow was started; it does not tell whether it posted the card"
		case a.facts["status"] != "200" || text != "1":
			a.err = fmt.Errorf("answered %s, which neither a workflow nor a connector of Teams does when it takes a card", a.facts["status"])
		}
		return a
	}, nil
}
