// Package forge holds the types that ask GitHub and GitLab: who approved what is
// released, what continuous integration said about it, and the release itself.
package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

// The providers.
const (
	onGitHub = "github"
	onGitLab = "gitlab"
)

// perPage is how many entries a page of a list has; both providers give no more.
const perPage = "100"

// project is a repository at a provider. Every type of this package embeds it.
type project struct {
	Repo     string     `param:"repo" doc:"the repository: owner/name on GitHub, group/subgroup/name on GitLab" default:"${env.repository}"`
	Provider string     `param:"provider" doc:"whose API is asked" default:"github" enum:"github,gitlab"`
	API      string     `param:"api" doc:"address of the API; https://api.github.com or https://gitlab.com/api/v4 when left out, https://HOST/api/v3 (GitHub Enterprise Server) or https://HOST/api/v4 (GitLab) of your own" default:""`
	Token    secret.Ref `param:"token" doc:"the access token; env:GITHUB_TOKEN or env:GITLAB_TOKEN when left out" default:""`
}

// validate holds the rules of what names the repository, and settles which token
// is meant so that it is known before the run.
func (p *project) validate() error {
	parts := strings.Split(p.Repo, "/")
	if len(parts) < 2 || p.Provider == onGitHub && len(parts) > 2 {
		return fmt.Errorf("repo: want owner/name, got %.100q", p.Repo)
	}
	for _, part := range parts {
		if !regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.-]*$`).MatchString(part) || strings.Trim(part, ".") == "" {
			return fmt.Errorf("repo: %.100q is no name of a repository", p.Repo)
		}
	}
	if p.Token.IsZero() {
		p.Token = secret.Ref{Scheme: "env", Name: strings.ToUpper(p.Provider) + "_TOKEN"}
	}
	if err := rest.CheckBase(p.base()); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

func (p *project) base() string {
	switch {
	case p.API != "":
		return strings.TrimRight(p.API, "/")
	case p.Provider == onGitLab:
		return "https://gitlab.com/api/v4"
	}
	return "https://api.github.com"
}

// service names the provider in messages, and its server when it is one's own.
func (p *project) service() string {
	name := map[string]string{onGitHub: "GitHub", onGitLab: "GitLab"}[p.Provider]
	if u, err := url.Parse(p.API); err == nil && u.Host != "" {
		name += " at " + u.Host
	}
	return name
}

// target names the repository for the plan.
func (p *project) target() string { return p.Repo + " (" + p.Provider + ")" }

// client makes the client of the provider's API.
func (p *project) client(ctx context.Context, env *check.Env, base string) (*rest.Client, error) {
	token, err := env.Secret(ctx, p.Token)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(token.Reveal())
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("the token %s is not one line of text", p.Token)
	}
	header := http.Header{"Private-Token": {text}}
	if p.Provider == onGitHub {
		header = http.Header{
			"Authorization":        {"Bearer " + text},
			"Accept":               {"application/vnd.github+json"},
			"X-Github-Api-Version": {"2022-11-28"},
		}
	}
	return rest.New(env, p.service(), base, header)
}

// github is the API of GitHub for one repository
// (https://docs.github.com/en/rest).
type github struct {
	*rest.Client
	// owner is the account of the repository; repo the path below which all its
	// resources are.
	owner, name, repo string
}

// gitlab is the API of GitLab for one project
// (https://docs.gitlab.com/api/rest/).
type gitlab struct {
	*rest.Client
	// project is the path below which all its resources are.
	project string
}

func (p *project) github(ctx context.Context, env *check.Env) (*github, error) {
	c, err := p.client(ctx, env, p.base())
	if err != nil {
		return nil, err
	}
	owner, _, _ := strings.Cut(p.Repo, "/")
	return &github{Client: c, owner: owner, name: p.Repo, repo: "/repos/" + p.Repo}, nil
}

func (p *project) gitlab(ctx context.Context, env *check.Env) (*gitlab, error) {
	c, err := p.client(ctx, env, p.base())
	if err != nil {
		return nil, err
	}
	return &gitlab{Client: c, project: "/projects/" + url.PathEscape(p.Repo)}, nil
}

// resolver gives the commit that a name stands for, "" when there is none.
type resolver interface {
	resolve(ctx context.Context, name string) (string, error)
}

// resolve asks for a commit by its name
// (https://docs.github.com/en/rest/commits/commits#get-a-commit).
func (g *github) resolve(ctx context.Context, name string) (string, error) {
	c, err := rest.Get[struct {
		SHA string `json:"sha"`
	}](ctx, g.Client, g.repo+"/commits/"+segments(name), url.Values{"per_page": {"1"}})
	// 422 is GitHub's answer to a name of the form of a commit that is none.
	if rest.IsStatus(err, http.StatusNotFound) || rest.IsStatus(err, http.StatusUnprocessableEntity) {
		return "", g.there(ctx)
	}
	return whole(g.Service, c.SHA, err)
}

// there is an error unless the repository can be seen: what cannot be seen is
// answered with 404 as well.
func (g *github) there(ctx context.Context) error {
	r, err := rest.Get[struct {
		Name string `json:"full_name"`
	}](ctx, g.Client, g.repo, nil)
	return seen(g.Service, r.Name, err)
}

// resolve asks for a commit by its name
// (https://docs.gitlab.com/api/commits/#retrieve-a-commit).
func (g *gitlab) resolve(ctx context.Context, name string) (string, error) {
	c, err := rest.Get[struct {
		ID string `json:"id"`
	}](ctx, g.Client, g.project+"/repository/commits/"+url.PathEscape(name), nil)
	if rest.IsStatus(err, http.StatusNotFound) {
		return "", g.there(ctx)
	}
	return whole(g.Service, c.ID, err)
}

func (g *gitlab) there(ctx context.Context) error {
	r, err := rest.Get[struct {
		Path string `json:"path_with_namespace"`
	}](ctx, g.Client, g.project, nil)
	return seen(g.Service, r.Path, err)
}

func seen(service, name string, err error) error {
	switch {
	case rest.IsStatus(err, http.StatusNotFound):
		return fmt.Errorf("%w: is repo right, and may the token see it?", err)
	case err == nil && name == "":
		return fmt.Errorf("%s does not tell the repository's name", service)
	}
	return err
}

func whole(service, sha string, err error) (string, error) {
	if err == nil && !isSHA(sha) {
		err = fmt.Errorf("%s told no commit", service)
	}
	return sha, err
}

// isSHA reports whether text is a whole commit, of SHA-1 or SHA-256.
func isSHA(text string) bool {
	return regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`).MatchString(text)
}

// validRev accepts what may name a commit: no operators of git, and nothing that
// is another path of the API.
func validRev(name string) error {
	switch {
	case name == "", len(name) > 250, strings.HasPrefix(name, "-"), strings.Contains(name, ".."), strings.HasPrefix(name, "/"):
		return fmt.Errorf("%.100q names no commit", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }):
		return fmt.Errorf("%.100q names no commit: it holds a space, a control character or one of ~^:?*[\\", name)
	}
	return nil
}

// point is a commit with the name it was asked for by.
type point struct{ name, sha string }

// String gives the name with the beginning of the commit.
func (p point) String() string {
	if p.name == p.sha {
		return short(p.sha)
	}
	return p.name + " (" + short(p.sha) + ")"
}

// point finds the commit of release, previous, or any other name.
func (p *project) point(ctx context.Context, env *check.Env, r resolver, name string) (point, error) {
	known, candidates := "", []string{name}
	switch name {
	case "release":
		name, known = env.Run.Release, env.Run.Revision
	case "previous":
		name, known = env.Run.Previous, env.Run.PreviousRev
		if name == "" && known == "" {
			return point{}, &check.NotSupplied{What: "the previous release (adopt records what is live; or give base)"}
		}
	}
	if isSHA(known) {
		candidates = []string{known}
	} else if name != candidates[0] {
		candidates = []string{name, "v" + name}
	}
	if name == "" && known == "" {
		return point{}, &check.NotSupplied{What: "the release of this run"}
	}
	if name == "" {
		name = known
	}
	for _, candidate := range candidates {
		if err := validRev(candidate); err != nil {
			return point{}, err
		}
		sha, err := r.resolve(ctx, candidate)
		if err != nil {
			return point{}, err
		}
		if sha != "" {
			return point{name: name, sha: sha}, nil
		}
	}
	return point{}, fmt.Errorf("%s knows no commit %s of %s: push it first", p.service(), strings.Join(candidates, " or "), p.Repo)
}

// segments escapes a name that may hold slashes: GitHub wants them as they are.
func segments(name string) string {
	return (&url.URL{Path: name}).EscapedPath()
}

// short gives the beginning of a commit for people.
func short(sha string) string { return sha[:min(len(sha), 12)] }

// line gives the beginning of the first line of a text.
func line(text string, most int) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.ToValidUTF8(strings.TrimSpace(text), "")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// some joins the first few texts and says how many are left out.
func some(texts []string, most int) string {
	out := strings.Join(texts[:min(len(texts), most)], "; ")
	if more := len(texts) - most; more > 0 {
		out += fmt.Sprintf("; and %d more", more)
	}
	return out
}

// plural gives a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// page gives the query of a list with further parameters.
func page(pairs ...string) url.Values {
	q := url.Values{"per_page": {perPage}}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

// all reads every page of a list that is an array.
func all[T any](ctx context.Context, c *rest.Client, path string, query url.Values) ([]T, error) {
	var out []T
	err := rest.List(ctx, c, path, query, func(p []T) error {
		if out = append(out, p...); len(out) > maxEntries {
			return errors.New("the list has too many entries; narrow what is asked for")
		}
		return nil
	})
	return out, err
}

// maxEntries bounds a list. Both providers page by at most 100.
const maxEntries = rest.MaxPages * 100
