package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// labRelease is a release at GitLab (https://docs.gitlab.com/api/releases/). It is
// known by its tag, so there is never more than one.
type labRelease struct {
	work
	*gitlab
}

type labEntry struct {
	Tag         string `json:"tag_name"`
	Name        string `json:"name"`
	Description string `json:"description"`
	At          string `json:"released_at"`
	Commit      struct {
		ID string `json:"id"`
	} `json:"commit"`
	Assets struct {
		Links []labLink `json:"links"`
	} `json:"assets"`
	Links struct {
		Self string `json:"self"`
	} `json:"_links"`
}

type labLink struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

func (r *labRelease) path() string { return r.project + "/releases/" + segment(r.Tag) }

// survey looks at the tag first: without it GitLab tells of no release.
func (r *labRelease) survey(ctx context.Context) (*survey, error) {
	s := &survey{facts: map[string]string{"state": "not there"}, notes: r.wanted}
	tag, err := rest.Get[struct {
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
	}](ctx, r.Client, r.project+"/repository/tags/"+segment(r.Tag), nil)
	if rest.IsStatus(err, http.StatusNotFound) {
		s.block = fmt.Sprintf("there is no tag %s at %s: push it first", r.Tag, r.Service)
		return s, r.there(ctx)
	}
	if err == nil && !isSHA(tag.Commit.ID) {
		err = errors.New("the tag leads to no commit")
	}
	if err != nil {
		return nil, err
	}
	if want := r.env.Run.Revision; isSHA(want) && want != tag.Commit.ID {
		s.block = fmt.Sprintf("the tag %s is at %s, the release at %s", r.Tag, short(tag.Commit.ID), short(want))
		return s, nil
	}
	e, err := rest.Get[labEntry](ctx, r.Client, r.path(), nil)
	switch {
	case rest.IsStatus(err, http.StatusNotFound):
		if s.block = r.tooShort(r.wanted); r.From == fromKept {
			s.block = "there is no release " + r.Tag + " whose notes are kept"
		}
		if s.block == "" {
			s.todo = append(s.todo, step{"publish it", func(ctx context.Context) error { return r.create(ctx, s) }})
		}
		return s, nil
	case err != nil:
		return nil, err
	case e.Tag != r.Tag:
		return nil, errors.New("the answer is of another release")
	}
	r.compare(s, e)
	if s.block != "" || r.Latest != "true" {
		return s, nil
	}
	return s, r.mustBeLatest(ctx)
}

// compare looks at a release that is there. It is public, so nothing of it is
// changed; links that are missing are added.
func (r *labRelease) compare(s *survey, e labEntry) {
	s.there = true
	r.tell(s, e)
	notes, id, _ := r.marked(e.Description)
	s.begun = id == r.id
	title := r.title()
	if r.From == fromKept {
		s.notes = notes
		if r.Name == "" {
			title = e.Name
		}
	}
	s.block = r.tooShort(s.notes)
	if !same(notes, s.notes) || e.Name != title {
		s.block = fmt.Sprintf("%s is published already, with other notes or another title; what is published is not changed (from: kept takes the notes as they are)", r.Tag)
	}
	for _, a := range r.Assets {
		there := false
		for _, l := range e.Assets.Links {
			if l.Name == a.Name && l.URL != a.URL {
				s.block = fmt.Sprintf("%s has another link %s already, which is not replaced", r.Tag, a.Name)
			}
			there = there || l.Name == a.Name
		}
		if !there {
			s.todo = append(s.todo, step{"add the link " + a.Name, func(ctx context.Context) error {
				l, err := rest.Send[labLink](ctx, r.Client, http.MethodPost, r.path()+"/assets/links", labLink{a.Name, a.URL})
				if err == nil && l.Name != a.Name {
					err = fmt.Errorf("%s did not take the link", r.Service)
				}
				return err
			}})
		}
	}
}

func (r *labRelease) tell(s *survey, e labEntry) {
	s.facts = map[string]string{"state": published, "url": e.Links.Self, "published_at": e.At}
}

// create publishes the release. Without ref GitLab makes no tag.
func (r *labRelease) create(ctx context.Context, s *survey) error {
	type assets struct {
		Links []labLink `json:"links"`
	}
	body := struct {
		Tag         string  `json:"tag_name"`
		Name        string  `json:"name"`
		Description string  `json:"description"`
		Assets      *assets `json:"assets,omitempty"`
	}{Tag: r.Tag, Name: r.title(), Description: mark(r.wanted, r.id)}
	if len(r.Assets) > 0 {
		body.Assets = &assets{}
		for _, a := range r.Assets {
			body.Assets.Links = append(body.Assets.Links, labLink{a.Name, a.URL})
		}
	}
	e, err := rest.Send[labEntry](ctx, r.Client, http.MethodPost, r.project+"/releases", body)
	if err != nil {
		return err
	}
	if e.Tag != r.Tag {
		return fmt.Errorf("%s made something else than the release %s", r.Service, r.Tag)
	}
	r.tell(s, e)
	if r.Latest == "true" {
		return r.mustBeLatest(ctx)
	}
	return nil
}

// mustBeLatest compares with the release of the latest date, which GitLab takes
// for the latest; nobody can choose another.
func (r *labRelease) mustBeLatest(ctx context.Context) error {
	list, err := rest.Get[[]labEntry](ctx, r.Client, r.project+"/releases", url.Values{"order_by": {"released_at"}, "sort": {"desc"}, "per_page": {"1"}})
	if err == nil && (len(list) != 1 || list[0].Tag != r.Tag) {
		err = fmt.Errorf("%s is not the release with the latest date at %s", r.Tag, r.Service)
	}
	return err
}

// undo is never reached: what is published stays, and there are no drafts.
func (r *labRelease) undo(context.Context) (check.Outcome, error) {
	return check.Failf("a release that was published is not taken back"), nil
}

// may asks for the token's role: Developer (30) may write releases
// (https://docs.gitlab.com/api/projects/#retrieve-a-project).
func (r *labRelease) may(ctx context.Context) error {
	const developer = 30
	type access struct {
		Level int `json:"access_level"`
	}
	e, err := rest.Get[struct {
		Permissions *struct {
			Project *access `json:"project_access"`
			Group   *access `json:"group_access"`
		} `json:"permissions"`
	}](ctx, r.Client, r.project, nil)
	if err != nil {
		return seen(r.Service, r.Repo, err)
	}
	if e.Permissions == nil {
		return fmt.Errorf("%s does not tell what the token may do", r.Service)
	}
	level := 0
	for _, a := range []*access{e.Permissions.Project, e.Permissions.Group} {
		if a != nil {
			level = max(level, a.Level)
		}
	}
	if level < developer {
		return fmt.Errorf("the token may not write releases of %s: it needs the role Developer", r.Repo)
	}
	return nil
}
