package forge

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/rest"
)

// segment makes a name one segment of a path.
func segment(name string) string { return url.PathEscape(name) }

type labUser struct {
	Username string `json:"username"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Bot      bool   `json:"bot"`
}

// between asks how the two commits are related and reads all pages of the range.
// The comparison is not asked: nothing says that its list of commits is whole
// (https://docs.gitlab.com/api/repositories/#retrieve-merge-base,
// https://docs.gitlab.com/api/commits/#list-all-repository-commits).
func (g *gitlab) between(ctx context.Context, base, head string) ([]commit, error) {
	fork, err := rest.Get[struct {
		ID string `json:"id"`
	}](ctx, g.Client, g.project+"/repository/merge_base", url.Values{"refs[]": {base, head}})
	if err != nil {
		return nil, err
	}
	if !isSHA(fork.ID) {
		return nil, fmt.Errorf("%s tells no common ancestor", g.Service)
	}
	if fork.ID == head {
		return nil, errBehind
	}
	type entry struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
	var out []commit
	err = rest.List(ctx, g.Client, g.project+"/repository/commits", page("ref_name", base+".."+head), func(list []entry) error {
		for _, e := range list {
			if !isSHA(e.ID) {
				return errors.New("the list holds a commit without a name")
			}
			out = append(out, commit{sha: e.ID, title: e.Title})
		}
		if len(out) > maxCommits {
			return tooMany(len(out))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, holds(out, head)
}

// files reads what a commit changes. GitLab cuts the list of a large commit
// without saying so; its own count of lines tells
// (https://docs.gitlab.com/api/commits/#retrieve-commit-diff).
func (g *gitlab) files(ctx context.Context, sha string) ([]string, bool, error) {
	path := g.project + "/repository/commits/" + sha
	whole, err := rest.Get[struct {
		Stats *struct {
			Total int `json:"total"`
		} `json:"stats"`
	}](ctx, g.Client, path, url.Values{"stats": {"true"}})
	if err != nil {
		return nil, false, err
	}
	if whole.Stats == nil {
		return nil, false, errors.New("the answer does not tell how many lines are changed")
	}
	list, err := all[struct {
		Old  string `json:"old_path"`
		New  string `json:"new_path"`
		Diff string `json:"diff"`
	}](ctx, g.Client, path+"/diff", page())
	if err != nil {
		return nil, false, err
	}
	var names []string
	lines := 0
	for _, d := range list {
		if d.New == "" {
			return nil, false, errors.New("the answer holds a file without a name")
		}
		names = append(names, d.New, d.Old)
		lines += changed(d.Diff)
	}
	return names, lines != whole.Stats.Total, nil
}

// changed counts the lines that a diff adds and takes away.
func changed(diff string) int {
	n, hunk := 0, false
	for l := range strings.Lines(diff) {
		if strings.HasPrefix(l, "@@") {
			hunk = true
		} else if hunk && (l[0] == '+' || l[0] == '-') {
			n++
		}
	}
	return n
}

// requests asks which merge requests a commit belongs to
// (https://docs.gitlab.com/api/commits/#list-merge-requests-associated-with-a-commit).
func (g *gitlab) requests(ctx context.Context, sha string) ([]request, error) {
	type entry struct {
		IID    int     `json:"iid"`
		URL    string  `json:"web_url"`
		State  string  `json:"state"`
		Author labUser `json:"author"`
		Into   string  `json:"target_branch"`
		SHA    string  `json:"sha"`
	}
	list, err := all[entry](ctx, g.Client, g.project+"/repository/commits/"+sha+"/merge_requests", page())
	if err != nil {
		return nil, err
	}
	var out []request
	for _, e := range list {
		if e.IID < 1 || e.State == "" {
			return nil, errors.New("the answer holds a merge request without number or state")
		}
		if e.State != "merged" {
			continue
		}
		out = append(out, request{number: e.IID, mark: "!", url: e.URL, author: e.Author.Username, into: e.Into, head: e.SHA})
	}
	return out, nil
}

// reviews reads who approves now and who asks for changes. GitLab keeps one word
// of each; an approval that was taken back is not there any more
// (https://docs.gitlab.com/api/merge_request_approvals/, and for objections
// https://docs.gitlab.com/api/merge_requests/#retrieve-merge-request-reviewers).
func (g *gitlab) reviews(ctx context.Context, r request, pushed bool) ([]review, error) {
	path := fmt.Sprintf("%s/merge_requests/%d", g.project, r.number)
	given, err := rest.Get[struct {
		By *[]struct {
			User labUser    `json:"user"`
			At   *time.Time `json:"approved_at"`
		} `json:"approved_by"`
	}](ctx, g.Client, path+"/approvals", nil)
	if err != nil {
		return nil, err
	}
	if given.By == nil {
		return nil, errors.New("the answer does not tell who approved")
	}
	var last time.Time
	if pushed && len(*given.By) > 0 {
		if last, err = g.pushed(ctx, path); err != nil {
			return nil, err
		}
	}
	var out []review
	for _, a := range *given.By {
		if a.User.Username == "" {
			return nil, errors.New("the answer holds an approval of nobody")
		}
		if pushed && a.At == nil {
			return nil, fmt.Errorf("%s does not tell when it was approved (after_last_push: false leaves that out; GitLab's own setting removes approvals when commits are added)", g.Service)
		}
		out = append(out, review{
			person: person{login: a.User.Username, name: a.User.Name}, state: approved, bot: a.User.Bot, entitled: true,
			current: a.At != nil && !a.At.Before(last),
		})
	}
	reviewers, err := all[struct {
		User  labUser `json:"user"`
		State string  `json:"state"`
	}](ctx, g.Client, path+"/reviewers", nil)
	if err != nil {
		return nil, err
	}
	for _, e := range reviewers {
		if e.State == "requested_changes" {
			out = append(out, review{person: person{login: e.User.Username, name: e.User.Name}, state: objected, bot: e.User.Bot, entitled: true})
		}
	}
	return out, nil
}

// pushed gives the time of the last push to a request: that of its newest
// version (https://docs.gitlab.com/api/merge_requests/#retrieve-merge-request-diff-versions).
func (g *gitlab) pushed(ctx context.Context, path string) (time.Time, error) {
	versions, err := all[struct {
		At *time.Time `json:"created_at"`
	}](ctx, g.Client, path+"/versions", page())
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for _, v := range versions {
		if v.At == nil {
			return last, errors.New("a version of the request has no time")
		}
		if v.At.After(last) {
			last = *v.At
		}
	}
	if last.IsZero() {
		return last, errors.New("the request has no version, so its last push is not known")
	}
	return last, nil
}

// authors reads who wrote the commits. GitLab tells the names that stand in them,
// not accounts (https://docs.gitlab.com/api/merge_requests/#retrieve-merge-request-commits).
func (g *gitlab) authors(ctx context.Context, r request) ([]person, error) {
	list, err := all[struct {
		Author    string `json:"author_name"`
		Committer string `json:"committer_name"`
	}](ctx, g.Client, fmt.Sprintf("%s/merge_requests/%d/commits", g.project, r.number), page())
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("a merged request without commits")
	}
	var out []person
	for _, e := range list {
		for _, name := range []string{e.Author, e.Committer} {
			if name != "" && !slices.Contains(out, person{name: name}) {
				out = append(out, person{name: name})
			}
		}
	}
	return out, nil
}

// members reads a group's members, inherited ones too
// (https://docs.gitlab.com/api/group_members/).
func (g *gitlab) members(ctx context.Context, team string) ([]string, error) {
	list, err := all[labUser](ctx, g.Client, "/groups/"+segment(team)+"/members/all", page())
	if err != nil {
		return nil, err
	}
	var out []string
	for _, u := range list {
		if u.State == "active" {
			out = append(out, u.Username)
		}
	}
	return out, nil
}
