BEGIN;
ALTER TABLE "projects" ALTER COLUMN "id" TYPE bigint;
ALTER TABLE "tasks" ALTER COLUMN "project_id" TYPE bigint;
COMMIT;
