package lint_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/lint"
	"allclear.dev/allclear/internal/postgres/postgrestest"
	"allclear.dev/allclear/internal/postgres/trace"
)

var update = flag.Bool("update", false, "trace the corpus again and write what was seen")

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

// corpusCase is a statement of the corpus.
type corpusCase struct{ id, sql string }

func file(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func corpus(t testing.TB) []corpusCase {
	t.Helper()
	var out []corpusCase
	found := regexp.MustCompile(`(?m)^-- ([a-z-]+-\d+)\n((?:[^-].*\n)+)`).FindAllStringSubmatch(file(t, "corpus.sql"), -1)
	for _, m := range found {
		out = append(out, corpusCase{m[1], strings.TrimSuffix(strings.TrimSpace(m[2]), ";")})
	}
	if len(out) < 250 {
		t.Fatalf("%d statements", len(out))
	}
	return out
}

func traced(t testing.TB) map[string]trace.Trace {
	t.Helper()
	var out map[string]trace.Trace
	if err := json.Unmarshal([]byte(file(t, "corpus.json")), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCorpusIsTraced runs every statement of the corpus on PostgreSQL and compares
// what happens with what is written down.
func TestCorpusIsTraced(t *testing.T) {
	base := shop(t)
	got := map[string]trace.Trace{}
	tracer, err := trace.Open(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range corpus(t) {
		if !trace.Refuses(c.sql) {
			if got[c.id], err = tracer.InTransaction(t.Context(), c.sql); err != nil {
				t.Fatalf("%s: %v", c.id, err)
			}
		}
	}
	tracer.Close()
	for _, c := range corpus(t) {
		if trace.Refuses(c.sql) {
			got[c.id] = alone(t, base, c)
		}
	}
	text, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/corpus.json", append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := traced(t)
	for id, g := range got {
		w := want[id]
		if slices.ContainsFunc(corpus(t), func(c corpusCase) bool { return c.id == id && trace.Refuses(c.sql) }) {
			g.Locks, w.Locks = nil, nil // seen only if they are held when somebody looks
		}
		a, _ := json.Marshal(g)
		b, _ := json.Marshal(w)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: PostgreSQL did\n%s\nwritten down is\n%s", id, a, b)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d statements, %d are written down", len(got), len(want))
	}
}

// shop is a database with the corpus's schema and rows, to which nobody is
// connected.
func shop(t *testing.T) *postgres.Server {
	t.Helper()
	server := postgrestest.Server(t, postgrestest.Start(t))
	admin, err := server.Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	const exists = "42710"
	for _, sql := range []string{"ALTER DATABASE " + server.Database() + " SET timezone = 'UTC'", "SET allow_in_place_tablespaces = on", "CREATE TABLESPACE elsewhere LOCATION ''", file(t, "schema.sql"), file(t, "rows.sql"), "ANALYZE"} {
		if err := admin.Script(t.Context(), sql); err != nil && postgres.Code(err) != exists {
			t.Fatal(err)
		}
	}
	return server
}

// alone traces a statement that runs outside of transactions, in a database of
// its own.
func alone(t *testing.T, base *postgres.Server, c corpusCase) trace.Trace {
	t.Helper()
	name := base.Database() + "_" + strings.ReplaceAll(c.id, "-", "_")
	admin, err := base.In("postgres").Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Exec(t.Context(), fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, base.Database())); err != nil {
		t.Fatal(err)
	}
	tracer, err := trace.Open(t.Context(), base.In(name))
	if err != nil {
		t.Fatal(err)
	}
	out, err := tracer.Alone(t.Context(), c.sql)
	tracer.Close()
	if err != nil {
		t.Fatalf("%s: %v", c.id, err)
	}
	if _, err := admin.Exec(t.Context(), "DROP DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return out
}

// isHazard tells from a trace that writers or readers waited for real work. A lock
// on an index alone, at the end of a concurrent build, is brief.
func isHazard(sql string, tr trace.Trace) bool {
	work := len(tr.Scanned)+len(tr.Rewritten)+len(tr.Built) > 0
	return work && slices.ContainsFunc(tr.Locks, func(l trace.Lock) bool {
		return (!trace.Refuses(sql) || !index(l.Relation)) && slices.Contains([]string{"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}, l.Mode)
	})
}

// TestCorpusVerdicts compares the linter's verdict on each statement with what
// PostgreSQL did.
func TestCorpusVerdicts(t *testing.T) {
	seen := traced(t)
	schema := []lint.Source{{Name: "schema.sql", Text: file(t, "schema.sql")}}
	found, missed, alarms, quiet, refused := 0, 0, 0, 0, 0
	for _, c := range corpus(t) {
		tr, ok := seen[c.id]
		if !ok {
			t.Errorf("%s is not traced", c.id)
			continue
		}
		statements, err := lint.Run([]lint.Source{{Name: c.id, Text: c.sql}}, lint.Options{Schema: schema, TimeZone: "UTC"})
		if err != nil || len(statements) != 1 {
			t.Errorf("%s: %v, %d statements", c.id, err, len(statements))
			continue
		}
		s := statements[0]
		if tr.Error != "" {
			refused++
			continue
		}
		says := slices.ContainsFunc(s.Findings, func(f lint.Finding) bool { return f.Level == lint.Hazard })
		switch is := isHazard(c.sql, tr); {
		case is && says:
			found++
		case is:
			missed++
			t.Errorf("%s is a hazard and nothing is said: %s\n  it did %+v\n  findings %+v", c.id, c.sql, tr, s.Findings)
		case says:
			alarms++
			t.Errorf("%s is cheap and an alarm is raised: %s\n  it did %+v\n  findings %+v", c.id, c.sql, tr, s.Findings)
		default:
			quiet++
		}
		if !trace.Refuses(c.sql) {
			compareLocks(t, c, s, tr)
		}
	}
	t.Logf("found %d, missed %d, alarms on cheap statements %d, quiet and right %d, refused by PostgreSQL %d", found, missed, alarms, quiet, refused)
}

// compareLocks holds that each lock that the linter names was taken, and each
// strong lock that was taken is named.
func compareLocks(t *testing.T, c corpusCase, s lint.Statement, tr trace.Trace) {
	t.Helper()
	strong := func(mode string) bool {
		return mode != "AccessShareLock" && mode != "RowShareLock" && mode != "RowExclusiveLock"
	}
	said, took := map[string]string{}, map[string]string{}
	for _, l := range s.Locks {
		said[l.Relation] = l.Mode
	}
	for _, l := range tr.Locks {
		took[l.Relation] = l.Mode
	}
	for relation, mode := range took {
		if strong(mode) && said[relation] != mode && !index(relation) {
			t.Errorf("%s took %s on %s, the linter says %q: %s", c.id, mode, relation, said[relation], c.sql)
		}
	}
	for relation, mode := range said {
		if strong(mode) && took[relation] != mode && !index(relation) {
			t.Errorf("%s: the linter says %s on %s, it took %q: %s", c.id, mode, relation, took[relation], c.sql)
		}
	}
}

// index reports the relations that are locked only because their table is.
func index(relation string) bool {
	return regexp.MustCompile(`_(idx|pkey|key|seq)$|^numbers$|^more$`).MatchString(relation)
}
