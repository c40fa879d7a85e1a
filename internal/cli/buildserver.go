package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"allclear.dev/allclear/internal/report"
	"allclear.dev/allclear/internal/results"
	"allclear.dev/allclear/internal/run"
)

// buildServer is the build server in whose log the lines appear, by its own name
// for a document in results, or none.
type buildServer string

const (
	githubActions buildServer = "github"
	gitlabCI      buildServer = "gitlab"
	buildkite     buildServer = "buildkite"
	teamCity      buildServer = "teamcity"
	azure         buildServer = "azure"
)

// findBuildServer recognises a build server by the variable that it sets.
func findBuildServer(env func(string) string) buildServer {
	for _, known := range []struct {
		variable string
		server   buildServer
	}{
		{"GITHUB_ACTIONS", githubActions}, {"GITLAB_CI", gitlabCI}, {"BUILDKITE", buildkite},
		{"TEAMCITY_VERSION", teamCity}, {"TF_BUILD", azure},
	} {
		if env(known.variable) != "" {
			return known.server
		}
	}
	return ""
}

// fold begins a part of the log that the server folds, and ends the one before.
// Number tells the parts apart. GitLab's marks hold control characters
// (docs.gitlab.com, "Job logs", custom collapsible sections).
func (b buildServer) fold(w io.Writer, number int, title string, now time.Time) {
	if number > 0 {
		b.unfold(w, number-1, now)
	}
	title = results.OneLine(title)
	switch b {
	case githubActions:
		fmt.Fprintf(w, "::group::%s\n", strings.ReplaceAll(title, "%", "%25"))
	case gitlabCI:
		fmt.Fprintf(w, "\x1b[0Ksection_start:%d:gate_%d\r\x1b[0K%s\n", now.Unix(), number, title)
	case buildkite:
		fmt.Fprintf(w, "--- %s\n", title)
	case azure:
		fmt.Fprintf(w, "##[group]%s\n", title)
	}
}

// unfold ends a part of the log.
func (b buildServer) unfold(w io.Writer, number int, now time.Time) {
	switch b {
	case githubActions:
		fmt.Fprintln(w, "::endgroup::")
	case gitlabCI:
		fmt.Fprintf(w, "\x1b[0Ksection_end:%d:gate_%d\r\x1b[0K\n", now.Unix(), number)
	case azure:
		fmt.Fprintln(w, "##[endgroup]")
	}
}

// conclude tells the server how the run stands: its annotations in the log, and
// where it takes them, a summary and values for later steps.
func (b buildServer) conclude(w io.Writer, s *run.State, file string, env func(string) string) error {
	set, err := report.Results(s, file)
	if err != nil {
		return err
	}
	bad := set.Count(results.Fail)+set.Count(results.Inconclusive) > 0 && !s.Closed || s.Closed && s.Result != run.RunDone
	switch b {
	case githubActions:
		if err := b.annotate(w, set); err != nil {
			return err
		}
		return githubFiles(s, set, env)
	case teamCity:
		return b.annotate(w, set)
	case buildkite:
		if bad {
			fmt.Fprintln(w, "^^^ +++")
		}
	case azure:
		azureIssues(w, set)
	}
	return nil
}

func (b buildServer) annotate(w io.Writer, set *results.Set) error {
	text, err := results.Write(string(b), set)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// githubFiles appends to the files that a GitHub step names: a summary in
// Markdown, and outputs.
func githubFiles(s *run.State, set *results.Set, env func(string) string) error {
	table, err := results.Write("table", set)
	if err != nil {
		return err
	}
	outputs := fmt.Sprintf("run=%s\nstate=%s\ndigest=%s\n", results.OneLine(s.Run), results.OneLine(string(s.Status())), s.PlanDigest)
	for variable, text := range map[string]string{"GITHUB_STEP_SUMMARY": string(table), "GITHUB_OUTPUT": outputs} {
		path := env(variable)
		if path == "" {
			continue
		}
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			return fmt.Errorf("write for GitHub: %w", err)
		}
		_, err = io.WriteString(file, text)
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("write for GitHub: %w", err)
		}
	}
	return nil
}

// azureIssues is logging commands (learn.microsoft.com, "Logging commands").
func azureIssues(w io.Writer, set *results.Set) {
	property := strings.NewReplacer("%", "%AZP25", ";", "%3B", "\r", "%0D", "\n", "%0A", "]", "%5D")
	for _, r := range set.Results {
		level := "error"
		switch r.Verdict {
		case results.Pass, results.Skipped, results.Waived:
			continue
		case results.Inconclusive:
			level = "warning"
		}
		fmt.Fprintf(w, "##vso[task.logissue type=%s;sourcepath=%s;linenumber=%d;code=%s]%s\n",
			level, property.Replace(set.File), r.Line, property.Replace(r.ID), results.OneLine(r.Word+": "+r.Text+": "+r.Reason))
	}
}
