package tracker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// find asks, counts and judges.
func (p *issues) find(ctx context.Context, env *check.Env, t tracker) (check.Outcome, error) {
	var since time.Time
	var err error
	if !p.Since.IsZero() {
		if since, err = p.Since.In(env); err != nil {
			return check.Outcome{}, err
		}
	}
	found, err := t.find(ctx, strings.TrimSpace(p.Query), since)
	if err != nil {
		return check.Outcome{}, err
	}
	var alarms []ticket
	if p.Also != "" {
		if alarms, err = p.alarms(ctx, env, since); err != nil {
			return check.Outcome{}, err
		}
	}
	linked := map[string]bool{}
	if p.LinkedTo != "" {
		if linked, err = t.linked(ctx, strings.TrimPrefix(p.LinkedTo, "#")); err != nil {
			return check.Outcome{}, err
		}
	}
	o, err := p.judge(found, alarms, linked)
	if err != nil {
		return check.Outcome{}, err
	}
	text, err := json.MarshalIndent(slices.Concat([]ticket{}, found.tickets, alarms), "", " ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the issues: %w", err)
	}
	artefact, err := env.Store("issues.json", bytes.NewReader(text))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the issues: %w", err)
	}
	o.Artefacts = []check.Artefact{artefact}
	return o, ctx.Err()
}

// judge fails on what is certain, and passes only when everything was seen that
// could be otherwise.
func (p *issues) judge(found listing, alarms []ticket, linked map[string]bool) (check.Outcome, error) {
	n := max(found.total, len(found.tickets))
	number, certain := strconv.Itoa(n), n+len(alarms)
	if found.about {
		number, certain = "about "+number, len(found.tickets)+len(alarms)
	}
	said := number + " issues"
	if p.Also != "" {
		said += fmt.Sprintf(" and %d incidents", len(alarms))
	}
	var misses []string
	if p.Max != nil && certain > *p.Max {
		misses = append(misses, fmt.Sprintf("at most %d accepted", *p.Max))
	}
	if certain < p.Min && !found.about {
		misses = append(misses, fmt.Sprintf("at least %d wanted", p.Min))
	}
	lacking, untriaged := p.lacking(found.tickets, linked)
	misses = append(misses, lacking...)
	if len(misses) == 0 && !found.all() {
		switch {
		case found.about && (p.Max != nil || certain < p.Min):
			return check.Outcome{}, fmt.Errorf("there are %s issues, which is not exact enough: narrow the query", number)
		case len(p.Each) > 0 || p.LinkedTo != "" || p.Untriaged != nil:
			return check.Outcome{}, fmt.Errorf("only %d of %s issues can be read: narrow the query", len(found.tickets), number)
		}
	}
	o := check.Passf("%s found", said)
	if len(misses) > 0 {
		o = check.Failf("%s found: %s", said, strings.Join(misses, "; "))
		if first := slices.Concat(found.tickets, alarms); len(first) > 0 && len(lacking) == 0 {
			o.Reason += fmt.Sprintf(" (%s %s)", short(first[0].ID, 60), short(first[0].Title, 120))
		}
	}
	o.Facts = map[string]string{"issues": number, "untriaged": strconv.Itoa(untriaged), "query": p.Query}
	if p.Also != "" {
		o.Facts["incidents"] = strconv.Itoa(len(alarms))
	}
	p.show(o.Facts, found.tickets, alarms)
	return o, nil
}

// show adds what people look at first.
func (p *issues) show(facts map[string]string, tickets, alarms []ticket) {
	const most = 20
	for i, t := range tickets[:min(len(tickets), most)] {
		facts[fmt.Sprintf("issue.%02d", i+1)] = short(fmt.Sprintf("%s %s (%s, %s) %s", t.ID, t.Title, t.Status, assigned(t), t.URL), 300)
	}
	for i, t := range alarms[:min(len(alarms), most)] {
		facts[fmt.Sprintf("incident.%02d", i+1)] = short(fmt.Sprintf("%s %s (%s) %s", t.ID, t.Title, t.Status, t.URL), 300)
	}
}

func assigned(t ticket) string {
	if t.Assignee == "" {
		return "nobody"
	}
	return t.Assignee
}

// lacking says which issues are not as they should be.
func (p *issues) lacking(tickets []ticket, linked map[string]bool) (misses []string, untriaged int) {
	names := func(ids []string) string {
		const most = 10
		if len(ids) > most {
			ids = append(append([]string{}, ids[:most]...), "…")
		}
		return strings.Join(ids, ", ")
	}
	for _, c := range p.Each {
		var ids []string
		for _, t := range tickets {
			if !c.holds(t) {
				ids = append(ids, t.ID)
			}
		}
		if len(ids) > 0 {
			misses = append(misses, fmt.Sprintf("without %s: %s", c, names(ids)))
		}
	}
	var loose, open []string
	for _, t := range tickets {
		if !linked[t.ID] && !linked[t.URL] {
			loose = append(loose, t.ID)
		}
		if t.untriaged() {
			open = append(open, t.ID)
		}
	}
	if p.LinkedTo != "" && len(loose) > 0 {
		misses = append(misses, fmt.Sprintf("not linked to %s: %s", p.LinkedTo, names(loose)))
	}
	if p.Untriaged != nil && len(open) > *p.Untriaged {
		misses = append(misses, fmt.Sprintf("nobody takes care of %s (at most %d accepted)", names(open), *p.Untriaged))
	}
	return misses, len(open)
}

// checked refuses an issue that lacks what every issue has: what was read is then
// something else.
func checked(service string, t ticket) (ticket, error) {
	if t.ID == "" || t.ID == "#0" || t.Created.IsZero() {
		return t, errors.New(service + " lists an issue without an id or without the time of its creation")
	}
	return t, nil
}

// issue is an issue as a provider has it.
type issue interface{ ticket() ticket }

// add takes a page of them.
func add[T issue](l *listing, service string, page []T) error {
	for _, i := range page {
		t, err := checked(service, i.ticket())
		if err != nil {
			return err
		}
		l.tickets = append(l.tickets, t)
	}
	return nil
}

// marked keeps those that carry the mark.
func marked(tickets []ticket, m mark) []ticket {
	return slices.DeleteFunc(tickets, func(t ticket) bool { return !strings.Contains(t.text, m.word) })
}

// checkQuery says what is wrong with a query before anybody is asked.
func checkQuery(provider, query string) error {
	switch provider {
	case "github":
		if strings.Contains(query, "repo:") || strings.Contains(query, "org:") || strings.Contains(query, "user:") {
			return errors.New("query: the repository stands in project")
		}
	case "gitlab":
		return checkGitLab(query)
	case "jira":
		if jqlOrder.MatchString(query) {
			return errors.New("query: leave out ORDER BY")
		}
	case "linear":
		var filter map[string]json.RawMessage
		if query != "" && json.Unmarshal([]byte(query), &filter) != nil {
			return errors.New(`query: want an IssueFilter as JSON, such as {"priority": {"lte": 2}}`)
		}
	}
	return nil
}
