package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// hubRelease is a release at GitHub
// (https://docs.github.com/en/rest/releases/releases).
type hubRelease struct {
	work
	*github
	// uploads is the server that takes files; it is another one than the API's.
	uploads *rest.Client
	// number is the release's once it is known.
	number int64
}

type hubEntry struct {
	ID         int64   `json:"id"`
	Tag        string  `json:"tag_name"`
	Name       string  `json:"name"`
	Body       string  `json:"body"`
	Draft      *bool   `json:"draft"`
	Prerelease bool    `json:"prerelease"`
	URL        string  `json:"html_url"`
	At         *string `json:"published_at"`
}

// hubChange is what a release is created with or changed to.
type hubChange struct {
	Tag        string `json:"tag_name,omitempty"`
	Target     string `json:"target_commitish,omitempty"`
	Name       string `json:"name,omitempty"`
	Body       string `json:"body,omitempty"`
	Draft      *bool  `json:"draft,omitempty"`
	Prerelease *bool  `json:"prerelease,omitempty"`
	Latest     string `json:"make_latest,omitempty"`
}

// uploads makes the client of the server for files: uploads.HOST beside api.HOST,
// /api/uploads beside /api/v3
// (https://docs.github.com/en/rest/releases/assets#upload-a-release-asset).
func (p *project) uploads(ctx context.Context, env *check.Env) (*rest.Client, error) {
	base := p.base()
	if front, own := strings.CutSuffix(base, "/api/v3"); own {
		base = front + "/api/uploads"
	} else {
		base = strings.Replace(base, "://api.", "://uploads.", 1)
	}
	c, err := p.client(ctx, env, base)
	if err == nil {
		c.Header.Set("Content-Type", "application/octet-stream")
	}
	return c, err
}

// find reads all releases, because GitHub gives drafts in no other way.
func (r *hubRelease) find(ctx context.Context) ([]hubEntry, error) {
	list, err := all[hubEntry](ctx, r.Client, r.repo+"/releases", page())
	if err != nil {
		return nil, err
	}
	var found []hubEntry
	for _, e := range list {
		if e.ID < 1 || e.Tag == "" || e.Draft == nil {
			return nil, errors.New("the list holds a release without number, tag or state")
		}
		if e.Tag == r.Tag {
			found = append(found, e)
		}
	}
	return found, nil
}

func (r *hubRelease) survey(ctx context.Context) (*survey, error) {
	found, err := r.find(ctx)
	if err != nil {
		return nil, err
	}
	at, err := r.resolve(ctx, "tags/"+r.Tag)
	if err != nil {
		return nil, err
	}
	s := &survey{facts: map[string]string{"state": "not there"}, notes: r.wanted}
	want := r.env.Run.Revision
	switch {
	case len(found) > 1:
		s.block = fmt.Sprintf("there are %d releases for %s: delete those that are wrong", len(found), r.Tag)
	case at != "" && isSHA(want) && at != want:
		s.block = fmt.Sprintf("the tag %s is at %s, the release at %s", r.Tag, short(at), short(want))
	case at == "" && r.State == published:
		s.block = fmt.Sprintf("there is no tag %s at %s, and GitHub would put it on the newest commit: push it first", r.Tag, r.Service)
	case at == "" && !isSHA(want):
		s.block = fmt.Sprintf("there is no tag %s at %s, and the release's commit is not known: push it first", r.Tag, r.Service)
	case len(found) == 0 && r.From == fromKept:
		s.block = "there is no release " + r.Tag + " whose notes are kept"
	case len(found) == 0:
		if s.block = r.tooShort(r.wanted); s.block == "" {
			s.todo = append(s.todo, step{"create the draft", r.create})
		}
	default:
		r.compare(s, found[0])
	}
	if s.block != "" {
		return s, nil
	}
	if err := r.attach(ctx, s); err != nil {
		return nil, err
	}
	return s, r.publication(ctx, s, found)
}

// compare decides what of a release that is there is changed. What somebody else
// wrote, and what is published, stays.
func (r *hubRelease) compare(s *survey, e hubEntry) {
	r.number, s.there = e.ID, true
	s.facts = map[string]string{"state": published, "id": strconv.FormatInt(e.ID, 10), "url": e.URL}
	if *e.Draft {
		s.facts["state"] = draft
	} else if e.At != nil {
		s.facts["published_at"] = *e.At
	}
	notes, id, untouched := r.marked(e.Body)
	s.begun = id == r.id
	if r.From == fromKept {
		s.notes = notes
	}
	title := r.title()
	if r.Name == "" && r.From == fromKept {
		title = e.Name
	}
	if s.block = r.tooShort(s.notes); s.block != "" {
		return
	}
	differs := !same(notes, s.notes)
	switch {
	case !*e.Draft && (differs || e.Name != title || e.Prerelease != r.Prerelease):
		s.block = fmt.Sprintf("%s is published already, with other notes, another title or another prerelease mark; what is published is not changed (from: kept takes the notes as they are)", r.Tag)
	case differs && !untouched && notes != "":
		s.block = fmt.Sprintf("the draft %s has other notes, which somebody wrote; they are not overwritten (from: kept takes them as they are)", r.Tag)
	case differs || e.Name != title || e.Prerelease != r.Prerelease:
		if id == "" {
			id = strings.Repeat("0", len(r.id)) // not made by any action, so never deleted by one
		}
		change := hubChange{Name: title, Prerelease: &r.Prerelease}
		if differs {
			change.Body = mark(s.notes, id)
		}
		s.todo = append(s.todo, step{"change the draft", func(ctx context.Context) error {
			_, err := r.change(ctx, change, true)
			return err
		}})
	}
}

func (r *hubRelease) create(ctx context.Context) error {
	yes := true
	change := hubChange{Tag: r.Tag, Name: r.title(), Body: mark(r.wanted, r.id), Draft: &yes, Prerelease: &r.Prerelease}
	if isSHA(r.env.Run.Revision) {
		change.Target = r.env.Run.Revision
	}
	e, err := rest.Send[hubEntry](ctx, r.Client, http.MethodPost, r.repo+"/releases", change)
	if err != nil {
		return err
	}
	if e.ID < 1 || e.Tag != r.Tag || e.Draft == nil || !*e.Draft {
		return fmt.Errorf("%s made something else than the draft %s", r.Service, r.Tag)
	}
	r.number = e.ID
	return nil
}

// change changes the release and makes sure of its state.
func (r *hubRelease) change(ctx context.Context, c hubChange, isDraft bool) (hubEntry, error) {
	e, err := rest.Send[hubEntry](ctx, r.Client, http.MethodPatch, fmt.Sprintf("%s/releases/%d", r.repo, r.number), c)
	if err == nil && (e.Tag != r.Tag || e.Draft == nil || *e.Draft != isDraft) {
		err = fmt.Errorf("%s answers with something else than the release %s as it was asked for", r.Service, r.Tag)
	}
	return e, err
}

// publication adds what makes the release published and, if wanted, the latest.
func (r *hubRelease) publication(ctx context.Context, s *survey, found []hubEntry) error {
	if r.State == draft {
		return nil
	}
	latest := map[string]string{"auto": "legacy", "true": "true", "false": "false"}[r.Latest]
	no := false
	if len(found) == 0 || *found[0].Draft {
		s.todo = append(s.todo, step{"publish it", func(ctx context.Context) error {
			e, err := r.change(ctx, hubChange{Draft: &no, Latest: latest}, false)
			if err != nil {
				return err
			}
			s.facts["id"], s.facts["url"] = strconv.FormatInt(e.ID, 10), e.URL
			if e.At != nil {
				s.facts["published_at"] = *e.At
			}
			if r.Latest == "true" {
				return r.mustBeLatest(ctx)
			}
			return nil
		}})
		return nil
	}
	if r.Latest != "true" {
		return nil
	}
	is, err := r.latest(ctx)
	if err == nil && is != r.Tag {
		s.todo = append(s.todo, step{"make it the latest", func(ctx context.Context) error {
			if _, err := r.change(ctx, hubChange{Latest: latest}, false); err != nil {
				return err
			}
			return r.mustBeLatest(ctx)
		}})
	}
	return err
}

// latest gives the tag of the latest release, "" when there is none.
func (r *hubRelease) latest(ctx context.Context) (string, error) {
	e, err := rest.Get[hubEntry](ctx, r.Client, r.repo+"/releases/latest", nil)
	if rest.IsStatus(err, http.StatusNotFound) {
		return "", nil
	}
	if err == nil && e.Tag == "" {
		err = errors.New("the latest release has no tag")
	}
	return e.Tag, err
}

func (r *hubRelease) mustBeLatest(ctx context.Context) error {
	is, err := r.latest(ctx)
	if err == nil && is != r.Tag {
		err = fmt.Errorf("%s calls %q the latest release", r.Service, line(is, 80))
	}
	return err
}

func (r *hubRelease) undo(ctx context.Context) (check.Outcome, error) {
	found, err := r.find(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	if len(found) == 0 {
		return check.Passf("there is no release %s any more", r.Tag), nil
	}
	for _, e := range found {
		_, id, untouched := r.marked(e.Body)
		switch {
		case !*e.Draft:
			return check.Failf("%s was published since and stays: edit or delete it by hand", r.Tag), nil
		case id != r.id || r.env.Key == "":
			return check.Failf("the draft %s was not made by this item and stays", r.Tag), nil
		case !untouched:
			return check.Failf("somebody changed the notes of the draft %s since; it stays", r.Tag), nil
		}
		address := fmt.Sprintf("%s%s/releases/%d", r.Base, r.repo, e.ID)
		if _, err := r.Do(ctx, http.MethodDelete, address, nil, nil); err != nil && !rest.IsStatus(err, http.StatusNotFound) {
			return check.Outcome{}, err
		}
	}
	return check.Passf("the draft %s is deleted again", r.Tag), nil
}

// may asks what the token may do in the repository.
func (r *hubRelease) may(ctx context.Context) error {
	e, err := rest.Get[struct {
		Permissions *struct {
			Push *bool `json:"push"`
		} `json:"permissions"`
	}](ctx, r.Client, r.repo, nil)
	switch {
	case err != nil:
		return seen(r.Service, r.Repo, err)
	case e.Permissions == nil || e.Permissions.Push == nil:
		return fmt.Errorf("%s does not tell what the token may do", r.Service)
	case !*e.Permissions.Push:
		return fmt.Errorf("the token may only read %s: give it the permission to write contents", r.Repo)
	}
	return nil
}

type hubAsset struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Size   *int64 `json:"size"`
	Digest string `json:"digest"`
}

// attach compares the files with those that are there. One of another content is
// never replaced.
func (r *hubRelease) attach(ctx context.Context, s *survey) error {
	there := map[string]hubAsset{}
	if s.there && len(r.attached) > 0 {
		list, err := all[hubAsset](ctx, r.Client, fmt.Sprintf("%s/releases/%d/assets", r.repo, r.number), page())
		if err != nil {
			return err
		}
		for _, a := range list {
			there[a.Name] = a
		}
	}
	for _, f := range r.attached {
		s.facts["sha256."+f.name] = f.sha256
		a, is := there[f.name]
		switch {
		case is && a.State == "uploaded" && a.Digest == "sha256:"+f.sha256:
			continue
		case is && a.State == "uploaded" && a.Digest == "" && a.Size != nil && *a.Size == int64(len(f.content)):
			return fmt.Errorf("%s has a file %s of the same size and does not tell its digest: whether it is the same is not known", r.Tag, f.name)
		case is && a.State == "uploaded":
			s.block = fmt.Sprintf("%s has another file %s already, which is not replaced", r.Tag, f.name)
			return nil
		case is: // what an upload that was cut off leaves behind
			s.todo = append(s.todo, step{"remove the unfinished " + f.name, func(ctx context.Context) error {
				_, err := r.Do(ctx, http.MethodDelete, fmt.Sprintf("%s%s/releases/assets/%d", r.Base, r.repo, a.ID), nil, nil)
				return err
			}})
		}
		s.todo = append(s.todo, step{"upload " + f.name, func(ctx context.Context) error { return r.upload(ctx, f) }})
	}
	return nil
}

func (r *hubRelease) upload(ctx context.Context, f file) error {
	path := fmt.Sprintf("%s/releases/%d/assets", r.repo, r.number)
	answer, err := r.uploads.Do(ctx, http.MethodPost, r.uploads.Base+path, url.Values{"name": {f.name}}, f.content)
	if err != nil {
		return err
	}
	var a hubAsset
	if err := rest.Decode(r.uploads, path, answer.Body, &a); err != nil {
		return err
	}
	if a.Name != f.name || a.State != "uploaded" || a.Size == nil || *a.Size != int64(len(f.content)) || a.Digest != "" && a.Digest != "sha256:"+f.sha256 {
		return fmt.Errorf("%s did not take the file as it is", r.Service)
	}
	return nil
}
