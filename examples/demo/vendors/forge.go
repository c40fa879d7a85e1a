package vendors

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
)

// forge is GitHub's REST API as far as commits and pull requests go
// (https://docs.github.com/en/rest). There is one merged pull request for each commit.
func (s *Server) forge() map[string]http.HandlerFunc {
	const repo = "GET /github/repos/{owner}/{name}"
	return map[string]http.HandlerFunc{
		repo: func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, map[string]any{"full_name": s.Name, "has_issues": true, "permissions": map[string]bool{"push": true, "triage": true}})
		},
		repo + "/compare/{range}":        s.compare,
		repo + "/commits/{ref...}":       s.commit,
		repo + "/commits/{sha}/pulls":    s.pulls,
		repo + "/pulls/{number}/reviews": s.reviews,
		repo + "/pulls/{number}/commits": s.authors,
	}
}

// git asks the repository behind the forge.
func (s *Server) git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", s.Repo}, args...)...).Output()
	return strings.TrimSpace(string(out)), err
}

// sha resolves what a client calls a commit: tags/NAME, heads/NAME, or the commit itself.
func (s *Server) sha(ctx context.Context, ref string) string {
	if strings.HasPrefix(ref, "-") {
		return ""
	}
	if strings.HasPrefix(ref, "tags/") || strings.HasPrefix(ref, "heads/") {
		ref = "refs/" + ref
	}
	out, err := s.git(ctx, "rev-parse", "--verify", "--quiet", ref+"^{commit}")
	if err != nil {
		return ""
	}
	return out
}

func (s *Server) compare(w http.ResponseWriter, r *http.Request) {
	base, head, _ := strings.Cut(r.PathValue("range"), "...")
	if base, head = s.sha(r.Context(), base), s.sha(r.Context(), head); base == "" || head == "" {
		missing(w)
		return
	}
	out, err := s.git(r.Context(), "log", "--format=%H %s", "--reverse", base+".."+head)
	if err != nil {
		missing(w)
		return
	}
	commits := []map[string]any{}
	for line := range strings.Lines(out) {
		sha, title, _ := strings.Cut(strings.TrimSpace(line), " ")
		commits = append(commits, map[string]any{"sha": sha, "commit": map[string]string{"message": title}})
	}
	reply(w, http.StatusOK, map[string]any{"status": "ahead", "total_commits": len(commits), "commits": commits})
}

func (s *Server) commit(w http.ResponseWriter, r *http.Request) {
	sha := s.sha(r.Context(), r.PathValue("ref"))
	out, err := s.git(r.Context(), "diff-tree", "--no-commit-id", "--name-only", "-r", "--root", sha, "--")
	if sha == "" || err != nil {
		missing(w)
		return
	}
	files := []map[string]string{}
	for line := range strings.Lines(out) {
		files = append(files, map[string]string{"filename": strings.TrimSpace(line)})
	}
	reply(w, http.StatusOK, map[string]any{"sha": sha, "files": files})
}

// pull gives the number of the pull request that brought a commit: how many commits lead to it.
func (s *Server) pull(ctx context.Context, sha string) (number string, err error) {
	return s.git(ctx, "rev-list", "--count", sha, "--")
}

// merged gives the commit that a pull request brought.
func (s *Server) merged(ctx context.Context, number string) string {
	out, err := s.git(ctx, "rev-list", "--reverse", "main", "--")
	commits := strings.Fields(out)
	n := 0
	if _, scan := fmt.Sscan(number, &n); err != nil || scan != nil || n < 1 || n > len(commits) {
		return ""
	}
	return commits[n-1]
}

func (s *Server) pulls(w http.ResponseWriter, r *http.Request) {
	sha := s.sha(r.Context(), r.PathValue("sha"))
	text, err := s.pull(r.Context(), sha)
	number := 0
	if _, scan := fmt.Sscan(text, &number); sha == "" || err != nil || scan != nil {
		missing(w)
		return
	}
	at, err := s.git(r.Context(), "show", "-s", "--format=%cI", sha, "--")
	if err != nil {
		missing(w)
		return
	}
	reply(w, http.StatusOK, []map[string]any{{
		"number": number, "html_url": s.page(r, "pull", number), "merged_at": at, "user": user(s.Author),
		"head": map[string]string{"sha": sha}, "base": map[string]any{"ref": "main", "repo": map[string]string{"full_name": s.Name}},
	}})
}

func (s *Server) reviews(w http.ResponseWriter, r *http.Request) {
	sha := s.merged(r.Context(), r.PathValue("number"))
	if sha == "" {
		missing(w)
		return
	}
	list := []map[string]any{}
	for _, name := range s.Reviewers {
		list = append(list, map[string]any{"user": user(name), "state": "APPROVED", "commit_id": sha, "author_association": "MEMBER"})
	}
	reply(w, http.StatusOK, list)
}

func (s *Server) authors(w http.ResponseWriter, r *http.Request) {
	sha := s.merged(r.Context(), r.PathValue("number"))
	if sha == "" {
		missing(w)
		return
	}
	reply(w, http.StatusOK, []map[string]any{{"sha": sha, "author": user(s.Author), "committer": user(s.Author)}})
}

func user(name string) map[string]string { return map[string]string{"login": name, "type": "User"} }

// page is the address of something for people.
func (s *Server) page(r *http.Request, kind string, number int) string {
	return fmt.Sprintf("http://%s/%s/%s/%d", r.Host, s.Name, kind, number)
}
