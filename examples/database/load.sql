\set id random(1, 1500000)
SELECT total, note FROM orders WHERE id = :id;
UPDATE orders SET total = total + 1 WHERE id = :id;
INSERT INTO orders (customer, total, note) VALUES (1 + :id % 100000, 10, 'new');
