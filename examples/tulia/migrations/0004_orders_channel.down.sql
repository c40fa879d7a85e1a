-- Loses the channel of each order and nothing else.
ALTER TABLE orders DROP COLUMN channel;
