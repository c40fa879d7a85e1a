ALTER TABLE jobs ADD COLUMN attempts int NOT NULL DEFAULT 0;
UPDATE jobs SET attempts = 1 WHERE done_at IS NOT NULL;
ALTER TABLE jobs SET LOGGED;
COMMENT ON TABLE jobs IS 'work; to be done';
