package tracker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// jira is a project in Jira Cloud.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/
type jira struct {
	c       *rest.Client
	project string
	kind    string
	env     *check.Env
}

// jqlOrder finds the end of a query that cannot stand in parentheses.
var jqlOrder = regexp.MustCompile(`(?i)\border\s+by\b`)

// jiraTime is how Jira writes a time: 2026-03-01T14:00:00.000+0000.
const jiraTime = "2006-01-02T15:04:05.000-0700"

type named struct {
	Name string `json:"name"`
}

type keyed struct {
	Key string `json:"key"`
}

type jiraIssue struct {
	Key  string `json:"key"`
	Self string `json:"self"`
	// Fields are those that are asked for.
	Fields struct {
		Summary string `json:"summary"`
		Status  struct {
			Name     string `json:"name"`
			Category keyed  `json:"statusCategory"`
		} `json:"status"`
		Assignee *struct {
			AccountID   string `json:"accountId"`
			DisplayName string `json:"displayName"`
		} `json:"assignee"`
		DueDate     *string  `json:"duedate"`
		FixVersions []named  `json:"fixVersions"`
		Labels      []string `json:"labels"`
		Priority    *named   `json:"priority"`
		Created     string   `json:"created"`
	} `json:"fields"`
}

func (i jiraIssue) ticket() ticket {
	f := i.Fields
	created, err := time.Parse(jiraTime, f.Created)
	if err != nil {
		created = time.Time{} // an issue without a time is refused
	}
	t := ticket{ID: i.Key, Title: f.Summary, Status: f.Status.Name, Closed: f.Status.Category.Key == "done", Due: deref(f.DueDate), Labels: f.Labels, Created: created}
	if at := strings.Index(i.Self, "/rest/api/"); at > 0 {
		t.URL = i.Self[:at] + "/browse/" + i.Key
	}
	if f.Assignee != nil {
		t.Assignee = f.Assignee.DisplayName
		if t.Assignee == "" {
			t.Assignee = f.Assignee.AccountID
		}
	}
	if f.Priority != nil {
		t.Priority = f.Priority.Name
	}
	if len(f.FixVersions) > 0 {
		t.Milestone = f.FixVersions[0].Name
	}
	return t
}

// within puts a query into the project, which Jira refuses if the token does not
// see it.
func (j *jira) within(query string) string {
	jql := `project = "` + j.project + `"`
	if query != "" {
		jql += " AND (" + query + ")"
	}
	return jql
}

// find lists issues by token, and has those counted that are too many to read. A
// time in JQL is in the time zone of the token's user; minutes before now are not.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/
func (j *jira) find(ctx context.Context, query string, since time.Time) (listing, error) {
	jql := j.within(query)
	if !since.IsZero() {
		minutes := int(j.env.Now().Sub(since)/time.Minute) + 1
		jql += fmt.Sprintf(` AND created >= "-%dm"`, minutes)
	}
	l, more, err := j.search(ctx, jql, since)
	if err != nil || !more {
		l.total = len(l.tickets)
		return l, err
	}
	count, err := rest.Send[struct {
		Count *int `json:"count"`
	}](ctx, j.c, http.MethodPost, "/rest/api/3/search/approximate-count", struct {
		JQL string `json:"jql"`
	}{jql})
	if err == nil && count.Count == nil {
		err = errors.New("Jira answered without a count")
	}
	if err != nil {
		return l, err
	}
	l.total, l.about = max(*count.Count, len(l.tickets)+1), true
	return l, nil
}

// search reads pages up to the bound and tells whether there are more.
func (j *jira) search(ctx context.Context, jql string, since time.Time) (l listing, more bool, err error) {
	query := url.Values{"jql": {jql}, "maxResults": {"100"}, "fields": {"summary,status,assignee,duedate,fixVersions,labels,priority,created"}}
	type page struct {
		Issues        *[]jiraIssue `json:"issues"`
		NextPageToken string       `json:"nextPageToken"`
		IsLast        *bool        `json:"isLast"`
	}
	err = rest.Cursor(ctx, j.c, "/rest/api/3/search/jql", query, func(p page) (url.Values, error) {
		if p.Issues == nil {
			return nil, errors.New("Jira answered the search without issues")
		}
		var one listing
		if err := add(&one, "Jira", *p.Issues); err != nil {
			return nil, err
		}
		for _, t := range one.tickets {
			if !t.Created.Before(since.Truncate(time.Second)) {
				l.tickets = append(l.tickets, t)
			}
		}
		if p.NextPageToken == "" {
			if p.IsLast != nil && !*p.IsLast {
				return nil, errors.New("Jira says that there is another page, but not which")
			}
			return nil, nil
		}
		if len(l.tickets) >= maxTickets {
			more = true
			return nil, nil
		}
		query.Set("nextPageToken", p.NextPageToken)
		return query, nil
	})
	return l, more, err
}

// linked lists links, the parent and the sub-tasks.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/#api-rest-api-3-issue-issueidorkey-get
func (j *jira) linked(ctx context.Context, id string) (map[string]bool, error) {
	i, err := rest.Get[struct {
		Key    string `json:"key"`
		Fields *struct {
			Links []struct {
				Inward  keyed `json:"inwardIssue"`
				Outward keyed `json:"outwardIssue"`
			} `json:"issuelinks"`
			Parent   keyed   `json:"parent"`
			Subtasks []keyed `json:"subtasks"`
		} `json:"fields"`
	}](ctx, j.c, "/rest/api/3/issue/"+url.PathEscape(id), url.Values{"fields": {"issuelinks,parent,subtasks"}})
	if err == nil && (i.Fields == nil || i.Key == "") {
		err = errors.New("Jira answered without the issue's fields")
	}
	if err != nil {
		return nil, err
	}
	found := map[string]bool{i.Fields.Parent.Key: true}
	for _, l := range i.Fields.Links {
		found[l.Inward.Key], found[l.Outward.Key] = true, true
	}
	for _, s := range i.Fields.Subtasks {
		found[s.Key] = true
	}
	delete(found, "")
	return found, nil
}

// mine searches by the label that carries the mark. A search may not show what is
// some seconds old, so that nothing is believed only the second time.
func (j *jira) mine(ctx context.Context, m mark) ([]ticket, error) {
	const settle = 10 * time.Second
	for again := false; ; again = true {
		l, _, err := j.search(ctx, j.within(`labels = "`+m.word+`"`), time.Time{})
		if err != nil || len(l.tickets) > 0 || again {
			return l.tickets, err
		}
		if err := j.env.Sleep(ctx, settle); err != nil {
			return nil, err
		}
	}
}

// adf is a text as Jira takes it.
// https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
type adf struct {
	Type    string `json:"type"`
	Version int    `json:"version,omitempty"`
	Text    string `json:"text,omitempty"`
	Content []adf  `json:"content,omitempty"`
}

func document(text string) adf {
	doc := adf{Type: "doc", Version: 1}
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimRight(line, " \r\t"); line != "" {
			doc.Content = append(doc.Content, adf{Type: "paragraph", Content: []adf{{Type: "text", Text: line}}})
		}
	}
	return doc
}

// create makes an issue.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/#api-rest-api-3-issue-post
func (j *jira) create(ctx context.Context, d draft) (ticket, error) {
	type account struct {
		ID string `json:"accountId"`
	}
	type fields struct {
		Project     keyed    `json:"project"`
		IssueType   named    `json:"issuetype"`
		Summary     string   `json:"summary"`
		Description adf      `json:"description"`
		Labels      []string `json:"labels"`
		Assignee    *account `json:"assignee,omitempty"`
	}
	f := fields{keyed{j.project}, named{j.kind}, d.title, document(d.body), append(append([]string{}, d.labels...), d.mark.word), nil}
	if d.assignee != "" {
		f.Assignee = &account{d.assignee}
	}
	made, err := rest.Send[jiraIssue](ctx, j.c, http.MethodPost, "/rest/api/3/issue", struct {
		Fields fields `json:"fields"`
	}{f})
	t := made.ticket()
	t.Assignee = d.assignee // Jira refuses whom it cannot assign
	return t, err
}

// end takes the transition that leads to a status that is done.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/#api-rest-api-3-issue-issueidorkey-transitions-post
func (j *jira) end(ctx context.Context, t ticket) error {
	type transition struct {
		ID string `json:"id"`
		To *struct {
			Category keyed `json:"statusCategory"`
		} `json:"to,omitempty"`
	}
	path := "/rest/api/3/issue/" + url.PathEscape(t.ID) + "/transitions"
	ways, err := rest.Get[struct {
		Transitions []transition `json:"transitions"`
	}](ctx, j.c, path, nil)
	if err != nil {
		return err
	}
	for _, way := range ways.Transitions {
		if way.To != nil && way.To.Category.Key == "done" {
			_, err := rest.Send[struct{}](ctx, j.c, http.MethodPost, path, struct {
				Transition transition `json:"transition"`
			}{transition{ID: way.ID}})
			return err
		}
	}
	return fmt.Errorf("Jira offers no way from the status of %s to one that is done: close it by hand", t.ID)
}

// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-permissions/#api-rest-api-3-mypermissions-get
func (j *jira) examine(ctx context.Context) (string, error) {
	type permission struct {
		Have bool `json:"havePermission"`
	}
	may, err := rest.Get[struct {
		Permissions map[string]permission `json:"permissions"`
	}](ctx, j.c, "/rest/api/3/mypermissions", url.Values{"projectKey": {j.project}, "permissions": {"BROWSE_PROJECTS,CREATE_ISSUES"}})
	switch {
	case err != nil:
		return "", err
	case !may.Permissions["BROWSE_PROJECTS"].Have:
		return "", fmt.Errorf("the token may not see the project %s", j.project)
	case !may.Permissions["CREATE_ISSUES"].Have:
		return "", fmt.Errorf("the token may not create issues in %s", j.project)
	}
	return "the token may create issues in " + j.project, nil
}
