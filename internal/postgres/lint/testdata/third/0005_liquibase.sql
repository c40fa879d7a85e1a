--liquibase formatted sql

--changeset ana:5 runInTransaction:true
--comment: bigger numbers; and a status
BEGIN;
ALTER TABLE warehouse.stock ALTER COLUMN old_id TYPE bigint;
UPDATE databasechangelog SET author = 'ana' WHERE id = '1';
COMMIT;
--rollback ALTER TABLE warehouse.stock ALTER COLUMN old_id TYPE integer;

--changeset ana:6 runInTransaction:false
CREATE INDEX CONCURRENTLY stock_updated ON warehouse.stock (updated);
--changeset ben:7
ALTER TABLE warehouse.stock VALIDATE CONSTRAINT quantity_positive;
ALTER TABLE warehouse.stock ALTER COLUMN updated TYPE timestamptz;
ALTER TABLE warehouse.stock ALTER COLUMN location TYPE varchar(10);
ALTER TABLE warehouse.stock ALTER COLUMN weight TYPE numeric(12,3);
