ALTER TABLE tasks_tags ADD CONSTRAINT tasks_tags_pkey PRIMARY KEY USING INDEX tasks_tags_both;
ALTER TABLE bookings ADD COLUMN id bigserial PRIMARY KEY;
ALTER TABLE tasks ADD CONSTRAINT tasks_assignee_fk FOREIGN KEY (assignee) REFERENCES "user" (id) NOT VALID;
ALTER TABLE tasks ADD FOREIGN KEY (assignee) REFERENCES "user" NOT VALID;
ALTER TABLE shipments ADD PRIMARY KEY (id, shipped);
ALTER TABLE accounts DROP CONSTRAINT accounts_parent_id_fkey;
ALTER TABLE accounts ADD CONSTRAINT accounts_parent_fk FOREIGN KEY (parent_id) REFERENCES accounts ON DELETE SET NULL;
ALTER TABLE tasks ALTER COLUMN uid SET NOT NULL;
ALTER TABLE tasks DROP CONSTRAINT tasks_uid_present;
