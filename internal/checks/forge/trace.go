package forge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// tracing is one look at a range.
type tracing struct {
	*approvals
	codeHost
	// allowed are the names whose approvals count; nil means everybody's who
	// belongs to the repository.
	allowed []string
	traces  []trace
	judged  map[int]judgement
}

// trace is what the evidence says about one commit.
type trace struct {
	Commit string `json:"commit"`
	Title  string `json:"title"`
	// Counts is false for a commit outside of the paths that are looked at.
	Counts bool `json:"counts"`
	// Files are the first files within the paths.
	Files    []string    `json:"files,omitempty"`
	Covered  bool        `json:"covered"`
	Why      string      `json:"why,omitempty"`
	Requests []judgement `json:"requests,omitempty"`
}

// judgement is what the evidence says about one request.
type judgement struct {
	Request   string     `json:"request"`
	URL       string     `json:"url"`
	Author    string     `json:"author"`
	Into      string     `json:"into"`
	Approvals int        `json:"approvals"`
	Enough    bool       `json:"enough"`
	Why       string     `json:"why,omitempty"`
	Reviewers []standing `json:"reviewers"`
}

// standing is how one reviewer stands to a request in the end.
type standing struct {
	Login  string `json:"login"`
	State  string `json:"state"`
	Counts bool   `json:"counts"`
	// Why says why an approval or objection does not count.
	Why string `json:"why,omitempty"`
}

// entitle looks up whose approvals count.
func (w *tracing) entitle(ctx context.Context) error {
	if len(w.By) == 0 && len(w.ByTeam) == 0 {
		return nil
	}
	w.allowed = slices.Clone(w.By)
	for _, team := range w.ByTeam {
		names, err := w.members(ctx, team)
		if err != nil {
			return fmt.Errorf("team %s: %w", team, err)
		}
		if len(names) == 0 {
			return fmt.Errorf("team %s has no member that the token may see", team)
		}
		w.allowed = append(w.allowed, names...)
	}
	return nil
}

// trace finds the requests of a commit and judges them.
func (w *tracing) trace(ctx context.Context, c commit) error {
	t := trace{Commit: c.sha, Title: line(c.title, 72), Counts: true}
	note := ""
	if len(w.Paths) > 0 {
		names, cut, err := w.files(ctx, c.sha)
		if err != nil {
			return err
		}
		t.Files = w.within(names)
		t.Counts = len(t.Files) > 0
		if !t.Counts && cut { // what was left out may be within the paths
			t.Counts, note = true, " (its list of files is too long to be told whole, so it counts)"
		}
	}
	if t.Counts {
		requests, err := w.requests(ctx, c.sha)
		if err != nil {
			return err
		}
		if err := w.cover(ctx, &t, requests); err != nil {
			return err
		}
		t.Why += note
	}
	if t.Covered {
		t.Why = ""
	}
	w.traces = append(w.traces, t)
	return nil
}

// within gives the first files that are within the paths.
func (w *tracing) within(names []string) []string {
	const most = 20
	var out []string
	for _, name := range names {
		fits := func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, name) }
		if len(out) < most && !slices.Contains(out, name) && slices.ContainsFunc(w.Paths, fits) {
			out = append(out, name)
		}
	}
	return out
}

// cover judges the requests that brought a commit; one with enough approvals is
// enough.
func (w *tracing) cover(ctx context.Context, t *trace, requests []request) error {
	var why []string
	for _, r := range requests {
		if len(w.Into) > 0 && !slices.Contains(w.Into, r.into) {
			why = append(why, fmt.Sprintf("%s was merged into %s, not %s", r, r.into, strings.Join(w.Into, " or ")))
			continue
		}
		j, known := w.judged[r.number]
		if !known {
			var err error
			if j, err = w.judge(ctx, r); err != nil {
				return fmt.Errorf("request %s: %w", r, err)
			}
			w.judged[r.number] = j
		}
		t.Requests = append(t.Requests, j)
		t.Covered = t.Covered || j.Enough
		why = append(why, j.Why)
	}
	if len(requests) == 0 {
		why = []string{"no merged request brought it"}
	}
	t.Why = strings.Join(why, "; ")
	return nil
}

// judge counts the approvals of a request.
func (w *tracing) judge(ctx context.Context, r request) (judgement, error) {
	j := judgement{Request: r.String(), URL: r.url, Author: r.author, Into: r.into, Reviewers: []standing{}}
	said, err := w.reviews(ctx, r, w.AfterPush)
	if err != nil {
		return j, err
	}
	writers := []person{{login: r.author}}
	if w.ForbidSelf {
		more, err := w.authors(ctx, r)
		if err != nil {
			return j, err
		}
		writers = append(writers, more...)
	}
	var why, objections []string
	for _, last := range lastOf(said) {
		s := w.weigh(last, writers)
		j.Reviewers = append(j.Reviewers, s)
		switch {
		case s.State == approved && s.Counts:
			j.Approvals++
		case s.State == objected && s.Counts:
			objections = append(objections, s.Login)
		case s.State == approved:
			why = append(why, s.Login+" "+s.Why)
		}
	}
	j.Enough = j.Approvals >= w.Min && len(objections) == 0
	if j.Enough {
		return j, nil
	}
	j.Why = fmt.Sprintf("%s has %d of %s", r, j.Approvals, plural(w.Min, "approval"))
	if len(objections) > 0 {
		j.Why += "; " + strings.Join(objections, ", ") + " asked for changes"
	}
	if len(why) > 0 {
		j.Why += " (" + some(why, 4) + ")"
	}
	return j, nil
}

// lastOf gives the last word of each reviewer. A dismissed review is the
// reviewer's last word too: it approves nothing.
func lastOf(said []review) []review {
	var last []review
	for _, r := range said {
		i := slices.IndexFunc(last, func(l review) bool { return strings.EqualFold(l.login, r.login) })
		if i < 0 {
			last = append(last, r)
			continue
		}
		last[i] = r
	}
	return last
}

// weigh says whether a reviewer's last word counts.
func (w *tracing) weigh(r review, writers []person) standing {
	s := standing{Login: r.login, State: r.state}
	self := slices.ContainsFunc(writers, func(p person) bool {
		return p.login != "" && strings.EqualFold(p.login, r.login) || p.login == "" && p.name != "" && strings.EqualFold(p.name, r.name)
	})
	named := slices.ContainsFunc(w.allowed, func(name string) bool { return strings.EqualFold(name, r.login) })
	switch {
	case r.state == dismissed:
		s.Why = "was dismissed"
	case r.bot:
		s.Why = "is a program"
	case !r.entitled && !named:
		s.Why = "does not belong to the repository, as far as the token can see"
	case r.state == objected: // an objection stands until it is taken back, whoever's approval counts
		s.Counts = true
	case w.allowed != nil && !named:
		s.Why = "is not among those whose approval counts"
	case w.ForbidSelf && self:
		s.Why = "wrote part of it"
	case w.AfterPush && !r.current:
		s.Why = "approved before the last push"
	default:
		s.Counts = true
	}
	return s
}
