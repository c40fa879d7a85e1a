package forge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/rest"
)

type hubUser struct {
	Login string `json:"login"`
	Type  string `json:"type"`
}

// between reads all pages of the comparison, each of which tells how many
// commits there are in all
// (https://docs.github.com/en/rest/commits/commits#compare-two-commits).
func (g *github) between(ctx context.Context, base, head string) ([]commit, error) {
	type comparison struct {
		Status  string `json:"status"`
		Total   *int   `json:"total_commits"`
		Commits []struct {
			SHA    string `json:"sha"`
			Commit struct {
				Message string `json:"message"`
			} `json:"commit"`
		} `json:"commits"`
	}
	var out []commit
	status, total := "", 0
	err := rest.List(ctx, g.Client, g.repo+"/compare/"+base+"..."+head, page(), func(c comparison) error {
		if c.Total == nil {
			return errors.New("the comparison does not tell how many commits there are")
		}
		if status, total = c.Status, *c.Total; total > maxCommits {
			return tooMany(total)
		}
		for _, one := range c.Commits {
			if !isSHA(one.SHA) {
				return errors.New("the comparison holds a commit without a name")
			}
			out = append(out, commit{sha: one.SHA, title: one.Commit.Message})
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case status == "behind":
		return nil, errBehind
	case status != "ahead" && status != "diverged":
		return nil, fmt.Errorf("the comparison of two different commits has the status %.40q", status)
	case len(out) != total:
		return nil, fmt.Errorf("%s tells of %s and lists %d", g.Service, plural(total, "commit"), len(out))
	}
	return out, holds(out, head)
}

func tooMany(n int) error {
	return fmt.Errorf("%d or more commits, more than %d: give a base that is nearer", n, maxCommits)
}

// holds is an error when a range does not hold its own end: then it is not whole.
func holds(commits []commit, head string) error {
	if !slices.ContainsFunc(commits, func(c commit) bool { return c.sha == head }) {
		return errors.New("the list of commits does not hold head itself")
	}
	return nil
}

// files reads all pages of a commit's files; GitHub tells of at most 3000
// (https://docs.github.com/en/rest/commits/commits#get-a-commit).
func (g *github) files(ctx context.Context, sha string) ([]string, bool, error) {
	const most = 3000
	type detail struct {
		Files *[]struct {
			Name     string `json:"filename"`
			Previous string `json:"previous_filename"`
		} `json:"files"`
	}
	var names []string
	n := 0
	err := rest.List(ctx, g.Client, g.repo+"/commits/"+sha, page(), func(d detail) error {
		if d.Files == nil {
			return errors.New("the answer holds no list of files")
		}
		for _, f := range *d.Files {
			if n++; f.Name == "" {
				return errors.New("the answer holds a file without a name")
			}
			names = append(names, f.Name)
			if f.Previous != "" {
				names = append(names, f.Previous)
			}
		}
		return nil
	})
	return names, n >= most, err
}

// requests asks which pull requests brought a commit
// (https://docs.github.com/en/rest/commits/commits#list-pull-requests-associated-with-a-commit).
func (g *github) requests(ctx context.Context, sha string) ([]request, error) {
	type pull struct {
		Number   int     `json:"number"`
		URL      string  `json:"html_url"`
		MergedAt *string `json:"merged_at"`
		User     hubUser `json:"user"`
		Head     struct {
			SHA string `json:"sha"`
		} `json:"head"`
		Base struct {
			Ref  string `json:"ref"`
			Repo struct {
				Name string `json:"full_name"`
			} `json:"repo"`
		} `json:"base"`
	}
	pulls, err := all[pull](ctx, g.Client, g.repo+"/commits/"+sha+"/pulls", page())
	if err != nil {
		return nil, err
	}
	var out []request
	for _, p := range pulls {
		if p.Number < 1 || !isSHA(p.Head.SHA) || p.Base.Repo.Name == "" {
			return nil, errors.New("the answer holds a pull request without number, head or repository")
		}
		// A request that was merged in a fork was approved by the fork's people.
		if p.MergedAt == nil || !strings.EqualFold(p.Base.Repo.Name, g.name) {
			continue
		}
		out = append(out, request{number: p.Number, mark: "#", url: p.URL, author: p.User.Login, into: p.Base.Ref, head: p.Head.SHA})
	}
	return out, nil
}

// reviews reads the reviews, which come in the order of time. A comment changes
// nothing, and a pending review was not sent yet
// (https://docs.github.com/en/rest/pulls/reviews#list-reviews-for-a-pull-request).
func (g *github) reviews(ctx context.Context, r request, _ bool) ([]review, error) {
	type entry struct {
		User        *hubUser `json:"user"`
		State       string   `json:"state"`
		Commit      string   `json:"commit_id"`
		Association string   `json:"author_association"`
	}
	list, err := all[entry](ctx, g.Client, fmt.Sprintf("%s/pulls/%d/reviews", g.repo, r.number), page())
	if err != nil {
		return nil, err
	}
	states := map[string]string{"APPROVED": approved, "CHANGES_REQUESTED": objected, "DISMISSED": dismissed, "COMMENTED": "", "PENDING": ""}
	var out []review
	for _, e := range list {
		state, known := states[e.State]
		if !known {
			return nil, fmt.Errorf("a review has the unknown state %.40q", e.State)
		}
		if state == "" || e.User == nil || e.User.Login == "" { // an account that is gone says nothing
			continue
		}
		out = append(out, review{
			person: person{login: e.User.Login}, state: state, current: e.Commit == r.head, bot: e.User.Type == "Bot",
			entitled: slices.Contains([]string{"OWNER", "MEMBER", "COLLABORATOR"}, e.Association),
		})
	}
	return out, nil
}

// authors reads who wrote and who committed; GitHub lists at most 250 commits of
// a request (https://docs.github.com/en/rest/pulls/pulls#list-commits-on-a-pull-request).
func (g *github) authors(ctx context.Context, r request) ([]person, error) {
	const most = 250
	type entry struct {
		SHA       string   `json:"sha"`
		Author    *hubUser `json:"author"`
		Committer *hubUser `json:"committer"`
	}
	path := fmt.Sprintf("%s/pulls/%d", g.repo, r.number)
	list, err := all[entry](ctx, g.Client, path+"/commits", page())
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("a merged request without commits")
	}
	if len(list) >= most {
		whole, err := rest.Get[struct {
			Commits *int `json:"commits"`
		}](ctx, g.Client, path, nil)
		if err != nil {
			return nil, err
		}
		if whole.Commits == nil || *whole.Commits != len(list) {
			return nil, fmt.Errorf("it has more than the %d commits that %s lists, so who wrote it is not known (forbid_self: false leaves that out)", most, g.Service)
		}
	}
	var out []person
	for _, e := range list {
		for _, u := range []*hubUser{e.Author, e.Committer} {
			// A merge made on the site is committed by the account web-flow.
			if u != nil && u.Login != "" && !slices.Contains(out, person{login: u.Login}) {
				out = append(out, person{login: u.Login})
			}
		}
	}
	return out, nil
}

// members reads a team's members
// (https://docs.github.com/en/rest/teams/members#list-team-members).
func (g *github) members(ctx context.Context, team string) ([]string, error) {
	org, slug, given := strings.Cut(team, "/")
	if !given {
		org, slug = g.owner, team
	}
	list, err := all[hubUser](ctx, g.Client, "/orgs/"+segment(org)+"/teams/"+segment(slug)+"/members", page())
	if err != nil {
		return nil, err
	}
	var out []string
	for _, u := range list {
		out = append(out, u.Login)
	}
	return out, nil
}
