package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"allclear.dev/allclear/internal/config"
)

// gitTime bounds a question to git.
const gitTime = 5 * time.Second

// protectedPolicy gives the configuration as it stands on the protected branch,
// when there is one: who may sign is then decided by what has been merged, not by
// what lies in somebody's working tree. The branch is the one that the working
// tree's file names, or the repository's default branch if the file there names
// one; so nobody lifts the protection by editing a file.
func protectedPolicy(path string, text []byte) ([]byte, error) {
	dir := filepath.Dir(path)
	branch := declaredBranch(path, text)
	if branch == "" {
		for _, candidate := range defaultBranches(dir) {
			there, err := fileOn(dir, candidate, filepath.Base(path))
			if err == nil {
				branch = declaredBranch(path, there)
				break
			}
		}
	}
	if branch == "" {
		return nil, nil
	}
	policy, err := fileOn(dir, branch, filepath.Base(path))
	if err != nil {
		return nil, fail(ExitUsage, "merge allclear.yaml into it first", "people, roles and policy are read from branch %s: %v", branch, err)
	}
	return policy, nil
}

func declaredBranch(path string, text []byte) string {
	cfg, _ := config.Parse(path, text)
	if cfg == nil {
		return "" // its problems are reported where it is loaded
	}
	return cfg.Policy.ProtectedBranch
}

// defaultBranches lists what may be the repository's default branch, the remote's
// word first.
func defaultBranches(dir string) []string {
	branches := []string{"main", "master"}
	if head, err := git(dir, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"); err == nil {
		branches = append([]string{strings.TrimSpace(string(head))}, branches...)
	}
	return branches
}

// fileOn gives a file of dir as it stands on a branch.
func fileOn(dir, branch, name string) ([]byte, error) {
	if strings.HasPrefix(branch, "-") || strings.ContainsAny(branch, ": ^~\\") {
		return nil, fmt.Errorf("%q is not a branch", branch)
	}
	return git(dir, "show", branch+":./"+name)
}

// git runs git without prompts, hooks or pagers, and gives what it writes.
func git(dir string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gitTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "core.hooksPath=/dev/null", "--no-pager"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w", args[0], err)
	}
	return out, nil
}
