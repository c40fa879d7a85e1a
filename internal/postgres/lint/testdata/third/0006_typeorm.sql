START TRANSACTION;
ALTER TABLE "people" ADD "nickname" character varying NOT NULL DEFAULT '';
ALTER TABLE "people" ALTER COLUMN "name" SET NOT NULL;
CREATE TYPE "public"."people_kind_enum" AS ENUM('human', 'robot');
ALTER TABLE "people" ADD "kind" "public"."people_kind_enum" NOT NULL DEFAULT 'human';
ALTER TABLE "employees" ADD CONSTRAINT "CHK_salary" CHECK (salary < 1000000) NOT VALID;
INSERT INTO "settings"("key", "value") VALUES ('schema', '6');
COMMIT;
