ALTER TABLE "Audit Log"."Entries" ADD COLUMN "From Address" inet;
ALTER TABLE "Audit Log"."Entries" ALTER "payload" TYPE jsonb USING payload::jsonb;
CREATE INDEX "Entries At" ON "Audit Log"."Entries" ("At" DESC NULLS LAST) INCLUDE ("Who");
ALTER TABLE "user" RENAME COLUMN "group" TO "Group";
ALTER TABLE "user" ALTER COLUMN "Display Name" TYPE text;
/* one comment /* within another */ */ ALTER /* odd */ TABLE "user" -- here too
    ADD COLUMN "select" text;
COMMENT ON COLUMN "user"."select" IS 'it''s a word; no more';
