-- Apart from the ALTER, so that its exclusive lock is not held while rows are written.
-- allclear: allow not-batched because the shop has a few thousand orders, and the rehearsal measures the statement
UPDATE orders SET channel = 'whatsapp' WHERE message_id IS NOT NULL AND channel <> 'whatsapp';
