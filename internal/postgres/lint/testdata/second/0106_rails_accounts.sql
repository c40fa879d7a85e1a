-- what ActiveRecord 7.1 sends for one migration with a transaction
BEGIN;
ALTER TABLE "accounts" ADD "time_zone" character varying DEFAULT 'UTC' NOT NULL;
ALTER TABLE "accounts" ADD "locked_at" timestamp(6);
CREATE  INDEX  "index_accounts_on_plan_id" ON "accounts" ("plan_id");
ALTER TABLE "accounts" ADD CONSTRAINT "fk_rails_1ceae98a2c"
FOREIGN KEY ("plan_id")
  REFERENCES "plans" ("id");
INSERT INTO "schema_migrations" ("version") VALUES ('20240102030405') RETURNING "version";
COMMIT;
