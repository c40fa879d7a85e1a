package lint_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/postgres/lint"
)

// rules runs a file and gives the rules found, by statement.
func rules(t *testing.T, src lint.Source, opts lint.Options) [][]string {
	t.Helper()
	if src.Name == "" {
		src.Name = "m.sql"
	}
	statements, err := lint.Run([]lint.Source{src}, opts)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for _, s := range statements {
		var found []string
		for _, f := range s.Findings {
			if f.Message == "" || f.Level == "" {
				t.Errorf("%s: %+v", s.Text, f)
			}
			if f.Allowed == "" {
				found = append(found, f.Rule)
			}
		}
		out = append(out, found)
	}
	return out
}

const schema = `CREATE TABLE a (id bigint PRIMARY KEY, v text, n integer CHECK (n > 0), b_id bigint, at timestamp);
CREATE TABLE b (id bigint PRIMARY KEY, v text); CREATE INDEX a_v_idx ON a (v); CREATE TYPE mood AS ENUM ('x');`

// TestSeries looks at files of several statements.
func TestSeries(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		one  bool // a tool's transaction
		want string
	}{
		"a new table is nobody's":           {"CREATE TABLE t (id bigint); CREATE INDEX ON t (id); ALTER TABLE t ALTER id TYPE integer; ALTER TABLE t ADD CHECK (id > 0)", true, "|||"},
		"also when it has rows":             {"CREATE TABLE t (id bigint); INSERT INTO t SELECT 1; CREATE INDEX ON t (id)", false, "||"},
		"but what others need waits for it": {"SET lock_timeout='1s'; BEGIN; ALTER TABLE a ADD w text; CREATE TABLE t AS SELECT * FROM b; CREATE INDEX ON t (id); COMMIT", false, "|||lock-held|lock-held|"},
		"and it may take another's place":   {"SET lock_timeout='1s'; CREATE TABLE t AS SELECT * FROM b; ALTER TABLE b RENAME TO c; ALTER TABLE t RENAME TO b; CREATE INDEX ON b (id)", false, "||rename-table||idx-create"},
		"proved in an earlier statement":    {"SET lock_timeout='1s'; ALTER TABLE a ADD CONSTRAINT c CHECK (v IS NOT NULL) NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT c; ALTER TABLE a ALTER v SET NOT NULL", false, "|||"},
		"not proved before it is valid":     {"SET lock_timeout='1s'; ALTER TABLE a ADD CONSTRAINT c CHECK (v IS NOT NULL) NOT VALID; ALTER TABLE a ALTER v SET NOT NULL", false, "||notnull-set"},
		"validated in the same transaction": {"SET lock_timeout='1s'; BEGIN; ALTER TABLE a ADD CONSTRAINT c CHECK (v <> '') NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT c; COMMIT", false, "|||validate-same-tx|"},
		"validated in its own":              {"SET lock_timeout='1s'; BEGIN; ALTER TABLE a ADD CONSTRAINT c CHECK (v <> '') NOT VALID; COMMIT; BEGIN; ALTER TABLE a VALIDATE CONSTRAINT c; COMMIT", false, "||||||"},
		"concurrently in a transaction":     {"CREATE INDEX CONCURRENTLY ON a (n)", true, "idx-conc-in-tx"},
		"concurrently with a short timeout": {"SET lock_timeout='2s'; CREATE INDEX CONCURRENTLY ON a (n)", false, "|idx-conc-lock-timeout"},
		"an index behind an ALTER":          {"SET lock_timeout='1s'; ALTER TABLE a ADD COLUMN w text; CREATE INDEX ON a (w)", true, "||idx-in-ddl-tx"},
		"slow work behind a lock":           {"SET lock_timeout='1s'; ALTER TABLE a ADD COLUMN w text; CREATE INDEX ON b (v)", true, "||idx-create lock-held"},
		"a backfill behind a lock":          {"SET lock_timeout='1s'; ALTER TABLE a ADD COLUMN w text; UPDATE a SET w = v WHERE id > 5", true, "||data-and-ddl-mixed not-batched"},
		"two tables in one transaction":     {"SET lock_timeout='1s'; ALTER TABLE a ADD COLUMN w text; ALTER TABLE b ADD COLUMN w text", true, "||lock-many"},
		"two tables in two":                 {"SET lock_timeout='1s'; ALTER TABLE a ADD COLUMN w text; ALTER TABLE b ADD COLUMN w text", false, "||"},
		"a timeout of zero is none":         {"SET lock_timeout = 0; ALTER TABLE a ADD COLUMN w text", false, "|no-lock-timeout"},
		"an enum's new value at once":       {"ALTER TYPE mood ADD VALUE 'y' BEFORE 'x'; INSERT INTO a (v) VALUES ('y')", true, "|enum-used-in-tx"},
		"BEGIN in a tool's transaction":     {"BEGIN; SELECT 1; COMMIT", true, "tx-nesting||tx-nesting"},
		"a DO block":                        {"DO $$ BEGIN EXECUTE 'drop table a'; END $$", false, "cannot-see-inside"},
		"a function of one's own":           {"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN END'; SELECT f()", false, "|cannot-see-inside"},
		"a column that was renamed":         {"SET lock_timeout='1s'; ALTER TABLE a RENAME v TO w; ALTER TABLE a ALTER w TYPE varchar", false, "|rename-column|"},
		"a table that was dropped":          {"SET lock_timeout='1s'; DROP TABLE a; CREATE TABLE a (id bigint PRIMARY KEY); CREATE INDEX ON a (id)", false, "|drop-table||"},
		"the time zone decides":             {"SET lock_timeout='1s'; SET timezone = 'Europe/Berlin'; ALTER TABLE a ALTER at TYPE timestamptz", false, "||type-change"},
		"and may say that nothing changes":  {"SET lock_timeout='1s'; SET timezone = 'UTC'; ALTER TABLE a ALTER at TYPE timestamptz", false, "||"},
		"nothing ends it":                   {"SET lock_timeout='1s'; BEGIN; ALTER TABLE a ADD COLUMN w text", false, "|tx-open|"},
		"the second is left open":           {"BEGIN; SELECT 1; COMMIT; START TRANSACTION; SELECT 1", false, "|||tx-open|"},
		"a savepoint gives locks back":      {"SET lock_timeout='1s'; BEGIN; SAVEPOINT s; ALTER TABLE a ADD w text; ROLLBACK TO s; SELECT count(*) FROM b; COMMIT", false, "||||||"},
		"a savepoint released does not":     {"SET lock_timeout='1s'; BEGIN; SAVEPOINT s; ALTER TABLE a ADD w text; RELEASE s; SELECT count(*) FROM b; COMMIT", false, "|||||lock-held|"},
		"writers wait behind a trigger":     {"SET lock_timeout='1s'; BEGIN; CREATE TRIGGER t BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION f(); INSERT INTO b SELECT id, v FROM b; COMMIT", false, "||trigger|lock-held|"},
		"one row behind a lock":             {"SET lock_timeout='1s'; ALTER TABLE a ADD COLUMN w text; UPDATE a SET w = v WHERE id = 5; UPDATE alembic_version SET n = 2", true, "|||"},
		"rows, then their table":            {"SET lock_timeout='1s'; UPDATE a SET v = 'x'; ALTER TABLE a ADD COLUMN w text", true, "|update-all|ddl-after-data"},
		"rows of another table":             {"SET lock_timeout='1s'; UPDATE b SET v = 'x'; ALTER TABLE a ADD COLUMN w text", true, "|update-all|"},
		"some rows at once":                 {"UPDATE a SET v = 'x' WHERE v = 'y'; DELETE FROM a WHERE id > 7; UPDATE b SET v = a.v FROM a WHERE a.id = b.id", false, "not-batched|not-batched|not-batched"},
		"a bounded number of rows":          {"UPDATE a SET v = 'x' WHERE id BETWEEN 1 AND 500; DELETE FROM a WHERE id >= 7 AND id < 9; DELETE FROM a WHERE id IN (SELECT id FROM a WHERE v = 'x' LIMIT 500); WITH x AS (SELECT id FROM a LIMIT 9) DELETE FROM a USING x WHERE a.id = x.id", false, "|||"},
		"rows of a table of one's own":      {"CREATE TABLE t AS SELECT 1 AS v; UPDATE t SET v = 2; DELETE FROM t WHERE v = 3", false, "||"},
		"a part of itself":                  {"ALTER TABLE a INHERIT b; ALTER TABLE b INHERIT a; ALTER TABLE a ATTACH PARTITION b DEFAULT; ALTER TABLE b ATTACH PARTITION a DEFAULT; ALTER TABLE a ADD x text; DROP TABLE a", false, "no-lock-timeout||part-attach|||drop-table"},
		"nothing but comments":              {"-- nothing\n/* at all */", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := rules(t, lint.Source{Text: c.sql, OneTransaction: c.one}, lint.Options{Schema: []lint.Source{{Name: "s", Text: schema}}})
			var lines []string
			for _, found := range got {
				lines = append(lines, strings.Join(found, " "))
			}
			if text := strings.Join(lines, "|"); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
		})
	}
}

// TestWithoutSchema holds that what is not known exists, has rows, and may be
// anything.
func TestWithoutSchema(t *testing.T) {
	for sql, want := range map[string]string{
		"ALTER TABLE x ALTER c TYPE text":                          "type-change",
		"ALTER TABLE x ALTER c SET NOT NULL":                       "notnull-set",
		"CREATE INDEX ON x (c)":                                    "idx-create",
		"ALTER TABLE x ADD FOREIGN KEY (c) REFERENCES y":           "fk-add",
		"ALTER TABLE x ADD CONSTRAINT p PRIMARY KEY USING INDEX i": "pk-using-index-nullable",
		"ALTER TABLE x ADD COLUMN c integer DEFAULT mine()":        "default-volatile",
		"ALTER DOMAIN d ADD CHECK (VALUE > 0)":                     "domain-add",
		"ALTER TABLE p ATTACH PARTITION c FOR VALUES IN (1)":       "part-attach",
		"DROP INDEX i":                "idx-drop",
		"REINDEX TABLE x":             "idx-reindex",
		"REFRESH MATERIALIZED VIEW m": "refresh-mv",
	} {
		if got := rules(t, lint.Source{Text: sql}, lint.Options{}); len(got) != 1 || !slices.Contains(got[0], want) {
			t.Errorf("%s: %v, want %s", sql, got, want)
		}
	}
}

// TestAllow lets findings be, for a reason, and says when that is for nothing.
func TestAllow(t *testing.T) {
	got := rules(t, lint.Source{Text: `-- allclear: allow drop-table because it was never used
DROP TABLE a; -- allclear: allow no-lock-timeout because nobody is there at night
-- allclear: allow idx-create because it is small
ALTER TABLE b ADD COLUMN w text;`}, lint.Options{})
	if fmt.Sprint(got) != "[[] [unused-allow]]" {
		t.Errorf("got %v", got)
	}
	for text, want := range map[string]string{
		"-- allclear: allow drop-table\nDROP TABLE a":                        "m.sql:1:1: a reason is missing: allow drop-table because …",
		"SELECT 1;\n  -- allclear: allow drop-tabel because x\nDROP TABLE a": `m.sql:2:3: there is no rule "drop-tabel"`,
		"-- allclear: ignore drop-table because x\nDROP TABLE a":             "m.sql:1:1: want: -- allclear: allow RULE because REASON",
	} {
		_, err := lint.Run([]lint.Source{{Name: "m.sql", Text: text}}, lint.Options{})
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestNotSQL names the place where the grammar gave up, and never says clean.
func TestNotSQL(t *testing.T) {
	for text, want := range map[string]string{
		"ALTER TABEL x":                    `m.sql:1:7: syntax error at or near "TABEL"`,
		"SELECT 1;\n-- é\n  SELEC 2;":      `m.sql:3:3: syntax error at or near "SELEC"`,
		"SELECT 'never ends":               `m.sql:1:8: unterminated quoted string at or near "'never ends"`,
		"CREATE TABLE {{ name }} (id int)": `m.sql:1:14: syntax error at or near "{"`,
		"\\connect shop\nSELECT 1":         `m.sql:1:1: syntax error at or near "\"`,
		"SELECT \x00":                      "m.sql:1:8: the file contains a null byte",
		"SELECT '\xff'":                    "m.sql:1:9: the file is not UTF-8",
		strings.Repeat("(", 50_000):        "m.sql:1:9999: memory exhausted",
		"SELECT " + strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000): "m.sql:1:10004: memory exhausted",
	} {
		_, err := lint.Run([]lint.Source{{Name: "m.sql", Text: text}}, lint.Options{})
		var problem *diag.Problem
		if !errors.As(err, &problem) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	if _, err := lint.Run(nil, lint.Options{Version: 9}); err == nil {
		t.Error("PostgreSQL 9 is not known")
	}
	statements, err := lint.Run([]lint.Source{{Name: "m.sql", Text: "SELECT 1"}}, lint.Options{Schema: []lint.Source{{Name: "s", Text: "\\restrict abc\nCREATE TABLE a (id int);\n\\unrestrict abc\n"}}})
	if err != nil || len(statements) != 1 {
		t.Errorf("pg_dump's own commands: %v", err)
	}
}

// BenchmarkRun looks at the corpus, over and over.
func BenchmarkRun(b *testing.B) {
	var text strings.Builder
	n := 0
	for n < 10_000 {
		for _, c := range corpus(b) {
			text.WriteString(c.sql + ";\n")
			n++
		}
	}
	for b.Loop() {
		statements, err := lint.Run([]lint.Source{{Name: "m.sql", Text: text.String()}}, lint.Options{})
		if err != nil || len(statements) != n {
			b.Fatal(err, len(statements))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/statement")
}
