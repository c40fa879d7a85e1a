BEGIN;
CREATE TABLE "threads" ("id" bigserial, "title" varchar(255), "inserted_at" timestamp(0) NOT NULL, PRIMARY KEY ("id"));
INSERT INTO "threads" ("id", "title", "inserted_at") SELECT DISTINCT "thread", 'thread ' || "thread", now() FROM "messages" WHERE "thread" IS NOT NULL;
ALTER TABLE "messages" ADD CONSTRAINT "messages_thread_fkey" FOREIGN KEY ("thread") REFERENCES "threads"("id");
CREATE INDEX "threads_title_index" ON "threads" ("title");
COMMIT;
