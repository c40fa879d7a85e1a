-- Apart from the ALTER, so that its exclusive lock is not held while rows are written.
UPDATE orders SET channel = 'whatsapp' WHERE message_id IS NOT NULL AND channel <> 'whatsapp';
