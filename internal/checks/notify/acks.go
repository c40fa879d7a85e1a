package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/receipt"
	"allclear.dev/allclear/internal/rest"
)

// ackPause is how long is waited between two looks at the reactions; reactions.get
// may be asked some 50 times in a minute.
const ackPause = 15 * time.Second

// agrees are the reactions that count; a skin tone may follow.
func agrees() []string {
	return []string{"white_check_mark", "heavy_check_mark", "ballot_box_with_check", "+1", "thumbsup", "ok_hand", "ok"}
}

// acknowledged waits until somebody of every role has reacted. It ends with ctx:
// the item's timeout says how long people have.
func (p *notification) acknowledged(ctx context.Context, env *check.Env, entries map[string]receipt.Entry, out check.Outcome) (check.Outcome, error) {
	for {
		missing, facts, err := p.acks(ctx, env, entries)
		pause := ackPause
		if later, ok := errors.AsType[*check.RetryLater](err); ok {
			pause, err = later.After, nil
			missing = slices.Sorted(maps.Keys(p.AckRoles))
		}
		if err != nil {
			return out, fmt.Errorf("the message was taken; look for reactions: %w", err)
		}
		maps.Copy(out.Facts, facts)
		if len(missing) == 0 {
			out.Reason += fmt.Sprintf("; somebody has reacted for %s", strings.Join(slices.Sorted(maps.Keys(p.AckRoles)), ", "))
			return out, nil
		}
		if err := env.Sleep(ctx, pause); err != nil {
			return out, fmt.Errorf("the message was taken, and nobody has reacted for %s: %w", strings.Join(missing, ", "), err)
		}
	}
}

// acks gives the roles for which nobody has reacted to any of the messages, and
// who did for the others.
func (p *notification) acks(ctx context.Context, env *check.Env, entries map[string]receipt.Entry) ([]string, map[string]string, error) {
	w, err := p.workspace(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	reacted := map[string]bool{}
	for _, t := range p.To {
		entry := entries[t.String()]
		if t.kind != toSlack || entry.State != receipt.Taken {
			continue
		}
		people, err := w.reactions(ctx, entry.Facts["channel"], entry.Facts["ts"])
		if err != nil {
			return nil, nil, err
		}
		for _, user := range people {
			reacted[user] = true
		}
	}
	facts := map[string]string{}
	var missing []string
	for _, role := range slices.Sorted(maps.Keys(p.AckRoles)) {
		var by []string
		for _, who := range split(p.AckRoles[role]) {
			user, err := w.user(ctx, who)
			if err != nil {
				return nil, nil, fmt.Errorf("find %s of %s: %w", who, role, err)
			}
			if reacted[user] {
				by = append(by, who)
			}
		}
		if facts["ack."+role] = strings.Join(by, ", "); len(by) == 0 {
			facts["ack."+role] = "nobody"
			missing = append(missing, role)
		}
	}
	return missing, facts, nil
}

// reactions gives who has agreed to a message
// (https://docs.slack.dev/reference/methods/reactions.get; with full, all people
// are listed).
func (w *workspace) reactions(ctx context.Context, channel, ts string) ([]string, error) {
	out, err := rest.Get[struct {
		said
		Message *struct {
			Reactions []struct {
				Name  string   `json:"name"`
				Users []string `json:"users"`
			} `json:"reactions"`
		} `json:"message"`
	}](ctx, w.c, "/reactions.get", url.Values{"channel": {channel}, "timestamp": {ts}, "full": {"true"}})
	if err == nil {
		err = out.judge("reactions.get")
	}
	if err == nil && out.Message == nil {
		err = errors.New("the answer of Slack to reactions.get holds no message")
	}
	if err != nil {
		return nil, err
	}
	var people []string
	for _, r := range out.Message.Reactions {
		if name, _, _ := strings.Cut(r.Name, "::"); slices.Contains(agrees(), name) {
			people = append(people, r.Users...)
		}
	}
	return people, nil
}

// user gives a person's id: a mail address is looked up
// (https://docs.slack.dev/reference/methods/users.lookupByEmail).
func (w *workspace) user(ctx context.Context, who string) (string, error) {
	if !strings.Contains(who, "@") {
		return who, nil
	}
	out, err := rest.Get[struct {
		said
		User struct {
			ID string `json:"id"`
		} `json:"user"`
	}](ctx, w.c, "/users.lookupByEmail", url.Values{"email": {who}})
	if err == nil {
		err = out.judge("users.lookupByEmail")
	}
	if err == nil && out.User.ID == "" {
		err = errors.New("the answer of Slack to users.lookupByEmail names nobody")
	}
	return out.User.ID, err
}
