package migrations_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/migrations"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// lintWorld puts files into the checkout and the database's address into the env.
func lintWorld(url string, files map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		for name, text := range files {
			path := filepath.Join(env.Dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				panic(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				panic(err)
			}
		}
		checktest.SetSecrets(env, checktest.Secrets{"env:DB": url})
	}
}

func one(name, text string) map[string]string { return map[string]string{name: text} }

const timeout = "SET lock_timeout = '1s';\n"

func TestLint(t *testing.T) {
	const slow = timeout + "CREATE INDEX orders_note ON orders (note);"
	hazard := one("migrations/0001_x.up.sql", slow)
	checktest.Run(t, migrations.Lint, []checktest.Case{
		{Name: "nothing wrong", Params: "{}", Env: lintWorld("", one("migrations/0001_x.up.sql", timeout+"CREATE TABLE t (id bigint PRIMARY KEY);")),
			Want: "pass: 2 statements of 1 file: 0 hazards, 0 risks, 0 remarks, 0 acknowledged", Check: sets("lint.statements=2 lint.hazards=0 lint.risks=0 lint.unseen=0")},
		{Name: "hazard", Params: "{}", Env: lintWorld("", hazard), Want: "fail: 1 findings in 2 statements of 1 file: 0001_x.up.sql:2 idx-create on orders (ShareLock)",
			Check: func(t *testing.T, o check.Outcome) {
				if o.Facts["finding.01"] != "hazard 0001_x.up.sql:2 idx-create on orders (ShareLock)" || o.Facts["hazards"] != "1" || len(o.Artefacts) != 1 {
					t.Errorf("%v %v", o.Facts, o.Artefacts)
				}
			}},
		{Name: "acknowledged", Params: "ack: [{rule: idx-create, file: 0001_x.up.sql, reason: tiny}, {rule: drop-table, file: x, reason: old}]", Env: lintWorld("", hazard),
			Want: "pass: 2 statements of 1 file: 0 hazards, 0 risks, 0 remarks, 1 acknowledged", Check: func(t *testing.T, o check.Outcome) {
				if !strings.Contains(o.Facts["finding.01"], "may be: tiny") || o.Facts["ack_unused"] != "drop-table in x" {
					t.Errorf("%v", o.Facts)
				}
			}},
		{Name: "acknowledged elsewhere", Params: "ack: [{rule: idx-create, file: 0002_x.up.sql, reason: tiny}]", Env: lintWorld("", hazard), Want: "fail: 1 findings..."},
		{Name: "acknowledged in the file", Params: "{}", Env: lintWorld("", one("migrations/0001_x.up.sql", timeout+"-- allclear: allow idx-create because it is small\nCREATE INDEX orders_note ON orders (note);")), Want: "pass: ...1 acknowledged"},
		{Name: "known to be new", Params: "schema: [before.sql]", Env: lintWorld("", with(one("before.sql", "CREATE TABLE t (v text, w text CHECK (w IS NOT NULL))"), "migrations/1_x.sql", timeout+"ALTER TABLE t ALTER w SET NOT NULL;")), Want: "pass: ..."},
		{Name: "a level", Params: "fail_on: risk", Env: lintWorld("", one("migrations/1_x.sql", timeout+"DROP TABLE t;")), Want: "fail: 1 findings ...drop-table..."},
		{Name: "below the level", Params: "{}", Env: lintWorld("", one("migrations/1_x.sql", timeout+"DROP TABLE t;")), Want: "pass: ...1 risks..."},
		{Name: "named rules", Params: "rules: [drop-table]", Env: lintWorld("", one("migrations/1_x.sql", slow+"DROP TABLE t;")), Want: "fail: 1 findings ...drop-table..."},
		{Name: "other rules", Params: "rules: [drop-column]", Env: lintWorld("", one("migrations/1_x.sql", slow)), Want: "pass: 2 statements of 1 file: 0 hazards..."},
		{Name: "hidden", Params: "rules: [drop-column]", Env: lintWorld("", one("migrations/1_x.sql", "DO $$ BEGIN END $$")), Want: "error: 1 places cannot be seen into: 1_x.sql:1 what a DO block does cannot be read here; acknowledge...", Check: sets("")},
		{Name: "hidden and worse", Params: "{}", Env: lintWorld("", one("migrations/1_x.sql", slow+"DO $$ BEGIN END $$")), Want: "fail: ..."},
		{Name: "hidden and known", Params: "ack: [{rule: cannot-see-inside, file: 1_x.sql, reason: rehearsed}]", Env: lintWorld("", one("migrations/1_x.sql", "DO $$ BEGIN END $$")), Want: "pass: 1 statement..."},
		{Name: "named files", Params: "files: [sql/*.sql]", Env: lintWorld("", with(hazard, "sql/a.sql", "SELECT 1")), Want: "pass: 1 statement..."},
		{Name: "a program that prints", Params: "command: [cat, printed]", Env: lintWorld("", one("printed", "SELECT 1; SELECT 2")), Want: "pass: 2 statements..."},
		{Name: "as apply runs it", Params: "{}", Env: lintWorld("", one("migrations/1_x.sql", "CREATE INDEX CONCURRENTLY i ON a (v);\nCREATE INDEX CONCURRENTLY j ON b (v);")), Want: "pass: ..."},
		{Name: "as golang-migrate runs it", Params: "tool: golang-migrate\nfail_on: risk", Env: lintWorld("", one("migrations/1_x.up.sql", "CREATE INDEX CONCURRENTLY i ON a (v);\nCREATE INDEX CONCURRENTLY j ON b (v);")), Want: "fail: ...idx-conc-in-tx..."},
		{Name: "goose's values", Params: "tool: goose\nvalues: {T: orders}", Env: lintWorld("", one("migrations/1_x.sql", "-- +goose Up\n-- +goose ENVSUB ON\nDROP TABLE ${T};")), Want: "pass: 1 statement..."},
		{Name: "goose's programs", Params: "tool: goose", Env: lintWorld("", with(one("migrations/1_x.go", "goose.AddMigration(up, down)"), "migrations/m.go", "package m")), Want: "error: 1 places cannot be seen into: 1_x.go:1 what a migration in Go does..."},
		{Name: "flyway's folders", Params: "tool: flyway\ndir: sql/", Env: lintWorld("", with(one("sql/v1/V1__x.sql", "VACUUM t"), "sql/V2__x.sql.conf", "")), Want: "pass: 1 statement..."},

		{Name: "no files", Params: "{}", Env: lintWorld("", nil), Want: "error: no migrations in migrations"},
		{Name: "no such files", Params: "files: [x/*.sql]", Env: lintWorld("", nil), Want: "error: no migrations in x/*.sql"},
		{Name: "only going back", Params: "{}", Env: lintWorld("", one("migrations/0001_x.down.sql", "DROP TABLE t")), Want: "error: no migrations in migrations"},
		{Name: "nothing in it", Params: "{}", Env: lintWorld("", one("migrations/1_x.sql", "-- nothing")), Want: "error: no statement was read in migrations"},
		{Name: "not SQL", Params: "{}", Env: lintWorld("", one("migrations/1_x.sql", "SELEC 1")), Want: `error: migrations/1_x.sql:1:1: syntax error at or near "SELEC"`},
		{Name: "not text", Params: "{}", Env: lintWorld("", one("migrations/1_x.sql", "SELECT '\xff'")), Want: "error: migrations/1_x.sql:1:9: the file is not UTF-8"},
		{Name: "a folder", Params: "files: [migrations]", Env: lintWorld("", hazard), Want: "error: read migration: ..."},
		{Name: "no value", Params: "tool: flyway", Env: lintWorld("", one("migrations/V1__x.sql", "DROP TABLE ${t}")), Want: "error: migrations/V1__x.sql:1:12: there is no value for ${t}"},
		{Name: "no schema", Params: "schema: [x.sql]", Env: lintWorld("", hazard), Want: "error: read the schema: ..."},
		{Name: "a program that fails", Params: "command: [sh, -c, 'echo SELECT 1; echo no database >&2; exit 3']", Env: lintWorld("", nil), Want: "error: sh -c ... ended with exit 3: no database"},
		{Name: "a program that is killed", Params: "command: [sh, -c, 'kill -9 $$']", Env: lintWorld("", nil), Want: "error: sh -c kill -9 $$ was ended by signal: ..."},
		{Name: "a program that is not there", Params: "command: [no-such-program-here]", Env: lintWorld("", nil), Want: "error: ...no-such-program-here..."},
		{Name: "a program that hangs", Params: "command: [sleep, 60]", Env: lintWorld("", nil), Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded"},
		{Name: "a program that says nothing", Params: "command: ['true']", Env: lintWorld("", nil), Want: "error: no statement was read in ..."},
		{Name: "alembic says nothing", Params: "tool: alembic\ncommand: ['true']", Env: lintWorld("", nil), Want: "error: true upgrade head --sql printed no upgrade"},
		{Name: "django says something else", Params: "tool: django\ncommand: [echo]", Env: lintWorld("", nil), Want: `error: echo showmigrations printed "showmigrations --plan", which is no migration`},
		{Name: "django says nothing", Params: "tool: django\ncommand: ['true']", Env: lintWorld("", nil), Want: "error: no migrations in what django prints"},
		{Name: "no rule", Params: "rules: [idx-creat]", Want: `problem: ...there is no rule "idx-creat"...`},
		{Name: "no rule to acknowledge", Params: "ack: [{rule: x, file: x, reason: x}]", Want: `problem: ...there is no rule "x"...`},
		{Name: "no reason", Params: "ack: [{rule: idx-create, file: x, reason: ' '}]", Want: "problem: ...ack: file and reason must say something..."},
		{Name: "two worlds", Params: "db: env:DB\nschema: [x.sql]", Want: "problem: ...db and schema exclude each other..."},
		{Name: "an old server", Params: "pg: 9", Want: "problem: ...pg: want 13 to 18, got 9..."},
	})
}

// sets compares the facts for later items.
func sets(want string) func(*testing.T, check.Outcome) {
	return func(t *testing.T, o check.Outcome) {
		t.Helper()
		got := map[string]string{}
		for _, pair := range strings.Fields(want) {
			name, value, _ := strings.Cut(pair, "=")
			got[name] = value
		}
		if !maps.Equal(o.Sets, got) {
			t.Errorf("sets %v, want %v", o.Sets, got)
		}
	}
}

// TestLintPending reads only what the version tables leave.
func TestLintPending(t *testing.T) {
	at2, at3, dirty := applied(t, "2", "false"), applied(t, "3", "false"), applied(t, "3", "true")
	postgrestest.Exec(t, at2, "INSERT INTO orders SELECT g, 'x' FROM generate_series(1, 1000) g")
	files := map[string]string{}
	for name, text := range steps() {
		files["migrations/"+name] = text
	}
	slow := with(files, "migrations/0003_index.up.sql", timeout+"CREATE INDEX orders_total ON orders (total);")
	locked := applied(t, "3", "false")
	if err := postgrestest.Open(t, locked).Script(t.Context(), "BEGIN; LOCK TABLE schema_migrations"); err != nil {
		t.Fatal(err)
	}
	const migrate = "db: env:DB\ntool: golang-migrate\n"
	checktest.Run(t, migrations.Lint, []checktest.Case{
		{Name: "one pending", Params: migrate, Env: lintWorld(at2, slow), Want: "fail: 1 findings in 2 statements of 1 file: 0003_index.up.sql:2 idx-create on orders (ShareLock, 0.1 MB)",
			Check: func(t *testing.T, o check.Outcome) {
				if o.Facts["migrations"] != "3" || o.Facts["pending"] != "1" || o.Facts["postgresql"] != "15" || !strings.HasPrefix(o.Target, "127.0.0.1:") {
					t.Errorf("%v %s", o.Facts, o.Target)
				}
			}},
		{Name: "none pending", Params: migrate, Env: lintWorld(at3, slow), Want: "pass: nothing pending: all 3 migrations are in table schema_migrations, the last is 3", Check: sets("lint.statements=0 lint.hazards=0 lint.risks=0 lint.unseen=0")},
		{Name: "dirty", Params: migrate, Env: lintWorld(dirty, slow), Want: "error: table schema_migrations is dirty at version 3: what is pending cannot be told"},
		{Name: "another tool's", Params: "db: env:DB", Env: lintWorld(at3, slow), Want: "error: table schema_migrations is golang-migrate's..."},
		{Name: "locked", Params: migrate + "statement_timeout: 100ms", Env: lintWorld(locked, slow), Want: "error: read table schema_migrations: ...timeout..."},
		{Name: "silent", Params: migrate, Env: lintWorld(postgrestest.Silent(t), slow), Timeout: 100 * time.Millisecond, Want: "error: connect to ...deadline exceeded"},
		{Name: "refused", Params: migrate, Env: lintWorld("postgres://u:geheimgeheim@127.0.0.1:1/x", slow), Want: "error: connect to 127.0.0.1:1/x: ...refused"},
		{Name: "no version in a name", Params: migrate, Env: lintWorld(at3, with(slow, "migrations/x.sql", "SELECT 1")), Want: "error: migrations/x.sql is not named like 0001_name"},
		{Name: "no files", Params: migrate, Env: lintWorld(at3, nil), Want: "error: no migrations in migrations"},
	})
}

// TestLintVersionTables reads the tables of the other tools.
func TestLintVersionTables(t *testing.T) {
	const history = `CREATE TABLE flyway_schema_history (installed_rank integer PRIMARY KEY, version varchar(50), description varchar(200), type varchar(20) NOT NULL, script varchar(1000) NOT NULL, checksum integer, installed_by varchar(100), installed_on timestamp DEFAULT now(), execution_time integer, success boolean NOT NULL);
		INSERT INTO flyway_schema_history (installed_rank, version, type, script, checksum, success) VALUES (1, '1', 'BASELINE', 'x', NULL, true), (2, '2.0', 'SQL', 'V2__b.sql', 1, true), (3, NULL, 'SQL', 'R__v.sql', 370527508, true), (4, '3', 'SQL', 'V3__c.sql', 1, true), (5, '3', 'UNDO_SQL', 'U3__c.sql', 1, true)`
	goose, flyway, failed, rails := postgrestest.Start(t), postgrestest.Start(t), postgrestest.Start(t), postgrestest.Start(t)
	postgrestest.Exec(t, goose, `CREATE TABLE goose_db_version (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp DEFAULT now());
		INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true), (2, true), (2, false)`)
	postgrestest.Exec(t, flyway, history)
	postgrestest.Exec(t, failed, history+"; UPDATE flyway_schema_history SET success = false WHERE installed_rank = 4")
	postgrestest.Exec(t, rails, "CREATE TABLE schema_migrations (version varchar PRIMARY KEY); INSERT INTO schema_migrations VALUES ('20240101')")
	scripts := map[string]string{"migrations/V0_9__a.sql": "SELECT 9", "migrations/V1__a.sql": "SELECT 1", "migrations/V2__b.sql": "SELECT 2", "migrations/V3__c.sql": "SELECT 3", "migrations/R__v.sql": "SELECT 4\r\n"}
	annotated := map[string]string{"migrations/00001_a.sql": "-- +goose Up\nDROP TABLE a;", "migrations/00002_b.sql": "-- +goose Up\nSELECT 1;\nSELECT 2;"}
	ruby := func(name string) string { return "class " + name + " < ActiveRecord::Migration[7.1]\nend" }
	programs := map[string]string{"db/migrate/20240101_a.rb": ruby("A"), "db/migrate/20240102_b.rb": ruby("B")}
	log := "D, [x #1] DEBUG -- :    (0.1ms)  SELECT 1\nD, [x #1] DEBUG -- :   S Create (0.1ms)  INSERT INTO \"schema_migrations\" (\"version\") VALUES ($1)  [[\"version\", \"20240102\"]]\n"
	checktest.Run(t, migrations.Lint, []checktest.Case{
		{Name: "goose", Params: "db: env:DB\ntool: goose", Env: lintWorld(goose, annotated), Want: "pass: 2 statements of 1 file..."},
		{Name: "flyway", Params: "db: env:DB\ntool: flyway", Env: lintWorld(flyway, scripts), Want: "pass: 1 statement of 1 file...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["migrations"] != "5" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "flyway, a repeatable one changed", Params: "db: env:DB\ntool: flyway", Env: lintWorld(flyway, with(scripts, "migrations/R__v.sql", "SELECT 5")), Want: "pass: 2 statements of 2 files..."},
		{Name: "flyway, failed", Params: "db: env:DB\ntool: flyway", Env: lintWorld(failed, scripts), Want: "error: read table flyway_schema_history: V3__c.sql failed and was not repaired"},
		{Name: "flyway, an odd name", Params: "db: env:DB\ntool: flyway", Env: lintWorld(flyway, with(scripts, "migrations/x.sql", "")), Want: "error: migrations/x.sql is not named like V1__name.sql or R__name.sql"},
		{Name: "another table", Params: "db: env:DB\ntool: goose\ntable: flyway_schema_history", Env: lintWorld(flyway, annotated), Want: "error: read table flyway_schema_history: ..."},
		{Name: "rails, hidden", Params: "db: env:DB\ntool: rails", Env: lintWorld(rails, programs), Want: "error: 1 places cannot be seen into: 20240102_b.rb:1 what a migration in Ruby does..."},
		{Name: "rails, logged", Params: "db: env:DB\ntool: rails\nfiles: [log/*.log]", Env: lintWorld(rails, with(programs, "log/a.log", log)), Want: "pass: 2 statements of 1 file..."},
		{Name: "rails, not all logged", Params: "tool: rails\nfiles: [log/*.log]", Env: lintWorld("", with(programs, "log/a.log", log)), Want: "error: 1 places cannot be seen into: 20240101_a.rb:1..."},
		{Name: "rails, nothing logged", Params: "tool: rails\nfiles: [log/*.log]", Env: lintWorld("", with(programs, "log/a.log", "Started GET")), Want: "error: log/a.log is not the log of a migration: it notes no version"},
		{Name: "rails, no log", Params: "tool: rails\nfiles: [log/*.log]", Env: lintWorld("", programs), Want: "error: no log is there: log/*.log"},
		{Name: "rails, nothing pending", Params: "db: env:DB\ntool: rails", Env: lintWorld(rails, one("db/migrate/20240101_a.rb", ruby("A"))), Want: "pass: nothing pending: all 1 migrations are in table schema_migrations, the last is 20240101"},
		{Name: "rails, something else", Params: "tool: rails", Env: lintWorld("", one("db/migrate/1_a.rb", "puts 1")), Want: "error: db/migrate/1_a.rb is not a migration of Rails"},
	})
}

// python is Debian's, whose packages Django and Alembic are.
const python = "/usr/bin/python3"

// project gives the files of one of the linter's projects.
func project(t *testing.T, name string) map[string]string {
	t.Helper()
	archive, err := os.ReadFile(filepath.Join("..", "..", "postgres", "lint", "testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, part := range strings.Split(string(archive), "=== ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		files[name] = text
	}
	return files
}

// tool runs a project's program, as people do.
func tool(t *testing.T, files map[string]string, url string, args ...string) {
	t.Helper()
	env := checktest.NewEnv(t)
	lintWorld(url, files)(env)
	cmd := exec.CommandContext(t.Context(), python, args...)
	cmd.Dir, cmd.Env = env.Dir, append(os.Environ(), "DATABASE_URL="+url)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v (the tools are installed by scripts/packages test)\n%s", strings.Join(args, " "), err, said.String())
	}
}

// TestLintDjango asks a real project.
func TestLintDjango(t *testing.T) {
	t.Parallel()
	files := project(t, "django")
	fresh, at1, all := postgrestest.Start(t), postgrestest.Start(t), postgrestest.Start(t)
	tool(t, files, at1, "manage.py", "migrate", "shop", "0001")
	tool(t, files, all, "manage.py", "migrate")
	params := "tool: django\ncommand: [" + python + ", manage.py]\nsecret_env: {DATABASE_URL: env:DB}\n"
	const known = "ack: [{rule: cannot-see-inside, file: shop.0002_more, reason: few rows}]\n"
	checktest.Run(t, migrations.Lint, []checktest.Case{
		{Name: "hidden", Once: true, Params: params, Env: lintWorld(fresh, with(files, "shop/migrations/0002_more.py", regexp.MustCompile(`migrations\.AddField\(.*?\)\), `).ReplaceAllString(files["shop/migrations/0002_more.py"], ""))),
			Want: `error: 1 places cannot be seen into: shop.0002_more:3 what the operation "Raw Python operation" does...`},
		{Name: "pending", Once: true, Params: params + known + "db: env:DB", Env: lintWorld(at1, files), Want: "fail: ...idx-in-ddl-tx on shop_order...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["migrations"] != "3" || o.Facts["pending"] != "2" || o.Facts["acknowledged"] != "1" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "a migration outside a transaction", Once: true, Params: params + known + "rules: [idx-conc-in-tx]\ndb: env:DB", Env: lintWorld(at1, files), Want: "pass: ..."},
		{Name: "nothing pending", Params: params + "db: env:DB", Env: lintWorld(all, files), Want: "pass: nothing pending: all 3 migrations are in table django_migrations, the last is shop.0003_index"},
		{Name: "nothing pending, and nobody asked", Params: params, Env: lintWorld(all, files), Want: "error: no migrations are pending by what django prints; without db no version table shows it"},
		{Name: "two databases", Params: strings.Replace(params, "env:DB", "env:OTHER", 1) + "db: env:DB", Env: func(env *check.Env) {
			lintWorld("", files)(env)
			checktest.SetSecrets(env, checktest.Secrets{"env:DB": fresh, "env:OTHER": all})
		}, Want: "error: table django_migrations and ... disagree on shop.0001_initial: the program asks another database"},
	})
}

// TestLintAlembic asks a real project.
func TestLintAlembic(t *testing.T) {
	t.Parallel()
	files := project(t, "alembic")
	fresh, at1, all := postgrestest.Start(t), postgrestest.Start(t), postgrestest.Start(t)
	tool(t, files, at1, "-m", "alembic", "upgrade", "a1")
	tool(t, files, all, "-m", "alembic", "upgrade", "head")
	heads, lost := postgrestest.Start(t), postgrestest.Start(t)
	postgrestest.Exec(t, heads, "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('a1'), ('x1')")
	postgrestest.Exec(t, lost, "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('zz')")
	params := "tool: alembic\ncommand: [" + python + ", -m, alembic]\nsecret_env: {DATABASE_URL: env:DB}\n"
	checktest.Run(t, migrations.Lint, []checktest.Case{
		{Name: "all", Once: true, Params: params, Env: lintWorld(fresh, files), Want: "pass: ...", Check: pendingIs("2")},
		{Name: "a fresh database", Once: true, Params: params + "db: env:DB", Env: lintWorld(fresh, files), Want: "pass: ...", Check: pendingIs("2")},
		{Name: "one pending", Once: true, Params: params + "db: env:DB", Env: lintWorld(at1, files), Want: "pass: ...", Check: pendingIs("1")},
		{Name: "nothing pending", Params: params + "db: env:DB", Env: lintWorld(all, files), Want: "pass: nothing pending: table alembic_version is at b2, the head"},
		{Name: "two heads", Params: params + "db: env:DB", Env: lintWorld(heads, files), Want: "error: read table alembic_version: it has two heads, a1 and x1..."},
		{Name: "a revision nobody knows", Params: params + "db: env:DB", Env: lintWorld(lost, files), Want: "error: ... ended with exit 255: ...Can't locate revision identified by 'zz'"},
	})
}

func pendingIs(want string) func(*testing.T, check.Outcome) {
	return func(t *testing.T, o check.Outcome) {
		t.Helper()
		if o.Facts["pending"] != want {
			t.Errorf("pending %s, want %s", o.Facts["pending"], want)
		}
	}
}
