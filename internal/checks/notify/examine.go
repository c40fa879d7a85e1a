package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/mail"
)

// Examine looks whether every target could be reached and its credentials hold,
// and shows the message as far as it is known. Nothing is sent.
func (p *notification) Examine(ctx context.Context, env *check.Env) (string, error) {
	var found []string
	var wrong []error
	for _, t := range p.To {
		text, err := p.examine(ctx, env, t)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", t, err))
			continue
		}
		found = append(found, t.String()+" "+text)
	}
	if err := errors.Join(wrong...); err != nil {
		return "", err
	}
	lines, err := p.said(ctx, env)
	if err != nil {
		return "", err
	}
	return strings.Join(found, "; ") + "; the message: " + strings.Join(lines, " / "), ctx.Err()
}

func (p *notification) examine(ctx context.Context, env *check.Env, t target) (string, error) {
	switch t.kind {
	case toFile:
		folder := t.name
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(env.Dir, folder)
		}
		if info, err := os.Stat(filepath.Dir(folder)); err != nil || !info.IsDir() {
			return "", fmt.Errorf("there is no folder %s", filepath.Dir(t.name))
		}
		return "can be written", nil
	case toSlack:
		return p.examineSlack(ctx, env)
	case toEmail:
		return p.examineMail(ctx, env, t)
	case toPagerDuty:
		key, err := env.Secret(ctx, t.ref)
		if err != nil {
			return "", err
		}
		const keyLength = 32 // PagerDuty, "Send an Alert Event", routing_key
		if len(key.Reveal()) != keyLength {
			return "", fmt.Errorf("%s is no integration key: those have %d characters", t.ref, keyLength)
		}
		return knock(ctx, env, p.Pager.api(), strings.NewReplacer())
	}
	h, err := newHook(ctx, env, t)
	if err != nil {
		return "", err
	}
	return knock(ctx, env, h.address, h.hide)
}

func (p *notification) examineSlack(ctx context.Context, env *check.Env) (string, error) {
	w, err := p.workspace(ctx, env)
	if err != nil {
		return "", err
	}
	me, err := w.whoAmI(ctx)
	if err != nil {
		return "", err
	}
	for role, people := range p.AckRoles {
		for _, who := range split(people) {
			if _, err := w.user(ctx, who); err != nil {
				return "", fmt.Errorf("ack_roles: find %s of %s: %w", who, role, err)
			}
		}
	}
	return fmt.Sprintf("would be told by %s in %s", me.User, me.Team), nil
}

func (p *notification) examineMail(ctx context.Context, env *check.Env, t target) (string, error) {
	people, err := p.people(ctx, env, t)
	if err != nil {
		return "", err
	}
	server, err := p.server(ctx, env)
	if err != nil {
		return "", err
	}
	from, err := mail.Address(p.Email.From)
	if err != nil {
		return "", err
	}
	x, err := mail.Dial(ctx, env.Dial, server)
	if err != nil {
		return "", err
	}
	defer x.Close()
	if err := x.Ask(from.Address, people[0]); err != nil {
		return "", err
	}
	x.Quit()
	return fmt.Sprintf("has %d recipients, and %s takes mail from %s", len(people), server.Address(), from.Address), nil
}

// knock opens a connection and closes it: more would be a message.
func knock(ctx context.Context, env *check.Env, address string, hide *strings.Replacer) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", errors.New("the address cannot be used")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := env.Dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", errors.New(hide.Replace(err.Error()))
	}
	_ = conn.Close()
	return "can be reached; nothing was sent", nil
}
