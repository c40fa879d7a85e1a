package notify

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/mail"
	"allclear.dev/allclear/internal/secret"
)

// The kinds of targets.
const (
	toFile      = "file"
	toWebhook   = "webhook"
	toSlack     = "slack"
	toSlackHook = "slack-webhook"
	toTeams     = "teams"
	toPagerDuty = "pagerduty"
	toEmail     = "email"
)

// target is where a message goes: name is a path, an address, a channel or
// recipients; ref is where an address or key that is secret is kept.
type target struct {
	kind, name string
	ref        secret.Ref
}

// errTarget says what a target may be.
var errTarget = errors.New("want slack:#channel, slack-webhook:env:NAME, teams:env:NAME, pagerduty:env:NAME, " +
	"email:ADDRESS (or several with commas, or email:csv:PATH), webhook:https://…, webhook:env:NAME or file:PATH")

// channel is a channel's name or id (Slack, "chat.postMessage", argument channel).
var channel = regexp.MustCompile(`^(#[^\s#,:<>&]{1,80}|[CDGU][A-Z0-9]{5,20})$`)

// UnmarshalText reads a target.
func (t *target) UnmarshalText(text []byte) error {
	kind, rest, _ := strings.Cut(string(text), ":")
	*t = target{kind: kind, name: rest}
	switch {
	case rest == "":
	case kind == toFile:
		return nil
	case kind == toSlack:
		if !channel.MatchString(rest) {
			return errors.New("want slack:#name or slack: and the channel's id")
		}
		return nil
	case kind == toEmail:
		return t.recipients()
	case kind == toWebhook && isAddress(rest):
		u, err := url.Parse(rest)
		if err != nil || u.Host == "" {
			return errors.New("not an address")
		}
		if u.User != nil {
			return errors.New("an address with a password is a secret: write webhook:env:NAME")
		}
		return nil
	case slices.Contains([]string{toWebhook, toSlackHook, toTeams, toPagerDuty}, kind):
		if isAddress(rest) {
			return errors.New("whoever has this address can post: write " + kind + ":env:NAME, a reference to it")
		}
		ref, err := secret.ParseRef(rest)
		if err != nil {
			return err
		}
		*t = target{kind: kind, ref: ref}
		return nil
	}
	return errTarget
}

// recipients looks at what stands after "email:".
func (t *target) recipients() error {
	if path, isFile := strings.CutPrefix(t.name, "csv:"); isFile {
		if path == "" {
			return errors.New("want email:csv: and the path of a file")
		}
		return nil
	}
	for part := range strings.SplitSeq(t.name, ",") {
		if _, err := mail.Address(strings.TrimSpace(part)); err != nil {
			return err
		}
	}
	return nil
}

func isAddress(text string) bool {
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

// String names the target in messages; what is secret is named by its reference.
func (t target) String() string {
	if !t.ref.IsZero() {
		return t.kind + ":" + t.ref.String()
	}
	return t.kind + ":" + t.name
}
