package migrations_test

import (
	"context"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/migrations"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

// steps are three migrations; the third cannot run in a transaction.
func steps() map[string]string {
	return map[string]string{
		"0001_orders.up.sql":   "CREATE TABLE orders (id int PRIMARY KEY, note text DEFAULT 'a;b');\nINSERT INTO orders VALUES (1);",
		"0001_orders.down.sql": "DROP TABLE orders;",
		"0002_total.up.sql":    "ALTER TABLE orders ADD COLUMN total int;",
		"0002_total.down.sql":  "ALTER TABLE orders DROP COLUMN total;",
		"0003_index.up.sql":    "-- two statements\nCREATE INDEX CONCURRENTLY orders_total ON orders (total);\nCREATE INDEX CONCURRENTLY orders_note ON orders (note);",
		"0003_index.down.sql":  "DROP INDEX CONCURRENTLY orders_total; DROP INDEX CONCURRENTLY orders_note;",
	}
}

// world puts files into the checkout and the database's address into the env.
func world(url string, files map[string]string, facts map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		dir := filepath.Join(env.Dir, "migrations")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			panic(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				panic(err)
			}
		}
		checktest.SetSecrets(env, checktest.Secrets{"env:DB": url})
		env.Ledger = &checktest.Ledger{Facts: facts}
	}
}

func with(files map[string]string, name, text string) map[string]string {
	out := maps.Clone(files)
	out[name] = text
	return out
}

// applied makes a database at a version as golang-migrate leaves it.
func applied(t *testing.T, version string, dirty string) string {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, `CREATE TABLE orders (id int PRIMARY KEY, note text, total int);
		CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null);
		INSERT INTO schema_migrations VALUES (`+version+`, `+dirty+`)`)
	return url
}

const viaMigrate = "db: env:DB\ntool: golang-migrate\n"

func TestStatus(t *testing.T) {
	at2, at3, at9, dirty, fresh := applied(t, "2", "false"), applied(t, "3", "false"), applied(t, "9", "false"), applied(t, "3", "true"), postgrestest.Start(t)
	rows := postgrestest.Start(t)
	postgrestest.Exec(t, rows, `CREATE TABLE schema_migrations (version text PRIMARY KEY); INSERT INTO schema_migrations VALUES ('1'), ('3'), ('7')`)
	locked := applied(t, "3", "false")
	holder := postgrestest.Open(t, locked)
	if err := holder.Script(t.Context(), "BEGIN; LOCK TABLE schema_migrations"); err != nil {
		t.Fatal(err)
	}
	malformed := postgrestest.Start(t)
	postgrestest.Exec(t, malformed, `CREATE TABLE schema_migrations (version text); INSERT INTO schema_migrations VALUES ('20x')`)
	checktest.Run(t, migrations.Status, []checktest.Case{
		{Name: "all in", Params: viaMigrate, Env: world(at3, steps(), nil), Want: "pass: 3 of 3 migrations are applied, at version 3"},
		{Name: "one missing", Params: viaMigrate, Env: world(at2, steps(), nil), Want: "fail: 1 of 3 migrations are not applied: 0003_index"},
		{Name: "unknown", Params: viaMigrate, Env: world(at9, steps(), nil), Want: "fail: applied, but without a file: 9"},
		{Name: "dirty", Params: viaMigrate, Env: world(dirty, steps(), nil), Want: "fail: table schema_migrations is dirty at version 3: ...repair..."},
		{Name: "fresh", Params: viaMigrate, Env: world(fresh, steps(), nil), Want: "fail: 3 of 3 migrations are not applied..."},
		{Name: "plan", Params: viaMigrate + "mode: plan", Env: world(at2, steps(), nil), Want: "pass: 1 to apply from version 2: 0003_index; without a way back: none",
			Check: func(t *testing.T, o check.Outcome) {
				if len(o.Sets["migrations.plan"]) != 64 || o.Sets["migrations.pending"] != "1" {
					t.Errorf("sets %v", o.Sets)
				}
			}},
		{Name: "no way back", Params: viaMigrate + "mode: plan\nneed_down: true", Env: world(at3, with(steps(), "0004_x.up.sql", ""), nil), Want: "fail: without a down file: 0004_x"},
		{Name: "rows both ways", Params: "db: env:DB", Env: world(rows, steps(), nil), Want: "fail: applied, but without a file: 7"},
		{Name: "rows missing", Params: "db: env:DB\nunknown_applied: 1", Env: world(rows, steps(), nil), Want: "fail: 1 of 3 migrations are not applied: 0002_total"},
		{Name: "rows late", Params: "db: env:DB\nunknown_applied: 1\nmode: plan", Env: world(rows, steps(), nil), Want: "fail: older than version 7, which is applied: 0002_total"},
		{Name: "wrong tool", Params: "db: env:DB", Env: world(at3, steps(), nil), Want: "error: table schema_migrations is golang-migrate's..."},
		{Name: "wrong tool back", Params: viaMigrate, Env: world(rows, steps(), nil), Want: "error: table schema_migrations has the columns version, want version, dirty..."},
		{Name: "malformed", Params: "db: env:DB", Env: world(malformed, steps(), nil), Want: `error: ...version "20x" is not a number`},
		{Name: "no files", Params: viaMigrate, Env: world(at3, nil, nil), Want: "error: no migrations in migrations"},
		{Name: "odd name", Params: viaMigrate, Env: world(at3, with(steps(), "0004-x.sql", ""), nil), Want: "error: ...0004-x.sql is not named like..."},
		{Name: "twice", Params: viaMigrate, Env: world(at3, with(steps(), "0003_other.up.sql", ""), nil), Want: "error: version 3 is given twice..."},
		{Name: "down alone", Params: viaMigrate, Env: world(at3, with(steps(), "0004_x.down.sql", ""), nil), Want: "error: 0004_x.down.sql has no 0004_x.up.sql"},
		{Name: "locked", Params: viaMigrate + "statement_timeout: 100ms", Env: world(locked, steps(), nil), Want: "error: read table schema_migrations: ...timeout..."},
		{Name: "silent", Params: viaMigrate, Env: world(postgrestest.Silent(t), steps(), nil), Timeout: 100 * time.Millisecond, Want: "error: connect to ...deadline exceeded"},
		{Name: "refused", Params: viaMigrate, Env: world("postgres://u:geheimgeheim@127.0.0.1:1/x", steps(), nil), Want: "error: connect to 127.0.0.1:1/x: ...refused"},
		{Name: "no address", Params: viaMigrate, Env: func(env *check.Env) { world("", steps(), nil)(env) }, Want: "error: the database's address is empty"},
	})
}

func TestChangedAfterwards(t *testing.T) {
	url := postgrestest.Start(t)
	run(t, migrations.Apply, "db: env:DB\nplan_digest: any", world(url, steps(), nil), "pass: 3 migrations in ...")
	changed := with(steps(), "0002_total.up.sql", "ALTER TABLE orders ADD COLUMN total bigint;")
	run(t, migrations.Status, "db: env:DB", world(url, changed, nil), "fail: changed after they were applied: 0002_total")
	run(t, migrations.Status, "db: env:DB", world(url, steps(), nil), "pass: 3 of 3...")
}

// run runs one case of its own and gives its env.
func run(t *testing.T, typ *check.Type, params string, world func(*check.Env), want string) check.Outcome {
	t.Helper()
	var out check.Outcome
	checktest.Run(t, typ, []checktest.Case{{Name: "run", Params: params, Env: world, Want: want, Once: true,
		Check: func(_ *testing.T, o check.Outcome) { out = o }}})
	return out
}

func version(t *testing.T, url string) string {
	t.Helper()
	return postgrestest.Value(t, url, "SELECT coalesce(string_agg(version || ' ' || dirty, ','), 'none') FROM schema_migrations")
}

func TestApply(t *testing.T) {
	for _, tool := range []string{"sql", "golang-migrate"} {
		t.Run(tool, func(t *testing.T) {
			url := postgrestest.Start(t)
			params := "db: env:DB\ntool: " + tool + "\n"
			plan := run(t, migrations.Status, params+"mode: plan", world(url, steps(), nil), "pass: 3 to apply from version none...")
			o := run(t, migrations.Apply, params, world(url, steps(), plan.Sets), "pass: 3 migrations in ... s, from version none to 3")
			if o.Sets["migrations.before"] != "none" || o.Sets["migrations.after"] != "3" || o.Sets["migration.count"] != "3" || o.Sets["migration.seconds"] == "" || o.Facts["0002_total"] == "" {
				t.Errorf("outcome %+v", o)
			}
			if n := postgrestest.Value(t, url, "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid::regclass::text LIKE 'orders\\_%' AND NOT indisprimary"); n != "2" {
				t.Errorf("%s indexes", n)
			}
			run(t, migrations.Status, params, world(url, steps(), nil), "pass: 3 of 3...")
			run(t, migrations.Apply, params+"plan_digest: any", world(url, steps(), nil), "pass: at version 3, as wanted; nothing to do")
			run(t, migrations.Apply, params+"to: before", world(url, steps(), map[string]string{"migrations.before": "1"}), "pass: 2 migrations in ...from version 3 to 1")
			if n := postgrestest.Value(t, url, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'total'"); n != "0" {
				t.Error("the column is still there")
			}
			run(t, migrations.Apply, params+"to: none", world(url, steps(), nil), "pass: 1 migrations in ...to none")
			if v := version(t, url); v != "none" {
				t.Errorf("table holds %s", v)
			}
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	at2, dirty, fresh := applied(t, "2", "false"), applied(t, "3", "true"), postgrestest.Start(t)
	noDown := steps()
	delete(noDown, "0002_total.down.sql")
	other := postgrestest.Open(t, fresh)
	postgrestest.Exec(t, at2, "INSERT INTO orders VALUES (1)")
	checktest.Run(t, migrations.Apply, []checktest.Case{
		{Name: "not reviewed", Params: viaMigrate, Env: world(at2, steps(), nil), Want: "fail: the reviewed plan is not known...nothing was changed"},
		{Name: "other plan", Params: viaMigrate, Env: world(at2, steps(), map[string]string{"migrations.plan": "abc"}), Want: "fail: the files to apply are not the reviewed ones: digest ...0003_index, the fact migrations.plan says abc; nothing was changed"},
		{Name: "dirty", Params: viaMigrate + "plan_digest: any", Env: world(dirty, steps(), nil), Want: "fail: table schema_migrations is dirty at version 3...nothing was changed"},
		{Name: "no way back", Params: viaMigrate + "to: 1", Env: world(at2, noDown, nil), Want: "fail: 0002_total has no down file...nothing was changed"},
		{Name: "before unknown", Params: viaMigrate + "to: before", Env: world(at2, steps(), nil), Want: "fail: the version before the deployment is not known...nothing was changed"},
		{Name: "no such version", Params: viaMigrate + "to: 8", Env: world(at2, steps(), nil), Want: "fail: version 8 has no file in migrations; nothing was changed"},
		{Name: "not a version", Params: viaMigrate + "to: newest", Want: "problem: ...to: want a version..."},
		{Name: "no lock timeout", Params: viaMigrate + "lock_timeout: 0s", Want: "problem: ...lock_timeout..."},
		{Name: "silent", Params: viaMigrate, Env: world(postgrestest.Silent(t), steps(), nil), Timeout: 100 * time.Millisecond, Want: "error: connect to ...deadline exceeded"},
		{Name: "no files", Params: viaMigrate, Env: world(at2, nil, nil), Want: "error: no migrations in migrations"},
		{Name: "syntax", Params: viaMigrate + "plan_digest: any", Env: world(at2, with(steps(), "0003_index.up.sql", "CREATE TABLE x (a int);\n\nCREATE TABL y;"), nil),
			Want: "fail: 0003_index.up.sql failed (0 of 1 were applied before): syntax error at or near \"TABL\" (SQLSTATE 42601), line 3; rolled back"},
	})
	if version(t, at2) != "2 false" {
		t.Errorf("at %s", version(t, at2))
	}
	for _, id := range []string{"t", "/t"} { // both of golang-migrate's ways to name the database
		name := postgrestest.Server(t, fresh).Database()
		id = strings.Replace(id, "t", name, 1)
		if err := other.Script(t.Context(), "SELECT pg_advisory_unlock_all(); SELECT pg_advisory_lock("+lockID(id)+")"); err != nil {
			t.Fatal(err)
		}
		run(t, migrations.Apply, viaMigrate+"plan_digest: any", world(fresh, steps(), nil), "fail: another deployer is applying migrations: process ...allclear...nothing was changed")
	}
}

// TestLockRetry: a lock that is given up in time delays a migration, one that is
// not makes it fail with nothing changed, and readers never queue for long.
func TestLockRetry(t *testing.T) {
	url := applied(t, "1", "false")
	files := steps()
	postgrestest.Exec(t, url, "ALTER TABLE orders DROP total")
	holder := postgrestest.Open(t, url)
	if err := holder.Script(t.Context(), "BEGIN; SELECT * FROM orders"); err != nil {
		t.Fatal(err)
	}
	params := viaMigrate + "to: 2\nplan_digest: any\nlock_timeout: 200ms\npause: 10ms\nretries: 2"
	run(t, migrations.Apply, params, world(url, files, nil), "fail: 0002_total.up.sql failed (0 of 1 were applied before): canceling statement due to lock timeout (SQLSTATE 55P03)...rolled back, after 3 tries; it waited for process ... (allclear, idle in transaction, its transaction ... s old: BEGIN; SELECT * FROM orders)")
	if v := version(t, url); v != "1 false" {
		t.Errorf("at %s", v)
	}
	free := func(env *check.Env) {
		world(url, files, nil)(env)
		env.Sleep = func(ctx context.Context, _ time.Duration) error { // the holder ends during the first pause
			return holder.Script(ctx, "COMMIT")
		}
	}
	o := run(t, migrations.Apply, params, free, "pass: 1 migrations in ...from version 1 to 2")
	if o.Facts["retried"] != "1" {
		t.Errorf("facts %v", o.Facts)
	}
}

// TestUnrehearsed: where a rehearsal was, what is applied is what was rehearsed.
func TestUnrehearsed(t *testing.T) {
	url := applied(t, "2", "false")
	plan := run(t, migrations.Status, viaMigrate+"mode: plan", world(url, steps(), nil), "pass: ...").Sets
	run(t, migrations.Apply, viaMigrate+"rehearsed: required", world(url, steps(), plan), "fail: the migrations have not been rehearsed: ...; nothing was changed")
	other := maps.Clone(plan)
	other["migrations.rehearsed"] = strings.Repeat("0", 64)
	run(t, migrations.Apply, viaMigrate, world(url, steps(), other), "fail: the files to apply are not the rehearsed ones: ...0003_index...; nothing was changed")
	run(t, migrations.Apply, viaMigrate+"plan_digest: any", world(url, steps(), other), "fail: the files to apply are not the rehearsed ones: ...")
	other["migrations.rehearsed"] = plan["migrations.plan"]
	run(t, migrations.Apply, viaMigrate+"rehearsed: required", world(url, steps(), other), "pass: 1 migrations in ...")
}

// TestInvalidIndexes: a build that failed leaves an index that every write keeps up
// and no query uses. It is named, and never taken for the one that is wanted.
func TestInvalidIndexes(t *testing.T) {
	url := applied(t, "2", "false")
	postgrestest.Exec(t, url, "INSERT INTO orders VALUES (1, 'a', 7), (2, 'b', 7)")
	unique := with(steps(), "0003_index.up.sql", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS orders_total ON orders (total);")
	run(t, migrations.Apply, viaMigrate+"plan_digest: any", world(url, unique, nil),
		"fail: 0003_index.up.sql failed ...could not create unique index...; invalid indexes are left: orders_total (DROP INDEX CONCURRENTLY orders_total); ...dirty at version 3")
	postgrestest.Exec(t, url, "UPDATE schema_migrations SET version = 2, dirty = false")
	run(t, migrations.Apply, viaMigrate+"plan_digest: any", world(url, unique, nil),
		"fail: 0003_index.up.sql builds index orders_total, which is there and invalid, left by a build that failed: DROP INDEX CONCURRENTLY orders_total; nothing was changed")
	postgrestest.Exec(t, url, "DROP INDEX orders_total; DELETE FROM orders WHERE id = 2")
	run(t, migrations.Apply, viaMigrate+"plan_digest: any", world(url, unique, nil), "pass: 1 migrations in ...")
	hidden := with(unique, "0004_more.up.sql", "-- allclear: no-transaction\nDO $$ BEGIN UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_total'::regclass; END $$;")
	run(t, migrations.Apply, viaMigrate+"plan_digest: any", world(url, hidden, nil), "fail: 0004_more.up.sql failed ...: invalid indexes are left: orders_total (DROP INDEX CONCURRENTLY orders_total); ...dirty at version 4")
}

// TestProgress: while a build waits, its log says for whom.
func TestProgress(t *testing.T) {
	url := applied(t, "2", "false")
	older := postgrestest.Open(t, url)
	if err := older.Script(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	o := run(t, migrations.Apply, viaMigrate+"plan_digest: any", func(env *check.Env) {
		world(url, steps(), nil)(env)
		env.Log = waiter(func(line string) {
			if strings.HasPrefix(line, "waits for process") {
				if err := older.Script(t.Context(), "COMMIT"); err != nil {
					t.Error(err)
				}
				select {
				case seen <- line:
				default:
				}
			}
		})
	}, "pass: 1 migrations in ...")
	if line := <-seen; !strings.Contains(line, "allclear, idle in transaction") {
		t.Errorf("the log says %s; outcome %+v", line, o)
	}
}

// waiter is a log that is read as it is written.
type waiter func(line string)

func (w waiter) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

// TestKilledOnTheWay: the connection dies while a CONCURRENTLY file waits for an
// old transaction; the table is dirty and the probe says partly.
func TestKilledOnTheWay(t *testing.T) {
	url := postgrestest.Start(t)
	env := checktest.NewEnv(t)
	world(url, steps(), nil)(env)
	inst, problems := checktest.Decode(migrations.Apply, viaMigrate+"plan_digest: any", nil)
	if problems != nil {
		t.Fatal(problems)
	}
	probe := func(want check.Progress, reason string) {
		t.Helper()
		got, o, err := inst.Prober().Probe(t.Context(), env)
		if err != nil || got != want || !strings.Contains(o.Reason, reason) {
			t.Errorf("probe = %s %q %v, want %s", got, o.Reason, err, want)
		}
	}
	probe(check.NotDone, "at version none, not at 3")
	old := postgrestest.Open(t, url)
	if err := old.Script(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := inst.Runner.Run(t.Context(), env)
		ended <- err
	}()
	watcher := postgrestest.Open(t, url)
	waitFor(t, watcher, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid() AND wait_event_type = 'Lock' AND datname = current_database()")
	if _, _, err := inst.Prober().Probe(t.Context(), env); err == nil || !strings.Contains(err.Error(), "still going on") {
		t.Errorf("probe while it runs: %v", err)
	}
	if err := watcher.Script(t.Context(), "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE '%CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid() AND datname = current_database()"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a connection that died is not a verdict")
	}
	if v := version(t, url); v != "3 true" {
		t.Errorf("table says %s", v)
	}
	probe(check.Partly, "dirty at version 3")
	postgrestest.Exec(t, url, "DROP INDEX IF EXISTS orders_total; UPDATE schema_migrations SET version = 2, dirty = false")
	probe(check.Partly, "begun and not finished: from version none to 3, the database is at 2")
	if err := old.Script(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	o, err := inst.Runner.Run(t.Context(), env) // repaired by hand, the rest goes through
	if err != nil || o.Verdict != check.Pass || o.Sets["migrations.before"] != "none" {
		t.Fatalf("again: %+v %v", o, err)
	}
	probe(check.Done, "at version 3")
	back, err := inst.Undoer().Undo(t.Context(), env, check.Outcome{})
	if err != nil || back.Verdict != check.Pass || version(t, url) != "none" {
		t.Errorf("undo: %+v %v", back, err)
	}
}

// waitFor asks until the answer is true; a server cannot signal its waits.
func waitFor(t *testing.T, c *postgres.Conn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		v, err := c.Value(ctx, sql)
		if err != nil {
			t.Fatal(err)
		}
		if v == "t" {
			return
		}
	}
}

// TestTransactions: files with their own BEGIN, and those that fail outside a
// transaction.
func TestTransactions(t *testing.T) {
	url := postgrestest.Start(t)
	files := map[string]string{"1_a.up.sql": "BEGIN;\nCREATE TABLE a (x int);\nCOMMIT;", "2_b.up.sql": "-- allclear: no-transaction\nCREATE TABLE b (x int);\nSELECT 1/0;"}
	o := run(t, migrations.Apply, viaMigrate+"plan_digest: any", world(url, files, nil),
		"fail: 2_b.up.sql failed (1 of 2 were applied before): division by zero (SQLSTATE 22012); it does not run in a transaction, so part of it may be in: the table is left dirty at version 2")
	if o.Sets["migrations.after"] != "1" || version(t, url) != "2 true" {
		t.Errorf("%v, table %s", o.Sets, version(t, url))
	}
	run(t, migrations.Apply, viaMigrate+"plan_digest: any", world(url, files, nil), "fail: table schema_migrations is dirty at version 2...")
}

// lockID is golang-migrate's advisory lock for a database so named.
func lockID(database string) string {
	return strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte("public\x00schema_migrations\x00"+database))*1486364155), 10)
}

func TestPages(t *testing.T) {
	checktest.Page(t, migrations.Status)
	checktest.Page(t, migrations.Apply)
}

// TestTableInAnotherSchema: a version table that the session does not see is not
// one that does not exist.
func TestTableInAnotherSchema(t *testing.T) {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, `CREATE SCHEMA app; CREATE TABLE app.schema_migrations (version bigint not null primary key, dirty boolean not null);
		INSERT INTO app.schema_migrations VALUES (3, false)`)
	w := world(url, steps(), map[string]string{"migrations.plan": "x"})
	const want = "error: table schema_migrations is in schema app: say table: app.schema_migrations"
	checktest.Run(t, migrations.Status, []checktest.Case{
		{Name: "plan", Params: viaMigrate + "mode: plan", Env: w, Want: want},
		{Name: "named", Params: viaMigrate + "table: app.schema_migrations", Env: w, Want: "pass: 3 of 3 migrations are applied..."},
	})
	checktest.Run(t, migrations.Apply, []checktest.Case{{Name: "apply", Params: viaMigrate + "plan_digest: any", Env: w, Want: want}})
}
