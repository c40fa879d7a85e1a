ALTER SEQUENCE ticket_numbers INCREMENT BY 10 CACHE 50;
ALTER SEQUENCE tags_id_seq AS bigint;
SELECT setval('ticket_numbers', 10000);
ALTER TABLE tags ALTER COLUMN id TYPE bigint;
ALTER TABLE tags ALTER COLUMN id DROP DEFAULT;
ALTER SEQUENCE tags_id_seq OWNED BY NONE;
ALTER TABLE tags ADD COLUMN code text DEFAULT next_ticket();
ALTER TABLE tags ADD COLUMN zone text NOT NULL DEFAULT default_zone();
DROP SEQUENCE ticket_numbers CASCADE;
