BEGIN;
--
-- Add field owner to project
--
ALTER TABLE "projects" ADD COLUMN "owner_id" uuid NULL CONSTRAINT "projects_owner_id_7f_fk_user_id" REFERENCES "user"("id") DEFERRABLE INITIALLY DEFERRED; SET CONSTRAINTS "projects_owner_id_7f_fk_user_id" IMMEDIATE;
CREATE INDEX "projects_owner_id_7f" ON "projects" ("owner_id");
COMMIT;
