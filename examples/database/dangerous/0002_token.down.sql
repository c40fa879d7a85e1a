ALTER TABLE orders DROP CONSTRAINT orders_customer, DROP COLUMN token;
