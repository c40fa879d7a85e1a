CREATE INDEX CONCURRENTLY IF NOT EXISTS invoices_paid_idx ON billing.invoices (paid_at) WHERE paid_at IS NOT NULL;
