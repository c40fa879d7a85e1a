-- Reads the whole table; readers and writers go on meanwhile.
SET LOCAL lock_timeout = '750ms';
ALTER TABLE orders VALIDATE CONSTRAINT orders_customer;
