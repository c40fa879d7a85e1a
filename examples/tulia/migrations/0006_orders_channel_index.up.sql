-- Alone in its file: CONCURRENTLY cannot run inside a transaction.
CREATE INDEX CONCURRENTLY orders_tenant_channel ON orders (tenant_id, channel);
