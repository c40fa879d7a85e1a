VACUUM (FULL, ANALYZE) accounts;
VACUUM ANALYZE tasks;
ANALYZE billing.invoices;
CLUSTER tasks USING tasks_project_idx;
REINDEX TABLE billing.invoice_lines;
REINDEX INDEX CONCURRENTLY user_username_uniq;
REINDEX (VERBOSE) INDEX accounts_created_at_idx;
ALTER TABLE tasks CLUSTER ON tasks_project_idx;
