package lint_test

import (
	"testing"

	"allclear.dev/allclear/internal/postgres/lint"
)

// The names and expressions of a rewrite are the statement's own, as they were
// written; a name that was made up is the one that PostgreSQL makes up.
func TestRewritesInSQL(t *testing.T) {
	const each = "/* each committed before the next */ "
	for sql, want := range map[string]string{
		`CREATE INDEX IF NOT EXISTS "Odd Name" ON "Shop"."Order Lines" USING gin ("Tags") WHERE x = 'a;b'`: `CREATE INDEX CONCURRENTLY "Odd Name" ON "Shop"."Order Lines" USING gin ("Tags") WHERE x = 'a;b'; /* outside of a transaction */`,
		`ALTER TABLE IF EXISTS ONLY "Shop"."Lines" ADD CONSTRAINT "Lines,ok" CHECK ("Qty" > 0 AND f(1, 2))`: each +
			`ALTER TABLE IF EXISTS ONLY "Shop"."Lines" ADD CONSTRAINT "Lines,ok" CHECK ("Qty" > 0 AND f(1, 2)) NOT VALID; ALTER TABLE IF EXISTS ONLY "Shop"."Lines" VALIDATE CONSTRAINT "Lines,ok";`,
		`ALTER TABLE a ADD b int, -- a comment, with a comma
			ADD FOREIGN KEY (b) REFERENCES "user" ON DELETE CASCADE DEFERRABLE`: each +
			`ALTER TABLE a ADD COLUMN b int; ALTER TABLE a ADD CONSTRAINT a_b_fkey FOREIGN KEY (b) REFERENCES "user" ON DELETE CASCADE DEFERRABLE NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT a_b_fkey;`,
		`ALTER TABLE a ADD COLUMN "key" uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT a_key UNIQUE`: each +
			`ALTER TABLE a ADD COLUMN "key" uuid; ALTER TABLE a ALTER COLUMN key SET DEFAULT gen_random_uuid(); UPDATE a SET key = DEFAULT WHERE key IS NULL; /* in batches */ ` +
			`ALTER TABLE a ADD CONSTRAINT a_key_not_null CHECK (key IS NOT NULL) NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT a_key_not_null; ALTER TABLE a ALTER COLUMN key SET NOT NULL; ALTER TABLE a DROP CONSTRAINT a_key_not_null; ` +
			`CREATE UNIQUE INDEX CONCURRENTLY a_key ON a (key); ALTER TABLE a ADD CONSTRAINT a_key UNIQUE USING INDEX a_key;`,
		`ALTER TABLE a ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (b, c) INCLUDE (d) DEFERRABLE INITIALLY DEFERRED`: each +
			`CREATE UNIQUE INDEX CONCURRENTLY u ON a (b, c) INCLUDE (d) NULLS NOT DISTINCT; ALTER TABLE a ADD CONSTRAINT u UNIQUE USING INDEX u DEFERRABLE INITIALLY DEFERRED;`,
		`ALTER TABLE a ALTER "From" SET NOT NULL`: each +
			`ALTER TABLE a ADD CONSTRAINT "a_From_not_null" CHECK ("From" IS NOT NULL) NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT "a_From_not_null"; ALTER TABLE a ALTER COLUMN "From" SET NOT NULL; ALTER TABLE a DROP CONSTRAINT "a_From_not_null";`,
		`REINDEX (VERBOSE) TABLE "A"`: `REINDEX (VERBOSE) TABLE CONCURRENTLY "A"; /* outside of a transaction */`,
		// What cannot be done in place gets words, not steps that only look right.
		`ALTER TABLE a ADD CONSTRAINT u UNIQUE (b) USING INDEX TABLESPACE fast`:                                   "",
		`ALTER TABLE a ALTER b TYPE bigint, ALTER c SET NOT NULL`:                                                 "",
		`ALTER TABLE a ADD CHECK (b > 0), ADD CHECK (b < 9)`:                                                      "",
		`ALTER TABLE a ADD COLUMN IF NOT EXISTS b serial`:                                                         "",
		`ALTER TABLE a ADD b int GENERATED ALWAYS AS IDENTITY (START WITH 7)`:                                     "",
		`ALTER TABLE a ALTER a_column_with_a_name_that_is_nearly_as_long_as_postgresql_allows_names SET NOT NULL`: "",
		`ALTER TABLE a ADD b int DEFAULT random() REFERENCES c DEFERRABLE`:                                        "",
	} {
		statements, err := lint.Run([]lint.Source{{Name: "a.sql", Text: "-- é, before it\n" + sql}}, lint.Options{})
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		got := ""
		if steps := statements[0].Steps; len(steps) > 0 {
			got = lint.Script(steps)
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", sql, got, want)
		}
	}
}
