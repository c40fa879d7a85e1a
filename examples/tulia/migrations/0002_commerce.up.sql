CREATE TABLE customers (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name         text NOT NULL,
    phone_sealed bytea NOT NULL
);
CREATE INDEX customers_tenant ON customers (tenant_id);

CREATE TABLE services (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name        text NOT NULL,
    minutes     integer NOT NULL CHECK (minutes > 0),
    price_cents bigint NOT NULL CHECK (price_cents >= 0)
);
CREATE INDEX services_tenant ON services (tenant_id);

CREATE TABLE orders (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    customer_id uuid NOT NULL REFERENCES customers (id),
    status      text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'paid', 'cancelled')),
    total_cents bigint NOT NULL CHECK (total_cents >= 0),
    created_by  uuid NOT NULL REFERENCES users (id),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_tenant_created ON orders (tenant_id, created_at DESC);

CREATE TABLE order_items (
    order_id   uuid NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    line       integer NOT NULL,
    name       text NOT NULL,
    quantity   integer NOT NULL CHECK (quantity > 0),
    unit_cents bigint NOT NULL CHECK (unit_cents >= 0),
    PRIMARY KEY (order_id, line)
);

CREATE TABLE appointments (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    service_id  uuid NOT NULL REFERENCES services (id),
    customer_id uuid NOT NULL REFERENCES customers (id),
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL CHECK (ends_at > starts_at),
    status      text NOT NULL DEFAULT 'booked' CHECK (status IN ('booked', 'cancelled')),
    created_at  timestamptz NOT NULL DEFAULT now()
);
-- Two people cannot hold the same slot; a cancelled appointment frees it.
CREATE UNIQUE INDEX appointments_slot ON appointments (service_id, starts_at) WHERE status = 'booked';

CREATE TABLE withdrawals (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    status       text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved')),
    initiated_by uuid NOT NULL REFERENCES users (id),
    approved_by  uuid REFERENCES users (id) CHECK (approved_by <> initiated_by),
    created_at   timestamptz NOT NULL DEFAULT now()
);
