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

// zendesk is a help desk. https://developer.zendesk.com/api-reference/ticketing/introduction/
type zendesk struct{ c *rest.Client }

type zendeskTicket struct {
	ID         int64     `json:"id"`
	Subject    string    `json:"subject"`
	Status     string    `json:"status"`
	Priority   *string   `json:"priority"`
	AssigneeID *int64    `json:"assignee_id"`
	DueAt      *string   `json:"due_at"`
	Tags       []string  `json:"tags"`
	CreatedAt  time.Time `json:"created_at"`
	URL        string    `json:"url"`
}

func (z zendeskTicket) ticket() ticket {
	t := ticket{ID: "#" + strconv.FormatInt(z.ID, 10), Title: z.Subject, Status: z.Status, Closed: z.Status == "solved" || z.Status == "closed", Due: deref(z.DueAt), Labels: z.Tags, Priority: deref(z.Priority), Created: z.CreatedAt}
	if at := strings.Index(z.URL, "/api/"); at > 0 {
		t.URL = z.URL[:at] + "/agent/tickets/" + t.ID[1:]
	}
	if z.AssigneeID != nil {
		t.Assignee = strconv.FormatInt(*z.AssigneeID, 10)
	}
	return t
}

// find searches for tickets. The count is of all of them, of which 1,000 can be
// read. https://developer.zendesk.com/api-reference/ticketing/ticket-management/search/
func (z *zendesk) find(ctx context.Context, query string, since time.Time) (listing, error) {
	query = strings.TrimSpace("type:ticket " + query)
	if !since.IsZero() {
		query += " created>=" + since.UTC().Format(time.RFC3339)
	}
	type page struct {
		Results  *[]zendeskTicket `json:"results"`
		Count    *int             `json:"count"`
		NextPage *string          `json:"next_page"`
	}
	var l listing
	asked := url.Values{"query": {query}, "per_page": {"100"}}
	err := rest.Cursor(ctx, z.c, "/api/v2/search.json", asked, func(p page) (url.Values, error) {
		if p.Results == nil || p.Count == nil {
			return nil, errors.New("Zendesk answered the search without results or a count")
		}
		l.total = *p.Count
		if err := add(&l, "Zendesk", *p.Results); err != nil {
			return nil, err
		}
		if p.NextPage == nil || len(l.tickets) >= maxTickets {
			return nil, nil
		}
		asked.Set("page", strconv.Itoa(len(l.tickets)/100+1))
		return asked, nil
	})
	return l, err
}

// some reads a list of tickets of one page.
func (z *zendesk) some(ctx context.Context, path string, query url.Values) ([]ticket, error) {
	p, err := rest.Get[struct {
		Tickets  *[]zendeskTicket `json:"tickets"`
		NextPage *string          `json:"next_page"`
	}](ctx, z.c, path, query)
	switch {
	case err != nil:
		return nil, err
	case p.Tickets == nil:
		return nil, errors.New("Zendesk answered without tickets")
	case p.NextPage != nil:
		return nil, fmt.Errorf("Zendesk has more than one page of %s", path)
	}
	var l listing
	err = add(&l, "Zendesk", *p.Tickets)
	return l.tickets, err
}

// linked lists the incidents of a problem.
// https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/#list-ticket-incidents
func (z *zendesk) linked(ctx context.Context, id string) (map[string]bool, error) {
	incidents, err := z.some(ctx, "/api/v2/tickets/"+id+"/incidents.json", nil)
	found := map[string]bool{}
	for _, t := range incidents {
		found[t.ID] = true
	}
	return found, err
}

// mine lists by the id that a ticket got from here.
// https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/#list-tickets-by-external-id
func (z *zendesk) mine(ctx context.Context, m mark) ([]ticket, error) {
	return z.some(ctx, "/api/v2/tickets.json", url.Values{"external_id": {m.word}})
}

type zendeskComment struct {
	Body   string `json:"body"`
	Public bool   `json:"public"`
}

type zendeskDraft struct {
	Subject    string         `json:"subject"`
	Comment    zendeskComment `json:"comment"`
	Tags       []string       `json:"tags,omitempty"`
	Assignee   string         `json:"assignee_email,omitempty"`
	ExternalID string         `json:"external_id"`
}

// create makes a ticket whose text agents alone see. Zendesk itself drops a
// repeated key for two hours.
// https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/#create-ticket
// https://developer.zendesk.com/api-reference/ticketing/introduction/#idempotency
func (z *zendesk) create(ctx context.Context, d draft) (ticket, error) {
	once := *z.c
	once.Header = z.c.Header.Clone()
	once.Header.Set("Idempotency-Key", d.mark.word)
	made, err := rest.Send[struct {
		Ticket zendeskTicket `json:"ticket"`
	}](ctx, &once, http.MethodPost, "/api/v2/tickets.json", struct {
		Ticket zendeskDraft `json:"ticket"`
	}{zendeskDraft{d.title, zendeskComment{d.body, false}, d.labels, d.assignee, d.mark.word}})
	return made.Ticket.ticket(), err
}

// end solves a ticket.
// https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/#update-ticket
func (z *zendesk) end(ctx context.Context, t ticket) error {
	type status struct {
		Status string `json:"status"`
	}
	solved, err := rest.Send[struct {
		Ticket zendeskTicket `json:"ticket"`
	}](ctx, z.c, http.MethodPut, "/api/v2/tickets/"+t.ID[1:]+".json", struct {
		Ticket status `json:"ticket"`
	}{status{"solved"}})
	if err == nil && !solved.Ticket.ticket().Closed {
		err = fmt.Errorf("Zendesk took the change, but %s is not solved", t.ID)
	}
	return err
}

// https://developer.zendesk.com/api-reference/ticketing/users/users/#show-self
func (z *zendesk) examine(ctx context.Context) (string, error) {
	me, err := rest.Get[struct {
		User struct {
			ID   *int64 `json:"id"`
			Role string `json:"role"`
		} `json:"user"`
	}](ctx, z.c, "/api/v2/users/me.json", nil)
	switch {
	case err != nil:
		return "", err
	case me.User.ID == nil:
		return "", errors.New("Zendesk does not know the token's user")
	case me.User.Role != "agent" && me.User.Role != "admin":
		return "", fmt.Errorf("the token's user is an %q, want an agent or admin", me.User.Role)
	}
	return "the token's user is an " + me.User.Role, nil
}
