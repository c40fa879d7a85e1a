CREATE TABLE messages (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    customer_id  uuid NOT NULL REFERENCES customers (id),
    body         text NOT NULL,
    status       text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'delivered')),
    provider_sid text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz
);
CREATE INDEX messages_tenant_created ON messages (tenant_id, created_at DESC);
CREATE INDEX messages_queued ON messages (created_at) WHERE status = 'queued';

ALTER TABLE orders ADD COLUMN message_id uuid REFERENCES messages (id);

CREATE TABLE webhook_events (
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    event_id   text NOT NULL,
    type       text NOT NULL,
    order_id   uuid NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    received   integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, event_id)
);
