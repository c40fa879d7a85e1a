// Package changes tells what a release changes: which kinds of files, which
// dependencies, and whether one of them was known to be vulnerable. Conditions of
// a checklist ask for it (when: changed.migrations). It is pure: what the history
// and the reports hold is given to it.
package changes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// The kinds that are there without being configured.
const (
	Migrations     = "migrations"
	API            = "api"
	Infrastructure = "infrastructure"
	Dependencies   = "dependencies"
	// Advisories tells that a dependency is replaced for which an advisory is known.
	Advisories = "advisories"
)

// Patterns are the files of each kind, as patterns with ** from the top of the
// checkout on.
func Patterns() map[string][]string {
	return map[string][]string{
		Migrations: {"**/migrations/**", "**/migrate/**", "db/structure.sql", "**/alembic/versions/**"},
		API: {
			"**/openapi*.{yml,yaml,json}", "**/swagger*.{yml,yaml,json}", "**/schema.{yml,yaml,graphql}", "**/*.graphqls", "**/*.proto",
		},
		Infrastructure: {
			"**/Dockerfile*", "**/Containerfile*", "**/docker-compose*.{yml,yaml}", "**/compose*.{yml,yaml}", "**/*.tf", "**/*.tfvars",
			"**/k8s/**", "**/kubernetes/**", "**/helm/**", "**/charts/**", "**/ansible/**", "**/nginx*.conf", "**/haproxy.cfg",
			".github/workflows/**", ".gitlab-ci.yml",
		},
		Dependencies: LockFiles(),
	}
}

// Merge gives patterns with those of a configuration in the place of the built-in
// ones of the same kind.
func Merge(configured map[string][]string) map[string][]string {
	out := Patterns()
	maps.Copy(out, configured)
	return out
}

// Answer is what is known about one kind of change.
type Answer struct {
	// Known is false when it could not be found out; Changed means nothing then.
	Known, Changed bool
	// Why says in a few words what the answer rests on.
	Why string
}

// shown bounds how many files or packages an answer names.
const shown = 3

// Of sorts the files that differ between two revisions into kinds. between names
// the revisions for people ("1.4.2 and 1.5.0").
func Of(files []string, patterns map[string][]string, between string) map[string]Answer {
	out := map[string]Answer{}
	for kind, globs := range patterns {
		hit := Like(files, globs)
		a := Answer{Known: true, Changed: len(hit) > 0, Why: some(hit)}
		if !a.Changed {
			a.Why = fmt.Sprintf("none of the %d files that differ between %s is like %s", len(files), between, some(globs))
		}
		out[kind] = a
	}
	return out
}

// Like gives the files that are like one of the patterns.
func Like(files, globs []string) []string {
	var out []string
	for _, file := range files {
		if slices.ContainsFunc(globs, func(glob string) bool {
			ok, err := doublestar.Match(glob, file)
			return err == nil && ok
		}) {
			out = append(out, file)
		}
	}
	return out
}

// Unknown gives every kind the same reason why nothing is known.
func Unknown(patterns map[string][]string, why string) map[string]Answer {
	out := map[string]Answer{Advisories: {Why: why}}
	for kind := range patterns {
		out[kind] = Answer{Why: why}
	}
	return out
}

// some names the first of several.
func some(names []string) string {
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}
