BEGIN;

-- Running upgrade 9c1e0a7b -> 5d5d5d5d

CREATE TYPE priority AS ENUM ('LOW', 'HIGH');

ALTER TABLE tasks ADD COLUMN urgency priority DEFAULT 'LOW';

ALTER TABLE "user" ALTER COLUMN date_joined TYPE TIMESTAMP WITH TIME ZONE USING date_joined AT TIME ZONE 'UTC';

ALTER TABLE plans DROP CONSTRAINT plans_name_key;

UPDATE alembic_version SET version_num='5d5d5d5d' WHERE alembic_version.version_num = '9c1e0a7b';

COMMIT;
