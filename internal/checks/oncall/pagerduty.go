package oncall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/rest"
)

// perPage is how many on-calls a page has; the API gives no more.
const perPage = 100

// shift is the window that must be covered.
type shift struct{ start, end time.Time }

// reference is how PagerDuty names another object.
type reference struct {
	ID      string `json:"id"`
	Summary string `json:"summary"`
}

// user is who is on call, with the contact methods when users are included.
type user struct {
	reference
	ContactMethods *[]struct {
		Type string `json:"type"`
	} `json:"contact_methods"`
}

// answered is one on-call as the API lists it.
type answered struct {
	Policy   *reference `json:"escalation_policy"`
	Level    int        `json:"escalation_level"`
	Schedule *reference `json:"schedule"`
	User     *user      `json:"user"`
	// Start and End are null for somebody who is on call always.
	Start *time.Time `json:"start"`
	End   *time.Time `json:"end"`
}

// list is one page of on-calls
// (https://developer.pagerduty.com/api-reference/3a6b910f11050-list-all-of-the-on-calls).
type list struct {
	OnCalls *[]answered `json:"oncalls"`
	More    *bool       `json:"more"`
}

// entry is one on-call within the window.
type entry struct {
	Policy     string    `json:"policy_id"`
	PolicyName string    `json:"policy"`
	Level      int       `json:"level"`
	Schedule   string    `json:"schedule_id,omitempty"`
	Name       string    `json:"schedule,omitempty"`
	Person     string    `json:"person_id"`
	PersonName string    `json:"person"`
	From       time.Time `json:"from"`
	Until      time.Time `json:"until"`
	// Contacts counts the contact methods by their type; nil when nobody looked.
	Contacts map[string]int `json:"contacts,omitempty"`
}

// read lists who is on call. The API combines its filters, so policies and
// schedules are asked for one after the other.
func (p *oncall) read(ctx context.Context, c *rest.Client, s shift) ([]entry, error) {
	var out []entry
	schedules := slices.Concat(p.Schedules, slices.Sorted(maps.Values(p.Roles)))
	slices.Sort(schedules)
	for _, of := range []struct {
		filter, path string
		ids          []string
		is           func(entry) string
	}{
		{"escalation_policy_ids[]", "/escalation_policies/", p.Policies, func(e entry) string { return e.Policy }},
		{"schedule_ids[]", "/schedules/", slices.Compact(schedules), func(e entry) string { return e.Schedule }},
	} {
		if len(of.ids) == 0 {
			continue
		}
		found, err := p.list(ctx, c, s, of.filter, of.ids)
		if err != nil {
			return nil, err
		}
		for _, id := range of.ids {
			if slices.ContainsFunc(found, func(e entry) bool { return of.is(e) == id }) {
				continue
			}
			// Nobody at all may be a wrong id, so that is told apart.
			if err := exists(ctx, c, of.path+id); err != nil {
				return nil, err
			}
		}
		for _, e := range found {
			if !slices.Contains(of.ids, of.is(e)) {
				return nil, fmt.Errorf("PagerDuty listed an on-call of %s, which was not asked for", line(of.is(e)))
			}
			if !slices.ContainsFunc(out, e.same) {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

func (p *oncall) list(ctx context.Context, c *rest.Client, s shift, filter string, ids []string) ([]entry, error) {
	query := url.Values{
		filter: ids, "since": {s.start.UTC().Format(time.RFC3339)}, "until": {s.end.UTC().Format(time.RFC3339)},
		"time_zone": {"UTC"}, "limit": {strconv.Itoa(perPage)}, "offset": {"0"},
	}
	if p.Contacts > 0 {
		query.Set("include[]", "users")
	}
	var out []entry
	offset := 0
	err := rest.Cursor(ctx, c, "/oncalls", query, func(page list) (url.Values, error) {
		if page.OnCalls == nil || page.More == nil {
			return nil, errors.New("the answer of PagerDuty holds no oncalls, or does not say whether there are more")
		}
		for _, a := range *page.OnCalls {
			e, err := p.entry(a, s)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		if !*page.More {
			return nil, nil
		}
		if len(*page.OnCalls) == 0 {
			return nil, errors.New("PagerDuty tells of more on-calls and lists none")
		}
		offset += len(*page.OnCalls)
		query.Set("offset", strconv.Itoa(offset))
		return query, nil
	})
	return out, err
}

// entry reads one on-call and cuts it to the window.
func (p *oncall) entry(a answered, s shift) (entry, error) {
	if a.Policy == nil || a.User == nil || a.Policy.ID == "" || a.User.ID == "" || a.Level < 1 {
		return entry{}, errors.New("PagerDuty listed an on-call without its policy, level or user")
	}
	e := entry{
		Policy: a.Policy.ID, PolicyName: line(cmp.Or(a.Policy.Summary, a.Policy.ID)), Level: a.Level,
		Person: a.User.ID, PersonName: line(cmp.Or(a.User.Summary, a.User.ID)), From: s.start, Until: s.end,
	}
	if a.Schedule != nil {
		e.Schedule, e.Name = a.Schedule.ID, line(cmp.Or(a.Schedule.Summary, a.Schedule.ID))
	}
	if a.Start != nil && a.Start.After(s.start) {
		e.From = *a.Start
	}
	if a.End != nil && a.End.Before(s.end) {
		e.Until = *a.End
	}
	if a.Start != nil && a.End != nil && !a.Start.Before(*a.End) {
		return e, fmt.Errorf("PagerDuty listed an on-call of %s that ends before it begins", e.PersonName)
	}
	if p.Contacts == 0 {
		return e, nil
	}
	if a.User.ContactMethods == nil {
		return e, fmt.Errorf("PagerDuty does not tell the contact methods of %s (contacts: 0 does not look)", e.PersonName)
	}
	e.Contacts = map[string]int{}
	for _, m := range *a.User.ContactMethods {
		e.Contacts[line(strings.TrimSuffix(strings.TrimSuffix(m.Type, "_reference"), "_contact_method"))]++
	}
	return e, nil
}

// same tells whether two lists hold the same on-call.
func (e entry) same(o entry) bool {
	return e.Policy == o.Policy && e.Level == o.Level && e.Schedule == o.Schedule && e.Person == o.Person && e.From.Equal(o.From) && e.Until.Equal(o.Until)
}

// exists tells that a schedule or policy on which nobody is on call is there
// (https://developer.pagerduty.com/api-reference/3f03afb2c84a4-get-a-schedule
// and "Get an escalation policy" there).
func exists(ctx context.Context, c *rest.Client, path string) error {
	type object struct {
		Schedule *reference `json:"schedule"`
		Policy   *reference `json:"escalation_policy"`
	}
	id := path[strings.LastIndexByte(path, '/')+1:]
	found, err := rest.Get[object](ctx, c, path, nil)
	if rest.IsStatus(err, http.StatusNotFound) {
		return fmt.Errorf("PagerDuty knows no %s: is the id right, and is it in this account?", id)
	}
	if err != nil {
		return err
	}
	if of := cmp.Or(found.Schedule, found.Policy); of == nil || of.ID != id {
		return fmt.Errorf("PagerDuty answered %s with something else", path)
	}
	return nil
}

// line makes a text of an answer fit for a sentence.
func line(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if runes := []rune(text); len(runes) > 80 {
		return string(runes[:79]) + "…"
	}
	return text
}
