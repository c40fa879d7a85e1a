package postgres_test

import (
	"context"
	"encoding/json"
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
	"allclear.dev/allclear/internal/checks/postgres"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

func TestPages(t *testing.T) {
	checktest.Page(t, postgres.Backup)
	checktest.Page(t, postgres.Restore)
}

const shop = `CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL, kind varchar(10) CHECK (kind IN ('a','b')));
CREATE TABLE "Order Line" (id int PRIMARY KEY, customer int REFERENCES customer, doc json);
CREATE TABLE empty (a int);
CREATE VIEW names AS SELECT name FROM customer;
INSERT INTO customer (name, kind) SELECT md5(g::text), 'a' FROM generate_series(1, 3000) g;
INSERT INTO "Order Line" SELECT g, g, '{"a": 1}' FROM generate_series(1, 50) g;`

func shopDatabase(t *testing.T) string {
	t.Helper()
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, shop)
	return url
}

// in gives a world with the database's address and a folder of backups.
func in(url, folder string, facts map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		checktest.SetSecrets(env, checktest.Secrets{"env:DB": url})
		env.Ledger = &checktest.Ledger{Facts: facts}
		if folder != "" {
			if err := os.Symlink(folder, filepath.Join(env.Dir, "backups")); err != nil {
				panic(err)
			}
		}
	}
}

const named = "db: env:DB\nname: predeploy-1.2.3\n"

func run(t *testing.T, typ *check.Type, params string, world func(*check.Env), want string) check.Outcome {
	t.Helper()
	var out check.Outcome
	checktest.Run(t, typ, []checktest.Case{{Name: "run", Params: params, Env: world, Want: want, Once: true, Timeout: 30 * time.Second,
		Check: func(_ *testing.T, o check.Outcome) { out = o }}})
	return out
}

// archives lists the folder, without the random parts.
func archives(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func noScratch(t *testing.T, url string) {
	t.Helper()
	if n := postgrestest.Value(t, url, `SELECT count(*) FROM pg_database WHERE datname LIKE 'allclear\_scratch\_%'`); n != "0" {
		t.Errorf("%s scratch databases were left", n)
	}
}

func TestCreate(t *testing.T) {
	for _, format := range []string{"custom", "directory"} {
		t.Run(format, func(t *testing.T) {
			url, folder := shopDatabase(t), t.TempDir()
			o := run(t, postgres.Backup, named+"verify: restore\nformat: "+format, in(url, folder, nil),
				"pass: backups/predeploy-1.2.3_...dump: ... bytes, 3 tables, 3050 rows, readable (restore)")
			if len(o.Sets["backup.sha256"]) != 64 || o.Sets["backup.at"] == "" || o.Facts["server"] == "" {
				t.Errorf("outcome %+v", o)
			}
			if files := archives(t, folder); len(files) != 2 {
				t.Errorf("files %v", files)
			}
			run(t, postgres.Backup, named+"mode: verify\nverify: restore", in(url, folder, o.Sets), "pass: backups/...is there and unchanged: ...3050 rows...")
			noScratch(t, url)
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	url, empty := shopDatabase(t), postgrestest.Start(t)
	postgrestest.Exec(t, empty, "CREATE TABLE a (x int)")
	name := postgrestest.Server(t, url).Name()
	history := func(bytes string) func(*check.Env) {
		return func(env *check.Env) {
			in(url, "", nil)(env)
			env.Ledger = &checktest.Ledger{Past: map[string][]check.Recorded{"backup.bytes." + name: {{Run: "r-0", Value: bytes}}}}
		}
	}
	locked := shopDatabase(t)
	if err := postgrestest.Open(t, locked).Script(t.Context(), "BEGIN; LOCK TABLE customer"); err != nil {
		t.Fatal(err)
	}
	checktest.Run(t, postgres.Backup, []checktest.Case{
		{Name: "no rows", Params: named, Env: in(empty, "", nil), Want: "fail: ...holds no rows in 1 tables: is it the right database?"},
		{Name: "much smaller", Params: named, Env: history("900000000"), Want: "fail: the new backup has ... bytes, the last one (run r-0) had 900000000: want at least 720000000"},
		{Name: "bad history", Params: named, Env: history("many"), Want: `error: ..."many" is not a number`},
		{Name: "too small", Params: named + "min_size: 1GB", Env: in(url, "", nil), Want: "fail: the new backup has ... bytes, want at least 1000000000"},
		{Name: "no programs", Params: named + "bin: /nonexistent", Env: in(url, "", nil), Want: "error: no pg_dump for PostgreSQL ...(found: nothing else)"},
		{Name: "locked", Params: named, Env: in(locked, "", nil), Timeout: 300 * time.Millisecond, Want: "error: ...deadline exceeded"},
		{Name: "silent", Params: named, Env: in(postgrestest.Silent(t), "", nil), Timeout: 100 * time.Millisecond, Want: "error: connect to ...deadline exceeded"},
		{Name: "bad name", Params: "db: env:DB\nname: ../x", Want: "problem: ...name: want letters..."},
		{Name: "option as path", Params: named + "dest: -rf", Want: `problem: ...dest: "-rf" is not a path`},
	})
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*.partial")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// record reads, changes and writes the record beside the only archive.
func record(t *testing.T, folder string, change func(map[string]any)) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(folder, "*.json"))
	if len(files) != 1 {
		t.Fatalf("records %v", files)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	change(r)
	if data, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamage: every way in which an archive goes bad is a fail, and what cannot
// be read about it is an error.
func TestDamage(t *testing.T) {
	url := shopDatabase(t)
	made := t.TempDir()
	sets := run(t, postgres.Backup, named, in(url, made, nil), "pass: ...").Sets
	archive := filepath.Join(made, filepath.Base(sets["backup.path"]))
	good, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	reseal := func(t *testing.T, folder string, data []byte) { // as if the damage had been there at birth
		write(t, filepath.Join(folder, filepath.Base(archive)), data)
		sum, err := exec.CommandContext(t.Context(), "sha256sum", filepath.Join(folder, filepath.Base(archive))).Output()
		if err != nil {
			t.Fatal(err)
		}
		record(t, folder, func(r map[string]any) { r["sha256"], r["bytes"] = string(sum[:64]), len(data) })
	}
	flipped := slices.Clone(good)
	flipped[len(good)/2] ^= 0xff
	schemaOnly := filepath.Join(t.TempDir(), "schema-only")
	dump := exec.CommandContext(t.Context(), "pg_dump", "--dbname="+url, "--format=custom", "--schema-only", "--exclude-schema=allclear", "--file="+schemaOnly)
	if out, err := dump.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	dataless, err := os.ReadFile(schemaOnly)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, params, want string
		damage             func(t *testing.T, folder string)
	}{
		{"whole", "mode: exists", "pass: ...", func(*testing.T, string) {}},
		{"gone", "mode: exists", "fail: there is no backup at backups/...", func(t *testing.T, f string) { remove(t, f, ".dump") }},
		{"empty", "mode: exists", "fail: ...has 0 bytes, was made with ...", func(t *testing.T, f string) { write(t, filepath.Join(f, filepath.Base(archive)), nil) }},
		{"cut", "mode: exists", "fail: ...bytes, was made with...", func(t *testing.T, f string) {
			write(t, filepath.Join(f, filepath.Base(archive)), good[:len(good)-1])
		}},
		{"flipped", "mode: exists", "fail: ...has been changed since it was made...", func(t *testing.T, f string) { write(t, filepath.Join(f, filepath.Base(archive)), flipped) }},
		{"no record", "mode: exists\nfrom: " + filepath.Base(archive), "error: read backup's record: ...", func(t *testing.T, f string) { remove(t, f, ".json") }},
		{"record cut", "mode: exists", "error: read backup's record ...", func(t *testing.T, f string) {
			write(t, filepath.Join(f, filepath.Base(archive)+".json"), []byte(`{"path": "x`))
		}},
		{"too old", "mode: exists\nmax_age: 1h", "fail: ...old, want at most 1h0m0s", func(t *testing.T, f string) {
			record(t, f, func(r map[string]any) { r["at"] = time.Now().Add(-2 * time.Hour) })
		}},
		{"from the future", "mode: exists", "error: ...in the future: a clock is wrong", func(t *testing.T, f string) {
			record(t, f, func(r map[string]any) { r["at"] = time.Now().Add(2 * time.Hour) })
		}},
		{"cut at birth", "mode: verify", "fail: ...it cannot be read to its end: ...", func(t *testing.T, f string) { reseal(t, f, good[:len(good)/2]) }},
		{"flipped at birth", "mode: verify", "fail: ...it cannot be read to its end: ...", func(t *testing.T, f string) { reseal(t, f, flipped) }},
		{"not an archive", "mode: verify", "fail: ...its contents cannot be listed: ...", func(t *testing.T, f string) { reseal(t, f, []byte("CREATE TABLE x;")) }},
		{"without rows, decoded", "mode: verify", "pass: ...", func(t *testing.T, f string) { reseal(t, f, dataless) }},
		{"without rows, restored", "mode: verify\nverify: restore", "fail: ...differs from what was dumped: public.Order Line has 0 rows, want 50; ...", func(t *testing.T, f string) { reseal(t, f, dataless) }},
		{"no program", "mode: verify\nbin: /nonexistent", "error: no pg_dump...", func(*testing.T, string) {}},
		{"of another database", "mode: exists\nfrom: latest", "fail: there is no backup of ...", func(t *testing.T, f string) {
			record(t, f, func(r map[string]any) { r["database"] = "elsewhere:5432/shop" })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(made)); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, folder)
			facts := maps.Clone(sets)
			if strings.Contains(tt.params, "from:") {
				facts = nil
			}
			run(t, postgres.Backup, named+tt.params, in(url, folder, facts), tt.want)
		})
	}
	run(t, postgres.Backup, named+"mode: exists", in(url, filepath.Join(made, "nowhere"), nil), "fail: there is no backup of ... in backups")
	noScratch(t, url)
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, folder, suffix string) {
	t.Helper()
	for _, file := range archives(t, folder) {
		if strings.HasSuffix(file, suffix) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestKeepAndProbe: three backups, two stay; one that fails removes none; each
// attempt finds its own.
func TestKeepAndProbe(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	env := checktest.NewEnv(t)
	in(url, folder, nil)(env)
	inst, problems := checktest.Decode(postgres.Backup, named+"verify: list\nkeep: 2", nil)
	if problems != nil {
		t.Fatal(problems)
	}
	write(t, filepath.Join(folder, "other.dump"), []byte("not ours"))
	for _, key := range []string{"one", "two", "three"} {
		env.Key = key
		if got, _, err := inst.Prober().Probe(t.Context(), env); err != nil || got != check.NotDone {
			t.Errorf("before %s: %s %v", key, got, err)
		}
		o, err := inst.Runner.Run(t.Context(), env)
		if err != nil || o.Verdict != check.Pass {
			t.Fatalf("%+v %v", o, err)
		}
		got, found, err := inst.Prober().Probe(t.Context(), env)
		if err != nil || got != check.Done || found.Sets["backup.path"] != o.Sets["backup.path"] {
			t.Errorf("after %s: %s %+v %v", key, got, found, err)
		}
	}
	if files := archives(t, folder); len(files) != 5 { // two with their records, and what is not ours
		t.Errorf("files %v", files)
	}
	env.Key = "one"
	if got, _, _ := inst.Prober().Probe(t.Context(), env); got != check.NotDone {
		t.Errorf("the removed one: %s", got)
	}
	before := archives(t, folder)
	bad, _ := checktest.Decode(postgres.Backup, named+"keep: 1\nmin_size: 1GB", nil)
	if o, err := bad.Runner.Run(t.Context(), env); err != nil || o.Verdict != check.Fail {
		t.Errorf("%+v %v", o, err)
	}
	if after := archives(t, folder); !slices.Equal(before, after) {
		t.Errorf("a failed backup changed the folder: %v", after)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	if _, err := inst.Runner.Run(ctx, env); err == nil {
		return // it was faster; nothing was stopped
	}
	for _, file := range archives(t, folder) {
		if strings.HasSuffix(file, ".partial") {
			t.Errorf("a stopped backup left %s", file)
		}
	}
}

func TestRestoreScratch(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	sets := run(t, postgres.Backup, named, in(url, folder, nil), "pass: ...").Sets
	postgrestest.Exec(t, url, "INSERT INTO customer (name) SELECT 'new' FROM generate_series(1, 7)")
	own := postgrestest.Server(t, url).Name()
	history := func(age time.Duration, of string) func(*check.Env) {
		return func(env *check.Env) {
			in(url, folder, sets)(env)
			env.Ledger.(*checktest.Ledger).Past = map[string][]check.Recorded{"restore.seconds." + of: {{Run: "r-0", Value: "12.5", At: time.Now().Add(-age)}}}
		}
	}
	checktest.Run(t, postgres.Restore, []checktest.Case{
		{Name: "restored", Params: "db: env:DB\nchecks: [SELECT count(*) = 3000 FROM customer]", Env: in(url, folder, sets),
			Want: "pass: backups/...was restored in ... s and holds what was dumped: 3 tables, 3050 rows; going back to it now would lose 7 rows and ...of changes",
			Check: func(t *testing.T, o check.Outcome) {
				if o.Sets["restore.seconds"] == "" || o.Sets["restore.rows_lost"] != "7" || o.Facts["rows_lost_in"] != "public.customer 7" {
					t.Errorf("outcome %+v", o)
				}
			}},
		{Name: "a question says no", Params: "db: env:DB\nchecks: [SELECT count(*) > 5000 FROM customer]", Env: in(url, folder, sets), Want: "fail: ...check \"SELECT count(*) > 5000 FROM customer\" is false"},
		{Name: "a question without answer", Params: "db: env:DB\nchecks: [SELECT NULL::bool]", Env: in(url, folder, sets), Want: "error: check \"SELECT NULL::bool\": want one value, got NULL"},
		{Name: "too slow", Params: "db: env:DB\nwithin: 1ms", Env: in(url, folder, sets), Want: "fail: ...want at most 1ms"},
		{Name: "fresh enough", Params: "db: env:DB\nmax_age: 720h", Env: history(time.Hour, own), Want: "pass: run r-0 restored a backup 1h0m0s ago, in 12.5 s"},
		{Name: "stale", Params: "db: env:DB\nmax_age: 1h", Env: history(2*time.Hour, own), Want: "pass: backups/...was restored..."},
		{Name: "another database's success", Params: "db: env:DB\nmax_age: 720h", Env: history(time.Hour, "elsewhere:5432/x"), Want: "pass: backups/...was restored..."},
		{Name: "no backup", Params: "db: env:DB", Env: in(url, "", nil), Want: "fail: there is no backup..."},
		{Name: "no program", Params: "db: env:DB\nbin: /nonexistent", Env: in(url, folder, sets), Want: "error: no pg_dump..."},
		{Name: "silent", Params: "db: env:DB\nfrom: " + sets["backup.path"], Env: in(postgrestest.Silent(t), folder, sets), Timeout: 300 * time.Millisecond, Want: "error: connect to ...deadline exceeded"},
		{Name: "stopped on the way", Params: "db: env:DB", Env: in(url, folder, sets), Timeout: 80 * time.Millisecond, Want: "error: ..."},
	})
	noScratch(t, url)
}

// TestRestoreLive: the backup takes the database's place, the sessions end, the
// old database is kept, and the deployment lease lives on with its token.
func TestRestoreLive(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	server := postgrestest.Server(t, url)
	postgrestest.Exec(t, url, `ALTER DATABASE `+pg.Quote(server.Database())+` SET work_mem = '5MB'; GRANT TEMPORARY ON DATABASE `+pg.Quote(server.Database())+` TO pg_monitor`)
	leases := pg.NewLeases(server)
	lease, err := leases.Acquire(t.Context(), pg.Claim{Environment: "production", Owner: "laptop", Run: "r-1"})
	if err != nil {
		t.Fatal(err)
	}
	sets := run(t, postgres.Backup, named, in(url, folder, nil), "pass: ...").Sets
	postgrestest.Exec(t, url, "INSERT INTO customer (name) VALUES ('late'), ('later'); DROP TABLE empty")
	session := postgrestest.Open(t, url)
	account := run(t, postgres.Restore, "db: env:DB\ninto: account", in(url, folder, sets), "pass: going back to the backup of ... would lose 2 rows and ...of changes: public.customer 2")
	o := run(t, postgres.Restore, goLive, approved(url, folder, "pass", sets, account.Sets), "pass: ...is now the backup of ...; 2 rows and ...of changes are lost, the old database is kept as ...")
	if n := postgrestest.Value(t, url, "SELECT count(*) FROM customer"); n != "3000" {
		t.Errorf("%s customers", n)
	}
	if n := postgrestest.Value(t, url, "SELECT current_setting('work_mem')"); n != "5MB" {
		t.Errorf("setting %s", n)
	}
	if _, err := session.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("an old session went on")
	}
	kept, err := server.In(o.Sets["restore.kept_as"]).Open(t.Context(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if n, err := kept.Int(t.Context(), "SELECT count(*) FROM customer"); err != nil || n != 3002 {
		t.Errorf("kept: %d %v", n, err)
	}
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("the lease did not survive: %v", err)
	}
}

const goLive = "db: env:DB\ninto: live\napproved_by: rollback.approved"

// approved is a world in which the sign-off stands as verdict says.
func approved(url, folder, verdict string, sets ...map[string]string) func(*check.Env) {
	facts := map[string]string{}
	for _, s := range sets {
		maps.Copy(facts, s)
	}
	return func(env *check.Env) {
		in(url, folder, facts)(env)
		env.Ledger = &checktest.Ledger{Facts: facts, Runs: []check.Results{{Items: []check.ItemResult{{ID: "rollback.approved", Verdict: verdict}}}}}
	}
}

// TestRestoreLiveRefuses: a damaged backup, and anything that was not signed for,
// leave the database alone.
func TestRestoreLiveRefuses(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	sets := run(t, postgres.Backup, named, in(url, folder, nil), "pass: ...").Sets
	account := run(t, postgres.Restore, "db: env:DB\ninto: account", in(url, folder, sets), "pass: ...would lose 0 rows and ...of changes: no table has others").Sets
	another := map[string]string{"restore.loss.of": strings.Repeat("a", 64)}
	for _, c := range []struct {
		params  string
		verdict string
		facts   []map[string]string
		want    string
	}{
		{goLive, "pending", []map[string]string{sets, account}, "fail: rollback.approved is pending: nobody has signed for what would be lost; database ... is untouched"},
		{goLive, "fail", []map[string]string{sets, account}, "fail: rollback.approved is fail..."},
		{goLive, "pass", []map[string]string{sets}, "error: restore.loss: what would be lost;... was not supplied"},
		{goLive, "pass", []map[string]string{sets, account, another}, "fail: what was signed for was the loss against another backup..."},
		{goLive + "\nmaintenance_db: nonexistent", "pass", []map[string]string{sets, account}, "error: ...nonexistent... is untouched..."},
	} {
		run(t, postgres.Restore, c.params, approved(url, folder, c.verdict, c.facts...), c.want)
	}
	postgrestest.Exec(t, url, "INSERT INTO customer (name) VALUES ('late')")
	run(t, postgres.Restore, goLive, approved(url, folder, "pass", sets, account),
		"fail: more would be lost than was signed for: public.customer 1 instead of 0; database ... is untouched, the attempt is kept as ...")
	postgrestest.Exec(t, url, "DELETE FROM customer WHERE name = 'late'; UPDATE customer SET name = 'other' WHERE name = (SELECT min(name) FROM customer)")
	run(t, postgres.Restore, goLive, approved(url, folder, "pass", sets, account), "fail: more would be lost than was signed for: public.customer changed;...")
	run(t, postgres.Restore, "db: env:DB\ninto: account", in(url, folder, sets), "pass: ...would lose 0 rows and ...of changes: public.customer changed")
	record(t, folder, func(r map[string]any) {
		r["tables"].([]any)[0].(map[string]any)["rows"] = 51
	})
	run(t, postgres.Restore, goLive, approved(url, folder, "pass", sets, account), "fail: ...has 50 rows, want 51; database ... is untouched, the attempt is kept as ...")
	if n := postgrestest.Value(t, url, "SELECT count(*) FROM customer"); n != "3000" {
		t.Errorf("%s customers", n)
	}
}

// TestBackupOfAnotherDatabase: with two databases in one run, the backup of one
// must not stand for the other's, or be put in its place.
func TestBackupOfAnotherDatabase(t *testing.T) {
	shop, other, folder := shopDatabase(t), shopDatabase(t), t.TempDir()
	sets := run(t, postgres.Backup, named, in(shop, folder, nil), "pass: ...").Sets
	run(t, postgres.Backup, named+"mode: exists", in(other, folder, sets), "fail: there is no backup of ... in backups")
	run(t, postgres.Backup, named+"mode: verify", in(other, folder, sets), "fail: there is no backup of ... in backups")
	run(t, postgres.Restore, "db: env:DB", in(other, folder, sets), "fail: there is no backup of ... in backups")
	run(t, postgres.Restore, goLive, in(other, folder, sets), "fail: there is no backup of ... in backups")
	run(t, postgres.Backup, named+"mode: exists", in(shop, folder, sets), "pass: ...")
}
