package sentry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// dsn is where a client sends its events:
// https://KEY@HOST/PATH/PROJECT, with https://HOST/PATH as the server.
// https://develop.sentry.dev/sdk/foundations/transport/authentication/
type dsn struct {
	base, key, project string
}

// parseDSN reads a DSN. Its errors quote nothing of it.
func parseDSN(text string) (dsn, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return dsn{}, errors.New("it is no address https://KEY@HOST/PROJECT")
	case u.User == nil || u.User.Username() == "":
		return dsn{}, errors.New("it has no key before the host")
	case strings.ContainsFunc(u.User.Username(), func(r rune) bool { return r <= ' ' || r == ',' || r > '~' }):
		return dsn{}, errors.New("its key holds characters that no key has")
	case u.RawQuery != "" || u.Fragment != "":
		return dsn{}, errors.New("it has a query or a fragment")
	}
	path, id := "", strings.TrimPrefix(u.Path, "/")
	if i := strings.LastIndex(u.Path, "/"); i >= 0 {
		path, id = u.Path[:i], u.Path[i+1:]
	}
	if !slug.MatchString(id) {
		return dsn{}, errors.New("it has no project at its end")
	}
	return dsn{base: u.Scheme + "://" + u.Host + path, key: u.User.Username(), project: id}, nil
}

// masked shows where events go, without the key.
func (d dsn) masked() string {
	scheme, rest, _ := strings.Cut(d.base, "://")
	return scheme + "://***@" + rest + "/" + d.project
}

// ingest makes a client of the server that takes events, which knows its sender
// by the DSN's key.
// https://develop.sentry.dev/sdk/foundations/transport/authentication/
func (d dsn) ingest(env *check.Env) (*rest.Client, error) {
	return rest.New(env, "Sentry", d.base, http.Header{
		"Content-Type":  {"application/x-sentry-envelope"},
		"X-Sentry-Auth": {"Sentry sentry_version=7, sentry_client=allclear/1, sentry_key=" + d.key},
	})
}

// dsnOf fetches and reads the DSN. A text that is none is a certain answer.
func (p *event) dsnOf(ctx context.Context, env *check.Env) (d dsn, miss string, err error) {
	value, err := env.Secret(ctx, p.DSN)
	if err != nil {
		return dsn{}, "", err
	}
	if d, err = parseDSN(value.Reveal()); err != nil {
		return dsn{}, fmt.Sprintf("%s holds no DSN: %v", p.DSN, err), ctx.Err()
	}
	return d, "", nil
}
