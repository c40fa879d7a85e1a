BEGIN;
--
-- Add field priority to task
--
ALTER TABLE "tasks" ADD COLUMN "priority" smallint DEFAULT 0 NOT NULL CHECK ("priority" >= 0);
ALTER TABLE "tasks" ALTER COLUMN "priority" DROP DEFAULT;
--
-- Alter field username on user
--
ALTER TABLE "user" ALTER COLUMN "username" TYPE varchar(150);
--
-- Create index tasks_due_5b1_idx on field(s) due of model task
--
CREATE INDEX "tasks_due_5b1_idx" ON "tasks" ("due");
COMMIT;
