VACUUM FULL warehouse.stock;
CLUSTER "Order" USING "Order_placedAt_idx";
REINDEX TABLE CONCURRENTLY messages;
REINDEX TABLE "Customer";
ANALYZE;
ALTER TABLE people SET (parallel_workers = 2);
ALTER TABLE employees DISABLE TRIGGER ALL;
