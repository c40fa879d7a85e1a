package migrations

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// leftoverError says that indexes are there that nobody can use.
type leftoverError struct{ indexes []string }

func (e *leftoverError) Error() string {
	var out []string
	for _, i := range e.indexes {
		out = append(out, fmt.Sprintf("%s (DROP INDEX CONCURRENTLY %s)", i, i))
	}
	return "invalid indexes are left: " + strings.Join(out, ", ")
}

// builds lists the names of the indexes that a file builds without locks.
func builds(text string) []string {
	var out []string
	name := regexp.MustCompile(`(?i)\bINDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?((?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?)\s+ON\b`)
	for _, s := range split(text) {
		if m := name.FindStringSubmatch(s.text); m != nil {
			out = append(out, strings.ReplaceAll(strings.TrimPrefix(m[1], "public."), `"`, ""))
		}
	}
	return out
}

// inTheWay names an invalid index that a pending file would collide with, or, with
// IF NOT EXISTS, take for the one it is to build.
func (w *worker) inTheWay(ctx context.Context, steps []step) (string, error) {
	var err error
	if w.invalid, err = w.c.InvalidIndexes(ctx); err != nil {
		return "", err
	}
	for _, st := range steps {
		for _, name := range builds(st.text()) {
			if slices.Contains(w.invalid, name) {
				return fmt.Sprintf("%s builds index %s, which is there and invalid, left by a build that failed: DROP INDEX CONCURRENTLY %s", st.file(), name, name), nil
			}
		}
	}
	return "", nil
}

// leftovers is an error when there are invalid indexes that were not there before.
func (w *worker) leftovers(ctx context.Context) error {
	now, err := w.c.InvalidIndexes(ctx)
	if err != nil {
		return err
	}
	now = slices.DeleteFunc(now, func(name string) bool { return slices.Contains(w.invalid, name) })
	if len(now) > 0 {
		return &leftoverError{now}
	}
	return nil
}
