package cli

import (
	"context"
	"os/exec"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// changeRule tells by a changed file's path what kind of change it is.
type changeRule struct {
	fact     string
	patterns []string
}

// changeRules are the kinds of change that a checklist may ask for with when:.
func changeRules() []changeRule {
	return []changeRule{
		{"migrations", []string{"**/migrations/**", "**/migrate/**", "db/structure.sql"}},
		{"api", []string{"**/openapi*.{yml,yaml,json}", "**/schema.{yml,yaml,graphql}", "**/*.proto", "**/swagger*.{yml,yaml,json}"}},
		{"infrastructure", []string{"**/Dockerfile*", "**/docker-compose*.{yml,yaml}", "**/compose*.{yml,yaml}", "**/*.tf", "**/k8s/**", "**/helm/**", ".github/workflows/**", ".gitlab-ci.yml"}},
		{"dependencies", []string{"**/go.sum", "**/requirements*.txt", "**/poetry.lock", "**/package-lock.json", "**/yarn.lock", "**/pnpm-lock.yaml", "**/Gemfile.lock", "**/composer.lock", "**/Cargo.lock"}},
	}
}

// changes tells what kinds of files changed between two revisions. Without both
// of them, or without the history between them, nothing is told: a condition that
// asks is then undecided, which is not the same as not changed.
func changes(ctx context.Context, dir, from, to string) map[string]any {
	if from == "" || to == "" || strings.HasPrefix(from, "-") || strings.HasPrefix(to, "-") {
		return map[string]any{}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "diff", "--name-only", "-z", "--no-renames", from, to, "--").Output()
	if err != nil {
		return map[string]any{}
	}
	files := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	changed := map[string]any{}
	for _, rule := range changeRules() {
		changed[rule.fact] = anyMatches(files, rule.patterns)
	}
	return changed
}

func anyMatches(files, patterns []string) bool {
	for _, file := range files {
		for _, pattern := range patterns {
			if ok, err := doublestar.Match(pattern, file); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// nest puts a fact with a dotted name where an expression finds it.
func nest(facts map[string]any, name string, value any) {
	for {
		first, rest, dotted := strings.Cut(name, ".")
		if !dotted {
			facts[first] = value
			return
		}
		inner, ok := facts[first].(map[string]any)
		if !ok {
			inner = map[string]any{}
			facts[first] = inner
		}
		facts, name = inner, rest
	}
}
