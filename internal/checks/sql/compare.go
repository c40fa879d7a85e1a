package sql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
)

// What compare can compare.
const (
	ofCounts  = "counts"
	ofDigests = "digests"
	ofColumns = "columns"
	ofSchema  = "schema"
	ofAccess  = "access"
)

// comparison is one comparison at work.
type comparison struct {
	*questions
	env *check.Env
	c   *postgres.Conn
	// other is the session of the database to compare with, or nil.
	other *postgres.Conn
	a     *answers
	sets  map[string]string
}

// run takes down everything that is asked for, or compares it.
func (w *comparison) run(ctx context.Context) error {
	if slices.Contains(w.Of, ofCounts) {
		if err := w.rowCounts(ctx); err != nil {
			return fmt.Errorf("compare counts: %w", err)
		}
	}
	for _, of := range []string{ofDigests, ofColumns} {
		if slices.Contains(w.Of, of) {
			if err := w.contents(ctx, of); err != nil {
				return fmt.Errorf("compare %s: %w", of, err)
			}
		}
	}
	if slices.Contains(w.Of, ofAccess) {
		if err := w.access(ctx); err != nil {
			return fmt.Errorf("compare access: %w", err)
		}
	}
	if slices.Contains(w.Of, ofSchema) { // last: it empties the search path
		if err := w.schema(ctx); err != nil {
			return fmt.Errorf("compare schema: %w", err)
		}
	}
	return nil
}

// elsewhere collects answers about the other database, whose numbers are not
// evidence about this one.
func (w *comparison) elsewhere() *answers {
	return &answers{limits: w.a.limits, oids: w.a.otherOids, facts: map[string]string{}}
}

func (w *comparison) rowCounts(ctx context.Context) error {
	now, err := w.a.count(ctx, w.c)
	if err != nil {
		return err
	}
	var before map[string]int64
	switch w.Compare {
	case wayBefore:
		return keep(w, ofCounts, now)
	case wayOther:
		before, err = w.elsewhere().count(ctx, w.other)
	default:
		before, err = recall[map[string]int64](w, ofCounts)
	}
	if err != nil {
		return err
	}
	if len(before) == 0 {
		return errors.New("what was taken down before holds no table")
	}
	return w.compareCounts(before, now, w.a)
}

// The ways to compare.
const (
	wayBefore = "before"
	wayAfter  = "after"
	wayOther  = "other"
)

// maxInline bounds what a fact holds itself, in bytes; a longer text is a file,
// and the fact its digest.
const maxInline = 3000

// sha begins a fact that stands for a file.
const sha = "sha256:"

// factName names what was taken down, of each database by itself.
func (w *comparison) factName(of string) string { return "sql." + of + "." + w.a.database }

// keep takes something down for the comparison afterwards.
func keep[T any](w *comparison, of string, what T) error {
	text, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("take down: %w", err)
	}
	fact := string(text)
	if len(text) > maxInline {
		sum := sha256.Sum256(text)
		name := hex.EncodeToString(sum[:])
		if err := writeNew(filepath.Join(w.env.DataDir, "sql", name+".json"), text); err != nil {
			return fmt.Errorf("take down: %w", err)
		}
		fact = sha + name
	}
	w.sets[w.factName(of)] = fact
	w.a.note(true, "")
	return nil
}

// writeNew writes a file that is either there as a whole or not at all.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// recall gives what was taken down before. What is not there, or not as it was
// written, is an error.
func recall[T any](w *comparison, of string) (T, error) {
	var what T
	name := w.factName(of)
	fact, ok := w.env.Ledger.Fact(name)
	if !ok {
		return what, &check.NotSupplied{What: "what was there before (fact " + name + ", set by compare: before)"}
	}
	text := []byte(fact)
	if sum, found := strings.CutPrefix(fact, sha); found {
		if len(sum) != 2*sha256.Size || strings.Trim(sum, "0123456789abcdef") != "" {
			return what, fmt.Errorf("read fact %s: %.80q is not a digest", name, sum)
		}
		var err error
		if text, err = os.ReadFile(filepath.Join(w.env.DataDir, "sql", sum+".json")); err != nil {
			return what, fmt.Errorf("read what fact %s stands for: %w", name, err)
		}
		if got := sha256.Sum256(text); hex.EncodeToString(got[:]) != sum {
			return what, fmt.Errorf("read what fact %s stands for: the file has been changed", name)
		}
	}
	if err := json.Unmarshal(text, &what); err != nil {
		return what, fmt.Errorf("read fact %s: %w", name, err)
	}
	return what, nil
}

// schema compares the structure: every table, column, constraint, index, trigger,
// function.
func (w *comparison) schema(ctx context.Context) error {
	now, err := w.c.Schema(ctx)
	if err != nil {
		return err
	}
	w.a.facts["schema_sha256"] = now.SHA256
	var before map[string]string
	switch w.Compare {
	case wayBefore:
		return keep(w, ofSchema, lines(now.Text))
	case wayOther:
		there, err := w.other.Schema(ctx)
		if err != nil {
			return err
		}
		before = lines(there.Text)
	default:
		if before, err = recall[map[string]string](w, ofSchema); err != nil {
			return err
		}
	}
	if len(before) == 0 {
		return errors.New("what was taken down before holds nothing")
	}
	w.a.differ(list{fact: "schema differences", what: "the structure is another"}, before, lines(now.Text), true)
	return nil
}

// minSchema is the least number of digits of a digest that names one schema.
const minSchema = 12

// wantSchema compares the structure with the digest that it should have.
func (p *questions) wantSchema(ctx context.Context, c *postgres.Conn, a *answers) error {
	if p.Schema == "" {
		return nil
	}
	now, err := c.Schema(ctx)
	if err != nil {
		return err
	}
	a.facts["schema_sha256"] = now.SHA256
	a.note(strings.HasPrefix(now.SHA256, p.Schema), "the schema's digest is %.12s, want %.12s", now.SHA256, p.Schema)
	return nil
}

// lines gives each line of a schema by its first words, short enough to name it.
// What it says in full is kept as a digest: a default may hold what is private.
func lines(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		words, n := strings.Fields(line), 2
		if len(words) > 2 && (words[1] == "table" || words[1] == "view") { // "partitioned table", "materialized view"
			n = 3
		}
		name := strings.Join(words[:min(n, len(words))], " ")
		sum := sha256.Sum256([]byte(line))
		out[name] += hex.EncodeToString(sum[:8])
	}
	return out
}

// differ notes what is gone, other or, if that counts, new.
func (a *answers) differ(l list, before, now map[string]string, added bool) {
	var found []string
	fresh := 0
	for _, name := range sortedKeys(before, now) {
		was, had := before[name]
		is, has := now[name]
		switch {
		case had && has && was == is, a.ignored(name):
		case !had:
			fresh++
			if added {
				found = append(found, name+" is new")
			}
		case !has:
			if added {
				found = append(found, name+" is gone")
			}
		default:
			found = append(found, name+" has changed"+change(was, is))
		}
	}
	a.facts["new"] = strconv.Itoa(fresh)
	a.lack(l, found)
}

// change shows short values; a digest says nothing to people.
func change(was, is string) string {
	if strings.Contains(was, "=") || strings.Contains(was, " ") || strings.Contains(is, " ") {
		return fmt.Sprintf(" from %q to %q", was, is)
	}
	return ""
}

func sortedKeys(a, b map[string]string) []string {
	var out []string
	for name := range a {
		out = append(out, name)
	}
	for name := range b {
		if _, both := a[name]; !both {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
