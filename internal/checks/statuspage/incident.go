package statuspage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

// The states of a maintenance, in their order
// (https://developer.statuspage.io/#tag/incidents).
const (
	scheduled  = "scheduled"
	inProgress = "in_progress"
	verifying  = "verifying"
	completed  = "completed"
)

const (
	// perPage is how many incidents a page of the list has at most.
	perPage = 100
	// horizon is how long before now a maintenance may have been put on the page.
	horizon = 90 * 24 * time.Hour
	// tooOften is the status that Statuspage uses beside 429.
	tooOften = 420
)

// job is one maintenance at work.
type job struct {
	*maintenance
	client      *rest.Client
	env         *check.Env
	name        string
	from, until time.Time
}

// incident is a maintenance on the page.
type incident struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Status     string          `json:"status"`
	Created    *time.Time      `json:"created_at"`
	For        *time.Time      `json:"scheduled_for"`
	Until      *time.Time      `json:"scheduled_until"`
	Link       string          `json:"shortlink"`
	Metadata   json.RawMessage `json:"metadata"`
	Components []struct {
		ID string `json:"id"`
	} `json:"components"`
	Updates []struct {
		Body string `json:"body"`
	} `json:"incident_updates"`
}

// mark is what we leave in the metadata, whose values must be objects.
type mark struct {
	Allclear struct {
		Run string `json:"run"`
	} `json:"allclear"`
}

// change is what is sent; what is left out stays as it is.
type change struct {
	Name       string            `json:"name,omitempty"`
	Status     string            `json:"status,omitempty"`
	Body       string            `json:"body,omitempty"`
	For        *time.Time        `json:"scheduled_for,omitempty"`
	Until      *time.Time        `json:"scheduled_until,omitempty"`
	Remind     *bool             `json:"scheduled_remind_prior,omitempty"`
	AutoBegin  *bool             `json:"scheduled_auto_in_progress,omitempty"`
	AutoEnd    *bool             `json:"scheduled_auto_completed,omitempty"`
	ToWork     *bool             `json:"auto_transition_to_maintenance_state,omitempty"`
	ToNormal   *bool             `json:"auto_transition_to_operational_state,omitempty"`
	Notify     bool              `json:"deliver_notifications"`
	IDs        []string          `json:"component_ids,omitempty"`
	Components map[string]string `json:"components,omitempty"`
	Metadata   *mark             `json:"metadata,omitempty"`
}

// ours tells whether the incident carries this run's mark.
func (i *incident) ours(env *check.Env) bool {
	var m mark
	return json.Unmarshal(i.Metadata, &m) == nil && m.Allclear.Run != "" && m.Allclear.Run == env.Run.ID
}

func (i *incident) planned() bool {
	return slices.Contains([]string{scheduled, inProgress, verifying, completed}, i.Status)
}

func (i *incident) title() string {
	said := fmt.Sprintf("maintenance %s (%s) is %s", i.ID, line(i.Name), strings.ReplaceAll(line(i.Status), "_", " "))
	if i.Status == scheduled && i.For != nil && i.Until != nil {
		said += " from " + stamp(*i.For) + " to " + stamp(*i.Until)
	}
	return said
}

func (i *incident) components() string {
	var ids []string
	for _, c := range i.Components {
		ids = append(ids, c.ID)
	}
	return line(strings.Join(ids, ", "))
}

func (i *incident) within(from, until time.Time) bool {
	return i.For != nil && i.Until != nil && i.For.Equal(from) && i.Until.Equal(until)
}

// find looks for the maintenance with this run's mark, and otherwise for one of
// the same name that is not over, which a person may have put there; nil when there
// is neither
// (https://developer.statuspage.io/#operation/getPagesPageIdIncidents).
func (j *job) find(ctx context.Context) (*incident, error) {
	var marked, named []*incident
	number := 1
	query := url.Values{"limit": {strconv.Itoa(perPage)}, "page": {"1"}}
	err := rest.Cursor(ctx, j.client, j.path("incidents"), query, func(page []incident) (url.Values, error) {
		if page == nil {
			return nil, errors.New("the answer of Statuspage holds no list of incidents")
		}
		for n := range page {
			i := &page[n]
			if i.ID == "" || i.Status == "" || i.Created == nil {
				return nil, errors.New("Statuspage lists an incident without its id, status or time")
			}
			switch {
			case i.planned() && i.ours(j.env):
				marked = append(marked, i)
			case i.planned() && i.Name == j.name && i.Status != completed:
				named = append(named, i)
			}
		}
		if len(page) < perPage || j.old(page) {
			return nil, nil
		}
		number++
		query.Set("page", strconv.Itoa(number))
		return query, nil
	})
	if err != nil {
		return nil, limited(err)
	}
	for _, found := range [][]*incident{marked, named} {
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return nil, fmt.Errorf("there are %d maintenances of this run or name on the page (%s, %s): which is meant?", len(found), found[0].ID, found[1].ID)
		}
	}
	return nil, nil
}

// old tells that what follows a page is too old to be ours. It relies on the order
// of the list only where it sees it.
func (j *job) old(page []incident) bool {
	return slices.IsSortedFunc(page, func(a, b incident) int { return b.Created.Compare(*a.Created) }) &&
		page[len(page)-1].Created.Before(j.env.Now().Add(-horizon))
}

func (j *job) path(what string) string { return "/v1/pages/" + j.Page + "/" + what }

// next gives what is to be sent, nil when all is as wanted; miss says why nothing
// can be.
func (j *job) next(now *incident) (step *change, miss string) {
	if j.Do == schedule {
		return j.planning(now)
	}
	if now == nil {
		return nil, fmt.Sprintf("there is no maintenance of this run, and none called %s, on the page: schedule it first", line(j.name))
	}
	switch j.Do {
	case start:
		if now.Status == completed {
			return nil, now.title() + ": it cannot begin again"
		}
		if now.Status != scheduled {
			return nil, ""
		}
		return &change{Status: inProgress, Body: j.text("The maintenance has begun."), Notify: j.Notify, Components: j.all(now, "under_maintenance")}, ""
	case update:
		for _, u := range now.Updates {
			if strings.TrimSpace(u.Body) == strings.TrimSpace(j.Text) {
				return nil, ""
			}
		}
		return &change{Status: now.Status, Body: j.Text, Notify: j.Notify}, ""
	}
	if now.Status == completed {
		return nil, ""
	}
	return j.ending(now, j.text("The maintenance is over.")), ""
}

// planning puts the maintenance on the page, or moves it.
func (j *job) planning(now *incident) (*change, string) {
	text := j.text(fmt.Sprintf("Maintenance is planned from %s to %s.", stamp(j.from), stamp(j.until)))
	from, until := j.from.UTC(), j.until.UTC()
	switch {
	case now != nil && now.within(j.from, j.until) && now.Status != completed:
		return nil, ""
	case now != nil && now.Status != scheduled:
		return nil, now.title() + ": it cannot be moved any more"
	case !j.until.After(j.env.Now()):
		return nil, "the window ended at " + stamp(j.until)
	case now != nil:
		return &change{For: &from, Until: &until, Body: text, Notify: j.Notify}, ""
	}
	c := &change{
		Name: j.name, Status: scheduled, Body: text, For: &from, Until: &until, Notify: j.Notify, IDs: j.Components,
		Remind: &j.Remind, AutoBegin: &j.Auto, AutoEnd: &j.Auto, ToWork: &j.Auto, ToNormal: &j.Auto, Metadata: &mark{},
	}
	c.Metadata.Allclear.Run = j.env.Run.ID
	return c, ""
}

// ending says that it is over; the components are as before.
func (j *job) ending(now *incident, text string) *change {
	return &change{Status: completed, Body: text, Notify: j.Notify, Components: j.all(now, "operational")}
}

// all gives the components of the maintenance, or those that were named, a status.
func (j *job) all(now *incident, status string) map[string]string {
	out := map[string]string{}
	for _, c := range now.Components {
		out[c.ID] = status
	}
	if len(j.Components) > 0 {
		clear(out)
		for _, id := range j.Components {
			out[id] = status
		}
	}
	return out
}

func (j *job) text(plain string) string {
	if strings.TrimSpace(j.Text) != "" {
		return j.Text
	}
	return plain
}

// send creates the maintenance, or changes it
// (https://developer.statuspage.io/#operation/postPagesPageIdIncidents,
// https://developer.statuspage.io/#operation/patchPagesPageIdIncidentsIncidentId).
func (j *job) send(ctx context.Context, now *incident, c *change) (*incident, error) {
	type body struct {
		Incident *change `json:"incident"`
	}
	method, path, status := http.MethodPost, j.path("incidents"), c.Status
	if now != nil {
		method, path = http.MethodPatch, j.path("incidents/"+url.PathEscape(now.ID))
		if status == "" {
			status = now.Status
		}
	}
	after, err := rest.Send[incident](ctx, j.client, method, path, body{c})
	if err != nil {
		return nil, limited(err)
	}
	if after.ID == "" || now != nil && after.ID != now.ID || after.Status != status {
		return nil, fmt.Errorf("the answer of Statuspage is not this maintenance as %s: id %q, status %q", status, line(after.ID), line(after.Status))
	}
	if c.For != nil && !after.within(*c.For, *c.Until) {
		return nil, errors.New("the answer of Statuspage has another window than was sent")
	}
	return &after, nil
}

// unknownComponents says which components the page does not have
// (https://developer.statuspage.io/#operation/getPagesPageIdComponents).
func (j *job) unknownComponents(ctx context.Context) (string, error) {
	type component struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	known := map[string]string{}
	number := 1
	query := url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {"1"}}
	err := rest.Cursor(ctx, j.client, j.path("components"), query, func(page []component) (url.Values, error) {
		for _, c := range page {
			known[c.ID] = line(c.Name)
		}
		if len(page) < perPage {
			return nil, nil
		}
		number++
		query.Set("page", strconv.Itoa(number))
		return query, nil
	})
	if err != nil {
		return "", limited(err)
	}
	var missing, there []string
	for _, id := range j.Components {
		if _, ok := known[id]; !ok {
			missing = append(missing, id)
		}
	}
	for i, id := range slices.Sorted(maps.Keys(known)) {
		if i < 20 {
			there = append(there, id+" ("+known[id]+")")
		}
	}
	if len(missing) == 0 {
		return "", nil
	}
	return fmt.Sprintf("the page has no component %s; it has %s", strings.Join(missing, ", "), strings.Join(there, ", ")), nil
}

// limited tells 420, which is a limit here, apart from a refusal.
func limited(err error) error {
	if rest.IsStatus(err, tooOften) {
		return &check.RetryLater{After: time.Minute, Err: errors.New(err.Error())}
	}
	return err
}
