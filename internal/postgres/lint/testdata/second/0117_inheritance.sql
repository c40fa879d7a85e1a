ALTER TABLE vehicles ADD COLUMN colour text DEFAULT 'grey';
ALTER TABLE ONLY vehicles ADD CONSTRAINT plate_given CHECK (plate IS NOT NULL) NO INHERIT;
ALTER TABLE vehicles ALTER COLUMN wheels SET NOT NULL;
CREATE INDEX trucks_payload_idx ON trucks (payload);
CREATE TABLE vans (seats integer) INHERITS (vehicles);
ALTER TABLE cars NO INHERIT vehicles;
ALTER TABLE vehicles ALTER COLUMN wheels TYPE bigint;
