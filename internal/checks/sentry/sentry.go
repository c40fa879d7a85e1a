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

// checkURL says what is wrong with the address of a Sentry.
func checkURL(address string) error {
	if err := rest.CheckBase(address); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if strings.HasSuffix(strings.TrimRight(address, "/"), "/api/0") {
		return errors.New("url: leave out /api/0 at its end")
	}
	return nil
}

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
