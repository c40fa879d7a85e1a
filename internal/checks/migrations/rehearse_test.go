package migrations_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/migrations"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// shop makes a database at version 1 with rows, and a copy of it.
func shop(t *testing.T) (live, copied string) {
	t.Helper()
	live, copied = postgrestest.Start(t), postgrestest.Start(t)
	for _, url := range []string{live, copied} {
		c, err := postgrestest.Server(t, url).Open(t.Context(), postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Script(t.Context(), `CREATE TABLE teams (id int PRIMARY KEY);
			CREATE TABLE orders (id int PRIMARY KEY, team int NOT NULL, note varchar(20), total int);
			INSERT INTO teams SELECT generate_series(1, 10);
			INSERT INTO orders SELECT g, g % 10 + 1, 'note', g FROM generate_series(1, 3000) g;
			CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null);
			INSERT INTO schema_migrations VALUES (1, false)`)
		c.Close() // nobody may be connected to what is copied
		if err != nil {
			t.Fatal(err)
		}
	}
	postgrestest.Exec(t, live, "ANALYZE")
	return live, copied
}

// accepted lets the tests rehearse on their own server, where others are at work.
const accepted = "db: env:DB\nbase: env:COPY\ntool: golang-migrate\naccept: [same-server, busy]\nidle: 100ms\n"

// next is a checkout with version 1 and one more migration.
func next(up, down string) map[string]string {
	files := map[string]string{"0001_shop.up.sql": "SELECT 1;", "0001_shop.down.sql": "SELECT 1;", "0002_next.up.sql": up}
	if down != "" {
		files["0002_next.down.sql"] = down
	}
	return files
}

func rehearsed(live, copied string, files map[string]string, facts map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		world(live, files, facts)(env)
		checktest.SetSecrets(env, checktest.Secrets{"env:DB": live, "env:COPY": copied})
	}
}

// onlyBack leaves out the passes that say nothing about going back.
const onlyBack = "direction: forward-back-forward\ncontention: false\nfaults: off\n"

func TestRehearse(t *testing.T) {
	live, copied := shop(t)
	every := 3 // of the cases; all of them with ALLCLEAR_SLOW=1, as in scripts/slow
	if os.Getenv("ALLCLEAR_SLOW") != "" {
		every = 1
	}
	for i, c := range []struct {
		name, up, down, params, want string
		facts                        map[string]string
	}{
		{name: "cheap", up: "ALTER TABLE orders ADD COLUMN region text;", want: "pass: 1 migrations were applied to a copy in ...; way back: restore",
			facts: map[string]string{"faults_for_a_person": "0", "lock orders": "AccessExclusiveLock, ..."}},
		{name: "there and back", up: "ALTER TABLE orders ADD COLUMN region text;", down: "ALTER TABLE orders DROP COLUMN region;",
			params: onlyBack, want: "pass: ...; way back: code and down"},
		{name: "the present release works on", up: "ALTER TABLE orders ADD COLUMN region text;",
			params: `old_smoke: [sh, -c, 'psql -X -q -d "$DATABASE_URL" -c "SELECT note FROM orders LIMIT 1"']`, want: "pass: ...; way back: code"},
		{name: "the present release does not", up: "ALTER TABLE orders RENAME COLUMN note TO remark;",
			params: `old_smoke: [sh, -c, 'psql -X -q -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -c "SELECT note FROM orders LIMIT 1"']`,
			want:   "pass: ...; way back: restore", facts: map[string]string{"way_back_why": "...does not work on the new structure: sh: code 1: ..."}},
		{name: "values do not come back", up: "UPDATE orders SET note = upper(note);", down: "SELECT 1;", params: onlyBack,
			want: "fail: the migrations cannot be taken back by going down: public.orders.note has other values after going back (3000 before, 3000 after)"},
		{name: "a column dropped", up: "ALTER TABLE orders DROP COLUMN total;", down: "ALTER TABLE orders ADD COLUMN total int;", params: onlyBack,
			want: "fail: ...public.orders.total has other values after going back (3000 before, 0 after)"},
		{name: "the structure does not come back", up: "CREATE INDEX ON orders (team); ALTER TABLE orders DROP CONSTRAINT orders_pkey;", down: "DROP INDEX orders_team_idx;", params: onlyBack,
			want: "fail: ...the structure differs after going back: -constraint ...orders_pkey..."},
		{name: "users write in between", up: "ALTER TABLE orders ALTER COLUMN team DROP NOT NULL, ALTER COLUMN note TYPE varchar(40);",
			down: "ALTER TABLE orders ALTER COLUMN team SET NOT NULL, ALTER COLUMN note TYPE varchar(20);", params: onlyBack,
			want: "fail: ...taking back 0002_next: ...after users have written (orders.team may be NULL; orders.note has become character varying(40)..."},
		{name: "no way back", up: "SELECT 1;", params: onlyBack, want: "fail: ...0002_next has no way back"},
		{name: "refused", up: "ALTER TABLE orders ADD COLUMN id int;", want: "fail: 0002_next failed on the copy: ...already exists..."},
		{name: "too long a lock", up: "ALTER TABLE orders ALTER COLUMN total TYPE bigint; SELECT pg_sleep(0.6);", params: "contention: false",
			want: "fail: 0002_next: orders is locked (AccessExclusiveLock) for an expected ..., because of \"SELECT pg_sleep(0.6)\"; want at most 1s..."},
		{name: "users wait", up: "ALTER TABLE orders ADD COLUMN a int; SELECT pg_sleep(0.4);", params: "max_wait: 350ms",
			want: "fail: ...reads of orders waited ... beside an idle transaction; want at most 350ms..."},
		{name: "over budget", up: "SELECT pg_sleep(0.1);", params: "budget: 50ms", want: "fail: the migrations take an expected ...; want at most 50ms"},
		{name: "an index left invalid", params: `up: [sh, -c, 'psql -X -q -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -c "CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_team ON orders (team)"']`,
			want: "fail: sh, interrupted in the middle of CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_team ON orders (team) and run again, says it is done and leaves invalid indexes: orders_team"},
		{name: "an interruption needs a person", up: "CREATE INDEX CONCURRENTLY orders_team ON orders (team);",
			want: "pass: ...", facts: map[string]string{"faults_for_a_person": "3"}},
		{name: "an interruption must not", up: "CREATE INDEX CONCURRENTLY orders_team ON orders (team);", params: "faults: require",
			want: "fail: 0002_next, interrupted ...does not go on when it is run again: ...dirty..."},
		{name: "another way is tried", params: "contention: false\nfaults: off",
			up:   "CREATE INDEX orders_note ON orders (note); ALTER TABLE orders ADD CHECK (total > 0), ALTER COLUMN total SET NOT NULL; INSERT INTO teams VALUES (99);",
			want: "pass: ...", facts: map[string]string{"rewrites": "2 statements can be written so that nobody waits: tried on a copy"}},
		{name: "another way is too late", params: "contention: false\nfaults: off\nmax_wait: 100ms", up: "CREATE INDEX orders_note ON orders (note); SELECT pg_sleep(0.2);",
			want: "fail: ...orders is locked (ShareLock) for an expected ...; rewrites.sql has a way that was tried on a copy and makes nobody wait"},
		{name: "no other way is known", params: "contention: false\nfaults: off", up: "ALTER TABLE orders ALTER COLUMN total TYPE bigint;",
			want: "pass: ...", facts: map[string]string{"rewrites": "no other way to write what keeps users waiting: no way to do it in place is known"}},
		{name: "few rows", up: "SELECT 1;", params: "min_rows_ratio: 200%", want: "fail: the copy has ... rows, production about ...: ... %, want at least 200 %"},
	} {
		if i%every > 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			o := rehearse(t, accepted+c.params, rehearsed(live, copied, next(c.up, c.down), nil), c.want)
			for name, want := range c.facts {
				checktest.Match(t, want, o.Facts[name])
			}
			if c.up != "" && strings.HasPrefix(c.want, "pass") != (o.Sets["migrations.rehearsed"] != "") {
				t.Errorf("sets %v", o.Sets)
			}
			nothingLeft(t, live)
		})
	}
}

func rehearse(t *testing.T, params string, world func(*check.Env), want string) check.Outcome {
	t.Helper()
	var out check.Outcome
	checktest.Run(t, migrations.Rehearse, []checktest.Case{{Name: "run", Params: params, Env: world, Want: want, Once: true, Timeout: time.Minute,
		Check: func(_ *testing.T, o check.Outcome) { out = o }}})
	return out
}

// nothingLeft holds that a rehearsal has dropped what it made.
func nothingLeft(t *testing.T, url string) {
	t.Helper()
	if n := postgrestest.Value(t, url, "SELECT count(*) FROM pg_database WHERE datname LIKE '"+postgres.ScratchPrefix+"%'"); n != "0" {
		t.Errorf("%s databases are left", n)
	}
}

func TestRehearseRefuses(t *testing.T) {
	live, copied := shop(t)
	files := next("ALTER TABLE orders ADD COLUMN region text;", "")
	base := "db: env:DB\nbase: env:COPY\ntool: golang-migrate\n"
	for _, c := range []struct{ name, params, want string }{
		{"the same server", base, "fail: the server to rehearse on looks like production: ...it is the server of ...accept: [...same-server...]"},
		{"itself", strings.Replace(accepted, "base: env:COPY", "base: env:DB", 1), "fail: base is the database itself..."},
		{"no backup", "db: env:DB\ntool: golang-migrate\naccept: [same-server, busy]", "error: ...a backup to restore: run postgres.backup before, or say from or base..."},
		{"no such backup", "db: env:DB\ntool: golang-migrate\naccept: [same-server, busy]\nfrom: /nonexistent.dump", "fail: /nonexistent.dump cannot be restored: ..."},
		{"a folder without migrations", accepted + "dir: nowhere", "error: no migrations in nowhere"},
		{"another tool's table", strings.Replace(accepted, "golang-migrate", "sql", 1), "error: table schema_migrations is golang-migrate's..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			rehearse(t, c.params, rehearsed(live, copied, files, nil), c.want)
			nothingLeft(t, live)
		})
	}
	checktest.Run(t, migrations.Rehearse, []checktest.Case{
		{Name: "silent", Params: accepted, Env: rehearsed(postgrestest.Silent(t), copied, files, nil), Timeout: 100 * time.Millisecond, Want: "error: connect to ...deadline exceeded"},
		{Name: "nothing pending", Params: accepted, Env: rehearsed(live, copied, map[string]string{"0001_shop.up.sql": "SELECT 1;"}, nil), Timeout: time.Minute, Want: "pass: nothing to rehearse: no migration is pending"},
	})
}

// Django and others write the time at which a migration was applied: its statements
// are others each time, and are interrupted all the same.
func TestRehearseTimesInStatements(t *testing.T) {
	live, copied := shop(t)
	up := `up: [sh, -c, 'psql -X -q -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -c "ALTER TABLE orders ADD COLUMN IF NOT EXISTS region text" -c "UPDATE orders SET note = note WHERE $(date +%s%N) > 0" -c "CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_region /* $(date +%s%N) */ ON orders (region)"']`
	o := rehearse(t, accepted+"contention: false\n"+up, rehearsed(live, copied, nil, nil),
		"fail: sh, interrupted in the middle of CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_region ...says it is done and leaves invalid indexes: orders_region")
	if o.Facts["faults_tried"] != "3" {
		t.Errorf("facts %v", o.Facts)
	}
	nothingLeft(t, live)
}

// TestRehearseABackup restores what postgres.backup would have made, rehearses with
// another tool's program, and learns from earlier deployments.
func TestRehearseABackup(t *testing.T) {
	live, _ := shop(t)
	file := filepath.Join(t.TempDir(), "shop.dump")
	if out, err := exec.CommandContext(t.Context(), "pg_dump", "-Fc", "-f", file, "-d", live).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	params := "db: env:DB\naccept: [same-server, busy]\nidle: 100ms\ndirection: forward-back-forward\nup: [psql, -X, -q, -v, ON_ERROR_STOP=1, -d, postgres, -f, up.sql]\ndown: [sh, down.sh]"
	params = strings.Replace(params, "[psql, -X, -q, -v, ON_ERROR_STOP=1, -d, postgres, -f, up.sql]", `[sh, -c, 'psql -X -q -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -c "BEGIN" -c "CREATE INDEX orders_note ON orders (note)" -c "ALTER TABLE orders ADD CHECK (total > 0)" -c "COMMIT"']`, 1)
	params = strings.Replace(params, "[sh, down.sh]", `[sh, -c, 'psql -X -q -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -c "DROP INDEX orders_note" -c "ALTER TABLE orders DROP CONSTRAINT orders_total_check"']`, 1)
	o := rehearse(t, params, func(env *check.Env) {
		rehearsed(live, live, nil, map[string]string{"backup.path": file})(env)
		env.Ledger = &checktest.Ledger{Facts: map[string]string{"backup.path": file}, Past: map[string][]check.Recorded{
			"migration.estimate.unlearned": {{Run: "a", Value: "1.0"}, {Run: "b", Value: "2.0"}, {Run: "c", Value: "1.0"}},
			"migration.seconds":            {{Run: "a", Value: "2.0"}, {Run: "b", Value: "2.0"}, {Run: "c", Value: "3.0"}, {Run: "d", Value: "1"}},
		}}
	}, "pass: 1 migrations were applied to a copy in ...; way back: code and down")
	if o.Facts["estimate_from_runs"] != "3" || o.Facts["estimate_factor"] != "2.00" {
		t.Errorf("facts %v", o.Facts)
	}
	if _, ok := o.Sets["migrations.rehearsed"]; ok {
		t.Error("another tool's plan has no digest of ours")
	}
	if !slices.Contains(slices.Collect(maps.Keys(o.Facts)), "lock orders") || !strings.HasPrefix(o.Facts["lock orders"], "AccessExclusiveLock") {
		t.Errorf("facts %v", o.Facts)
	}
	nothingLeft(t, live)
}
