CREATE TABLE IF NOT EXISTS "reviews" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"order_id" integer,
	"stars" smallint DEFAULT 5 NOT NULL
);
--> statement-breakpoint
ALTER TABLE "messages" ALTER COLUMN "seen" SET DEFAULT false;--> statement-breakpoint
ALTER TABLE "messages" ALTER COLUMN "thread" SET NOT NULL;--> statement-breakpoint
DO $$ BEGIN
 ALTER TABLE "reviews" ADD CONSTRAINT "reviews_order_id_fk" FOREIGN KEY ("order_id") REFERENCES "Order"("id") ON DELETE no action ON UPDATE no action;
EXCEPTION
 WHEN duplicate_object THEN null;
END $$;
--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "messages_thread_idx" ON "messages" USING btree ("thread" ASC NULLS LAST,"sent" DESC);
