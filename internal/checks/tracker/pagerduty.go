package tracker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

type incident struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	Status    string    `json:"status"`
	Urgency   string    `json:"urgency"`
	HTMLURL   string    `json:"html_url"`
	CreatedAt time.Time `json:"created_at"`
}

func (i incident) ticket() ticket {
	return ticket{ID: i.ID, URL: i.HTMLURL, Title: i.Title, Status: i.Status, Priority: i.Urgency, Closed: i.Status == "resolved", Created: i.CreatedAt}
}

// alarms lists PagerDuty's incidents since a time, those that are over too.
// https://developer.pagerduty.com/api-reference/9d0b4b12e36f9-list-incidents
func (p *issues) alarms(ctx context.Context, env *check.Env, since time.Time) ([]ticket, error) {
	ref := p.AlsoToken
	if ref.IsZero() {
		ref = secret.Ref{Scheme: "env", Name: "PAGERDUTY_TOKEN"}
	}
	token, err := env.Secret(ctx, ref)
	if err != nil {
		return nil, err
	}
	c, err := rest.New(env, "PagerDuty", p.AlsoURL, http.Header{
		"Authorization": {"Token token=" + strings.TrimSpace(token.Reveal())},
		"Accept":        {"application/vnd.pagerduty+json;version=2"},
	})
	if err != nil {
		return nil, err
	}
	type page struct {
		Incidents *[]incident `json:"incidents"`
		More      *bool       `json:"more"`
	}
	var l listing
	query := url.Values{
		"since": {since.UTC().Format(time.RFC3339)}, "until": {env.Now().UTC().Add(time.Second).Format(time.RFC3339)},
		"statuses[]": {"triggered", "acknowledged", "resolved"}, "limit": {"100"}, "time_zone": {"UTC"},
	}
	err = rest.Cursor(ctx, c, "/incidents", query, func(p page) (url.Values, error) {
		if p.Incidents == nil || p.More == nil {
			return nil, errors.New("PagerDuty answered without incidents")
		}
		if err := add(&l, "PagerDuty", *p.Incidents); err != nil || !*p.More {
			return nil, err
		}
		query.Set("offset", strconv.Itoa(len(l.tickets)))
		return query, nil
	})
	return l.tickets, err
}
