package forge

import (
	"context"
	"errors"
	"fmt"

	"allclear.dev/allclear/internal/rest"
)

// kindPipeline marks a whole pipeline among jobs.
const kindPipeline = "pipeline"

// jobs reads check runs and, unless only an app's count, commit statuses
// (https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference,
// https://docs.github.com/en/rest/commits/statuses#get-the-combined-status-for-a-specific-reference).
func (g *github) jobs(ctx context.Context, sha, app string) ([]job, error) {
	out, err := g.checkRuns(ctx, sha, app)
	if err != nil || app != "" {
		return out, err
	}
	type combined struct {
		SHA      string `json:"sha"`
		Total    *int   `json:"total_count"`
		Statuses []struct {
			Context string `json:"context"`
			State   string `json:"state"`
			URL     string `json:"target_url"`
		} `json:"statuses"`
	}
	// The combined state is not looked at: it is pending when there is no status.
	states := map[string]state{"success": succeeded, "failure": failed, "error": failed, "pending": running}
	n, total := 0, 0
	err = rest.List(ctx, g.Client, g.repo+"/commits/"+sha+"/status", page(), func(c combined) error {
		if c.Total == nil || c.SHA != sha {
			return errors.New("the answer does not tell how many statuses of this commit there are")
		}
		total = *c.Total
		for _, s := range c.Statuses {
			state, known := states[s.State]
			if !known || s.Context == "" {
				return fmt.Errorf("the status %.80q is in the unknown state %.40q", s.Context, s.State)
			}
			n++
			out = append(out, job{Name: s.Context, Kind: "status", State: state, Said: s.State, URL: s.URL})
		}
		return nil
	})
	if err == nil && n != total {
		err = fmt.Errorf("%s tells of %d statuses and lists %d", g.Service, total, n)
	}
	return out, err
}

// checkRuns reads the newest run of each check. GitHub looks into at most 1000
// check suites of a commit and then tells no more.
func (g *github) checkRuns(ctx context.Context, sha, app string) ([]job, error) {
	type answer struct {
		Total *int `json:"total_count"`
		Runs  []struct {
			Name       string  `json:"name"`
			Status     string  `json:"status"`
			Conclusion *string `json:"conclusion"`
			URL        string  `json:"html_url"`
			SHA        string  `json:"head_sha"`
			App        *struct {
				Slug string `json:"slug"`
			} `json:"app"`
		} `json:"check_runs"`
	}
	var out []job
	n, total := 0, 0
	err := rest.List(ctx, g.Client, g.repo+"/commits/"+sha+"/check-runs", page("filter", "latest"), func(a answer) error {
		if a.Total == nil {
			return errors.New("the answer does not tell how many check runs there are")
		}
		total = *a.Total
		for _, r := range a.Runs {
			state, said := concluded(r.Status, r.Conclusion)
			if state == "" || r.Name == "" || r.SHA != sha {
				return fmt.Errorf("the check run %.80q of %.12q is in the unknown state %.40q", r.Name, r.SHA, said)
			}
			n++
			if app != "" && (r.App == nil || r.App.Slug != app) {
				continue
			}
			out = append(out, job{Name: r.Name, Kind: "check run", State: state, Said: said, URL: r.URL})
		}
		return nil
	})
	if err == nil && n != total {
		err = fmt.Errorf("%s tells of %d check runs and lists %d", g.Service, total, n)
	}
	return out, err
}

// concluded gives the state of a check run; "" when its words are not known.
func concluded(status string, conclusion *string) (state, string) {
	switch status {
	case "queued", "in_progress", "waiting", "requested", "pending":
		return running, status
	case "completed":
	default:
		return "", status
	}
	if conclusion == nil {
		return "", "completed without a conclusion"
	}
	states := map[string]state{
		"success": succeeded, "failure": failed, "timed_out": failed, "cancelled": failed, "action_required": failed,
		"startup_failure": failed, "neutral": neutral, "skipped": neutral, "stale": lost,
	}
	return states[*conclusion], *conclusion
}

// labState gives the state that a word of GitLab means; "" when it is not known
// (https://docs.gitlab.com/api/pipelines/#list-project-pipelines).
func labState(word string) state {
	switch word {
	case "success":
		return succeeded
	case "failed", "canceled":
		return failed
	case "skipped", "manual":
		return neutral
	case "created", "waiting_for_resource", "waiting_for_callback", "preparing", "pending", "running", "scheduled", "canceling":
		return running
	}
	return ""
}

// jobs reads the pipelines of a commit, and its jobs and external statuses. Of
// several pipelines of one branch and source, the newest counts
// (https://docs.gitlab.com/api/pipelines/#list-project-pipelines,
// https://docs.gitlab.com/api/commits/#list-commit-statuses).
func (g *gitlab) jobs(ctx context.Context, sha string) ([]job, error) {
	type pipeline struct {
		ID     int    `json:"id"`
		SHA    string `json:"sha"`
		Ref    string `json:"ref"`
		Source string `json:"source"`
		Status string `json:"status"`
		URL    string `json:"web_url"`
	}
	pipelines, err := all[pipeline](ctx, g.Client, g.project+"/pipelines", page("sha", sha))
	if err != nil {
		return nil, err
	}
	newest, replaced := map[string]pipeline{}, map[int]bool{}
	for _, p := range pipelines {
		if p.ID < 1 || p.SHA != sha || labState(p.Status) == "" {
			return nil, fmt.Errorf("the pipeline %d of %.12q is in the unknown state %.40q", p.ID, p.SHA, p.Status)
		}
		key := p.Ref + "\n" + p.Source
		older, known := newest[key]
		if known && older.ID > p.ID {
			older, p = p, older
		}
		if known {
			replaced[older.ID] = true
		}
		newest[key] = p
	}
	var out []job
	for _, p := range pipelines {
		if !replaced[p.ID] {
			name := fmt.Sprintf("pipeline %d of %s", p.ID, line(p.Ref, 60))
			out = append(out, job{Name: name, Kind: kindPipeline, State: labState(p.Status), Said: p.Status, URL: p.URL})
		}
	}
	statuses, err := g.statuses(ctx, sha, replaced)
	return append(out, statuses...), err
}

// statuses reads the jobs that were not run again, except those of pipelines that
// newer ones replaced.
func (g *gitlab) statuses(ctx context.Context, sha string, replaced map[int]bool) ([]job, error) {
	list, err := all[struct {
		SHA      string `json:"sha"`
		Name     string `json:"name"`
		Status   string `json:"status"`
		MayFail  bool   `json:"allow_failure"`
		Pipeline int    `json:"pipeline_id"`
		URL      string `json:"target_url"`
	}](ctx, g.Client, g.project+"/repository/commits/"+sha+"/statuses", page())
	if err != nil {
		return nil, err
	}
	var out []job
	for _, s := range list {
		state := labState(s.Status)
		if state == "" || s.Name == "" || s.SHA != sha {
			return nil, fmt.Errorf("the job %.80q of %.12q is in the unknown state %.40q", s.Name, s.SHA, s.Status)
		}
		if !replaced[s.Pipeline] {
			out = append(out, job{Name: s.Name, Kind: "job", State: state, Said: s.Status, URL: s.URL, MayFail: s.MayFail})
		}
	}
	return out, nil
}
