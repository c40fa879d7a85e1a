package sql_test

import (
	"context"
	"crypto/rand"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/sql"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// as gives an address for another role, which may connect and read.
func as(t *testing.T, url, role, more string) string {
	t.Helper()
	postgrestest.Exec(t, url, `DO $$ BEGIN CREATE ROLE `+role+` LOGIN PASSWORD 'p-`+role+`'; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+role+`;`+more)
	address, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = neturl.UserPassword(role, "p-"+role)
	return address.String()
}

// TestMayNotLook: what a role is not allowed to see is not found to be in order.
func TestMayNotLook(t *testing.T) {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, whole)
	role := as(t, url, "sql_reader", `GRANT USAGE ON SCHEMA "My Shop" TO sql_reader; GRANT SELECT ON ALL TABLES IN SCHEMA "My Shop" TO sql_reader; REVOKE SELECT ON events_1 FROM sql_reader`)
	busy := postgrestest.Open(t, url)
	if _, err := busy.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	var cases []checktest.Case
	for preset, why := range map[string]string{
		"rows": "permission denied for table events_1", "unique": "permission denied for table events_1", "counts": "permission denied for table events_1",
		"leftovers": "sessions of other users are hidden", "amcheck": "permission denied for ", "analyze": "the statistics of 1 tables are hidden", "sequences": "permission denied for ",
	} {
		cases = append(cases, checktest.Case{Name: preset, Params: "db: env:DB\npreset: " + preset, Env: in(role, nil), Want: "error: preset " + preset + ": ..." + why + "..."})
	}
	cases = append(cases, checktest.Case{Name: "catalog alone", Params: "db: env:DB\npreset: [indexes, constraints, triggers]", Env: in(role, nil), Want: "pass: 3 of 3 ..."})
	checktest.Run(t, sql.SQL, cases)
	if _, err := busy.Exec(t.Context(), "LOCK TABLE family"); err != nil {
		t.Fatal(err)
	}
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "locked", Params: "db: env:DB\npreset: integrity\nstatement_timeout: 100ms\nidle: 1h", Env: in(url, nil), Want: "error: preset rows: ...timeout..."},
	})
}

// within gives the address of another database of the same server.
func within(t *testing.T, url, database string) string {
	t.Helper()
	address, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/" + database
	return address.String()
}

// script runs statements in a session that has ended afterwards, which copying a
// database needs.
func script(t *testing.T, url, sql string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // also when the test ends
	c, err := postgrestest.Server(t, url).Open(ctx, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Script(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

// copyOf gives a copy of a database that nobody is connected to.
func copyOf(t *testing.T, url string) string {
	t.Helper()
	name := "t_" + strings.ToLower(rand.Text()[:12])
	script(t, within(t, url, "postgres"), "CREATE DATABASE "+name+" TEMPLATE "+postgrestest.Server(t, url).Database())
	return within(t, url, name)
}

// TestChecksums damages a page of a table on disk, before the server has read it.
func TestChecksums(t *testing.T) {
	url := postgrestest.Start(t)
	script(t, url, "CREATE TABLE paid AS SELECT g AS x FROM generate_series(1, 1000) g")
	name := postgrestest.Server(t, url).Database()
	maintenance, copied := within(t, url, "postgres"), within(t, url, name+"_copy")
	script(t, maintenance, "CREATE DATABASE "+name+"_copy TEMPLATE "+name+" STRATEGY file_copy")
	t.Cleanup(func() { script(t, maintenance, "DROP DATABASE "+name+"_copy WITH (FORCE)") }) // nobody else should read it
	file := filepath.Join(postgrestest.Value(t, copied, "SHOW data_directory"), postgrestest.Value(t, copied, "SELECT pg_relation_filepath('paid')"))
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page[5000] ^= 1
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "unread", Params: "db: env:DB\npreset: checksums", Env: in(copied, nil), Want: "pass: ..."},
		{Name: "read", Params: "db: env:DB\npreset: counts", Env: in(copied, nil), Want: "error: preset counts: count public.paid: ...invalid page..."},
		{Name: "counted", Params: "db: env:DB\npreset: checksums", Env: in(copied, nil), Want: "fail: pages that failed their checksum: " + name + "_copy (... times, last at ...)"},
		{Name: "elsewhere", Params: "db: env:DB\npreset: checksums", Env: in(url, nil), Want: "pass: ..."},
	})
}

// TestCollations: a collation and a database of another version than they were
// made with.
func TestCollations(t *testing.T) {
	url := postgrestest.Start(t)
	name := postgrestest.Server(t, url).Database() + "_icu"
	script(t, within(t, url, "postgres"), "CREATE DATABASE "+name+" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'")
	icu := within(t, url, name)
	postgrestest.Exec(t, icu, "CREATE COLLATION swedish (provider = icu, locale = 'sv'); CREATE COLLATION unused (provider = icu, locale = 'fi'); CREATE TABLE t (x text COLLATE swedish)")
	ask := func(want string) {
		t.Helper()
		checktest.Run(t, sql.SQL, []checktest.Case{{Name: "collations", Params: "db: env:DB\npreset: collations", Env: in(icu, nil), Want: want}})
	}
	ask("pass: ...")
	postgrestest.Exec(t, icu, "UPDATE pg_collation SET collversion = '1.2' WHERE collname IN ('swedish', 'unused')")
	ask("fail: collations of another version: collation swedish (made with version 1.2, now ...)")
	postgrestest.Exec(t, icu, "ALTER COLLATION swedish REFRESH VERSION; UPDATE pg_database SET datcollversion = '3' WHERE datname = current_database()")
	ask("fail: collations of another version: database " + name + " (made with version 3, now ...)")
}

// TestReplication asks about a real replica, and about a slot that nobody reads.
func TestReplication(t *testing.T) {
	url := postgrestest.Cluster(t)
	postgrestest.Exec(t, url, "CREATE TABLE t (x int)")
	ask := func(name, params, url, want string) {
		t.Helper()
		checktest.Run(t, sql.SQL, []checktest.Case{{Name: name, Params: "db: env:DB\npreset: replication\n" + params, Env: in(url, nil), Want: want}})
	}
	ask("nobody", "", url, "error: preset replication: no replica is connected and no replication slot waits for one")
	replica := postgrestest.Replica(t, url)
	ask("the replica itself", "", replica, "error: preset replication: this server is a replica itself: ask the primary")
	ask("near", "", url, "pass: 2 of 2 ...")
	ask("hidden", "", as(t, url, "sql_blind", ""), "error: preset replication: how far replica ... cannot be seen...")
	// Replay stands still while a transaction on the replica reads what is dropped.
	reader := postgrestest.Open(t, replica)
	for _, sql := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM t"} {
		if _, err := reader.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	postgrestest.Exec(t, url, "DROP TABLE t; CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
	ask("far", "lag: 100ms", url, "fail: replicas that are behind: replica (127.0.0.1) (streaming, ... bytes after 1...")
	reader.Close()
	ask("near again", "", url, "pass: ...")
	postgrestest.Exec(t, url, "SELECT pg_create_physical_replication_slot('forgotten', true)")
	postgrestest.Exec(t, url, "INSERT INTO t SELECT generate_series(1, 1000)")
	ask("slot", "slot_wal: 1kB", url, "fail: replication slots that keep too much log or lost it: forgotten (not in use, log reserved, ... bytes kept)")
}

// TestLocksOfApplications: an application that should have ended and still has a
// lock.
func TestLocksOfApplications(t *testing.T) {
	url := database(t, "")
	c := postgrestest.Open(t, url)
	if err := c.Script(t.Context(), "SET application_name = 'alembic'; SELECT pg_advisory_lock(42)"); err != nil {
		t.Fatal(err)
	}
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "anybody", Params: "db: env:DB\npreset: leftovers", Env: in(url, nil), Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["advisory locks"] != "1" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "the migration tool", Params: "db: env:DB\npreset: leftovers\napplications: [alembic]", Env: in(url, nil), Want: "fail: left behind: session ... of admin (alembic) (has a lock on an advisory lock)"},
	})
}
