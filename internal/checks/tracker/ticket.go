package tracker

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxTickets bounds how many issues are read one by one. GitHub and Zendesk
	// give no more than that.
	maxTickets = 1000
	// maxText bounds the text of an issue that is created, in bytes.
	maxText = 32 << 10
)

// ticket is an issue as every tracker has it.
type ticket struct {
	// ID is what people call it: #12, OPS-4.
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	Title     string    `json:"title"`
	Status    string    `json:"status"`
	Closed    bool      `json:"closed"`
	Assignee  string    `json:"assignee,omitempty"`
	Due       string    `json:"due,omitempty"`
	Milestone string    `json:"milestone,omitempty"`
	Labels    []string  `json:"labels,omitempty"`
	Priority  string    `json:"priority,omitempty"`
	Created   time.Time `json:"created"`
	// text is searched for the mark of an issue that was created here.
	text string
}

// listing is an answered search.
type listing struct {
	tickets []ticket
	// total is how many there are, about tells that this is an estimate.
	total int
	about bool
}

// all tells whether every issue was read.
func (l listing) all() bool { return !l.about && len(l.tickets) >= l.total }

// draft is an issue to be created.
type draft struct {
	title, body, assignee string
	labels                []string
	mark                  mark
}

// mark is how an issue that was created here is known again: the word stands in
// its text, and where a tracker takes an id from outside, it gets the UUID.
type mark struct {
	word, uuid string
	// since is when the run began, before which nothing was created.
	since time.Time
}

func markOf(env *check.Env) mark {
	sum := sha256.Sum256([]byte(env.Key))
	id := slices.Clone(sum[16:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	const clocks = 5 * time.Minute                  // by which clocks may differ
	return mark{
		word:  "allclear" + hex.EncodeToString(sum[:12]),
		uuid:  fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
		since: env.Run.StartedAt.Add(-clocks).UTC(),
	}
}

// refusal is a certain no before anything was changed.
type refusal string

// Error gives the reason.
func (r refusal) Error() string { return string(r) }

func refusef(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// tracker is a place with issues.
type tracker interface {
	// find lists what fits a query, created since a time if it is not zero. That
	// the project is there and seen by the token is part of the answer.
	find(ctx context.Context, query string, since time.Time) (listing, error)
	// linked gives the ids or addresses of the issues that one is linked to.
	linked(ctx context.Context, id string) (map[string]bool, error)
	// create makes an issue, mine lists those that carry the mark.
	create(ctx context.Context, d draft) (ticket, error)
	mine(ctx context.Context, m mark) ([]ticket, error)
	// end closes an issue.
	end(ctx context.Context, t ticket) error
	// examine says what the token can do, without doing it.
	examine(ctx context.Context) (string, error)
}

// header is what every request to a provider carries.
//
//	https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
//	https://docs.gitlab.com/api/rest/authentication/
//	https://developer.atlassian.com/cloud/jira/platform/basic-auth-for-rest-apis/
//	https://developer.zendesk.com/api-reference/introduction/security-and-auth/
//	https://linear.app/developers/graphql
func (p *issues) header(token string) http.Header {
	basic := func(user string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+token))}}
	}
	switch {
	case p.Provider == "github":
		return http.Header{"Authorization": {"Bearer " + token}, "Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"}}
	case p.Provider == "gitlab":
		return http.Header{"Private-Token": {token}}
	case p.Provider == "jira" && p.User != "":
		return basic(p.User)
	case p.Provider == "zendesk" && p.User != "":
		return basic(p.User + "/token")
	case p.Provider == "linear" && strings.HasPrefix(token, "lin_api_"):
		return http.Header{"Authorization": {token}}
	}
	return http.Header{"Authorization": {"Bearer " + token}}
}

// condition is what an issue must have, one of several.
type condition []string

// UnmarshalText reads "due or milestone".
func (c *condition) UnmarshalText(text []byte) error {
	known := []string{"assignee", "due", "milestone", "labels", "priority", "closed"}
	for _, name := range strings.Split(string(text), " or ") {
		if name = strings.TrimSpace(name); !slices.Contains(known, name) {
			return fmt.Errorf("want %s, or several with \"or\" between", strings.Join(known, ", "))
		}
		*c = append(*c, name)
	}
	return nil
}

// String gives the condition as it was written.
func (c condition) String() string { return strings.Join(c, " or ") }

// holds tells whether an issue has one of them.
func (c condition) holds(t ticket) bool {
	has := map[string]bool{
		"assignee": t.Assignee != "", "due": t.Due != "", "milestone": t.Milestone != "",
		"labels": len(t.Labels) > 0, "priority": t.Priority != "", "closed": t.Closed,
	}
	return slices.ContainsFunc(c, func(name string) bool { return has[name] })
}

// untriaged tells whether nobody takes care of an issue: it is open and assigned
// to nobody, or has the status that Zendesk gives to what nobody has looked at.
func (t ticket) untriaged() bool {
	return !t.Closed && (t.Assignee == "" || t.Status == "new")
}

// deref gives what a pointer leads to, or nothing.
func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// short cuts what a tracker says for a message.
func short(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
