INSERT INTO regions SELECT n, 'region ' || n FROM generate_series(1, 20) n;
INSERT INTO customers (mail, name, country, region_id, score, born, data, extra, tags, feeling, contact, net, host, wait, flags, clock)
SELECT 'c' || n || '@example.org', 'customer ' || n, 'NL', 1 + n % 20, n, '2000-01-01', '{}', '{}', '{a}', 'busy', 'x@example.org', '10.0.0.0/8', '10.0.0.1', '1 s', B'1', '10:00'
FROM generate_series(1, 800) n;
INSERT INTO orders (customer_id, region_id, code, quantity, small, total, plain, note, key, weight, stock, proved, half)
SELECT 1 + n % 800, 1 + n % 20, 'code ' || n, n, 1, n, n, 'note', gen_random_uuid(), n, 1, n, n FROM generate_series(1, 2000) n;
INSERT INTO items SELECT n, 'sku ' || n, 1, n FROM generate_series(1, 1500) n;
INSERT INTO audit SELECT now(), 'what', 'who' FROM generate_series(1, 1000) n;
INSERT INTO scratch SELECT n, 'v' FROM generate_series(1, 500) n;
INSERT INTO events SELECT n, '2025-06-01'::date + n % 900, 'kind', n FROM generate_series(1, 1500) n;
INSERT INTO logs SELECT n, 1 + n % 2, 'line' FROM generate_series(1, 1000) n;
INSERT INTO logs_loose SELECT n, 3, 'line' FROM generate_series(1, 500) n;
INSERT INTO logs_ready SELECT n, 4, 'line' FROM generate_series(1, 500) n;
INSERT INTO events_loose SELECT n, '2030-01-01', 'kind', n FROM generate_series(1, 500) n;
REFRESH MATERIALIZED VIEW totals;
REFRESH MATERIALIZED VIEW names;
