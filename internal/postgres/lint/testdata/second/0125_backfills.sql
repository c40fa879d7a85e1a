UPDATE accounts a SET balance = s.total FROM (SELECT account_id, sum(total::numeric)::integer AS total FROM billing.invoices GROUP BY account_id) s WHERE s.account_id = a.id;
WITH old AS (SELECT id FROM tasks WHERE done AND due < now() - interval '2 years' LIMIT 500)
DELETE FROM tasks USING old WHERE tasks.id = old.id;
INSERT INTO "Audit Log"."Entries" ("Id", "At", "Who") SELECT id + 100000, created_at, email FROM accounts;
INSERT INTO plans (id, name, monthly) VALUES (90001, 'huge', 999) ON CONFLICT (id) DO UPDATE SET monthly = excluded.monthly;
UPDATE tasks SET title = left(title, 100) WHERE id BETWEEN 1 AND 500;
DELETE FROM cache WHERE expires < now();
UPDATE plans SET monthly = 12 WHERE id = 7;
MERGE INTO plans p USING (VALUES (1, 'one')) AS v (id, name) ON p.id = v.id WHEN MATCHED THEN UPDATE SET name = v.name;
