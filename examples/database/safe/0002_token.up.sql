-- New rows get a token from now on; those that are there get theirs in batches.
SET LOCAL lock_timeout = '750ms';
ALTER TABLE orders ADD COLUMN token uuid;
ALTER TABLE orders ALTER COLUMN token SET DEFAULT gen_random_uuid();
