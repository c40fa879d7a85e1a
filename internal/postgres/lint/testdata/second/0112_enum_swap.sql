-- enums cannot lose values: make another and cast
BEGIN;
ALTER TYPE billing.currency RENAME TO currency_old;
CREATE TYPE billing.currency AS ENUM ('EUR', 'USD', 'CHF');
ALTER TABLE billing.invoices ALTER COLUMN currency DROP DEFAULT,
    ALTER COLUMN currency TYPE billing.currency USING currency::text::billing.currency,
    ALTER COLUMN currency SET DEFAULT 'EUR';
DROP TYPE billing.currency_old;
COMMIT;
