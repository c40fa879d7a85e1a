-- serial to identity, as the manual's tip says
BEGIN;
ALTER TABLE people ALTER COLUMN id DROP DEFAULT;
DROP SEQUENCE people_id_seq;
ALTER TABLE people ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('people', 'id'), (SELECT max(id) FROM people));
COMMIT;
