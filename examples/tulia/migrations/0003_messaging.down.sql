DROP TABLE webhook_events;
ALTER TABLE orders DROP COLUMN message_id;
DROP TABLE messages;
