package tracker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/rest"
)

// github is a repository's issues. https://docs.github.com/en/rest/issues/issues
type github struct {
	c    *rest.Client
	repo string
}

type githubIssue struct {
	Number    int    `json:"number"`
	HTMLURL   string `json:"html_url"`
	Title     string `json:"title"`
	State     string `json:"state"`
	Body      string `json:"body"`
	Assignees []struct {
		Login string `json:"login"`
	} `json:"assignees"`
	Milestone *struct {
		Title string  `json:"title"`
		DueOn *string `json:"due_on"`
	} `json:"milestone"`
	Labels []struct {
		Name string `json:"name"`
	} `json:"labels"`
	CreatedAt time.Time `json:"created_at"`
}

func (i githubIssue) ticket() ticket {
	t := ticket{ID: "#" + strconv.Itoa(i.Number), URL: i.HTMLURL, Title: i.Title, Status: i.State, Closed: i.State == "closed", Created: i.CreatedAt, text: i.Body}
	if len(i.Assignees) > 0 {
		t.Assignee = i.Assignees[0].Login
	}
	if i.Milestone != nil {
		t.Milestone, t.Due = i.Milestone.Title, deref(i.Milestone.DueOn)
	}
	for _, l := range i.Labels {
		t.Labels = append(t.Labels, l.Name)
	}
	return t
}

// there asks for the repository: a search in one that the token does not see is
// refused or finds nothing.
// https://docs.github.com/en/rest/repos/repos#get-a-repository
func (g *github) there(ctx context.Context) (push bool, err error) {
	r, err := rest.Get[struct {
		FullName    string `json:"full_name"`
		HasIssues   bool   `json:"has_issues"`
		Permissions struct {
			Push   bool `json:"push"`
			Triage bool `json:"triage"`
		} `json:"permissions"`
	}](ctx, g.c, "/repos/"+g.repo, nil)
	switch {
	case rest.IsStatus(err, http.StatusNotFound):
		return false, fmt.Errorf("GitHub shows this token no repository %s", g.repo)
	case err != nil:
		return false, err
	case !strings.EqualFold(r.FullName, g.repo):
		return false, fmt.Errorf("GitHub answered the question for %s with another repository (%q): write its present name", g.repo, short(r.FullName, 100))
	case !r.HasIssues:
		return false, fmt.Errorf("%s has no issues: they are switched off", g.repo)
	}
	return r.Permissions.Push || r.Permissions.Triage, nil
}

// find searches. A search that GitHub broke off is no answer.
// https://docs.github.com/en/rest/search/search#search-issues-and-pull-requests
func (g *github) find(ctx context.Context, query string, since time.Time) (listing, error) {
	if _, err := g.there(ctx); err != nil {
		return listing{}, err
	}
	if strings.Contains(query, " OR ") { // what follows binds tighter than OR
		query = "(" + query + ")"
	}
	terms := []string{query, "repo:" + g.repo}
	if !strings.Contains(query, "is:issue") && !strings.Contains(query, "is:pull-request") && !strings.Contains(query, "is:pr") && !strings.Contains(query, "type:") {
		terms = append(terms, "is:issue")
	}
	if !since.IsZero() {
		terms = append(terms, "created:>="+since.UTC().Format(time.RFC3339))
	}
	type page struct {
		TotalCount        *int          `json:"total_count"`
		IncompleteResults *bool         `json:"incomplete_results"`
		Items             []githubIssue `json:"items"`
	}
	var l listing
	err := rest.List(ctx, g.c, "/search/issues", url.Values{"q": {strings.TrimSpace(strings.Join(terms, " "))}, "per_page": {"100"}}, func(p page) error {
		switch {
		case p.TotalCount == nil || p.IncompleteResults == nil || p.Items == nil:
			return errors.New("GitHub answered the search without a count")
		case *p.IncompleteResults:
			return errors.New("GitHub broke the search off before it was through (incomplete_results): ask again, or narrow the query")
		}
		l.total = *p.TotalCount
		for _, i := range p.Items {
			if !strings.Contains(strings.ToLower(i.HTMLURL), strings.ToLower("/"+g.repo+"/")) {
				return fmt.Errorf("GitHub found an issue elsewhere (%s): keep the query to qualifiers of one repository", short(i.HTMLURL, 100))
			}
		}
		return add(&l, "GitHub", p.Items)
	})
	return l, err
}

// linked lists the issues that mention one.
// https://docs.github.com/en/rest/issues/timeline
func (g *github) linked(ctx context.Context, id string) (map[string]bool, error) {
	type event struct {
		Event  string `json:"event"`
		Source *struct {
			Issue *githubIssue `json:"issue"`
		} `json:"source"`
	}
	found := map[string]bool{}
	err := rest.List(ctx, g.c, "/repos/"+g.repo+"/issues/"+id+"/timeline", url.Values{"per_page": {"100"}}, func(page []event) error {
		for _, e := range page {
			if e.Event == "" {
				return errors.New("GitHub lists an event without a name")
			}
			if e.Event == "cross-referenced" && e.Source != nil && e.Source.Issue != nil && e.Source.Issue.HTMLURL != "" {
				found[e.Source.Issue.HTMLURL] = true
			}
		}
		return nil
	})
	return found, err
}

// mine lists, rather than searches: a search does not find what was just created.
// https://docs.github.com/en/rest/issues/issues#list-repository-issues
func (g *github) mine(ctx context.Context, m mark) ([]ticket, error) {
	var found []ticket
	query := url.Values{"state": {"all"}, "since": {m.since.Format(time.RFC3339)}, "sort": {"created"}, "direction": {"desc"}, "per_page": {"100"}}
	err := rest.List(ctx, g.c, "/repos/"+g.repo+"/issues", query, func(page []githubIssue) error {
		var l listing
		if err := add(&l, "GitHub", page); err != nil {
			return err
		}
		found = append(found, marked(l.tickets, m)...)
		return nil
	})
	return found, err
}

// create makes an issue.
// https://docs.github.com/en/rest/issues/issues#create-an-issue
func (g *github) create(ctx context.Context, d draft) (ticket, error) {
	body := struct {
		Title     string   `json:"title"`
		Body      string   `json:"body"`
		Labels    []string `json:"labels,omitempty"`
		Assignees []string `json:"assignees,omitempty"`
	}{d.title, d.body, d.labels, nil}
	if d.assignee != "" {
		body.Assignees = []string{d.assignee}
	}
	made, err := rest.Send[githubIssue](ctx, g.c, http.MethodPost, "/repos/"+g.repo+"/issues", body)
	return made.ticket(), err
}

// end closes an issue. https://docs.github.com/en/rest/issues/issues#update-an-issue
func (g *github) end(ctx context.Context, t ticket) error {
	closed, err := rest.Send[githubIssue](ctx, g.c, http.MethodPatch, "/repos/"+g.repo+"/issues/"+strings.TrimPrefix(t.ID, "#"), struct {
		State  string `json:"state"`
		Reason string `json:"state_reason"`
	}{"closed", "not_planned"})
	if err == nil && closed.State != "closed" {
		err = fmt.Errorf("GitHub took the change, but %s is not closed", t.ID)
	}
	return err
}

func (g *github) examine(ctx context.Context) (string, error) {
	may, err := g.there(ctx)
	if err != nil {
		return "", err
	}
	if !may {
		return "the token sees " + g.repo + "; labels and assignees of a new issue are dropped without the permission to triage", nil
	}
	return "the token sees " + g.repo + " and may triage its issues", nil
}
