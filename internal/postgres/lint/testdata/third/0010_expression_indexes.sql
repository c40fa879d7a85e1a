CREATE INDEX customer_slug ON "Customer" (slug("firstName"));
CREATE UNIQUE INDEX messages_thread_sent ON messages (thread, sent, id) NULLS NOT DISTINCT;
CREATE INDEX jobs_payload ON jobs USING gin (payload jsonb_path_ops);
ALTER INDEX messages_id SET (fillfactor = 80);
ALTER INDEX jobs_run_at RENAME TO jobs_due;
DROP INDEX IF EXISTS no_such_index;
ALTER TABLE messages ADD CONSTRAINT messages_pkey PRIMARY KEY USING INDEX messages_id;
ALTER TABLE messages ALTER COLUMN sent SET NOT NULL;
