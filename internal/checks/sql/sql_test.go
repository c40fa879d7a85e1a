package sql_test

import (
	neturl "net/url"
	"os"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/sql"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

func TestPage(t *testing.T) { checktest.Page(t, sql.SQL) }

const shop = `CREATE TABLE tenants (id serial PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, tenant int REFERENCES tenants, total numeric, price float8);
INSERT INTO tenants (name) VALUES ('a'), ('b'), ('geheimer Name');
INSERT INTO orders SELECT g, 1 + g % 3, g, g FROM generate_series(1, 30) g;`

func database(t *testing.T, more string) string {
	t.Helper()
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, shop+more)
	return url
}

func in(url string, facts map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		checktest.SetSecrets(env, checktest.Secrets{"env:DB": url, "env:OTHER": "geheimer Name"})
		env.Ledger = &checktest.Ledger{Facts: facts}
	}
}

func TestQueries(t *testing.T) {
	url := database(t, "")
	locked := database(t, "")
	if err := postgrestest.Open(t, locked).Script(t.Context(), "BEGIN; LOCK TABLE orders"); err != nil {
		t.Fatal(err)
	}
	q := func(text, expect string) string {
		return "db: env:DB\nqueries: [{sql: \"" + text + "\", expect: '" + expect + "'}]"
	}
	world := in(url, nil)
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "no offenders", Params: "db: env:DB\nqueries: [SELECT id FROM orders WHERE total < 0]", Env: world, Want: "pass: 1 of 1 questions are answered as expected"},
		{Name: "offenders", Params: "db: env:DB\nqueries: [SELECT id FROM orders WHERE total > 27]", Env: world, Want: "fail: SELECT id FROM orders WHERE total > 27: rows = 3, want rows == 0"},
		{Name: "value", Params: q("SELECT count(*) FROM orders", "value == 30"), Env: world, Want: "pass: ..."},
		{Name: "wrong value", Params: q("SELECT avg(total) FROM orders", "value > 20"), Env: world, Want: "fail: ...: value = 15.5, want value > 20"},
		{Name: "columns", Params: q("SELECT max(id) AS top, true AS fine, 'x' AS t FROM orders", `columns.top == 30 and columns.fine and columns.t == "x"`), Env: world, Want: "pass: ..."},
		{Name: "no such column", Params: q("SELECT 1 AS a", "columns.b == 1"), Env: world, Want: `error: ...there is no field "b"...`},
		{Name: "text stays out", Params: q("SELECT name FROM tenants WHERE id = 3", `value == "x"`), Env: world, Want: "fail: ...value = a text of 13 bytes..."},
		{Name: "no row for a value", Params: q("SELECT total FROM orders WHERE id = 99", "value > 0"), Env: world, Want: "error: ...want one value, got 0 rows of 1 columns"},
		{Name: "null", Params: q("SELECT max(total) FROM orders WHERE id = 99", "value > 0"), Env: world, Want: "error: ...column max is NULL..."},
		{Name: "null expected", Params: "db: env:DB\nqueries: [{sql: SELECT max(total) FROM orders WHERE id = 99, expect: value == nil, null: true}]", Env: world, Want: "pass: ..."},
		{Name: "nan", Params: q("SELECT 'NaN'::float8", "value < 5"), Env: world, Want: "error: ...NaN"},
		{Name: "nan in a column", Params: q("SELECT 'NaN'::float8 AS lag", "!(columns.lag > 5)"), Env: world, Want: "error: ...column lag is NaN"},
		{Name: "infinite column", Params: q("SELECT 'Infinity'::float8 AS stock", "columns.stock >= 5"), Env: world, Want: "error: ...column stock is Infinity"},
		{Name: "numbers longer than any", Params: q("SELECT 12345678901234567890::numeric AS a, 12345678901234567891::numeric AS b", "columns.a == columns.b"), Env: world, Want: "fail: ..."},
		{Name: "too many rows", Params: q("SELECT generate_series(1, 10001)", "rows > 0"), Env: world, Want: "error: ...more than 10000 rows..."},
		{Name: "writing", Params: q("DELETE FROM orders", "rows == 0"), Env: world, Want: "error: ...read-only transaction..."},
		{Name: "leaving the transaction", Params: q("COMMIT", "rows == 0"), Env: world, Want: "error: ...ended the read-only transaction..."},
		{Name: "lifting the guard", Params: q("SET TRANSACTION READ WRITE", "rows == 0"), Env: world, Want: "error: ..."},
		{Name: "two statements", Params: q("SELECT 1; DROP TABLE orders", "rows == 1"), Env: world, Want: "error: ...cannot insert multiple commands..."},
		{Name: "syntax", Params: q("SELEC 1", "rows == 1"), Env: world, Want: "error: ...syntax error..."},
		{Name: "slow", Params: q("SELECT pg_sleep(9)", "rows == 1") + "\nstatement_timeout: 50ms", Env: world, Want: "error: ...statement timeout..."},
		{Name: "locked", Params: q("SELECT count(*) FROM orders", "rows == 1") + "\nstatement_timeout: 100ms", Env: in(locked, nil), Want: "error: ...timeout..."},
		{Name: "silent", Params: q("SELECT 1", "rows == 1"), Env: in(postgrestest.Silent(t), nil), Timeout: 100 * time.Millisecond, Want: "error: connect to ...deadline exceeded"},
		{Name: "nothing asked", Params: "db: env:DB", Want: "problem: ...nothing is asked"},
		{Name: "unknown name", Params: q("SELECT 1", "valu == 1"), Want: `problem: ...reads "valu", which is not known here...`},
		{Name: "unknown preset", Params: "db: env:DB\npreset: orphan", Want: `problem: ...unknown value "orphan"...`},
		{Name: "no address", Params: "db: env:NOPE\npreset: counts", Env: world, Want: "error: secret env:NOPE: not set"},
	})
	if n := postgrestest.Value(t, url, "SELECT count(*) FROM orders"); n != "30" {
		t.Errorf("%s orders are left", n)
	}
}

func TestPresets(t *testing.T) {
	good, empty := database(t, ""), postgrestest.Start(t)
	rowless := postgrestest.Start(t)
	postgrestest.Exec(t, rowless, "CREATE TABLE a (x int)")
	bad := database(t, `
		SET session_replication_role = replica; INSERT INTO orders VALUES (99, 77, 1); SET session_replication_role = DEFAULT;
		CREATE TABLE pair (a int, b int, UNIQUE (a, b)); INSERT INTO pair VALUES (1, 1);
		CREATE TABLE ref (a int, b int); ALTER TABLE ref ADD CONSTRAINT fit FOREIGN KEY (a, b) REFERENCES pair (a, b) MATCH FULL NOT VALID;
		SET session_replication_role = replica; INSERT INTO ref VALUES (1, NULL), (NULL, NULL), (1, 1); SET session_replication_role = DEFAULT;
		SELECT setval('tenants_id_seq', 2);
		CREATE TABLE twice (x int); INSERT INTO twice VALUES (1), (1)`)
	_ = postgrestest.Open(t, bad).Script(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY twice_x ON twice (x)") // fails and leaves an invalid index
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "all good", Params: "db: env:DB\npreset: [orphans, indexes, constraints, sequences, counts]", Env: in(good, nil), Want: "pass: 5 of 5 questions are answered as expected",
			Check: func(t *testing.T, o check.Outcome) {
				if o.Facts["rows of public.orders"] != "30" || o.Facts["foreign keys"] != "1" || o.Facts["sequences"] != "1" {
					t.Errorf("facts %v", o.Facts)
				}
			}},
		{Name: "orphans", Params: "db: env:DB\npreset: orphans", Env: in(bad, nil), Want: "fail: rows without what their foreign key points to: orders.orders_tenant_fkey 1; ref.fit 1"},
		{Name: "indexes", Params: "db: env:DB\npreset: indexes", Env: in(bad, nil), Want: "fail: indexes that cannot be relied on: twice_x (invalid, not ready)"},
		{Name: "constraints", Params: "db: env:DB\npreset: constraints", Env: in(bad, nil), Want: "fail: constraints that were never validated: ref.fit"},
		{Name: "sequences", Params: "db: env:DB\npreset: sequences", Env: in(bad, nil), Want: "fail: sequences that will give values again or come to their end: tenants_id_seq is at 2, its column at 3"},
		{Name: "no tables", Params: "db: env:DB\npreset: orphans", Env: in(empty, nil), Want: "error: the database has no tables"},
		{Name: "no rows", Params: "db: env:DB\npreset: counts", Env: in(rowless, nil), Want: "fail: all 1 tables are empty"},
		{Name: "test data", Params: "db: env:DB\nat_least: {tenants: 3, public.orders: 30}", Env: in(good, nil), Want: "pass: 2 of 2..."},
		{Name: "too little test data", Params: "db: env:DB\nat_least: {tenants: 4}", Env: in(good, nil), Want: "fail: tenants has 3 rows, want at least 4"},
		{Name: "no such table", Params: "db: env:DB\nat_least: {tenant: 4}", Env: in(good, nil), Want: "error: count tenant: ...does not exist..."},
	})
}

func TestCompare(t *testing.T) {
	url := database(t, "")
	var sets map[string]string
	fact := "sql.counts." + postgrestest.Server(t, url).Name()
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "before", Params: "db: env:DB\ncompare: before", Env: in(url, nil), Want: "pass: 1 of 1...", Check: func(_ *testing.T, o check.Outcome) { sets = o.Sets }},
		{Name: "nothing before", Params: "db: env:DB\ncompare: after", Env: in(url, nil), Want: "error: compare counts: what was there before...was not supplied"},
		{Name: "garbage before", Params: "db: env:DB\ncompare: after", Env: in(url, map[string]string{fact: "{}"}), Want: "error: ...holds no table"},
	})
	if !strings.Contains(sets[fact], `"public.orders":30`) {
		t.Fatalf("sets %v", sets)
	}
	postgrestest.Exec(t, url, "DELETE FROM orders WHERE id = 1; INSERT INTO tenants (name) VALUES ('new'); CREATE TABLE fresh (x int)")
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "fewer", Params: "db: env:DB\ncompare: after", Env: in(url, sets), Want: "fail: public.orders had 30 rows, has 29, want after >= before"},
		{Name: "fewer, allowed", Params: "db: env:DB\ncompare: after\ncounts: after >= 0.9 * before", Env: in(url, sets), Want: "pass: 2 of 2..."},
		{Name: "ignored", Params: "db: env:DB\ncompare: after\nignore: [public.orders]", Env: in(url, sets), Want: "pass: 1 of 1..."},
		{Name: "all ignored", Params: "db: env:DB\ncompare: after\nignore: [public.orders, public.tenants]", Env: in(url, sets), Want: "error: nothing was asked..."},
	})
	postgrestest.Exec(t, url, "DROP TABLE orders")
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "gone", Params: "db: env:DB\ncompare: after", Env: in(url, sets), Want: "fail: public.orders is gone (30 rows)"},
	})
}

// TestRowSecurity: a role that does not see the rows must not find that there are
// none.
func TestRowSecurity(t *testing.T) {
	url := database(t, `ALTER TABLE orders ENABLE ROW LEVEL SECURITY; GRANT SELECT ON orders TO PUBLIC;
		DO $$ BEGIN CREATE ROLE sql_blinkered LOGIN PASSWORD 'blinkers'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
		CREATE POLICY few ON orders USING (id < 3);`)
	address, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = neturl.UserPassword("sql_blinkered", "blinkers")
	blind := in(address.String(), nil)
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "no offenders in sight", Params: "db: env:DB\nqueries: [SELECT id FROM orders WHERE total > 27]", Env: blind, Want: "error: ...row-level security..."},
		{Name: "rows in sight", Params: "db: env:DB\nat_least: {orders: 2}", Env: blind, Want: "error: ...row-level security..."},
		{Name: "everything in sight", Params: "db: env:DB\nqueries: [SELECT id FROM orders WHERE total > 30]", Env: in(url, nil), Want: "pass: ..."},
	})
}

// TestCompareKeepsDatabasesApart: what one database held is not compared with
// another.
func TestCompareKeepsDatabasesApart(t *testing.T) {
	one, two := database(t, ""), database(t, "DELETE FROM orders")
	var sets map[string]string
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "before", Params: "db: env:DB\ncompare: before", Env: in(two, nil), Want: "pass: ...", Check: func(_ *testing.T, o check.Outcome) { sets = o.Sets }},
	})
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "after", Params: "db: env:DB\ncompare: after", Env: in(one, sets), Want: "error: compare counts: what was there before...was not supplied"},
	})
}
