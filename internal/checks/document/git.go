package document

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// maxGit bounds what is read from git, in bytes.
const maxGit = 32 << 20

// git is the repository of the checkout.
type git struct{ host check.Host }

func repository(env *check.Env) (git, error) {
	host, err := env.Host("")
	return git{host}, err
}

// try runs git without anything that the repository's own configuration could use
// to run a program, and gives its result whatever the exit code.
func (g git) try(ctx context.Context, args ...string) (check.Result, error) {
	argv := append([]string{
		"git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.pager=cat", "-c", "core.editor=false",
		"-c", "core.quotePath=false", "-c", "gc.auto=0", "--literal-pathspecs",
	}, args...)
	r, err := g.host.Exec(ctx, check.Command{
		Argv: argv, Limit: maxGit,
		Env: []string{"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "GIT_EDITOR=false", "LC_ALL=C", "GIT_NO_REPLACE_OBJECTS=1"},
	})
	switch {
	case err != nil:
		return r, fmt.Errorf("git %s: %w", args[0], err)
	case r.Signal != "":
		return r, fmt.Errorf("git %s: ended by signal: %s", args[0], r.Signal)
	case r.Truncated:
		return r, fmt.Errorf("git %s: more than %d MiB of output", args[0], maxGit>>20)
	}
	return r, nil
}

// run runs git where any other end than success means not knowing.
func (g git) run(ctx context.Context, args ...string) (string, error) {
	r, err := g.try(ctx, args...)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("git %s: %s", args[0], complaint(r))
	}
	return string(r.Stdout), err
}

// complaint is what git said, in one line.
func complaint(r check.Result) string {
	text := strings.Join(strings.Fields(string(r.Stderr)+" "+string(r.Stdout)), " ")
	if text == "" {
		return fmt.Sprintf("exit %d", r.Code)
	}
	return text[:min(len(text), 300)]
}

// commit gives the object name of a revision.
func (g git) commit(ctx context.Context, revision string) (string, error) {
	if revision == "" || strings.HasPrefix(revision, "-") || strings.ContainsAny(revision, " \t\r\n\x00:^~{") || strings.Contains(revision, "..") {
		return "", fmt.Errorf("%.100q is no revision", revision)
	}
	r, err := g.try(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return "", err
	}
	sha := strings.TrimSpace(string(r.Stdout))
	if r.Code == 1 && sha == "" && len(r.Stderr) == 0 {
		return "", fmt.Errorf("the repository knows no %s (in a shallow clone, fetch its history)", revision)
	}
	if r.Code != 0 || len(sha) < 40 {
		return "", fmt.Errorf("git rev-parse %s: %s", revision, complaint(r))
	}
	return sha, nil
}

// dirty tells whether a file differs from the last commit.
func (g git) dirty(ctx context.Context, path string) (bool, error) {
	out, err := g.run(ctx, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignored=matching", "--", path)
	return out != "", err
}

// commitFile commits one file and nothing else, whatever else is staged. It gives
// why git refused, or "".
func (g git) commitFile(ctx context.Context, path, message string) (refused string, err error) {
	r, err := g.try(ctx, "commit", "--quiet", "--no-verify", "--only", "--cleanup=verbatim", "--message="+message, "--", path)
	if err != nil || r.Code == 0 {
		return "", err
	}
	return "git commit: " + complaint(r), nil
}

// head names the last commit.
func (g git) head(ctx context.Context) (string, error) {
	sha, err := g.commit(ctx, "HEAD")
	if err != nil {
		return "", errors.Join(errors.New("the checkout has no commit"), err)
	}
	return sha, nil
}
