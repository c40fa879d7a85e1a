package sql_test

import (
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/sql"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// whole is a database that uses much of what PostgreSQL has, and is in order.
const whole = `CREATE EXTENSION amcheck; CREATE SCHEMA "My Shop"; CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL, deleted timestamptz, data json, note jsonb, CHECK (email LIKE '%@%'));
CREATE UNIQUE INDEX customers_email ON customers (lower(email)) WHERE deleted IS NULL;
CREATE TABLE "My Shop"."The Orders" (id serial PRIMARY KEY, customer bigint REFERENCES customers, amount positive, twice int GENERATED ALWAYS AS (amount * 2) STORED, "Code" text, UNIQUE NULLS NOT DISTINCT ("Code"));
CREATE INDEX ON "My Shop"."The Orders" (customer);
CREATE TABLE events (at date NOT NULL, id int, customer bigint REFERENCES customers, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE notes (at date, id int, n smallserial, FOREIGN KEY (at, id) REFERENCES events MATCH FULL);
CREATE TABLE family (id int PRIMARY KEY, parent int REFERENCES family); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (family);
CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM customers; CREATE PUBLICATION everything FOR TABLE customers;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER keep BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION keep();
INSERT INTO customers (email, data) SELECT g || '@example.com', '{}' FROM generate_series(1, 50) g;
INSERT INTO "My Shop"."The Orders" (customer, amount, "Code") SELECT g, g, g::text FROM generate_series(1, 50) g; INSERT INTO "My Shop"."The Orders" (amount) VALUES (7);
INSERT INTO events SELECT '2026-01-05', g, g FROM generate_series(1, 20) g; INSERT INTO notes VALUES ('2026-01-05', 1), (NULL, NULL);
INSERT INTO family VALUES (1, NULL), (2, 1); INSERT INTO child VALUES (9, 77); ANALYZE;`

// unguarded runs statements with all triggers off, as a careless load does.
func unguarded(sql string) string {
	return "SET session_replication_role = replica; " + sql + "; SET session_replication_role = DEFAULT;"
}

func TestIntegrity(t *testing.T) {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, whole)
	plain := database(t, "")
	checktest.Run(t, sql.SQL, []checktest.Case{
		{Name: "whole", Params: "db: env:DB\npreset: integrity", Env: in(url, nil), Want: "pass: 14 of 14 questions are answered as expected",
			Check: func(t *testing.T, o check.Outcome) {
				for fact, want := range map[string]string{"foreign keys": "4", "sequences": "3", "unique indexes": "8", "conditions on rows": "13", "indexes": "0"} {
					if o.Facts[fact] != want {
						t.Errorf("%s: %s, want %s", fact, o.Facts[fact], want)
					}
				}
			}},
		{Name: "everything", Params: "db: env:DB\npreset: [integrity, analyze, duplicate_indexes, counts]", Env: in(url, nil), Want: "pass: 17 of 17 ..."},
		{Name: "named table", Params: "db: env:DB\npreset: [rows, orphans, unique]\ntables: [events]", Env: in(url, nil), Want: "pass: 3 of 3 ...",
			Check: func(t *testing.T, o check.Outcome) {
				if o.Facts["foreign keys"] != "1" || o.Facts["unique indexes"] != "2" {
					t.Errorf("facts %v", o.Facts)
				}
			}},
		{Name: "no such table", Params: "db: env:DB\npreset: rows\ntables: [event]", Env: in(url, nil), Want: "error: tables: there is no table event"},
		{Name: "without the extension", Params: "db: env:DB\npreset: integrity", Env: in(plain, nil), Want: "pass: 13 of 13 questions are answered as expected; not asked: amcheck (the extension amcheck is not installed)"},
		{Name: "extension asked for", Params: "db: env:DB\npreset: [integrity, amcheck]", Env: in(plain, nil), Want: "error: preset amcheck: the extension amcheck is not installed"},
	})
}

// TestDamage makes each damage that a preset claims to find, and sees that it is
// found by that preset, and that a checklist can leave it out by its name.
func TestDamage(t *testing.T) {
	template := postgrestest.Start(t)
	script(t, template, whole)
	var cases []checktest.Case
	for _, c := range []struct{ name, preset, damage, want, ignore string }{
		{"leftover of a reindex", "indexes", "ALTER INDEX customers_email RENAME TO customers_email_ccold", "indexes that cannot be relied on: customers_email_ccold (left by REINDEX CONCURRENTLY)", "customers_email_ccold"},
		{"partitioned index", "indexes", "CREATE INDEX half ON ONLY events (id)", "indexes that cannot be relied on: half (invalid: not on every partition)", "half"},
		{"unvalidated domain", "constraints", "ALTER DOMAIN positive ADD CONSTRAINT small CHECK (VALUE < 9) NOT VALID", "constraints that were never validated: positive.small", "positive.small"},
		{"disabled trigger", "triggers", "ALTER TABLE customers DISABLE TRIGGER keep", "triggers that are switched off: customers.keep", "customers.keep"},
		{"disabled foreign key", "triggers", "ALTER TABLE notes DISABLE TRIGGER ALL", "triggers that are switched off: notes.notes_at_id_fkey (foreign key)", "notes.notes_at_id_fkey"},
		{"triggers off by setting", "triggers", "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END$$", "triggers that are switched off: database t_...(session_replication_role=replica)", ""},
		{"disabled rule", "triggers", "CREATE RULE r AS ON DELETE TO notes DO INSTEAD NOTHING; ALTER TABLE notes DISABLE RULE r", "triggers that are switched off: notes.r (rule)", "notes.r"},
		{"empty matview", "matviews", "REFRESH MATERIALIZED VIEW totals WITH NO DATA", "materialized views without content: totals", "totals"},
		{"no replica identity", "identity", "ALTER TABLE customers REPLICA IDENTITY NOTHING", "published tables without a replica identity: customers (publication everything)", "customers"},
		{"sequence behind", "sequences", "SELECT setval('\"My Shop\".\"The Orders_id_seq\"', 10)", "sequences that will give values again or come to their end: \"My Shop\".\"The Orders_id_seq\" is at 10, its column at 51", `"My Shop"."The Orders_id_seq"`},
		{"sequence of a default", "sequences", "CREATE SEQUENCE own; ALTER TABLE family ALTER id SET DEFAULT nextval('own')", "sequences that will give values again or come to their end: own is at 0, its column at 9", "own"},
		{"sequence at its end", "sequences", "SELECT setval('notes_n_seq', 30000)", "sequences that will give values again or come to their end: notes_n_seq is at 30000 of 32767 (92 %)", "notes_n_seq"},
		{"row in the default partition", "partitions", "INSERT INTO events VALUES ('2027-01-01', 1, 1)", "default partitions with rows: events_rest 1 rows", "events_rest"},
		{"row breaks a check", "rows", "ALTER TABLE customers ADD CHECK (id < 49) NOT VALID", "rows that break a constraint of their table: customers.customers_id_check 2", "customers.customers_id_check"},
		{"null in a NOT NULL column", "rows", "ALTER TABLE customers ALTER email DROP NOT NULL; UPDATE customers SET email = NULL WHERE id < 4; UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'customers'::regclass AND attname = 'email'", "rows that break a constraint of their table: customers.email NOT NULL 3", "customers.email NOT NULL"},
		{"row in the wrong partition", "rows", "CREATE TABLE later (LIKE events); INSERT INTO later VALUES ('2030-01-01', 1, 1); ALTER TABLE later ADD CONSTRAINT lie CHECK (at >= '2028-01-01' AND at < '2029-01-01') NOT VALID; UPDATE pg_constraint SET convalidated = true WHERE conname = 'lie'; ALTER TABLE events ATTACH PARTITION later FOR VALUES FROM ('2028-01-01') TO ('2029-01-01'); ALTER TABLE later DROP CONSTRAINT lie", "rows that break a constraint of their table: later.bounds of its partition 1", "later.bounds of its partition"},
		{"orphan", "orphans", unguarded(`DELETE FROM customers WHERE id = 50`), `rows without what their foreign key points to: "My Shop"."The Orders".The Orders_customer_fkey 1`, ""},
		{"half a key under MATCH FULL", "orphans", unguarded(`INSERT INTO notes VALUES ('2026-01-05', NULL)`), "rows without what their foreign key points to: notes.notes_at_id_fkey 1", "notes.notes_at_id_fkey"},
		{"orphan of a partitioned table", "orphans", unguarded(`DELETE FROM events WHERE id = 1`), "rows without what their foreign key points to: notes.notes_at_id_fkey 1", ""},
		{"orphan in a partition", "orphans", unguarded(`UPDATE events SET customer = 777 WHERE id = 3`), "rows without what their foreign key points to: events.events_customer_fkey 1", ""},
		{"duplicate", "unique", "UPDATE pg_index SET indisunique = false WHERE indexrelid = 'customers_email'::regclass; UPDATE customers SET email = '1@EXAMPLE.com' WHERE id = 2; UPDATE pg_index SET indisunique = true WHERE indexrelid = 'customers_email'::regclass", "values that stand twice under a unique index: customers_email 1", "customers_email"},
		{"two NULLs", "unique", `UPDATE pg_index SET indisunique = false WHERE indnullsnotdistinct; INSERT INTO "My Shop"."The Orders" (amount) VALUES (8); UPDATE pg_index SET indisunique = true WHERE indnullsnotdistinct`, `values that stand twice under a unique index: "My Shop"."The Orders_Code_key" 1`, ""},
		{"row missing from its index", "amcheck", "UPDATE pg_index SET indisready = false WHERE indexrelid = 'family_pkey'::regclass; INSERT INTO family VALUES (3, 1); UPDATE pg_index SET indisready = true WHERE indexrelid = 'family_pkey'::regclass", `damaged indexes and tables: family_pkey: heap tuple (0,3) from table "family" lacks matching index tuple within index "family_pkey" (SQLSTATE XX001)`, "family_pkey"},
		{"table without key", "keys", "", "tables without a primary key: notes", "notes"},
		{"foreign key without index", "foreign_key_indexes", "CREATE INDEX ON family (parent) WHERE parent IS NOT NULL; CREATE INDEX ON events (customer)", "foreign keys without an index: notes.notes_at_id_fkey", "notes.notes_at_id_fkey"},
		{"the same index twice", "duplicate_indexes", "CREATE INDEX again ON customers (id)", "indexes that hold the same: again = customers_pkey", "again = customers_pkey"},
		{"never analyzed", "analyze", "CREATE TABLE fresh AS SELECT 1 AS x", "tables that need ANALYZE or VACUUM: fresh (never analyzed)", "fresh"},
		{"statistics lost", "analyze", "ALTER TABLE customers ALTER note TYPE text", "tables that need ANALYZE or VACUUM: customers (no statistics of note)", "customers"},
		{"dead rows", "analyze", "BEGIN; CREATE TABLE worn AS SELECT g AS x FROM generate_series(1, 5000) g; ANALYZE worn; COMMIT; UPDATE worn SET x = x + 1; SELECT pg_stat_force_next_flush()", "tables that need ANALYZE or VACUUM: worn (5000 of 10000 rows are dead)", "worn"},
		{"prepared transaction", "leftovers", "BEGIN; CREATE TABLE x (a int); PREPARE TRANSACTION 'half-' ; SELECT 1", "left behind: prepared transaction half- of admin (for ... s)", ""},
		{"session left behind", "leftovers", "BEGIN; SELECT 1", "left behind: session ... of admin (allclear) (idle in transaction for ... s)", ""},
	} {
		url := copyOf(t, template)
		postgrestest.Exec(t, url, c.damage)
		params := "db: env:DB\nidle: 0s\npreset: " + c.preset
		cases = append(cases, checktest.Case{Name: c.name, Params: params, Env: in(url, nil), Want: "fail: " + c.want})
		if c.ignore != "" {
			cases = append(cases, checktest.Case{Name: c.name + ", ignored", Params: params + "\nignore: ['" + c.ignore + "']", Env: in(url, nil), Want: "pass: ..."})
		}
	}
	checktest.Run(t, sql.SQL, cases)
}
