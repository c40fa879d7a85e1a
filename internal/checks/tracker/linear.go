package tracker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// linear is a team's issues. https://linear.app/developers/graphql
type linear struct {
	c    *rest.Client
	team string
}

// variables are those of a GraphQL request, each written as JSON.
type variables map[string]json.RawMessage

// quoted writes a value as JSON; texts, lists and structs of them always can be.
func quoted[T any](value T) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

// ask sends one GraphQL request. An answer that holds errors is none, whatever
// else it holds; the limit comes with status 400.
// https://linear.app/developers/rate-limiting
func ask[T any](ctx context.Context, l *linear, query string, vars variables) (out T, err error) {
	body, err := json.Marshal(struct {
		Query     string    `json:"query"`
		Variables variables `json:"variables"`
	}{query, vars})
	if err != nil {
		return out, fmt.Errorf("write request: %w", err)
	}
	a, failed := l.c.Do(ctx, http.MethodPost, l.c.Base+"/graphql", nil, body)
	var answer struct {
		Data   *T `json:"data"`
		Errors []struct {
			Message    string `json:"message"`
			Extensions struct {
				Code   string `json:"code"`
				Reason string `json:"userPresentableMessage"`
			} `json:"extensions"`
		} `json:"errors"`
	}
	_, refused := errors.AsType[*rest.Refused](failed)
	if failed != nil && (!refused || isLimit(failed)) {
		return out, failed
	}
	if err := rest.Decode(l.c, "/graphql", a.Body, &answer); err != nil {
		return out, errors.Join(failed, err)
	}
	for _, e := range answer.Errors {
		err := fmt.Errorf("Linear answered: %s", short(e.Message+" "+e.Extensions.Reason, 200))
		if e.Extensions.Code == "RATELIMITED" {
			return out, &check.RetryLater{After: time.Minute, Err: err}
		}
		return out, err
	}
	if failed != nil {
		return out, failed
	}
	if answer.Data == nil {
		return out, errors.New("Linear answered without data")
	}
	return *answer.Data, nil
}

type linearName struct {
	Name string `json:"name"`
}

type linearIssue struct {
	ID         string    `json:"id"`
	Identifier string    `json:"identifier"`
	URL        string    `json:"url"`
	Title      string    `json:"title"`
	CreatedAt  time.Time `json:"createdAt"`
	DueDate    *string   `json:"dueDate"`
	Priority   int       `json:"priority"`
	State      struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"state"`
	Assignee *struct {
		DisplayName string `json:"displayName"`
	} `json:"assignee"`
	Milestone *linearName `json:"projectMilestone"`
	Cycle     *linearName `json:"cycle"`
	Labels    struct {
		Nodes []linearName `json:"nodes"`
	} `json:"labels"`
}

// linearFields are what is asked of an issue.
const linearFields = `id identifier url title createdAt dueDate priority state { name type } assignee { displayName } projectMilestone { name } cycle { name } labels(first: 20) { nodes { name } }`

func (i linearIssue) ticket() ticket {
	t := ticket{ID: i.Identifier, URL: i.URL, Title: i.Title, Status: i.State.Name, Closed: i.State.Type == "completed" || i.State.Type == "canceled", Due: deref(i.DueDate), Created: i.CreatedAt}
	if i.Assignee != nil {
		t.Assignee = i.Assignee.DisplayName
	}
	switch {
	case i.Milestone != nil:
		t.Milestone = i.Milestone.Name
	case i.Cycle != nil:
		t.Milestone = "cycle " + i.Cycle.Name
	}
	if i.Priority > 0 {
		t.Priority = fmt.Sprint(i.Priority)
	}
	for _, l := range i.Labels.Nodes {
		t.Labels = append(t.Labels, l.Name)
	}
	return t
}

type eq struct {
	Eq string `json:"eq"`
}

// teamID finds the team, of which a filter would find nothing if it were unknown.
func (l *linear) teamID(ctx context.Context) (string, error) {
	found, err := ask[struct {
		Teams struct {
			Nodes []struct {
				ID  string `json:"id"`
				Key string `json:"key"`
			} `json:"nodes"`
		} `json:"teams"`
	}](ctx, l, `query($key: String!) { teams(filter: {key: {eq: $key}}) { nodes { id key } } }`, variables{"key": quoted(l.team)})
	if err != nil {
		return "", err
	}
	if n := found.Teams.Nodes; len(n) == 1 && n[0].Key == l.team && n[0].ID != "" {
		return n[0].ID, nil
	}
	return "", refusef("Linear shows this token no team %s", l.team)
}

// issues reads the issues that fit all filters, up to the bound.
func (l *linear) issues(ctx context.Context, archived bool, filters ...json.RawMessage) (list listing, err error) {
	const query = `query($filter: IssueFilter, $after: String, $archived: Boolean) { issues(first: 50, after: $after, filter: $filter, includeArchived: $archived) { nodes { ` + linearFields + ` } pageInfo { hasNextPage endCursor } } }`
	vars := variables{"filter": quoted(map[string][]json.RawMessage{"and": filters}), "archived": quoted(archived), "after": json.RawMessage("null")}
	for {
		page, err := ask[struct {
			Issues *struct {
				Nodes    *[]linearIssue `json:"nodes"`
				PageInfo *struct {
					HasNextPage bool   `json:"hasNextPage"`
					EndCursor   string `json:"endCursor"`
				} `json:"pageInfo"`
			} `json:"issues"`
		}](ctx, l, query, vars)
		if err != nil {
			return list, err
		}
		if page.Issues == nil || page.Issues.Nodes == nil || page.Issues.PageInfo == nil {
			return list, errors.New("Linear answered without issues")
		}
		if err := add(&list, "Linear", *page.Issues.Nodes); err != nil {
			return list, err
		}
		list.total = len(list.tickets)
		switch info := page.Issues.PageInfo; {
		case !info.HasNextPage:
			return list, nil
		case info.EndCursor == "" || len(*page.Issues.Nodes) == 0:
			return list, errors.New("Linear says that there is another page, but not which")
		case list.total >= maxTickets:
			list.total, list.about = list.total+1, true
			return list, nil
		default:
			vars["after"] = quoted(info.EndCursor)
		}
	}
}

func (l *linear) find(ctx context.Context, query string, since time.Time) (listing, error) {
	if _, err := l.teamID(ctx); err != nil {
		return listing{}, err
	}
	filters := []json.RawMessage{quoted(map[string]map[string]eq{"team": {"key": {l.team}}})}
	if query != "" {
		filters = append(filters, json.RawMessage(query))
	}
	if !since.IsZero() {
		filters = append(filters, quoted(map[string]map[string]string{"createdAt": {"gte": since.UTC().Format(time.RFC3339)}}))
	}
	return l.issues(ctx, false, filters...)
}

// linked lists relations both ways, the parent and the children.
func (l *linear) linked(ctx context.Context, id string) (map[string]bool, error) {
	type ref struct {
		Identifier string `json:"identifier"`
	}
	type edges struct {
		Nodes []struct {
			Issue      ref    `json:"issue"`
			Related    ref    `json:"relatedIssue"`
			Identifier string `json:"identifier"`
		} `json:"nodes"`
	}
	found, err := ask[struct {
		Issue *struct {
			Parent    *ref  `json:"parent"`
			Children  edges `json:"children"`
			Relations edges `json:"relations"`
			Inverse   edges `json:"inverseRelations"`
		} `json:"issue"`
	}](ctx, l, `query($id: String!) { issue(id: $id) { parent { identifier } children(first: 100) { nodes { identifier } } relations(first: 100) { nodes { relatedIssue { identifier } } } inverseRelations(first: 100) { nodes { issue { identifier } } } } }`, variables{"id": quoted(id)})
	if err == nil && found.Issue == nil {
		err = fmt.Errorf("Linear shows this token no issue %s", id)
	}
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	if found.Issue.Parent != nil {
		ids[found.Issue.Parent.Identifier] = true
	}
	for _, e := range []edges{found.Issue.Children, found.Issue.Relations, found.Issue.Inverse} {
		for _, n := range e.Nodes {
			ids[n.Identifier], ids[n.Issue.Identifier], ids[n.Related.Identifier] = true, true, true
		}
	}
	delete(ids, "")
	return ids, nil
}
