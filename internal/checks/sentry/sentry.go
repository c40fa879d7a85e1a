// Package sentry holds the types that send to Sentry and ask it: whether it takes
// events, what went wrong since a deployment, and which release is live where.
package sentry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

// account says which Sentry is asked, and as whom.
type account struct {
	URL   string     `param:"url" doc:"address of Sentry, without /api/0; a server of one's own too" default:"https://sentry.io"`
	Token secret.Ref `param:"token" doc:"auth token for the API" default:"env:SENTRY_AUTH_TOKEN"`
}

// slug is what may stand in a path: an organization or a project, by slug or id.
// https://docs.sentry.io/api/ (organization_id_or_slug, project_id_or_slug)
var slug = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$`)

func checkSlug(name, text string) error {
	if !slug.MatchString(text) {
		return fmt.Errorf("%s: want a slug or an id as in Sentry's addresses, got %q", name, text)
	}
	return nil
}

// open makes a client of the API with the account's token.
func (a *account) open(ctx context.Context, env *check.Env) (*rest.Client, error) {
	token, err := env.Secret(ctx, a.Token)
	if err != nil {
		return nil, err
	}
	return rest.New(env, "Sentry", a.URL, http.Header{"Authorization": {"Bearer " + strings.TrimSpace(token.Reveal())}})
}

// project is what identifies a project.
type project struct {
	ID   string `json:"id"`
	Slug string `json:"slug"`
}

// findProject asks for a project; that it is answered proves that the token sees
// it. https://docs.sentry.io/api/projects/retrieve-a-project/
func findProject(ctx context.Context, c *rest.Client, org, name string) (project, error) {
	p, err := rest.Get[project](ctx, c, "/api/0/projects/"+org+"/"+name+"/", nil)
	switch {
	case rest.IsStatus(err, http.StatusNotFound):
		return p, fmt.Errorf("Sentry shows this token no project %s in the organization %s", name, org)
	case err != nil:
		return p, err
	case p.ID == "" || p.Slug == "" || name != p.ID && name != p.Slug:
		return p, fmt.Errorf("Sentry answered the question for the project %s with another one (%q)", name, p.Slug)
	}
	return p, nil
}

// list reads the pages of a list until each says that it has enough. The link to
// the next page may name the server of a region, where the token does not go; its
// cursor is all that is taken of it.
// https://docs.sentry.io/api/pagination/
func list[T any](ctx context.Context, c *rest.Client, path string, query url.Values, each func([]T) (bool, error)) error {
	asked := url.Values{}
	for name, values := range query {
		asked[name] = values
	}
	for range rest.MaxPages {
		page, header, err := rest.GetWithHeader[[]T](ctx, c, path, asked)
		if err != nil {
			return err
		}
		if enough, err := each(page); err != nil || enough {
			return err
		}
		next := rest.Next(header)
		if next == "" {
			return nil
		}
		link, err := url.Parse(next)
		if err != nil || link.Query().Get("cursor") == "" {
			return fmt.Errorf("Sentry links a page after this one of %s that has no cursor", path)
		}
		asked.Set("cursor", link.Query().Get("cursor"))
	}
	return fmt.Errorf("Sentry has more than %d pages of %s; narrow what is asked for", rest.MaxPages, path)
}

// moment is a point in time as people write it: a duration before now, a time, or
// a fact of the run that holds one.
type moment struct {
	ago  time.Duration
	at   time.Time
	fact string
}

var factName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$`)

// UnmarshalText reads a moment.
func (m *moment) UnmarshalText(text []byte) error {
	s := string(text)
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		*m = moment{ago: d}
		return nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		*m = moment{at: at}
		return nil
	}
	if factName.MatchString(s) {
		*m = moment{fact: s}
		return nil
	}
	return errors.New("want a duration (15m), a time (2026-03-01T14:00:00Z) or the name of a fact (deploy.started_at)")
}

func (m moment) isZero() bool { return m == moment{} }

// in gives the point in time within a run.
func (m moment) in(env *check.Env) (time.Time, error) {
	now := env.Now()
	at := m.at
	switch {
	case m.ago > 0:
		return now.Add(-m.ago), nil
	case m.fact == "run.started_at":
		at = env.Run.StartedAt
	case m.fact != "":
		text, known := env.Ledger.Fact(m.fact)
		if !known {
			return at, &check.NotSupplied{What: m.fact}
		}
		var err error
		if at, err = time.Parse(time.RFC3339, text); err != nil {
			return at, fmt.Errorf("the fact %s is no time (%.40q)", m.fact, text)
		}
	}
	if !at.Before(now) {
		return at, fmt.Errorf("since: %s is not in the past", at.UTC().Format(time.RFC3339))
	}
	return at, nil
}

// short cuts what Sentry says for a message.
func short(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// filled leaves out empty texts, by which people say "none".
func filled(texts []string) []string {
	return slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return s == "" })
}
