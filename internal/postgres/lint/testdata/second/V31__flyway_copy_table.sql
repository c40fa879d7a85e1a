-- a new table beside the old one, filled and renamed, in Flyway's transaction
CREATE TABLE tasks_copy (LIKE tasks INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
INSERT INTO tasks_copy (id, project_id, title, body, done) SELECT id, project_id, title, body, done FROM tasks;
ALTER TABLE tasks_copy ADD PRIMARY KEY (id);
CREATE INDEX tasks_copy_project_idx ON tasks_copy (project_id);
ALTER TABLE tasks_copy ADD CONSTRAINT tasks_copy_project_fk FOREIGN KEY (project_id) REFERENCES projects (id);
ALTER TABLE tasks RENAME TO tasks_before;
ALTER TABLE tasks_copy RENAME TO tasks;
