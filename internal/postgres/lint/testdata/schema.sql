-- What the corpus's statements find: a small shop, with rows in every table.
CREATE DOMAIN email AS text;
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN unused_name AS text;
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE FUNCTION f_volatile() RETURNS integer LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN 1; END $$;
CREATE FUNCTION f_stable() RETURNS integer LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN 1; END $$;
CREATE FUNCTION f_immutable(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1; END $$;
CREATE FUNCTION f_constant() RETURNS integer LANGUAGE sql AS 'SELECT 7';
CREATE FUNCTION f_random() RETURNS double precision LANGUAGE sql AS 'SELECT random()';
CREATE FUNCTION f_touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE SEQUENCE numbers;

CREATE TABLE regions (id integer PRIMARY KEY, title text NOT NULL);
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mail varchar(100) NOT NULL,
    name text,
    country char(2),
    region_id integer,
    score numeric(10,2),
    joined timestamp NOT NULL DEFAULT now(),
    seen timestamptz DEFAULT now(),
    born date,
    data json,
    extra jsonb,
    tags text[],
    active boolean DEFAULT true,
    feeling mood,
    contact email,
    net cidr,
    host inet,
    wait interval(3),
    flags varbit(8),
    clock time(3)
);
CREATE INDEX customers_name_idx ON customers (name);
CREATE INDEX customers_contact_idx ON customers (contact);
CREATE UNIQUE INDEX customers_mail_idx ON customers (mail);
CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    customer_id bigint REFERENCES customers (id),
    region_id integer,
    status text DEFAULT 'new',
    code varchar(20) UNIQUE,
    quantity integer CONSTRAINT orders_quantity_positive CHECK (quantity > 0),
    small smallint,
    total numeric(12,2),
    plain numeric,
    placed timestamptz NOT NULL DEFAULT now(),
    note text,
    key uuid,
    weight real,
    stock positive,
    proved integer,
    half integer
);
CREATE INDEX orders_status_idx ON orders (status);
CREATE UNIQUE INDEX orders_region_code_idx ON orders (region_id, code);
ALTER TABLE orders ADD CONSTRAINT orders_proved_check CHECK (proved IS NOT NULL);
ALTER TABLE orders ADD CONSTRAINT orders_half_check CHECK (half IS NOT NULL) NOT VALID;
CREATE TABLE items (order_id bigint, sku text, price numeric(8,2), position integer NOT NULL);
CREATE UNIQUE INDEX items_position_idx ON items (position);
CREATE UNIQUE INDEX items_sku_idx ON items (sku);
CREATE TABLE audit (at timestamptz, what text, who text COLLATE "C");
CREATE INDEX audit_who_idx ON audit (who);
CREATE UNLOGGED TABLE scratch (id integer, v text);

CREATE TABLE events (id bigint NOT NULL, at date NOT NULL, kind text, amount integer) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE events_other PARTITION OF events DEFAULT;
CREATE INDEX events_kind_idx ON events (kind);
CREATE TABLE logs (id bigint NOT NULL, shard integer NOT NULL, line text) PARTITION BY LIST (shard);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES IN (1);
CREATE TABLE logs_2 PARTITION OF logs FOR VALUES IN (2);
CREATE TABLE logs_loose (id bigint NOT NULL, shard integer NOT NULL, line text);
CREATE TABLE logs_ready (id bigint NOT NULL, shard integer NOT NULL, line text);
ALTER TABLE logs_ready ADD CONSTRAINT logs_ready_shard_check CHECK (shard IN (4));
CREATE TABLE events_loose (id bigint NOT NULL, at date NOT NULL, kind text, amount integer);

CREATE VIEW busy_customers AS SELECT id, title AS name FROM regions WHERE id > 3;
CREATE MATERIALIZED VIEW totals AS SELECT customer_id, count(*) AS total FROM orders GROUP BY customer_id;
CREATE UNIQUE INDEX totals_customer_idx ON totals (customer_id);
CREATE MATERIALIZED VIEW names AS SELECT id FROM customers;
CREATE TRIGGER orders_touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION f_touch();
