DELETE FROM jobs WHERE done_at < now() - interval '30 days';
WITH doomed AS (DELETE FROM messages WHERE seen RETURNING *)
INSERT INTO warehouse.moves_archive SELECT id::integer, 'x', coalesce(sent, now()), 1, 'in' FROM doomed;
TRUNCATE "OrderItem", "Order" RESTART IDENTITY CASCADE;
DELETE FROM "Customer" WHERE "id" = 'c5';
