package uptime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/rest"
)

// robot is UptimeRobot's API v3 (https://uptimerobot.com/api/v3/).
type robot struct{ *rest.Client }

func openRobot(c *rest.Client, _ *watcher) service { return &robot{c} }

type robotPage struct {
	Data *[]struct {
		ID       json.Number       `json:"id"`
		Name     string            `json:"friendlyName"`
		URL      string            `json:"url"`
		Status   string            `json:"status"`
		Interval int               `json:"interval"`
		Keyword  string            `json:"keywordValue"`
		Contacts []json.RawMessage `json:"assignedAlertContacts"`
	} `json:"data"`
	Next *string `json:"nextLink"`
}

// find reads all pages; each links the next with its cursor.
func (r *robot) find(ctx context.Context) ([]monitor, int, error) {
	var out []monitor
	err := rest.Cursor(ctx, r.Client, "/monitors", nil, func(page robotPage) (url.Values, error) {
		if page.Data == nil {
			return nil, errors.New("the answer of UptimeRobot holds no list of monitors")
		}
		for _, m := range *page.Data {
			s, err := word(m.Status, map[string]state{"UP": up, "DOWN": down, "LOOKS_DOWN": down, "PAUSED": paused, "STARTED": unsure, "NOT_CHECKED_YET": unsure})
			if err != nil || m.ID == "" {
				return nil, fmt.Errorf("UptimeRobot lists monitor %q: %w", m.ID, orNoID(err))
			}
			out = append(out, monitor{
				ID: m.ID.String(), Name: m.Name, URL: m.URL, State: s, Said: m.Status,
				Interval: time.Duration(m.Interval) * time.Second, Keyword: m.Keyword, Contacts: len(m.Contacts),
			})
		}
		if page.Next == nil || *page.Next == "" {
			return nil, nil
		}
		next, err := url.Parse(*page.Next)
		if err != nil || next.Query().Get("cursor") == "" {
			return nil, errors.New("UptimeRobot links a next page without a cursor")
		}
		return url.Values{"cursor": {next.Query().Get("cursor")}}, nil
	})
	return out, len(out), err
}

func (r *robot) set(ctx context.Context, id string, paused bool) error {
	path := "/monitors/" + url.PathEscape(id) + map[bool]string{true: "/pause", false: "/start"}[paused]
	_, err := r.Do(ctx, http.MethodPost, r.Base+path, nil, []byte("{}"))
	return err
}

// better is Better Stack's API v2
// (https://betterstack.com/docs/uptime/api/monitors/).
type better struct{ *rest.Client }

func openBetter(c *rest.Client, _ *watcher) service { return &better{c} }

type betterPage struct {
	Data *[]struct {
		ID         string `json:"id"`
		Attributes struct {
			URL      string  `json:"url"`
			Name     string  `json:"pronounceable_name"`
			Status   string  `json:"status"`
			Interval int     `json:"check_frequency"`
			Keyword  string  `json:"required_keyword"`
			Policy   *string `json:"policy_id"`
			Call     bool    `json:"call"`
			SMS      bool    `json:"sms"`
			Email    bool    `json:"email"`
			Push     bool    `json:"push"`
			Last     string  `json:"last_checked_at"`
		} `json:"attributes"`
	} `json:"data"`
	Pagination *struct {
		Next *string `json:"next"`
	} `json:"pagination"`
}

// find reads all pages (https://betterstack.com/docs/uptime/api/pagination).
func (b *better) find(ctx context.Context) ([]monitor, int, error) {
	var out []monitor
	number := 1
	query := url.Values{"per_page": {"250"}, "page": {"1"}}
	err := rest.Cursor(ctx, b.Client, "/api/v2/monitors", query, func(page betterPage) (url.Values, error) {
		if page.Data == nil || page.Pagination == nil {
			return nil, errors.New("the answer of Better Stack holds no list of monitors with its pages")
		}
		for _, m := range *page.Data {
			a := m.Attributes
			s, err := word(a.Status, map[string]state{"up": up, "down": down, "paused": paused, "pending": unsure, "validating": unsure, "maintenance": unsure})
			if err != nil || m.ID == "" {
				return nil, fmt.Errorf("Better Stack lists monitor %q: %w", m.ID, orNoID(err))
			}
			// A policy takes the place of the simple settings.
			contacts := 1
			if a.Policy == nil {
				contacts = 0
				for _, on := range []bool{a.Call, a.SMS, a.Email, a.Push} {
					contacts += map[bool]int{true: 1}[on]
				}
			}
			out = append(out, monitor{
				ID: m.ID, Name: a.Name, URL: a.URL, State: s, Said: a.Status, Interval: time.Duration(a.Interval) * time.Second,
				Keyword: a.Keyword, Contacts: contacts, Last: a.Last,
			})
		}
		if page.Pagination.Next == nil {
			return nil, nil
		}
		number++
		query.Set("page", strconv.Itoa(number))
		return query, nil
	})
	return out, len(out), err
}

func (b *better) set(ctx context.Context, id string, paused bool) error {
	type change struct {
		Paused bool `json:"paused"`
	}
	_, err := rest.Send[struct{}](ctx, b.Client, http.MethodPatch, "/api/v2/monitors/"+url.PathEscape(id), change{paused})
	return err
}

// dom is Pingdom's API 3.1 (https://docs.pingdom.com/api/).
type dom struct {
	*rest.Client
	url string
}

func openPingdom(c *rest.Client, w *watcher) service { return &dom{c, w.URL} }

// domLimit is how many checks a page may have.
const domLimit = 25000

type domList struct {
	Checks *[]struct {
		ID       json.Number `json:"id"`
		Hostname string      `json:"hostname"`
	} `json:"checks"`
}

type domCheck struct {
	Check *struct {
		ID         json.Number `json:"id"`
		Name       string      `json:"name"`
		Hostname   string      `json:"hostname"`
		Status     string      `json:"status"`
		Resolution int         `json:"resolution"`
		Last       int64       `json:"lasttesttime"`
		Type       struct {
			HTTP *struct {
				URL        string `json:"url"`
				Encryption bool   `json:"encryption"`
				Port       int    `json:"port"`
				Contains   string `json:"shouldcontain"`
			} `json:"http"`
		} `json:"type"`
		Users        []json.RawMessage `json:"userids"`
		Teams        []json.RawMessage `json:"teams"`
		Integrations []json.RawMessage `json:"integrationids"`
	} `json:"check"`
}

// find lists the checks, and reads those of the host one by one: only there is the
// path, and who is told.
func (d *dom) find(ctx context.Context) ([]monitor, int, error) {
	list, err := rest.Get[domList](ctx, d.Client, "/api/3.1/checks", url.Values{"limit": {strconv.Itoa(domLimit)}})
	if err != nil {
		return nil, 0, err
	}
	if list.Checks == nil || len(*list.Checks) >= domLimit {
		return nil, 0, errors.New("the answer of Pingdom holds no list of checks, or not all of them")
	}
	u, err := url.Parse(d.url)
	if err != nil {
		return nil, 0, err
	}
	var out []monitor
	for _, c := range *list.Checks {
		if !strings.EqualFold(c.Hostname, u.Hostname()) {
			continue
		}
		m, web, err := d.read(ctx, c.ID.String())
		if err != nil {
			return nil, 0, err
		}
		if web {
			out = append(out, m)
		}
	}
	return out, len(*list.Checks), nil
}

// read gives a check; web tells that it is one of a web address.
func (d *dom) read(ctx context.Context, id string) (m monitor, web bool, err error) {
	got, err := rest.Get[domCheck](ctx, d.Client, "/api/3.1/checks/"+url.PathEscape(id), nil)
	if err != nil {
		return m, false, err
	}
	c := got.Check
	if c == nil || c.ID.String() != id {
		return m, false, fmt.Errorf("the answer of Pingdom is not check %s", id)
	}
	if c.Type.HTTP == nil {
		return m, false, nil
	}
	s, err := word(c.Status, map[string]state{"up": up, "down": down, "paused": paused, "unconfirmed_down": unsure, "unknown": unsure})
	if err != nil {
		return m, false, fmt.Errorf("Pingdom lists check %s: %w", id, err)
	}
	where := url.URL{Scheme: "http", Host: c.Hostname}
	if c.Type.HTTP.Encryption {
		where.Scheme = "https"
	}
	if c.Type.HTTP.Port > 0 {
		where.Host += ":" + strconv.Itoa(c.Type.HTTP.Port)
	}
	m = monitor{
		ID: id, Name: c.Name, URL: where.String() + c.Type.HTTP.URL, State: s, Said: c.Status, Interval: time.Duration(c.Resolution) * time.Minute,
		Keyword: c.Type.HTTP.Contains, Contacts: len(c.Users) + len(c.Teams) + len(c.Integrations),
	}
	if c.Last > 0 {
		m.Last = time.Unix(c.Last, 0).UTC().Format(time.RFC3339)
	}
	return m, true, nil
}

func (d *dom) set(ctx context.Context, id string, paused bool) error {
	type change struct {
		Paused bool `json:"paused"`
	}
	_, err := rest.Send[struct{}](ctx, d.Client, http.MethodPut, "/api/3.1/checks/"+url.PathEscape(id), change{paused})
	return err
}

// word translates a provider's word for a state.
func word(said string, words map[string]state) (state, error) {
	if s, known := words[said]; known {
		return s, nil
	}
	return "", fmt.Errorf("unknown state %q", line(said))
}

// orNoID gives err, or what is missing when there is none.
func orNoID(err error) error {
	if err != nil {
		return err
	}
	return errors.New("it has no id")
}
