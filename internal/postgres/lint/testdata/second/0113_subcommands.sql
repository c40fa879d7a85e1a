ALTER TABLE accounts
    ADD COLUMN IF NOT EXISTS phone text,
    ADD COLUMN IF NOT EXISTS locale text DEFAULT 'en' NOT NULL,
    ALTER COLUMN "fullName" TYPE text,
    ALTER COLUMN balance SET DEFAULT 100,
    DROP COLUMN IF EXISTS legacy_flags;
ALTER TABLE accounts
    ADD COLUMN token uuid DEFAULT uuid_generate_v4(), -- each its own
    ADD CONSTRAINT balance_sane CHECK (balance > -1000) NOT VALID;
ALTER TABLE accounts VALIDATE CONSTRAINT balance_sane, ALTER COLUMN zip DROP NOT NULL;
ALTER TABLE billing.invoices ALTER COLUMN memo TYPE varchar(500), ALTER COLUMN number SET STATISTICS 500, SET (fillfactor = 90);
ALTER TABLE billing.invoices ALTER COLUMN status TYPE integer, ADD CONSTRAINT status_known CHECK (status IN (0, 1, 2));
ALTER TABLE billing.invoice_lines ADD COLUMN discount billing.amount, ADD COLUMN note label;
