BEGIN;

-- Running upgrade 9c1e0a7b -> 2f00c1d4

ALTER TABLE accounts ADD COLUMN referrer VARCHAR(64);

ALTER TABLE accounts ADD COLUMN newsletter BOOLEAN DEFAULT false NOT NULL;

UPDATE alembic_version SET version_num='2f00c1d4' WHERE alembic_version.version_num = '9c1e0a7b';

COMMIT;

BEGIN;

-- Running upgrade 2f00c1d4 -> 77aa01bc

UPDATE accounts SET referrer = 'unknown';

ALTER TABLE accounts ALTER COLUMN referrer SET NOT NULL;

UPDATE alembic_version SET version_num='77aa01bc' WHERE alembic_version.version_num = '2f00c1d4';

COMMIT;
