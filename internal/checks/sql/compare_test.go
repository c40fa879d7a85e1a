package sql_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/sql"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// memory keeps what "before" takes down for "after".
type memory struct {
	dir  string
	sets map[string]string
}

func (m *memory) in(url string) func(*check.Env) {
	return func(env *check.Env) {
		in(url, m.sets)(env)
		env.DataDir = m.dir
	}
}

// before takes down, and gives what remembers it.
func before(t *testing.T, url, params string) *memory {
	t.Helper()
	m := &memory{dir: t.TempDir()}
	env := checktest.NewEnv(t)
	m.in(url)(env)
	inst, problems := checktest.Decode(sql.SQL, "db: env:DB\ncompare: before\n"+params, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	o, err := inst.Runner.Run(t.Context(), env)
	if err != nil || o.Verdict != check.Pass {
		t.Fatalf("%v, %v", o, err)
	}
	m.sets = o.Sets
	return m
}

func TestCompareContents(t *testing.T) {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, `CREATE TABLE plain (id bigint PRIMARY KEY, v text, price float8); INSERT INTO plain SELECT g, 'v' || g, g FROM generate_series(1, 10000) g;
		CREATE TABLE docs (id uuid PRIMARY KEY, d json); INSERT INTO docs SELECT md5(g::text)::uuid, '{"a": 1}' FROM generate_series(1, 100) g;
		CREATE TABLE people (email text PRIMARY KEY, n int); INSERT INTO people SELECT g || '@secret.example', g FROM generate_series(1, 500) g;
		CREATE TABLE bare (x int); INSERT INTO bare VALUES (1), (2); CREATE TABLE empty (id int PRIMARY KEY)`)
	m := before(t, url, "of: [digests, columns]")
	after := "db: env:DB\ncompare: after\nof: "
	checktest.Run(t, sql.SQL, []checktest.Case{{Name: "unchanged", Params: after + "[digests, columns]", Env: m.in(url), Want: "pass: 10 of 10 ..."}})
	for name := range m.sets {
		if !strings.HasPrefix(m.sets[name], "sha256:") {
			t.Errorf("%s: %.60s", name, m.sets[name])
		}
	}
	files, err := filepath.Glob(filepath.Join(m.dir, "sql", "*.json"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "secret.example") {
			t.Errorf("what is taken down names people (%v)", err)
		}
	}
	for _, statement := range []string{`UPDATE plain SET price = 0.5 WHERE id = 777`, `UPDATE docs SET d = '{"a":1}' WHERE id = md5('7')::uuid`, `DELETE FROM people WHERE n = 3`, `UPDATE bare SET x = 3 WHERE x = 2`, `DROP TABLE empty`} {
		postgrestest.Exec(t, url, statement)
	}
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "range", Params: after + "digests\ntables: [plain]\nignore: [public.docs, public.people, public.bare, public.empty]", Env: m.in(url), Want: "fail: public.plain is not what it was: 10000 rows, 10000 before, where 6... <= id < 7... (15... rows, 15... before)"},
		{Name: "columns", Params: after + "columns\nignore: [public.docs, public.people, public.bare, public.empty]", Env: m.in(url), Want: "fail: public.plain is not what it was: 10000 rows, 10000 before, in the columns price, where ..."},
		{Name: "json by its text", Params: after + "columns\nignore: [public.plain, public.people, public.bare, public.empty]", Env: m.in(url), Want: "fail: public.docs is not what it was: 100 rows, 100 before, in the columns d, where ..."},
		{Name: "private keys", Params: after + "digests\nignore: [public.plain, public.docs, public.bare, public.empty]", Env: m.in(url), Want: "fail: public.people is not what it was: 499 rows, 500 before"},
		{Name: "no key", Params: after + "columns\nignore: [public.plain, public.docs, public.people, public.empty]", Env: m.in(url), Want: "fail: public.bare is not what it was: 2 rows, 2 before, in the columns x"},
		{Name: "gone", Params: after + "digests\nignore: [public.plain, public.docs, public.people, public.bare]", Env: m.in(url), Want: "fail: public.empty is gone (0 rows)"},
		{Name: "not taken down", Params: after + "schema", Env: m.in(url), Want: "error: compare schema: what was there before ... was not supplied"},
	})
	for _, file := range files {
		if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checktest.Run(t, sql.SQL, []checktest.Case{{Name: "tampered", Params: after + "digests", Env: m.in(url), Want: "error: compare digests: read what fact ... stands for: the file has been changed"}})
	for name := range m.sets {
		m.sets[name] = "sha256:../../etc/passwd"
	}
	checktest.Run(t, sql.SQL, []checktest.Case{{Name: "no digest", Params: after + "digests", Env: m.in(url), Want: "error: ...is not a digest"}})
}

// TestCompareOther finds the rows in which two databases differ, one by one.
func TestCompareOther(t *testing.T) {
	tables := `CREATE TABLE t (id bigint PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 30000) g;
		CREATE TABLE pair (a text, b int, PRIMARY KEY (a, b)); INSERT INTO pair SELECT (g % 3)::text, g FROM generate_series(1, 3000) g;`
	one, two := postgrestest.Start(t), postgrestest.Start(t)
	postgrestest.Exec(t, one, tables)
	postgrestest.Exec(t, two, tables)
	world := func(env *check.Env) {
		checktest.SetSecrets(env, checktest.Secrets{"env:DB": one, "env:TWO": two})
	}
	params := "db: env:DB\ncompare: other\nother: env:TWO\n"
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "equal", Params: params + "of: [counts, digests, schema, access]", Env: world, Want: "pass: 6 of 6 ..."},
		{Name: "unreachable", Params: "db: env:DB\ncompare: other\nother: env:NOPE", Env: world, Want: "error: the other database: secret env:NOPE: not set"},
		{Name: "no other", Params: "db: env:DB\ncompare: other", Env: world, Want: "problem: ...needs the address of the other database"},
	})
	postgrestest.Exec(t, two, `UPDATE t SET v = 'x' WHERE id IN (17, 29999); DELETE FROM t WHERE id = 12345; INSERT INTO t VALUES (-5, 'new'); UPDATE pair SET b = -1 WHERE b = 5`)
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "rows", Params: params + "of: digests\ntables: [t]", Env: world, Want: "fail: public.t is not what it was: 30000 rows, 30000 before, at id -5 only there; id 17 differs; id 12345 only here; id 29999 differs"},
		{Name: "key too common to cut", Params: params + "of: digests\ntables: [pair]", Env: world, Want: "fail: public.pair is not what it was: 3000 rows, 3000 before, at a range of 1000 rows here, 1000 there"},
		{Name: "counts", Params: params + "tables: [t]\ncounts: after == before", Env: world, Want: "pass: ..."},
	})
	postgrestest.Exec(t, two, "DROP TABLE pair; CREATE TABLE third (x int)")
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "schema", Params: params + "of: schema", Env: world, Want: "fail: the structure is another: column public.pair.a is new; ...table public.third is gone"},
	})
}

func TestCompareSchema(t *testing.T) {
	url := database(t, "CREATE VIEW v AS SELECT 1 AS x")
	m := before(t, url, "of: schema")
	var digest string
	after := "db: env:DB\ncompare: after\nof: schema"
	checktest.Run(t, sql.SQL, []checktest.Case{{Name: "unchanged", Params: after, Env: m.in(url), Want: "pass: ...", Check: func(_ *testing.T, o check.Outcome) { digest = o.Facts["schema_sha256"] }}})
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "as expected", Params: "db: env:DB\nschema: " + digest, Env: m.in(url), Want: "pass: 1 of 1 ..."},
		{Name: "short", Params: "db: env:DB\nschema: '" + digest[:12] + "'", Env: m.in(url), Want: "pass: 1 of 1 ..."},
		{Name: "too short", Params: "db: env:DB\nschema: abc", Env: m.in(url), Want: "problem: ...want 12 to 64 digits..."},
	})
	postgrestest.Exec(t, url, "ALTER TABLE orders ALTER total SET DEFAULT 5; CREATE INDEX extra ON orders (total); CREATE OR REPLACE VIEW v AS SELECT 2 AS x; ALTER TABLE tenants DROP COLUMN name")
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "changed", Params: after, Env: m.in(url), Want: "fail: the structure is another: column public.orders.total has changed; column public.tenants.name is gone; index public.extra is new; view public.v has changed"},
		{Name: "expected otherwise", Params: "db: env:DB\nschema: " + digest, Env: m.in(url), Want: "fail: the schema's digest is ..., want ..."},
	})
}

// TestCompareAccess changes each kind of right that is compared.
func TestCompareAccess(t *testing.T) {
	url := database(t, `CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE POLICY p ON orders USING (true)`)
	as(t, url, "sql_other", "")
	m := before(t, url, "of: access")
	after := "db: env:DB\ncompare: after\nof: access"
	checktest.Run(t, sql.SQL, []checktest.Case{{Name: "unchanged", Params: after, Env: m.in(url), Want: "pass: ..."}})
	postgrestest.Exec(t, url, "CREATE TABLE fresh (x int); GRANT ALL ON fresh TO PUBLIC; GRANT SELECT ON orders TO sql_other")
	checktest.Run(t, sql.SQL, []checktest.Case{{Name: "new objects, and grants given again", Params: after, Env: m.in(url), Want: "pass: ..."}})
	for change, want := range map[string]string{
		"ALTER TABLE tenants OWNER TO sql_other":            "relation tenants has changed from \"owner admin, ...\" to \"owner sql_other, ...",
		"GRANT DELETE ON orders TO PUBLIC":                  "relation orders has changed from ... to \"...PUBLIC DELETE...",
		"REVOKE SELECT ON orders FROM sql_other":            "relation orders has changed from ...",
		"ALTER TABLE orders ENABLE ROW LEVEL SECURITY":      "row security orders has changed from \"enabled f, forced f...",
		"ALTER POLICY p ON orders USING (id > 3)":           "row security orders has changed from ...",
		"ALTER FUNCTION f() OWNER TO sql_other":             "function f() has changed from ...",
		"REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC":        "function f() has changed from ...",
		"GRANT CREATE ON SCHEMA public TO PUBLIC":           "schema public has changed from ...",
		"GRANT UPDATE ON SEQUENCE tenants_id_seq TO PUBLIC": "relation tenants_id_seq has changed from ...",
	} {
		m := before(t, url, "of: access")
		postgrestest.Exec(t, url, change)
		checktest.Run(t, sql.SQL, []checktest.Case{{Name: change, Params: after, Env: m.in(url), Want: "fail: owners, grants or row security are others: " + want}})
	}
}

// TestCompareManyTables: what does not fit into a fact is not cut short.
func TestCompareManyTables(t *testing.T) {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, `DO $$ BEGIN FOR i IN 1..250 LOOP EXECUTE format('CREATE TABLE a_table_with_a_long_name_%s AS SELECT 1 AS x', i); END LOOP; END $$`)
	m := before(t, url, "")
	checktest.Run(t, sql.SQL, []checktest.Case{{Name: "after", Params: "db: env:DB\ncompare: after", Env: m.in(url), Want: "pass: 250 of 250 ..."}})
	for _, fact := range m.sets {
		if len(fact) > 3000 {
			t.Errorf("a fact of %d bytes", len(fact))
		}
	}
}

func TestDelta(t *testing.T) {
	url := database(t, "")
	m := before(t, url, "")
	postgrestest.Exec(t, url, "INSERT INTO tenants (name) VALUES ('x'), ('y')")
	after := "db: env:DB\ncompare: after\ndelta: "
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "as many as expected", Params: after + "{public.tenants: 2}", Env: m.in(url), Want: "pass: 2 of 2 ..."},
		{Name: "more", Params: after + "{public.tenants: 1}", Env: m.in(url), Want: "fail: public.tenants had 3 rows, has 5, want +1"},
		{Name: "none", Params: after + "{public.tenants: 2, public.orders: -1}", Env: m.in(url), Want: "fail: public.orders had 30 rows, has 30, want -1"},
		{Name: "no such table", Params: after + "{tenants: 2}", Env: m.in(url), Want: "error: ...delta: there were no rows of a table tenants..."},
	})
}

func TestMistakes(t *testing.T) {
	for params, want := range map[string]string{
		"compare: after\nother: env:X":                    "only compare: other has another database",
		"compare: after\nof: []":                          "nothing is compared",
		"compare: after\nof: schema\ndelta: {a.b: 1}":     "delta: it is about counts",
		"compare: later":                                  `unknown value "later"`,
		"preset: [integrity, index]":                      `unknown value "index"`,
		"schema: XYZXYZXYZXYZ":                            "want 12 to 64 digits",
		"preset: integrity\nsequence_used: many":          "sequence_used",
		"preset: integrity\nstatement_timeout: 0s":        "want more than 0s",
		"compare: after\ncounts: 'before < after + rows'": `reads "rows"`,
	} {
		if _, problems := checktest.Decode(sql.SQL, "db: env:DB\n"+params, nil); !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %v, want %s", params, problems, want)
		}
	}
}
