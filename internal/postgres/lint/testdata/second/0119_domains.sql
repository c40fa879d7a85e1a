CREATE DOMAIN phone AS text CONSTRAINT phone_digits CHECK (VALUE ~ '^\+?[0-9 ]+$');
ALTER TABLE accounts ADD COLUMN phone_work phone;
ALTER DOMAIN us_postal DROP CONSTRAINT us_postal_check;
ALTER DOMAIN us_postal ADD CONSTRAINT zip_plus4 CHECK (VALUE ~ '^\d{5}(-\d{4})?$') NOT VALID;
ALTER DOMAIN us_postal VALIDATE CONSTRAINT zip_plus4;
ALTER DOMAIN label ADD CONSTRAINT label_short CHECK (length(VALUE) < 81);
ALTER DOMAIN label SET DEFAULT 'none';
