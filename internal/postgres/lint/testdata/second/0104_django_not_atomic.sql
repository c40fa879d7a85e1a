--
-- Concurrently create index tags_name_idx on field(s) name of model tag
--
CREATE INDEX CONCURRENTLY "tags_name_idx" ON "tags" ("name");
--
-- Validate constraint tasks_project_fk on model task
--
ALTER TABLE "tasks" VALIDATE CONSTRAINT "tasks_project_fk";
--
-- Concurrently remove index projects_slug_idx from project
--
DROP INDEX CONCURRENTLY IF EXISTS "projects_slug_idx";
