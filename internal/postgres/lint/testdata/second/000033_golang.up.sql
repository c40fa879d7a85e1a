ALTER TABLE projects ADD COLUMN visibility text NOT NULL DEFAULT 'private' CONSTRAINT visibility_known CHECK (visibility IN ('private', 'public'));
CREATE INDEX IF NOT EXISTS projects_visibility_idx ON projects (visibility);
