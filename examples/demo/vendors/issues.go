package vendors

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// issue is one of GitHub's (https://docs.github.com/en/rest/issues/issues).
type issue struct {
	Number    int                 `json:"number"`
	URL       string              `json:"html_url"`
	Title     string              `json:"title"`
	State     string              `json:"state"`
	Body      string              `json:"body"`
	Assignees []map[string]string `json:"assignees"`
	Milestone *milestone          `json:"milestone"`
	Labels    []map[string]string `json:"labels"`
	Created   time.Time           `json:"created_at"`
}

type milestone struct {
	Title string `json:"title"`
	Due   string `json:"due_on"`
}

func (s *Server) issueRoutes() map[string]http.HandlerFunc {
	const repo = "/github/repos/{owner}/{name}/issues"
	return map[string]http.HandlerFunc{
		"GET /github/search/issues":      s.search,
		"GET " + repo:                    s.list,
		"POST " + repo:                   s.open,
		"PATCH " + repo + "/{id}":        s.close,
		"GET " + repo + "/{id}/timeline": s.timeline,
	}
}

// search understands label:, is:open and created:>= of GitHub's language.
func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*issue{}
	for _, i := range s.issues {
		if i.fits(strings.Fields(r.URL.Query().Get("q"))) {
			found = append(found, i)
		}
	}
	reply(w, http.StatusOK, map[string]any{"total_count": len(found), "incomplete_results": false, "items": found})
}

func (i *issue) fits(terms []string) bool {
	for _, term := range terms {
		if label, is := strings.CutPrefix(term, "label:"); is && !slices.ContainsFunc(i.Labels, func(l map[string]string) bool { return l["name"] == label }) {
			return false
		}
		if term == "is:open" && i.State != "open" {
			return false
		}
		if since, is := strings.CutPrefix(term, "created:>="); is {
			if at, err := time.Parse(time.RFC3339, since); err != nil || i.Created.Before(at) {
				return false
			}
		}
	}
	return true
}

func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply(w, http.StatusOK, append([]*issue{}, s.issues...))
}

func (s *Server) open(w http.ResponseWriter, r *http.Request) {
	var c struct {
		Title, Body       string
		Labels, Assignees []string
	}
	if !read(w, r, &c) {
		return
	}
	i := s.make(c.Title, c.Body, c.Labels, c.Assignees, "")
	i.URL = s.page(r, "issues", i.Number)
	reply(w, http.StatusCreated, i)
}

// Open makes an issue, as a person does, and gives its number. due is the end of its milestone (RFC 3339), if it has one.
func (s *Server) Open(title, body string, labels, assignees []string, due string) int {
	return s.make(title, body, labels, assignees, due).Number
}

func (s *Server) make(title, body string, labels, assignees []string, due string) *issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := &issue{Number: s.next(), Title: title, Body: body, State: "open", Created: time.Now().UTC().Truncate(time.Second)}
	i.URL = "http://localhost/" + s.Name + "/issues/" + strconv.Itoa(i.Number)
	for _, name := range labels {
		i.Labels = append(i.Labels, map[string]string{"name": name})
	}
	for _, name := range assignees {
		i.Assignees = append(i.Assignees, user(name))
	}
	if due != "" {
		i.Milestone = &milestone{"next", due}
	}
	s.issues = append(s.issues, i)
	return i
}

// Issue gives the number of the newest open issue with a label, 0 when there is none.
func (s *Server) Issue(label string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range slices.Backward(s.issues) {
		if i.fits([]string{"is:open", "label:" + label}) {
			return i.Number
		}
	}
	return 0
}

func (s *Server) close(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.issues {
		if strconv.Itoa(i.Number) == r.PathValue("id") {
			i.State = "closed"
			reply(w, http.StatusOK, i)
			return
		}
	}
	missing(w)
}

// timeline shows the issues whose text mentions one.
func (s *Server) timeline(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := []map[string]any{}
	for _, i := range s.issues {
		if slices.Contains(strings.Fields(i.Body), "#"+r.PathValue("id")) {
			events = append(events, map[string]any{"event": "cross-referenced", "source": map[string]any{"issue": i}})
		}
	}
	reply(w, http.StatusOK, events)
}
