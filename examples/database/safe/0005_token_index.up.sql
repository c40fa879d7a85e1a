CREATE UNIQUE INDEX CONCURRENTLY orders_token ON orders (token);
