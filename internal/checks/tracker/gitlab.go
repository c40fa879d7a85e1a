package tracker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/rest"
)

// gitlab is a project's issues. https://docs.gitlab.com/api/issues/
type gitlab struct {
	c       *rest.Client
	project string
}

// gitlabFilters are what a list of issues can be narrowed with.
// https://docs.gitlab.com/api/issues/#list-project-issues
func gitlabFilters() []string {
	return []string{
		"assignee_id", "assignee_username", "author_id", "author_username", "confidential", "created_after", "created_before",
		"due_date", "health_status", "iids[]", "in", "issue_type", "iteration_id", "iteration_title", "labels", "milestone",
		"milestone_id", "my_reaction_emoji", "not[assignee_username]", "not[author_username]", "not[labels]", "not[milestone]",
		"search", "state", "updated_after", "updated_before", "weight",
	}
}

func checkGitLab(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("query: want filters as in an address, such as state=opened&labels=support")
	}
	for name := range values {
		if !slices.Contains(gitlabFilters(), name) {
			return fmt.Errorf("query: GitLab has no filter %q; it has %s", name, strings.Join(gitlabFilters(), ", "))
		}
	}
	return nil
}

type gitlabIssue struct {
	IID         int    `json:"iid"`
	WebURL      string `json:"web_url"`
	Title       string `json:"title"`
	Description string `json:"description"`
	State       string `json:"state"`
	Assignees   []struct {
		Username string `json:"username"`
	} `json:"assignees"`
	DueDate   *string `json:"due_date"`
	Milestone *struct {
		Title string `json:"title"`
	} `json:"milestone"`
	Labels    []string  `json:"labels"`
	Severity  string    `json:"severity"`
	CreatedAt time.Time `json:"created_at"`
}

func (i gitlabIssue) ticket() ticket {
	t := ticket{ID: "#" + strconv.Itoa(i.IID), URL: i.WebURL, Title: i.Title, Status: i.State, Closed: i.State == "closed", Due: deref(i.DueDate), Labels: i.Labels, Created: i.CreatedAt, text: i.Description}
	if i.Severity != "UNKNOWN" {
		t.Priority = i.Severity
	}
	if len(i.Assignees) > 0 {
		t.Assignee = i.Assignees[0].Username
	}
	if i.Milestone != nil {
		t.Milestone = i.Milestone.Title
	}
	return t
}

func (g *gitlab) path() string { return "/api/v4/projects/" + url.PathEscape(g.project) }

// list reads all pages. That the project is not found is told by 404.
func (g *gitlab) list(ctx context.Context, query url.Values) (listing, error) {
	var l listing
	query.Set("per_page", "100")
	err := rest.List(ctx, g.c, g.path()+"/issues", query, func(page []gitlabIssue) error { return add(&l, "GitLab", page) })
	l.total = len(l.tickets)
	return l, err
}

func (g *gitlab) find(ctx context.Context, query string, since time.Time) (listing, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return listing{}, err
	}
	if !since.IsZero() {
		values.Set("created_after", since.UTC().Format(time.RFC3339))
	}
	return g.list(ctx, values)
}

// linked lists linked issues.
// https://docs.gitlab.com/api/issue_links/#list-issue-relations
func (g *gitlab) linked(ctx context.Context, id string) (map[string]bool, error) {
	found := map[string]bool{}
	err := rest.List(ctx, g.c, g.path()+"/issues/"+id+"/links", nil, func(page []gitlabIssue) error {
		for _, i := range page {
			if i.WebURL == "" {
				return errors.New("GitLab lists a link without an address")
			}
			found[i.WebURL] = true
		}
		return nil
	})
	return found, err
}

func (g *gitlab) mine(ctx context.Context, m mark) ([]ticket, error) {
	l, err := g.list(ctx, url.Values{"created_after": {m.since.Format(time.RFC3339)}})
	return marked(l.tickets, m), err
}

// create makes an issue. https://docs.gitlab.com/api/issues/#new-issue
func (g *gitlab) create(ctx context.Context, d draft) (ticket, error) {
	body := struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		Labels      string `json:"labels,omitempty"`
		AssigneeIDs []int  `json:"assignee_ids,omitempty"`
	}{d.title, d.body, strings.Join(d.labels, ","), nil}
	if d.assignee != "" {
		id, err := g.user(ctx, d.assignee)
		if err != nil {
			return ticket{}, err
		}
		body.AssigneeIDs = []int{id}
	}
	made, err := rest.Send[gitlabIssue](ctx, g.c, http.MethodPost, g.path()+"/issues", body)
	return made.ticket(), err
}

// user finds a user's id by name. https://docs.gitlab.com/api/users/#list-users
func (g *gitlab) user(ctx context.Context, name string) (int, error) {
	users, err := rest.Get[[]struct {
		ID int `json:"id"`
	}](ctx, g.c, "/api/v4/users", url.Values{"username": {name}})
	if err == nil && (len(users) != 1 || users[0].ID == 0) {
		err = refusef("GitLab knows no user %s", name)
	}
	if err != nil {
		return 0, err
	}
	return users[0].ID, nil
}

// end closes an issue. https://docs.gitlab.com/api/issues/#edit-an-issue
func (g *gitlab) end(ctx context.Context, t ticket) error {
	closed, err := rest.Send[gitlabIssue](ctx, g.c, http.MethodPut, g.path()+"/issues/"+strings.TrimPrefix(t.ID, "#"), struct {
		Event string `json:"state_event"`
	}{"close"})
	if err == nil && closed.State != "closed" {
		err = fmt.Errorf("GitLab took the change, but %s is not closed", t.ID)
	}
	return err
}

func (g *gitlab) examine(ctx context.Context) (string, error) {
	if _, err := rest.Get[[]gitlabIssue](ctx, g.c, g.path()+"/issues", url.Values{"per_page": {"1"}}); err != nil {
		return "", err
	}
	return "the token sees the issues of " + g.project, nil
}
