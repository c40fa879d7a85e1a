CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_title_trgm ON tasks USING gin (title gin_trgm_ops);
CREATE INDEX tasks_body_trgm ON public.tasks USING gist (body gist_trgm_ops);
ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&);
