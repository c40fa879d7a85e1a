BEGIN;
--
-- Alter unique_together for tag (1 constraint(s))
--
ALTER TABLE "tags" ADD CONSTRAINT "tags_name_1f2d_uniq" UNIQUE ("name");
--
-- Alter field slug on project
--
UPDATE "projects" SET "slug" = '' WHERE "slug" IS NULL; SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE "projects" ALTER COLUMN "slug" SET NOT NULL;
--
-- Rename field note on booking to remark
--
ALTER TABLE "bookings" RENAME COLUMN "note" TO "remark";
COMMIT;
