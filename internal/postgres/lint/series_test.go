package lint_test

import (
	"cmp"
	"encoding/json"
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

// step is what a statement of a set's file did on PostgreSQL.
type step struct {
	SQL string `json:"sql"`
	trace.Step
}

// sets are those that were written and traced before the linter was run on them.
func sets() []string { return []string{"second", "third"} }

// migrations reads a set's files as their tools do.
func migrations(t testing.TB, set string) []lint.Source {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", set, "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	var out []lint.Source
	for _, name := range names {
		base := filepath.Base(name)
		if base == "schema.sql" || base == "rows.sql" {
			continue
		}
		text := file(t, filepath.Join(set, base))
		src, err := lint.Recognise(base, text).Read(base, text, lint.Surroundings{})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, src)
	}
	return out
}

// asked are the statements of one message or of a whole file.
func asked(t *testing.T, src lint.Source) [][]lint.Piece {
	t.Helper()
	ends := src.Messages
	if ends == nil {
		ends = []int{len(src.Text)}
	}
	var out [][]lint.Piece
	start := 0
	for _, end := range ends {
		pieces, err := lint.Pieces(src.Text[start:end])
		if err != nil {
			t.Fatalf("%s: %v", src.Name, err)
		}
		out, start = append(out, pieces), end
	}
	return out
}

// everyOf gives how many of the long series one is taken in turn: all of them with
// ALLCLEAR_SLOW=1, as in scripts/slow, and one in n otherwise.
func everyOf(n int) int {
	if os.Getenv("ALLCLEAR_SLOW") != "" {
		return 1
	}
	return n
}

// TestSetsAreTraced runs the files of each set on PostgreSQL, statement by
// statement, and compares what happens with what is written down.
func TestSetsAreTraced(t *testing.T) {
	every := everyOf(8)
	if *update {
		every = 1
	}
	for _, set := range sets() {
		base := filled(t, file(t, set+"/schema.sql"), file(t, set+"/rows.sql"))
		got := map[string][]step{}
		for i, src := range migrations(t, set) {
			if i%every > 0 {
				continue
			}
			got[src.Name] = series(t, base, fmt.Sprintf("%s_%d", base.Database(), i), src)
		}
		written := filepath.Join("testdata", set, "trace.json")
		if *update {
			keepLocks(got, before(t, set))
			text, err := json.MarshalIndent(got, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(written, append(text, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want := traces(t, set)
		for name, steps := range got {
			if len(steps) != len(want[name]) {
				t.Errorf("%s: %d statements, %d are written down", name, len(steps), len(want[name]))
				continue
			}
			for i := range steps {
				if a, b := told(t, steps[i]), told(t, want[name][i]); a != b {
					t.Errorf("%s: PostgreSQL did\n%s\nwritten down is\n%s", name, a, b)
				}
			}
		}
	}
}

// before is what was written down so far, nothing for a new set.
func before(t *testing.T, set string) map[string][]step {
	t.Helper()
	if _, err := os.Stat(filepath.Join("testdata", set, "trace.json")); err != nil {
		return nil
	}
	return traces(t, set)
}

// keepLocks puts back the locks of statements that stood alone, where more of them
// were seen at another time.
func keepLocks(got, was map[string][]step) {
	for name, steps := range got {
		for i, s := range steps {
			if i < len(was[name]) && s.Alone && was[name][i].SQL == s.SQL && len(was[name][i].Locks) > len(s.Locks) {
				steps[i].Locks, steps[i].Fresh = was[name][i].Locks, was[name][i].Fresh
			}
		}
	}
}

// told writes a step; locks that are seen only if somebody looks at the right
// moment are left out.
func told(t *testing.T, s step) string {
	t.Helper()
	if s.Alone {
		s.Locks, s.Fresh = nil, nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func traces(t testing.TB, set string) map[string][]step {
	t.Helper()
	var out map[string][]step
	if err := json.Unmarshal([]byte(file(t, set+"/trace.json")), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// filled is a database with a schema and rows, to which nobody is connected.
func filled(t *testing.T, sql ...string) *postgres.Server {
	t.Helper()
	server := postgrestest.Server(t, postgrestest.Start(t))
	admin, err := server.Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, text := range append(sql, "ANALYZE") {
		if err := admin.Script(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	return server
}

// series traces a file in a database of its own.
func series(t *testing.T, base *postgres.Server, name string, src lint.Source) []step {
	t.Helper()
	admin, err := base.In("postgres").Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, sql := range []string{"CREATE DATABASE " + name + " TEMPLATE " + base.Database(), "ALTER DATABASE " + name + " SET timezone = 'UTC'"} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	tracer, err := trace.Open(t.Context(), base.In(name))
	if err != nil {
		t.Fatal(err)
	}
	out := steps(t, tracer, src)
	tracer.Close()
	if _, err := admin.Exec(t.Context(), "DROP DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return out
}

// steps runs a file's statements as its tool would.
func steps(t *testing.T, tracer *trace.Tracer, src lint.Source) []step {
	t.Helper()
	s, err := tracer.Series(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	control := func(sql string) trace.Step {
		st, err := s.Control(t.Context(), sql)
		if err != nil || st.Error != "" {
			t.Fatalf("%s: %s: %v %s", src.Name, sql, err, st.Error)
		}
		return st
	}
	var out []step
	if src.OneTransaction {
		control("BEGIN")
		defer control("COMMIT")
	}
	for _, message := range asked(t, src) {
		wrapped := !src.OneTransaction && src.Messages != nil && len(message) > 1
		if wrapped {
			control("BEGIN")
		}
		for _, p := range message {
			var st trace.Step
			var err error
			switch {
			case p.Control:
				st = control(p.SQL)
			case p.Alone:
				st, err = s.Alone(t.Context(), p.SQL)
			default:
				st, err = s.Run(t.Context(), p.SQL)
			}
			if err != nil {
				t.Fatalf("%s: %s: %v", src.Name, p.SQL, err)
			}
			out = append(out, step{p.SQL, st})
		}
		if wrapped {
			control("COMMIT")
		}
	}
	return out
}

// figures are how a linter's verdicts agree with what PostgreSQL did.
type figures struct{ found, missed, alarms, quiet, unseen, refused, control int }

func (f figures) String() string {
	return fmt.Sprintf("found %d, missed %d, alarms on cheap statements %d, quiet and right %d, said to be out of sight %d, refused by PostgreSQL %d, of transactions %d", f.found, f.missed, f.alarms, f.quiet, f.unseen, f.refused, f.control)
}

// TestSetVerdicts compares the linter's verdict on each statement of the sets with
// what PostgreSQL did. The first figures of each set, before anything was put right
// because of it, are in testdata/README.md.
func TestSetVerdicts(t *testing.T) {
	for _, set := range sets() {
		schema := []lint.Source{{Name: "schema.sql", Text: file(t, set+"/schema.sql")}}
		seen, tables := traces(t, set), map[string]bool{}
		for _, m := range regexp.MustCompile(`CREATE (?:UNLOGGED TABLE|TABLE|VIEW|MATERIALIZED VIEW|SEQUENCE) (\S+)`).FindAllStringSubmatch(schema[0].Text, -1) {
			tables[strings.ReplaceAll(m[1], `"`, "")] = true
		}
		var sum figures
		for _, src := range migrations(t, set) {
			statements, err := lint.Run([]lint.Source{src}, lint.Options{Schema: schema, TimeZone: "UTC"})
			if err != nil || len(statements) != len(seen[src.Name]) {
				t.Errorf("%s: %v, %d statements, %d are traced", src.Name, err, len(statements), len(seen[src.Name]))
				continue
			}
			for i, s := range statements {
				sum.add(t, s, seen[src.Name][i])
				compareFresh(t, tables, s, seen[src.Name][i])
			}
		}
		t.Logf("%s: %s", set, sum)
	}
}

// add counts a statement, and says what is wrong with its verdict.
func (f *figures) add(t *testing.T, s lint.Statement, did step) {
	t.Helper()
	says := slices.ContainsFunc(s.Findings, func(f lint.Finding) bool { return f.Level == lint.Hazard })
	about := func(what string) {
		t.Errorf("%s:%d %s: %s\n  it did %s\n  findings %+v", s.File, s.Line, what, s.Text, told(t, did), s.Findings)
	}
	switch is := did.Hazard(); {
	case did.Error != "":
		f.refused++
	case strings.HasPrefix(s.Text, did.SQL) && isControl(did.SQL):
		f.control++
	case is && says:
		f.found++
	case is && s.Opaque:
		f.unseen++
	case is:
		f.missed++
		about("is a hazard and nothing is said")
	case says:
		f.alarms++
		about("is cheap and an alarm is raised")
	default:
		f.quiet++
	}
}

func isControl(sql string) bool {
	word, _, _ := strings.Cut(sql, " ")
	return slices.Contains([]string{"BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK"}, strings.TrimSuffix(word, ";"))
}

// later are names that files give to tables of the schema.
func later() map[string]string {
	return map[string]string{"labels": "tags", "billing.labels": "tags"}
}

// compareFresh holds that each strong lock that was new is named, and that each
// strong lock that is named was held.
func compareFresh(t *testing.T, tables map[string]bool, s lint.Statement, did step) {
	t.Helper()
	said := map[string]string{}
	for _, l := range s.Locks {
		said[cmp.Or(later()[l.Relation], l.Relation)] = l.Mode
	}
	if did.Alone || s.Opaque {
		return
	}
	for _, l := range did.Fresh {
		if l.Blocks() && tables[l.Relation] && said[l.Relation] != l.Mode {
			t.Errorf("%s:%d took %s on %s, the linter says %q: %s", s.File, s.Line, l.Mode, l.Relation, said[l.Relation], s.Text)
		}
	}
	for relation, mode := range said {
		if (trace.Lock{Mode: mode}).Blocks() && tables[relation] && !slices.ContainsFunc(did.Locks, func(l trace.Lock) bool { return l.Relation == relation && (l.Mode == mode || l.Blocks()) }) {
			t.Errorf("%s:%d: the linter says %s on %s, which was not held: %s", s.File, s.Line, mode, relation, s.Text)
		}
	}
}
