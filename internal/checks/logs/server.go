package logs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

// login is who asks a server.
type login struct {
	Token    secret.Ref `param:"token" doc:"bearer token" default:""`
	User     string     `param:"user" doc:"user name for basic authentication" default:""`
	Password secret.Ref `param:"password" doc:"the user's password" default:""`
}

func (l *login) validate() error {
	switch {
	case (l.User == "") != l.Password.IsZero():
		return errors.New("user goes with password")
	case l.User != "" && !l.Token.IsZero():
		return errors.New("token and user do not go together")
	case strings.Contains(l.User, ":"):
		return errors.New("user: a name with a colon cannot be sent")
	}
	return nil
}

// header gives the headers that say who asks.
func (l *login) header(ctx context.Context, env *check.Env) (http.Header, error) {
	h := http.Header{}
	if !l.Token.IsZero() {
		token, err := env.Secret(ctx, l.Token)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Bearer "+strings.TrimSpace(token.Reveal()))
	}
	if l.User != "" {
		password, err := env.Secret(ctx, l.Password)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(l.User+":"+password.Reveal())))
	}
	return h, nil
}

// paged reads a time page by page, oldest first. A full page may have been cut
// between lines of one moment, so the next one begins with that moment again, and
// what was read of it is read anew.
func paged(s span, size int, page func(s span) ([]line, error)) ([]line, error) {
	var out []line
	for {
		found, err := page(s)
		if err != nil {
			return nil, err
		}
		oldest, newest := s.start, s.start
		for i, l := range found {
			if l.at.Before(s.start) || !l.at.Before(s.end) {
				return nil, fmt.Errorf("an answer holds a line of %s, which is not in the time that was asked for", l.at.UTC().Format(time.RFC3339Nano))
			}
			if i == 0 || l.at.Before(oldest) {
				oldest = l.at
			}
			if l.at.After(newest) {
				newest = l.at
			}
		}
		if len(found) < size {
			out = append(out, found...)
			if len(out) > maxLines {
				return nil, tooMany(s)
			}
			return out, nil
		}
		if !newest.After(oldest) {
			return nil, fmt.Errorf("more than %d lines of the same moment, %s: narrow the query", size, newest.UTC().Format(time.RFC3339Nano))
		}
		for _, l := range found {
			if l.at.Before(newest) {
				out = append(out, l)
			}
		}
		if len(out) > maxLines {
			return nil, tooMany(s)
		}
		s.start = newest
	}
}

// checkServer says what is wrong with an address and who asks.
func checkServer(name, address string, l *login) error {
	if err := rest.CheckBase(address); err != nil {
		return fmt.Errorf("%s: url: %w", name, err)
	}
	if err := l.validate(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
